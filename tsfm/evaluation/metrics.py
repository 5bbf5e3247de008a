"""Errors of point and quantile forecasts, as gluonts 0.17 (`gluonts.ev`) defines them and GIFT-Eval aggregates them.

Arrays in, numbers out. All aggregates run over every observed entry of every window at once (gluonts' `axis=None`):
NaN in `target` takes no part, NaN in a forecast is an error. Where a window's seasonal error is zero, gluonts' masked
division leaves the window out of MASE, and so do we.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError

# N windows, C context steps, H horizon, Q quantile levels.

Array = NDArray[np.float64]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # those of GIFT-Eval's CRPS


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


def mase(target: Array, forecast: Array, scale: Array) -> float:
    """Mean absolute error in units of the seasonal error.

    target    (N, H) NaN where missing
    forecast  (N, H) the median
    scale     (N,)   `seasonal_error` of each context; windows where it is zero or NaN are left out
    """
    usable = (scale > 0)[:, None] & ~np.isnan(target)
    errors = np.abs(target - _finite(forecast)) / np.where(scale > 0, scale, 1.0)[:, None]
    return _mean(errors[usable])


def mae(target: Array, forecast: Array) -> float:
    """Mean absolute error over the observed entries; target and forecast (N, H)."""
    return _mean(np.abs(target - _finite(forecast))[~np.isnan(target)])


def mse(target: Array, forecast: Array) -> float:
    """Mean squared error over the observed entries; target and forecast (N, H)."""
    return _mean(np.square(target - _finite(forecast))[~np.isnan(target)])


def quantile_loss(target: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """Twice the pinball loss of each entry, NaN where the target is.

    target     (N, H)
    quantiles  (N, H, Q)
    returns    (N, H, Q); at level 0.5 the absolute error
    """
    error = target[..., None] - _finite(quantiles)  # (N, H, Q)
    return np.asarray(2.0 * np.abs(error * ((error <= 0) - np.asarray(levels))), dtype=np.float64)


def crps(target: Array, quantiles: Array, levels: Sequence[float] = LEVELS) -> float:
    """Mean weighted sum quantile loss: for each level the sum of losses over the sum of |target|, then the mean.

    Called CRPS on the GIFT-Eval leaderboard, which it approximates up to the weight (Park et al. 2022, section 4).

    target     (N, H)
    quantiles  (N, H, Q)
    returns    NaN where nothing is observed or every observed target is zero
    """
    weight = float(np.nansum(np.abs(target)))
    if weight == 0:
        return float("nan")
    return float(np.nansum(quantile_loss(target, quantiles, levels), axis=(0, 1)).mean() / weight)


def coverage(target: Array, low: Array, high: Array) -> float:
    """Share of the observed entries inside the closed interval [low, high]; all (N, H)."""
    inside = (_finite(low) <= target) & (target <= _finite(high))
    return _mean(inside[~np.isnan(target)].astype(np.float64))


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric mean of positive numbers; NaN for none, an error for a number that is not positive."""
    numbers = np.array(list(values), dtype=np.float64)
    if not len(numbers):
        return float("nan")
    if not (numbers > 0).all():
        raise DataError(
            f"a geometric mean needs positive numbers, got {numbers[~(numbers > 0)][0]}; leave it out first"
        )
    return float(np.exp(np.log(numbers).mean()))


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def _finite(forecast: Array) -> Array:
    if np.isnan(forecast).any():
        raise DataError(f"the forecast has {int(np.isnan(forecast).sum())} NaN; a model must forecast every step")
    return forecast
