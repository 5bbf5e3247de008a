"""`evaluation/scaling_study.py` keeps one row a checkpoint, and packs validation windows without a unit."""

import numpy as np
import pytest

from tsfm.evaluation.measuring import Window
from tsfm.evaluation.results import read_csv
from tsfm.scaling.measure import Exam, write_exams

OWN = """
milestones = [16_384]
corpus = { windows = 64, context = 128, patch = 16, shard = 64, exam = 16, real_share = 0.0 }
[size]
a = { width = 16, depth = 1, heads = 2 }
[[group]]
name = "one"
purpose = "p"
runs = [{ size = "a", batch = 64 }]
[[group]]
name = "two"
purpose = "p"
runs = [{ size = "a", batch = 64, rate = 2 }]
"""


@pytest.fixture
def module(script):
    return script("scaling_study")


@pytest.fixture
def asked(module, tmp_path, monkeypatch, capsys):
    """The script as a person calls it on a small study of their own: exit code and what is printed."""
    monkeypatch.setenv("TSFM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own.toml").write_text(OWN)

    def ask(*words):
        usual = ["--study", str(tmp_path / "own.toml"), "--out", str(tmp_path / "rows")]
        monkeypatch.setattr("sys.argv", ["scaling_study.py", *words[:1], *usual, *words[1:]])
        return module.main(), capsys.readouterr().out

    return ask


def test_a_study_is_made_run_shown_and_measured_again(asked, tmp_path):
    ones = np.ones(4, dtype=np.float32)
    walks = np.random.default_rng(0).normal(size=(4, 144)).cumsum(1).astype(np.float32)
    exams = tmp_path / "cache" / "scaling" / "own" / "zero_shot-validation-20.npz"
    exams.parent.mkdir(parents=True)
    write_exams(exams, [Exam("walks", walks[:, :128], walks[:, 128:], ones, ones)])
    assert asked("corpus")[0] == 0
    assert asked("run", "--groups", "two")[0] == 0
    assert "1 rows of 1 runs" in asked("rows", "--groups", "two")[1]
    assert "0 rows of 0 runs" in asked("rows", "--groups", "one")[1]
    (before,) = read_csv(tmp_path / "rows" / "runs.csv")
    write_exams(exams, [Exam("walks", walks[:, :128], walks[:, 128:] + 1, ones, ones)])
    assert asked("measure")[0] == 0
    (after,) = read_csv(tmp_path / "rows" / "runs.csv")
    assert after.pop("measured")
    assert after.pop("measured_commit")
    changed = {name for name in before if before[name] != after[name]}
    assert {"ood_loss", "mase"} <= changed <= {"ood_loss", "ood_loss_geometric", "mase"}


def test_what_is_wrong_is_said_in_a_line_with_the_command_that_helps(asked, module, tmp_path, monkeypatch, capsys):
    code, text = asked("run")
    assert code == 1
    assert text.count("\n") == 1
    assert "scaling_study.py corpus --study" in text
    assert asked("plan", "--groups", "three") == (1, "no group 'three' in study 'own'; there are 'one', 'two'\n")
    monkeypatch.setattr("sys.argv", ["scaling_study.py", "run", "--study", "quick", "--out", str(tmp_path)])
    assert module.main() == 1
    assert capsys.readouterr().out.endswith("python evaluation/scaling_study.py corpus --study quick\n")


def test_a_plan_is_of_the_groups_that_are_named(asked):
    assert "1 runs, 1 rows" in asked("plan", "--groups", "one")[1]


def test_a_row_takes_the_place_of_an_older_one_of_its_run_and_milestone(module, tmp_path):
    for milestone, loss in ((1000, 0.5), (2000, 0.4), (1000, 0.3)):
        module.keep({"run": "a", "milestone": milestone, "id_loss": loss, "tasks": {"ett1/H/short": loss}}, tmp_path)
    rows = read_csv(tmp_path / "runs.csv")
    assert [(row["milestone"], row["id_loss"]) for row in rows] == [("1000", "0.3"), ("2000", "0.4")]
    assert all(row["commit"] and row["hardware"] for row in rows)
    assert [row["ett1/H/short"] for row in read_csv(tmp_path / "tasks.csv")] == ["0.3", "0.4"]


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
