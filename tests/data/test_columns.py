"""Which column is the id, the time, the target: what is refused, and what the refusal says."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError

DAYS = pd.date_range("2024-01-01", periods=4)
LONG = pd.DataFrame({"shop": list("aabb"), "item": list("klkl"), "day": DAYS, "y": [1.0, 2.0, 3.0, 4.0]})


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"id": ["shop", "item"]}, r"id=\['shop', 'item'\] is no name.*join several"),
        ({"id": "y", "target": "y"}, "id= and target= both name the column 'y'"),
        ({"id": "shop", "target": ["y", "y"]}, "target= names twice the column 'y'"),
        ({}, "'shop', 'item' could name the series.*join them"),
    ],
)
def test_a_column_has_one_role_and_the_error_says_how_to_name_it(named, words):
    with pytest.raises(DataError, match=words):
        to_panel(LONG, **named)


def test_a_frame_of_times_alone_has_nothing_to_forecast():
    with pytest.raises(DataError, match="none to forecast"):
        to_panel(pd.DataFrame({"ds": DAYS}))


def test_times_of_day_without_a_date_are_refused_and_never_become_today():
    frame = pd.DataFrame({"Date": DAYS.strftime("%Y-%m-%d"), "Time": ["00:00"] * 4, "load": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(DataError, match=r"'00:00' in column 'Time', a time of day without a date; join"):
        to_panel(frame)


@pytest.mark.parametrize(("unit", "size"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_integers_that_look_like_times_since_1970_are_told_with_the_way_to_convert_them(unit, size):
    frame = pd.DataFrame(
        {"timestamp": [(1_700_000_000 + 3600 * k) * size for k in range(4)], "y": [1.0, 2.0, 3.0, 4.0]}
    )
    (repair,) = to_panel(frame).repairs
    assert f"unit={unit!r}" in repair.message


def test_integers_that_count_steps_need_no_word():
    assert to_panel(pd.DataFrame({"time": range(2000, 2004), "y": [1.0, 2.0, 3.0, 4.0]})).repairs == []


@pytest.mark.parametrize("kind", [int, str])
def test_months_written_as_six_digits_are_months(kind):
    months = [kind(year * 100 + month) for year in (2022, 2023) for month in range(1, 13)]
    panel = to_panel(pd.DataFrame({"date": months, "y": np.arange(24.0)}))
    assert panel.index[0].frequency.name == "MS"
    assert len(panel.values[0]) == 24
    assert "date" in panel.repairs[0].message


def test_quarters_written_as_text_are_found_to_be_the_time():
    panel = to_panel(pd.DataFrame({"period": ["2023Q3", "2023Q4", "2024Q1"], "y": [1.0, 2.0, 3.0]}))
    assert panel.index[0].frequency.name == "QS"
