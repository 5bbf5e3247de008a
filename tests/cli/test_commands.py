"""The command line: one line in, a table, a picture and a file out; a failure is one sentence and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tsfm.cli.app import run
from tsfm.demo import demo_path

COLUMNS = ["--id", "airport", "--time", "hour", "--target", "departures"]
BASELINE = ["--model", "seasonal-naive"]


def leave(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    return int(stopped.value.code or 0)


def test_importing_the_command_loads_neither_typer_nor_torch():
    program = "import sys, tsfm.cli; print(sorted({'typer', 'rich', 'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_neither_torch_nor_pandas():
    program = (
        "import sys\nfrom tsfm.cli import app\nprint(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert leave("--help") == 0
    shown = capsys.readouterr().out
    for command in ("forecast", "check", "models", "doctor", "synth"):
        assert command in shown


def test_a_csv_file_becomes_a_table_a_picture_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture, table = tmp_path / "out.png", tmp_path / "forecast.csv"
    options = ["--horizon", "24", "--plot", str(picture), "--out", str(table), *BASELINE, *COLUMNS]
    assert leave("forecast", str(demo_path()), *options) == 0
    frame = pd.read_csv(table)
    assert list(frame.columns[:3]) == ["airport", "hour", "0.1"]
    assert len(frame) == 72
    assert frame.notna().all(axis=None)
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "JFK" in shown and "seasonal-naive" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast.csv", "out.png"]


def test_offline_nothing_is_fetched(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(pytest.importorskip("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("TSFM_OFFLINE", raising=False)
    assert leave("forecast", "--demo", "--model", "time-moe-50m", "--offline") == 2
    assert "forbids downloads" in " ".join(capsys.readouterr().err.split())


def test_the_columns_of_a_long_file_are_found_by_themselves(tmp_path: Path):
    table = tmp_path / "forecast.parquet"
    assert leave("forecast", str(demo_path()), "--horizon", "3", "--out", str(table), *BASELINE) == 0
    frame = pd.read_parquet(table)
    assert frame.airport.tolist() == ["EWR"] * 3 + ["JFK"] * 3 + ["LGA"] * 3
    assert frame.hour.iloc[0] == pd.Timestamp("2013-11-01 00:00")


def test_the_demo_is_forecast_with_a_usual_horizon(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = tmp_path / "forecast.csv"
    assert leave("forecast", "--demo", "--out", str(table), "--levels", "0.05,0.5,0.95", *BASELINE) == 0
    frame = pd.read_csv(table)
    assert len(frame) == 3 * 48
    assert {"0.05", "0.5", "0.95"} <= set(frame.columns)
    assert "horizon = 48" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_wide_table_is_written_with_its_times(tmp_path: Path, ending: str):
    table = tmp_path / f"forecast.{ending}"
    assert leave("forecast", "--demo", "--horizon", "3", "--layout", "wide", "--out", str(table), *BASELINE) == 0
    frame = pd.read_csv(table, parse_dates=["hour"]) if ending == "csv" else pd.read_parquet(table)
    assert frame.hour.iloc[0] == pd.Timestamp("2013-11-01 00:00")
    assert {"EWR_0.5", "JFK_mean"} <= set(frame.columns)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["forecast"], "--demo"),
        (["forecast", "--demo", "data.csv"], "one thing"),
        (["forecast", "nowhere.csv", *BASELINE], "nowhere.csv"),
        (["forecast", "--demo", "--out", "table.xlsx"], ".parquet"),
        (["forecast", "--demo", "--plot", "picture.bmp"], ".png"),
        (["forecast", "--demo", "--out", "nowhere/table.csv"], "no folder"),
        (["forecast", "--demo", "--levels", "0.1,half"], "half"),
        (["forecast", "--demo", "--levels", "1.5", *BASELINE], "1.5"),
        (["forecast", "--demo", "--horizon", "0", *BASELINE], "horizon"),
        (["forecast", "--demo", "--model", "gpt"], "seasonal-naive"),
        (["forecast", "--demo", "--layout", "diagonal", "--out", "table.csv", *BASELINE], "diagonal"),
        (["forecast", "--demo", "--layout", "diagonal", *BASELINE], "diagonal"),
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
    assert leave(*arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and named in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_the_input_file_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tmp_path / "data.csv"
    data.write_bytes(demo_path().read_bytes())
    assert leave("forecast", str(data), "--out", str(data)) == 2
    assert "is the input file" in capsys.readouterr().err
    assert data.read_bytes() == demo_path().read_bytes()


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="one thing"):
        run(["forecast", "--debug"])


def test_check_names_what_is_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tmp_path / "damaged.csv"
    pd.read_csv(demo_path()).drop(index=range(100, 130)).to_csv(data, index=False)
    assert leave("check", str(data), *COLUMNS) == 0
    shown = capsys.readouterr().out
    assert "EWR" in shown and "30" in shown


def test_check_leaves_with_1_where_nothing_can_be_forecast(capsys: pytest.CaptureFixture[str]):
    assert leave("check", "nowhere.csv") == 1
    assert "nowhere.csv" in capsys.readouterr().out


def test_models_lists_the_baselines(capsys: pytest.CaptureFixture[str]):
    assert leave("models") == 0
    assert "seasonal-naive" in capsys.readouterr().out


def test_doctor_says_which_path_runs_and_why(capsys: pytest.CaptureFixture[str]):
    assert leave("doctor") == 0
    shown = capsys.readouterr().out
    for what in ("python", "torch", "device", "precision", "statsforecast", "fev"):
        assert what in shown


@pytest.mark.slow
def test_synth_draws_a_page(tmp_path: Path):
    page = tmp_path / "page.png"
    assert leave("synth", "--plot", str(page), "--seed", "3") == 0
    assert page.read_bytes().startswith(b"\x89PNG")
