"""Tables of a forecast: long, wide, Nixtla's names, GluonTS objects; pandas, or polars and Arrow where data came so.

All numbers of a table are computed for all series at once. `Forecast.to_frame` says what each layout holds.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError, MissingDependency, UnknownName
from tsfm.prediction import ends, name_of

if TYPE_CHECKING:
    from tsfm.prediction import Forecast

# n series, H horizon, L asked levels, each once.

Floats = NDArray[np.float64]

MEAN = "mean"
NIXTLA_NAME = "TSFM"


def to_frame(forecast: "Forecast", layout: str) -> Any:
    """The table in one of the layouts, in the library the data came from."""
    makers = {"long": long, "wide": wide, "nixtla": nixtla}
    if layout not in makers:
        raise UnknownName(f"no layout {layout!r}; there are {', '.join(makers)}")
    frame = makers[layout](forecast)
    library = forecast.panel.origin.details.get("library")
    if library is None:
        return frame
    return _convert(flat(frame) if layout == "wide" else frame, library)


def long(forecast: "Forecast", rows: int | None = None) -> pd.DataFrame:
    """A row for each series and step; `rows` stops after that many."""
    if rows is not None:
        forecast = forecast.first(-(-rows // forecast.horizon))
    id_name, time_name = column_names(forecast)
    numbers = _numbers(forecast)
    for name in (id_name, time_name):
        if name in numbers:
            raise DataError(
                f"the column {name!r} of the data has the name of a column of the result ({', '.join(numbers)}); "
                "rename it, or use layout='nixtla'"
            )
    columns = {id_name: _id_column(forecast), time_name: forecast.panel.future_times(forecast.horizon)}
    frame = pd.DataFrame({**columns, **{name: values.ravel() for name, values in numbers.items()}})
    return frame if rows is None else frame.head(rows)


def wide(forecast: "Forecast") -> pd.DataFrame:
    """A row a time, columns (id, level), plain level columns for a single series."""
    numbers = _numbers(forecast)
    time = column_names(forecast)[1]
    if len(forecast) == 1:
        one = pd.DataFrame({name: values[0] for name, values in numbers.items()})
        one.index = forecast.panel.future_index(0, forecast.horizon).rename(time)
        return one
    stacked = np.stack(list(numbers.values()), axis=-1)  # (n, H, L + 1)
    times = forecast.panel.future_times(forecast.horizon)
    try:
        codes, found = pd.factorize(times, sort=True)
    except TypeError:
        raise DataError("the series have different kinds of time axes; layout='long' can hold them") from None
    table = np.full((len(found), len(forecast), len(numbers)), np.nan)
    series = np.repeat(np.arange(len(forecast)), forecast.horizon)
    table[codes, series] = stacked.reshape(-1, len(numbers))
    id_name = column_names(forecast)[0]
    columns = pd.MultiIndex.from_product([forecast.panel.ids, list(numbers)], names=[id_name, "level"])
    return pd.DataFrame(table.reshape(len(found), -1), index=pd.Index(found, name=time), columns=columns)


def nixtla(forecast: "Forecast") -> pd.DataFrame:
    """unique_id, ds, the median as TSFM, then an interval for each asked level but 0.5, the widest outside."""
    shares = {name_of(100 * round(abs(1 - 2 * level), 12)): abs(1 - 2 * level) for level in forecast.levels}
    widest_first = sorted((share, name) for name, share in shares.items() if share > 0)[::-1]
    times = forecast.panel.future_times(forecast.horizon)
    columns: dict[str, Any] = {
        "unique_id": _id_column(forecast),
        "ds": times.to_timestamp() if isinstance(times, pd.PeriodIndex) else times,
        NIXTLA_NAME: forecast.quantile_array(0.5).ravel(),
    }
    for share, name in widest_first:
        columns[f"{NIXTLA_NAME}-lo-{name}"] = forecast.table_array(ends(share)[0]).ravel()
    for share, name in reversed(widest_first):
        columns[f"{NIXTLA_NAME}-hi-{name}"] = forecast.table_array(ends(share)[1]).ravel()
    return pd.DataFrame(columns)


def to_gluonts(forecast: "Forecast") -> list[Any]:
    """GluonTS's own objects; time zones are dropped and series without dates count days from 1970-01-01, as it must.

    A series with a point forecast alone has it at every level, because GluonTS would score what is missing as NaN.
    """
    try:
        with warnings.catch_warnings():
            # GluonTS advises another json package on import, which nobody here can follow.
            warnings.filterwarnings("ignore", message="Using `json`-module")
            from gluonts.model.forecast import QuantileForecast
    except ImportError as missing:
        raise MissingDependency("GluonTS objects need gluonts: pip install 'tsfm-forecast[gluonts]'") from missing
    point = forecast.table_array(0.5)
    numbers = {name: np.where(np.isnan(values), point, values) for name, values in _numbers(forecast).items()}
    return [
        QuantileForecast(
            forecast_arrays=np.stack([values[position] for values in numbers.values()]),
            start_date=_start_period(forecast, position),
            forecast_keys=list(numbers),
            item_id=str(name),
        )
        for position, name in enumerate(forecast.panel.ids)
    ]


def column_names(forecast: "Forecast") -> tuple[Any, Any]:
    """Names of the id and the time column or index: the user's own, else `unique_id`, and `ds` or, undated, `step`."""
    origin = forecast.panel.origin
    # Rows in GluonTS's style name the column of the first stamp, which says nothing about a column of all stamps.
    named = None if origin.family in ("gluonts", "nested") else origin.time
    if named is None:
        named = origin.details.get("index_name")
    if named is None:
        dated = len(forecast) and not isinstance(forecast.panel.future_index(0, 1), pd.RangeIndex)
        named = "ds" if dated else "step"
    id_name = origin.id if origin.id is not None else getattr(origin.details.get("columns"), "name", None)
    return ("unique_id" if id_name is None else id_name), named


