"""Which frequency a series has, from its stamps alone.

`pandas.infer_freq` gives up on the first missing step, so the rule is found here from the most common difference and
checks against the calendar: months with a rule for the day first (their steps are uneven), then business days, then a
fixed step. A rule counts when it explains at least 90% of the steps.
"""

import numpy as np
from numpy.typing import NDArray

from tsfm.data.clocks import Clock, Ticks
from tsfm.data.timeaxis import WEEK, Frequency, fixed, grid, parse_frequency, weekday_of
from tsfm.errors import DataError

# T steps of one series, sorted and distinct.

EXPLAINED = 0.9
LEAST_FILLED = 0.02  # share of the steps that must be there, unless one step is clearly the usual one
USUAL = 0.3
SPARSE_GCD = 0.25
Rule = tuple[Frequency, int]


def infer(ticks: Ticks, wall: Ticks, clock: Clock) -> Rule | None:
    """Frequency and stride of sorted distinct ticks (T,), T >= 2, None where the steps follow no rule.

    wall   the same stamps on the local clock
    """
    steps = np.diff(ticks)
    if clock.kind != "datetime":
        stride = _stride(ticks)
        return None if stride is None else (named(clock, stride), stride)
    day = clock.ticks_per_day
    if np.median(steps) >= 27 * day:
        frequency = _months(wall, clock, strict=True)
        if frequency:
            return frequency, 1
    elif _business(wall, clock):
        return Frequency("business", 1, wall=True), 1
    rule = _fixed(ticks, wall, clock)
    if rule is None and np.median(steps) >= 20 * day:
        frequency = _months(wall, clock, strict=False)
        return (frequency, 1) if frequency else None
    return rule


def named(clock: Clock, stride: int) -> Frequency:
    """The frequency of a stride of periods, of time spans or of integers."""
    if clock.kind == "period":
        try:
            unit = parse_frequency(clock.period.lstrip("0123456789"))
        except DataError:
            return Frequency("integer", stride)
        return Frequency(unit.kind, unit.step * stride, unit.rule, unit.wall)
    if clock.kind == "timedelta":
        return fixed(stride * (1 if clock.tick == "ns" else 1000))
    return Frequency("integer", stride)


def fixed_rule(stride: int, clock: Clock, first: int, on_wall: bool) -> Rule:
    """A fixed step of datetimes; a week knows its day."""
    step = stride * (1 if clock.tick == "ns" else 1000)
    rule = weekday_of(first, clock) if step % WEEK == 0 else ""
    return Frequency("fixed", step, rule, on_wall), stride


def _stride(ticks: Ticks, day: int = 0) -> int | None:
    """The step that explains the stamps: the most common difference, else the common divisor where few are missing.

    day   ticks of a day where the common divisor may be days with most of them missing, else 0
    """
    steps = np.diff(ticks)
    if (steps == steps[0]).all():
        return int(steps[0])
    sizes, counts = np.unique(steps, return_counts=True)
    usual = int(sizes[counts.argmax()])
    filled = len(steps) * usual / float(sizes @ counts)
    explained = max(_share(steps, usual), _on_grid(ticks, usual) if counts.max() >= USUAL * len(steps) else 0)
    if explained >= EXPLAINED and (counts.max() >= USUAL * len(steps) or filled >= LEAST_FILLED):
        return usual
    divisor = int(np.gcd.reduce(sizes))
    least = LEAST_FILLED if day and divisor % day == 0 else SPARSE_GCD
    return divisor if len(steps) * divisor >= least * float(sizes @ counts) else None


def _on_grid(ticks: Ticks, stride: int) -> float:
    """Share of the stamps that lie on the best grid of a step."""
    return float(np.unique(ticks % stride, return_counts=True)[1].max() / len(ticks))


def _share(steps: Ticks, stride: int) -> float:
    return float(np.mean(steps % stride == 0))


def _fixed(ticks: Ticks, wall: Ticks, clock: Clock) -> Rule | None:
    """A fixed step on the wall clock if it is whole days, else on the absolute clock; the one that explains more."""
    day = clock.ticks_per_day
    absolute = _stride(ticks, day)
    if clock.zone is None:
        if absolute is None:
            return None
        return fixed_rule(absolute, clock, int(wall[0]), absolute % day == 0)
    local_steps = np.diff(wall)
    local = _stride(wall, day) if (local_steps > 0).all() else None
    if local is None:
        return None if absolute is None else fixed_rule(absolute, clock, int(wall[0]), False)
    gain = 1.0 if absolute is None else _on_grid(wall, local) - _on_grid(ticks, absolute)
    on_wall = gain > 0 or (gain == 0 and local % day == 0)
    stride = local if on_wall or absolute is None else absolute
    return fixed_rule(stride, clock, int(wall[0]), on_wall)


def _business(wall: Ticks, clock: Clock) -> bool:
    """True where the stamps are weekdays only, mostly next to each other, over at least one weekend."""
    days = wall // clock.ticks_per_day
    if ((days + 3) % 7 >= 5).any() or days[-1] - days[0] < 3 or (np.diff(days) == 0).any():
        return False
    gaps = np.busday_count(days[:-1].astype("M8[D]"), days[1:].astype("M8[D]"))
    crosses = np.diff(days) > gaps
    return bool(crosses.any() and len(days) > 2 and np.mean(gaps == 1) >= (0.5 if len(days) >= 10 else 1.0))


def _months(wall: Ticks, clock: Clock, strict: bool) -> Frequency | None:
    """A number of months whose day follows a rule (`strict`), or with any day in the month."""
    days = (wall // clock.ticks_per_day).astype("M8[D]")
    months: Ticks = days.astype("M8[M]").astype(np.int64)
    steps: Ticks = np.diff(months)
    stride = _stride(months) if (steps > 0).mean() >= EXPLAINED else None
    if not stride or stride < 1 or _share(steps, stride) < EXPLAINED:
        return None
    rule = day_rule(days)
    return Frequency("month", stride, rule or "start", wall=True) if rule or not strict else None


def day_rule(days: NDArray[np.datetime64]) -> str | None:
    """The rule that at least 90% of the days follow in their months, None if there is none."""
    months = days.astype("M8[M]").astype(np.int64)
    numbers = (days - days.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
    usual = str(numbers.max() if numbers.max() > 28 else np.bincount(numbers).argmax())
    clock = Clock("datetime", "us")
    starts = days.astype("M8[us]").view(np.int64)
    for rule in ("end", "start", "business end", "business start", usual):
        frequency = Frequency("month", 1, "start" if rule == "1" else rule, wall=True)
        made = grid(clock, frequency, 1, starts, np.zeros_like(months))
        if np.mean(made == starts) >= EXPLAINED:
            return frequency.rule
    return None
