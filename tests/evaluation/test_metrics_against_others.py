"""Errors are those of gluonts and fev on the same forecasts, missing values and undefined errors included."""

from typing import Any

import numpy as np
import pytest

from tsfm.evaluation import metrics
from tsfm.evaluation.metrics import LEVELS, Array

SEASON, HORIZON, CONTEXT = 4, 6, 40
ASKED = (0.025, *LEVELS, 0.975)
KINDS = ("none", "steps", "whole windows")

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, on import and on undefined errors


def made_windows(missing: str) -> tuple[Array, Array, Array]:
    """Contexts (N, C), targets (N, H) and sorted quantiles (N, H, Q) that float32 holds exactly."""
    random = np.random.default_rng(11)
    values = random.normal(3.0, 2.0, (150, CONTEXT + HORIZON)).astype(np.float32).astype(np.float64)
    quantiles = np.sort(random.normal(3.0, 2.0, (150, HORIZON, len(ASKED))).astype(np.float32), axis=-1)
    if missing != "none":
        values[random.random(values.shape) < 0.2] = np.nan
    if missing == "whole windows":
        values[0, CONTEXT:] = np.nan  # no target
        values[1, :CONTEXT] = 5.0  # no seasonal error
        values[2, :CONTEXT] = np.nan
        values[2, CONTEXT - 1] = 1.0  # no pair a season apart
        values[3, CONTEXT:] = 0.0
        quantiles[3] = 0.0  # no percentage error
    return values[:, :CONTEXT], values[:, CONTEXT:], quantiles.astype(np.float64)


def our_errors(contexts: Array, target: Array, quantiles: Array, season: int) -> dict[str, float]:
    scale = np.array([metrics.seasonal_error(context, season) for context in contexts])
    median, low, high, deciles = quantiles[..., 5], quantiles[..., 0], quantiles[..., -1], quantiles[..., 1:-1]
    return {
        "MASE": metrics.mase(target, median, scale),
        "MAE": metrics.mae(target, median),
        "MSE": metrics.mse(target, median),
        "RMSE": metrics.rmse(target, median),
        "MAPE": metrics.mape(target, median),
        "sMAPE": metrics.smape(target, median),
        "ND": metrics.nd(target, median),
        "MSIS": metrics.msis(target, low, high, scale),
        "CRPS": metrics.crps(target, deciles),
        "SQL": metrics.scaled_quantile_loss(target, deciles, scale),
        "loss": float(np.nansum(metrics.quantile_loss(target, deciles, LEVELS)[..., 2])),
    }


def gluonts_errors(contexts: Array, targets: Array, quantiles: Array, season: int) -> dict[str, Any]:
    """Errors of the same windows as gluonts' `evaluate_forecasts` gives them, with GIFT-Eval's options."""
    pytest.importorskip("gluonts", reason="the comparison needs gluonts, the extra `gluonts`")
    import pandas as pd
    from gluonts.dataset.common import ListDataset
    from gluonts.dataset.split import split
    from gluonts.ev import metrics as theirs
    from gluonts.model.evaluation import evaluate_forecasts
    from gluonts.model.forecast import QuantileForecast

    series = np.concatenate([contexts, targets], axis=1)
    entries = [{"item_id": str(i), "start": "2024-01-01", "target": row} for i, row in enumerate(series)]
    _, template = split(ListDataset(entries, freq="h"), offset=-HORIZON)
    start = pd.Period("2024-01-02 16:00", freq="h")
    forecasts = [
        QuantileForecast(forecast_arrays=row.T, forecast_keys=[str(level) for level in ASKED], start_date=start)
        for row in quantiles
    ]
    table = evaluate_forecasts(
        forecasts,
        test_data=template.generate_instances(HORIZON),
        metrics=[
            theirs.MASE(),
            theirs.MAE(),
            theirs.MSE(forecast_type="0.5"),
            theirs.RMSE(forecast_type="0.5"),
            theirs.MAPE(),
            theirs.SMAPE(),
            theirs.ND(),
            theirs.MSIS(),
            theirs.MeanWeightedSumQuantileLoss(quantile_levels=list(LEVELS)),
            theirs.AverageMeanScaledQuantileLoss(quantile_levels=list(LEVELS)),
            theirs.SumQuantileLoss(q=0.3),
            theirs.Coverage(q=0.9),
            theirs.MAECoverage(quantile_levels=list(LEVELS)),
        ],
        axis=None,
        mask_invalid_label=True,
        allow_nan_forecast=False,
        seasonality=season,
    )
    others = {
        "mean_weighted_sum_quantile_loss": "CRPS",
        "average_mean_scaled_quantile_loss": "SQL",
        "sum_quantile_loss[0.3]": "loss",
    }
    return {others.get(name, name.removesuffix("[0.5]")): value for name, value in table.iloc[0].items()}


