"""Parquet sets are read as they are stored, and what is missing is named."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsfm.data.datasets import data_folder as folder_named
from tsfm.data.datasets import data_path, load_series, read_parquet, sha256
from tsfm.errors import DataError, UnknownName

pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "eval" / "two.parquet"
    path.parent.mkdir()
    targets = [np.array([1.0, np.nan, 3.5], np.float32), np.array([7.0], np.float32)]
    starts = pd.to_datetime(["2024-01-01", "2020-02-29"])
    pd.DataFrame({"item_id": ["a", "b"], "start": starts, "freq": ["h", "W-SUN"], "target": targets}).to_parquet(path)
    monkeypatch.setenv("TSFM_DATA", str(tmp_path))
    return path


def test_series_come_as_stored_in_float64_with_nan_where_missing(stored: Path) -> None:
    first, second = load_series("two")
    np.testing.assert_array_equal(first.values, [1.0, np.nan, 3.5])
    assert first.values.dtype == np.float64
    assert (first.series_id, first.freq, first.start) == ("a", "h", pd.Timestamp("2024-01-01"))
    assert (len(first), len(second), second.freq) == (3, 1, "W-SUN")


def test_the_hash_is_that_of_the_bytes(stored: Path) -> None:
    assert sha256(stored) == hashlib.sha256(stored.read_bytes()).hexdigest()


def test_an_unset_folder_is_none_and_reading_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSFM_DATA", raising=False)
    assert folder_named() is None
    with pytest.raises(DataError, match=r"set TSFM_DATA to the folder that has eval/two\.parquet"):
        data_path("two")


def test_an_unknown_set_or_split_lists_what_there_is(stored: Path) -> None:
    with pytest.raises(UnknownName, match=r"no data set 'three'.*there are two"):
        load_series("three")
    with pytest.raises(UnknownName, match="eval, pretrain"):
        load_series("two", "test")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pd.DataFrame({"item_id": ["a"], "target": [[1.0]]}).to_parquet(path)
    with pytest.raises(DataError, match=r"bad\.parquet has no column start, freq"):
        read_parquet(path)
