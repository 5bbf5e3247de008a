"""Rows of a study are read as the study stands now, and say what is still to be measured."""

from pathlib import Path

import pandas as pd
import pytest

from tsfm.errors import DataError
from tsfm.scaling.plan import read_study
from tsfm.scaling.results import gaps, read_rows, read_tasks


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
    rows, study = read_rows(folder, "quick"), read_study("quick")
    planned = [(plan.name, points) for plan in study.plans for points in plan.milestones]
    assert list(rows[["run", "milestone"]].itertuples(index=False, name=None)) == planned[:-2]
    assert list(rows.index) == list(range(len(planned) - 2))


def test_gaps_count_the_rows_that_are_not_there(folder: Path):
    found = gaps(read_rows(folder, "quick"), "quick").loc["live"]
    assert found["planned"] - found["done"] == 2
    assert found["runs"] == len(read_study("quick").plans)


def test_a_folder_without_rows_says_how_they_are_made(tmp_path: Path):
    with pytest.raises(DataError, match=r"scaling_study\.py run"):
        read_rows(tmp_path, "quick")


def test_tasks_are_one_row_each_and_missing_ones_are_left_out(folder: Path):
    tasks = read_tasks(folder)
    assert list(tasks.columns) == ["run", "milestone", "task", "loss"]
    assert (tasks["task"] == "b").sum() == 1
    assert tasks["loss"].notna().all()
