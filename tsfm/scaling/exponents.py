"""The exponents of a study in the ways in which they are usually told, side by side.

    line     loss = A / x^a: a straight line in logs, as Yao et al. 2025 fit
    offset   loss = E + A / x^a, to the same rows
    joint    loss = E + A / N^a + B / D^b, to all rows (Hoffmann et al. 2022, approach 3)

Laws of one variable take the rows where the other does not bind: sizes at the most points that all of them have read,
points of the largest size that has read the most, and for FLOP the rows that no other beats for as little.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfm.scaling.fitting import Fit, fit
from tsfm.scaling.laws import JOINT, power

VARIABLES = ("active", "points", "flops")


class Exponent(NamedTuple):
    """An exponent and its interval.

    E      irreducible loss and its interval, NaN where the form has none
    rows   it was fitted to
    error  root mean square of the log of measured over fitted
    """

    variable: str
    form: str
    exponent: float
    low: float
    high: float
    E: float
    E_low: float
    E_high: float
    rows: int
    error: float


def told(found: Fit, variable: str, form: str, name: str = "a") -> Exponent:
    """What a fit says of one exponent."""
    low, high = found.intervals[name]
    least = (np.nan, np.nan, np.nan)
    if found.law.offset:
        least = (found.parameters["E"], *found.intervals["E"])
    return Exponent(variable, form, found.parameters[name], low, high, *least, found.rows, found.error)


def rows_along(rows: pd.DataFrame, variable: str, loss: str) -> pd.DataFrame:
    """The rows of a study that tell how the loss falls with one variable."""
    if variable == "active":
        sizes = rows.groupby("milestone")["run"].nunique()
        chosen = rows["milestone"] == sizes.index[sizes == rows["run"].nunique()].max()
    elif variable == "points":
        farthest = rows[rows["milestone"] == rows["milestone"].max()]
        chosen = rows["run"] == farthest.loc[farthest["active"].idxmax(), "run"]
    else:
        least = rows.sort_values([variable, loss])[loss].cummin().shift(fill_value=np.inf)
        chosen = rows[loss] < least.reindex(rows.index)
    along: pd.DataFrame = rows.loc[chosen].sort_values(variable)
    return along


def fit_joint(rows: pd.DataFrame, loss: str, **options: Any) -> Fit:
    """JOINT of all rows, whose noise is shared by the checkpoints of a run and by the runs of a milestone."""
    return fit(JOINT, rows, rows[loss], groups=rows["run"], crossed=rows["milestone"], **options)


def exponents(rows: pd.DataFrame, loss: str, **options: Any) -> list[Exponent]:
    """Every exponent that rows of one kind of network tell.

    rows     of different sizes at several milestones, otherwise alike
    options  of `fit`
    """
    found = []
    for variable in VARIABLES:
        own = rows_along(rows, variable, loss)
        for form, offset in (("line", False), ("offset", True)):
            law = power(variable, offset)
            if len(own) > len(law.names):
                found.append(told(fit(law, own, own[loss], **options), variable, form))
    joint = fit_joint(rows, loss, **options)
    return [*found, told(joint, "active", "joint", "a"), told(joint, "points", "joint", "b")]
