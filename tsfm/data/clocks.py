"""Clocks: what one kind of time stamp is, and the way from it to integers ("ticks") and back.

All arithmetic on time in tsfm is done on int64 ticks: nanoseconds for nanosecond stamps, microseconds for every coarser
unit (pandas 3 makes microseconds by default, and years after 2262 need them), ordinals for periods, the numbers
themselves for integer time. A clock remembers unit, time zone and period alias, so that stamps go back as they came.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ticks = NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """One kind of time stamp.

    kind     "datetime", "timedelta", "period", "integer", or "none" where a series has no time axis at all
    unit     unit of the user's stamps ("s", "ms", "us", "ns"); ticks are "ns" or "us"
    zone     time zone or None
    period   alias of the periods, as pandas spells it
    """

    kind: str = "none"
    unit: str = "us"
    zone: Any = None
    period: str = ""

    @property
    def tick(self) -> str:
        """Unit of the ticks of a datetime or timedelta clock."""
        return "ns" if self.unit == "ns" else "us"

    @property
    def ticks_per_day(self) -> int:
        return 86_400 * (10**9 if self.tick == "ns" else 10**6)

    def wall(self, ticks: Ticks) -> Ticks:
        """Ticks of the local wall clock, from absolute (UTC) ticks."""
        if self.zone is None:
            return ticks
        stamps: Any = pd.DatetimeIndex(ticks.view(f"M8[{self.tick}]"), tz="UTC")
        return naive_ticks(stamps.tz_convert(self.zone).tz_localize(None), self.tick)

    def absolute(self, wall: Ticks) -> Ticks:
        """Absolute ticks, from the local wall clock; a time that a change of clocks skips moves forward."""
        if self.zone is None:
            return wall
        first = np.ones(len(wall), dtype=bool)
        stamps: Any = pd.DatetimeIndex(wall.view(f"M8[{self.tick}]"))
        stamps = stamps.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")
        return naive_ticks(stamps.tz_convert(None), self.tick)

    def index(self, ticks: Ticks) -> "pd.Index[Any]":
        """The user's kind of index from absolute ticks."""
        if self.kind == "datetime":
            stamps: Any = pd.DatetimeIndex(ticks.view(f"M8[{self.tick}]"))
            stamps = stamps.as_unit(self.unit)
            zoned: pd.Index[Any] = stamps if self.zone is None else stamps.tz_localize("UTC").tz_convert(self.zone)
            return zoned
        if self.kind == "timedelta":
            spans: Any = pd.TimedeltaIndex(ticks.view(f"m8[{self.tick}]"))
            return cast("pd.Index[Any]", spans.as_unit(self.unit))
        if self.kind == "period":
            periods: Any = pd.PeriodIndex
            return cast("pd.Index[Any]", periods.from_ordinals(ticks, freq=self.period))
        return _integers(ticks)

    def show(self, tick: int) -> str:
        """One stamp as people write it."""
        return str(self.index(np.array([tick], dtype=np.int64))[0])


def naive_ticks(stamps: Any, tick: str) -> Ticks:
    """int64 ticks of a DatetimeIndex without time zone."""
    ticks: Ticks = stamps.as_unit(tick).to_numpy().view(np.int64)
    return ticks


def _integers(ticks: Ticks) -> "pd.Index[Any]":
    """A RangeIndex where the numbers are evenly spaced, else a plain index of integers."""
    step = int(ticks[1] - ticks[0]) if len(ticks) > 1 else 1
    if step and len(ticks) and (np.diff(ticks) == step).all():
        return pd.RangeIndex(int(ticks[0]), int(ticks[-1]) + step, step)
    return pd.Index(ticks)
