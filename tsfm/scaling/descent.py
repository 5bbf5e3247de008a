"""The least Huber loss of a law's residuals: a grid of starts, L-BFGS from the best, Gauss-Newton to the bottom.

Hoffmann et al. 2022 minimise the Huber loss (delta 1e-3) of log-loss residuals by L-BFGS from a grid. Besiroglu et al.
2024 found that their optimiser stopped early, because the loss was averaged over rows instead of summed, which puts
gradients under the tolerance. So here the loss is a sum, in float64; L-BFGS runs in coordinates in which the start's
curvature is one in every direction (E, A and a are nearly exchangeable, which is what stops it); and Gauss-Newton steps
on the weighted squares that bound the Huber loss from above follow until nothing is gained. The same steps refit all
resamples of a bootstrap at once.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from tsfm.errors import MissingDependency
from tsfm.scaling.laws import Array, Law

# R problems solved at once, n rows, P parameters, T terms.

STARTS = 8  # of the grid that L-BFGS begins from
ROUNDS = 400  # of Gauss-Newton, at most
GAIN = 1e-10  # of the loss, under which a round counts as none


@dataclass(frozen=True)
class Problem:
    """A law, the logs of its drivers (n,) each and of the losses (n,), and what parameters are kept between (P,)."""

    law: Law
    logs: list[Array]
    target: Array
    delta: float
    low: Array
    high: Array


def problem_of(law: Law, logs: list[Array], target: Array, delta: float) -> Problem:
    """The problem with its bounds: a break stays inside the span of its driver, E is not negative."""
    count = len(law.coefficients)
    low, high = np.full(len(law.names), -np.inf), np.full(len(law.names), np.inf)
    if law.offset:
        low[0], high[0] = 0.0, np.exp(target.max())
    for i, shape in enumerate(law.shapes, count):
        ends = np.array([shape.low, shape.high])
        if shape.placed:
            low[i], high[i] = logs[0].min(), logs[0].max()
        else:
            low[i], high[i] = ends if shape.signed else np.log(ends)
    return Problem(law, logs, target, delta, low, high)


def huber(residual: Array, delta: float) -> Array:
    """Sum over rows of residuals (R, n), in units of delta squared."""
    size = np.abs(residual) / delta
    total: Array = np.where(size <= 1, 0.5 * size**2, size - 0.5).sum(-1)
    return total


def value_and_slope(problem: Problem, theta: Array) -> tuple[float, Array]:
    """Loss at (P,) and its gradient (P,)."""
    found, slopes = problem.law.evaluate(theta[None], problem.logs)
    residual = found[0] - problem.target
    assert slopes is not None
    pull = np.clip(residual / problem.delta, -1, 1) / problem.delta
    return float(huber(residual, problem.delta)), pull @ slopes[0]


def starts(problem: Problem) -> Array:
    """Parameters (S, P) of the grid: shapes as the law lists them, coefficients by non-negative least squares."""
    try:
        from scipy.optimize import nnls
    except ImportError as missing:
        raise MissingDependency("fitting a law needs SciPy: pip install 'tsfm-forecast[scaling]'") from missing
    law, logs = problem.law, problem.logs
    choices = []
    for shape in law.shapes:
        span = logs[0].min() + np.array(shape.starts) * np.ptp(logs[0])
        plain = np.exp(span) if shape.placed else np.array(shape.starts)
        choices.append(plain)
    grid = np.array(list(product(*choices)))  # (S, shapes)
    terms = [log for log, _ in law.terms(grid, logs)]
    if law.offset:
        terms = [np.zeros_like(terms[0]), *terms]
    heights = [log.max(1) for log in terms]  # (S,) each; terms are solved for with their largest value one
    basis = np.exp(np.stack([log - top[:, None] for log, top in zip(terms, heights, strict=True)], 2))  # (S, n, T)
    basis *= np.exp(-problem.target)[None, :, None]  # residuals relative to the loss
    ones = np.ones(len(problem.target))
    solved = np.array([nnls(one, ones)[0] for one in basis]).clip(1e-4 * np.exp(problem.target.min()))
    coefficients = np.where(law.signed[: solved.shape[1]], solved, np.log(solved) - np.stack(heights, 1))
    signed = law.signed[len(law.coefficients) :]
    shapes = np.where(signed, grid, np.log(np.where(signed, 1.0, grid)))
    return np.concatenate([coefficients, shapes], 1).clip(problem.low, problem.high)


def descend(problem: Problem, theta: Array) -> Array:
    """Where L-BFGS comes from a start (P,)."""
    from scipy.optimize import minimize

    _, slopes = problem.law.evaluate(theta[None], problem.logs)
    assert slopes is not None
    curvature = slopes[0].T @ slopes[0] / problem.delta**2
    curvature += np.diag(1e-6 * np.diag(curvature) + 1e-9)
    axes = np.linalg.inv(np.linalg.cholesky(curvature)).T  # theta = start + axes @ z

    def loss(z: Array) -> tuple[float, Array]:
        there = theta + axes @ z
        kept = there.clip(problem.low, problem.high)
        value, slope = value_and_slope(problem, kept)
        return value, axes.T @ np.where(there == kept, slope, 0.0)

    options = {"maxfun": 150, "ftol": 1e-12, "gtol": 1e-9, "maxcor": 2 * len(theta)}
    done = minimize(loss, np.zeros_like(theta), jac=True, method="L-BFGS-B", options=options)
    found: Array = (theta + axes @ done.x).clip(problem.low, problem.high)
    return found


def polish(problem: Problem, theta: Array, targets: Array | None = None, rounds: int = ROUNDS) -> tuple[Array, Array]:
    """Parameters (R, P) after Gauss-Newton steps from (R, P), and their losses (R,); targets (R, n), or the problem's.

    A step is taken where it lowers the loss; how far it leans towards steepest descent is each problem's own.
    """
    targets = np.broadcast_to(problem.target, (len(theta), len(problem.target))) if targets is None else targets
    best, P = theta.copy(), theta.shape[1]
    losses = np.empty(len(theta))
    lean = np.full(len(theta), 1e-3)
    left = np.arange(len(theta))  # problems that still gain
    found, slopes = problem.law.evaluate(best, problem.logs)
    losses = huber(found - targets, problem.delta)
    still = np.zeros(len(theta), dtype=int)
    for _ in range(rounds):
        assert slopes is not None
        residual = found - targets[left]
        weight = np.minimum(1.0, problem.delta / np.maximum(np.abs(residual), 1e-300))[..., None]
        weighted = (slopes * weight).swapaxes(1, 2)  # (R, P, n)
        slope = (weighted @ residual[..., None])[..., 0]
        here = best[left]
        free = ~(((here <= problem.low) & (slope > 0)) | ((here >= problem.high) & (slope < 0)))
        curvature = weighted @ slopes * (free[:, :, None] & free[:, None, :])
        diagonal = np.diagonal(curvature, axis1=1, axis2=2)
        damped = curvature + np.eye(P) * (lean[left, None] * diagonal + 1e-12 + ~free)[:, :, None]
        step = -np.linalg.solve(damped, (slope * free)[..., None])[..., 0]
        step *= np.minimum(1.0, 1.0 / np.maximum(np.abs(step).max(1, keepdims=True), 1e-300))
        tried = (here + step).clip(problem.low, problem.high)
        new_found, new_slopes = problem.law.evaluate(tried, problem.logs)
        assert new_slopes is not None
        new = huber(new_found - targets[left], problem.delta)
        better = new < losses[left]
        gained = losses[left] - new > GAIN * losses[left]
        still[left] = np.where(gained, 0, still[left] + 1)
        best[left[better]], losses[left[better]] = tried[better], new[better]
        lean[left] = np.clip(np.where(better, lean[left] / 4, lean[left] * 8), 1e-12, 1e8)
        found = np.where(better[:, None], new_found, found)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        going = still[left] < 12
        left, found, slopes = left[going], found[going], slopes[going]
        if not len(left):
            break
    return best, losses


def minimum(problem: Problem, count: int = STARTS) -> tuple[Array, float]:
    """Parameters (P,) of the least loss found, and that loss."""
    grid = starts(problem)
    found, _ = problem.law.evaluate(grid, problem.logs, slopes=False)
    order = np.argsort(huber(found - problem.target, problem.delta), kind="stable")[:count]
    ends, losses = polish(problem, np.array([descend(problem, theta) for theta in grid[order]]))
    least = int(np.argmin(losses))
    return ends[least], float(losses[least])
