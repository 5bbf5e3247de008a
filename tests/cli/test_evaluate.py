"""`tsfm evaluate` prints a table a model, writes a CSV a model, and goes on where it stopped."""

from pathlib import Path

import pytest

from tsfm.cli.app import run
from tsfm.evaluation.results import read_csv


def test_two_models_are_measured_printed_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--suite", "quick", "--task", "airport_departures", "--out", str(tmp_path / "rows")]
    with pytest.raises(SystemExit) as stopped:
        run(["evaluate", "--model", "seasonal-naive", "--model", "naive", *options])
    assert not stopped.value.code
    printed = capsys.readouterr().out
    assert printed.count("airports/H/short") == 2 and "naive on quick, test windows" in printed
    rows = [read_csv(tmp_path / "rows" / f"quick_{name}.csv") for name in ("seasonal-naive", "naive")]
    assert [row["windows"] for (row,) in rows] == ["15", "15"]
    assert float(rows[0][0]["mase"]) < float(rows[1][0]["mase"])


def test_a_split_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        run(["evaluate", "--split", "train", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--split train is not known" in capsys.readouterr().err
