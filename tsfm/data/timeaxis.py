"""Time axes: the frequency of a series, its season, and the stamps that come next.

A `Frequency` is one of four rules for the next stamp: a fixed step (on the wall clock from one day up, so that days
stay days across a change of clocks), a number of months with a rule for the day, business days, or a step of integers.
This is the only module that knows the aliases of pandas, whose spelling differs between 2.x, 3.x and `Period`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.clocks import Clock, Ticks
from tsfm.errors import DataError

# n series, H horizon.

SECOND = 10**9
MINUTE, HOUR, DAY, WEEK = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND, 7 * 86_400 * SECOND
FIXED = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "min": MINUTE, "h": HOUR, "D": DAY, "W": WEEK}
SPELLINGS = {
    **{"N": "ns", "U": "us", "L": "ms", "S": "s", "T": "min", "H": "h", "d": "D", "w": "W", "bh": "h", "BH": "h"},
    **{"secondly": "s", "minutely": "min", "hourly": "h", "daily": "D", "weekly": "W", "monthly": "ME"},
    **{"quarterly": "QE", "yearly": "YE", "annual": "YE", "C": "B"},
    **{"M": "ME", "BM": "BME", "CBME": "BME", "CBMS": "BMS", "Q": "QE", "BQ": "BQE", "A": "YE", "Y": "YE"},
    **{"AS": "YS", "BA": "BYE", "BY": "BYE", "BAS": "BYS"},
}
MONTHS = {"M": 1, "Q": 3, "Y": 12}
DAY_RULES = {"E": "end", "S": "start", "BE": "business end", "BS": "business start"}
WEEKDAYS = ("THU", "FRI", "SAT", "SUN", "MON", "TUE", "WED")  # day 0 of the epoch was a Thursday


@dataclass(frozen=True)
class Frequency:
    """The rule that makes the next time stamp.

    kind   "fixed" (step in ns), "month" (step in months), "business" (step in business days), "integer" (step in units)
    rule   of months: "start", "end", "business start", "business end" or the day of the month; of weeks: the weekday
    wall   True where steps are counted on the local wall clock
    """

    kind: str
    step: int
    rule: str = ""
    wall: bool = False

    @property
    def season(self) -> int:
        """Steps in the natural season: a day of hours or minutes, a week of days, a year of weeks, months, quarters."""
        if self.kind == "month":
            return 12 // self.step if 12 % self.step == 0 else 1
        if self.kind == "business":
            return 5 if self.step == 1 else 1
        if self.kind == "integer" or self.step < SECOND:
            return 1
        if self.step % WEEK == 0:
            return 52 * WEEK // self.step if 52 * WEEK % self.step == 0 else 1
        span = MINUTE if self.step < MINUTE else DAY if self.step < DAY else WEEK
        return span // self.step if span % self.step == 0 else 1

    @property
    def usual_horizon(self) -> int | None:
        """What people forecast at this frequency by default, None where there is no custom."""
        if self.kind == "month":
            return 4 if self.step % 12 == 0 else 8 if self.step % 3 == 0 else 12
        if self.kind == "business":
            return 30
        if self.kind == "integer":
            return None
        return 60 if self.step < MINUTE else 48 if self.step < DAY else 8 if self.step % WEEK == 0 else 30

    @property
    def name(self) -> str:
        """The alias of pandas 2.2 and later; "M, day 15" and "3 steps" for what has none."""
        if self.kind == "integer":
            return f"{self.step} step" + ("s" if self.step > 1 else "")
        if self.kind == "business":
            return _times(self.step, "B")
        if self.kind == "month":
            unit = "Y" if self.step % 12 == 0 else "Q" if self.step % 3 == 0 else "M"
            count = self.step // MONTHS[unit]
            letters = {rule: letters for letters, rule in DAY_RULES.items()}.get(self.rule)
            if letters is None:
                return f"{_times(count, unit)}, day {self.rule}"
            return _times(count, f"B{unit}{letters[1]}" if letters.startswith("B") else unit + letters)
        unit = next(unit for unit in reversed(FIXED) if self.step % FIXED[unit] == 0)
        weekday = f"-{self.rule}" if unit == "W" and self.rule else ""
        return _times(self.step // FIXED[unit], unit + weekday)

    @property
    def period(self) -> str:
        """The alias of a pandas Period of this length, which is spelled otherwise than an offset."""
        if self.kind != "month":
            return self.name
        unit = "Y" if self.step % 12 == 0 else "Q" if self.step % 3 == 0 else "M"
        return _times(self.step // MONTHS[unit], unit)


@dataclass(frozen=True)
class TimeIndex:
    """A regular time axis: where it starts, its rule, its length.

    start      tick of the first step, on the wall clock where `frequency.wall`
    stride     ticks from step to step, where the rule is neither months nor business days
    stamps     absolute ticks of an irregular history, which is treated as evenly spaced; None for every other
    """

    clock: Clock
    frequency: Frequency | None
    start: int
    length: int
    stride: int = 1
    stamps: Ticks | None = None

    @property
    def season(self) -> int:
        return self.frequency.season if self.frequency else 1

    @property
    def usual_horizon(self) -> int | None:
        return self.frequency.usual_horizon if self.frequency else None

    def past(self) -> "pd.Index[Any]":
        """The stamps of the history."""
        if self.stamps is not None:
            return self.clock.index(self.stamps)
        return self.clock.index(self._ticks(np.arange(self.length)))

    def future(self, horizon: int) -> "pd.Index[Any]":
        """The `horizon` stamps after the history, in the user's own index type, unit and time zone."""
        return self.clock.index(self._ticks(np.arange(self.length, self.length + horizon)))

    @staticmethod
    def futures(indexes: "Sequence[TimeIndex]", horizon: int) -> "pd.Index[Any]":
        """`future_times`, reached through an axis by those who may not import this module."""
        return future_times(indexes, horizon)

    def _ticks(self, steps: Ticks) -> Ticks:
        ticks: Ticks = absolute_ticks([self], steps[None])[0]
        return ticks

    @property
    def grid_start(self) -> int:
        """The tick from which steps are counted; irregular histories are continued from their last stamp."""
        if self.stamps is None:
            return self.start
        return int(self.stamps[-1]) - (self.length - 1) * self.stride


