"""The quantile curve: one non-decreasing function of the level, from a few forecast quantiles.

A forecast gives quantiles at a few levels, the knots. Any other level, the mean and every interval are read from one
curve through them, so that they agree with each other and never cross:

    between knots       linear in the level (the linear spline of Gasthaus et al. 2019, "Probabilistic forecasting with
                        spline quantile function RNNs", section 3)
    below the first     value[0]  + below * log(level / levels[0])
    above the last      value[-1] - above * log((1 - level) / (1 - levels[-1]))

The tails are those of an exponential distribution, as in Park et al. 2022, "Learning quantile functions without
quantile crossing for distribution-free time series forecasting" (ISQF), with one difference: nothing is learned, the
tail scales make the slope of the curve continuous at the edge,

    below = levels[0]        * (value[1]  - value[0])  / (levels[1]  - levels[0])
    above = (1 - levels[-1]) * (value[-1] - value[-2]) / (levels[-1] - levels[-2])

From the nine deciles of a normal distribution this gives its 1 % quantile as -2.29 (true -2.33). One knot alone is a
constant. Equal knots are a constant too, to the last bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError

# Q knots; the axes before the last one are free (series, steps).

Floats = NDArray[np.float64]

LARGEST = float(np.finfo(np.float64).max)
# Differences and tails of larger values could overflow, so these are computed 2**124 times smaller.
SAFE = 2.0**900
SHRINK = 2.0**-124


def check_level(level: float) -> float:
    """Return the level as a float; `DataError` unless it lies strictly between 0 and 1."""
    try:
        number = float(level)
    except (TypeError, ValueError):
        raise DataError(f"quantile level {level!r} is not a number; give one between 0 and 1, such as 0.9") from None
    if not 0.0 < number < 1.0:
        hint = f"; for the {number:g} % quantile give {number / 100:g}" if 1.0 < number < 100.0 else ""
        raise DataError(f"quantile level {level!r} is outside (0, 1); give one strictly between 0 and 1{hint}")
    return number


def evaluate(levels: Sequence[float], values: Floats, level: float) -> Floats:
    """Value of the curve at one level.

    levels   (Q,) increasing, inside (0, 1)
    values   (..., Q) non-decreasing along the last axis, in any unit
    level    inside (0, 1), else `DataError`
    returns  (...) in the unit of `values`, finite; at a knot exactly the knot's value
    """
    level = check_level(level)
    if level in levels:
        return np.array(values[..., list(levels).index(level)], dtype=np.float64)
    if len(levels) == 1:
        return np.array(values[..., 0], dtype=np.float64)
    values, shrink = _within_range(values)
    if level < levels[0]:
        found = values[..., 0] + _tail_below(levels, values) * np.log(level / levels[0])
    elif level > levels[-1]:
        found = values[..., -1] - _tail_above(levels, values) * np.log((1.0 - level) / (1.0 - levels[-1]))
    else:
        right = int(np.searchsorted(levels, level))
        share = (level - levels[right - 1]) / (levels[right] - levels[right - 1])
        low, high = values[..., right - 1], values[..., right]
        # Rounding may carry the sum a bit past the right knot, where the next piece begins.
        found = np.minimum(low + share * (high - low), high)
    return _restored(found, shrink)


def mean(levels: Sequence[float], values: Floats, floor_at_zero: bool = False) -> Floats:
    """Integral of the curve over all levels: the mean of the distribution it describes, exactly.

    levels         (Q,) increasing, inside (0, 1)
    values         (..., Q) non-decreasing along the last axis
    floor_at_zero  integrate max(0, curve) instead
    returns        (...) in the unit of `values`
    """
    if len(levels) == 1:
        only = np.array(values[..., 0], dtype=np.float64)
        return np.maximum(only, 0.0) if floor_at_zero else only
    values, shrink = _within_range(values)
    pieces = _floored_pieces(levels, values) if floor_at_zero else _pieces(levels, values)
    # The weights of a constant need not add up to 1 in floating point; a constant's mean is the constant.
    constant = values[..., 0] == values[..., -1]
    same = np.maximum(values[..., 0], 0.0) if floor_at_zero else values[..., 0]
    return _restored(np.where(constant, same, pieces), shrink)


def _pieces(levels: Sequence[float], values: Floats) -> Floats:
    """Tail, trapezoids, tail; an exponential tail's own mean lies one tail scale beyond its edge."""
    inner = (0.5 * np.diff(levels) * (values[..., :-1] + values[..., 1:])).sum(-1)
    below = levels[0] * (values[..., 0] - _tail_below(levels, values))
    above = (1.0 - levels[-1]) * (values[..., -1] + _tail_above(levels, values))
    total: Floats = below + inner + above
    return total


def _floored_pieces(levels: Sequence[float], values: Floats) -> Floats:
    """The same with every piece cut at zero: each has one root at most, because the curve never falls."""
    low, high = values[..., :-1], values[..., 1:]
    rise = high - low
    # Share of each segment above zero; a flat segment is above entirely or not at all.
    share = np.divide(np.maximum(high, 0.0), rise, out=np.ones_like(rise), where=(rise > 0) & (low < 0))
    inner = (0.5 * np.diff(levels) * share * (np.maximum(low, 0.0) + np.maximum(high, 0.0))).sum(-1)

    scale = _tail_below(levels, values)
    edge = np.maximum(values[..., 0], 0.0)
    with np.errstate(over="ignore"):
        ratio = np.divide(edge, scale, out=np.full_like(edge, np.inf), where=scale > 0)
    # Integral from the root levels[0] * exp(-ratio) to levels[0]; without a tail (scale 0) the plain rectangle.
    below = np.where(edge > 0, levels[0] * (edge + scale * np.expm1(-ratio)), 0.0)

    scale = _tail_above(levels, values)
    last = values[..., -1]
    with np.errstate(over="ignore"):
        depth = np.divide(np.minimum(last, 0.0), scale, out=np.full_like(last, -np.inf), where=scale > 0)
    # Starting below zero, exp(depth) of the tail's levels are left when it crosses, and from there it begins anew.
    beyond = scale * np.exp(np.where(last >= 0, 0.0, depth))
    above = (1.0 - levels[-1]) * (np.maximum(last, 0.0) + beyond)
    total: Floats = below + inner + above
    return total


def _tail_below(levels: Sequence[float], values: Floats) -> Floats:
    scale: Floats = (levels[0] / (levels[1] - levels[0])) * (values[..., 1] - values[..., 0])
    return scale


def _tail_above(levels: Sequence[float], values: Floats) -> Floats:
    scale: Floats = ((1.0 - levels[-1]) / (levels[-1] - levels[-2])) * (values[..., -1] - values[..., -2])
    return scale


def _within_range(values: Floats) -> tuple[Floats, float]:
    """Values small enough to subtract and stretch, and the power of two they were multiplied by."""
    values = np.asarray(values, dtype=np.float64)
    # The curve does not fall, so its extremes stand at its ends.
    shrink = SHRINK if values.size and max(-values[..., 0].min(), values[..., -1].max()) > SAFE else 1.0
    return values * shrink if shrink != 1.0 else values, shrink


def _restored(found: Floats, shrink: float) -> Floats:
    if shrink == 1.0:
        return found
    return np.clip(found, -LARGEST * shrink, LARGEST * shrink) / shrink
