"""GluonTS repositories are read without gluonts as gluonts reads them."""

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfm.data.formats.gluonts_repository import is_repository, read_repository
from tsfm.errors import DataError

ENTRY = {"start": "2014-09-07 00:00:00", "target": [1.0, "NaN", 3.5], "item_id": "a"}

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.just(np.nan)
targets = st.lists(st.lists(numbers, min_size=1, max_size=20), min_size=1, max_size=5)


def repository(folder: Path, *test: dict[str, Any], freq: str = "h") -> Path:
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "metadata.json").write_text(json.dumps({"freq": freq, "prediction_length": 2}))
    for split, entries in {"train": [ENTRY], "test": test}.items():
        (folder / split).mkdir()
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        (folder / split / "data.json.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


@pytest.fixture(scope="module")
def writer() -> Any:
    """GluonTS's own writer of JSON lines; on import gluonts warns that a faster json is not there."""
    pytest.importorskip("gluonts", reason="the comparison needs gluonts, the extra `gluonts`")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `json`-module")
        from gluonts.dataset.jsonl import JsonLinesWriter
    return JsonLinesWriter


@pytest.mark.parametrize("use_gzip", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize("freq", ["h", "30min", "D", "W-WED", "M", "Q", "Y"])
def test_what_gluonts_writes_is_read_as_gluonts_reads_it(tmp_path, read, writer, freq, use_gzip):
    from gluonts.dataset.common import MetaData, TrainDatasets, load_datasets

    start = pd.Period("2014-09-10 01:30", freq)
    whole = [np.r_[np.arange(5.0) + 0.1, np.nan, i] for i in range(3)]
    test = [{"start": start, "target": target, "item_id": f"i{i}"} for i, target in enumerate(whole)]
    train = [{**entry, "target": entry["target"][:-2]} for entry in test]
    metadata = MetaData(freq=freq, prediction_length=2)
    TrainDatasets(metadata, train, test).save(str(tmp_path / "made"), writer(use_gzip=use_gzip))
    assert is_repository(tmp_path / "made")

    found = read("gluonts", tmp_path / "made")
    theirs = list(load_datasets(tmp_path / "made", tmp_path / "made/train", tmp_path / "made/test").test)
    assert [one.series_id for one in found] == [entry["item_id"] for entry in theirs] == ["i0", "i1", "i2"]
    for one, entry, target in zip(found, theirs, whole, strict=True):
        np.testing.assert_array_equal(one.values, target)
        np.testing.assert_array_equal(one.values.astype(np.float32), entry["target"])
        assert pd.Period(one.start, freq) == entry["start"]
    assert len(read_repository(tmp_path / "made", "train")[0]) == 5


@given(targets)
@settings(max_examples=40, deadline=None)
def test_targets_are_read_back_to_the_last_bit(tmp_path_factory, writer, targets):
    folder = repository(tmp_path_factory.mktemp("made"))
    entries = [{"start": "2020-01-01", "target": np.array(target)} for target in targets]
    writer().write_to_folder(entries, folder / "test")
    for series, target in zip(read_repository(folder), targets, strict=True):
        np.testing.assert_array_equal(series.values, target)


def test_a_target_of_several_dimensions_is_a_series_each(tmp_path, read):
    folder = repository(tmp_path / "a", {**ENTRY, "target": [[1, 2, 3], [4, 5, None]]})
    first, second = read("gluonts", folder)
    assert (first.series_id, second.series_id) == ("a/0", "a/1")
    np.testing.assert_array_equal(second.values, [4, 5, np.nan])


def test_a_rolling_test_split_gives_the_longest_window_of_each_item(tmp_path, read):
    longer = [{**ENTRY, "target": list(range(length))} for length in (3, 5, 4)]
    (series,) = read("gluonts", repository(tmp_path / "a", *longer))
    assert len(series) == 5


def test_items_without_a_name_are_numbered(tmp_path, read):
    nameless = {"start": "2020-01-01", "target": [1, 2]}
    found = read("gluonts", repository(tmp_path / "a", nameless, nameless))
    assert [one.series_id for one in found] == ["0", "1"]


def test_the_files_of_a_repository_name_it_as_its_folder_does(tmp_path, read):
    folder = repository(tmp_path / "a", ENTRY)
    found = read("gluonts", folder / "metadata/metadata.json", folder / "test/data.json.gz")
    assert [one.series_id for one in found] == ["a"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"start": "2020-01-01"}, r"data.json.gz, line 1 has start; an entry needs start and target"),
        ({**ENTRY, "target": [1, "x"]}, "line 1: the target of series 'a' holds no plain numbers"),
        ({**ENTRY, "target": [[1, 2], [3]]}, "line 1: the target of series 'a' holds no plain numbers"),
        ({**ENTRY, "target": []}, r"line 1: the target of series 'a' has the shape \(0,\)"),
        ({**ENTRY, "target": [1, "Infinity"]}, "line 1: the target of series 'a' has an infinite value"),
        ({**ENTRY, "start": "soon"}, "line 1: the start 'soon' is no time"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_line(tmp_path, read, entry, words):
    with pytest.raises(DataError, match=words):
        read("gluonts", repository(tmp_path / "a", entry))


def test_a_folder_that_is_no_repository_or_holds_no_data_says_so(tmp_path, read):
    assert not is_repository(tmp_path)
    with pytest.raises(DataError, match=r"has no metadata.json"):
        read("gluonts", tmp_path)
    folder = repository(tmp_path / "a")
    (folder / "test" / "data.json.gz").unlink()
    with pytest.raises(DataError, match=r"test' has no .json"):
        read("gluonts", folder)
    (folder / "test" / "data.json").write_text("{not json}\n")
    with pytest.raises(DataError, match=r"data.json, line 1: .*one JSON object a line"):
        read("gluonts", folder)
    (folder / "test" / "data.json").rename(folder / "test" / "data.json.gz")
    with pytest.raises(DataError, match=r"data.json.gz' cannot be read.*fetch it again"):
        read("gluonts", folder)
