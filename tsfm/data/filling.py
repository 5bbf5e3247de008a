"""Filling in: data come back as they were, with numbers where none stood and rows for the steps that were left out.

What was observed is never touched: a cell that holds a value comes back with that value, in the type it had. Frames and
series keep their other columns, their index and the order of their rows; only where a step of the time axis has no row,
or several, the rows are laid out anew, sorted by series and time. A column of text stamps then becomes one of times.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from tsfm.data.arrays import is_tensor, to_array
from tsfm.data.filling_frames import Fill, fill_long, fill_series, fill_wide, within
from tsfm.data.rows import is_sequence
from tsfm.panel import Floats, Panel

# n series, T_i steps of series i after the gaps in time were closed, R rows of a frame.

ROW = "row of tsfm"  # the column that tells where each row came from


def tangible(data: Any) -> Any:
    """The data, or a list of what they yield where they can be read only once."""
    if isinstance(data, pd.DataFrame | pd.Series | np.ndarray | Panel | Mapping | Sequence) or is_tensor(data):
        return data
    from tsfm.data.foreign import read_foreign

    known = read_foreign(data) is not None or hasattr(data, "__array__") or not isinstance(data, Iterable)
    return data if known else list(data)


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
        return fill_long(data.to_frame(name), panel, fills)[name].rename(data.name)
    if family == "series":
        return fill_series(data, panel, 0, fills[0])
    if family in ("wide", "long", "nested"):
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        return {"wide": fill_wide, "long": fill_long, "nested": _nested}[family](frame, panel, fills)
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
    """A frame or series of another library; columns that are no series never leave it, so that their types survive."""
    import narwhals as nw

    from tsfm.data.foreign import make_foreign, read_foreign

    content, library = cast("tuple[Any, Any]", read_foreign(data))
    panel = replace(panel, origin=replace(panel.origin, backend="pandas"))
    if isinstance(content, pd.Series):
        kind = nw.from_native(data, series_only=True).dtype
        series: Any = nw.from_native(make_foreign(_filled(content, panel, fills), library), series_only=True)
        return series.cast(kind).to_native() if kind.is_float() else series.to_native()
    origin = panel.origin
    series_names = {*panel.ids, *panel.skipped} if origin.family == "wide" else {origin.target}
    beside = [name for name in content.columns if name not in {*series_names, origin.id, origin.time}]
    numbered = content.drop(columns=beside).assign(**{ROW: np.arange(float(len(content)))})
    made = _filled(numbered, panel, fills)
    rows = made.pop(ROW)
    columns: Any = nw.from_native(make_foreign(made, library), eager_only=True)
    if not beside:
        return columns.to_native()
    whole: Any = nw.from_native(_as_table(data), eager_only=True)
    taken = whole.select(beside)[rows.fillna(0).astype(int).tolist()]
    there = nw.new_series(ROW, rows.notna().to_numpy(), nw.Boolean(), backend=library.implementation)
    taken = taken.with_columns(there).select(*(nw.when(nw.col(ROW)).then(nw.col(name)).alias(name) for name in beside))
    order = [name for name in content.columns if name in {*columns.columns, *beside}]
    return nw.concat([columns, taken], how="horizontal").select(order).to_native()


def _as_table(data: Any) -> Any:
    """An Arrow table of a record batch, which narwhals does not know; anything else as it is."""
    if type(data).__name__ != "RecordBatch":
        return data
    import pyarrow as pa

    return pa.Table.from_batches([data])


def _stacked(fills: Sequence[Fill]) -> Fill:
    return Fill(np.stack([fill.numbers for fill in fills]), np.stack([fill.gaps for fill in fills]))


def _part(part: Any, panel: Panel, place: int, fill: Fill) -> Any:
    return fill_series(part, panel, place, fill) if isinstance(part, pd.Series) else _numbers(part, fill)


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
            filled = fill_series(pd.Series(to_array(target), pd.Index(to_array(stamps))), panel, place, fills[place])
            row[origin.target], row[origin.time] = filled.to_numpy(), filled.index.to_numpy()
        else:
            row[origin.target] = _numbers(target, fills[place])
        found.append(row)
    return found
