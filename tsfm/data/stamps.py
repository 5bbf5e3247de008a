"""Stamps: any column or index that holds time becomes a clock and int64 ticks.

Dates may be stamps of any unit with or without a time zone, periods, time spans, text, integers that count steps, or
integers written as 20240131 or 202401. Text that can be read in two ways (03/04/2024) is refused, never guessed.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.clocks import Clock, Ticks, naive_ticks
from tsfm.errors import DataError

SLASHED = r"^\s*(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4}|\d{2})(?!\d)"
SLASHED_MARK = r"^\s*\d{1,2}([/.\-])"
UNITS = ("s", "ms", "us", "ns")
ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?$")
CLOCK_TIME = r"^\s*\d{1,2}:\d\d(:\d\d(\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*$"
QUARTER = re.compile(r"^\s*\d{4}[ -]?Q[1-4]\s*$|^\s*Q[1-4][ -]?\d{4}\s*$", re.IGNORECASE)
Owner = Callable[[int], str]
RowOf = Callable[[int], int]
Read = tuple[Clock, Ticks, str]


def read_times(column: Any, name: str, owner: Owner) -> Read:
    """Clock, ticks (T,) and a note on how text or numbers were read ("" when the column held stamps).

    name    the column's name, for messages
    owner   row -> the series it belongs to, as messages call it
    """
    stamps: Any = column if isinstance(column, pd.Index) else pd.Index(column)
    note = ""
    if stamps.dtype == object or pd.api.types.is_string_dtype(stamps.dtype) or stamps.dtype == "category":
        stamps, note = _from_objects(pd.Index(stamps.astype(object)), name, owner)
    missing = np.flatnonzero(np.asarray(stamps.isna()))
    if len(missing):
        row = int(missing[0])
        raise DataError(
            f"{owner(row)} has {len(missing)} rows without a time in column {name!r} (first: row {row}); "
            f"fill them or drop them with dropna(subset=[{name!r}])"
        )
    if not isinstance(stamps, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        return _from_numbers(stamps, name, owner)
    return (*_from_stamps(stamps, name), note)


def _from_stamps(stamps: Any, name: str) -> tuple[Clock, Ticks]:
    if isinstance(stamps, pd.PeriodIndex):
        return Clock("period", period=stamps.freqstr), np.asarray(stamps.asi8)
    if isinstance(stamps, pd.TimedeltaIndex):
        clock = Clock("timedelta", stamps.unit)
        return clock, naive_ticks(stamps, clock.tick)
    clock = Clock("datetime", stamps.unit, stamps.tz)
    try:
        return clock, naive_ticks(stamps.tz_convert(None) if stamps.tz is not None else stamps, clock.tick)
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        raise DataError(f"column {name!r} has times too far away to count ({stamps.min()} to {stamps.max()})") from None


def _from_numbers(stamps: Any, name: str, owner: Owner) -> Read:
    """Integers that count steps, or dates written as eight digits, or months as six."""
    if not pd.api.types.is_numeric_dtype(stamps.dtype) or pd.api.types.is_bool_dtype(stamps.dtype):
        raise DataError(f"column {name!r} holds {stamps.dtype} values, which are no time; name another with time=")
    numbers = np.asarray(stamps)
    whole = np.asarray(np.floor(numbers) == numbers) if numbers.dtype.kind == "f" else np.ones(len(numbers), dtype=bool)
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        raise DataError(
            f"{owner(row)} has the time {numbers[row]} in column {name!r}, which is no whole number; "
            "use dates, or integers that count steps"
        )
    ticks = numbers.astype(np.int64)
    if len(ticks) and ticks.min() >= 1000_01_01 and ticks.max() <= 9999_12_31:
        dates = pd.to_datetime(pd.Series(ticks.astype(str)), format="%Y%m%d", errors="coerce")
        if dates.notna().all():
            clock, ticks = _from_stamps(pd.DatetimeIndex(dates), name)
            return clock, ticks, f"integers in column {name!r} were read as dates (YYYYMMDD)"
    if _are_months(ticks):
        clock, ticks = _from_stamps(pd.DatetimeIndex(pd.to_datetime(pd.Series(ticks.astype(str)), format="%Y%m")), name)
        return clock, ticks, f"integers in column {name!r} were read as months (YYYYMM)"
    unit = _since_1970(ticks)
    if unit:
        note = (
            f"integers in column {name!r} look like times since 1970 and count as plain steps, so that no season is "
            f"known; convert them first: pd.to_datetime(frame[{name!r}], unit={unit!r})"
        )
        return Clock("integer"), ticks, note
    return Clock("integer"), ticks, ""


def _are_months(ticks: Ticks) -> bool:
    """True for 202311, 202312, 202401: all are months, and a year ends among them, as no count of steps would do."""
    if len(ticks) < 2 or ticks.min() < 1800_01 or ticks.max() > 2200_12:
        return False
    months = ticks % 100
    return bool(((months >= 1) & (months <= 12)).all() and ticks.max() // 100 > ticks.min() // 100)


def _since_1970(ticks: Ticks) -> str:
    """The unit in which all integers are times between 1980 and 2100, "" if there is none."""
    if not len(ticks):
        return ""
    low, high = int(ticks.min()), int(ticks.max())
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    return next(
        (unit for unit, size in units.items() if 315_532_800 * size <= low and high <= 4_102_444_800 * size), ""
    )


def _from_objects(stamps: Any, name: str, owner: Owner) -> tuple[Any, str]:
    """Stamps from a column of Python objects or of text."""
    kind = pd.api.types.infer_dtype(stamps, skipna=True)
    if kind == "period":
        return pd.PeriodIndex(stamps), ""
    if kind == "string":
        codes, words = pd.factorize(stamps)
        parsed, how = _from_text(pd.Index(words), name, owner, lambda word: int(np.flatnonzero(codes == word)[0]))
        return parsed.take(codes) if (codes >= 0).all() else parsed.insert(len(parsed), pd.NaT).take(codes), (
            f"text in column {name!r} was read as times{how}" if how else ""
        )
    if kind in ("integer", "floating", "mixed-integer-float"):
        return pd.Index(stamps.to_numpy(dtype=np.float64)), ""
    if kind in ("datetime", "datetime64", "date", "mixed", "empty"):
        _refuse_mixed_zones(stamps, name, owner)
        return _converted(stamps, name, owner), ""
    raise DataError(f"column {name!r} holds {kind} values, which are no time; name another with time=")


def _refuse_mixed_zones(stamps: Any, name: str, owner: Owner) -> None:
    zones = [str(getattr(stamp, "tzinfo", None)) for stamp in stamps if not pd.isna(stamp)]
    other = next((row for row, zone in enumerate(zones) if zone != zones[0]), None)
    if other is not None:
        raise _mixed_zones(owner(other), name, zones[0], zones[other], stamps[other])


def _mixed_zones(who: str, name: str, one: str, two: str, stamp: Any) -> DataError:
    return DataError(
        f"{who} mixes the time zones {one} and {two} in column {name!r} (first at {stamp}); make them one: "
        f"pd.to_datetime(frame[{name!r}], utc=True).dt.tz_convert('Europe/Berlin'), with your own zone"
    )


def _converted(stamps: Any, name: str, owner: Owner, **how: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return pd.DatetimeIndex(pd.to_datetime(stamps, **how))
    except (ValueError, TypeError, OverflowError, UserWarning, FutureWarning):
        row, value = _unreadable(stamps, how)
        raise DataError(
            f"{owner(row)} has {value!r} in column {name!r}, which cannot be read as a time; "
            "write times as 2024-03-31 or 2024-03-31 13:00, or name another column with time="
        ) from None


def _unreadable(stamps: Any, how: dict[str, Any]) -> tuple[int, Any]:
    for row, stamp in enumerate(stamps):
        try:
            if pd.isna(pd.to_datetime(stamp, **how)) and not pd.isna(stamp):
                return row, stamp
        except (ValueError, TypeError, OverflowError):
            return row, stamp
    return 0, stamps[0]


def _from_text(words: Any, name: str, owner: Owner, row_of: RowOf) -> tuple[Any, str]:
    """Times of distinct texts, which stand first in the row that `row_of` says; how, where that needs words."""
    plain = _plainly_iso(words) if len(words) and ISO.match(words[0]) else None
    if plain is not None:
        return plain, ""

    def whose(word: int) -> str:
        return owner(row_of(word))

    text = pd.Series(words, dtype=object)
    dateless = text.str.match(CLOCK_TIME).to_numpy()
    if dateless.any():
        row = int(np.flatnonzero(dateless)[0])
        raise DataError(
            f"{whose(row)} has {words[row]!r} in column {name!r}, a time of day without a date; join date and time: "
            f"frame[{name!r}] = pd.to_datetime(frame[date] + ' ' + frame[{name!r}]), or name another with time="
        )
    slashed = text.str.extract(SLASHED)
    short = slashed.notna().all(axis=1).to_numpy()
    if short.all():
        day_first, why = _day_first(text.str.extract(SLASHED_MARK)[0], slashed, text, name, owner, row_of)
        return _converted(words, name, whose, dayfirst=day_first, format="mixed"), why
    if all(QUARTER.match(word) for word in words):
        tidy = text.str.upper().str.replace(r"[ -]", "", regex=True).str.replace(r"^(Q\d)(\d{4})$", r"\2\1", regex=True)
        return pd.PeriodIndex(tidy, freq="Q").to_timestamp(), ", quarters"
    _refuse_zones_in_text(text, words, name, whose)
    if short.any():
        return _from_two_ways(words, short, name, owner, row_of)
    if text.str.fullmatch(r"\s*\d{6}\s*").all():
        return _converted(pd.Index(text.str.strip()), name, whose, format="%Y%m"), ", year and month"
    iso = text.str.match(r"^\s*\d{4}-?\d{0,2}").to_numpy()
    if iso.all():
        return _converted(words, name, whose, format="ISO8601"), ""
    told = f"; it writes them in several ways, such as {words[iso][0]!r} and {words[~iso][0]!r}" if iso.any() else ""
    return _converted(words, name, whose, format="mixed"), told


def _plainly_iso(words: Any) -> Any:
    """Times of texts that are all in ISO order and without a zone, None for any others; no pattern is tried on each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dates = pd.DatetimeIndex(pd.to_datetime(words, format="ISO8601"))
    except (ValueError, TypeError, OverflowError, UserWarning, FutureWarning):
        return None
    return dates if dates.tz is None else None


