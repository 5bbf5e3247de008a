"""Losses as they might have come out: the fitted law with new noise, of the kind that its residuals show.

Checkpoints of one trunk share noise, and so do runs at one milestone that have read the same windows in the same order.
Noise is normal in the log of the loss: a row's own and, for each grouping of rows, one that a group has in common
(random effects, crossed where there are two groupings). Their variances are not known, so every resample draws its
own: ratios to a row's own by the residuals' restricted likelihood (REML, Patterson and Thompson 1971) times the
reference prior of variances (Box and Tiao 1973, chapters 5 and 6), the size given the ratios as variance over
chi-square of n - P. That is a parametric bootstrap whose quantiles have the width of a t interval where rows, or
groups, are few.

Resamplings that assume less fall short at eight trunks. Rows drawn one by one ignore what a trunk shares. Trunks drawn
whole lose the smallest size in a third of the resamples, and what it says of the exponent. Signs drawn for whole trunks
(the wild bootstrap, Cameron, Gelbach and Miller 2008) are eight signs, of residuals that the fit has made small.
`evaluation/scaling_recovery.py` measures what this one covers.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tsfm.scaling.descent import Problem
from tsfm.scaling.laws import Array

# R resamples, n rows, P parameters, K groupings, G groups of all groupings, S ratios.

LARGEST = 100.0  # variance that a group has in common over a row's own, at most
STEPS = 40  # ratios of one grouping, from none to the largest
CROSSED_STEPS = 20  # of each of two


class Noise(NamedTuple):
    """What the residuals say of the noise.

    ratios    (S, K) variance common to a group over a row's own
    likely    (S,) how likely each is, in all one
    variance  (S,) a row's own that goes with it, of `freedom` degrees of freedom
    """

    ratios: Array
    likely: Array
    variance: Array
    freedom: int


def free_slopes(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """The law (n,) at the fit, and its derivatives (n, P) by the parameters that no bound holds."""
    found, slopes = problem.law.evaluate(theta[None], problem.logs)
    assert slopes is not None
    free = (theta > problem.low + 1e-9) & (theta < problem.high - 1e-9)
    return found[0], slopes[0][:, free]


def ratios_of(members: Sequence[Array]) -> Array:
    """Ratios (S, K) that are equally likely before anything is seen, of groups that have members (n, groups).

    The reference prior is even in the log of a group's mean square, 1 + (rows of a group) * ratio.
    """
    steps = STEPS if len(members) == 1 else CROSSED_STEPS
    rows = [len(member) / member.shape[1] for member in members]
    return np.array(list(product(*(np.expm1(np.linspace(0, np.log1p(n * LARGEST), steps)) / n for n in rows))))


def plausible_noise(slopes: Array, residuals: Array, members: Sequence[Array]) -> Noise:
    """How likely ratios of variances are, from residuals (n,) and the law's slopes (n, P); members (n, groups) are 1.

    The law is taken as straight around the fit: what residuals hold besides combinations of its slopes is noise.
    """
    size = np.linalg.norm(slopes, axis=0)
    left, singular, _ = np.linalg.svd(slopes / np.where(size > 0, size, 1.0), full_matrices=False)
    law = left[:, singular > 1e-10 * singular[0]]
    freedom = len(residuals) - law.shape[1]
    member = np.concatenate([np.empty((len(residuals), 0)), *members], 1)  # (n, G)
    beside_law, noise = member - law @ (law.T @ member), residuals - law @ (law.T @ residuals)
    ratios = ratios_of(members)
    # Sylvester and Woodbury: all that is needed of covariances (n, n) is known from matrices (G, G).
    spread = np.sqrt(np.repeat(ratios, [one.shape[1] for one in members], axis=1)) if members else ratios  # (S, G)
    inner = spread[:, :, None] * (member.T @ beside_law) * spread[:, None] + np.eye(member.shape[1])
    pulled = spread * (member.T @ noise)
    squares = noise @ noise - (pulled * np.linalg.solve(inner, pulled[..., None])[..., 0]).sum(1)
    variance = np.maximum(squares / freedom, 1e-24)
    score = -0.5 * np.linalg.slogdet(inner)[1] - 0.5 * freedom * np.log(variance)
    likely = np.exp(score - score.max())
    return Noise(ratios, likely / likely.sum(), variance, freedom)


def resampled(
    problem: Problem, theta: Array, groupings: Sequence[NDArray[np.intp]], resamples: int, random: Generator
) -> Array:
    """Logs of losses (R, n) around a fit (P,), rows of a group with what they share; groupings are labels (n,)."""
    found, slopes = free_slopes(problem, theta)
    members = [(labels[:, None] == np.unique(labels)).astype(float) for labels in groupings]
    members = [one for one in members if 1 < one.shape[1] < len(one)]  # else nothing tells it from a row's own
    noise = plausible_noise(slopes, problem.target - found, members)
    drawn = random.choice(len(noise.likely), resamples, p=noise.likely)
    size = np.sqrt(noise.variance[drawn] * noise.freedom / random.chisquare(noise.freedom, resamples))
    shocks = random.normal(size=(resamples, len(found)))
    for k, member in enumerate(members):
        shared = random.normal(size=(resamples, member.shape[1])) @ member.T
        shocks += np.sqrt(noise.ratios[drawn, k, None]) * shared
    again: Array = found + size[:, None] * shocks
    return again
