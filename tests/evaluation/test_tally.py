"""Summing up window by window gives what the metrics give on all windows at once."""

import numpy as np
import pytest

from tsfm import quantile_curve
from tsfm.evaluation import metrics
from tsfm.evaluation.metrics import LEVELS
from tsfm.evaluation.tally import ASKED, Tally


@pytest.fixture
def forecasts() -> tuple[metrics.Array, metrics.Array, metrics.Array]:
    draws = np.random.default_rng(3)
    target = draws.normal(3, 2, size=(11, 7))
    target[draws.random(target.shape) < 0.2] = np.nan
    target[4] = np.nan
    quantiles = np.sort(draws.normal(3, 2, size=(11, 7, len(ASKED))), axis=-1)
    scale = draws.uniform(0.5, 2, size=11)
    scale[[2, 5]] = 0.0, np.nan
    return target, quantiles, scale


def test_it_agrees_with_the_metrics(forecasts: tuple[metrics.Array, ...]):
    target, quantiles, scale = forecasts
    tally = Tally()
    tally.add(target, quantiles, scale)
    found, deciles = tally.errors(), quantiles[..., 1:-1]
    median, mean = deciles[..., 4], quantile_curve.mean(LEVELS, deciles)
    expected = {
        "mase": metrics.mase(target, median, scale),
        "crps": metrics.crps(target, deciles),
        "smape": metrics.smape(target, median),
        "mape": metrics.mape(target, median),
        "mse": metrics.mse(target, median),
        "mse_of_mean": metrics.mse(target, mean),
        "mae": metrics.mae(target, median),
        "nd": metrics.nd(target, median),
        "rmse": metrics.rmse(target, median),
        "msis": metrics.msis(target, quantiles[..., 0], quantiles[..., -1], scale),
        "coverage80": metrics.coverage(target, deciles[..., 0], deciles[..., -1]),
        "calibration": metrics.calibration_error(target, deciles),
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_cutting_the_windows_into_chunks_changes_no_digit(forecasts: tuple[metrics.Array, ...]):
    whole, parts = Tally(), Tally()
    whole.add(*forecasts)
    for first, last in ((0, 1), (1, 6), (6, 11)):
        parts.add(*(array[first:last] for array in forecasts))
    assert whole.errors() == parts.errors()
    assert whole.windows == parts.windows == 11


def test_what_nothing_defines_is_nan():
    tally = Tally()
    tally.add(np.zeros((2, 3)), np.zeros((2, 3, len(ASKED))), np.zeros(2))
    found = tally.errors()
    assert found["mae"] == 0.0
    assert all(np.isnan(found[name]) for name in ("mase", "crps", "smape", "mape", "nd", "msis"))
