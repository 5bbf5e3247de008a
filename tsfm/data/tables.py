"""Tables: series that come with time stamps, as long columns or side by side on shared stamps.

Long tables are grouped by one sort of integer codes. Series whose steps are all equal (most of them, in most data)
are recognised together; only the others are looked at one by one. Series of one or two stamps take the frequency that
is most common in the panel.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from tsfm.data.arrays import Column, complaint
from tsfm.data.clocks import Clock, Ticks
from tsfm.data.inference import Rule, fixed_rule, named
from tsfm.data.intake import Intake
from tsfm.data.repairs import LONGEST_GAP, fits, lay, series_name
from tsfm.data.timeaxis import Frequency, TimeIndex, absolute_ticks
from tsfm.errors import DataError
from tsfm.panel import Floats, Repair

# R rows in all, n series, K covariates, L steps of one series after repair.

LONGEST_FIXED_DAYS = 27


@dataclass
class Long:
    """Rows of many series: who (codes into ids), when (absolute ticks), how much.

    raw      the target as it came, for messages
    extra    numeric columns beside the target, by name
    named    those that a person named, whose values may not contradict each other
    """

    ids: list[Hashable]
    codes: Ticks
    clock: Clock
    ticks: Ticks
    column: Column
    raw: Any
    extra: dict[str, Floats] = field(default_factory=dict)
    named: frozenset[str] = frozenset()


def take_long(table: Long, freq: Frequency | None, intake: Intake) -> None:
    """File every series of a long table."""
    order = _order(table)
    ticks = table.ticks if order is None else table.ticks[order]
    values = table.column.values if order is None else table.column.values[order]
    counts = np.bincount(table.codes, minlength=len(table.ids))
    ends = np.cumsum(counts)
    starts = ends - counts
    problems, parsed = _problems(table, order, starts, ends, values)
    extra = {name: rows if order is None else rows[order] for name, rows in table.extra.items()}
    wall = table.clock.wall(ticks)
    rules = _even_rules(table.clock, ticks, wall, starts, counts) if freq is None else [None] * len(table.ids)
    short: list[int] = []
    for i, series_id in enumerate(table.ids):
        rows = slice(int(starts[i]), int(ends[i]))
        if series_id in problems:
            intake.problems[series_id] = problems[series_id]
            continue
        if len(parsed):
            intake.note_parsed(series_id, parsed[(parsed >= rows.start) & (parsed < rows.stop)])
        rule = rules[i]
        if rule:
            start = wall[rows.start] if rule[0].wall else ticks[rows.start]
            index = TimeIndex(table.clock, rule[0], int(start), int(counts[i]), rule[1])
            _file(intake, series_id, values[rows], index, {name: column[rows] for name, column in extra.items()})
        else:
            stacked = np.stack([values[rows], *(column[rows] for column in extra.values())], axis=1)
            _take_one(intake, series_id, ticks[rows], stacked, list(extra), table, freq)
        if counts[i] <= 2 and intake.ids and intake.ids[-1] == series_id:
            short.append(len(intake.ids) - 1)
    if freq is None:
        borrow_frequency(intake, short)


def take_wide(
    ids: list[Hashable],
    clock: Clock,
    ticks: Ticks,
    columns: list[Column],
    raws: list[Any],
    freq: Any,
    intake: Intake,
    extra: Mapping[str, Floats] = MappingProxyType({}),
) -> None:
    """File series that share their stamps, and the covariates `extra` that all of them share."""
    name = series_name(ids[0]) if len(ids) == 1 else "every series"
    values = np.stack([*(column.values for column in columns), *extra.values()], axis=1)
    laid = lay(name, ticks, values, clock, freq)
    _refuse_conflicts(name, laid.conflicts, dict(enumerate(extra, len(ids))))
    beside = {column: np.ascontiguousarray(laid.values[:, i]) for i, column in enumerate(extra, len(ids))}
    for i, series_id in enumerate(ids):
        raw = raws[i]
        problem = complaint(
            series_id, raw, columns[i].values, columns[i].bad, lambda row: f"at {clock.show(int(ticks[row]))}"
        )
        if i in laid.conflicts:
            problem = problem or f"{series_name(series_id)} {laid.conflicts[i]}"
        if problem:
            intake.problems[series_id] = problem
            continue
        intake.note_parsed(series_id, columns[i].parsed)
        intake.repairs += [Repair(series_id, *repair) for repair in laid.repairs]
        _file(intake, series_id, np.ascontiguousarray(laid.values[:, i]), laid.index, beside)


def _take_one(
    intake: Intake, series_id: Hashable, ticks: Ticks, stacked: Floats, names: list[str], table: Long, freq: Any
) -> None:
    try:
        laid = lay(series_name(series_id), ticks, stacked, table.clock, freq)
        named = {k: name for k, name in enumerate(names, 1) if name in table.named}
        _refuse_conflicts(series_name(series_id), laid.conflicts, named)
    except DataError as error:
        intake.problems[series_id] = str(error)
        return
    if 0 in laid.conflicts:
        intake.problems[series_id] = f"{series_name(series_id)} {laid.conflicts[0]}"
        return
    intake.repairs += [Repair(series_id, *repair) for repair in laid.repairs]
    columns = np.ascontiguousarray(laid.values.T)
    _file(intake, series_id, columns[0], laid.index, dict(zip(names, columns[1:], strict=True)))


def _refuse_conflicts(name: str, conflicts: dict[int, str], columns: dict[int, str]) -> None:
    """Refuse repeated rows that differ in a covariate that was named."""
    for k, column in columns.items():
        if k in conflicts:
            raise DataError(f"column {column!r} of {name} {conflicts[k]}")


def _file(intake: Intake, series_id: Hashable, values: Floats, index: TimeIndex, extra: dict[str, Floats]) -> None:
    intake.add(series_id, values, index)
    for name, column in extra.items():
        intake.past.setdefault(name, []).append(column)


def _order(table: Long) -> Ticks | None:
    """The stable order that groups rows by series, None if they are grouped."""
    return None if (np.diff(table.codes) >= 0).all() else np.argsort(table.codes, kind="stable")


def _problems(
    table: Long, order: Ticks | None, starts: Ticks, ends: Ticks, values: Floats
) -> tuple[dict[Hashable, str], Ticks]:
    """What is wrong with the numbers of each series, and the rows (grouped) that were read from text."""
    suspects: set[int] = set(table.codes[table.column.bad].tolist())
    if np.isinf(values).any():
        suspects |= set(np.searchsorted(ends, np.flatnonzero(np.isinf(values)), side="right").tolist())
    observed = np.add.reduceat(np.isfinite(values).astype(np.int64), starts)
    suspects |= set(np.flatnonzero(observed == 0).tolist())
    parsed = np.zeros(len(values), dtype=bool)
    parsed[table.column.parsed] = True
    problems = {}
    for i in sorted(suspects):
        rows = np.arange(starts[i], ends[i]) if order is None else order[starts[i] : ends[i]]
        raw = [table.raw.iloc[row] if hasattr(table.raw, "iloc") else table.raw[row] for row in rows]
        bad = np.flatnonzero(np.isin(rows, table.column.bad))
        reason = complaint(
            table.ids[i],
            raw,
            table.column.values[rows],
            bad,
            lambda row, rows=rows: f"at {table.clock.show(int(table.ticks[rows[row]]))}",
        )
        if reason:
            problems[table.ids[i]] = reason
    return problems, np.flatnonzero(parsed if order is None else parsed[order])


def _even_rules(clock: Clock, ticks: Ticks, wall: Ticks, starts: Ticks, counts: Ticks) -> list[Rule | None]:
    """The rule of every series whose steps are all equal and shorter than a month, found for all of them at once."""
    step = _equal_steps(ticks, starts)
    local = step if clock.zone is None else _equal_steps(wall, starts)
    long = LONGEST_FIXED_DAYS * clock.ticks_per_day
    rules: list[Rule | None] = [None] * len(starts)
    known: dict[tuple[int, bool, int], Rule] = {}
    for i in np.flatnonzero((counts > 1) & ((step > 0) | (local > 0))).tolist():
        if clock.kind != "datetime":
            rules[i] = known.setdefault((int(step[i]), False, 0), (named(clock, int(step[i])), int(step[i])))
            continue
        on_wall = bool(local[i] > 0 and (local[i] % clock.ticks_per_day == 0 or step[i] <= 0))
        stride = int(local[i] if on_wall else step[i])
        if 0 < stride < long:
            first = int(wall[starts[i]])
            weekday = first // clock.ticks_per_day % 7 if stride % (7 * clock.ticks_per_day) == 0 else 0
            key = (stride, on_wall, weekday)
            if key not in known:
                known[key] = fixed_rule(stride, clock, first, on_wall)
            rules[i] = known[key]
    if clock.kind == "datetime" and any(rule is None and counts[i] > 1 for i, rule in enumerate(rules)):
        _even_months(clock, wall, starts, rules)
    return rules


def _even_months(clock: Clock, wall: Ticks, starts: Ticks, rules: list[Rule | None]) -> None:
    """Fill in the rule of series that step by the same number of months from first to first day, or last to last."""
    day = clock.ticks_per_day
    days = (wall // day).astype("M8[D]")
    months = days.astype("M8[M]")
    step = _equal_steps(months.astype(np.int64), starts)
    hours = wall % day
    one_hour = np.maximum.reduceat(hours, starts) == np.minimum.reduceat(hours, starts)
    for rule, on_rule in (("start", days == months.astype("M8[D]")), ("end", (days + 1).astype("M8[M]") != months)):
        fits_all = np.logical_and.reduceat(on_rule, starts) & one_hour & (step > 0)
        for i in np.flatnonzero(fits_all).tolist():
            rules[i] = rules[i] or (Frequency("month", int(step[i]), rule, wall=True), 1)


def _equal_steps(ticks: Ticks, starts: Ticks) -> Ticks:
    """The step of each series whose steps are all equal, 0 where they differ or there is only one stamp."""
    steps = np.diff(ticks, append=ticks[-1:])
    low, high = steps.copy(), steps
    lasts = np.append(starts[1:], len(ticks)) - 1
    low[lasts] = np.iinfo(np.int64).max
    high[lasts] = np.iinfo(np.int64).min
    least, most = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    return np.where(least == most, least, 0)


def borrow_frequency(intake: Intake, short: list[int]) -> None:
    """Give series of one or two stamps the panel's most common frequency, where their stamps lie on it."""
    brief = set(short)
    found = Counter(
        (index.frequency, index.stride, index.clock.kind)
        for i, index in enumerate(intake.index)
        if i not in brief and index.frequency and index.clock.kind != "none"
    )
    usual, stride, kind = found.most_common(1)[0][0] if found else (None, 1, "")
    for i in short:
        index = intake.index[i]
        if usual is not None and index.frequency != usual and index.clock.kind == kind:
            stamps = absolute_ticks([index], np.arange(index.length)[None])[0]
            placed = fits(stamps, index.clock, usual, stride)
            if placed and placed[1].length <= LONGEST_GAP:
                _relay(intake, i, placed[0], placed[1])
                continue
        if index.length == 1 and index.frequency is None and index.clock.kind in ("datetime", "timedelta"):
            name = series_name(intake.ids[i])
            text = f"{name}: one stamp tells no frequency, so its forecast is stamped in steps of one day; pass freq="
            intake.repairs.append(Repair(intake.ids[i], "frequency", 1, text))


def _relay(intake: Intake, i: int, slots: Ticks, index: TimeIndex) -> None:
    """Lay a short series on another axis, covariates with it."""
    for column in (intake.values, *intake.past.values()):
        first_and_last = column[i][:: max(1, len(column[i]) - 1)]
        column[i] = np.full(index.length, np.nan)
        column[i][slots] = first_and_last
    intake.index[i] = index
    name = series_name(intake.ids[i])
    text = f"{name}: {len(slots)} stamps are too few for a frequency; took that of the other series"
    intake.repairs.append(Repair(intake.ids[i], "frequency", len(slots), text))
