"""Fit a scaling law: parameters, intervals, predictions, and how wrong it is about the largest rows it has not seen.

    fit(JOINT, frame, frame["loss"], groups=frame["run"], crossed=frame["milestone"])

What else an exponent hangs on is asked with other columns or rows: sizes that count embedding and head, rows without
the smallest milestone.

    fit(JOINT, frame.assign(active=frame["active"] + frame["ends"]), frame["loss"])
    later = frame[frame["milestone"] > frame["milestone"].min()]; fit(JOINT, later, later["loss"])

Intervals are quantiles over 200 refits to losses with new noise (`bootstrap.py`), each begun from the full fit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.scaling.bootstrap import resampled
from tsfm.scaling.descent import minimum, polish, problem_of
from tsfm.scaling.laws import Array, Columns, Law, positive

# R resamples, n rows, P parameters.

DELTA = 1e-3  # of the Huber loss of a residual of log loss
RESAMPLES = 200
LEVEL = 0.9
LEAST_SPAN = 3.0


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    theta       (P,) parameters as they are fitted, `resamples` (R, P) those of the bootstrap
    level       of the intervals
    rows        it was fitted to
    residuals   (n,) log of the loss measured less log of the law's
    """

    law: Law
    theta: Array
    resamples: Array
    level: float
    rows: int
    residuals: Array

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name, as they stand in the formula."""
        return dict(zip(self.law.names, map(float, self.law.values(self.theta)), strict=True))

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The interval of each parameter at the fit's level."""
        low, high = between(self.law.values(self.resamples), self.level)
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(self.law.names)}

    @property
    def error(self) -> float:
        """Root mean square of the residuals, about the relative error of a prediction inside the data."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    def predict(self, inputs: Columns) -> Array:
        """The loss (m,) at columns (m,)."""
        found: Array = self._at(self.theta[None], inputs)[0]
        return found

    def interval(self, inputs: Columns, level: float | None = None) -> tuple[Array, Array]:
        """Both ends (m,) of the law's interval at columns (m,): of the loss without the noise of a single run."""
        return between(self._at(self.resamples, inputs), self.level if level is None else level)

    def _at(self, theta: Array, inputs: Columns) -> Array:
        logs = [np.log(driver) for driver in self.law.read(inputs).values()]
        found: Array = np.exp(self.law.evaluate(theta, logs, slopes=False)[0])
        return found

    def __str__(self) -> str:
        return self.law.formula.format(**{name: f"{value:.4g}" for name, value in self.parameters.items()})


@dataclass(frozen=True)
class Extrapolation:
    """What a law fitted without the largest rows says of them.

    held        (n,) the rows left out
    predicted, low, high, measured   (m,) of those rows, the ends at the level asked for
    """

    fit: Fit
    held: NDArray[np.bool_]
    predicted: Array
    low: Array
    high: Array
    measured: Array

    @property
    def relative(self) -> Array:
        """Predicted over measured less one (m,)."""
        return self.predicted / self.measured - 1

    @property
    def error(self) -> float:
        """Mean absolute relative error."""
        return float(np.mean(np.abs(self.relative)))


def between(values: Array, level: float) -> tuple[Array, Array]:
    """Both ends of the middle `level` of values along the first axis."""
    if not 0 < level < 1:
        raise DataError(f"the level of an interval is inside (0, 1), got {level}; 0.9 is usual")
    if not len(values):
        raise DataError("this fit has no resamples, so it has no intervals; fit again with resamples=200")
    # The i-th of R values is taken for the quantile i / (R + 1), which a new value falls under as often as it says.
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return low, high


