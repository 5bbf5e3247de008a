"""Covariates: what is known up to now, known ahead, or never changes, checked and carried with the panel.

The values of one series are never used for another. What is known ahead must stand at exactly the steps that follow a
series' own history, in any order.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.clocks import Ticks
from tsfm.data.covariate_columns import ReadColumns, are_names, code_words, read_values
from tsfm.data.repairs import many, series_name
from tsfm.data.rows import is_sequence
from tsfm.data.stamps import read_times
from tsfm.data.timeaxis import absolute_ticks
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel, Repair

# n series, H steps known ahead.


def attach(panel: Panel, future: Any, static: Any, read: ReadColumns | None = None) -> None:
    """Put covariates on the panel, or say in plain words why they do not belong to it.

    future   a frame with the panel's id and time columns and a column a covariate, or a dict name -> (n, H), or
             name -> id -> (H,), or (H,) where there is one series
    static   a frame with the panel's id column (or ids for an index), or a dict name -> n values, or id -> value
    read     the columns of the data that were named, whose history is on the panel already
    """
    if read is not None:
        panel.categories = {name: list(words) for name, words in read.categories.items()}
        if read.named.future:
            _take_tails(panel, read.named.future)
        if read.static:
            panel.static = {name: [values[i] for i in panel.ids] for name, values in read.static.items()}
        _tell_missing(panel, read)
    if future is not None and not are_names(future):
        panel.future_covariates = _future(panel, _plain(future))
    if static is not None and not are_names(static):
        panel.static = {**(panel.static or {}), **_static(panel, _plain(static))}


def _take_tails(panel: Panel, names: tuple[str, ...]) -> None:
    """Make known ahead what stands in the last rows of a series, where its target is missing."""
    columns = panel.past_covariates or {}
    tails: dict[str, list[Floats]] = {name: [] for name in names}
    for i, values in enumerate(panel.values):
        end = int(np.flatnonzero(~np.isnan(values))[-1]) + 1
        if not any((~np.isnan(columns[name][i][end:])).any() for name in names):
            end = len(values)
        for name in names:
            tails[name].append(columns[name][i][end:])
        if end < len(values):
            _cut_end(panel, i, end)
            rows = many(tails[names[0]][i].shape[0], "last row")
            text = (
                f"{series_name(panel.ids[i])}: {rows} without a target give what is known ahead in "
                f"{', '.join(map(repr, names))}; the forecast begins there"
            )
            panel.repairs.append(Repair(panel.ids[i], "ahead", len(values) - end, text))
    if any(len(tail) for tail in tails[names[0]]):
        panel.future_covariates = tails


def _cut_end(panel: Panel, i: int, end: int) -> None:
    index = panel.index[i]
    panel.values[i] = panel.values[i][:end]
    panel.index[i] = replace(index, length=end, stamps=None if index.stamps is None else index.stamps[:end])
    for column in (panel.past_covariates or {}).values():
        column[i] = column[i][:end]


def _tell_missing(panel: Panel, read: ReadColumns) -> None:
    for name in read.named.moving:
        columns = (panel.past_covariates or {})[name]
        missing = sum(int(np.isnan(column).sum()) for column in columns)
        if missing:
            total = sum(len(column) for column in columns)
            text = f"column {name!r} is missing in {missing:,} of {total:,} steps of the history; they stay unknown"
            panel.repairs.append(Repair(name, "missing covariates", missing, text))


def _plain(data: Any) -> Any:
    """Frames of other libraries as pandas; dicts and pandas frames as they are."""
    if isinstance(data, pd.DataFrame | Mapping):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame(data.name if data.name is not None else "covariate")
    from tsfm.data.foreign import read_foreign

    found = read_foreign(data)
    if found is None or not isinstance(found[0], pd.DataFrame):
        raise DataError(
            f"covariates of type {type(data).__name__} are not understood; give a frame, a dict, or names of columns "
            "of the data in a list"
        )
    return found[0]


def _future(panel: Panel, future: Any) -> dict[str, list[Floats]]:
    if isinstance(future, Mapping):
        each = {str(name): _each(panel, str(name), values) for name, values in future.items()}
    else:
        each = _from_frame(panel, future)
    return {name: _numbers(panel, name, columns) for name, columns in each.items()}


def _from_frame(panel: Panel, future: pd.DataFrame) -> dict[str, list[Any]]:
    """Values of every column, series by series, in the order of time."""
    key, time, target = panel.origin.id, panel.origin.time, panel.origin.target
    if isinstance(future.index, pd.MultiIndex) and future.index.nlevels == 2:
        future = future.set_axis(future.index.set_names([key, time])).reset_index()
    rows = _rows(panel, future)
    ticks = _ticks(panel, future)
    if ticks is not None:
        rows = [_in_order(panel, i, of_series, ticks[of_series]) for i, of_series in enumerate(rows)]
    names = [column for column in future.columns if column not in (key, time, target)]
    return {str(name): [future[name].iloc[of_series] for of_series in rows] for name in names}


def _rows(panel: Panel, future: pd.DataFrame) -> list[Ticks]:
    """Positions of the rows of every series of the panel."""
    key = panel.origin.id
    if key is None or key not in future.columns:
        if len(panel) > 1 and key is not None:
            raise DataError(f"future= has no column {key!r} to tell its {len(panel)} series apart; add it")
        if len(panel) > 1 and not panel.origin.details.get("shared"):
            first = f"{panel.ids[0]!r}: [...], {panel.ids[1]!r}: [...]"
            raise DataError(
                f"future= does not say which of {len(panel)} series its rows belong to; give a dict such as "
                f"future={{'{future.columns[-1]}': {{{first}}}}}, or, in a wide frame whose covariates all series "
                "share, name the series: target=[...]"
            )
        return [np.arange(len(future))] * len(panel)
    groups = future.groupby(key, sort=False, observed=True).indices
    absent = [series_id for series_id in panel.ids if series_id not in groups]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise DataError(f"future= has no rows for series {', '.join(map(repr, absent[:3]))}{more}; add them")
    return [np.asarray(groups[series_id], dtype=np.int64) for series_id in panel.ids]


def _ticks(panel: Panel, future: pd.DataFrame) -> Ticks | None:
    """Absolute ticks of every row on the panel's clock, None where the data have no time."""
    clock, time = panel.index[0].clock, panel.origin.time
    if clock.kind == "none":
        return None
    if time is not None and time not in future.columns:
        raise DataError(f"future= has no column {time!r} to place its rows in time; add it")
    times: Any = future[time] if time is not None else future.index
    found, ticks, _ = read_times(times, "index" if time is None else str(time), lambda row: "future=")
    if found.kind != clock.kind or (found.zone is None) != (clock.zone is None):
        zone = " with a time zone" if found.zone is not None else " without a time zone" if clock.zone else ""
        raise DataError(
            f"future= has {found.kind} times{zone} such as {found.show(int(ticks[0]))} where the data have "
            f"{clock.kind} times such as {panel.future_index(0, 1)[0]}; write both alike"
        )
    if found.kind in ("datetime", "timedelta") and found.tick != clock.tick:
        ticks = ticks * 1000 if clock.tick == "ns" else ticks // 1000
    return ticks


