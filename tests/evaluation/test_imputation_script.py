"""`evaluation/imputation.py` hides what it says it hides, from every method alike, and keeps the rows of other sets."""

import sys

import numpy as np
import pytest
import torch

from tsfm import Forecaster
from tsfm.evaluation.results import read_csv
from tsfm.models.visual_mae import PRESETS, VisualMAE


@pytest.fixture
def module(script):
    return script("imputation")


@pytest.mark.parametrize("gap", [1, 8, 48])
def test_gaps_are_of_one_length_apart_and_inside(module, gap):
    mask = module.hidden(np.arange(600.0), gap, seed=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    assert set(edges[1::2] - edges[::2]) == {gap}
    assert module.HIDDEN * 600 <= mask.sum() < module.HIDDEN * 600 + gap
    assert not mask[[0, -1]].any()
    assert (module.hidden(np.full(600, np.nan), gap, seed=1) == 0).all()


def test_simple_fills_are_what_they_are_called(module):
    values = np.array([0.0, 1, 2, 10, np.nan, np.nan, 20, 21, 26])
    assert module.linear(values, 3)[4:6].tolist() == pytest.approx([10 + 10 / 3, 10 + 20 / 3])
    assert module.last_value(values, 3)[4:6].tolist() == [10, 10]
    assert module.seasonal(values, 3)[4:6].tolist() == [11, 14]


def test_rows_of_sets_not_asked_for_stay(module, tmp_path, monkeypatch):
    torch.manual_seed(0)
    folder = Forecaster(VisualMAE(PRESETS["tiny"]).eval(), "tiny").save(tmp_path / "tiny")
    out = tmp_path / "rows.csv"
    out.write_text("set,gap,method,mae\nother,8,linear,1.5\ndemo,8,linear,1.5\n")
    arguments = ["--sets", "demo", "--gaps", "8", "--model", str(folder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["imputation.py", *arguments])
    assert module.main() == 0
    rows = read_csv(out)
    assert [(row["set"], row["method"]) for row in rows] == [
        ("other", "linear"),
        *(("demo", method) for method in ("linear", "seasonal", "last value", "visual-mae")),
    ]
    assert 0 <= float(rows[-1]["coverage80"]) <= 1
    assert len({row["hidden"] for row in rows[1:]}) == 1
