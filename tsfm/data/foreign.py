"""Frames and series of other libraries (polars, Arrow), read and made through narwhals without importing either.

Columns cross as numpy arrays, so that pyarrow is not needed for a polars frame. Zoned times cross in UTC and get their
zone back; ids and times go back in the type they came in.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfm.errors import DataError


@dataclass(frozen=True)
class Library:
    """What it takes to make a frame or series of the library that the data came from."""

    implementation: Any
    types: dict[str, Any]
    one: str | None = None  # the name, where it was a series and no frame


def read_foreign(data: Any) -> "tuple[pd.DataFrame | pd.Series[Any], Library] | None":
    """A pandas copy of a foreign frame or series and where it came from, None for anything else."""
    import narwhals as nw

    if type(data).__module__.startswith("pyarrow") and type(data).__name__ == "RecordBatch":
        data = _table(data)
    native: Any = nw.from_native(data, allow_series=True, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        raise DataError("the data are a lazy frame; call .collect() and give the result")
    if isinstance(native, nw.Series):
        column = _column(native)
        return pd.Series(column, name=native.name), Library(native.implementation, {}, native.name)
    if not isinstance(native, nw.DataFrame):
        return None
    columns = {name: _column(native[name]) for name in native.columns}
    return pd.DataFrame(columns), Library(native.implementation, dict(native.schema))


def _table(batch: Any) -> Any:
    """An Arrow table of one record batch: narwhals knows tables alone."""
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _column(series: Any) -> Any:
    zone = getattr(series.dtype, "time_zone", None)
    array = series.to_numpy()
    if zone is not None:
        return pd.DatetimeIndex(array.astype(f"M8[{series.dtype.time_unit}]")).tz_localize("UTC").tz_convert(zone)
    return array


def make_foreign(result: "pd.DataFrame | pd.Series[Any]", library: Library) -> Any:
    """The result as a frame or series of the library that the data came from."""
    import narwhals as nw

    if isinstance(result, pd.Series):
        series: Any = nw.new_series(library.one or "", result.to_numpy(), nw.Float64(), backend=library.implementation)
        return series.to_native()
    columns = {str(name): _plain(result[name]) for name in result.columns}
    frame: Any = nw.from_dict(columns, backend=library.implementation)
    for name in columns:
        kind = library.types.get(name)
        if kind is None or isinstance(columns[name], list) or columns[name].dtype.kind == "f":
            continue
        zone = getattr(kind, "time_zone", None)
        made = nw.col(name)
        if zone is not None:
            made = made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        frame = frame.with_columns(made if isinstance(kind, nw.String) else made.cast(kind))
    return frame.to_native()


def _plain(column: Any) -> Any:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _known_unit(column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
    if column.dtype == object and len(column) and isinstance(column.iloc[0], np.ndarray):
        return [cell.tolist() for cell in column]
    return _known_unit(column.to_numpy())


def _known_unit(array: Any) -> Any:
    """Seconds as milliseconds: polars has no stamps of whole seconds, and its dates reach us as such."""
    return array.astype("M8[ms]") if array.dtype == "M8[s]" else array