def _in_order(panel: Panel, i: int, rows: Ticks, ticks: Ticks) -> Ticks:
    """Rows of one series by time; they must be the steps that follow its history, each once."""
    index, who = panel.index[i], f"future= for {panel.ids[i]!r}"
    order = np.argsort(ticks, kind="stable")
    ticks = ticks[order]
    again = np.flatnonzero(np.diff(ticks) == 0)
    if len(again):
        raise DataError(f"{who} has several rows at {index.clock.show(int(ticks[again[0]]))}; keep one")
    if index.stamps is not None:
        if ticks[0] <= index.stamps[-1]:
            raise DataError(f"{who} has a row at {index.clock.show(int(ticks[0]))}, which lies in its history; drop it")
        return rows[order]
    expected = absolute_ticks([index], np.arange(index.length, index.length + len(ticks))[None])[0]
    if (ticks == expected).all():
        return rows[order]
    if ticks[0] < expected[0]:
        raise DataError(
            f"{who} has a row at {index.clock.show(int(ticks[0]))}, which lies in its history: "
            f"{index.clock.show(int(expected[0]))} comes next; drop the rows before"
        )
    place = int(np.flatnonzero(ticks != expected)[0])
    found, needed = index.clock.show(int(ticks[place])), index.clock.show(int(expected[place]))
    if place == 0:
        raise DataError(f"{who} begins at {found}; its history ends so that {needed} comes next; give that row too")
    raise DataError(f"{who} has a row at {found} where {needed} comes next; give every step once, and no other")


