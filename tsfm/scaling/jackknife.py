"""How far a law hangs on the data sets it was measured on: a refit without each of them in turn.

A loss is the mean over tasks of few data sets, the same ones in every run. What is peculiar to these sets bends the
losses of all runs alike, so no residual shows it and no interval of `fitting.fit` holds it. The standard error here
does: that of the jackknife over blocks of unequal size (Busing, Meijer and van der Leeden 1999), which is the usual one
where every set has as many tasks. It is of the choice of data sets alone; the interval of a fit is of the noise of
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.scaling.fitting import Fit, fit
from tsfm.scaling.laws import Law
from tsfm.scaling.results import KEYS

# n rows of a study.


@dataclass(frozen=True)
class Jackknife:
    """A fit to the mean over all tasks, and what it would have been without each data set.

    without   parameters by data set and name
    error     standard error of each parameter, by name
    """

    fit: Fit
    without: dict[str, dict[str, float]]
    error: dict[str, float]

    def spread(self, name: str) -> tuple[float, float]:
        """The least and the largest value of a parameter without any one data set."""
        values = [parameters[name] for parameters in self.without.values()]
        return min(values), max(values)


def table_of(rows: pd.DataFrame, losses: pd.DataFrame) -> pd.DataFrame:
    """Losses (n, tasks) in the order of rows; raise `DataError` where a row lacks a task or has it twice."""
    wanted = pd.MultiIndex.from_frame(rows[KEYS])
    losses = losses[pd.MultiIndex.from_frame(losses[KEYS]).isin(wanted)]
    twice = losses[losses.duplicated([*KEYS, "task"])]
    if len(twice):
        run, milestone, task = twice.iloc[0][[*KEYS, "task"]]
        raise DataError(f"task {task!r} has two losses in run {run!r} at milestone {milestone}; drop one")
    table = losses.pivot_table(index=KEYS, columns="task", values="loss").reindex(wanted)
    lacking = np.argwhere(table.isna().to_numpy())
    if len(lacking):
        run, milestone = table.index[lacking[0][0]]
        raise DataError(
            f"task {table.columns[lacking[0][1]]!r} has no loss in run {run!r} at milestone {milestone}, and "
            f"{len(lacking)} losses lack in all; drop these rows, or the task from all of them"
        )
    return table


def standard_error(whole: float, without: NDArray[np.float64], counts: NDArray[np.intp]) -> float:
    """Of a value, from what it is without each data set (d,), where sets have so many tasks (d,)."""
    times = counts.sum() / counts
    pseudo = times * whole - (times - 1) * without
    centre = len(without) * whole - ((1 - 1 / times) * without).sum()  # the mean of `pseudo` where counts are equal
    return float(np.sqrt(np.mean((pseudo - centre) ** 2 / (times - 1))))


def leave_datasets_out(
    law: Law, rows: pd.DataFrame, losses: pd.DataFrame, dataset_of: Mapping[str, str], **options: Any
) -> Jackknife:
    """Fit a law to the mean loss over tasks, and again without each data set.

    rows        (n) with run, milestone and the law's columns
    losses      with run, milestone, task and loss; left aside are other runs and milestones, and tasks without any loss
    dataset_of  the data set of each task
    options     of `fit`; without `resamples` there are no intervals, which takes a fraction of the time
    """
    table = table_of(rows, losses)
    unknown = sorted(set(table.columns) - set(dataset_of))
    if unknown:
        raise DataError(f"task {unknown[0]!r} has no data set; name one for each of {', '.join(unknown)}")
    sets = np.array([dataset_of[task] for task in table.columns])
    names, counts = np.unique(sets, return_counts=True)
    if len(names) < 2:
        raise DataError(f"all tasks are of the data set {str(names[0])!r}; a jackknife needs two at least")
    values, columns = table.to_numpy(dtype=np.float64), {name: rows[name] for name in law.columns}
    whole = fit(law, columns, values.mean(1), **{"resamples": 0, **options})
    quick = {name: option for name, option in options.items() if name in ("delta", "least_span")}
    refits = [fit(law, columns, values[:, sets != name].mean(1), resamples=0, **quick).parameters for name in names]
    error = {
        name: standard_error(value, np.array([parameters[name] for parameters in refits]), counts)
        for name, value in whole.parameters.items()
    }
    return Jackknife(whole, dict(zip(map(str, names), refits, strict=True)), error)
