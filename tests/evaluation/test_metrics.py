"""Errors keep what their definitions promise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfm.errors import DataError
from tsfm.evaluation import metrics
from tsfm.evaluation.metrics import (
    LEVELS,
    Array,
    calibration_error,
    coverage,
    covered,
    crps,
    geometric_mean,
    interval_score,
    mae,
    mape,
    mase,
    mse,
    msis,
    nd,
    quantile_loss,
    relative,
    rmse,
    scaled_quantile_loss,
    seasonal_error,
    smape,
)

HORIZON = 6
MEDIAN = LEVELS.index(0.5)

Measure = Callable[[Array, Array, Array], float]
"""(target (N, H), quantiles (N, H, Q), scale (N,)) -> error."""

MEASURES: dict[str, Measure] = {
    "mase": lambda target, quantiles, scale: mase(target, quantiles[..., MEDIAN], scale),
    "crps": lambda target, quantiles, scale: crps(target, quantiles),
    "smape": lambda target, quantiles, scale: smape(target, quantiles[..., MEDIAN]),
    "mape": lambda target, quantiles, scale: mape(target, quantiles[..., MEDIAN]),
    "nd": lambda target, quantiles, scale: nd(target, quantiles[..., MEDIAN]),
    "msis": lambda target, quantiles, scale: msis(target, quantiles[..., 0], quantiles[..., -1], scale, 0.2),
    "scaled loss": lambda target, quantiles, scale: scaled_quantile_loss(target, quantiles, scale),
    "mse": lambda target, quantiles, scale: mse(target, quantiles[..., MEDIAN]),
    "mae": lambda target, quantiles, scale: mae(target, quantiles[..., MEDIAN]),
    "rmse": lambda target, quantiles, scale: rmse(target, quantiles[..., MEDIAN]),
    "coverage": lambda target, quantiles, scale: coverage(target, quantiles[..., 0], quantiles[..., -1]),
    "calibration": lambda target, quantiles, scale: calibration_error(target, quantiles),
}
ERRORS = tuple(name for name in MEASURES if name not in ("coverage", "calibration"))
SCALE_FREE = tuple(name for name in MEASURES if name not in ("mse", "mae", "rmse"))

seeds = st.integers(0, 2**32 - 1)


def made_windows(seed: int) -> tuple[Array, Array, Array]:
    """Targets (N, H) with gaps, sorted quantiles (N, H, Q) and scales (N,), one of them zero."""
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 30))
    target = random.normal(1.0, 2.0, (count, HORIZON))
    target[random.random(target.shape) < 0.2] = np.nan
    target[-1, 0] = 1.0  # something is observed
    quantiles = np.sort(random.normal(1.0, 2.0, (count, HORIZON, len(LEVELS))), axis=-1)
    scale = random.random(count) + 0.1
    scale[0] = 0.0
    return target, quantiles, scale


@given(seeds)
@pytest.mark.parametrize("name", ERRORS)
def test_a_perfect_forecast_has_no_error(name: str, seed: int) -> None:
    target, _, scale = made_windows(seed)
    perfect = np.repeat(np.nan_to_num(target)[..., None], len(LEVELS), axis=-1)
    assert MEASURES[name](target, perfect, scale) == 0.0


@given(seeds, st.floats(1e-6, 1e6))
@pytest.mark.parametrize("name", SCALE_FREE)
def test_the_unit_of_a_series_changes_no_relative_error(name: str, seed: int, factor: float) -> None:
    target, quantiles, scale = made_windows(seed)
    expected = MEASURES[name](target, quantiles, scale)
    assert MEASURES[name](target * factor, quantiles * factor, scale * factor) == pytest.approx(expected, rel=1e-9)


@given(seeds)
@pytest.mark.parametrize("name", MEASURES)
def test_the_order_of_the_windows_changes_nothing(name: str, seed: int) -> None:
    target, quantiles, scale = made_windows(seed)
    order = np.random.default_rng(seed + 1).permutation(len(target))
    expected = MEASURES[name](target, quantiles, scale)
    assert MEASURES[name](target[order], quantiles[order], scale[order]) == pytest.approx(expected, rel=1e-12)


@given(seeds)
@pytest.mark.parametrize("name", MEASURES)
def test_a_missing_target_takes_no_part_whatever_is_forecast_for_it(name: str, seed: int) -> None:
    target, quantiles, scale = made_windows(seed)
    other = np.where(np.isnan(target)[..., None], quantiles + 1e3, quantiles)
    assert MEASURES[name](target, other, scale) == MEASURES[name](target, quantiles, scale)


@given(seeds)
def test_the_mean_squared_error_is_at_least_the_squared_mean_absolute_error(seed: int) -> None:
    target, quantiles, _ = made_windows(seed)
    median = quantiles[..., MEDIAN]
    assert mse(target, median) >= mae(target, median) ** 2 * (1 - 1e-12)


@given(seeds, st.floats(0.01, 0.99))
def test_the_interval_score_is_the_loss_of_its_two_quantiles(seed: int, alpha: float) -> None:
    target, quantiles, _ = made_windows(seed)
    ends = quantiles[..., [0, -1]]
    losses = quantile_loss(target, ends, (alpha / 2, 1 - alpha / 2)).sum(axis=-1) / alpha
    np.testing.assert_allclose(interval_score(target, ends[..., 0], ends[..., 1], alpha), losses, rtol=1e-9)


def test_the_loss_at_one_half_is_the_absolute_error() -> None:
    target, quantiles, _ = made_windows(0)
    loss = quantile_loss(target, quantiles, LEVELS)[..., MEDIAN]
    np.testing.assert_allclose(loss, metrics.absolute_error(target, quantiles[..., MEDIAN]))


def test_errors_of_entries_have_the_shape_of_the_target_and_its_gaps() -> None:
    target, quantiles, scale = made_windows(3)
    median = quantiles[..., MEDIAN]
    for measure in (metrics.absolute_error, metrics.squared_error, metrics.percentage_error):
        np.testing.assert_array_equal(np.isnan(measure(target, median)), np.isnan(target))
    below = covered(target, quantiles)
    assert below.shape == quantiles.shape
    np.testing.assert_array_equal(np.isnan(below).all(axis=-1), np.isnan(target))
    scaled = metrics.in_seasonal_errors(metrics.absolute_error(target, median), scale)
    assert np.isnan(scaled[0]).all() and not np.isnan(scaled[-1]).all()


def test_coverage_counts_the_observed_values_and_the_ends_of_the_interval() -> None:
    target = np.array([[0.0, 1.0, 2.0, np.nan]])
    assert coverage(target, np.zeros((1, 4)), np.ones((1, 4))) == pytest.approx(2 / 3)


def test_quantiles_of_the_law_that_targets_follow_are_calibrated_and_too_narrow_ones_are_not() -> None:
    target = np.arange(1, 1001).reshape(-1, 10) / 1000  # uniform
    exact = np.broadcast_to(np.array(LEVELS), (*target.shape, len(LEVELS)))
    assert calibration_error(target, exact) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(target, np.full_like(exact, 0.5)) == pytest.approx(np.abs(0.5 - np.array(LEVELS)).mean())


def test_errors_are_unknown_where_nothing_is_observed() -> None:
    nothing, zeros = np.full((2, 3), np.nan), np.zeros((2, 3, 9))
    assert np.isnan([measure(nothing, zeros, np.ones(2)) for measure in MEASURES.values()]).all()
    assert np.isnan(seasonal_error(np.full(9, np.nan), 2))


def test_errors_are_unknown_where_what_they_are_relative_to_is_zero() -> None:
    target, quantiles, nowhere = np.zeros((2, 3)), np.ones((2, 3, 9)), np.zeros(2)
    for name in ("mase", "msis", "scaled loss", "crps", "nd", "mape"):
        assert np.isnan(MEASURES[name](target, quantiles, nowhere)), name
    assert np.isnan(smape(target, np.zeros((2, 3))))
    assert smape(target, np.ones((2, 3))) == 2.0


def test_a_forecast_with_nan_is_refused() -> None:
    target, quantiles = np.zeros((1, 2)), np.zeros((1, 2, 9))
    quantiles[0, 1] = np.nan
    for measure in MEASURES.values():
        with pytest.raises(DataError, match="NaN; a model must forecast every step"):
            measure(target, quantiles, np.ones(1))


def test_the_geometric_mean_is_that_of_ratios() -> None:
    assert geometric_mean([0.5, 2.0, 1.0]) == pytest.approx(1.0)
    assert np.isnan(geometric_mean([]))
    for wrong in (-0.5, np.nan):
        with pytest.raises(DataError, match="ratios of 0 or more"):
            geometric_mean([1.0, wrong])


def test_an_error_of_zero_is_a_ratio_of_zero_that_a_mean_counts_as_a_hundredth() -> None:
    assert relative(0.0, 2.0) == 0.0 and relative(1.0, 2.0) == 0.5
    assert np.isnan([relative(1.0, 0.0), relative(0.0, 0.0), relative(np.nan, 1.0), relative(1.0, np.nan)]).all()
    assert geometric_mean([relative(0.0, 2.0), 1.0]) == pytest.approx(0.1)
