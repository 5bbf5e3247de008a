"""How hard a window is to forecast, and which windows of a pool a run keeps.

Two measures, both low for easy windows:
spectral   entropy of the window's spectrum between 0 (one sine) and 1 (white noise), as in Goerg 2013 ("Forecastable
           component analysis"): of the series itself, known before any training
reference  loss of a small model that was trained on the corpus: what a model of that size could not learn. It is an
           oracle: that model has seen the whole corpus, of which a run that prunes a pool sees a small part, so what
           it gains is a bound on what such a measure could give, at a price that the run's own does not count
Sorscher et al. 2022 ("Beyond neural scaling laws") found that keeping hard examples pays where there are many, and
easy ones where there are few.

Only windows of which half was observed are chosen from, at random too: a tenth of all have hardly a step to learn from,
and those look hard to the first measure and easy to the second, so that shares would differ in what they teach. A share
is kept of the real windows and of the synthetic ones each: real series are seldom the easiest, and the test is to be
of difficulty and not of the mix.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.scaling.corpus import Corpus, save
from tsfm.scaling.measure import next_patch_losses
from tsfm.scaling.plan import Plan

# B windows, L steps of a window, U kept windows.

CHUNK = 512
LEAST_OBSERVED = 0.5  # of a window's steps
TAPER = 0.54  # Hamming, so that a trend does not look like a broad spectrum


def spectral_entropy(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy of the spectrum of each window over that of white noise; values (B, L), NaN where missing -> (B,)."""
    steps = np.arange(values.shape[1])
    taper = TAPER - (1 - TAPER) * np.cos(2 * np.pi * steps / (len(steps) - 1))
    observed = ~np.isnan(values)
    count = np.maximum(observed.sum(1, keepdims=True), 1)
    mean = np.where(observed, values, 0).sum(1, keepdims=True) / count
    power = np.abs(np.fft.rfft(np.where(observed, values - mean, 0) * taper, axis=1)[:, 1:]) ** 2
    share = power / np.maximum(power.sum(1, keepdims=True), 1e-12)
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(1)
    return np.asarray(entropy / np.log(share.shape[1]), dtype=np.float32)


class Reference(NamedTuple):
    """A trained model whose losses say what is hard, and the name of its run."""

    name: str
    model: MoEDecoder


def asks_reference(plan: Plan) -> bool:
    """Whether a run cannot start before there is a reference."""
    return plan.keep in ("hardest", "easiest") and plan.difficulty == "reference"


def difficulty(corpus: Corpus, measure: str, reference: Reference | None = None) -> NDArray[np.float32]:
    """Difficulty of every training window (n,), made once and kept beside the corpus."""
    whose = f"-{reference.name}" if measure == "reference" and reference else ""
    path = corpus.folder / f"difficulty-{measure}{whose}.npy"
    if path.exists():
        found: NDArray[np.float32] = np.load(path)
        return found
    parts = []
    for first in range(0, corpus.config.windows, CHUNK):
        rows = corpus.rows(np.arange(first, min(first + CHUNK, corpus.config.windows)))
        if measure == "spectral":
            parts.append(spectral_entropy(rows))
        else:
            if reference is None:
                raise DataError("no reference model yet; name one as `reference` of the study, and run it first")
            parts.append(next_patch_losses(reference.model, rows))
    made = np.concatenate(parts)
    save(path, made)
    return made


def well_observed(corpus: Corpus) -> NDArray[np.bool_]:
    """Training windows (n,) that hold enough to learn from, found once and kept beside the corpus."""
    path = corpus.folder / "observed.npy"
    if not path.exists():
        shares = [(~np.isnan(shard)).mean(1, dtype=np.float32) for shard in corpus.shards]
        save(path, np.concatenate(shares)[: corpus.config.windows])
    return np.asarray(np.load(path) >= LEAST_OBSERVED)


def kept_windows(plan: Plan, corpus: Corpus, reference: Reference | None = None) -> NDArray[np.int64]:
    """Numbers of the windows that a run draws from, in the corpus' order."""
    pool = corpus.config.windows if plan.pool == 0 else max(1, round(plan.pool / corpus.config.context))
    if pool > corpus.config.windows:
        there = corpus.config.windows * corpus.config.context
        raise DataError(
            f"run {plan.name}: a pool of {plan.pool:,} points, and the corpus has {there:,}; make it smaller"
        )
    if plan.keep == "all":
        return np.arange(pool) if plan.real is None else mixed(corpus.is_real[:pool], plan.real)
    observed, real = well_observed(corpus)[:pool], corpus.is_real[:pool]
    chosen = [
        kept_of(plan, corpus, np.flatnonzero(observed & (real == one)), (real == one).sum(), reference)
        for one in (False, True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def mixed(is_real: NDArray[np.bool_], share: float) -> NDArray[np.int64]:
    """Numbers of as many windows as have this share of real ones, those of either kind evenly out of all of it."""
    kinds = (np.flatnonzero(is_real), share), (np.flatnonzero(~is_real), 1 - share)
    count = min(len(there) / part for there, part in kinds if part)
    chosen = [there[np.linspace(0, len(there) - 1, int(count * part)).astype(np.int64)] for there, part in kinds]
    return np.sort(np.concatenate(chosen))


def kept_of(
    plan: Plan, corpus: Corpus, eligible: NDArray[np.int64], pool: int, reference: Reference | None
) -> NDArray[np.int64]:
    """The part of eligible windows that a run keeps of a pool of so many; a share of 1 keeps all of them."""
    kept = len(eligible) if plan.share == 1 else round(pool * plan.share)
    if kept > len(eligible):
        raise DataError(
            f"run {plan.name}: {kept:,} of {pool:,} windows are to be kept, and {len(eligible):,} are observed well "
            f"enough to be chosen from; make the share smaller than {len(eligible) / pool:.2f}"
        )
    if plan.keep == "random":
        found: NDArray[np.int64] = np.random.default_rng((corpus.config.seed, plan.seed)).permutation(eligible)[:kept]
        return found
    by_ease = eligible[np.argsort(difficulty(corpus, plan.difficulty, reference)[eligible], kind="stable")]
    return by_ease[:kept] if plan.keep == "easiest" else by_ease[len(by_ease) - kept :]
