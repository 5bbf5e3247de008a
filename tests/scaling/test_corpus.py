"""A corpus is a pure function of its seed, goes on where it stopped, and keeps what it is tested on apart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tsfm.data.fingerprints import gather
from tsfm.errors import DataError
from tsfm.leaks import look
from tsfm.scaling.corpus import CorpusConfig, CorpusWindows, families, make_corpus, open_corpus, training_and_held
from tsfm.scaling.difficulty import spectral_entropy

CONFIG = CorpusConfig(windows=40, context=128, patch=16, shard=16, exam=8, real_share=0.0)


def silent(line: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "made", CONFIG, report=silent)


@pytest.fixture
def real_folder(tmp_path):
    """Two sets of forty random walks, of which the last of each set repeats the first."""
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    random = np.random.default_rng(0)
    for name in ("north", "south"):
        walks = list(random.normal(size=(40, 300)).cumsum(1).astype(np.float32))
        walks[-1] = walks[0]
        frame = pd.DataFrame({"item_id": [f"{i}" for i in range(40)], "start": pd.Timestamp("2024-01-01"), "freq": "h"})
        frame["target"] = walks
        frame.to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def test_a_corpus_is_a_pure_function_of_its_seed(corpus, tmp_path):
    again = make_corpus(tmp_path / "again", CONFIG, report=silent)
    other = make_corpus(tmp_path / "other", replace(CONFIG, seed=12), report=silent)
    every = np.arange(CONFIG.windows)
    np.testing.assert_array_equal(again.rows(every), corpus.rows(every))
    assert not np.array_equal(other.rows(every), corpus.rows(every), equal_nan=True)


def test_a_corpus_goes_on_where_it_stopped(corpus, tmp_path):
    folder = tmp_path / "cut"
    make_corpus(folder, CONFIG, report=silent)
    (folder / "train-00001.npy").unlink()
    with pytest.raises(DataError, match="lacks 1 of 3 shards"):
        open_corpus(folder)
    told = []
    mended = make_corpus(folder, CONFIG, report=told.append)
    assert told == ["shard 2 of 3"]
    np.testing.assert_array_equal(mended.rows(np.arange(40)), corpus.rows(np.arange(40)))


def test_a_folder_with_another_corpus_is_refused(corpus):
    with pytest.raises(DataError, match="another corpus"):
        make_corpus(corpus.folder, replace(CONFIG, windows=48), report=silent)


def test_no_synthetic_window_comes_twice(corpus):
    rows = np.nan_to_num(np.concatenate([corpus.rows(np.arange(CONFIG.windows)), corpus.exam]))
    assert len(np.unique(rows.round(4), axis=0)) == len(rows)


def test_held_out_series_share_no_stretch_with_the_training_ones(real_folder):
    train, held = training_and_held(real_folder)
    known = gather(train)
    assert sum(map(len, held.values())) >= 1
    assert sum(map(len, train.values())) + sum(map(len, held.values())) <= 80
    assert all(look(0, series, known).verdict == "no" for group in held.values() for series in group)


def test_a_window_knows_where_it_comes_from(real_folder, tmp_path):
    corpus = make_corpus(tmp_path / "mixed", replace(CONFIG, real_share=0.5), real_folder, report=silent)
    assert (corpus.origin[:16] >= len(families())).sum() == 8
    assert corpus.origins[len(families()) :] == ("north", "south")
    assert corpus.exam_is_real.sum() == 4


def test_a_corpus_is_not_made_of_two_versions_of_its_real_sets(real_folder, tmp_path):
    config, folder = replace(CONFIG, real_share=0.5), tmp_path / "mixed"
    make_corpus(folder, config, real_folder, report=silent)
    before = (folder / "real.json").read_text()
    (folder / "real.json").unlink()  # made before there was such a file
    make_corpus(folder, config, real_folder, report=silent)
    assert (folder / "real.json").read_text() == before
    frame = pd.read_parquet(real_folder / "south.parquet")
    frame.iloc[1:].to_parquet(real_folder / "south.parquet")
    (folder / "train-00001.npy").unlink()
    with pytest.raises(DataError, match=r"made of other real sets than those in .*, which differ in south;"):
        make_corpus(folder, config, real_folder, report=silent)


def test_series_that_teach_nothing_are_left_out_without_a_warning(real_folder):
    def counted():
        return sum(len(group) for sets in training_and_held(real_folder) for group in sets.values())

    before, frame = counted(), pd.read_parquet(real_folder / "south.parquet")
    rising = np.arange(300.0)
    odd = [np.where(rising < 200, rising, np.inf), np.where(rising < 10, rising, np.nan), np.ones(300)]
    more = frame.iloc[:3].assign(item_id=["inf", "nan", "flat"], target=[one.astype(np.float32) for one in odd])
    pd.concat([frame, more]).to_parquet(real_folder / "south.parquet")
    assert counted() == before


def test_a_step_reads_the_corpus_in_order_and_later_epochs_anew(corpus):
    windows = CorpusWindows(corpus, np.arange(0, 12), batch=4)
    first = np.concatenate([windows.draw(step)[0].flatten(1) for step in range(3)])
    second = np.concatenate([windows.draw(step)[0].flatten(1) for step in range(3, 6)])
    np.testing.assert_array_equal(first, np.nan_to_num(corpus.rows(np.arange(12))))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first.sum(1)), np.sort(second.sum(1)))


def test_seeds_read_the_same_windows_first_unless_shuffled(corpus):
    first = {
        (seed, shuffled): CorpusWindows(corpus, np.arange(40), 8, seed, shuffled).draw(0)[0]
        for seed in (1, 2)
        for shuffled in (False, True)
    }
    assert torch.equal(first[1, False], first[2, False])
    assert not torch.equal(first[1, True], first[2, True])
    assert not torch.equal(first[1, True], first[1, False])


def test_a_step_across_two_epochs_depends_on_its_number_alone(corpus):
    fresh, used = (CorpusWindows(corpus, np.arange(10), batch=4) for _ in range(2))
    for step in range(9):
        used.draw(step)
    np.testing.assert_array_equal(fresh.draw(2)[0], used.draw(2)[0])


def test_noise_is_harder_than_a_sine_and_gaps_do_not_matter():
    steps = np.arange(512)
    sine = np.sin(steps / 5)
    noise = np.random.default_rng(0).normal(size=512)
    gaps = np.where(steps < 60, np.nan, sine)
    ease = spectral_entropy(np.stack([sine, gaps, sine + 0.5 * noise, noise]).astype(np.float32))
    assert ease[0] < ease[2] < ease[3]
    assert ease[1] < 0.5 * ease[2]
    assert ease.min() >= 0
    assert ease.max() <= 1