def _numbers(forecast: "Forecast") -> dict[str, Floats]:
    """Each asked level once, in the order asked, and the mean; (n, H) each."""
    found: dict[str, Floats] = {}
    for level in forecast.levels:
        if name_of(level) not in found:
            found[name_of(level)] = forecast.table_array(level)
    return {**found, MEAN: forecast.mean_array()}


def _id_column(forecast: "Forecast") -> Any:
    """Every id, H times, of the type the user's own id column has."""
    ids = pd.Series(forecast.panel.ids, dtype=object)
    dtype = forecast.panel.origin.details.get("id_dtype")
    typed = ids.infer_objects() if dtype is None else ids.astype(dtype)
    return typed.repeat(forecast.horizon).reset_index(drop=True)


def _start_period(forecast: "Forecast", position: int) -> pd.Period:
    first = forecast.panel.future_index(position, 1)
    frequency = forecast.panel.index[position].frequency
    alias = frequency.period if frequency is not None else "D"
    if isinstance(first, pd.PeriodIndex):
        return first[0]
    if isinstance(first, pd.DatetimeIndex):
        return first.tz_localize(None).to_period(alias)[0]
    return pd.Period("1970-01-01", freq="D") + int(first[0])


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """A wide table for files and for libraries without an index: time first, and columns "id_level"."""
    named = [name if isinstance(name, str) else f"{name[0]}_{name[1]}" for name in frame.columns]
    return frame.set_axis(named, axis=1).reset_index()


def _convert(frame: pd.DataFrame, library: Any) -> Any:
    """The same table in the library the data came from; the user's own columns get the type they had there."""
    import narwhals as nw

    columns = {str(name): _plain(column) for name, column in frame.items()}
    table: Any = nw.from_dict(columns, backend=library.implementation)
    for name, column in frame.items():
        zone = getattr(column.dtype, "tz", None)
        kind = library.types.get(name)
        made = nw.col(str(name))
        if zone is not None:
            made = made.dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone))
        if kind is not None and kind != nw.String:
            made = made.cast(kind)
        if zone is not None or kind is not None:
            table = table.with_columns(made)
    return table.to_native()


def _plain(column: "pd.Series[Any]") -> Any:
    if column.dtype.kind == "O":
        return column.tolist()
    zoned = getattr(column.dtype, "tz", None) is not None
    array = (column.dt.tz_convert(None) if zoned else column).to_numpy()
    # Polars has no stamps of whole seconds.
    return array.astype("M8[ms]") if array.dtype == "M8[s]" else array
