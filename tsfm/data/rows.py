"""Rows that hold a whole series each: GluonTS data sets, rows in the style of fev, parquet with list columns.

They are read as plain dicts, so gluonts need not be installed. A row has a target and, where it has a time axis, either
a start (with a frequency of its own, in the row, or given) or a list of time stamps as long as the target.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import complaint, to_array, to_floats
from tsfm.data.clocks import Clock
from tsfm.data.columns import ID_NAMES, TARGET_NAMES, TIME_NAMES
from tsfm.data.inference import named
from tsfm.data.intake import Intake
from tsfm.data.repairs import fits, series_name
from tsfm.data.stamps import read_times
from tsfm.data.tables import take_wide
from tsfm.data.timeaxis import Frequency, TimeIndex, parse_frequency, untimed
from tsfm.errors import DataError
from tsfm.panel import Origin, Repair

# Keys that say where a row comes from and when it begins, and nothing that a model could use.
PLAIN = frozenset({"start", "freq", "info", "source", "forecast_start"})


def is_nested(column: "pd.Series[Any]") -> bool:
    """True where every cell is a series of its own."""
    filled = column.dropna()
    return len(filled) > 0 and column.dtype.kind == "O" and is_sequence(filled.iloc[0])


def is_sequence(value: Any) -> bool:
    """True for what holds numbers one after the other, false for one number or text."""
    if isinstance(value, str | bytes | Mapping):
        return False
    return getattr(value, "ndim", None) != 0 and hasattr(value, "__len__")


def take_rows(
    rows: Sequence[Mapping[Any, Any]], given: dict[str, Any], freq: Frequency | None, intake: Intake, family: str
) -> Origin:
    """File a series a row; ids are the rows' own, or their numbers."""
    first = rows[0]
    target = _key(first, given["target"], "target", TARGET_NAMES)
    if target is None:
        raise DataError(f"rows have {', '.join(map(repr, first))} and none is the target; name it with target=")
    key = _key(first, given["id"], "id", ID_NAMES)
    time = _key(first, given["time"], "time", TIME_NAMES)
    seen: set[Hashable] = set()
    unread: dict[Any, int] = {}
    for number, row in enumerate(rows):
        if target not in row:
            raise DataError(f"row {number} has no {target!r}; it has {', '.join(map(repr, row))}")
        series_id = row[key] if key is not None and key in row else number
        if series_id in seen:
            raise DataError(f"rows share the id {series_id!r} (again in row {number}); give each series its own")
        seen.add(series_id)
        for name in row.keys() - {key, time, target} - PLAIN:
            unread[name] = unread.get(name, 0) + (row[name] is not None)
        try:
            _take_row(series_id, row, target, time, freq, intake)
        except DataError as error:
            intake.problems[series_id] = str(error)
    used = [name for name in first if unread.get(name)] + sorted(set(unread) - set(first), key=str)
    if used:
        text = f"the rows also hold {', '.join(map(repr, used))}, which no forecast uses; {target!r} alone is forecast"
        intake.repairs.append(Repair(target, "covariates", max(unread.values()), text))
    return Origin(family, key, time or "start", target)


def _key(row: Mapping[Any, Any], named_by_user: Any, argument: str, known: tuple[str, ...]) -> Any:
    if named_by_user is not None:
        if named_by_user not in row:
            raise DataError(
                f"{argument}={named_by_user!r} is no key of the rows; they have {', '.join(map(repr, row))}"
            )
        return named_by_user
    return next((name for name in known if name in row), None)


def _take_row(
    series_id: Hashable, row: Mapping[Any, Any], target: Any, time: Any, freq: Frequency | None, intake: Intake
) -> None:
    if not is_sequence(row[target]):
        intake.problems[series_id] = (
            f"{series_name(series_id)} has {row[target]!r} for a target; give a list of numbers"
        )
        return
    raw = to_array(row[target])
    if getattr(raw, "ndim", 1) != 1:
        shape = tuple(raw.shape)
        intake.problems[series_id] = (
            f"{series_name(series_id)} has a target of shape {shape}; give each variate its own row"
        )
        return
    freq = freq or _own_frequency(series_id, row)
    if time is not None and is_sequence(row.get(time)):
        _take_stamped(series_id, row, time, raw, freq, intake)
        return
    start = row.get("start", row.get(time) if time is not None else None)
    index = (
        untimed(len(raw), freq) if start is None or pd.isna(start) else _from_start(series_id, start, len(raw), freq)
    )
    intake.add_raw(series_id, raw, index)
    if index.frequency is None and index.clock.kind == "datetime":
        text = f"{series_name(series_id)}: no frequency is known, so it is continued in steps of one day; pass freq="
        intake.repairs.append(Repair(series_id, "frequency", 1, text))


def _own_frequency(series_id: Hashable, row: Mapping[Any, Any]) -> Frequency | None:
    if row.get("freq") is None:
        return None
    try:
        return parse_frequency(row["freq"])
    except DataError as error:
        raise DataError(f"{series_name(series_id)}: {error}") from None


def _take_stamped(series_id: Hashable, row: Mapping[Any, Any], time: Any, raw: Any, freq: Any, intake: Intake) -> None:
    name = series_name(series_id)
    if len(row[time]) != len(raw):
        intake.problems[series_id] = f"{name} has {len(raw)} values and {len(row[time])} time stamps; give one a value"
        return
    column = to_floats(raw)
    problem = complaint(series_id, raw, column.values, column.bad)
    if problem:
        intake.problems[series_id] = problem
        return
    try:
        clock, ticks, note = read_times(pd.Index(to_array(row[time])), time, lambda _: name)
        take_wide([series_id], clock, ticks, [column], [raw], freq, intake)
    except DataError as error:
        intake.problems[series_id] = str(error)
        return
    if note:
        intake.repairs.append(Repair(series_id, "time", len(ticks), f"{name}: {note}"))


def _from_start(series_id: Hashable, start: Any, length: int, freq: Frequency | None) -> TimeIndex:
    """The axis that begins at one stamp."""
    if isinstance(start, pd.Period):
        clock = Clock("period", period=start.freqstr)
        stride = int(start.freq.n)
        return TimeIndex(clock, freq or named(clock, stride), start.ordinal, length, stride)
    if isinstance(start, np.ndarray):
        start = start.item() if start.dtype.kind != "M" else start[()]
    clock, ticks, _ = read_times(pd.Index([start]), "start", lambda _: series_name(series_id))
    if freq is None:
        return TimeIndex(clock, None, int(ticks[0]), length, clock.ticks_per_day if clock.kind == "datetime" else 1)
    stride = max(1, freq.step // (1 if clock.tick == "ns" else 1000)) if freq.kind == "fixed" else 1
    placed = fits(ticks, clock, freq, stride if clock.kind == "datetime" else 1)
    if placed is None:
        raise DataError(
            f"{series_name(series_id)} starts at {start}, which is no step of {freq.name!r}; correct either"
        )
    return replace(placed[1], length=length)
