"""Fingerprints find copies however they were rescaled, shifted or cropped, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from tsfm.data import fingerprints
from tsfm.data.fingerprints import STRIDE, WINDOW, Fingerprints, gather, hash_rows, rounded, telling, windows_of
from tsfm.errors import DataError


def walk(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length).cumsum()


def found(series: np.ndarray, known: Fingerprints) -> list[int]:
    """Offsets of the windows of a series that are known."""
    return [offset for offsets, rows in windows_of(series) for offset in offsets[known.hold(hash_rows(rows))].tolist()]


def tells(window: np.ndarray) -> bool:
    rows, varied = rounded(np.asarray(window, dtype=np.float64)[None])
    return bool(varied.all() and telling(rows).all())


def test_a_copy_is_found_where_it_was_cut_on_every_sixteenth_window():
    series = walk(500)
    known = gather({"set": [series]}, bits=64)
    assert len(known) == len(range(0, 500 - WINDOW + 1, STRIDE))
    assert found(series[7:207], known) == [9, 25, 41, 57, 73, 89, 105, 121]


def test_rescaling_by_powers_of_two_keeps_every_hash_and_turning_upside_down_keeps_none():
    series = walk(300).astype(np.float32).astype(np.float64)
    known = gather({"set": [series]}, bits=64)
    for scale in (2.0**-20, 8.0, 2.0**30):
        assert len(found(scale * series, known)) == len(known)
    assert found(-series, known) == []


def test_a_rescaled_and_shifted_copy_in_float32_keeps_almost_all_its_windows():
    series = walk(4000)
    known = gather({"set": [series]}, bits=64)
    copy = (0.3048 * series + 17.0).astype(np.float32)
    assert len(found(copy, known)) > 0.9 * len(known)


def test_more_digits_than_float32_has_change_nothing():
    series = 1013.25 + 0.01 * walk(300)
    known = gather({"set": [series.astype(np.float32)]}, bits=64)
    assert len(found(series, known)) == len(known)


@pytest.mark.parametrize(
    "disguise", [lambda x: x.round(1), lambda x: x.round(3), lambda x: 1e3 + 1e-3 * x], ids=["0.1", "0.001", "lifted"]
)
def test_a_copy_that_lost_digits_is_not_found_as_the_docstring_says(disguise):
    series = np.random.default_rng(3).normal(size=1000)
    known = gather({"a": [series]})
    assert not any(known.hold(hash_rows(rows)).any() for _, rows in windows_of(disguise(series)))


def test_missing_values_are_left_out_on_both_sides():
    series = walk(400)
    gappy = np.insert(series, [10, 100, 101, 350], np.nan)
    known = gather({"set": [gappy]}, bits=64)
    assert len(known) == len(range(0, 400 - WINDOW + 1, STRIDE))
    assert found(series, known) == found(np.insert(series, range(0, 400, 5), np.nan), known) != []


def test_unrelated_series_share_no_window():
    known = gather({"walks": [walk(1000, seed) for seed in range(50)]}, bits=64)
    assert not any(found(walk(1000, seed), known) for seed in range(100, 110))


@pytest.mark.parametrize(
    "window",
    [
        np.full(64, 3.0),
        np.arange(64.0),
        np.arange(64.0) ** 2,
        np.arange(64) > 20,
        np.arange(64) % 20 == 0,
        np.abs(np.arange(64) - 30.0),
        np.tile([1, 5, 2, 8, 3, 3, 9], 10)[:64],
        np.sin(2 * np.pi * np.arange(64) / 24),
        np.random.default_rng(0).integers(0, 5, 64),
        1.02 ** np.arange(64),
    ],
    ids=["constant", "line", "parabola", "step", "spikes", "bend", "week", "sine", "few values", "growth"],
)
def test_windows_that_unrelated_series_share_are_not_telling(window: np.ndarray):
    assert not tells(window)


def test_ordinary_windows_are_telling():
    random = np.random.default_rng(1)
    assert tells(walk(64)) and tells(random.poisson(20, 64))
    assert tells(np.sin(np.arange(64) / 4) + 0.1 * random.normal(size=64))


@pytest.mark.filterwarnings("error")
def test_values_that_float32_cannot_hold_count_as_missing():
    series = np.concatenate([walk(64), [1e300, np.inf]])
    assert [len(offsets) for offsets, _ in windows_of(series)] == [1]
    assert list(windows_of(np.full(100, 1e300))) == []


def test_the_hash_is_the_same_on_every_machine():
    rows = (np.arange(3 * 64, dtype=np.int64) * 7919 % 15875 - 7937).astype(np.int16).reshape(3, 64)
    assert [f"{one:016x}" for one in hash_rows(rows).tolist()] == [
        "0bbb160256159b2e",
        "6b6976f3c53b368a",
        "0bd0660f1de86cbc",
    ]


@pytest.mark.parametrize(
    "sets", [{}, {"short": [walk(64)]}, {"b": [walk(5000, 1)], "a": [walk(3000, 2), walk(3000, 3)]}]
)
def test_a_file_gives_back_what_was_written_and_is_the_same_each_time(sets: dict, tmp_path: Path):
    known = gather(sets)
    path = fingerprints.write(known, tmp_path / "file")
    again = fingerprints.read(path)
    np.testing.assert_array_equal(again.hashes, known.hashes)
    assert (again.bits, again.sets) == (known.bits, known.sets) == (known.bits, tuple(sorted(sets)))
    assert fingerprints.write(again, tmp_path / "again").read_bytes() == path.read_bytes()
    assert path.stat().st_size <= fingerprints.bytes_of(len(known), known.bits)


def test_hashes_are_as_long_as_two_megabytes_allow():
    for size in (100, 100_000, 700_000):
        bits = fingerprints.bits_for(size)
        assert fingerprints.bytes_of(size, bits) <= 2e6
        assert bits == 60 or fingerprints.bytes_of(size, bits + 1) > 2e6
    assert size / 2**bits < 1e-6


def test_fewer_bits_find_no_less():
    series = walk(3000)
    assert found(series, gather({"set": [series]}, bits=36)) == found(series, gather({"set": [series]}, bits=64))


def test_a_file_that_is_something_else_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "other"
    path.write_bytes(b"not a file of tensors at all")
    with pytest.raises(DataError, match=r"other holds no fingerprints .* copy the model again"):
        fingerprints.read(path)
