"""Which windows a run keeps: of a pool, by difficulty or at random, and by a share of real ones."""

from dataclasses import replace

import numpy as np
import pytest

from tsfm.errors import DataError
from tsfm.scaling.corpus import CorpusConfig, make_corpus
from tsfm.scaling.difficulty import difficulty, kept_windows
from tsfm.scaling.plan import Plan, check

CONFIG = CorpusConfig(windows=128, context=128, patch=16, shard=64, exam=32, real_share=0.0)
PLAN = Plan("test", "w16", width=16, depth=1, heads=2, batch=64, milestones=(8192,))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), CONFIG, report=lambda line: None)


def test_pruning_keeps_the_share_that_is_asked_for(corpus):
    hard, easy, random = (
        kept_windows(replace(PLAN, keep=keep, share=0.25, pool=8192), corpus)
        for keep in ("hardest", "easiest", "random")
    )
    assert len(hard) == len(easy) == len(random) == 16
    measured = difficulty(corpus, "spectral")
    assert measured[hard].min() >= measured[easy].max()
    assert max(hard.max(), easy.max(), random.max()) < 64
    for kept in (hard, easy, random):
        assert np.isfinite(corpus.rows(kept)).mean(1).min() >= 0.5
    assert np.isfinite(corpus.rows(np.arange(64))).mean(1).min() < 0.5
    assert (np.diff(random) > 0).all()
    with pytest.raises(DataError, match="make it smaller"):
        kept_windows(replace(PLAN, pool=10**9), corpus)
    with pytest.raises(DataError, match="make the share smaller"):
        kept_windows(replace(PLAN, keep="random", share=0.99), corpus)
    with pytest.raises(DataError, match="no reference model yet"):
        kept_windows(replace(PLAN, keep="hardest", share=0.5, difficulty="reference"), corpus)


def test_a_share_of_one_keeps_all_that_is_observed_well_enough(corpus):
    kept = kept_windows(replace(PLAN, keep="random", share=1.0), corpus)
    observed = np.isfinite(corpus.rows(np.arange(CONFIG.windows))).mean(1)
    assert set(kept) == set(np.flatnonzero(observed >= 0.5))


def test_seeds_draw_other_random_windows_and_name_the_same_hard_ones(corpus):
    random, hard = (
        [kept_windows(replace(PLAN, keep=keep, share=0.25, seed=seed), corpus).tolist() for seed in (0, 0, 1)]
        for keep in ("random", "hardest")
    )
    assert random[0] == random[1] != random[2]
    assert hard[0] == hard[1] == hard[2]


@pytest.fixture
def mixed(corpus):
    """The corpus as if every fourth window came from a real set."""
    found = replace(corpus)
    vars(found)["origin"] = np.where(np.arange(CONFIG.windows) % 4 == 0, 10_000, 0)
    assert found.is_real.mean() == 0.25
    return found


def test_pruning_leaves_the_share_of_real_windows_as_it_is(mixed):
    for keep in ("hardest", "easiest", "random"):
        kept = kept_windows(replace(PLAN, keep=keep, share=0.25), mixed)
        assert mixed.is_real[kept].sum() == 8
        assert len(kept) == 32


@pytest.mark.parametrize("share, windows", [(0.0, 96), (0.1, 106), (0.25, 128), (0.5, 64), (1.0, 32)])
def test_another_share_of_real_windows_takes_all_of_one_kind_and_some_of_the_other_evenly(mixed, share, windows):
    kept = kept_windows(replace(PLAN, real=share), mixed)
    assert abs(len(kept) - windows) <= 1 and len(set(kept)) == len(kept)
    assert mixed.is_real[kept].mean() == pytest.approx(share, abs=0.01)
    for kind in (True, False):
        places = kept[mixed.is_real[kept] == kind]
        if len(places) > 1:
            assert np.diff(places).max() - np.diff(places).min() <= 8  # evenly, in the corpus' order
    with pytest.raises(DataError, match="a share of 0 to 1"):
        check(replace(PLAN, real=share + 1.5, milestones=(1,)), "here")
