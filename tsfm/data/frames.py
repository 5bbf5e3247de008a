"""Frames and series of pandas become a panel; what is needed to give the same kind back goes into the origin."""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import to_array, to_floats
from tsfm.data.clocks import Clock, Ticks
from tsfm.data.columns import Roles, find_roles
from tsfm.data.covariate_columns import Named, ReadColumns, read_columns, without
from tsfm.data.intake import Intake
from tsfm.data.repairs import series_name
from tsfm.data.rows import is_nested, take_rows
from tsfm.data.stamps import read_times
from tsfm.data.tables import Long, borrow_frequency, take_long, take_wide
from tsfm.data.timeaxis import Frequency, TimeIndex, parse_frequency, untimed
from tsfm.errors import DataError
from tsfm.panel import Origin, Repair

# n series, R rows.

FEW = 5  # stamps that may lie in one week


def take_series(series: "pd.Series[Any]", series_id: Hashable, freq: Frequency | None, intake: Intake) -> None:
    """File one pandas Series; row labels that are no time count for nothing, and that is told."""
    raw = to_array(series)
    column = to_floats(raw)
    if len(series) == 0:
        intake.add_raw(series_id, [], untimed(0))
        return
    clock, ticks = _index_times(series.index, [series_id], intake)
    if clock.kind == "none":
        intake.add_raw(series_id, raw, untimed(len(series), freq))
        return
    take_wide([series_id], clock, ticks, [column], [raw], freq or _own_frequency(series.index), intake)


def _own_frequency(index: Any) -> Frequency | None:
    """The frequency that pandas has noted on an index too short to show it: one stamp, a week of business days.

    A day says nothing, because pd.date_range notes it where nobody named one.
    """
    if len(index) > FEW or not isinstance(index, pd.DatetimeIndex) or index.freqstr in (None, "D"):
        return None
    try:
        return parse_frequency(index.freq)
    except DataError:
        return None


def _index_times(index: Any, ids: list[Hashable], intake: Intake) -> tuple[Clock, Ticks]:
    """Clock and ticks of an index; the clock is "none" where the index holds labels and no time."""
    if isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1:
        return Clock(), np.arange(len(index))
    name = index.name if index.name is not None else "index"
    words = pd.api.types.is_string_dtype(index.dtype) or index.dtype == object
    try:
        clock, ticks, note = read_times(index, name, lambda row: series_name(ids[0]) if len(ids) == 1 else "the frame")
    except DataError:
        if not words or _looks_like_time(index):
            raise
        clock, ticks, note = Clock(), np.arange(len(index)), "row labels are no times, so rows count 0, 1, 2..."
    if clock.kind == "integer" and not _counts(ticks):
        clock, note = Clock(), "row labels do not count evenly, so rows count 0, 1, 2..."
    if note:
        intake.repairs += [Repair(i, "time", len(index), f"{series_name(i)}: {note}") for i in ids]
    return clock, ticks


def _counts(ticks: Ticks) -> bool:
    """True where integer labels are distinct and most follow one another by the same step."""
    steps = np.diff(np.sort(ticks))
    return len(ticks) < 2 or bool(
        steps.min() > 0 and np.mean(steps % steps.min() == 0) == 1 and np.median(steps) == steps.min()
    )


def _looks_like_time(index: Any) -> bool:
    """True where at least the first label starts like a date."""
    kind = pd.api.types.infer_dtype(index, skipna=True)
    return kind in ("datetime", "date", "period") or bool(
        pd.Series(index[:1]).astype(str).str.match(r"^\s*\d{1,4}[-/.]\d").all()
    )


def take_frame(frame: pd.DataFrame, given: dict[str, Any], freq: Frequency | None, intake: Intake) -> Origin:
    """File every series of a pandas frame, wide or long; returns where it came from."""
    if frame.empty:
        raise DataError("the frame has no rows or no columns; give at least one row and one numeric column")
    levels: list[Any] = []
    if isinstance(frame.index, pd.MultiIndex):
        levels = list(frame.index.names)
        frame, given = _flatten(frame, given)
    named = Named(*(tuple(given.get(role) or ()) for role in ("past", "future", "static")))
    bare = without(frame, named, given) if named.all else frame
    roles = find_roles(bare, given["id"], given["time"], given["target"])
    if roles.target is not None and is_nested(frame[roles.target]):
        return take_rows(frame.to_dict("records"), _with_roles(given, roles), freq, intake, family="nested")
    if roles.series is not None:
        origin, read = _take_wide_frame(frame, roles, freq, intake, named, isinstance(given["target"], list))
    else:
        origin, read = _take_long_frame(frame, roles, freq, intake, levels, named)
    return replace(origin, details={**origin.details, "covariates": read}) if named.all else origin


def _with_roles(given: dict[str, Any], roles: Roles) -> dict[str, Any]:
    return {**given, "id": roles.id, "time": given["time"], "target": roles.target}


