"""Scores of a backtest: from sums of errors a window to a number a model, a series, a window or a step.

Every score is a quotient of two sums, so each grouping only adds up the same sums. They are the metrics of metrics.py,
which runs over all entries at once: the score of a group is that of its windows taken together, not a mean of means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_windows import Windows
from tsfm.panel import Floats

# N windows, H horizon, Q quantile levels, U units drawn again, M models.

BASELINE = "seasonal-naive"
DRAWS = 2000
FEWEST_UNITS = 8  # from fewer, a coin flip is called a finding in up to a third of the cases
MANY_SERIES = 10
INSIDE = (0.1, 0.9)

QUOTIENTS = {
    "mase": ("scaled_error", "scaled_entries"),
    "crps": ("quantile_loss", "size"),
    "smape": ("symmetric_error", "symmetric_entries"),
    "bias": ("signed_error", "size"),
    "coverage80": ("inside", "observed"),
}
"""Score -> the sums it is the quotient of."""


def sums(windows: Windows, quantiles: Floats, levels: Sequence[float], axis: int) -> pd.DataFrame:
    """Sums of errors, a row a window (axis=1) or a row a step ahead (axis=0).

    quantiles  (N, H, Q) at the levels, among them those of `metrics.LEVELS`
    """
    at = [levels.index(level) for level in metrics.LEVELS]
    target, low, median, high = windows.target, *(quantiles[..., levels.index(level)] for level in (0.1, 0.5, 0.9))
    scaled = metrics.in_seasonal_errors(metrics.absolute_error(target, median), windows.scale)
    symmetric = metrics.symmetric_percentage_error(target, median)
    # Losses are summed a level at a time: all at once need Q times the memory of the targets.
    losses = [metrics.quantile_loss(target, quantiles[..., [i]], [levels[i]])[..., 0] for i in at]
    observed = ~np.isnan(target)
    entries = {
        "scaled_error": scaled,
        "scaled_entries": ~np.isnan(scaled),
        "quantile_loss": np.mean(losses, axis=0),
        "size": np.abs(target),
        "symmetric_error": symmetric,
        "symmetric_entries": ~np.isnan(symmetric),
        "signed_error": median - target,
        "inside": (low <= target) & (target <= high),
        "observed": observed,
    }
    return pd.DataFrame({name: np.nansum(values, axis=axis, dtype=np.float64) for name, values in entries.items()})


def scores(summed: pd.DataFrame) -> pd.DataFrame:
    """One score a column from sums; NaN where nothing that it is made of was observed.

    mase        mean absolute error of the median, in units of the seasonal error of the history
    crps        mean weighted sum quantile loss
    smape       mean symmetric percentage error, up to 2
    bias        what the medians are too high, as a share of what was observed; below 0 they are too low
    coverage80  share of the values inside the 80 % interval
    """
    return pd.DataFrame(
        {name: summed[part] / summed[whole].where(summed[whole] > 0) for name, (part, whole) in QUOTIENTS.items()}
    )


def skill(score: Floats, baseline: Floats) -> Floats:
    """Share of the baseline's error that a model saves: 1 is perfect, 0 as good as the baseline, below 0 worse."""
    return np.asarray(1.0 - score / np.where(baseline > 0, baseline, np.nan), dtype=np.float64)


@dataclass(frozen=True)
class Evidence:
    """Between which ends the MASE skill of each model lies, 95 % of the time, and what was drawn again.

    interval   name -> (low, high), NaN where there are fewer than 8 units
    unit       what was drawn: "series", "cutoff", or "span" of cutoffs whose windows overlap
    units      how many there are with a MASE
    """

    interval: dict[str, tuple[float, float]]
    unit: str
    units: int

    @property
    def enough(self) -> bool:
        """Whether there are as many units as a verdict needs."""
        return self.units >= FEWEST_UNITS


def evidence(windows: Windows, summed: Mapping[str, pd.DataFrame], seed: int) -> Evidence:
    """Percentile bootstrap of the MASE skill (Efron 1979) of every model but the baseline.

    What belongs together is drawn together: all windows of a series, or, where there are few series, the windows of all
    series that are equally old, because what happens at one time happens to many series. Windows that overlap count as
    one unit with their neighbours; windows without a MASE take no part.
    """
    overlap = -(-windows.horizon // windows.stride)
    told = summed[BASELINE]["scaled_entries"].to_numpy() > 0
    age, series = windows.age[told] // overlap, windows.series[told]
    many = len(np.unique(series))
    by_series = many >= MANY_SERIES or many > len(np.unique(age))
    owner = np.unique(series if by_series else age, return_inverse=True)[1]
    names = [BASELINE, *(name for name in summed if name != BASELINE)]
    scaled = [summed[name]["scaled_error"].to_numpy()[told] for name in names]
    errors = np.stack([np.bincount(owner, one) for one in scaled], axis=-1)  # (U, M)
    # Units in an order of their own, so that the order of the series does not change what is drawn.
    errors = errors[np.lexsort(errors.T[::-1])]
    units = len(errors)
    found = {name: (float("nan"), float("nan")) for name in names[1:]}
    if units >= FEWEST_UNITS:
        generator = np.random.default_rng(seed)
        drawn = np.stack([errors[generator.integers(units, size=units)].sum(axis=0) for _ in range(DRAWS)])
        skills = skill(drawn[:, 1:], drawn[:, :1])
        for name, column in zip(names[1:], skills.T, strict=True):
            if not np.isnan(column).all():
                low, high = np.nanquantile(column, [0.025, 0.975])
                found[name] = (float(low), float(high))
    return Evidence(found, "series" if by_series else "cutoff" if overlap == 1 else "span", units)


def by_group(summed: pd.DataFrame, owner: NDArray[np.int64], groups: int) -> pd.DataFrame:
    """Sums of the windows of each group; `owner` (N,) is the group of each window."""
    return pd.DataFrame(
        {name: np.bincount(owner, column.to_numpy(), minlength=groups) for name, column in summed.items()}
    )


def compared(found: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Floats]:
    """Skill in MASE and in CRPS, row by row."""
    return {
        f"{name}_skill": skill(found[name].to_numpy(np.float64), baseline[name].to_numpy(np.float64))
        for name in ("mase", "crps")
    }
