"""The baselines every model is measured against: naive, seasonal naive and drift, with prediction intervals.

Hyndman & Athanasopoulos, "Forecasting: Principles and Practice" (3rd ed., 2021), sections 5.2 (the point forecasts) and
5.5 (table 5.2, the intervals): residuals are taken as normal, and the standard deviation h steps ahead is

    naive            sigma * sqrt(h)
    seasonal naive   sigma * sqrt(k + 1)                  k whole seasons passed before the step
    drift            sigma * sqrt(h * (1 + h / (T - 1)))

What differs: missing values. A step is forecast from the last *observed* value (of its phase), time counts from that
observation, and a residual over a gap of g steps counts as e^2 / g, which is what a random walk makes of it. A phase
never observed is forecast as naive does it; without one pair of values a season apart, the one-step residuals stand in
for the seasonal ones. Arithmetic is numpy in float64: the median of naive and seasonal naive is a value of the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.batch import Batch
from tsfm.registry import register

# B series, C context steps, S cycles of M phases (C = S * M after padding on the left), H horizon, Q quantile levels.

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
LONGEST = 65_536


@dataclass(frozen=True)
class Walk:
    """A random walk a phase, fitted.

    last      (B, M)  last observed value of the phase; 0 where there is none
    since     (B, M)  cycles between that observation and the end of the context, 0 where it is the last cycle
    seen      (B, M)  True where the phase was observed at all
    variance  (B,)    of one step of the walk; NaN where no phase was observed twice
    """

    last: Floats
    since: Floats
    seen: Bools
    variance: Floats


def fit_walk(values: Floats, observed: Bools, season: int) -> Walk:
    """Fit one random walk to each phase of (B, C) series of one season, all sharing a variance."""
    rows, steps = values.shape
    padding = -steps % season
    values = np.pad(values, ((0, 0), (padding, 0))).reshape(rows, -1, season)  # (B, S, M)
    observed = np.pad(observed, ((0, 0), (padding, 0))).reshape(values.shape)
    cycles = values.shape[1]
    latest = np.maximum.accumulate(np.where(observed, np.arange(cycles)[:, None], -1), axis=1)  # (B, S, M)
    before = latest[:, :-1]
    pair = observed[:, 1:] & (before >= 0)
    step = values[:, 1:] - np.take_along_axis(values, np.maximum(before, 0), axis=1)
    gap = np.arange(1, cycles)[:, None] - before
    squares = np.where(pair, step**2 / gap, 0.0).sum((1, 2))
    pairs = pair.sum((1, 2))
    end = latest[:, -1]
    return Walk(
        last=np.take_along_axis(values, np.maximum(end, 0)[:, None], axis=1)[:, 0] * (end >= 0),
        since=(cycles - 1.0) - end,
        seen=end >= 0,
        variance=np.where(pairs > 0, squares / np.maximum(pairs, 1), np.nan),
    )


def naive_path(values: Floats, observed: Bools, horizon: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (B, H) of the last observed value carried on."""
    walk = fit_walk(values, observed, 1)
    steps = np.arange(1.0, horizon + 1) + walk.since  # (B, H)
    return np.repeat(walk.last, horizon, axis=1), np.sqrt(np.nan_to_num(walk.variance)[:, None] * steps)


def seasonal_path(values: Floats, observed: Bools, season: int, horizon: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (B, H) of the last observed season repeated."""
    mean, deviation = naive_path(values, observed, horizon)
    if season == 1:
        return mean, deviation
    walk = fit_walk(values, observed, season)
    phase = np.arange(horizon) % season
    cycles = np.arange(horizon) // season + 1.0 + walk.since[:, phase]  # (B, H)
    seen = walk.seen[:, phase]
    known = seen & ~np.isnan(walk.variance)[:, None]
    seasonal = np.sqrt(np.nan_to_num(walk.variance)[:, None] * cycles)
    return np.where(seen, walk.last[:, phase], mean), np.where(known, seasonal, deviation)


def drift_path(values: Floats, observed: Bools, horizon: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (B, H) of the line through the first and the last observed value."""
    rows, steps = values.shape
    first = observed.argmax(1)
    last = steps - 1 - observed[:, ::-1].argmax(1)
    row = np.arange(rows)
    span = np.maximum(last - first, 1)[:, None]  # (B, 1)
    slope = (values[row, last] - values[row, first])[:, None] / span
    ahead = np.arange(1.0, horizon + 1) + (steps - 1 - last)[:, None]  # (B, H)
    raw = np.nan_to_num(fit_walk(values, observed, 1).variance)
    detrended = np.nan_to_num(fit_walk(values - slope * np.arange(steps), observed, 1).variance)
    pairs = observed.sum(1) - 1
    # One degree of freedom goes to the slope; two points leave none, so their step is the measure.
    variance = np.where(pairs > 1, detrended * pairs / np.maximum(pairs - 1, 1), raw)[:, None]
    return values[row, last][:, None] + slope * ahead, np.sqrt(variance * ahead * (1 + ahead / span))


def normal_quantiles(mean: Floats, deviation: Floats, quantile_levels: Sequence[float]) -> Tensor:
    """Quantiles (B, H, Q) of normal distributions with (B, H) means and standard deviations."""
    scores = np.array([NormalDist().inv_cdf(level) for level in quantile_levels])
    return torch.from_numpy(mean[..., None] + deviation[..., None] * scores)


class Baseline:
    """What the three baselines share: any quantile level at no cost, float64, no weights.

    They read the last 65,536 steps, so that ten million points cost no more memory than a long series does.
    """

    levels = LEVELS
    any_level = True
    max_context = LONGEST
    input_dtype = torch.float64

    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float]) -> Tensor:
        """Return quantiles (B, H, Q) in the batch's units, on the batch's device."""
        values, observed = batch.values.double().cpu().numpy(), batch.observed.cpu().numpy()
        mean, deviation = self.path(values, observed, batch.season.cpu().numpy(), horizon)
        return normal_quantiles(mean, deviation, quantile_levels).to(batch.values.device)

    def path(self, values: Floats, observed: Bools, season: NDArray[np.int64], horizon: int) -> tuple[Floats, Floats]:
        """Return mean and standard deviation (B, H)."""
        raise NotImplementedError

    def bytes_per_series(self, context: int, horizon: int, levels: int = 9) -> int:
        """Return the most bytes one series needs while it is forecast: about ten float64 copies of its context."""
        return 80 * context + 8 * horizon * (levels + 4)


@register("naive")
class Naive(Baseline):
    """The last observed value, carried on."""

    def path(self, values: Floats, observed: Bools, season: NDArray[np.int64], horizon: int) -> tuple[Floats, Floats]:
        return naive_path(values, observed, horizon)


@register("seasonal-naive")
class SeasonalNaive(Baseline):
    """The last observed season, repeated; naive where the season is 1 or unknown."""

    def path(self, values: Floats, observed: Bools, season: NDArray[np.int64], horizon: int) -> tuple[Floats, Floats]:
        mean, deviation = np.empty((2, len(values), horizon))
        for length in np.unique(season):
            rows = season == length
            mean[rows], deviation[rows] = seasonal_path(values[rows], observed[rows], int(length), horizon)
        return mean, deviation


@register("drift")
class Drift(Baseline):
    """The line through the first and the last observed value, carried on."""

    def path(self, values: Floats, observed: Bools, season: NDArray[np.int64], horizon: int) -> tuple[Floats, Floats]:
        return drift_path(values, observed, horizon)