def _flatten(frame: pd.DataFrame, given: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame indexed by (id, time) as columns."""
    if frame.index.nlevels != 2:
        raise DataError(f"the index has {frame.index.nlevels} levels; keep two, the id and the time, or reset_index()")
    names = [name if name is not None else role for name, role in zip(frame.index.names, ("id", "time"), strict=True)]
    taken = [name for name in names if name in frame.columns]
    if taken:
        raise DataError(f"{taken[0]!r} names both an index level and a column; rename one")
    flat = pd.DataFrame(frame).set_axis(frame.index.set_names(names)).reset_index()
    return flat, {**given, "id": given["id"] or names[0], "time": given["time"] or names[1]}


def _take_wide_frame(
    frame: pd.DataFrame, roles: Roles, freq: Frequency | None, intake: Intake, named: Named, told: bool
) -> tuple[Origin, ReadColumns]:
    """File a series a column; `told` where a person named them, so that the covariates beside them belong to all."""
    ids: list[Hashable] = list(roles.series or [])
    details: dict[str, Any] = {"columns": frame.columns, "index_name": frame.index.name, "shared": told}
    origin = Origin("wide", time=roles.time, details=details)
    read = _shared_columns(frame, named, ids, told, intake)
    if roles.time is not None:
        owner = "the frame" if len(ids) > 1 else series_name(ids[0])
        clock, ticks, note = read_times(frame[roles.time], roles.time, lambda row: owner)
        if note:
            intake.repairs += [Repair(i, "time", len(frame), f"{series_name(i)}: {note}") for i in ids]
    else:
        clock, ticks = _index_times(frame.index, ids, intake)
    raws = [to_array(frame[column]) for column in ids]
    if clock.kind == "none":
        for series_id, raw in zip(ids, raws, strict=True):
            intake.add_raw(series_id, raw, untimed(len(frame), freq))
        intake.past = {name: [column] * len(intake.ids) for name, column in read.moving.items()}
        return origin, read
    take_wide(ids, clock, ticks, [to_floats(raw) for raw in raws], raws, freq, intake, read.moving)
    if len(frame) == 1 and freq is None:
        borrow_frequency(intake, list(range(len(intake.ids))))
    return origin, read


def _shared_columns(frame: pd.DataFrame, named: Named, ids: list[Hashable], told: bool, intake: Intake) -> ReadColumns:
    """The named columns of a wide frame, which belong to all its series: so a person must have named those."""
    if named.all and len(ids) > 1 and not told:
        shown = ", ".join(repr(series_id) for series_id in ids[:3]) + (", ..." if len(ids) > 3 else "")
        raise DataError(
            f"{named.all[0]!r} is to be a covariate of a wide frame, where every other column is a series; say which "
            f"are to be forecast, all with the same covariates: target=[{shown}]"
        )
    read = read_columns(frame, named, ids[:1], np.zeros(len(frame), dtype=np.int64))
    read.static = {name: dict.fromkeys(ids, values[ids[0]]) for name, values in read.static.items()}
    if named.all and len(ids) > 1:
        text = f"{', '.join(map(repr, named.all))} of the frame are covariates of each of its {len(ids)} series"
        intake.repairs.append(Repair(ids[0], "covariates", len(frame), text))
    return read


def _take_long_frame(
    frame: pd.DataFrame, roles: Roles, freq: Frequency | None, intake: Intake, levels: list[Any], named: Named
) -> tuple[Origin, ReadColumns]:
    ids, codes = _series_of_rows(frame, roles)

    def owner(row: int) -> str:
        return series_name(ids[int(codes[row])])

    raw = to_array(frame[roles.target])
    column = to_floats(raw)
    read = read_columns(frame, named, ids, codes)
    extra = {str(name): to_floats(frame[name]).values for name in roles.extra}
    origin = Origin("long", roles.id, roles.time, roles.target, details={"levels": levels, "time_in_index": False})
    if roles.time is None and isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        origin.details["time_in_index"] = True
        origin.details["index_name"] = frame.index.name
        times: Any = frame.index
    elif roles.time is None:
        times = None
    else:
        times = frame[roles.time]
    if times is None:
        clock, ticks, note = Clock("none"), _positions(codes), ""
    else:
        clock, ticks, note = read_times(times, roles.time if roles.time is not None else "index", owner)
    beside = [name for name in frame.columns if name not in (roles.id, roles.time, roles.target, *named.all)]
    if beside:
        more = f" and {len(beside) - 8} more" if len(beside) > 8 else ""
        text = f"only {roles.target!r} is forecast, and no forecast uses {', '.join(map(repr, beside[:8]))}{more}" + (
            "; target=[...] forecasts several columns" if roles.id is None else "; target= names another column"
        )
        intake.repairs.append(Repair(roles.target, "covariates", len(frame), text))
    if note:
        counts = np.bincount(codes, minlength=len(ids)).tolist()
        intake.repairs += [Repair(i, "time", n, f"{series_name(i)}: {note}") for i, n in zip(ids, counts, strict=True)]
    if roles.id is not None:
        origin.details["id_dtype"] = frame[roles.id].dtype
    table = Long(ids, codes, clock, ticks, column, raw, {**extra, **read.moving}, frozenset(read.moving))
    take_long(table, None if clock.kind == "none" else freq, intake)
    if clock.kind == "none":
        intake.index = [TimeIndex(clock, freq, 0, index.length) for index in intake.index]
    return origin, read


def _series_of_rows(frame: pd.DataFrame, roles: Roles) -> tuple[list[Hashable], Ticks]:
    """Ids in order of appearance, and the position in them of every row's id."""
    if roles.id is None:
        return [roles.target], np.zeros(len(frame), dtype=np.int64)
    codes, names = pd.factorize(frame[roles.id])
    lost = np.flatnonzero(codes < 0)
    if len(lost):
        raise DataError(
            f"column {roles.id!r} has no id in {len(lost)} rows (first: row {int(lost[0])}); "
            f"fill them or drop them with dropna(subset=[{roles.id!r}])"
        )
    return list(pd.Index(names).tolist()), codes.astype(np.int64)


def _positions(codes: Ticks) -> Ticks:
    """Row number within each series, for long frames without a time."""
    return np.asarray(pd.Series(codes).groupby(codes).cumcount(), dtype=np.int64)
