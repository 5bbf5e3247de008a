"""Conditioning: from the user's float64 units to numbers any model can work in, and exactly back.

A location is subtracted and a power of two divided out, both in float64 before the cast to the model's own precision.
A power of two changes no digit of a value, so the choice costs no accuracy; the model's own scaling takes care of the
factor of two that remains. Values are first brought to [-1, 1] by another power of two, so that 1e308 - (-1e308) does
not overflow and 1e-320 does not vanish. Published models see the user's own values (`condition_rarely`): what they add
to a scale lest they divide by zero is part of their numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# B series, C context steps, H horizon, Q quantile levels.

Floats = NDArray[np.float64]
Exponents = NDArray[np.int64]
LARGEST = np.finfo(np.float64).max
USUAL_SCALES = (1e-4, 1e6)  # standard deviations that every model can work with


@dataclass(frozen=True)
class Conditioned:
    """Contexts in the model's units, with what is needed to come back.

    values    (B, C) float64 in [-1, 1], 0 where not observed
    observed  (B, C) bool
    location  (B, 1) subtracted after the first division
    coarse    (B, 1) exponent of the power of two divided out first
    fine      (B, 1) exponent of the power of two divided out after the location
    """

    values: Floats
    observed: NDArray[np.bool_]
    location: Floats
    coarse: Exponents
    fine: Exponents


def times_power_of_two(values: Floats, exponent: Exponents) -> Floats:
    """Return values * 2**exponent, in two halves because 2**1074 alone would overflow."""
    half = exponent // 2
    result: Floats = values * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)
    return result


def exponent_of_largest(values: Floats) -> Exponents:
    """Return for each row the smallest exponent e with |values| < 2**e; 0 for a row of zeros. (B, C) -> (B, 1)."""
    largest = np.maximum(values.max(1, keepdims=True), -values.min(1, keepdims=True))
    exponents: Exponents = np.frexp(largest)[1].astype(np.int64)
    return exponents


def lower_median(values: Floats, observed: NDArray[np.bool_]) -> Floats:
    """Return for each row (B, 1) the observed value in the middle, the lower of two: always a value of the series."""
    ordered = np.sort(np.where(observed, values, np.inf), axis=1)
    middle = (observed.sum(1, keepdims=True) - 1) // 2
    return np.take_along_axis(ordered, middle, axis=1)


def condition(contexts: Floats, centre: bool = True) -> Conditioned:
    """Bring each row of contexts (B, C), NaN where missing, to [-1, 1].

    Every row needs one observed value. `centre=False` leaves the location at 0: a model that computes in float64
    gives back values of the history unchanged to the last bit.
    """
    observed = ~np.isnan(contexts)
    values = np.where(observed, contexts, 0.0)
    coarse = exponent_of_largest(values)
    values = times_power_of_two(values, -coarse)
    location, fine = np.zeros((len(values), 1)), np.zeros_like(coarse)
    if centre:
        location = lower_median(values, observed)
        values = np.where(observed, values - location, 0.0)
        fine = exponent_of_largest(values)
        values = times_power_of_two(values, -fine)
    return Conditioned(values, observed, location, coarse, fine)


def condition_rarely(contexts: Floats) -> Conditioned:
    """Leave each row of contexts (B, C) as it is, unless its deviation lies outside the usual scales, or its level is
    too large to be squared: then divide by a power of two that brings it to the order of 1."""
    made = condition(contexts, centre=False)
    count = made.observed.sum(1, keepdims=True)
    mean = made.values.sum(1, keepdims=True) / count
    deviation = np.sqrt((np.where(made.observed, made.values - mean, 0.0) ** 2).sum(1, keepdims=True) / count)
    with np.errstate(over="ignore"):
        in_units = times_power_of_two(deviation, made.coarse)
    usual = (USUAL_SCALES[0] <= in_units) & (in_units <= USUAL_SCALES[1]) & (made.coarse < 500)
    own = np.where(usual, 0, made.coarse + np.frexp(deviation)[1])
    values = times_power_of_two(made.values, made.coarse - own)
    return Conditioned(values, made.observed, made.location, own, made.fine)


def restore(quantiles: Floats, conditioned: Conditioned) -> Floats:
    """Bring (B, H, Q) from the model's units back to the user's; what leaves float64's range stays at its end."""
    location, coarse, fine = conditioned.location[..., None], conditioned.coarse[..., None], conditioned.fine[..., None]
    with np.errstate(over="ignore"):
        values = times_power_of_two(times_power_of_two(quantiles, fine) + location, coarse)
    return np.clip(values, -LARGEST, LARGEST)