def absolute_ticks(indexes: Sequence[TimeIndex], steps: Ticks) -> Ticks:
    """Absolute ticks (n, H) of the given steps (n, H) of axes that share a clock, computed together by frequency."""
    ticks = np.empty(steps.shape, dtype=np.int64)
    groups: dict[tuple[Frequency | None, int], list[int]] = {}
    for i, index in enumerate(indexes):
        groups.setdefault((index.frequency, index.stride), []).append(i)
    for (frequency, stride), rows in groups.items():
        clock = indexes[rows[0]].clock
        starts = np.array([indexes[i].grid_start for i in rows], dtype=np.int64)[:, None]
        made = grid(clock, frequency, stride, starts, steps[rows])
        if (made < starts).any():
            # int64 ran over, and the stamps would lie before the history.
            first = clock.show(int(starts[(made < starts).any(axis=1)][0, 0]))
            raise DataError(
                f"the forecast of a series that starts at {first} reaches beyond the last time that {clock.unit!r} "
                "stamps can hold; shorten the horizon or convert them first: times.as_unit('us')"
            )
        on_wall = frequency is not None and frequency.wall
        ticks[rows] = clock.absolute(made.ravel()).reshape(made.shape) if on_wall else made
    return ticks


def future_times(indexes: Sequence[TimeIndex], horizon: int) -> "pd.Index[Any]":
    """The next `horizon` stamps of every axis, one after the other, as one index of n * H entries."""
    if len({index.clock for index in indexes}) > 1:
        parts = [pd.Series(index.future(horizon)).astype(object) for index in indexes]
        joined: pd.Index[Any] = pd.Index(pd.concat(parts))
        return joined
    lengths = np.array([index.length for index in indexes], dtype=np.int64)[:, None]
    return indexes[0].clock.index(absolute_ticks(indexes, lengths + np.arange(horizon)).ravel())


