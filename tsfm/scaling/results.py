"""Rows of a study as frames, for fits and figures."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import pandas as pd

from tsfm.errors import DataError
from tsfm.scaling.plan import Study, read_study

KEYS = ["run", "milestone"]
SUITE = "zero_shot"  # whose validation windows the losses out of distribution are of


def read_rows(folder: str | PathLike[str], *groups: str, study: str | Study = "study") -> pd.DataFrame:
    """The rows of `folder/runs.csv` that groups of a study name, in its order; of all its groups where none is named.

    A run that several groups name is a row of each of them, and comes once; rows of runs and milestones that were
    planned once and no longer are stay in the file and are left out.
    """
    path = Path(folder) / "runs.csv"
    rows = pd.read_csv(there(path), keep_default_na=False, na_values=[""])
    wanted = pd.MultiIndex.from_tuples(planned(study, groups), names=KEYS)
    places = pd.Series(range(len(wanted)), index=wanted).reindex(pd.MultiIndex.from_frame(rows[KEYS])).to_numpy()
    chosen = rows.assign(place=places).dropna(subset="place").sort_values("place")
    return chosen.drop(columns="place").reset_index(drop=True)


def planned(study: str | Study, groups: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Runs and milestones that groups of a study name, or all of them, each once."""
    asked = read_study(study) if isinstance(study, str) else study
    asked.plans_of(groups)  # complains of groups that are not there
    named = [group for group in asked.groups if not groups or group.name in groups]
    return list(
        dict.fromkeys((plan.name, points) for group in named for plan in group.plans for points in plan.milestones)
    )


def read_tasks(folder: str | PathLike[str]) -> pd.DataFrame:
    """Losses out of distribution, one row a task: run, milestone, task, loss, as `leave_datasets_out` takes them."""
    wide = pd.read_csv(there(Path(folder) / "tasks.csv"))
    return wide.melt(KEYS, var_name="task", value_name="loss").dropna(subset="loss")


def there(path: Path) -> Path:
    """A file of rows; raise `DataError` where there is none."""
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}; rows are made by: python evaluation/scaling_study.py run")
    return path


def progress(rows: pd.DataFrame, study: str | Study = "study") -> pd.DataFrame:
    """How many rows of each group of a study are among these, and how many it names: runs, measured, planned."""
    asked, measured = read_study(study) if isinstance(study, str) else study, set(map(tuple, rows[KEYS].to_numpy()))
    found = {}
    for group in asked.groups:
        wanted = planned(asked, [group.name])
        runs = len({run for run, _ in wanted})
        found[group.name] = {"runs": runs, "measured": len(measured.intersection(wanted)), "planned": len(wanted)}
    return pd.DataFrame.from_dict(found, orient="index")


def best_rates(rows: pd.DataFrame, loss: str) -> pd.DataFrame:
    """Of rows alike but for their rate, that of the least loss, at each milestone of each kind and size."""
    return rows.loc[rows.groupby(["kind", "size", "milestone"], sort=False)[loss].idxmin()].reset_index(drop=True)
