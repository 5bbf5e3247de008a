"""Rows of a study as frames, for fits and figures."""

from os import PathLike
from pathlib import Path

import pandas as pd

from tsfm.errors import DataError
from tsfm.scaling.plan import Study, read_study

KEYS = ["run", "milestone"]
SUITE = "zero_shot"  # whose validation windows the losses out of distribution are of


def read_rows(folder: str | PathLike[str], study: str | Study = "study") -> pd.DataFrame:
    """The rows of `folder/runs.csv` that belong to a study as it is now, in the order of its runs.

    Rows of runs and milestones that were planned once and no longer are stay in the file and are left out.
    """
    planned = read_study(study) if isinstance(study, str) else study
    path = Path(folder) / "runs.csv"
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}; rows are made by: python evaluation/scaling_study.py run")
    rows = pd.read_csv(path, keep_default_na=False, na_values=[""])
    wanted = [(plan.name, points) for plan in planned.plans for points in plan.milestones]
    order = pd.Series(range(len(wanted)), index=pd.MultiIndex.from_tuples(wanted, names=KEYS))
    places = order.reindex(pd.MultiIndex.from_frame(rows[KEYS])).to_numpy()
    return (
        rows.assign(place=places)
        .dropna(subset="place")
        .sort_values("place")
        .drop(columns="place")
        .reset_index(drop=True)
    )


def grid(rows: pd.DataFrame, kind: str = "decoder", experts: int = 0, top_k: int = 0) -> pd.DataFrame:
    """The rows of the sweep over sizes and points: all data, seed 0, the rate of the size (columns: see `Plan`)."""
    alike = {"kind": kind, "experts": experts, "top_k": top_k, "pool": 0, "keep": "all", "batch": 2048, "seed": 0}
    chosen = (rows[list(alike)] == pd.Series(alike)).all(axis=1) & ~rows["shuffled"].astype(bool)
    return rows.loc[chosen].reset_index(drop=True)


def read_tasks(folder: str | PathLike[str]) -> pd.DataFrame:
    """Losses out of distribution, one row a task: run, milestone, task, loss, as `leave_datasets_out` takes them."""
    wide = pd.read_csv(Path(folder) / "tasks.csv")
    return wide.melt(KEYS, var_name="task", value_name="loss").dropna(subset="loss")


def gaps(rows: pd.DataFrame, study: str | Study = "study") -> pd.DataFrame:
    """How many rows of each group of a study are there, and how many are to be measured: columns done, planned."""
    planned = read_study(study) if isinstance(study, str) else study
    wanted = pd.DataFrame(
        [(plan.group, plan.name, points) for plan in planned.plans for points in plan.milestones],
        columns=["group", *KEYS],
    )
    there = pd.MultiIndex.from_frame(wanted[KEYS]).isin(pd.MultiIndex.from_frame(rows[KEYS]))
    found = wanted.assign(done=there).groupby("group", sort=False)
    return pd.DataFrame({"runs": found["run"].nunique(), "done": found["done"].sum(), "planned": found.size()})