def _refuse_zones_in_text(text: Any, words: Any, name: str, whose: Owner) -> None:
    offsets = text.str.extract(r"\d\d:\d\d.*?(Z|[+-]\d\d:?\d\d)\s*$")[0]
    zones = offsets.fillna("none").str.replace("Z", "+00:00").str.replace(r"^([+-]\d\d)(\d\d)$", r"\1:\2", regex=True)
    if (zones != zones.iloc[0]).any():
        row = int(np.flatnonzero((zones != zones.iloc[0]).to_numpy())[0])
        raise _mixed_zones(whose(row), name, zones.iloc[0], zones.iloc[row], words[row])


def _from_two_ways(words: Any, short: Any, name: str, owner: Owner, row_of: RowOf) -> tuple[Any, str]:
    """Times where 31/01/2024 stands beside 2024-01-31: each kind is read on its own, and that is told."""
    one, two = words[~short], words[short]
    first, second = np.flatnonzero(~short), np.flatnonzero(short)
    plain, _ = _from_text(one, name, owner, lambda word: row_of(int(first[word])))
    other, why = _from_text(two, name, owner, lambda word: row_of(int(second[word])))
    both = np.empty(len(words), dtype=object)
    both[~short], both[short] = list(plain), list(other)
    dates = pd.DatetimeIndex(pd.to_datetime(pd.Series(both))).as_unit(max(plain.unit, other.unit, key=UNITS.index))
    return dates, f"; it writes them in several ways, such as {one[0]!r} and {two[0]!r}{why}"


