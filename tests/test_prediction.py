"""A forecast: one curve behind every number, in the user's own kind of data, under the user's own names."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError, UnknownName
from tsfm.prediction import Forecast, Provenance

KNOTS = (0.1, 0.5, 0.9)
DAYS = pd.date_range("2024-01-01", periods=20, name="day")


def make(data, horizon=4, asked=KNOTS, clip=False, skipped=None, **options):
    """A forecast of mean - step, mean and mean + step for each series."""
    panel = to_panel(data, **options)
    spread = np.arange(1, horizon + 1)[:, None] * np.array([-1.0, 0.0, 1.0])
    values = [np.nanmean(series) + spread for series in panel.values]
    provenance = Provenance("moe-decoder-tiny", "ab" * 32, 20, ["scaled"], {"horizon": horizon}, [], seconds=0.42)
    return Forecast(panel, horizon, KNOTS, values, asked, [clip] * len(panel), provenance, skipped)


def long_frame():
    return pd.DataFrame({"shop": np.repeat(["a", "b"], 20), "day": [*DAYS, *DAYS], "sales": np.arange(40.0)})


def test_a_list_gives_one_array():
    np.testing.assert_array_equal(make([1.0, 2.0, 3.0]).median, [2.0] * 4)
    np.testing.assert_array_equal(make([1.0, 2.0, 3.0]).quantile(0.9), [3.0, 4.0, 5.0, 6.0])


def test_a_series_gives_a_series_on_the_continued_index():
    series = pd.Series(np.arange(20.0), index=DAYS, name="beer")
    median = make(series).median
    assert median.name == "beer" and median.index.name == "day"
    assert median.index[0] == pd.Timestamp("2024-01-21")


def test_a_dictionary_gives_a_dictionary():
    assert list(make({"x": [1, 2, 3], "y": [4, 5, 6]}).mean) == ["x", "y"]


def test_a_long_frame_gives_a_long_frame_with_the_users_columns():
    low, high = make(long_frame()).interval(0.8)
    assert list(low.columns) == ["shop", "day", "sales"] == list(high.columns)
    assert (low["sales"] < high["sales"]).all()


def test_an_interval_at_the_knots_is_the_knots():
    low, high = make([1.0, 2.0, 3.0]).interval(0.8)
    np.testing.assert_array_equal(low, [1.0, 0.0, -1.0, -2.0])
    np.testing.assert_array_equal(high, [3.0, 4.0, 5.0, 6.0])


def test_a_coverage_may_be_a_number_of_numpy():
    forecast = make([1.0, 2.0, 3.0])
    for low_or_high, same in zip(forecast.interval(np.float32(0.5)), forecast.interval(0.5), strict=True):
        np.testing.assert_allclose(low_or_high, same, rtol=1e-6)


@pytest.mark.parametrize("coverage", [0, 1, 80, -0.5, float("nan"), "wide"])
def test_a_coverage_outside_the_open_interval_is_named(coverage):
    with pytest.raises(DataError, match=repr(coverage)):
        make([1.0, 2.0]).interval(coverage)


@pytest.mark.parametrize("level", [0, 1, 1.5, float("nan"), "high"])
def test_a_level_outside_the_open_interval_is_named(level):
    with pytest.raises(DataError, match=repr(level)):
        make([1.0, 2.0]).quantile(level)
    with pytest.raises(DataError, match=repr(level)):
        make([1.0, 2.0], asked=(0.5, level))


@given(
    arrays(np.float64, (2, 3, 3), elements=st.floats(-1e12, 1e12)),
    st.floats(1e-6, 1 - 1e-6),
    st.floats(1e-6, 1 - 1e-6),
    st.booleans(),
)
@settings(max_examples=60)
def test_quantiles_never_cross_and_clipped_ones_are_never_negative(values, one, other, clip):
    panel = to_panel({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    forecast = Forecast(panel, 3, KNOTS, np.sort(values, -1), KNOTS, [clip, False], Provenance("m"))
    low, high = sorted((one, other))
    assert (forecast.quantile_array(low) <= forecast.quantile_array(high)).all()
    if clip:
        assert (forecast.quantile_array(low)[0] >= 0).all()
        assert (forecast.mean_array()[0] >= 0).all()


def test_clipping_touches_only_the_series_that_are_clipped():
    panel = to_panel({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    values = np.broadcast_to([-3.0, -2.0, 1.0], (2, 5, 3))
    forecast = Forecast(panel, 5, KNOTS, values, KNOTS, [True, False], Provenance("m"))
    np.testing.assert_array_equal(forecast.quantile(0.1)["x"], np.zeros(5))
    np.testing.assert_array_equal(forecast.quantile(0.1)["y"], np.full(5, -3.0))
    assert (forecast.mean["x"] > forecast.mean["y"]).all()
    assert (values == [-3.0, -2.0, 1.0]).all(), "the knots themselves were changed"


def test_the_long_table_has_the_users_columns_then_the_levels_asked_then_the_mean():
    table = make(long_frame(), asked=(0.9, 0.1, 0.9)).to_frame()
    assert list(table.columns) == ["shop", "day", "0.9", "0.1", "mean"]
    assert len(table) == 8 and table["shop"].tolist() == ["a"] * 4 + ["b"] * 4
    assert table["day"].iloc[0] == pd.Timestamp("2024-01-21")


def test_the_levels_asked_keep_their_order_and_repeats():
    assert make([1.0, 2.0], asked=(0.9, 0.1, 0.9)).levels == (0.9, 0.1, 0.9)


def test_a_level_made_by_arange_has_a_short_column_name():
    assert "0.3" in make([1.0, 2.0], asked=np.arange(0.1, 1.0, 0.1)).to_frame().columns


@pytest.mark.parametrize(
    "data, names",
    [
        ([1.0, 2.0, 3.0], ["unique_id", "step"]),
        (pd.Series(np.arange(20.0), index=DAYS), ["unique_id", "day"]),
        (pd.Series(np.arange(20.0), index=DAYS.rename(None)), ["unique_id", "ds"]),
        (long_frame().pivot_table("sales", "day", "shop"), ["shop", "day"]),
        ([{"start": "2024-01", "freq": "M", "item_id": "z", "target": [1.0, 2.0]}], ["item_id", "ds"]),
    ],
    ids=["list", "series", "unnamed index", "wide", "gluonts"],
)
def test_the_long_table_always_has_an_id_and_a_time_column(data, names):
    assert list(make(data).to_frame().columns[:2]) == names


def test_time_zones_and_categories_survive_in_the_table():
    frame = long_frame().assign(shop=lambda f: f["shop"].astype("category"))
    frame["day"] = frame["day"].dt.tz_localize("Europe/Berlin")
    table = make(frame).to_frame()
    assert table["shop"].dtype == frame["shop"].dtype
    assert str(table["day"].dt.tz) == "Europe/Berlin"


def test_the_long_table_holds_what_quantile_and_mean_return():
    forecast = make(long_frame(), asked=(0.25, 0.75))
    table = forecast.to_frame()
    np.testing.assert_array_equal(table["0.25"], forecast.quantile(0.25)["sales"])
    np.testing.assert_array_equal(table["mean"], forecast.mean["sales"])


def test_a_column_that_would_appear_twice_is_refused():
    with pytest.raises(DataError, match="rename it"):
        make(long_frame().rename(columns={"shop": "mean"}), id="mean").to_frame()


def test_the_wide_table_has_a_column_for_each_series_and_level():
    table = make(long_frame()).to_frame("wide")
    assert table.columns.names == ["shop", "level"] and table.index.name == "day"
    np.testing.assert_array_equal(table["b"]["0.5"], make(long_frame()).quantile(0.5)["sales"].iloc[4:])


def test_the_wide_table_of_one_series_has_plain_columns():
    assert list(make([1.0, 2.0]).to_frame("wide").columns) == ["0.1", "0.5", "0.9", "mean"]


def test_series_that_end_at_different_times_share_a_wide_table():
    frame = long_frame().drop(index=39)
    table = make(frame, freq="D").to_frame("wide")
    assert len(table) == 5
    assert np.isnan(table["a"]["0.5"].iloc[0]) and np.isnan(table["b"]["0.5"].iloc[-1])


def test_the_nixtla_table_has_an_interval_for_each_level():
    table = make(long_frame(), asked=(0.1, 0.25, 0.5, 0.9)).to_frame("nixtla")
    intervals = ["TSFM-lo-80", "TSFM-lo-50", "TSFM-hi-50", "TSFM-hi-80"]
    assert list(table.columns) == ["unique_id", "ds", "TSFM", *intervals]
    assert (np.diff(table[["TSFM-lo-80", "TSFM-lo-50", "TSFM", "TSFM-hi-50", "TSFM-hi-80"]]) > 0).all()


def test_an_unknown_layout_is_named():
    with pytest.raises(UnknownName, match="square"):
        make([1.0, 2.0]).to_frame("square")


@pytest.mark.parametrize("layout", ["long", "wide", "nixtla"])
def test_polars_comes_back_as_polars(layout):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"shop": ["a"] * 20 + ["b"] * 20, "day": [*DAYS.date] * 2, "sales": np.arange(40.0)})
    table = make(frame).to_frame(layout)
    assert isinstance(table, polars.DataFrame)
    assert table[table.columns[0 if layout == "wide" else 1]].dtype.is_temporal()


def test_gluonts_objects_hold_the_levels_the_mean_and_the_start():
    pytest.importorskip("gluonts")
    first, second = make(long_frame()).to_gluonts()
    assert second.item_id == "b" and first.start_date == pd.Period("2024-01-21", "D")
    np.testing.assert_array_equal(first.quantile(0.9), make(long_frame()).quantile(0.9)["sales"].iloc[:4])
    assert np.isfinite(second.mean).all()


def test_a_series_is_picked_by_its_name():
    one = make(long_frame())["b"]
    assert one.ids == ["b"] and set(one.median["shop"]) == {"b"}


def test_an_unknown_series_is_named_with_those_that_exist():
    with pytest.raises(UnknownName, match=r"'c'.*'a', 'b'"):
        make(long_frame())["c"]


def test_a_skipped_series_is_told_with_its_reason():
    forecast = make(long_frame(), skipped={"c": "series 'c' is empty"})
    assert forecast.skipped == {"c": "series 'c' is empty"}
    with pytest.raises(UnknownName, match="is empty"):
        forecast["c"]


def test_a_forecast_counts_and_lists_its_series():
    forecast = make(long_frame())
    assert len(forecast) == 2 and list(forecast) == forecast.ids == ["a", "b"] and "a" in forecast


def test_a_forecast_of_no_series_is_an_empty_table():
    nothing = make({"x": [1.0, 2.0]}).first(0)
    assert len(nothing) == 0 and nothing.to_frame().empty and "none" in repr(nothing)


def test_values_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Forecast(to_panel([1.0, 2.0]), 4, KNOTS, [np.zeros((3, 3))], KNOTS, [False], Provenance("m"))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda forecast: pickle.loads(pickle.dumps(forecast))])
@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0], long_frame()], ids=["list", "long"])
def test_a_copy_says_the_same(data, again):
    forecast = make(data)
    copied = again(forecast)
    pd.testing.assert_frame_equal(copied.to_frame(), forecast.to_frame())
    assert type(copied.median) is type(forecast.median) and repr(copied) == repr(forecast)


def test_the_repr_says_what_was_forecast_and_what_was_chosen():
    text = repr(make(long_frame(), skipped={"c": "empty"}))
    for part in ("2 series", "4 steps", "moe-decoder-tiny", "'a', 'b'", "horizon = 4", "1 skipped"):
        assert part in text


def test_the_provenance_reads_well_and_is_plain_data():
    provenance = Provenance("m", "ab" * 32, 512, ["scaled"], {"horizon": 48}, ["short history"], seconds=1.5)
    for part in ("512", "horizon = 48", "short history", "abababababab", "1.50 s"):
        assert part in str(provenance)
    plain = provenance.to_dict()
    plain["warnings"].append("changed")
    assert provenance.warnings == ["short history"]


def test_fifty_thousand_series_are_tabled_in_seconds():
    panel = to_panel(np.random.default_rng(0).normal(size=(50_000, 3)))
    values = np.sort(np.random.default_rng(1).normal(size=(50_000, 2, 3)), -1)
    forecast = Forecast(panel, 2, KNOTS, values, KNOTS, [False] * 50_000, Provenance("m"))
    assert forecast.to_frame().shape == (100_000, 6)
