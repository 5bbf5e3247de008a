"""`evaluation/score.py` scores what it is asked to and stores it with what made it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tsfm.data.datasets import data_path, sha256
from tsfm.errors import UnknownName
from tsfm.evaluation.protocol import load_suite
from tsfm.evaluation.results import read_csv

Load = Callable[[str], ModuleType]


def test_the_first_twelve_sets_have_a_short_term_in_the_suite(script: Load) -> None:
    score = script("score")
    assert len(score.chosen(load_suite(), score.FIRST_TWELVE, ["short"])) == len(score.FIRST_TWELVE) == 12


def test_an_unknown_set_is_refused_with_those_there_are(script: Load) -> None:
    with pytest.raises(UnknownName, match=r"no set ett9.*m4_hourly"):
        script("score").chosen(load_suite(), ["ett9", "m4_hourly"], ["short"])


@pytest.mark.data
def test_a_baseline_is_scored_printed_and_stored(
    script: Load,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    monkeypatch.setenv("TSFM_DATA", str(data_folder))
    out = tmp_path / "rows.csv"
    options = ["--model", "seasonal-naive", "--split", "test", "--sets", "saugeen_m", "ett1_w", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["score.py", *options])
    assert script("score").main() == 0
    printed = capsys.readouterr().out
    assert "saugeen/M/short" in printed and "all: 2 configurations, MASE 1.0000" in printed
    rows = read_csv(out)
    assert [row["configuration"] for row in rows] == ["ett1/W/short", "saugeen/M/short"]
    assert rows[1]["data_sha256"] == sha256(data_path("saugeen_m"))
    assert rows[1]["windows"] == "7" and float(rows[1]["mase_ratio"]) == pytest.approx(1, rel=1e-5)
    assert all(rows[1][name] for name in ("model", "weights", "commit", "command", "seed", "hardware", "seconds"))


def test_an_unknown_model_ends_with_its_reason(
    script: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["score.py", "--model", "no-such-model"])
    assert script("score").main() == 1
    assert "no-such-model" in capsys.readouterr().out
