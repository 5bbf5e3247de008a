"""Covariates: what is known ahead (`future`) and what never changes (`static`), checked and carried with the panel."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import to_floats
from tsfm.data.rows import is_sequence
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# n series, H steps known ahead.


def attach(panel: Panel, future: Any, static: Any) -> None:
    """Put covariates on the panel, or say in plain words why they do not belong to it.

    future   a frame with the panel's id and time columns and a column a covariate, or a dict name -> (H,) for all
             series or (n, H)
    static   a frame with the panel's id column (or ids for an index), or a dict name -> n values, or id -> value
    """
    if future is not None:
        panel.future_covariates = _future(panel, _plain(future))
    if static is not None:
        panel.static = _static(panel, _plain(static))


def _plain(data: Any) -> Any:
    """Frames of other libraries as pandas; dicts and pandas frames as they are."""
    if isinstance(data, pd.DataFrame | Mapping):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame(data.name if data.name is not None else "covariate")
    from tsfm.data.foreign import read_foreign

    found = read_foreign(data)
    if found is None or not isinstance(found[0], pd.DataFrame):
        raise DataError(f"covariates of type {type(data).__name__} are not understood; give a frame or a dict")
    return found[0]


def _future(panel: Panel, future: Any) -> dict[str, list[Floats]]:
    if isinstance(future, Mapping):
        return {str(name): _shared_or_each(panel, str(name), values) for name, values in future.items()}
    groups = _groups(panel, future)
    names = [
        column for column in future.columns if column not in (panel.origin.id, panel.origin.time, panel.origin.target)
    ]
    lengths = {series_id: len(group) for series_id, group in groups.items()}
    horizon = min(lengths.values())
    uneven = next((series_id for series_id, length in lengths.items() if length != horizon), None)
    if uneven is not None:
        raise DataError(
            f"future= has {horizon} rows for some series and {lengths[uneven]} for {uneven!r}; give all the same"
        )
    for i, series_id in enumerate(panel.ids):
        _check_start(panel, i, groups[series_id])
    return {str(name): [_numbers(name, groups[series_id][name]) for series_id in panel.ids] for name in names}


def _groups(panel: Panel, future: pd.DataFrame) -> dict[Hashable, pd.DataFrame]:
    """Rows of every series of the panel."""
    key = panel.origin.id
    if key is None or key not in future.columns:
        if len(panel) > 1 and key is not None:
            raise DataError(f"future= has no column {key!r} to tell its {len(panel)} series apart; add it")
        return dict.fromkeys(panel.ids, future)
    groups = dict(iter(future.groupby(key, sort=False)))
    absent = [series_id for series_id in panel.ids if series_id not in groups]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise DataError(f"future= has no rows for series {', '.join(map(repr, absent[:3]))}{more}; add them")
    return groups


def _check_start(panel: Panel, i: int, group: pd.DataFrame) -> None:
    """What is known ahead must begin at the step after the history."""
    time = panel.origin.time
    times: Any = group[time] if time in group.columns else group.index
    stamped = isinstance(times, pd.DatetimeIndex) or pd.api.types.is_datetime64_any_dtype(times.dtype)
    if not stamped or panel.index[i].clock.kind != "datetime":
        return
    first, expected = pd.Series(times).min(), panel.future_index(i, 1)[0]
    if (first.tzinfo is None) == (expected.tzinfo is None) and first != expected:
        raise DataError(
            f"future= of series {panel.ids[i]!r} begins at {first}; its history ends so that {expected} comes next"
        )


def _shared_or_each(panel: Panel, name: str, values: Any) -> list[Floats]:
    rows = list(values)
    if rows and is_sequence(rows[0]):
        if len(rows) != len(panel):
            raise DataError(f"future[{name!r}] has {len(rows)} rows for {len(panel)} series; give one a series")
        return [_numbers(name, row) for row in rows]
    return [_numbers(name, rows)] * len(panel)


def _numbers(name: Any, values: Any) -> Floats:
    column = to_floats(values)
    if len(column.bad) or not np.isfinite(column.values).all():
        row = int(column.bad[0] if len(column.bad) else np.flatnonzero(~np.isfinite(column.values))[0])
        raise DataError(f"covariate {str(name)!r} has {list(values)[row]!r} at position {row}; give finite numbers")
    return column.values


def _static(panel: Panel, static: Any) -> dict[str, list[Any]]:
    if isinstance(static, pd.DataFrame):
        key = panel.origin.id
        table = static.set_index(key) if key is not None and key in static.columns else static
        return {str(name): _by_id(panel, str(name), table[name].to_dict()) for name in table.columns}
    if all(series_id in static for series_id in panel.ids):
        return {"static": [static[series_id] for series_id in panel.ids]}
    made = {}
    for name, values in static.items():
        if isinstance(values, Mapping):
            made[str(name)] = _by_id(panel, str(name), values)
        elif not is_sequence(values) or len(values) != len(panel):
            raise DataError(
                f"static[{name!r}] does not have one value for each of the {len(panel)} series; give as many"
            )
        else:
            made[str(name)] = list(values)
    return made


def _by_id(panel: Panel, name: str, values: Mapping[Any, Any]) -> list[Any]:
    absent = [series_id for series_id in panel.ids if series_id not in values]
    if absent:
        raise DataError(f"static {name!r} has no value for series {absent[0]!r} ({len(absent)} absent in all); add it")
    return [values[series_id] for series_id in panel.ids]
