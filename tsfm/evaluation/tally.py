"""Errors summed up as windows come in, so that a million windows need the memory of one chunk.

Every sum is kept a window and added up at the end in the windows' order: how the windows were cut into chunks cannot
change a digit. What an error is stands in metrics.py; entries without one take no part in its mean.
"""

import numpy as np

from tsfm import quantile_curve
from tsfm.evaluation import metrics
from tsfm.evaluation.metrics import ALPHA, LEVELS, Array

# n windows of a chunk, H horizon, Q quantile levels.

ASKED = (ALPHA / 2, *LEVELS, 1 - ALPHA / 2)
"""Levels that a model is asked for: the nine of CRPS between the ends of the interval of MSIS."""

MEDIAN = LEVELS.index(0.5)


class Tally:
    """Sums of errors, a row a window."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Array]] = {}
        self.windows = 0

    def add(self, target: Array, quantiles: Array, scale: Array) -> None:
        """Count windows in.

        target     (n, H) NaN where missing
        quantiles  (n, H, Q) at the levels `ASKED`
        scale      (n,)   the seasonal error of each; where it is zero or NaN, the window counts in no scaled error
        """
        self.windows += len(target)
        deciles = quantiles[..., 1:-1]
        median, mean = deciles[..., MEDIAN], quantile_curve.mean(LEVELS, deciles)
        absolute = metrics.absolute_error(target, median)
        interval = metrics.interval_score(target, quantiles[..., 0], quantiles[..., -1])
        below = metrics.covered(target, deciles)
        inside = (deciles[..., 0] <= target) & (target <= deciles[..., -1])
        entries = {
            "size": np.abs(target),
            "absolute": absolute,
            "squared": metrics.squared_error(target, median),
            "squared of mean": metrics.squared_error(target, mean),
            "percentage": metrics.percentage_error(target, median),
            "symmetric": metrics.symmetric_percentage_error(target, median),
            "scaled": metrics.in_seasonal_errors(absolute, scale),
            "interval": metrics.in_seasonal_errors(interval, scale),
            "inside": np.where(np.isnan(target), np.nan, inside),
            "loss": metrics.quantile_loss(target, deciles, LEVELS),
            "below": below,
        }
        for name, values in entries.items():
            self.parts.setdefault(name, []).append(np.nansum(values, axis=1))
            self.parts.setdefault(f"{name}, entries", []).append((~np.isnan(values)).sum(axis=1))

    def total(self, name: str) -> Array:
        """Return the sum over all windows, () or (Q,)."""
        return np.asarray(np.concatenate(self.parts[name]).sum(axis=0), dtype=np.float64)

    def mean(self, name: str) -> Array:
        """Return the mean over all entries that have a value, NaN where none has; () or (Q,)."""
        entries = self.total(f"{name}, entries")
        return self.total(name) / np.where(entries > 0, entries, np.nan)

    def errors(self) -> dict[str, float]:
        """Return every metric over all windows, NaN where it is not defined."""
        size = self.total("size")
        weight = size if size > 0 else np.nan
        found = {
            "mase": self.mean("scaled"),
            "crps": self.total("loss").mean() / weight,
            "smape": self.mean("symmetric"),
            "mape": self.mean("percentage"),
            "mse": self.mean("squared"),
            "mse_of_mean": self.mean("squared of mean"),
            "mae": self.mean("absolute"),
            "nd": self.total("absolute") / weight,
            "rmse": np.sqrt(self.mean("squared")),
            "msis": self.mean("interval"),
            "coverage80": self.mean("inside"),
            "calibration": np.abs(self.mean("below") - np.array(LEVELS)).mean(),
        }
        return {name: float(value) for name, value in found.items()}
