"""Time axes: every frequency is found and continued, in its own unit and zone, and every repair is told."""

import numpy as np
import pandas as pd
import pytest

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


@pytest.mark.parametrize(
    ("index", "following"),
    [
        (pd.date_range("2024-01-31", periods=1, freq="ME"), "2024-02-29"),
        (pd.date_range("2024-01-01", periods=5, freq="B"), "2024-01-08"),
    ],
)
def test_a_short_index_that_carries_its_frequency_is_believed(index, following):
    panel = to_panel(pd.Series(np.arange(len(index), dtype=float), index))
    assert panel.future_index(0, 1)[0] == pd.Timestamp(following)
    assert panel.repairs == []


def test_a_week_that_ends_on_no_day_is_an_error():
    with pytest.raises(DataError, match=r"W-XYZ.*no day of the week"):
        parse_frequency("W-XYZ")


def test_a_weekday_that_the_stamps_contradict_is_told():
    weeks = pd.Series(range(9), pd.date_range("2024-01-07", periods=9, freq="W-SUN"))
    (repair,) = to_panel(weeks, freq="W-MON").repairs
    assert "'W-SUN'" in repair.message
    assert "'W-MON'" in repair.message


@pytest.mark.parametrize("freq", ["D", "MS"])
def test_stamps_beyond_the_last_nanosecond_are_an_error_and_never_the_distant_past(freq):
    panel = to_panel(pd.Series(range(4), pd.date_range(end="2262-04-01", periods=4, freq=freq).as_unit("ns")))
    with pytest.raises(DataError, match="beyond the last time"):
        panel.future_index(0, 24)
