"""Adapters: everything a person has becomes a `Panel`, and results go back in the same family.

one series    a list, a 1-D array or tensor, a pandas, polars or Arrow series
many series   a 2-D array (rows are series), a list of lists, a dict, a wide or long frame of pandas, polars or Arrow,
              a GluonTS data set or rows in its style, a CSV, parquet or tsf file

That holds for forecasts; the tables of a backtest are pandas frames whatever came in, polars and Arrow too.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import is_tensor, to_array
from tsfm.data.columns import TIME_NAMES
from tsfm.data.covariate_columns import are_names, name_columns
from tsfm.data.covariates import attach
from tsfm.data.frames import take_frame, take_series
from tsfm.data.giving_back import give_back
from tsfm.data.intake import Intake
from tsfm.data.readers import read_told
from tsfm.data.repairs import series_name
from tsfm.data.rows import is_sequence, take_rows
from tsfm.data.tables import borrow_frequency
from tsfm.data.timeaxis import Frequency, parse_frequency, untimed
from tsfm.errors import DataError
from tsfm.panel import Origin, Panel, Repair

__all__ = ["give_back", "to_panel"]

KINDS = (
    "give a list, an array, a tensor, a dict, a pandas, polars or Arrow series or frame, "
    "a GluonTS data set, or the path of a CSV, parquet or tsf file"
)


def to_panel(
    data: Any,
    *,
    id: Any = None,
    time: Any = None,
    target: Any = None,
    freq: Any = None,
    past: Any = None,
    future: Any = None,
    static: Any = None,
    errors: str = "raise",
    usual: Mapping[str, Any] | None = None,
) -> Panel:
    """A panel of every series in `data`, repaired where that is safe; every repair is in `.repairs`.

    id, time, target   names of columns (or keys of rows) where they are not the usual ones
    freq               the frequency, where it cannot be seen in the stamps or is wrong there
    past               names of the columns that are known up to now
    future, static     covariates known ahead, and one value a series: names of columns, or values (data/covariates.py)
    errors             "raise": one `DataError` that lists every bad series; "skip": leave them out, in `.skipped`
    usual              columns by role, or lists of them, that are taken where nothing is given and the data have them
    """
    if errors not in ("raise", "skip"):
        raise DataError(f"errors={errors!r} is no choice; it is 'raise' or 'skip'")
    if isinstance(data, Panel):
        name_columns(past, future, static)
        return _with_covariates(data, future, static)
    intake = Intake()
    roles = {"id": id, "time": time, "target": target, "past": past, "future": future, "static": static}
    if usual:
        data, roles = _with_usual(data, roles, usual, intake)
    future, static = roles["future"], roles["static"]
    named = name_columns(roles["past"], future, static)
    covariates = {"past": named.past or None, "future": named.future or None, "static": named.static or None}
    given = {**roles, **covariates}
    origin = _take(data, given, None if freq is None else parse_frequency(freq), intake)
    read = origin.details.pop("covariates", None)
    if named.all and read is None:
        raise DataError(
            f"{named.all[0]!r} names a covariate, and rows that hold a whole series each have none that is read; give "
            "a long frame with a row a step"
        )
    panel = intake.panel(replace(origin, give_back=give_back), errors)
    attach(panel, future, static, read)
    return panel


def _with_usual(
    data: Any, roles: dict[str, Any], usual: Mapping[str, Any], intake: Intake
) -> tuple[Any, dict[str, Any]]:
    """The data, read where they are a file, and the roles with the usual columns where nothing is given."""
    if isinstance(data, str | PathLike):
        keep = [roles[role] or usual.get(role) for role in ("id", "time")]
        data, repairs = read_told(Path(data), keep=[name for name in keep if name is not None])
        intake.repairs += repairs
    columns = list(getattr(data, "columns", ()))
    for role, names in usual.items():
        there = [name for name in ([names] if isinstance(names, str) else names) if name in columns]
        if roles.get(role) is None and there:
            roles[role] = there[0] if isinstance(names, str) else there
    return data, roles


def _with_covariates(panel: Panel, future: Any, static: Any) -> Panel:
    """A panel that is one already, and what is given beside it."""
    if all(given is None or are_names(given) for given in (future, static)):
        return panel
    joined = replace(panel, categories={name: list(words) for name, words in panel.categories.items()})
    attach(joined, future, static)
    return joined


def _take(data: Any, given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    if isinstance(data, pd.Series) and not isinstance(data.index, pd.MultiIndex):
        _refuse_columns(data, {**given, "target": None} if given["target"] == data.name else given)
    if isinstance(data, str | PathLike):
        frame, repairs = read_told(Path(data), keep=[name for name in (given["id"], given["time"]) if name is not None])
        intake.repairs += repairs
        return take_frame(frame, given, freq, intake)
    if isinstance(data, pd.DataFrame):
        return take_frame(data, given, freq, intake)
    if isinstance(data, pd.Series):
        return _take_one_series(data, given, freq, intake)
    if is_tensor(data) or isinstance(data, np.ndarray):
        _refuse_columns(data, given)
        if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1 and len(data):
            return _take_list(list(data), given, freq, intake)
        return _take_array(data, "array" if isinstance(data, np.ndarray) else "tensor", freq, intake)
    if isinstance(data, Mapping):
        return _take_dict(data, given, freq, intake)
    if isinstance(data, list | tuple | range):
        return _take_list(list(data), given, freq, intake)
    if isinstance(data, set | frozenset | bytes | bool | int | float | complex) or data is None:
        raise DataError(f"{data!r} ({type(data).__name__}) is no series; {KINDS}")
    return _take_foreign(data, given, freq, intake)


def _refuse_columns(data: Any, given: dict[str, Any]) -> None:
    """What has no columns cannot have one named; to forecast all of it regardless would surprise."""
    for argument, name in given.items():
        if name is not None:
            raise DataError(
                f"{argument}={name!r} names a column, and data of type {type(data).__name__} have none; leave "
                f"{argument}= out, or give a frame"
            )


def _take_foreign(data: Any, given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    """Polars and Arrow, anything that turns into an array, and data sets that are iterated."""
    from tsfm.data.foreign import read_foreign

    found = read_foreign(data)
    if found is not None:
        content, library = found
        origin = _take(content, given, freq, intake)
        return replace(origin, backend="foreign", details={**origin.details, "library": library})
    if hasattr(data, "__array__"):
        return _take_array(np.asarray(data), "array", freq, intake)
    if isinstance(data, Iterable):
        return _take_list(list(data), given, freq, intake)
    raise DataError(f"data of type {type(data).__name__} are not understood; {KINDS}")


def _take_one_series(series: "pd.Series[Any]", given: dict[str, Any], freq: Any, intake: Intake) -> Origin:
    if isinstance(series.index, pd.MultiIndex):
        name = series.name if series.name is not None else "target"
        return take_frame(series.to_frame(name), {**given, "target": name}, freq, intake)
    take_series(series, 0 if series.name is None else series.name, freq, intake)
    if freq is None:
        borrow_frequency(intake, [i for i, values in enumerate(intake.values) if len(values) == 1])
    return Origin("series", details={"name": series.name, "index_name": series.index.name})


def _take_array(data: Any, family: str, freq: Frequency | None, intake: Intake) -> Origin:
    if data.ndim == 1:
        intake.add_raw(0, data, untimed(len(data), freq))
        return Origin(family)
    if data.ndim == 2:
        rows = to_array(data)
        for number in range(rows.shape[0]):
            intake.add_raw(number, rows[number], untimed(rows.shape[1], freq))
        if rows.shape[1] == 1 and len(rows) > 1:
            text = (
                f"the {family} of shape {tuple(rows.shape)} is taken as {len(rows)} series of one step, because rows "
                f"are series; for one series of {len(rows)} steps give data[:, 0]"
            )
            intake.repairs.append(Repair(0, "shape", len(rows), text))
        return Origin("matrix")
    remedy = "give a list or array of numbers" if data.ndim == 0 else "reshape it to (series, steps)"
    raise DataError(f"the {family} has {data.ndim} dimensions (shape {tuple(data.shape)}); {remedy}")


def _take_list(data: list[Any], given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    if not data:
        raise DataError("the list is empty; give at least one number or one series")
    if isinstance(data[0], Mapping):
        return _take_mappings(data, given, freq, intake)
    if isinstance(data[0], pd.DataFrame):
        raise DataError("the list holds frames; join them into one long frame: pd.concat(frames, keys=names)")
    _refuse_columns(data, given)
    if not is_sequence(data[0]):
        intake.add_raw(0, data, untimed(len(data), freq))
        return Origin("list")
    names = [part.name if isinstance(part, pd.Series) else None for part in data]
    distinct = len(set(names)) == len(names) and None not in names
    parts = {names[i] if distinct else i: part for i, part in enumerate(data)}
    return Origin("ragged", details=_take_parts(parts, freq, intake))


def _take_mappings(data: list[Any], given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    """Rows with a series each, or with one value each (records of a long table)."""
    odd = next((i for i, row in enumerate(data) if not isinstance(row, Mapping)), None)
    if odd is not None:
        raise DataError(f"row {odd} is {data[odd]!r} and no dict as the others are; correct or drop it")
    if any(is_sequence(value) for value in data[0].values()):
        return take_rows(data, given, freq, intake, family="gluonts")
    return take_frame(pd.DataFrame(data), given, freq, intake)


def _take_dict(data: Mapping[Any, Any], given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    if not data:
        raise DataError("the dict is empty; give at least one series")
    if "target" in data and "start" in data:
        return take_rows([data], given, freq, intake, family="gluonts")
    _refuse_columns(data, given)
    for key, part in data.items():
        if isinstance(part, pd.DataFrame):
            raise DataError(f"series {key!r} is a frame; join them into one long frame: pd.concat(frames)")
        if str(key).lower() in TIME_NAMES and is_sequence(part) and to_array(part).dtype.kind not in "fiub":
            raise DataError(f"{key!r} holds times, so the dict is a table; give pandas.DataFrame(data)")
    return Origin("dict", details=_take_parts(data, freq, intake))


def _take_parts(parts: Mapping[Any, Any], freq: Frequency | None, intake: Intake) -> dict[str, Any]:
    """File the series of a list or dict; returns the names of those that are pandas Series."""
    series_names: dict[Hashable, Any] = {}
    for series_id, part in parts.items():
        if isinstance(part, pd.Series):
            series_names[series_id] = part.name
            _take_series_part(series_id, part, freq, intake)
        elif not is_sequence(part):
            intake.problems[series_id] = f"{series_name(series_id)} is {part!r}; give a list or array of numbers"
        elif getattr(part, "ndim", 1) != 1:
            text = f"{series_name(series_id)} has {part.ndim} dimensions (shape {tuple(part.shape)}); give one"
            intake.problems[series_id] = text
        else:
            intake.add_raw(series_id, part, untimed(len(part), freq))
    if series_names and freq is None:
        borrow_frequency(intake, [i for i, values in enumerate(intake.values) if len(values) <= 2])
    return {"names": series_names}


def _take_series_part(series_id: Hashable, part: "pd.Series[Any]", freq: Frequency | None, intake: Intake) -> None:
    try:
        take_series(part, series_id, freq, intake)
    except DataError as error:
        intake.problems[series_id] = str(error)
