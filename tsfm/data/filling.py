"""Filling in: data come back as they were, with numbers where none stood and rows for the steps that were left out.

What was observed is never touched: a cell that holds a value comes back with that value, in the type it had. Frames and
series keep their other columns, their index and the order of their rows; only where a step of the time axis has no row,
or several, the rows are laid out anew, sorted by series and time. A column of text stamps then becomes one of times.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfm.data.arrays import is_tensor, to_array, to_floats
from tsfm.data.clocks import Ticks
from tsfm.data.rows import is_sequence
from tsfm.data.stamps import read_times
from tsfm.data.timeaxis import TimeIndex
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# n series, T_i steps of series i after the gaps in time were closed, R rows of a frame.


def tangible(data: Any) -> Any:
    """The data, or a list of what they yield where they can be read only once."""
    if isinstance(data, pd.DataFrame | pd.Series | np.ndarray | Panel | Mapping | Sequence) or is_tensor(data):
        return data
    from tsfm.data.foreign import read_foreign

    known = read_foreign(data) is not None or hasattr(data, "__array__") or not isinstance(data, Iterable)
    return data if known else list(data)


class Fill(NamedTuple):
    """All numbers of a series, and which of them were missing; (T_i,) each."""

    numbers: Floats
    gaps: Any

    def take(self, steps: Ticks) -> "Fill":
        return Fill(self.numbers[steps], self.gaps[steps])


def fill_in(data: Any, panel: Panel, arrays: Sequence[Floats]) -> Any:
    """The data (which gave the panel) with its gaps filled by one array (T_i,) a series; skipped series are absent."""
    if isinstance(data, Panel):
        return replace(panel, values=list(arrays))
    return _filled(data, panel, [Fill(new, np.isnan(old)) for new, old in zip(arrays, panel.values, strict=True)])


def _filled(data: Any, panel: Panel, fills: Sequence[Fill]) -> Any:
    if panel.origin.backend == "foreign":
        return _foreign(data, panel, fills)
    family = panel.origin.family
    if isinstance(data, pd.Series) and isinstance(data.index, pd.MultiIndex):
        name = panel.origin.target
        return _long(data.to_frame(name), panel, fills)[name].rename(data.name)
    if family == "series":
        return _series(data, panel, 0, fills[0])
    if family in ("wide", "long", "nested"):
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        return {"wide": _wide, "long": _long, "nested": _nested}[family](frame, panel, fills)
    if family in ("list", "array", "tensor"):
        return _numbers(data, fills[0])
    if family == "matrix":
        return _numbers(data, _stacked(fills))
    if family == "gluonts":
        rows = _mappings(data, panel, fills)
        return rows[0] if isinstance(data, Mapping) else rows
    keys = list(data) if family == "dict" else _keys(data)
    parts = dict(zip(keys, data.values() if family == "dict" else data, strict=True))
    made = {i: _part(parts[i], panel, place, fills[place]) for place, i in enumerate(panel.ids)}
    return made if family == "dict" else list(made.values())


def _keys(parts: Sequence[Any]) -> list[Any]:
    """How the adapter calls the parts of a list: by the names of Series where they differ, else by number."""
    names = [part.name if isinstance(part, pd.Series) else None for part in parts]
    distinct = len(set(names)) == len(names) and None not in names
    return names if distinct else list(range(len(parts)))


def _foreign(data: Any, panel: Panel, fills: Sequence[Fill]) -> Any:
    import narwhals as nw

    from tsfm.data.foreign import make_foreign, read_foreign

    found = read_foreign(data)
    if found is None:
        raise DataError(f"data of type {type(data).__name__} changed while they were filled; give a copy")
    content, library = found
    made = make_foreign(
        _filled(content, replace(panel, origin=replace(panel.origin, backend="pandas")), fills), library
    )
    if library.one is None:
        return made
    kind = nw.from_native(data, series_only=True).dtype
    filled: Any = nw.from_native(made, series_only=True)
    return filled.cast(kind).to_native() if kind.is_float() else made


def _stacked(fills: Sequence[Fill]) -> Fill:
    return Fill(np.stack([fill.numbers for fill in fills]), np.stack([fill.gaps for fill in fills]))


def _part(part: Any, panel: Panel, place: int, fill: Fill) -> Any:
    return _series(part, panel, place, fill) if isinstance(part, pd.Series) else _numbers(part, fill)


def _numbers(part: Any, fill: Fill) -> Any:
    """Numbers without a time axis: a list or tuple as a list, an array or tensor in its own type."""
    if isinstance(part, list | tuple) and fill.numbers.ndim == 1:
        made = [float(new) if gap else old for old, new, gap in zip(part, *fill, strict=True)]
        return tuple(made) if isinstance(part, tuple) else made
    if is_tensor(part):
        filled = part.clone()
        filled[fill.gaps] = part.new_tensor(fill.numbers[fill.gaps])
        return filled
    plain = to_array(part)
    if isinstance(plain, np.ndarray) and plain.ndim == 2 and plain.dtype.kind not in "fiub":
        return fill.numbers.copy()
    return plain.copy() if not fill.gaps.any() else _in_type(plain, fill)


def _in_type(plain: Any, fill: Fill) -> Any:
    if plain.dtype.kind == "f" and isinstance(plain, np.ndarray):
        return np.where(fill.gaps, within(fill.numbers, plain.dtype), plain)
    return fill.numbers.copy()


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


def _rows_of(index: TimeIndex, times: Any, name: Any) -> Ticks:
    """The row (T,) that stands for each step of an axis, -1 where there is none."""
    slots = np.arange(len(times))
    if index.clock.kind != "none":
        slots = slots_of(index, read_times(times, name, lambda _: "the data")[1])
    rows = np.full(index.length, -1)
    rows[slots[::-1]] = np.arange(len(times))[::-1]  # the first of those repeated
    return rows


def _series(series: "pd.Series[Any]", panel: Panel, place: int, fill: Fill) -> "pd.Series[Any]":
    rows = _rows_of(panel.index[place], series.index, series.index.name)
    order = _order(rows, len(series))
    if order is not None:
        return fill_column(series, fill.take(order))
    laid = series.reset_index(drop=True).reindex(rows)
    laid.index = panel.past_index(place).rename(series.index.name)
    return fill_column(laid, fill)


def _order(rows: Ticks, count: int) -> Ticks | None:
    """The step of each row where all steps have one and no row is left out, else None."""
    return np.argsort(rows) if len(rows) == count and (rows >= 0).all() else None


def _wide(frame: pd.DataFrame, panel: Panel, fills: Sequence[Fill]) -> pd.DataFrame:
    time = panel.origin.time
    gone = [name for name in panel.skipped if name in frame.columns]
    frame = frame.drop(columns=gone)
    times = frame.index if time is None else frame[time]
    rows = _rows_of(panel.index[0], times, "index" if time is None else time)
    order = _order(rows, len(frame))
    laid = frame.copy() if order is not None else frame.reset_index(drop=True).reindex(rows).reset_index(drop=True)
    if order is None and time is None:
        laid.index = panel.past_index(0).rename(frame.index.name)
    elif order is None:
        laid[time] = np.asarray(panel.past_index(0)) if _plain(panel, 0) else panel.past_index(0)
    for name, fill in zip(panel.ids, fills, strict=True):
        laid[name] = fill_column(laid[name], fill if order is None else fill.take(order))
    return laid


def _plain(panel: Panel, place: int) -> bool:
    return isinstance(panel.past_index(place), pd.RangeIndex)


def _long(frame: pd.DataFrame, panel: Panel, fills: Sequence[Fill]) -> pd.DataFrame:
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
    found = []  # the row of every step, series by series
    for place, name in enumerate(panel.ids):
        times = frame[time].iloc[whose[name]] if time is not None else whose[name]
        rows = _rows_of(panel.index[place], times, time)
        found.append(np.where(rows < 0, -1, whose[name][rows]))
    rows, whole = np.concatenate(found), Fill(*(np.concatenate(part) for part in zip(*fills, strict=True)))
    order = _order(rows, len(frame))
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
            laid[time] = _stamps(panel)
    if levels:
        return laid.set_index([origin.id, time]).rename_axis(levels)
    if origin.details.get("time_in_index"):
        return laid.set_index(time).rename_axis(own_index.name)
    return laid.set_axis(own_index) if order is not None else laid


def _stamps(panel: Panel) -> Any:
    """The stamps of all series, one after the other."""
    parts = [panel.past_index(place) for place in range(len(panel))]
    if all(isinstance(part, pd.RangeIndex) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    return parts[0].append(parts[1:])


def _nested(frame: pd.DataFrame, panel: Panel, fills: Sequence[Fill]) -> pd.DataFrame:
    records = _mappings(frame.to_dict("records"), panel, fills)
    ids = list(range(len(frame))) if panel.origin.id is None else frame[panel.origin.id].tolist()
    laid = frame.iloc[[place for place, name in enumerate(ids) if name in set(panel.ids)]].copy()
    for name in {panel.origin.target, panel.origin.time} & set(frame.columns):
        cells = np.empty(len(records), dtype=object)
        for place, record in enumerate(records):
            cells[place] = record[name]
        laid[name] = pd.Series(cells, laid.index).infer_objects()
    return laid


def _mappings(data: Any, panel: Panel, fills: Sequence[Fill]) -> list[dict[Any, Any]]:
    """Rows that hold a whole series each, with their target and, where steps were left out, their stamps anew."""
    origin, rows = panel.origin, [data] if isinstance(data, Mapping) else list(data)
    whose = {row.get(origin.id, number) if origin.id is not None else number: row for number, row in enumerate(rows)}
    found = []
    for place, name in enumerate(panel.ids):
        row = dict(whose[name])
        target, stamps = row[origin.target], row.get(origin.time)
        if stamps is not None and is_sequence(stamps):
            filled = _series(pd.Series(to_array(target), pd.Index(to_array(stamps))), panel, place, fills[place])
            row[origin.target], row[origin.time] = filled.to_numpy(), filled.index.to_numpy()
        else:
            row[origin.target] = _numbers(target, fills[place])
        found.append(row)
    return found