def fit(
    law: Law,
    inputs: Columns,
    loss: Any,
    *,
    groups: Any = None,
    crossed: Any = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    delta: float = DELTA,
    least_span: float = LEAST_SPAN,
) -> Fit:
    """Fit a law to rows.

    inputs      the law's columns (n,), a frame or a dict
    loss        (n,) positive
    groups      (n,) what shares noise, such as the trunk that checkpoints come from; without it rows are independent
    crossed     (n,) what else shares noise, across groups: the milestone, where all runs have read the same windows
    resamples   of the bootstrap; 0 leaves intervals out
    least_span  a driver's largest over its smallest value, at least: over less, an exponent is that of the noise

    Raise `DataError` where there are no more rows than parameters, a column is short, not positive or spans too little.
    """
    drivers, target = law.read(inputs), np.log(positive("loss", loss))
    check(law, drivers, len(target), least_span)
    groupings = [labels_of(given, len(target)) for given in (groups, crossed) if given is not None]
    order = np.lexsort((*groupings, target, *drivers.values()))  # sums and draws are not to depend on the order of rows
    logs, centre = [np.log(driver)[order] for driver in drivers.values()], target.mean()
    problem = problem_of(law, logs, target[order] - centre, delta)
    theta, _ = minimum(problem)
    refits = np.empty((0, len(theta)))
    if resamples:
        alike = [labels[order] for labels in groupings]
        targets = resampled(problem, theta, alike, resamples, np.random.default_rng(seed))
        refits, _ = polish(problem, np.tile(theta, (resamples, 1)), targets)
    residuals = np.empty(len(target))
    residuals[order] = problem.target - law.evaluate(theta[None], logs, slopes=False)[0][0]
    theta, refits = law.rescaled(theta, centre), law.rescaled(refits, centre)
    return Fit(law, theta, refits, level, len(target), residuals)


def check(law: Law, drivers: dict[str, Array], rows: int, least_span: float) -> None:
    """Raise `DataError` where rows cannot tell the law's parameters."""
    for name, driver in drivers.items():
        if len(driver) != rows:
            raise DataError(f"{name!r} has {len(driver)} rows and the loss {rows}; give one loss for every row")
    if rows <= len(law.names):
        raise DataError(
            f"the law {law.name!r} has {len(law.names)} parameters ({', '.join(law.names)}) and there are {rows} rows; "
            f"measure at least {len(law.names) + 1}, or fit a law with fewer"
        )
    for name, driver in drivers.items():
        span = driver.max() / driver.min()
        if span < least_span:
            raise DataError(
                f"{name!r} spans a factor of {span:.3g}, which tells no exponent; measure over a factor of "
                f"{least_span:g} at least, fit a law without it, or pass a smaller least_span"
            )


def labels_of(groups: Any, rows: int) -> NDArray[np.intp]:
    """Groups as numbers (n,), all one where none are given."""
    if groups is None:
        return np.zeros(rows, dtype=np.intp)
    given = np.asarray(groups)
    if given.shape != (rows,):
        raise DataError(f"groups has the shape {given.shape} and there are {rows} rows; give one label for every row")
    labels: NDArray[np.intp] = np.unique(given, return_inverse=True)[1]
    return labels


def leave_largest_out(
    law: Law,
    inputs: Columns,
    loss: Any,
    by: str,
    share: float = 0.25,
    *,
    groups: Any = None,
    crossed: Any = None,
    **options: Any,
) -> Extrapolation:
    """Fit without the rows that are largest in a column, at least a share of all, and predict them.

    by        a column of the inputs, which the law need not have
    options   of `fit`
    """
    if not 0 < share < 1:
        raise DataError(f"the share to leave out is inside (0, 1), got {share}; 0.25 leaves the largest quarter out")
    size, measured = positive(by, inputs[by]), positive("loss", loss)
    if len(size) != len(measured):
        raise DataError(f"{by!r} has {len(size)} rows and the loss {len(measured)}; give one loss for every row")
    # Rows of one size go together: half of them seen would give the other half away.
    held = size >= np.quantile(size, 1 - share, method="lower")
    columns = {name: np.asarray(inputs[name]) for name in law.columns}
    kept = {name: column[~held] for name, column in columns.items()}
    groups, crossed = (None if given is None else np.asarray(given)[~held] for given in (groups, crossed))
    fitted = fit(law, kept, measured[~held], groups=groups, crossed=crossed, **options)
    ahead = {name: column[held] for name, column in columns.items()}
    predicted = fitted.predict(ahead)
    low, high = fitted.interval(ahead) if len(fitted.resamples) else (predicted, predicted)
    return Extrapolation(fitted, held, predicted, low, high, measured[held])
