"""Repairs: rows in any order, with repeats and gaps, become values on a regular axis; each change is told.

`lay` works on a table of rows by columns that share their stamps (a wide frame, or a series with its covariates).
Rows are sorted, repeats of the same row dropped, gaps filled with NaN; contradictions and stamps that lie absurdly far
from the others are errors.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from tsfm.data.clocks import Clock, Ticks
from tsfm.data.inference import EXPLAINED, Rule, day_rule, fixed_rule, infer, named
from tsfm.data.timeaxis import WEEK, Frequency, TimeIndex, grid, weekday_of
from tsfm.errors import DataError
from tsfm.panel import Floats

# T rows as they came, L steps after repair, K columns.

LONGEST_GAP = 200
FAR = 10  # times the length of everything else
MOST_STEPS, MOST_STEPS_A_ROW = 1_000_000, 50


@dataclass
class Laid:
    """Values (L, K) on a regular axis, the repairs as (kind, count, sentence), and contradictions by column."""

    index: TimeIndex
    values: Floats
    repairs: list[tuple[str, int, str]] = field(default_factory=list)
    conflicts: dict[int, str] = field(default_factory=dict)


def lay(name: str, ticks: Ticks, values: Floats, clock: Clock, freq: Frequency | None) -> Laid:
    """Values (T, K) at absolute ticks (T,) laid on a regular axis; `name` is how messages call the series."""
    repairs: list[tuple[str, int, str]] = []
    backwards = int((np.diff(ticks) < 0).sum())
    if backwards:
        order = np.argsort(ticks, kind="stable")
        ticks, values = ticks[order], values[order]
        repairs.append(
            ("unsorted", backwards, f"{name}: rows were sorted by time ({backwards} stood before an earlier one)")
        )
    ticks, values, conflicts = _merge_repeats(name, ticks, values, clock, repairs)
    rule = _rule(ticks, clock, freq)
    placed = _slots(ticks, clock, rule, freq is not None) if rule else None
    if rule and placed is None and freq is not None:
        raise DataError(
            f"{name} has several rows in one step of {freq.name!r}; aggregate them first, or leave freq out"
        )
    if rule is None or placed is None:
        index = _uneven(ticks, clock, freq)
        if len(ticks) > 1:
            repairs.append(("irregular", len(ticks), _irregular_message(name, clock)))
        return Laid(index, values, repairs, conflicts)
    slots, index, moved = placed
    if freq is not None and freq.kind == "fixed" and index.frequency and freq.rule not in ("", index.frequency.rule):
        text = f"{name}: the stamps follow {index.frequency.name!r} and keep to it, though freq= says {freq.name!r}"
        repairs.append(("frequency", len(ticks), text))
    if len(moved):
        shown = clock.show(int(ticks[moved[0]]))
        text = f"{name}: {many(len(moved), 'stamp')} moved onto the grid of {_frequency_name(index)} (first {shown})"
        repairs.append(("moved", len(moved), text))
    _refuse_far_stamps(name, ticks, slots, index)
    if index.length > len(slots):
        gaps = index.length - len(slots)
        first = clock.show(int(ticks[np.flatnonzero(np.diff(slots) > 1)[0]]))
        text = f"{name}: {many(gaps, 'missing step')} of {_frequency_name(index)} filled with NaN (first after {first})"
        repairs.append(("gaps", gaps, text))
        filled = np.full((index.length, values.shape[1]), np.nan)
        filled[slots] = values
        values = filled
    return Laid(index, values, repairs, conflicts)


def _merge_repeats(
    name: str, ticks: Ticks, values: Floats, clock: Clock, repairs: list[tuple[str, int, str]]
) -> tuple[Ticks, Floats, dict[int, str]]:
    """Sorted rows with one row a stamp; columns whose repeats differ are told apart."""
    fresh = np.diff(ticks, prepend=ticks[0] - 1) != 0
    repeats = int((~fresh).sum())
    if not repeats:
        return ticks, values, {}
    starts = np.flatnonzero(fresh)
    high, low = np.fmax.reduceat(values, starts, axis=0), np.fmin.reduceat(values, starts, axis=0)
    conflicts = {}
    for column in np.flatnonzero((high > low).any(axis=0)):
        row = int(np.flatnonzero(high[:, column] > low[:, column])[0])
        shown = clock.show(int(ticks[starts[row]]))
        conflicts[int(column)] = (
            f"has different values at the same time {shown}: {low[row, column]:g} and {high[row, column]:g}; "
            "aggregate them first (frame.groupby(...).mean(), .sum() or .last())"
            + _clock_change_hint(clock, ticks[starts[row]])
        )
    shown = clock.show(int(ticks[np.flatnonzero(~fresh)[0]]))
    repairs.append(("duplicates", repeats, f"{name}: {many(repeats, 'repeated row')} dropped (first at {shown})"))
    return ticks[starts], high, conflicts


def _clock_change_hint(clock: Clock, tick: int) -> str:
    """Two rows in one early hour are often the hour that comes twice when clocks go back."""
    if clock.kind != "datetime" or clock.zone is not None or tick % clock.ticks_per_day * 24 >= 4 * clock.ticks_per_day:
        return ""
    return ", or, if clocks went back in that hour, give the stamps their time zone"


def _rule(ticks: Ticks, clock: Clock, freq: Frequency | None) -> Rule | None:
    """The rule that a person named, or the one that the stamps follow."""
    wall = clock.wall(ticks)
    if freq is None:
        return infer(ticks, wall, clock) if len(ticks) > 1 else None
    if clock.kind in ("integer", "period"):
        rule = infer(ticks, wall, clock) if len(ticks) > 1 else (named(clock, 1), 1)
        return (freq if clock.kind == "integer" else rule[0], rule[1]) if rule else None
    if freq.kind == "month":
        return replace(freq, rule=day_rule((wall // clock.ticks_per_day).astype("M8[D]")) or freq.rule), 1
    if freq.kind != "fixed":
        return freq, 1
    stride = max(1, freq.step // (1 if clock.tick == "ns" else 1000))
    return fixed_rule(stride, clock, int(wall[0]), freq.wall)


def _slots(ticks: Ticks, clock: Clock, rule: Rule, given: bool) -> tuple[Ticks, TimeIndex, Ticks] | None:
    """Step number of every stamp from 0, the axis, and the rows that do not lie on it; None where two share a step."""
    frequency, stride = rule
    own = clock.wall(ticks) if frequency.wall else ticks
    day = clock.ticks_per_day
    if not frequency.wall or clock.kind != "datetime" or (frequency.kind == "fixed" and stride % day):
        slots, start = _fixed_slots(own, stride, given)
    else:
        slots, start = _day_slots(own, frequency, stride, day)
    index = TimeIndex(clock, frequency, start, int(slots[-1]) + 1, stride)
    if len(slots) > 1 and (np.diff(slots) <= 0).any():
        return None
    made = grid(clock, frequency, stride, np.array(start, dtype=np.int64), slots)
    off = np.flatnonzero(made != own)
    if len(off) and frequency.wall and clock.zone is not None:
        off = np.flatnonzero(clock.absolute(made) != ticks)
    return slots, index, off


def _fixed_slots(ticks: Ticks, stride: int, given: bool) -> tuple[Ticks, int]:
    """Nearest step of the grid that most stamps lie on; a grid through 0 where a given step suits few of them."""
    phase, share = _usual(ticks % stride)
    if given and share < EXPLAINED:
        positions = ticks // stride
        return positions - positions[0], int(positions[0]) * stride
    positions = (ticks - phase + stride // 2) // stride
    return positions - positions[0], int(positions[0]) * stride + phase


def _day_slots(wall: Ticks, frequency: Frequency, stride: int, day: int) -> tuple[Ticks, int]:
    """Steps counted in days, business days or months; the time of day counts only if nearly all rows share it."""
    days = wall // day
    hour, share = _usual(wall % day)
    hour = hour if share >= EXPLAINED else 0
    if frequency.kind == "fixed":
        slots, start = _fixed_slots(days, stride // day, False)
        return slots, start * day + hour
    if frequency.kind == "business":
        dates = np.busday_offset(days.astype("M8[D]"), 0, roll="backward")
        counted = np.busday_count(dates[:1], dates) // frequency.step
        return counted, int(dates[0].astype(np.int64)) * day + hour
    months: Ticks = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    phase, _ = _usual(months % frequency.step)
    positions = (months - phase) // frequency.step
    first = np.array((positions[0] * frequency.step + phase).astype("M8[M]").astype("M8[D]"))
    opening = grid(Clock("datetime", "us"), frequency, 1, first.astype("M8[us]").view(np.int64), np.array(0))
    return positions - positions[0], int(opening) // (86_400 * 10**6) * day + hour


def _usual(numbers: Ticks) -> tuple[int, float]:
    """The most common number and its share."""
    if (numbers == numbers[0]).all():
        return int(numbers[0]), 1.0
    sizes, counts = np.unique(numbers, return_counts=True)
    return int(sizes[counts.argmax()]), float(counts.max() / len(numbers))


def _refuse_far_stamps(name: str, ticks: Ticks, slots: Ticks, index: TimeIndex) -> None:
    """One wild stamp must not make a billion missing steps."""
    if index.length <= LONGEST_GAP:
        return
    gaps = np.diff(slots)
    widest = int(gaps.argmax())
    rest = index.length - int(gaps[widest])
    far = gaps[widest] > LONGEST_GAP and gaps[widest] > FAR * rest
    if not far and index.length <= max(MOST_STEPS, MOST_STEPS_A_ROW * len(slots)):
        return
    row = widest + 1 if len(slots) - widest - 1 <= widest + 1 else widest
    raise DataError(
        f"{name} has the time stamp {index.clock.show(int(ticks[row]))}, {int(gaps[widest])} steps of "
        f"{_frequency_name(index)} away from the next one; correct or drop that row, or aggregate to a longer step"
    )


def _uneven(ticks: Ticks, clock: Clock, freq: Frequency | None) -> TimeIndex:
    """The axis of stamps without a rule: kept as they are, continued by their median step (a day after one stamp)."""
    if len(ticks) > 1:
        stride = max(1, int(np.median(np.diff(ticks))))
    else:
        stride = clock.ticks_per_day if clock.kind in ("datetime", "timedelta") else 1
    return TimeIndex(clock, freq, int(ticks[0]), len(ticks), stride, ticks)


def _irregular_message(name: str, clock: Clock) -> str:
    remedy = "" if clock.kind == "integer" else "; resample them or pass freq= if that is wrong"
    return f"{name}: no frequency explains the stamps, so rows are treated as evenly spaced{remedy}"


def _frequency_name(index: TimeIndex) -> str:
    return repr(index.frequency.name) if index.frequency else "one row"


def many(count: int, thing: str) -> str:
    """A count and its noun."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def series_name(series_id: Hashable) -> str:
    """How messages call a series."""
    return f"series {series_id!r}"


def fits(ticks: Ticks, clock: Clock, frequency: Frequency, stride: int) -> tuple[Ticks, TimeIndex] | None:
    """The axis of these stamps under a frequency found elsewhere, None where they do not lie on it exactly."""
    if frequency.kind == "month":
        rule = day_rule((clock.wall(ticks) // clock.ticks_per_day).astype("M8[D]"))
        if rule is None:
            return None
        frequency = replace(frequency, rule=rule)
    elif frequency.step % WEEK == 0 and frequency.kind == "fixed":
        frequency = replace(frequency, rule=weekday_of(int(clock.wall(ticks)[0]), clock))
    placed = _slots(ticks, clock, (frequency, stride), given=False)
    return placed[:2] if placed and not len(placed[2]) else None
