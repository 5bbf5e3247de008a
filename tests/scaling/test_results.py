"""Rows of a study are read as the study stands now, and say what is still to be measured."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tsfm.errors import DataError, UnknownName
from tsfm.scaling.plan import Group, Plan, Study, read_study
from tsfm.scaling.results import best_rates, progress, read_rows, read_tasks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of the quick study without its last two, from the last to the first, and one of a run given up."""
    study = read_study("quick")
    rows = [{"run": plan.name, "milestone": points} for plan in study.plans for points in plan.milestones]
    rows = [{"run": "decoder-w16-rate9", "milestone": rows[0]["milestone"]}, *rows[-3::-1]]
    frame = pd.DataFrame(rows).assign(keep="all", id_loss=0.5)
    frame.to_csv(tmp_path / "runs.csv", index=False)
    frame[["run", "milestone"]].assign(a=0.5, b=[0.25] + [None] * (len(rows) - 1)).to_csv(
        tmp_path / "tasks.csv", index=False
    )
    return tmp_path


def test_rows_of_runs_given_up_are_left_out_and_the_others_are_in_the_order_of_the_study(folder: Path):
    rows, study = read_rows(folder, study="quick"), read_study("quick")
    planned = [(plan.name, points) for plan in study.plans for points in plan.milestones]
    assert list(rows[["run", "milestone"]].itertuples(index=False, name=None)) == planned[:-2]
    assert list(rows.index) == list(range(len(planned) - 2))


def test_progress_counts_the_rows_that_are_there(folder: Path):
    found = progress(read_rows(folder, study="quick"), "quick").loc["live"]
    assert found["planned"] - found["measured"] == 2
    assert found["runs"] == len(read_study("quick").plans)


def test_a_run_that_two_groups_name_is_a_row_of_both(tmp_path: Path):
    small = Plan("first", "w16", 16, 1, 2, milestones=(1, 2))
    longer, other = replace(small, group="second", milestones=(2, 3)), replace(small, group="second", seed=1)
    study = Study(
        "own", read_study("quick").corpus, (Group("first", "", [small]), Group("second", "", [longer, other]))
    )
    rows = [{"run": plan.name, "milestone": points} for plan in study.plans for points in plan.milestones]
    pd.DataFrame(rows).assign(id_loss=0.5).to_csv(tmp_path / "runs.csv", index=False)
    assert list(read_rows(tmp_path, "first", study=study)["milestone"]) == [1, 2]
    assert list(read_rows(tmp_path, "second", study=study)["milestone"]) == [2, 3, 1, 2]
    assert len(read_rows(tmp_path, "first", "second", study=study)) == 5
    assert progress(read_rows(tmp_path, study=study), study)["measured"].to_dict() == {"first": 2, "second": 4}
    with pytest.raises(UnknownName, match="third"):
        read_rows(tmp_path, "third", study=study)


def test_the_best_rate_is_that_of_the_least_loss_at_each_milestone():
    rows = pd.DataFrame(
        [
            ("decoder", "w16", 1, 1.0, 0.5),
            ("decoder", "w16", 1, 4.0, 0.4),
            ("decoder", "w16", 2, 1.0, 0.3),
            ("encoder", "w16", 1, 1.0, 0.6),
            ("decoder", "w16", 2, 4.0, 0.35),
        ],
        columns=["kind", "size", "milestone", "rate", "id_loss"],
    )
    best = best_rates(rows, "id_loss")
    assert list(best["rate"]) == [4.0, 1.0, 1.0]
    assert list(best["id_loss"]) == [0.4, 0.3, 0.6]


def test_a_folder_without_rows_says_how_they_are_made(tmp_path: Path):
    with pytest.raises(DataError, match=r"scaling_study\.py run"):
        read_rows(tmp_path, study="quick")
    with pytest.raises(DataError, match=r"scaling_study\.py run"):
        read_tasks(tmp_path)


def test_tasks_are_one_row_each_and_missing_ones_are_left_out(folder: Path):
    tasks = read_tasks(folder)
    assert list(tasks.columns) == ["run", "milestone", "task", "loss"]
    assert (tasks["task"] == "b").sum() == 1
    assert tasks["loss"].notna().all()
