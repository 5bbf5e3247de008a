"""A start and a frequency are brought together so that pandas continues the series from its own first stamp."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfm.data.formats.anchors import anchored
from tsfm.data.timeaxis import parse_frequency

NAMES = ("W", "W-WED", "M", "MS", "ME", "Q", "QS", "QE", "YS", "YE", "2MS", "B", "D", "h", "30min", "4s")


@pytest.mark.parametrize(
    ("start", "freq", "agreed"),
    [
        ("2015-01-01", "W", ("2015-01-01", "W-THU")),
        ("2015-01-01", "W-SUN", ("2015-01-04", "W-SUN")),
        ("1990-01-31", "MS", ("1990-01-31", "ME")),
        ("1990-01-15", "M", ("1990-01-01", "MS")),
        ("1984-02-01", "Q", ("1984-02-01", "QS-FEB")),
        ("1974-12-31", "Q", ("1974-12-31", "QE")),
        ("1972-07-01", "Y", ("1972-07-01", "YS-JUL")),
        ("2012-01-01 00:00:01", "h", ("2012-01-01", "h")),
        ("2012-01-01 00:00:01", "4s", ("2012-01-01 00:00:01", "4s")),
        (None, "W", ("1970-01-01", "W-THU")),
        (None, "W-SUN", ("1970-01-04", "W-SUN")),
        (None, "YE", ("1970-01-01", "YS")),
    ],
)
def test_the_start_decides_the_anchor(start, freq, agreed):
    found = anchored(None if start is None else pd.Timestamp(start), freq)
    assert found == (pd.Timestamp(agreed[0]), agreed[1])


@given(
    st.datetimes(pd.Timestamp("1700-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime()),
    st.sampled_from(NAMES),
)
def test_the_start_lies_on_the_grid_of_the_alias_near_the_one_given(at, freq):
    given_start = pd.Timestamp(at.replace(microsecond=0))
    start, alias = anchored(given_start, freq)
    assert pd.tseries.frequencies.to_offset(alias).is_on_offset(start)
    assert parse_frequency(alias).kind == parse_frequency(freq).kind
    assert abs(start - given_start) <= pd.Timedelta(days=31)
    assert anchored(start, alias) == (start, alias)
