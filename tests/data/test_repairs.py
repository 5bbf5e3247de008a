"""Rows in any order, with repeats, gaps and odd stamps are laid on a regular axis, and each repair is told."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError


def series(index) -> pd.Series:
    return pd.Series(np.arange(float(len(index))), index=index, name="sales")


def kinds(panel) -> list[str]:
    return [repair.kind for repair in panel.repairs]


def test_unsorted_rows_are_sorted_and_told():
    panel = to_panel(series(pd.date_range("2024", periods=10, freq="D"))[::-1])
    assert panel.values[0].tolist() == list(range(10))
    assert kinds(panel) == ["unsorted"]


def test_repeats_of_the_same_row_are_dropped_and_told():
    one = series(pd.date_range("2024", periods=10, freq="D"))
    panel = to_panel(pd.concat([one, one.iloc[3:5]]).sort_index())
    assert panel.values[0].tolist() == list(range(10))
    assert [(repair.kind, repair.count) for repair in panel.repairs] == [("duplicates", 2)]


def test_a_missing_value_beside_a_known_one_at_the_same_time_gives_the_known_one():
    stamps = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"])
    assert to_panel(pd.Series([1, np.nan, 2, 3], index=stamps)).values[0].tolist() == [1, 2, 3]


def test_different_values_at_one_time_are_an_error_that_names_series_time_values_and_remedy():
    frame = pd.DataFrame(
        {"unique_id": "shop", "ds": pd.to_datetime(["2024-05-01", "2024-05-02", "2024-05-02"]), "y": [1, 2, 5]}
    )
    with pytest.raises(DataError, match=r"'shop'.*2024-05-02.*2 and 5.*aggregate"):
        to_panel(frame)


def test_an_hour_that_comes_twice_is_explained_by_the_change_of_clocks():
    index = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin").tz_localize(None)
    with pytest.raises(DataError, match=r"clocks went back.*time zone"):
        to_panel(series(index))


@pytest.mark.parametrize("freq", ["min", "h", "D", "W-SUN", "MS", "YS"])
def test_one_wild_stamp_is_an_error_that_names_it_and_makes_no_endless_gap(freq):
    index = pd.date_range("2020-01-01", periods=20, freq=freq).append(pd.DatetimeIndex(["2262-01-07"]))
    with pytest.raises(DataError, match=r"'sales'.*2262-01-07"):
        to_panel(series(index))


def test_irregular_stamps_are_treated_as_even_and_that_is_told():
    rng = np.random.default_rng(0)
    stamps = pd.DatetimeIndex(np.sort(rng.integers(1_600_000_000, 1_700_000_000, 60)).astype("M8[s]"))
    panel = to_panel(series(stamps))
    assert len(panel.values[0]) == 60
    assert kinds(panel) == ["irregular"]
    assert panel.season == [1]
    assert panel.future_index(0, 3).min() > stamps.max()


def test_a_few_late_stamps_are_moved_onto_the_grid_and_told():
    late = pd.to_timedelta(np.where(np.arange(100) % 20 == 7, 3, 0), unit="min")
    panel = to_panel(series(pd.date_range("2024", periods=100, freq="h") + late))
    assert panel.season == [24]
    assert [(repair.kind, repair.count) for repair in panel.repairs] == [("moved", 5)]


def test_days_with_most_rows_missing_are_still_days():
    rng = np.random.default_rng(0)
    index = pd.date_range("2024", periods=1000, freq="D")[np.sort(rng.choice(1000, 80, replace=False))]
    panel = to_panel(series(index))
    assert panel.index[0].frequency.name == "D"
    assert len(panel.values[0]) == (index[-1] - index[0]).days + 1


def test_one_stamp_takes_the_frequency_of_the_other_series_and_that_is_told():
    many = series(pd.date_range("2024-01-31", periods=10, freq="ME"))
    panel = to_panel({"many": many, "one": series(pd.DatetimeIndex(["2024-01-31"]))})
    assert panel.season == [12, 12]
    assert panel.future_index(1, 1)[0] == pd.Timestamp("2024-02-29")
    assert kinds(panel) == ["frequency"]


def test_two_stamps_take_the_frequency_of_the_other_series_if_they_lie_on_it():
    many = series(pd.date_range("2024-01-01", periods=10, freq="D"))
    panel = to_panel({"many": many, "two": many.iloc[[0, 2]]})
    assert len(panel.values[1]) == 3
    assert np.isnan(panel.values[1][1])


def test_one_stamp_alone_has_no_season_and_says_so():
    panel = to_panel(series(pd.date_range("2024", periods=1)))
    assert panel.season == [1]
    assert kinds(panel) == ["frequency"]
    assert panel.future_index(0, 1)[0] == pd.Timestamp("2024-01-02")


def test_a_given_frequency_puts_irregular_stamps_into_its_steps():
    stamps = pd.DatetimeIndex(["2024-01-01 08:13", "2024-01-02 17:45", "2024-01-04 23:50", "2024-01-05 00:01"])
    panel = to_panel(series(stamps), freq="D")
    assert len(panel.values[0]) == 5
    assert kinds(panel) == ["moved", "gaps"]


def test_a_given_frequency_too_long_for_the_rows_is_an_error():
    with pytest.raises(DataError, match=r"several rows in one step of 'D'"):
        to_panel(series(pd.date_range("2024", periods=50, freq="h")), freq="D")


def test_a_given_month_keeps_the_day_that_the_stamps_have():
    panel = to_panel(series(pd.date_range("2024-01-01", periods=1)), freq="M")
    assert panel.future_index(0, 2).tolist() == [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-03-01")]


@settings(deadline=None, max_examples=60)
@given(
    freq=st.sampled_from(["min", "h", "D", "B", "W-TUE", "ME", "QS", "YE"]),
    kept=st.lists(st.integers(0, 59), min_size=45, max_size=60, unique=True),
    zone=st.sampled_from([None, "Europe/Berlin", "America/St_Johns"]),
)
def test_rows_in_any_order_with_any_few_missing_give_the_same_axis(freq, kept, zone):
    index = pd.date_range("2021-01-01", periods=60, freq=freq, tz=zone)
    panel = to_panel(series(index).iloc[kept])
    expected = np.full(60, np.nan)
    expected[kept] = kept
    np.testing.assert_array_equal(panel.values[0], expected[min(kept) : max(kept) + 1])
    assert list(panel.past_index(0)) == list(index[min(kept) : max(kept) + 1])