def grid(clock: Clock, frequency: Frequency | None, stride: int, start: Ticks, steps: Ticks) -> Ticks:
    """Ticks of the given steps counted from `start`, which broadcast against each other."""
    if frequency is None or frequency.kind in ("fixed", "integer") or clock.kind != "datetime":
        return start + steps * stride
    stamps = np.asarray(start).view(f"M8[{clock.tick}]")
    days = stamps.astype("M8[D]")
    if frequency.kind == "business":
        dates = np.busday_offset(days, steps * frequency.step, roll="forward")
    else:
        dates = _days_of_months(days.astype("M8[M]").astype(np.int64) + steps * frequency.step, frequency.rule)
    ticks: Ticks = (dates.astype(f"M8[{clock.tick}]") + (stamps - days)).view(np.int64)
    return ticks


def _days_of_months(months: Ticks, rule: str) -> Any:
    """The day of each month (counted from 1970-01) that a rule names."""
    first = months.astype("M8[M]").astype("M8[D]")
    last = (months + 1).astype("M8[M]").astype("M8[D]") - 1
    if rule == "start":
        return first
    if rule == "business start":
        return np.busday_offset(first, 0, roll="forward")
    if rule == "business end":
        return np.busday_offset(last, 0, roll="backward")
    return last if rule == "end" else np.minimum(first + (int(rule) - 1), last)


def parse_frequency(freq: Any) -> Frequency:
    """The frequency that a person names: an alias of pandas (any version), a word, an offset or a timedelta."""
    if isinstance(freq, Frequency):
        return freq
    if not isinstance(freq, str) and hasattr(freq, "freqstr"):
        freq = freq.freqstr
    if not isinstance(freq, str):
        try:
            if isinstance(freq, int | float):
                raise TypeError
            return fixed(int(pd.Timedelta(freq).as_unit("ns").value))
        except (ValueError, TypeError):
            raise DataError(f"freq={freq!r} is no frequency; {_ADVICE}") from None
    found = re.fullmatch(r"(\d*)\s*([A-Za-z]+)(?:-([A-Za-z]{3}))?", freq.strip())
    count, unit, anchor = (int(found[1] or 1), found[2], (found[3] or "").upper()) if found else (0, "", "")
    unit = SPELLINGS.get(unit, SPELLINGS.get(unit.lower(), unit) if len(unit) > 3 else unit)
    if count < 1:
        raise DataError(f"freq={freq!r} is no frequency; {_ADVICE}")
    if unit == "B":
        return Frequency("business", count, wall=True)
    calendar = re.fullmatch(r"(B?)([MQY])([ES])", unit)
    if calendar:
        return Frequency("month", count * MONTHS[calendar[2]], DAY_RULES[calendar[1] + calendar[3]], wall=True)
    if unit not in FIXED:
        raise DataError(f"freq={freq!r} is no frequency; {_ADVICE}")
    if unit == "W" and anchor and anchor not in WEEKDAYS:
        raise DataError(f"freq={freq!r} names no day of the week; weeks are {', '.join('W-' + d for d in WEEKDAYS)}")
    parsed = fixed(count * FIXED[unit])
    return replace(parsed, rule=anchor) if unit == "W" else parsed


_ADVICE = "say one such as 's', '15min', 'h', 'D', 'B', 'W', 'MS', 'ME', 'QE' or 'YE'"


def fixed(step: int) -> Frequency:
    """A fixed step in nanoseconds, counted on the wall clock from one day up."""
    return Frequency("fixed", step, wall=step % DAY == 0)


def weekday_of(tick: int, clock: Clock) -> str:
    """Name of the weekday of a tick of the wall clock, as aliases spell it."""
    return WEEKDAYS[tick // clock.ticks_per_day % 7]


def untimed(length: int, freq: Any = None) -> TimeIndex:
    """The axis of a series without time stamps: positions 0, 1, 2...; `freq` gives it a season."""
    return TimeIndex(Clock(), parse_frequency(freq) if freq is not None else None, 0, length)


def _times(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count}{unit}"
