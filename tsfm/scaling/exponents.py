"""The exponents of a study in the ways in which they are usually told, side by side.

    line     loss = A / x^a: a straight line in logs, as Yao et al. 2025 fit
    offset   loss = E + A / x^a, to the same rows
    joint    loss = E + A / N^a + B / D^b, to all rows (Hoffmann et al. 2022, approach 3)

Laws of one variable take the rows where the other does not bind: sizes at the most points that all of them have read,
points of the largest size that has read the most (checkpoints of one run, so that their interval holds no difference
between runs), and for FLOP the rows that no other beats for as little. These are minima over noisy rows, a little low,
chosen once and not in every resample: a description, where the joint form and its frontier are estimates.

No interval holds that a law is wrong. Where losses fall by jumps, fits with and without the earliest milestones
differ by more than their intervals say, and both are to be shown.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfm.errors import DataError
from tsfm.scaling.fitting import Fit, fit
from tsfm.scaling.laws import JOINT, Law, power

VARIABLES = ("active", "points", "flops")
SPARE = 2  # rows beyond a law's parameters, at least


class Exponent(NamedTuple):
    """An exponent and its interval.

    at          what is fixed: the milestone of sizes, the size of points
    level       of the intervals
    E           irreducible loss and its interval, NaN where the form has none
    identified  whether the interval stays clear of the bounds of the fit, and that of E of zero
    rows        it was fitted to
    error       root mean square of the log of measured over fitted
    """

    variable: str
    form: str
    at: str
    exponent: float
    low: float
    high: float
    level: float
    E: float
    E_low: float
    E_high: float
    identified: bool
    rows: int
    error: float


def within_bounds(found: Fit, name: str) -> bool:
    """Whether the interval of a shape stays clear of the bounds between which it was sought."""
    low, high = found.intervals[name]
    bounds = next(shape for shape in found.law.shapes if shape.name == name)
    return low > 1.05 * bounds.low and high < 0.95 * bounds.high


def told(found: Fit, variable: str, form: str, at: str = "", name: str = "a") -> Exponent:
    """What a fit says of one exponent."""
    low, high = found.intervals[name]
    clear = within_bounds(found, name)
    least = (np.nan, np.nan, np.nan)
    if found.law.offset:
        least = (found.parameters["E"], *found.intervals["E"])
        clear = clear and least[1] > 0.05 * least[0]
    value = found.parameters[name]
    return Exponent(variable, form, at, value, low, high, found.level, *least, clear, found.rows, found.error)


def rows_along(rows: pd.DataFrame, variable: str, loss: str) -> tuple[pd.DataFrame, str]:
    """The rows of a study that tell how the loss falls with one variable, and what is fixed in them."""
    if variable == "active":
        sizes = rows.groupby("milestone")["run"].nunique()
        chosen = rows["milestone"] == sizes.index[sizes == rows["run"].nunique()].max()
        at = f"{rows.loc[chosen, 'points'].median() / 1e6:.0f}M points"
    elif variable == "points":
        farthest = rows[rows["milestone"] == rows["milestone"].max()]
        largest = farthest.loc[farthest["active"].idxmax()]
        chosen, at = rows["run"] == largest["run"], f"{largest['active'] / 1e3:.0f}k parameters"
    else:
        least = rows.sort_values([variable, loss])[loss].cummin().shift(fill_value=np.inf)
        chosen, at = rows[loss] < least.reindex(rows.index), ""
    along: pd.DataFrame = rows.loc[chosen].sort_values(variable)
    return along, at


def fit_rows(law: Law, rows: pd.DataFrame, loss: str, **options: Any) -> Fit:
    """A law of rows whose noise is shared by the checkpoints of a run and by the runs of a milestone."""
    return fit(law, rows, rows[loss], groups=rows["run"], crossed=rows["milestone"], **options)


def exponents(rows: pd.DataFrame, loss: str, **options: Any) -> list[Exponent]:
    """Every exponent that rows of one kind of network tell; those of too few rows are left out.

    rows     of different sizes at several milestones, otherwise alike
    options  of `fit`
    """
    if rows.empty:
        raise DataError("there are no rows to tell exponents; run this part of the study first")
    found = []
    for variable in VARIABLES:
        own, at = rows_along(rows, variable, loss)
        for form, offset in (("line", False), ("offset", True)):
            law = power(variable, offset)
            if len(own) >= len(law.names) + SPARE:
                found.append(told(fit_rows(law, own, loss, **options), variable, form, at))
    joint = fit_rows(JOINT, rows, loss, **options)
    return [*found, told(joint, "active", "joint", name="a"), told(joint, "points", "joint", name="b")]
