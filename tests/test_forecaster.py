"""From anything a person has to a `Forecast` with the user's names, units, and an account of how it was made."""

import numpy as np
import pandas as pd
import pytest
from every_forecaster import forecaster_named, forecaster_names

import tsfm
from tsfm import DataError, Forecaster, TsfmError

WALK = np.random.default_rng(0).normal(size=90).cumsum()


@pytest.fixture(params=forecaster_names())
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return forecaster_named(request.param)


def test_one_list_gives_one_array(forecaster):
    made = forecaster.forecast(list(WALK), 7)
    assert made.median.shape == (7,)
    (wanted,) = forecaster.predict_arrays([WALK], 7, [0.5], clip="auto")
    np.testing.assert_array_equal(made.median, wanted[:, 0])


def test_an_hourly_series_gets_a_horizon_and_says_so(forecaster):
    hours = pd.Series(WALK, pd.date_range("2024-01-01", periods=90, freq="h"))
    made = forecaster.forecast(hours)
    assert made.horizon == 48
    assert made.provenance.defaults == {"horizon": 48}
    assert made.median.index[0] == pd.Timestamp("2024-01-04 18:00")
    assert forecaster.forecast(hours, 3).provenance.defaults == {}


def test_seasonal_naive_takes_its_season_from_the_frequency():
    hours = pd.Series(np.arange(72.0) % 24, pd.date_range("2024-01-01", periods=72, freq="h"))
    np.testing.assert_array_equal(tsfm.forecast(hours, 24, model="seasonal-naive").median, np.arange(24.0))


def test_any_level_can_be_read_afterwards_in_the_order_asked(forecaster):
    made = forecaster.forecast(list(WALK), 4, quantile_levels=(0.9, 0.1, 0.9))
    assert made.levels == (0.9, 0.1, 0.9)
    assert (made.quantile(0.01) <= made.quantile(0.1)).all()
    assert (made.quantile(0.9) <= made.quantile(0.99)).all()


def test_a_history_without_negative_values_has_no_negative_forecast_unless_asked(forecaster):
    counts = [0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 1.0, 0.0] * 3  # so many that a model of points can measure its errors
    made = forecaster.forecast(counts, 5)
    assert (made.quantile(0.001) >= 0).all()
    assert "nothing below 0 where all the history is >= 0" in made.provenance.transforms
    free = forecaster.forecast(counts, 5, clip=None)
    assert (free.quantile(0.001) < 0).any()
    assert "nothing below 0 where all the history is >= 0" not in free.provenance.transforms


def test_one_negative_value_long_ago_turns_clipping_off(forecaster):
    values = [-1.0, *[0.0, 2.0, 0.0, 1.0] * 10]
    assert (forecaster.forecast(values, 5, context=12).quantile(0.001) < 0).any()


def test_what_a_model_does_not_use_is_said_and_not_swallowed(forecaster):
    frame = pd.DataFrame({"id": ["a"] * 30, "when": pd.date_range("2024", periods=30), "sold": WALK[:30]})
    frame["price"] = 1.0
    later = pd.DataFrame({"id": ["a"] * 3, "when": pd.date_range("2024-01-31", periods=3), "price": 2.0})
    made = forecaster.forecast(frame, 3, future=later, id="id", time="when", target="sold", effort="best")
    used = getattr(forecaster.model, "uses_covariates", False)
    assert used != any("does not use future=" in warning for warning in made.provenance.warnings)
    views = any("square root" in transform for transform in made.provenance.transforms)
    assert views != any("effort='best'" in warning for warning in made.provenance.warnings)


def test_the_account_says_what_was_done(forecaster):
    made = forecaster.forecast(list(WALK), 3, context=40)
    told = made.provenance
    assert told.model == forecaster.name
    assert told.weight_hash == forecaster.weight_hash
    assert told.context == 40
    assert told.transforms[0] == "history cut to its last 40 steps"
    assert made.provenance.warnings == []
    assert told.precision == forecaster.precision
    assert told.device == "cpu"
    assert told.seconds > 0


def test_a_context_beyond_what_the_model_reads_is_said(forecaster):
    made = forecaster.forecast(list(WALK), 3, context=10_000_000)
    assert made.provenance.warnings[0].endswith("fewer than context=10000000")
    assert made.provenance.context == 90


