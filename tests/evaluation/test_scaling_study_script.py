"""`evaluation/scaling_study.py` keeps one row a checkpoint, and packs validation windows without a unit."""

import numpy as np
import pytest

from tsfm.evaluation.measuring import Window
from tsfm.evaluation.results import read_csv


@pytest.fixture
def module(script):
    return script("scaling_study")


def test_a_row_takes_the_place_of_an_older_one_of_its_run_and_milestone(module, tmp_path):
    for milestone, loss in ((1000, 0.5), (2000, 0.4), (1000, 0.3)):
        module.keep({"run": "a", "milestone": milestone, "id_loss": loss, "tasks": {"ett1/H/short": loss}}, tmp_path)
    rows = read_csv(tmp_path / "runs.csv")
    assert [(row["milestone"], row["id_loss"]) for row in rows] == [("2000", "0.4"), ("1000", "0.3")]
    assert all(row["commit"] and row["hardware"] for row in rows)
    assert [row["ett1/H/short"] for row in read_csv(tmp_path / "tasks.csv")] == ["0.4", "0.3"]


def test_a_packed_window_has_no_unit_and_its_baseline_reads_the_whole_history(module):
    history = np.tile(np.arange(4.0), 20) + np.repeat(np.arange(20) % 2, 4)
    window = Window("a", history, np.arange(8.0), scale=1.0)
    values, target, scale, naive = module.packed_window(window, 4, context=16, horizon=6)
    bigger = window._replace(context=1e6 * history + 5e6, target=1e6 * window.target + 5e6, scale=1e6)
    for left, right in zip((values, target, scale, naive), module.packed_window(bigger, 4, 16, 6), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)
    assert values.std() == pytest.approx(1.0)
    assert naive / scale == pytest.approx(np.mean(np.abs(np.arange(6.0) - np.array([1, 2, 3, 4, 1, 2]))))


def test_every_run_of_the_quick_study_is_timed_and_planned(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scaling_study.py", "plan", "--study", "quick", "--out", str(tmp_path)])
    assert module.main() == 0
    assert "3 runs, 6 rows" in capsys.readouterr().out
    assert all(float(row["points_per_second"]) > 0 for row in read_csv(tmp_path / "steps.csv"))
