"""Errors are those of gluonts on the same forecasts, missing values included."""

from typing import Any

import numpy as np
import pytest

from tsfm.errors import DataError
from tsfm.evaluation.metrics import (
    LEVELS,
    Array,
    coverage,
    crps,
    geometric_mean,
    mae,
    mase,
    mse,
    quantile_loss,
    seasonal_error,
)

SEASON, HORIZON, CONTEXT = 4, 6, 40


def made_windows(missing: str) -> tuple[Array, Array, Array]:
    """Contexts (N, C), targets (N, H) and sorted quantiles (N, H, Q) that float32 holds exactly."""
    random = np.random.default_rng(11)
    values = random.normal(3.0, 2.0, (150, CONTEXT + HORIZON)).astype(np.float32).astype(np.float64)
    if missing != "none":
        values[random.random(values.shape) < 0.2] = np.nan
    if missing == "whole windows":
        values[0, CONTEXT:] = np.nan  # no target
        values[1, :CONTEXT] = 5.0  # no seasonal error
        values[2, :CONTEXT] = np.nan
        values[2, CONTEXT - 1] = 1.0  # no pair a season apart
        values[3, CONTEXT:] = 0.0
    quantiles = np.sort(random.normal(3.0, 2.0, (150, HORIZON, len(LEVELS))).astype(np.float32), axis=-1)
    return values[:, :CONTEXT], values[:, CONTEXT:], quantiles.astype(np.float64)


def gluonts_errors(contexts: Array, targets: Array, quantiles: Array) -> dict[str, Any]:
    """Errors of the same windows as gluonts' `evaluate_forecasts` gives them, with GIFT-Eval's options."""
    pytest.importorskip("gluonts", reason="the comparison needs gluonts, the extra `gluonts`")
    import pandas as pd
    from gluonts.dataset.common import ListDataset
    from gluonts.dataset.split import split
    from gluonts.ev import metrics
    from gluonts.model.evaluation import evaluate_forecasts
    from gluonts.model.forecast import QuantileForecast

    series = np.concatenate([contexts, targets], axis=1)
    entries = [{"item_id": str(i), "start": "2024-01-01", "target": row} for i, row in enumerate(series)]
    _, template = split(ListDataset(entries, freq="h"), offset=-HORIZON)
    forecasts = [
        QuantileForecast(
            forecast_arrays=row.T,
            forecast_keys=[str(level) for level in LEVELS],
            start_date=pd.Period("2024-01-02 16:00", freq="h"),
            item_id=str(i),
        )
        for i, row in enumerate(quantiles)
    ]
    table = evaluate_forecasts(
        forecasts,
        test_data=template.generate_instances(HORIZON),
        metrics=[
            metrics.MASE(),
            metrics.MAE(),
            metrics.MSE(forecast_type="0.5"),
            metrics.MeanWeightedSumQuantileLoss(quantile_levels=list(LEVELS)),
            metrics.SumQuantileLoss(q=0.3),
            metrics.Coverage(q=0.9),
        ],
        axis=None,
        mask_invalid_label=True,
        allow_nan_forecast=False,
        seasonality=SEASON,
    )
    return dict(table.iloc[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("missing", ["none", "steps", "whole windows"])
def test_every_error_is_that_of_gluonts(missing: str) -> None:
    contexts, targets, quantiles = made_windows(missing)
    expected = gluonts_errors(contexts, targets, quantiles)
    scale = np.array([seasonal_error(context, SEASON) for context in contexts])
    median, low = quantiles[..., 4], np.full_like(targets, -np.inf)
    assert mase(targets, median, scale) == pytest.approx(expected["MASE[0.5]"], rel=1e-6)
    assert mae(targets, median) == pytest.approx(expected["MAE[0.5]"], rel=1e-6)
    assert mse(targets, median) == pytest.approx(expected["MSE[0.5]"], rel=1e-6)
    assert crps(targets, quantiles) == pytest.approx(expected["mean_weighted_sum_quantile_loss"], rel=1e-6)
    loss = np.nansum(quantile_loss(targets, quantiles, LEVELS)[..., 2])
    assert loss == pytest.approx(expected["sum_quantile_loss[0.3]"], rel=1e-6)
    if missing == "none":  # gluonts counts a missing target as not covered and ours leaves it out
        assert coverage(targets, low, quantiles[..., 8]) == pytest.approx(expected["coverage[0.9]"], rel=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("season, steps", [(1, 9), (4, 9), (9, 9), (12, 9)])
def test_the_seasonal_error_is_that_of_gluonts_for_every_length(season: int, steps: int) -> None:
    stats = pytest.importorskip("gluonts.ev.ts_stats", reason="the comparison needs gluonts, the extra `gluonts`")
    context = np.random.default_rng(2).normal(size=steps)
    ours = seasonal_error(context, season)
    np.testing.assert_allclose(ours, np.nan if season == steps else stats.seasonal_error(context, season)[0])


def test_coverage_counts_the_observed_values_and_the_ends_of_the_interval() -> None:
    target = np.array([[0.0, 1.0, 2.0, np.nan]])
    assert coverage(target, np.zeros((1, 4)), np.ones((1, 4))) == pytest.approx(2 / 3)


def test_errors_are_unknown_where_nothing_is_observed() -> None:
    nothing = np.full((2, 3), np.nan)
    zeros = np.zeros((2, 3))
    assert np.isnan([mae(nothing, zeros), mse(nothing, zeros), coverage(nothing, zeros, zeros)]).all()
    assert np.isnan(mase(zeros, zeros, np.zeros(2)))
    assert np.isnan([crps(nothing, np.zeros((2, 3, 9))), crps(zeros, np.ones((2, 3, 9)))]).all()
    assert np.isnan(seasonal_error(np.full(9, np.nan), 2))


def test_a_forecast_with_nan_is_refused() -> None:
    with pytest.raises(DataError, match="1 NaN"):
        mae(np.zeros((1, 2)), np.array([[1.0, np.nan]]))


def test_the_geometric_mean_is_that_of_ratios() -> None:
    assert geometric_mean([0.5, 2.0, 1.0]) == pytest.approx(1.0)
    assert np.isnan(geometric_mean([]))
    with pytest.raises(DataError, match="positive"):
        geometric_mean([1.0, 0.0])
