"""`evaluation/leak_check.py` names evaluation series that stand in the pretraining sets, and finds what it planted."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from tsfm.checkpoints import embedded
from tsfm.data.datasets import sha256
from tsfm.data.fingerprints import gather, read
from tsfm.evaluation.results import read_csv
from tsfm.leaks import FILE

Load = Callable[[str], ModuleType]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$TSFM_DATA with a pretraining set of three series, and an evaluation set with a stretch of the second."""
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    series = np.random.default_rng(0).normal(size=(5, 900)).cumsum(1).astype(np.float32)
    store(tmp_path / "pretrain" / "old.parquet", {"one": series[0], "two": series[1], "three": series[2]})
    copy = (series[1][200:500] * np.float32(2.5) + np.float32(1)).astype(np.float32)
    store(tmp_path / "eval" / "new.parquet", {"copy": copy, "other": series[3], "young": series[4][:50]})
    monkeypatch.setenv("TSFM_DATA", str(tmp_path))
    return tmp_path


def store(path: Path, series: dict[str, np.ndarray]) -> None:
    path.parent.mkdir()
    frame = pd.DataFrame({"item_id": list(series), "start": pd.Timestamp("2024-01-01"), "freq": "h"})
    frame["target"] = list(series.values())
    frame.to_parquet(path)


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["leak_check.py", *options])
    return int(module.main())


def test_an_overlap_is_named_counted_and_stored(
    script: Load, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(script("leak_check"), monkeypatch, "--out", str(folder)) == 1
    printed = capsys.readouterr().out
    assert "pretraining sets: copy (" in printed and "in old: two" in printed
    assert "pretraining sets: 1 of 2 series seen (3 in all)" in printed
    rows = {row["against"]: row for row in read_csv(folder / "leak_check.csv")}
    assert set(rows) == {"pretraining sets", *embedded()}
    row = rows["pretraining sets"]
    assert (row["series"], row["checked"], row["too_short"], row["seen"]) == ("3", "2", "1", "1")
    assert row["data_sha256"] == sha256(folder / "eval" / "new.parquet")
    assert row["command"] and row["commit"]
    assert rows["moe-decoder-tiny"]["seen"] == "0"


def test_planted_copies_are_found_and_what_cannot_be_found_is_not(
    script: Load, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(script("leak_check"), monkeypatch, "--plant", "--out", str(folder)) == 0
    found = {row["copy"]: float(row["found"]) for row in read_csv(folder / "leak_check_planted.csv")}
    assert found["as it is"] == found["rescaled, level 3 deviations, a stretch of 200"] == 1
    assert found["mean of 4 steps"] == found["upside down"] == 0


def test_without_data_the_script_says_what_to_set(
    script: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TSFM_DATA", raising=False)
    assert call(script("leak_check"), monkeypatch) == 2
    assert "set TSFM_DATA to the folder" in capsys.readouterr().out


@pytest.mark.data
@pytest.mark.slow
def test_the_committed_fingerprints_are_those_of_the_pretraining_sets(
    script: Load, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    monkeypatch.setenv("TSFM_DATA", str(data_folder))
    module = script("leak_check")
    known = gather(module.values_of(module.sets_in("pretrain")[0]))
    committed = read(embedded()["moe-decoder-tiny"].parent / FILE)
    assert committed.sets == known.sets and committed.bits == known.bits
    assert len(np.intersect1d(committed.hashes, known.hashes)) > 0.9999 * len(known)  # a rounding may differ by machine
