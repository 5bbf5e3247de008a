"""Filling in frames and series of pandas: their gaps, and the rows that their time axis leaves out.

A row stands for one step of its series' axis. Where every step has its row, the rows stay in place; otherwise they are
laid out anew, sorted by series and time, with nothing in the other columns of those that are new.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfm.data.arrays import to_array, to_floats
from tsfm.data.clocks import Ticks
from tsfm.data.stamps import read_times
from tsfm.data.timeaxis import TimeIndex
from tsfm.panel import Floats, Panel

# n series, T_i steps of series i after the gaps in time were closed, R rows of a frame.


class Fill(NamedTuple):
    """All numbers of a series, and which of them were missing; (T_i,) each."""

    numbers: Floats
    gaps: Any

    def take(self, steps: Ticks) -> "Fill":
        return Fill(self.numbers[steps], self.gaps[steps])


def within(numbers: Floats, kind: Any) -> Any:
    """Numbers in another type of floats, at the end of its range where they lie beyond it."""
    return np.clip(numbers, np.finfo(kind).min, np.finfo(kind).max).astype(kind)


def fill_column(column: "pd.Series[Any]", fill: Fill) -> "pd.Series[Any]":
    """A column (R,) with numbers where it has none, in its own type if that holds fractions, else in 64 bits."""
    missing = fill.gaps | np.isnan(to_floats(to_array(column)).values)
    if not missing.any():
        return column
    kind: Any = column.dtype
    if not pd.api.types.is_float_dtype(kind):
        wide = "Float64" if isinstance(kind, pd.api.extensions.ExtensionDtype) and kind.kind in "iub" else "float64"
        return pd.Series(fill.numbers, column.index, wide, column.name)
    size = np.dtype(f"float{8 * kind.itemsize}")
    filled = column.copy()
    filled.iloc[np.flatnonzero(missing)] = within(fill.numbers[missing], size)
    return filled


def slots_of(index: TimeIndex, ticks: Ticks) -> Ticks:
    """Step of the axis that each row at absolute ticks (R,) stands for, as the repair of time axes has laid it."""
    frequency, clock, found = index.frequency, index.clock, np.empty(0, np.int64)
    own = clock.wall(ticks) if frequency is not None and frequency.wall else ticks
    dates = (np.append(index.start, own) // clock.ticks_per_day).astype("M8[D]")
    if index.stamps is not None:
        found = np.searchsorted(index.stamps, ticks)
    elif clock.kind == "datetime" and frequency is not None and frequency.kind == "business":
        dates = np.busday_offset(dates, 0, roll="backward")
        found = np.busday_count(dates[0], dates[1:]) // frequency.step
    elif clock.kind == "datetime" and frequency is not None and frequency.kind == "month":
        months = dates.astype("M8[M]").astype(np.int64)
        found = (months[1:] - months[0]) // frequency.step
    elif frequency is not None and frequency.wall and index.stride % clock.ticks_per_day == 0:
        days, stride = dates.astype(np.int64), index.stride // clock.ticks_per_day
        found = (days[1:] - days[0] + stride // 2) // stride
    else:
        found = (own - index.start + index.stride // 2) // index.stride
    return found


def ticks_of(panel: Panel, times: Any, name: Any) -> Ticks:
    """Absolute ticks (R,) of a column of times, or the numbers of the rows where they are no times."""
    if all(index.clock.kind == "none" for index in panel.index):
        return np.arange(len(times))
    return read_times(times, name, lambda _: "the data")[1]


def rows_of(index: TimeIndex, ticks: Ticks) -> Ticks:
    """The row (T,) that stands for each step of an axis, -1 where there is none."""
    count = np.arange(len(ticks))
    slots = count if index.clock.kind == "none" else slots_of(index, ticks)
    rows = np.full(index.length, -1)
    rows[slots[::-1]] = count[::-1]  # the first of those repeated
    return rows


def fill_series(series: "pd.Series[Any]", panel: Panel, place: int, fill: Fill) -> "pd.Series[Any]":
    """A series of pandas on its own index, or on the one that has all steps."""
    rows = rows_of(panel.index[place], ticks_of(panel.take([place]), series.index, series.index.name))
    order = order_of(rows, len(series))
    if order is not None:
        return fill_column(series.copy(), fill.take(order))
    laid = series.reset_index(drop=True).reindex(rows)
    laid.index = panel.past_index(place).rename(series.index.name)
    return fill_column(laid, fill)


def order_of(rows: Ticks, count: int) -> Ticks | None:
    """The step of each row where all steps have one and no row is left out, else None."""
    return np.argsort(rows) if len(rows) == count and (rows >= 0).all() else None


def fill_wide(frame: pd.DataFrame, panel: Panel, fills: Sequence[Fill]) -> pd.DataFrame:
    """A frame with a column a series, all on the same steps."""
    time = panel.origin.time
    gone = [name for name in panel.skipped if name in frame.columns]
    frame = frame.drop(columns=gone)
    times = frame.index if time is None else frame[time]
    rows = rows_of(panel.index[0], ticks_of(panel, times, "index" if time is None else time))
    order = order_of(rows, len(frame))
    laid = frame.copy() if order is not None else frame.reset_index(drop=True).reindex(rows).reset_index(drop=True)
    if order is None and time is None:
        laid.index = panel.past_index(0).rename(frame.index.name)
    elif order is None:
        laid[time] = stamps_of(panel.take([0]))
    for name, fill in zip(panel.ids, fills, strict=True):
        laid[name] = fill_column(laid[name], fill if order is None else fill.take(order))
    return laid


def fill_long(frame: pd.DataFrame, panel: Panel, fills: Sequence[Fill]) -> pd.DataFrame:
    """A frame with a row a series and step, its ids and times in columns or in the index."""
    origin, levels = panel.origin, list(frame.index.names) if isinstance(frame.index, pd.MultiIndex) else []
    own_index: Any = frame.index
    time: Any = origin.time
    if levels:
        frame = frame.set_axis(frame.index.set_names([origin.id, time])).reset_index()
    elif origin.details.get("time_in_index"):
        time = "index" if frame.index.name is None else frame.index.name
        frame = frame.rename_axis(time).reset_index()
    codes = np.zeros(len(frame), np.int64) if origin.id is None else pd.factorize(frame[origin.id])[0]
    names = [origin.target] if origin.id is None else pd.unique(frame[origin.id]).tolist()
    whose = {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}
    ticks = ticks_of(panel, frame.index if time is None else frame[time], time)
    found = []  # the row of every step, series by series
    for place, name in enumerate(panel.ids):
        rows = rows_of(panel.index[place], ticks[whose[name]])
        found.append(np.where(rows < 0, -1, whose[name][rows]))
    rows, whole = np.concatenate(found), Fill(*(np.concatenate(part) for part in zip(*fills, strict=True)))
    order = order_of(rows, len(frame))
    if order is not None:
        laid = frame.copy()
        laid[origin.target] = fill_column(laid[origin.target], whole.take(order))
    else:
        laid = frame.reset_index(drop=True).reindex(rows).reset_index(drop=True)
        laid[origin.target] = fill_column(laid[origin.target], whole)
        first = np.repeat([whose[name][0] for name in panel.ids], [len(fill.numbers) for fill in fills])
        if origin.id is not None:
            laid[origin.id] = frame[origin.id].take(first).array
        if time is not None:
            laid[time] = stamps_of(panel)
    if levels:
        return laid.set_index([origin.id, time]).rename_axis(levels)
    if origin.details.get("time_in_index"):
        return laid.set_index(time).rename_axis(own_index.name)
    return laid.set_axis(own_index) if order is not None else laid


def stamps_of(panel: Panel) -> Any:
    """The stamps of all series, one after the other."""
    parts = [panel.past_index(place) for place in range(len(panel))]
    if all(isinstance(part, pd.RangeIndex) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    return parts[0].append(parts[1:])
