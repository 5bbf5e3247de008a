"""Which learning rate suits which size and how much data: one bowl, moved by powers, through all curves over the rate.

    log loss = m + k (x - x*)^2,    x = log rate,    x* = c + n log N + d log D + b log B

m is a curve's own: of networks alike but for their rate, after as many points. The bowl's width k is common to all, and
its lowest point is a power law of size N, points D and tokens a step B (Li et al. 2025, "Predictable Scale", fit such a
law to the best of each curve). A loss that jumps makes the best of one curve a matter of luck, and all curves together
tell more. Opened, it is linear: k x^2 - 2 k x* x, with m as the mean of each curve, so there is one solution.

Intervals are of the jackknife over runs of a size (all milestones and rates of one size, seed and batch left out at
once), with Student's quantile of their number: checkpoints of a run are not independent.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tsfm.errors import DataError

CURVE = ("kind", "size", "experts", "top_k", "batch", "seed", "milestone")
FAMILY = CURVE[:-1]  # rows that share trunks
REFERENCE = {"active": 1e5, "points": 2.0**25, "batch": 2048.0}
FEWEST = 3  # rates of a curve, else it says nothing of where the best one lies

Floats = NDArray[np.float64]
Whole = NDArray[np.integer]


class RateRule(NamedTuple):
    """How the best rate goes with what.

    centre     best rate at `REFERENCE`, in the rows' unit, and its interval in `intervals`
    exponents  of the variables; the rate goes with the product of their powers
    width      factor on the rate, up or down, that costs a hundredth of the loss
    error      root mean square of the log of measured over fitted
    """

    centre: float
    exponents: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    level: float
    width: float
    curves: int
    rows: int
    error: float

    def best(self, **at: Any) -> Any:
        """The best rate at values of the variables, such as active=1e6, points=1e9; the reference's where not given.

        Values are numbers or arrays of one shape, and so is the rate.
        """
        powers = ((at.get(name, REFERENCE[name]) / REFERENCE[name]) ** power for name, power in self.exponents.items())
        return self.centre * math.prod(powers)


def fit_rates(
    rows: pd.DataFrame, loss: str, variables: Sequence[str] = ("active", "points"), level: float = 0.9
) -> RateRule:
    """The rule of rows of a study, those curves of it that have at least three rates.

    Raises `DataError` where there are too few, or where the loss has no lowest point between the rates tried.
    """
    sizes = rows.groupby(list(CURVE))["rate"].transform("nunique")
    kept = rows[sizes >= FEWEST]
    families = kept.groupby(list(FAMILY)).ngroup().to_numpy(np.int64)
    count = int(families.max()) + 1 if len(kept) else 0
    if count < len(variables) + 3:
        raise DataError(
            f"{count} families of runs have {FEWEST} rates; a rule of {len(variables)} variables needs more"
        )
    if alike := [name for name in variables if kept[name].nunique() < 2]:
        raise DataError(f"all rows have the same {alike[0]}, which then has no power; leave it out of the variables")
    curves = kept.groupby(list(CURVE)).ngroup().to_numpy(np.int64)
    inputs, losses = opened(kept, variables), np.log(kept[loss].to_numpy(dtype=np.float64))
    whole, error = solved(inputs, losses, curves)
    if not whole[0] > 0:
        raise DataError(f"{loss} has no lowest point between the rates tried; try rates farther apart")
    left_out = [families != family for family in range(count)]
    without = np.array([solved(inputs[left], losses[left], curves[left])[0] for left in left_out])
    spread = np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0))
    reach = stats.t.ppf((1 + level) / 2, count - 1) * spread
    _, centre, *powers = whole.tolist()
    intervals = {name: (value - r, value + r) for name, value, r in zip(variables, powers, reach[2:], strict=True)}
    intervals["centre"] = (float(np.exp(centre - reach[1])), float(np.exp(centre + reach[1])))
    width = float(np.exp(np.sqrt(0.01 / whole[0])))
    found = dict(zip(variables, powers, strict=True))
    return RateRule(float(np.exp(centre)), found, intervals, level, width, len(np.unique(curves)), len(kept), error)


def beside_best(rule: RateRule, rows: pd.DataFrame, loss: str) -> pd.DataFrame:
    """The rows with their rate over the best one, `beside`, and their loss over that of their curve there, `above`."""
    away = np.log(rows["rate"] / rule.best(**{name: rows[name] for name in rule.exponents}))
    least = np.log(rows[loss]) - 0.01 * (away / np.log(rule.width)) ** 2
    floor = least.groupby([rows[name] for name in CURVE]).transform("mean")
    return rows.assign(beside=np.exp(away), above=np.exp(np.log(rows[loss]) - floor))


def opened(rows: pd.DataFrame, variables: Sequence[str]) -> Floats:
    """What the bowl is linear in, (n, 2 + variables): x^2, x, and x times the log of each variable."""
    x = np.log(rows["rate"].to_numpy(dtype=np.float64))
    logs = [np.log(rows[name].to_numpy(dtype=np.float64) / REFERENCE[name]) for name in variables]
    return np.stack([x**2, x, *(x * log for log in logs)], axis=1)


def solved(inputs: Floats, losses: Floats, curves: Whole) -> tuple[Floats, float]:
    """Least squares: k, c and the powers, and the root mean square of what is left."""
    inside, wanted = centred(inputs, curves), centred(losses[:, None], curves)[:, 0]
    found = np.linalg.lstsq(inside, wanted, rcond=None)[0]
    error = float(np.sqrt(np.mean((wanted - inside @ found) ** 2)))
    return np.concatenate([found[:1], -found[1:] / (2 * found[0])]), error


def centred(values: Floats, curves: Whole) -> Floats:
    """Values (n, columns) less the mean of their curve."""
    members = (curves[:, None] == np.unique(curves)).astype(np.float64)  # (n, curves)
    mean: Floats = members @ (members.T @ values / members.sum(0)[:, None])
    return values - mean
