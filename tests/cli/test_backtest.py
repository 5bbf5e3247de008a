"""`tsfm backtest`: a table and a verdict in the terminal, and the files that it says it wrote."""

from pathlib import Path

import pandas as pd
import pytest

from tsfm.cli.app import run
from tsfm.demo import demo_path

QUICK = ["--horizon", "24", "--windows", "2", "--model", "naive"]


def leave(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    return int(stopped.value.code or 0)


def test_the_files_that_were_asked_for_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture, windows, forecasts = tmp_path / "out.png", tmp_path / "windows.csv", tmp_path / "forecasts.parquet"
    files = ["--plot", str(picture), "--out", str(windows), "--forecasts", str(forecasts)]
    assert leave("backtest", str(demo_path()), *QUICK, "--model", "drift", *files) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecasts.parquet", "out.png", "windows.csv"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    frame = pd.read_csv(windows)
    assert list(frame.columns[:3]) == ["model", "airport", "cutoff"]
    assert frame.groupby("model").size().to_dict() == {"drift": 6, "naive": 6, "seasonal-naive": 6}
    long = pd.read_parquet(forecasts)
    assert len(long) == 3 * 3 * 2 * 24
    assert long["hour"].max() == pd.Timestamp("2013-10-31 23:00")
    shown = capsys.readouterr().out
    for path in (picture, windows, forecasts):
        assert str(path) in shown


def test_the_table_and_the_verdict_are_shown(capsys: pytest.CaptureFixture[str]):
    assert leave("backtest", "--demo", *QUICK) == 0
    shown = capsys.readouterr().out
    for part in ("seasonal-naive", "all 6 windows of 3 series", "Too few windows for a verdict: 3 series"):
        assert part in shown


def test_a_narrow_terminal_breaks_names_and_never_a_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "60")
    assert leave("backtest", "--demo", *QUICK) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown and "in 80 %" in shown


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "--demo"),
        (["--demo", "data.csv"], "one thing"),
        (["nowhere.csv"], "nowhere.csv"),
        (["--demo", "--out", "table.xlsx"], ".parquet"),
        (["--demo", "--plot", "picture.bmp"], ".png"),
        (["--demo", "--windows", "0"], "windows=0"),
        (["--demo", "--model", "gpt"], "seasonal-naive"),
        (["--demo", "--horizon", "2000"], "shorter horizon"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert leave("backtest", *arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and named in shown
    assert list(tmp_path.iterdir()) == []
