"""`tsfm train`: a table of errors, a folder that loads again, and plain words for what cannot be done."""

import json

import numpy as np
import pandas as pd
import pytest

from tsfm.cli.app import run
from tsfm.training.fit import load_fitted


def leave(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    return int(stopped.value.code or 0)


@pytest.fixture
def waves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = np.arange(300)
    values = np.sin(2 * np.pi * steps[:, None] / 24 + np.arange(2)) + 0.1 * np.random.default_rng(0).normal(
        size=(300, 2)
    )
    stamps = pd.date_range("2024-01-01", periods=300, freq="h")
    pd.DataFrame(values, stamps, columns=["north", "south"]).to_csv("waves.csv", index_label="time")
    return tmp_path / "waves.csv"


QUICK = ("--horizon", "6", "--context", "24", "--epochs", "2")


def test_a_csv_becomes_a_table_of_errors_and_a_model_that_forecasts(waves, tmp_path, capsys):
    assert leave("train", "--model", "dlinear", "--data", "waves.csv", *QUICK) == 0
    shown = capsys.readouterr().out
    for part in ("epoch 2 of 2", "left", "MSE", "seasonal naive", "55 windows of 2 variates", "dlinear-waves-6"):
        assert part in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dlinear-waves-6", "waves.csv"]
    options = ("--model", "dlinear-waves-6", "--out", "next.csv")
    assert leave("forecast", "waves.csv", *options) == 0
    assert "fitted on waves.csv" in capsys.readouterr().out
    found, wanted = pd.read_csv("next.csv", parse_dates=["time"]), load_fitted("dlinear-waves-6").forecast(waves)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    assert list(found.columns) == ["time", "north", "south"]
    assert found["time"].tolist() == list(pd.date_range("2024-01-13 12:00", periods=6, freq="h"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--horizon", "7"), "horizon=7 is more than the 6 steps"),
        (("--levels", "0.1"), "forecasts points"),
        (("--target", "north"), "missing in the data: ['south']"),
    ],
)
def test_what_a_fitted_model_cannot_forecast_is_said(waves, capsys, more, said):
    assert leave("train", "--model", "dlinear", "--data", "waves.csv", *QUICK, "--out", "model") == 0
    assert leave("forecast", "waves.csv", "--model", "model", *more) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_options_of_the_architecture_and_of_the_fit_are_taken(waves, tmp_path):
    options = (
        "--option",
        "cycle=12",
        "--option",
        "backbone=mlp",
        "--option",
        "width=8",
        "--rate",
        "0.02",
        "--seed",
        "3",
    )
    assert leave("train", "--model", "cyclenet", "--data", "waves.csv", *QUICK, *options, "--out", "model") == 0
    told = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (told["config"]["cycle"], told["config"]["backbone"], told["config"]["width"]) == (12, "mlp", 8)
    assert (told["fit"]["rate"], told["fit"]["seed"], told["fit"]["epochs"]) == (0.02, 3, 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--model", "dlinaer"), "no architecture named 'dlinaer'; there are cyclenet, dlinear"),
        (("--option", "cycle"), "write a field and its value, such as cycle=168"),
        (("--option", "wdth=3"), "no option wdth; its options are individual"),
        (("--data", "ETTx"), "ETTx"),
        (("--context", "400"), "no room for a context of 400"),
        (("--out", "waves.csv"), "is the input file"),
        (("--out", "full"), "give --out a new or an empty one"),
    ],
)
def test_what_cannot_be_done_ends_in_one_plain_sentence(waves, tmp_path, capsys, more, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    assert leave("train", "--model", "dlinear", "--data", "waves.csv", *QUICK, *more) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith("error: ") and said in shown
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_columns_that_are_no_variates_stay_out_where_targets_are_named(waves, tmp_path, capsys):
    pd.read_csv(waves).assign(note="calm", wind=1.5).to_csv("beside.csv", index=False)
    assert leave("train", "--model", "dlinear", "--data", "beside.csv", *QUICK) != 0
    assert "name it with target=" in capsys.readouterr().err
    named = ("--target", "south", "--target", "north")
    assert leave("train", "--model", "dlinear", "--data", "beside.csv", *QUICK, *named, "--out", "model") == 0
    assert "55 windows of 2 variates" in capsys.readouterr().out
    assert leave("forecast", "beside.csv", "--model", "model", "--out", "next.csv") == 0
    assert list(pd.read_csv("next.csv").columns) == ["time", "south", "north"]
