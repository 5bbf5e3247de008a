"""Errors of point and quantile forecasts, as gluonts 0.17 (`gluonts.ev`) defines them and GIFT-Eval aggregates them.

Arrays in, numbers out. Functions of entries give an array of the shape of what they compare, NaN where the target is
NaN or the error is not defined; aggregates run over every defined entry of every window at once (gluonts' `axis=None`)
and are NaN where there is none. NaN in a forecast is an error. An entry that gluonts' masked division leaves out (a
zero seasonal error, a target and a forecast of zero in sMAPE) is left out here.

fev 0.10 computes the same from the same arrays, with three exceptions: `seasonal_error` of a context no longer than the
season is NaN there; a weight of zero gives it an infinite WQL and WAPE, which are NaN here; and its summaries are means
over cutoffs of the errors at each. Its WAPE is our `nd`, its WQL our `crps`, its SQL our `scaled_quantile_loss`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError

# N windows, C context steps, H horizon, Q quantile levels.

Array = NDArray[np.float64]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # those of GIFT-Eval's CRPS
ALPHA = 0.05  # what the interval of MSIS leaves out, in the M4 competition and in GIFT-Eval
FLOOR = 0.01  # a lower ratio counts as this in a geometric mean


def seasonal_error(context: Array, season: int) -> float:
    """Mean absolute difference of a series to itself one season before; the scale of MASE (Hyndman & Koehler 2006).

    context   (C,) NaN where missing; a pair counts where both ends are observed
    season    steps; 1 is used where the series is shorter than the season
    returns   NaN where no pair is observed
    """
    if season > len(context):
        season = 1
    changes = np.abs(context[season:] - context[:-season])
    changes = changes[~np.isnan(changes)]
    return float(changes.mean()) if len(changes) else float("nan")


def absolute_error(target: Array, forecast: Array) -> Array:
    """|target - forecast|; all (N, H)."""
    return np.abs(target - _finite(forecast))


def squared_error(target: Array, forecast: Array) -> Array:
    """Squared difference; all (N, H)."""
    return np.square(target - _finite(forecast))


def percentage_error(target: Array, forecast: Array) -> Array:
    """Absolute error over |target|, NaN where that is zero; all (N, H)."""
    return absolute_error(target, forecast) / np.where(target != 0, np.abs(target), np.nan)


def symmetric_percentage_error(target: Array, forecast: Array) -> Array:
    """Twice the absolute error over |target| + |forecast|, in [0, 2] and NaN where both are zero; all (N, H)."""
    size = np.abs(target) + np.abs(_finite(forecast))
    return 2.0 * np.abs(target - forecast) / np.where(size > 0, size, np.nan)


def quantile_loss(target: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """Twice the pinball loss of each entry, NaN where the target is.

    target     (N, H)
    quantiles  (N, H, Q)
    returns    (N, H, Q); at level 0.5 the absolute error
    """
    error = target[..., None] - _finite(quantiles)  # (N, H, Q)
    return np.asarray(2.0 * np.abs(error * ((error <= 0) - np.asarray(levels))), dtype=np.float64)


def interval_score(target: Array, low: Array, high: Array, alpha: float = ALPHA) -> Array:
    """Width of a central interval and, where it misses, 2 / alpha times the distance (Gneiting & Raftery 2007, 6.2).

    target, low, high  (N, H); the interval between the quantiles alpha / 2 and 1 - alpha / 2
    returns            (N, H)
    """
    missed = np.maximum(_finite(low) - target, 0.0) + np.maximum(target - _finite(high), 0.0)
    return np.asarray(high - low + 2.0 / alpha * missed, dtype=np.float64)


def covered(target: Array, quantiles: Array) -> Array:
    """1 where the target lies at or below the quantile, 0 above, NaN where it is missing.

    target     (N, H)
    quantiles  (N, H, Q)
    returns    (N, H, Q)
    """
    below = target[..., None] <= _finite(quantiles)  # (N, H, Q)
    return np.where(np.isnan(target)[..., None], np.nan, below)


def in_seasonal_errors(errors: Array, scale: Array) -> Array:
    """Errors in units of the seasonal error, NaN for windows where that is zero or NaN.

    errors  (N, H) or (N, H, Q)
    scale   (N,) `seasonal_error` of each context
    """
    usable = np.where(scale > 0, scale, np.nan)
    return np.asarray(errors / usable.reshape(-1, *[1] * (errors.ndim - 1)), dtype=np.float64)


def mase(target: Array, forecast: Array, scale: Array) -> float:
    """Mean absolute error in units of the seasonal error.

    target    (N, H) NaN where missing
    forecast  (N, H) the median
    scale     (N,)   `seasonal_error` of each context; windows where it is zero or NaN are left out
    """
    return _mean(in_seasonal_errors(absolute_error(target, forecast), scale))


def mae(target: Array, forecast: Array) -> float:
    """Mean absolute error over the observed entries; target and forecast (N, H)."""
    return _mean(absolute_error(target, forecast))


def mse(target: Array, forecast: Array) -> float:
    """Mean squared error over the observed entries; target and forecast (N, H)."""
    return _mean(squared_error(target, forecast))


def rmse(target: Array, forecast: Array) -> float:
    """Root of the mean squared error of all windows together; target and forecast (N, H)."""
    return float(np.sqrt(mse(target, forecast)))


def mape(target: Array, forecast: Array) -> float:
    """Mean percentage error, as a fraction; target and forecast (N, H)."""
    return _mean(percentage_error(target, forecast))


def smape(target: Array, forecast: Array) -> float:
    """Mean symmetric percentage error, as a fraction up to 2 where M4 multiplies by 100; target and forecast (N, H)."""
    return _mean(symmetric_percentage_error(target, forecast))


def nd(target: Array, forecast: Array) -> float:
    """Normalised deviation, sum of absolute errors over sum of |target|, NaN where that is zero; both (N, H)."""
    return _ratio(float(np.nansum(absolute_error(target, forecast))), target)


def msis(target: Array, low: Array, high: Array, scale: Array, alpha: float = ALPHA) -> float:
    """Mean scaled interval score of M4 (Makridakis et al. 2020).

    At its alpha of 0.05 the quantiles are those of 0.025 and 0.975; the deciles alone have an interval of alpha 0.2.

    target, low, high  (N, H); the quantiles alpha / 2 and 1 - alpha / 2
    scale              (N,) `seasonal_error` of each context; windows where it is zero or NaN are left out
    """
    return _mean(in_seasonal_errors(interval_score(target, low, high, alpha), scale))


def crps(target: Array, quantiles: Array, levels: Sequence[float] = LEVELS) -> float:
    """Mean weighted sum quantile loss: for each level the sum of losses over the sum of |target|, then the mean.

    Called CRPS on the GIFT-Eval leaderboard, which it approximates up to the weight (Park et al. 2022, section 4).

    target     (N, H)
    quantiles  (N, H, Q)
    returns    NaN where nothing is observed or every observed target is zero
    """
    return _ratio(float(np.nansum(quantile_loss(target, quantiles, levels), axis=(0, 1)).mean()), target)


def scaled_quantile_loss(target: Array, quantiles: Array, scale: Array, levels: Sequence[float] = LEVELS) -> float:
    """Mean quantile loss in units of the seasonal error: fev's SQL, gluonts' `AverageMeanScaledQuantileLoss`.

    target     (N, H)
    quantiles  (N, H, Q)
    scale      (N,) `seasonal_error` of each context; windows where it is zero or NaN are left out
    """
    return _mean(in_seasonal_errors(quantile_loss(target, quantiles, levels), scale))


def coverage(target: Array, low: Array, high: Array) -> float:
    """Share of the observed entries inside the closed interval [low, high]; all (N, H)."""
    inside = (_finite(low) <= target) & (target <= _finite(high))
    return _mean(np.where(np.isnan(target), np.nan, inside))


def calibration_error(target: Array, quantiles: Array, levels: Sequence[float] = LEVELS) -> float:
    """Mean over levels of |share of observed targets at or below the quantile - level|; 0 is perfect.

    The absolute form of Kuleshov et al. 2018 (section 3.5) and gluonts' `MAECoverage`, except that gluonts counts a
    missing target as above every quantile.

    target     (N, H)
    quantiles  (N, H, Q)
    """
    shares = [_mean(covered(target, quantiles)[..., i]) for i in range(len(levels))]
    return float(np.abs(np.array(shares) - np.asarray(levels)).mean())


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric mean of ratios, one below 0.01 counted as 0.01; NaN for none, an error for what is no ratio.

    The bound is fev's: one error of zero would make all others worthless.
    """
    numbers = np.array(list(values), dtype=np.float64)
    if not len(numbers):
        return float("nan")
    if not (numbers >= 0).all():
        raise DataError(
            f"a geometric mean needs ratios of 0 or more, got {numbers[~(numbers >= 0)][0]}; leave it out first"
        )
    return float(np.exp(np.log(np.maximum(numbers, FLOOR)).mean()))


def relative(error: float, baseline: float) -> float:
    """An error in units of the baseline's; NaN where that is zero or there is none of the two."""
    return error / baseline if baseline > 0 else float("nan")


def _mean(entries: Array) -> float:
    defined = entries[~np.isnan(entries)]
    return float(defined.mean()) if defined.size else float("nan")


def _ratio(loss: float, target: Array) -> float:
    weight = float(np.nansum(np.abs(target)))
    return loss / weight if weight > 0 else float("nan")


def _finite(forecast: Array) -> Array:
    if np.isnan(forecast).any():
        raise DataError(f"the forecast has {int(np.isnan(forecast).sum())} NaN; a model must forecast every step")
    return forecast
