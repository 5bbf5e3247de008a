"""The baselines against the textbook (Hyndman & Athanasopoulos, FPP3, 5.2 and 5.5), and with missing values."""

import numpy as np
import pytest

from tsfm import Forecaster
from tsfm.models.naive import Drift, Naive, SeasonalNaive

Z90 = 1.2815515655446004


def forecast(model: object, values: list[float], horizon: int, season: int = 1, level: float = 0.5) -> np.ndarray:
    (found,) = Forecaster(model, "baseline").predict_arrays([np.array(values)], horizon, [level], [season], clip=None)
    return found[:, 0]


def test_naive_carries_the_last_value_on():
    np.testing.assert_array_equal(forecast(Naive(), [4.0, 7.0, 0.1], 3), [0.1, 0.1, 0.1])


def test_naive_intervals_grow_with_the_square_root_of_the_step():
    values = [0.0, 1.0, -1.0, 3.0]
    sigma = np.sqrt((1 + 4 + 16) / 3)
    wanted = 3 + Z90 * sigma * np.sqrt([1, 2, 3, 4])
    np.testing.assert_allclose(forecast(Naive(), values, 4, level=0.9), wanted, rtol=1e-12)


def test_seasonal_naive_repeats_the_last_season():
    values = [1.0, 2.0, 3.0, 1.5, 2.5, 3.7]
    np.testing.assert_array_equal(forecast(SeasonalNaive(), values, 5, season=3), [1.5, 2.5, 3.7, 1.5, 2.5])


def test_seasonal_naive_intervals_grow_with_whole_seasons():
    values = [1.0, 2.0, 3.0, 1.5, 2.5, 3.7]
    sigma = np.sqrt((0.25 + 0.25 + 0.49) / 3)
    wanted = np.array([1.5, 2.5, 3.7, 1.5]) + Z90 * sigma * np.sqrt([1, 1, 1, 2])
    np.testing.assert_allclose(forecast(SeasonalNaive(), values, 4, season=3, level=0.9), wanted, rtol=1e-12)


def test_drift_follows_the_line_through_the_ends_with_its_own_interval():
    values = [1.0, 4.0, 3.0, 7.0]
    slope, steps = 2.0, np.arange(1, 4)
    sigma = np.sqrt(((3 - slope) ** 2 + (-1 - slope) ** 2 + (4 - slope) ** 2) / 2)
    np.testing.assert_allclose(forecast(Drift(), values, 3), 7 + slope * steps, rtol=1e-12)
    wanted = 7 + slope * steps + Z90 * sigma * np.sqrt(steps * (1 + steps / 3))
    np.testing.assert_allclose(forecast(Drift(), values, 3, level=0.9), wanted, rtol=1e-12)


def test_a_missing_value_is_taken_from_the_same_phase_a_season_earlier():
    values = [1.0, 2.0, 3.0, 1.5, np.nan, 3.7]
    np.testing.assert_array_equal(forecast(SeasonalNaive(), values, 3, season=3), [1.5, 2.0, 3.7])


def test_a_phase_never_observed_is_forecast_as_naive_does():
    values = [1.0, np.nan, 3.0, 1.5, np.nan, 3.7]
    np.testing.assert_array_equal(forecast(SeasonalNaive(), values, 3, season=3), [1.5, 3.7, 3.7])


def test_a_series_shorter_than_its_season_is_forecast_as_naive_does():
    np.testing.assert_array_equal(forecast(SeasonalNaive(), [1.0, 5.0], 3, season=24), [5.0, 5.0, 5.0])
    naive = forecast(Naive(), [1.0, 5.0], 3, level=0.9)
    np.testing.assert_array_equal(forecast(SeasonalNaive(), [1.0, 5.0], 3, season=24, level=0.9), naive)


def test_missing_steps_at_the_end_widen_the_interval_as_time_has_passed():
    known, late = [0.0, 1.0, -1.0, 3.0], [0.0, 1.0, -1.0, 3.0, np.nan, np.nan]
    np.testing.assert_allclose(
        forecast(Naive(), late, 2, level=0.9), forecast(Naive(), known, 4, level=0.9)[2:], rtol=1e-12
    )
    np.testing.assert_allclose(forecast(Drift(), late, 2), forecast(Drift(), known, 4)[2:], rtol=1e-12)


def test_a_step_over_a_gap_counts_as_several():
    sigma = np.sqrt((4 / 2 + 1) / 2)
    found = forecast(Naive(), [0.0, np.nan, 2.0, 3.0], 1, level=0.9)
    np.testing.assert_allclose(found, [3 + Z90 * sigma], rtol=1e-12)


@pytest.mark.parametrize("model", [Naive(), SeasonalNaive()])
def test_the_median_is_a_value_of_the_history_to_the_last_bit(model):
    values = list(np.random.default_rng(0).normal(size=50) * 1e-7 + 0.1)
    assert set(forecast(model, values, 12, season=4)) <= set(values)


def test_half_of_a_random_walk_falls_inside_the_interval_it_should():
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(400, 220)).cumsum(1)
    found = Forecaster(Naive(), "naive").predict_arrays(list(walks[:, :200]), 20, [0.25, 0.75], clip=None)
    low, high = np.moveaxis(np.stack(found), -1, 0)
    assert abs(((walks[:, 200:] > low) & (walks[:, 200:] < high)).mean() - 0.5) < 0.04
