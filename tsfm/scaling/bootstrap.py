"""Losses as they might have come out: the fitted law with new noise, of the kind that its residuals show.

Checkpoints of one trunk share noise. Noise is normal in the log of the loss, a share of its variance common to a group.
Share and size are not known, so every resample draws its own: the share by the residuals' restricted likelihood (REML,
Patterson and Thompson 1971) times the reference prior of two variances (Box and Tiao 1973, chapter 5), the size given
the share as variance over chi-square of n - P. That is a parametric bootstrap whose quantiles have the width of a t
interval where rows are few; with shares drawn evenly instead, intervals are too short where trunks share most.

Resamplings that assume less fall short at eight trunks. Rows drawn one by one ignore what a trunk shares. Trunks drawn
whole lose the smallest size in a third of the resamples, and what it says of the exponent. Signs drawn for whole trunks
(the wild bootstrap, Cameron, Gelbach and Miller 2008) are eight signs, of residuals that the fit has made small.
`evaluation/scaling_recovery.py` measures what this one covers.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tsfm.scaling.descent import Problem
from tsfm.scaling.laws import Array

# R resamples, n rows, P parameters, G groups.

SHARES = np.linspace(0.0, 0.975, 40)  # of the variance that a group has in common


def free_slopes(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """The law (n,) at the fit, and its derivatives (n, P) by the parameters that no bound holds."""
    found, slopes = problem.law.evaluate(theta[None], problem.logs)
    assert slopes is not None
    free = (theta > problem.low + 1e-9) & (theta < problem.high - 1e-9)
    return found[0], slopes[0][:, free]


def plausible_noise(slopes: Array, residuals: Array, groups: NDArray[np.intp]) -> tuple[Array, Array, int]:
    """How likely each of `SHARES` is (S,), the variance that goes with it (S,), and its degrees of freedom.

    The law is taken as straight around the fit: what residuals hold besides combinations of its slopes is noise.
    """
    size = np.linalg.norm(slopes, axis=0)
    left, singular, _ = np.linalg.svd(slopes / np.where(size > 0, size, 1.0))
    rank = int((singular > 1e-10 * singular[0]).sum())
    contrasts = left[:, rank:]
    member = (groups[:, None] == np.unique(groups)).astype(float)
    common = contrasts.T @ member  # (n - P, G)
    shared, rotation = np.linalg.eigh(common @ common.T)
    seen = (rotation.T @ contrasts.T @ residuals) ** 2
    freedom = len(seen)
    # In one direction of the contrasts the variance is 1 - share + share * (its part of the groups' sums).
    parts = 1 + SHARES[:, None] * (shared - 1)  # (S, n - P)
    parts = np.maximum(parts, 1e-9)
    variance = np.maximum((seen / parts).mean(1), 1e-24)
    score = -0.5 * np.log(parts).sum(1) - 0.5 * freedom * np.log(variance)
    per_group = len(groups) / member.shape[1]
    likely = np.exp(score - score.max()) / ((1 - SHARES) * (SHARES + (1 - SHARES) / per_group))
    if member.shape[1] == len(groups):  # every row its own group: nothing is shared
        likely = (SHARES == 0).astype(float)
    return likely / likely.sum(), variance, freedom


def resampled(problem: Problem, theta: Array, groups: NDArray[np.intp], resamples: int, random: Generator) -> Array:
    """Logs of losses (R, n) around a fit (P,), rows of a group (n,) with what they share."""
    found, slopes = free_slopes(problem, theta)
    likely, variance, freedom = plausible_noise(slopes, problem.target - found, groups)
    drawn = random.choice(len(SHARES), resamples, p=likely)
    size = np.sqrt(variance[drawn] * freedom / random.chisquare(freedom, resamples))
    common = random.normal(size=(resamples, groups.max() + 1))[:, groups]
    own = random.normal(size=(resamples, len(groups)))
    share = SHARES[drawn, None]
    noise: Array = size[:, None] * (np.sqrt(share) * common + np.sqrt(1 - share) * own)
    return found + noise