def _day_first(marks: Any, slashed: Any, text: Any, name: str, owner: Owner, row_of: RowOf) -> tuple[bool, str]:
    """Whether texts such as 31/12/2024 start with the day, and what shows it; refused when no text tells."""
    one, two = (slashed[part].astype(int).to_numpy() for part in (0, 1))
    days, months = np.flatnonzero(one > 12), np.flatnonzero(two > 12)
    if len(days) and len(months):
        shown = [f"{text.iloc[word]!r} in row {row_of(int(word))}" for word in (days[0], months[0])]
        raise DataError(
            f"{owner(row_of(int(months[0])))} mixes day/month ({shown[0]}) and month/day ({shown[1]}) in column "
            f"{name!r}; write all of them as 2024-03-31"
        )
    if len(days) or len(months):
        return bool(
            len(days)
        ), f" ({'day' if len(days) else 'month'} first, as {text.iloc[(*days, *months)[0]]!r} shows)"
    if (marks == ".").all():
        return True, f" (day first, as dates with points are written: {text.iloc[0]!r})"
    raise DataError(
        f"{owner(row_of(0))} has the time {text.iloc[0]!r} in column {name!r}, which may be day/month or month/day, "
        f"and no other row tells; say which: frame[{name!r}] = pd.to_datetime(frame[{name!r}], dayfirst=True), or "
        "False, or write it as 2024-03-31"
    )
