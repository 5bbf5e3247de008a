"""Time axes: every frequency is found and continued, in its own unit and zone, and every repair is told."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfm.data.adapters import to_panel
from tsfm.data.timeaxis import parse_frequency
from tsfm.errors import DataError

FIXED = [
    "s",
    "10s",
    "min",
    "5min",
    "15min",
    "30min",
    "h",
    "2h",
    "6h",
    "12h",
    "D",
    "2D",
    "W-SUN",
    "W-MON",
    "W-TUE",
    "W-WED",
    "W-THU",
    "W-FRI",
    "W-SAT",
]
CALENDAR = [
    "2W-SUN",
    "B",
    "MS",
    "ME",
    "BMS",
    "BME",
    "2MS",
    "QS",
    "QE",
    "QE-JAN",
    "QS-FEB",
    "YS",
    "YE",
    "YE-JUN",
    "YS-APR",
    "BQE",
    "BYE",
]
FREQUENCIES = [*FIXED, *CALENDAR]
HORIZON = 7


def series(index) -> pd.Series:
    return pd.Series(np.arange(float(len(index))), index=index, name="sales")


def kinds(panel) -> list[str]:
    return [repair.kind for repair in panel.repairs]


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_the_stamps_of_every_frequency_are_continued(freq):
    index = pd.date_range("2019-03-07", periods=40 + HORIZON, freq=freq)
    panel = to_panel(series(index[:40]))
    assert list(panel.future_index(0, HORIZON)) == list(index[40:])
    assert panel.repairs == []


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_missing_rows_become_nan_and_are_told(freq):
    index = pd.date_range("2019-03-07", periods=60 + HORIZON, freq=freq)
    panel = to_panel(series(index[:60].delete([7, 21, 22])))
    assert np.flatnonzero(np.isnan(panel.values[0])).tolist() == [7, 21, 22]
    assert [(repair.kind, repair.count) for repair in panel.repairs] == [("gaps", 3)]
    assert list(panel.future_index(0, HORIZON)) == list(index[60:])


@pytest.mark.parametrize("day", [2, 15, 28, 29, 30])
def test_months_on_any_day_are_months(day):
    stamps = pd.DatetimeIndex([pd.Timestamp(2020, 1, day) + pd.DateOffset(months=i) for i in range(30)])
    panel = to_panel(series(stamps[:24]))
    assert list(panel.future_index(0, 6)) == list(stamps[24:])
    assert panel.season == [12]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_stamps_is_kept(unit):
    panel = to_panel(series(pd.date_range("2020", periods=20, freq="D").as_unit(unit)))
    assert panel.future_index(0, 3).dtype == f"datetime64[{unit}]"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("start", ["2024-03-01", "2024-10-01"])
@pytest.mark.parametrize("freq", ["15min", "h", "D", "W-SUN", "B", "MS"])
def test_a_change_of_clocks_makes_no_gap_and_no_repeat(zone, start, freq):
    index = pd.date_range(start, periods=100, freq=freq, tz=zone)
    panel = to_panel(series(index[:60]))
    assert panel.repairs == []
    assert list(panel.future_index(0, 40)) == list(index[60:])
    assert panel.future_index(0, 40).dtype == index.dtype


def test_days_whose_midnight_is_skipped_are_still_days():
    naive = pd.date_range("2024-04-01", periods=60, freq="D")
    panel = to_panel(series(naive.tz_localize("Africa/Cairo", nonexistent="shift_forward")))
    assert panel.index[0].frequency.name == "D"
    assert panel.repairs == []


def test_every_six_hours_on_the_wall_clock_is_one_step_across_a_change_of_clocks():
    index = pd.date_range("2024-03-20", periods=90, freq="6h").tz_localize("Europe/Berlin")
    panel = to_panel(series(index[:80]))
    assert panel.repairs == []
    assert list(panel.future_index(0, 10)) == list(index[80:])


def test_a_day_in_utc_shown_in_local_time_stays_24_hours():
    index = pd.date_range("2024-03-01", periods=60, freq="D", tz="UTC").tz_convert("Europe/Berlin")
    panel = to_panel(series(index[:50]))
    assert list(panel.future_index(0, 10)) == list(index[50:])


@pytest.mark.parametrize("alias", ["M", "Q", "Y", "W-WED", "D", "h", "15min", "2M", "B"])
@pytest.mark.filterwarnings("ignore:Period with BDay:FutureWarning", "ignore:PeriodDtype.B:FutureWarning")
def test_periods_stay_periods(alias):
    index = pd.period_range("2020-01-06", periods=30, freq=alias)
    panel = to_panel(series(index[:25].delete(4)))
    assert list(panel.future_index(0, 5)) == list(index[25:])
    assert len(panel.values[0]) == 25


@pytest.mark.parametrize("step", [1, 5])
def test_integer_time_is_continued_by_its_step(step):
    frame = pd.DataFrame({"ds": np.arange(20) * step + 3, "y": 1.0}).drop(index=5)
    panel = to_panel(frame)
    assert list(panel.future_index(0, 2)) == [20 * step + 3, 21 * step + 3]
    assert np.isnan(panel.values[0][5])


def test_stamps_before_1678_and_after_2262_are_counted():
    stamps = pd.DatetimeIndex(np.arange("2255", "2275", dtype="M8[Y]").astype("M8[s]"))
    assert to_panel(series(stamps)).future_index(0, 1)[0].year == 2275


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
    panel = to_panel({"many": many, "one": many.iloc[:1]})
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("H", "h"),
        ("T", "min"),
        ("S", "s"),
        ("15T", "15min"),
        ("M", "ME"),
        ("Q", "QE"),
        ("Q-DEC", "QE-DEC"),
        ("A", "YE"),
        ("Y", "YE"),
        ("A-JUN", "YE-JUN"),
        ("BM", "BME"),
        ("L", "ms"),
        ("daily", "D"),
        ("hourly", "h"),
    ],
)
def test_old_and_new_aliases_are_the_same_frequency(old, new):
    assert parse_frequency(old) == parse_frequency(new)


@pytest.mark.parametrize("freq", [pd.Timedelta("1h"), pd.offsets.Hour(), "h", "60min", np.timedelta64(1, "h")])
def test_a_frequency_may_be_an_offset_or_a_time_span(freq):
    assert to_panel([1, 2, 3], freq=freq).season == [24]


@pytest.mark.parametrize("freq", ["foo", "0h", "", 3.5, "m"])
def test_a_word_that_is_no_frequency_is_an_error_that_names_it(freq):
    with pytest.raises(DataError, match="is no frequency"):
        to_panel([1, 2], freq=freq)


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


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-30", "2024-01-31", "2024-02-01"],
        ["30/01/2024", "31/01/2024", "01/02/2024"],
        ["01/30/2024", "01/31/2024", "02/01/2024"],
        ["30.01.2024", "31.01.2024", "01.02.2024"],
        ["2024-01-30 00:00:00", "2024-01-31 00:00:00", "2024-02-01 00:00:00"],
        ["Jan 30 2024", "Jan 31 2024", "Feb 1 2024"],
        [20240130, 20240131, 20240201],
        [pd.Timestamp("2024-01-30").date(), pd.Timestamp("2024-01-31").date(), pd.Timestamp("2024-02-01").date()],
    ],
)
def test_text_and_other_ways_to_write_dates_are_read(texts):
    panel = to_panel(pd.DataFrame({"ds": texts, "y": [1, 2, 3]}))
    assert panel.future_index(0, 1)[0] == pd.Timestamp("2024-02-02")


@pytest.mark.parametrize(
    "texts", [["2020Q1", "2020Q2", "2020Q3"], ["2020-Q1", "2020-Q2", "2020-Q3"], ["Q1 2020", "Q2 2020"]]
)
def test_quarters_in_words_are_quarters(texts):
    assert to_panel(pd.DataFrame({"ds": texts, "y": 1.0})).season == [4]


def test_dates_that_may_be_read_two_ways_are_refused_by_name():
    frame = pd.DataFrame({"unique_id": "a", "ds": ["01/02/2024", "02/02/2024"], "y": [1, 2]})
    with pytest.raises(DataError, match=r"'a'.*'01/02/2024'.*dayfirst=True"):
        to_panel(frame)


def test_mixed_time_zones_are_refused_with_the_remedy():
    texts = ["2024-03-30 00:00+01:00", "2024-03-31 00:00+01:00", "2024-04-01 00:00+02:00"]
    for column in (texts, [pd.Timestamp(text) for text in texts]):
        frame = pd.DataFrame({"unique_id": "a", "ds": pd.Series(column, dtype=object), "y": [1, 2, 3]})
        with pytest.raises(DataError, match=r"'a' mixes the time zones.*utc=True"):
            to_panel(frame)


def test_a_row_without_a_time_and_a_word_that_is_no_time_are_named():
    frame = pd.DataFrame({"ds": pd.to_datetime(["2024-01-01", None]), "y": [1, 2]})
    with pytest.raises(DataError, match=r"1 rows without a time in column 'ds' \(first: row 1\)"):
        to_panel(frame)
    with pytest.raises(DataError, match=r"'y' has 'soon' in column 'ds'"):
        to_panel(pd.DataFrame({"ds": ["2024-01-01", "soon"], "y": [1, 2]}), time="ds", target="y")


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