def test_bad_series_are_all_listed_or_all_skipped(forecaster):
    data = {"good": list(WALK), "empty": [np.nan] * 5, "late": [*WALK, *[np.nan] * 60], "hot": [1.0, np.inf]}
    with pytest.raises(DataError) as caught:
        forecaster.forecast(data, 3, context=50)
    assert "'empty'" in str(caught.value)
    assert "'hot'" in str(caught.value)
    made = forecaster.forecast(data, 3, context=50, errors="skip")
    assert made.ids == ["good"]
    assert set(made.skipped) == {"empty", "late", "hot"}
    assert "last 50 steps" in made.skipped["late"]
    np.testing.assert_array_equal(made.median["good"], forecaster.forecast(list(WALK), 3, context=50).median)


def test_a_series_missing_for_longer_than_the_context_is_an_error_with_a_remedy(forecaster):
    with pytest.raises(DataError, match=r"series 'late' has no value in its last 50 steps; cut the missing values off"):
        forecaster.forecast({"late": [*WALK, *[np.nan] * 60]}, 3, context=50)


def test_integers_booleans_and_numeric_strings_are_numbers(forecaster):
    wanted = forecaster.forecast([1.0, 0.0, 1.0, 1.0], 3).median
    for same in ([1, 0, 1, 1], [True, False, True, True], np.array([1, 0, 1, 1], np.int8), ["1", "0", "1.0", "1"]):
        np.testing.assert_array_equal(forecaster.forecast(same, 3).median, wanted)


@pytest.mark.parametrize(
    "bad, word",
    [
        ([1.0, np.inf, 2.0], "inf"),
        ([1.0, 2.0, "many"], "many"),
        (np.array([1 + 2j, 3.0]), "no real number"),
        ([np.nan, np.nan], "no value|missing|NaN"),
        ([], "empty|no value|no data"),
    ],
)
def test_what_is_no_series_of_numbers_is_an_error_that_says_why(forecaster, bad, word):
    with pytest.raises(TsfmError, match=word):
        forecaster.forecast(bad, 3)


def test_duplicate_ids_and_mixed_time_zones_end_in_a_forecast_or_a_clear_error(forecaster):
    twice = pd.DataFrame(np.c_[WALK, WALK], columns=["a", "a"], index=pd.date_range("2024", periods=90))
    mixed = {
        "utc": pd.Series(WALK, pd.date_range("2024", periods=90, freq="h", tz="UTC")),
        "berlin": pd.Series(WALK, pd.date_range("2024", periods=90, freq="h", tz="Europe/Berlin")),
    }
    for data in (twice, mixed):
        try:
            made = forecaster.forecast(data, 3)
        except TsfmError as error:
            assert "a" in str(error)
        else:
            assert len(made) == 2
            assert np.isfinite(made.quantile_array(0.5)).all()


def test_a_panel_is_taken_as_it_is(forecaster):
    from tsfm.data.adapters import to_panel

    panel = to_panel({"a": list(WALK), "b": list(-WALK)})
    assert forecaster.forecast(panel, 3).ids == ["a", "b"]


def test_gluonts_takes_a_forecaster_for_one_of_its_predictors():
    pytest.importorskip("gluonts")
    start = pd.Period("2024-01-01", freq="D")
    # Daily data have a season of 7, so the second entry continues with what it had a week ago.
    entries = [{"item_id": name, "start": start, "target": np.arange(21.0) % 7 + k} for k, name in enumerate("ab")]
    predictor = tsfm.load("seasonal-naive").as_gluonts(7)
    found = list(predictor.predict(entries, num_samples=100))
    assert [one.item_id for one in found] == ["a", "b"]
    assert found[0].start_date == start + 21
    np.testing.assert_array_equal(found[1].quantile(0.5), np.arange(7.0) + 1)


def test_a_repair_of_many_series_is_told_once_and_hides_no_other():
    days = pd.date_range("2024-01-01", periods=9).strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {"shop": np.repeat(np.arange(50), 9), "day": [*days] * 50, "y": [f"{row}" for row in range(450)]}
    )
    made = tsfm.forecast(frame.drop(index=445), 2, id="shop", time="day", target="y", model="naive")
    told = made.provenance.warnings
    assert sum("read as numbers" in warning for warning in told) == 1
    assert "49 other series" in told[0]
    assert any("series 49" in warning and "missing step" in warning for warning in told)


def test_covariates_known_for_fewer_steps_than_the_horizon_are_an_error():
    with pytest.raises(DataError, match=r"future\['price'\].*2 steps.*horizon is 3"):
        tsfm.forecast([1.0, 2.0, 3.0], 3, future={"price": [1.0, 2.0]}, model="naive")


def test_a_result_that_no_memory_holds_is_refused_before_any_work():
    with pytest.raises(DataError, match="horizon=1000000000 for 2 series makes 208 GB"):
        tsfm.load("naive").forecast([[1.0, 2.0], [3.0, 4.0]], 10**9)
