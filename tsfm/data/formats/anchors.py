"""A start and a frequency that agree, for formats that say "monthly" and give any stamp of the first month.

pandas counts months from their first or last day and weeks on one weekday; the start decides which. Series without
times begin at a placeholder.
"""

from dataclasses import replace

import pandas as pd

from tsfm.data.timeaxis import DAY, MINUTE, WEEK, WEEKDAYS, Frequency, parse_frequency

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
PLACEHOLDER = pd.Timestamp("1970-01-01")


def anchored(start: pd.Timestamp | None, freq: str) -> tuple[pd.Timestamp, str]:
    """The start on the grid of the frequency and the alias of pandas with its anchor: "W-SUN", "MS", "QE-JAN".

    start   None becomes 1970-01-01, or the first stamp of the grid after it
    """
    frequency = parse_frequency(freq)
    stamp = PLACEHOLDER if start is None else start
    if frequency.kind == "month" and not frequency.rule.startswith("business"):
        return _months(stamp, frequency)
    if frequency.kind == "fixed" and frequency.step % WEEK == 0:
        return _weeks(stamp, frequency)
    if frequency.kind == "business":
        return stamp + pd.offsets.BDay(0), frequency.name
    # Monash's electricity begins at 00:00:01, and its hours are full hours.
    return (stamp.floor("min") if frequency.step % MINUTE == 0 else stamp), frequency.name


def _months(stamp: pd.Timestamp, frequency: Frequency) -> tuple[pd.Timestamp, str]:
    at_end = stamp.is_month_end
    stamp = stamp.floor("min") if at_end else stamp.floor("min").replace(day=1)
    alias = replace(frequency, rule="end" if at_end else "start").name
    cycle = 12 if frequency.step % 12 == 0 else 3 if frequency.step % 3 == 0 else 1
    usual = 12 if at_end else 1
    anchor = "" if (stamp.month - usual) % cycle == 0 else "-" + MONTHS[(stamp.month - 1) % 12]
    return stamp, alias + anchor


def _weeks(stamp: pd.Timestamp, frequency: Frequency) -> tuple[pd.Timestamp, str]:
    stamp = stamp.floor("min")
    weekday = (stamp - PLACEHOLDER) // pd.Timedelta(DAY, "ns") % 7
    if frequency.rule:
        return stamp + pd.Timedelta(days=(WEEKDAYS.index(frequency.rule) - weekday) % 7), frequency.name
    return stamp, replace(frequency, rule=WEEKDAYS[weekday]).name
