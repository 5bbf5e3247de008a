"""Giving back: one array a series becomes the kind of thing that the data were, under the user's own names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.timeaxis import future_times
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# n series, H horizon.


def give_back(panel: Panel, arrays: list[Floats]) -> Any:
    """One array (H,) a series, in the family that the panel came from.

    One list, array or tensor gives an array (H,); a matrix an array (n, H); ragged lists and GluonTS rows a list of
    arrays; a dict a dict; a Series a Series on the continued index; wide and long frames the same with their own column
    names, in the library they came from. Series that were skipped are absent.
    """
    if len(arrays) != len(panel):
        raise DataError(f"{len(arrays)} results for {len(panel)} series; give one a series")
    made = GIVERS[panel.origin.family](panel, arrays)
    if panel.origin.backend == "pandas":
        return made
    from tsfm.data.foreign import make_foreign

    return make_foreign(made, panel.origin.details["library"])


def _one(panel: Panel, arrays: list[Floats]) -> Floats:
    return arrays[0]


def _matrix(panel: Panel, arrays: list[Floats]) -> Floats:
    return np.stack(arrays)


def _ragged(panel: Panel, arrays: list[Floats]) -> list[Any]:
    return [_as_it_was(panel, i, array) for i, array in enumerate(arrays)]


def _dict(panel: Panel, arrays: list[Floats]) -> dict[Any, Any]:
    return {series_id: _as_it_was(panel, i, arrays[i]) for i, series_id in enumerate(panel.ids)}


def _as_it_was(panel: Panel, i: int, array: Floats) -> Any:
    """A Series where the series of a list or dict was one, else the array."""
    names = panel.origin.details.get("names", {})
    if panel.ids[i] not in names:
        return array
    return pd.Series(array, index=panel.future_index(i, len(array)), name=names[panel.ids[i]])


def _series(panel: Panel, arrays: list[Floats]) -> "pd.Series[Any]":
    index = panel.future_index(0, len(arrays[0])).rename(panel.origin.details["index_name"])
    return pd.Series(arrays[0], index=index, name=panel.origin.details["name"])


def _wide(panel: Panel, arrays: list[Floats]) -> pd.DataFrame:
    index = panel.future_index(0, len(arrays[0]))
    named = panel.origin.details["columns"]
    columns = named[named.get_indexer(panel.ids)]
    frame = pd.DataFrame(np.stack(arrays, axis=1), columns=columns)
    if panel.origin.time is not None:
        frame.insert(0, panel.origin.time, np.asarray(index) if isinstance(index, pd.RangeIndex) else index)
        return frame
    return frame.set_index(index.rename(panel.origin.details["index_name"]))


def _long(panel: Panel, arrays: list[Floats]) -> pd.DataFrame:
    origin, horizon = panel.origin, len(arrays[0])
    columns: dict[Any, Any] = {}
    if origin.id is not None:
        rows = np.repeat(np.arange(len(panel)), horizon)
        columns[origin.id] = pd.Index(panel.ids).take(rows).astype(origin.details["id_dtype"])
    times = future_times(panel.index, horizon)
    if origin.time is not None:
        columns[origin.time] = times.to_numpy() if isinstance(times, pd.RangeIndex) else times
    columns[origin.target] = np.concatenate(arrays)
    frame = pd.DataFrame(columns)
    if origin.details["time_in_index"]:
        return frame.set_index(times.rename(origin.details["index_name"]))
    if origin.details["levels"]:
        return frame.set_index([origin.id, origin.time]).rename_axis(origin.details["levels"])
    return frame


def _nested(panel: Panel, arrays: list[Floats]) -> pd.DataFrame:
    """A row a series: its id, the first stamp of the result, and the numbers in one cell."""
    cells = np.empty(len(arrays), dtype=object)
    for i, array in enumerate(arrays):
        cells[i] = array
    columns: dict[Any, Any] = {} if panel.origin.id is None else {panel.origin.id: list(panel.ids)}
    if any(index.clock.kind != "none" for index in panel.index):
        columns["start"] = [index.future(1)[0] for index in panel.index]
    return pd.DataFrame({**columns, panel.origin.target: cells})


GIVERS: dict[str, Callable[[Panel, list[Floats]], Any]] = {
    **dict.fromkeys(("list", "array", "tensor"), _one),
    **dict.fromkeys(("ragged", "gluonts"), _ragged),
    "matrix": _matrix,
    "dict": _dict,
    "series": _series,
    "wide": _wide,
    "long": _long,
    "nested": _nested,
}