@pytest.mark.parametrize("season", [SEASON, CONTEXT + 5])
@pytest.mark.parametrize("missing", KINDS)
def test_every_error_is_that_of_gluonts(missing: str, season: int) -> None:
    windows = made_windows(missing)
    expected, found = gluonts_errors(*windows, season), our_errors(*windows, season)
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-6), name


def test_coverage_and_calibration_are_those_of_gluonts_where_nothing_is_missing() -> None:
    # gluonts counts a missing target as not covered, and ours leaves it out
    contexts, targets, quantiles = made_windows("none")
    expected, deciles = gluonts_errors(contexts, targets, quantiles, SEASON), quantiles[..., 1:-1]
    covered = metrics.coverage(targets, np.full_like(targets, -np.inf), deciles[..., 8])
    assert covered == pytest.approx(expected["coverage[0.9]"], rel=1e-6)
    assert metrics.calibration_error(targets, deciles) == pytest.approx(expected["MAE_coverage"], rel=1e-6)


@pytest.mark.parametrize("season, steps", [(1, 9), (4, 9), (9, 9), (12, 9)])
def test_the_seasonal_error_is_that_of_gluonts_for_every_length(season: int, steps: int) -> None:
    stats = pytest.importorskip("gluonts.ev.ts_stats", reason="the comparison needs gluonts, the extra `gluonts`")
    context = np.random.default_rng(2).normal(size=steps)
    ours = metrics.seasonal_error(context, season)
    np.testing.assert_allclose(ours, np.nan if season == steps else stats.seasonal_error(context, season)[0])


def fev_errors(contexts: list[Array], targets: Array, quantiles: Array, season: int) -> dict[str, float]:
    fev = pytest.importorskip("fev.metrics", reason="the comparison needs fev, the extra `bench`")
    names = {"WAPE": "ND", "SMAPE": "sMAPE", "WQL": "CRPS"}
    return {
        names.get(name, name): fev.get_metric(name).compute(
            y_true=targets[..., None],
            y_pred=quantiles[..., 5][..., None],
            y_past=np.concatenate(contexts)[:, None],
            y_past_lengths=np.array([len(context) for context in contexts]),
            q_pred=quantiles[..., 1:-1][:, :, None],
            seasonality=season,
            quantile_levels=list(LEVELS),
        )
        for name in ("MASE", "MAE", "MSE", "RMSE", "MAPE", "SMAPE", "WAPE", "WQL", "SQL")
    }


@pytest.mark.parametrize("missing", KINDS)
def test_every_error_is_that_of_fev(missing: str) -> None:
    contexts, targets, quantiles = made_windows(missing)
    found = our_errors(contexts, targets, quantiles, SEASON)
    for name, value in fev_errors(list(contexts), targets, quantiles, SEASON).items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_fev_leaves_out_a_context_no_longer_than_the_season_and_ours_takes_a_season_of_one() -> None:
    contexts, targets, quantiles = made_windows("none")
    ragged = [contexts[0][:3], *contexts[1:]]
    expected = fev_errors(ragged, targets, quantiles, SEASON)
    scale = np.array([metrics.seasonal_error(context, SEASON) for context in ragged])
    assert metrics.mase(targets, quantiles[..., 5], scale) != pytest.approx(expected["MASE"], rel=1e-6)
    scale[0] = np.nan
    assert metrics.mase(targets, quantiles[..., 5], scale) == pytest.approx(expected["MASE"], rel=1e-6)
    assert metrics.scaled_quantile_loss(targets, quantiles[..., 1:-1], scale) == pytest.approx(
        expected["SQL"], rel=1e-6
    )


def test_a_target_of_zeros_has_an_infinite_error_in_fev_and_none_here() -> None:
    contexts, targets, quantiles = made_windows("none")
    zeros = np.zeros_like(targets)
    expected = fev_errors(list(contexts), zeros, quantiles, SEASON)
    assert np.isinf([expected["ND"], expected["CRPS"]]).all()
    assert np.isnan([metrics.nd(zeros, quantiles[..., 5]), metrics.crps(zeros, quantiles[..., 1:-1])]).all()
