"""Rows and steps: which moment each row that scikit-learn hands over stands for.

The labels of pandas rows (dates, periods, integers) survive the splits of cross-validation, so they tell a training
part with holes, a test part that lies in the past, and a gap between the two. Rows without labels count one by one.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.data.adapters import to_panel
from tsfm.data.arrays import complaint, to_floats
from tsfm.data.stamps import read_times
from tsfm.data.timeaxis import TimeIndex, untimed
from tsfm.errors import DataError
from tsfm.panel import Floats

# T rows of the history, n rows to forecast.

MOST_AHEAD = 1_000_000
SPLIT = "split with sklearn.model_selection.TimeSeriesSplit, which keeps the order of time"


def labels_of(rows: Any) -> "pd.Index[Any] | None":
    """Labels of pandas rows that say something of time, None for everything else."""
    if not isinstance(rows, pd.DataFrame | pd.Series):
        return None
    if isinstance(rows.index, pd.MultiIndex):
        raise DataError(
            f"the rows have an index of {rows.index.nlevels} levels, and a row stands for one step; give several "
            "series as columns of y: y.unstack(level=0)"
        )
    stamped = isinstance(rows.index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex)
    try:
        clock, ticks, _ = read_times(rows.index, "index", lambda row: "the table")
    except DataError:
        if stamped:
            raise
        return None
    return clock.index(ticks) if len(ticks) else None


def dated(labels: "pd.Index[Any] | None") -> bool:
    """Whether labels are times rather than integers."""
    return labels is not None and not pd.api.types.is_integer_dtype(labels.dtype)


def axis_of(labels: "pd.Index[Any] | None", steps: int, freq: Any, name: str) -> TimeIndex:
    """The time axis of T rows; `DataError` unless each label follows the one before it.

    name   "X" or "y", for messages
    """
    if labels is None:
        return untimed(steps, freq)
    again = np.flatnonzero(~np.asarray(labels[1:] > labels[:-1]))
    if len(again):
        raise DataError(
            f"row {again[0] + 1} of {name} is labelled {labels[again[0] + 1]} and follows {labels[again[0]]}; rows are "
            f"steps of time, so sort them and keep each once; {SPLIT}"
        )
    axis = to_panel(pd.Series(np.arange(float(steps)), index=labels), freq=freq).index[0]
    past = axis.past()
    if axis.stamps is None and axis.length == steps and bool((past == labels).all()):
        return axis
    lost = "do not follow one another evenly"
    if axis.stamps is None and axis.length > steps:
        absent = past[~past.isin(labels)]
        lost = f"lack {len(absent)} steps, the first at {absent[0]}"
    raise DataError(
        f"the rows of {name} from {labels[0]} to {labels[-1]} {lost}, and a forecast goes on from consecutive steps. "
        f"In cross-validation, {SPLIT} (KFold and shuffled splits do not). If the data have holes, add those "
        "rows with y missing, or number all rows: reset_index(drop=True)"
    )


def axes_of(X: Any, y: Any, steps: int, freq: Any) -> tuple[TimeIndex, TimeIndex]:
    """The axis that dates the series, and the one that rows of X are to go on from."""
    of_x, of_y = labels_of(X), labels_of(y)
    axis_x, axis_y = axis_of(of_x, steps, freq, "X"), axis_of(of_y, steps, freq, "y")
    if of_x is not None and of_y is not None and dated(of_x) and dated(of_y) and not (of_x == of_y).all():
        row = int(np.argmin(of_x == of_y))
        raise DataError(f"row {row} is labelled {of_x[row]} in X and {of_y[row]} in y; give both the same rows")
    return axis_x if dated(of_x) or not dated(of_y) else axis_y, axis_y if of_x is None else axis_x


def read_targets(y: Any) -> tuple[list[str], list[Floats], bool]:
    """Names and values (T,) of the series in y, and whether it has no columns; `DataError` tells the bad ones."""
    if not isinstance(y, pd.DataFrame | pd.Series):
        y = np.asarray(y)
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(f"y has the shape {tuple(y.shape)}; give (rows,), or (rows, series), with at least one of each")
    if isinstance(y, pd.DataFrame):
        names, columns = [str(name) for name in y.columns], [y.iloc[:, place] for place in range(y.shape[1])]
    elif isinstance(y, pd.Series):
        names, columns = ["y" if y.name is None else str(y.name)], [y]
    else:
        columns = [y] if y.ndim == 1 else list(y.T)
        names = ["y"] if y.ndim == 1 else [f"y{number}" for number in range(len(columns))]
    read = [to_floats(column) for column in columns]
    found = [complaint(name, raw, one.values, one.bad) for name, raw, one in zip(names, columns, read, strict=True)]
    if any(found):
        raise DataError("\n".join(text for text in found if text))
    return names, [one.values for one in read], y.ndim == 1


def steps_ahead(axis: TimeIndex, labels: "pd.Index[Any] | None", rows: int) -> NDArray[np.int64]:
    """How many steps after the first step ahead each of n rows lies: 0, 1, 2... where they carry no labels."""
    if not rows:
        raise DataError("X has no rows, so there is no step to forecast; give one a step")
    in_turn = np.arange(rows, dtype=np.int64)
    if labels is None or _unlabelled(axis, labels):
        return in_turn
    first = axis.future(1)
    if dated(first) != dated(labels) or (type(first) is not type(labels) and dated(labels)):
        raise DataError(f"X is labelled {labels[0]} and the training data go on at {first[0]}; label both alike")
    try:
        ahead = _until(axis, labels.max(), rows)
        found = np.asarray(ahead.get_indexer(labels), dtype=np.int64)
        before = np.asarray(labels < first[0])
    except TypeError:
        raise DataError(
            f"X is labelled {labels[0]} and the training data go on at {first[0]}; write times of both with or without "
            "a time zone"
        ) from None
    if before.any():
        row = int(before.argmax())
        raise DataError(
            f"row {row} of X is labelled {labels[row]}, and the forecast begins at {first[0]}, after the training "
            f"data; what lies before is not forecast. In cross-validation, {SPLIT}"
        )
    if (found < 0).any():
        row = int((found < 0).argmax())
        raise DataError(
            f"row {row} of X is labelled {labels[row]}, which is no step of the series: they go on at "
            f"{', '.join(str(one) for one in axis.future(3))}"
        )
    return found


def _unlabelled(axis: TimeIndex, labels: "pd.Index[Any]") -> bool:
    """Whether labels are those that pandas gives of itself, 0, 1, 2..., to a table made afresh for the forecast."""
    of_itself = not dated(labels) and np.array_equal(labels, np.arange(len(labels)))
    past = axis.past()
    return of_itself and (dated(past) or past[0] == 0)


def _until(axis: TimeIndex, last: Any, rows: int) -> "pd.Index[Any]":
    """Stamps after the history, until they reach the last label."""
    horizon = rows
    while True:
        ahead = axis.future(horizon)
        if ahead[-1] >= last:
            return ahead
        if horizon >= MOST_AHEAD:
            raise DataError(f"X reaches {last}, more than {horizon:,} steps after the training data; give nearer rows")
        horizon = min(2 * horizon, MOST_AHEAD)
