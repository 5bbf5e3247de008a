"""`evaluation/architectures.py` keeps a row a fit beside what others report, and replaces the older one."""

import tomllib
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.evaluation.results import read_csv


@pytest.fixture
def module(script) -> ModuleType:
    return script("architectures")


@pytest.fixture
def waves(tmp_path, monkeypatch, module):
    steps = np.arange(200)
    values = np.sin(2 * np.pi * steps[:, None] / 24 + np.arange(2)) + 0.1 * np.random.default_rng(0).normal(
        size=(200, 2)
    )
    frame = pd.DataFrame(values, pd.date_range("2024-01-01", periods=200, freq="h"), columns=["north", "south"])
    frame.to_csv(tmp_path / "waves.csv", index_label="time")
    monkeypatch.setattr(module, "STATES", tmp_path / "states")
    return tmp_path / "waves.csv"


def test_a_fit_leaves_a_row_that_a_later_one_replaces(module, waves, tmp_path, monkeypatch, capsys):
    out = tmp_path / "rows.csv"
    options = ["--models", "dlinear", "--data", str(waves), "--horizons", "6", "--contexts", "24", "--epochs", "1"]
    for seeds in (["0", "1"], ["1"]):
        monkeypatch.setattr("sys.argv", ["architectures.py", *options, "--seeds", *seeds, "--out", str(out)])
        assert module.main() == 0
    rows = read_csv(out)
    assert [(row["model"], row["data"], row["seed"]) for row in rows] == [
        ("dlinear", "waves.csv", "0"),
        ("dlinear", "waves.csv", "1"),
    ]
    assert rows[0]["mse"] != rows[1]["mse"]
    assert rows[0]["published_mse"] == ""
    assert "2 seeds" in capsys.readouterr().out


def test_a_published_figure_is_that_of_the_same_context_and_options(module):
    assert module.published("dlinear", "ETTh1", 96, 336, "")["published_mse"] == 0.375
    assert module.published("cyclenet", "ETTh1", 96, 96, "backbone=mlp")["published_mae"] == 0.395
    assert module.published("dlinear", "ETTh1", 96, 96, "")["source"] == ""


def test_every_published_figure_has_a_source_and_the_certain_ones_are_of_registered_architectures(module):
    figures = tomllib.loads(module.PUBLISHED.read_text())["figure"]
    for one in figures:
        assert one["source"]
        assert one["model"] in registry.names("architecture") or one["certain"] is False