def _each(panel: Panel, name: str, values: Any) -> list[Any]:
    """The values of every series of one covariate of a dict."""
    if isinstance(values, Mapping):
        return _by_id(panel, name, values, "future")
    rows = list(values)
    if rows and is_sequence(rows[0]):
        if len(rows) != len(panel):
            raise DataError(f"future[{name!r}] has {len(rows)} rows for {len(panel)} series; give one a series")
        return rows
    if len(panel) > 1:
        first = f"{panel.ids[0]!r}: [...], {panel.ids[1]!r}: [...]"
        raise DataError(
            f"future[{name!r}] is one list for {len(panel)} series; give one a series: {{{first}}}, or a list of lists"
        )
    return [rows]


def _numbers(panel: Panel, name: str, columns: list[Any]) -> list[Floats]:
    """Numbers, or codes of words, of one covariate; new words are added to those of the data."""
    joined = pd.concat([pd.Series(column).reset_index(drop=True) for column in columns], ignore_index=True)
    lengths = [len(column) for column in columns]
    history = (panel.past_covariates or {}).get(name)
    words = panel.categories.get(name)
    values, found = read_values(joined, name) if words is None else (code_words(joined, words), words)
    if words is None and found is not None:
        if history is not None and any((~np.isnan(column)).any() for column in history):
            raise DataError(f"{name!r} is words in future= ({found[0]!r}) and numbers in the data; write both alike")
        panel.categories[name] = found
    split = np.split(values, np.cumsum(lengths)[:-1])
    for i, one in enumerate(split):
        missing = np.flatnonzero(~np.isfinite(one))
        if len(missing):
            stamp = panel.future_index(i, int(missing[0]) + 1)[-1]
            raise DataError(
                f"future= has no value of {name!r} for series {panel.ids[i]!r} at {stamp}; give finite numbers or words"
            )
    return list(split)


def _static(panel: Panel, static: Any) -> dict[str, list[Any]]:
    if isinstance(static, pd.DataFrame):
        key = panel.origin.id
        table = static.set_index(key) if key is not None and key in static.columns else static
        again = table.index[table.index.duplicated()]
        if len(again):
            raise DataError(f"static= has several rows for series {again[0]!r}; keep one")
        return {str(name): _by_id(panel, str(name), table[name].to_dict(), "static") for name in table.columns}
    if all(series_id in static for series_id in panel.ids):
        return {"static": [static[series_id] for series_id in panel.ids]}
    made = {}
    for name, values in static.items():
        if isinstance(values, Mapping):
            made[str(name)] = _by_id(panel, str(name), values, "static")
        elif not is_sequence(values) or len(values) != len(panel):
            raise DataError(
                f"static[{name!r}] does not have one value for each of the {len(panel)} series; give as many"
            )
        else:
            made[str(name)] = list(values)
    return made


def _by_id(panel: Panel, name: str, values: Mapping[Hashable, Any], role: str) -> list[Any]:
    absent = [series_id for series_id in panel.ids if series_id not in values]
    if absent:
        raise DataError(f"{role} {name!r} has no value for series {absent[0]!r} ({len(absent)} absent in all); add it")
    return [values[series_id] for series_id in panel.ids]
