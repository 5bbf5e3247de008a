"""`tsfm impute`: a file with gaps in, the same table without them out."""

import pandas as pd
import pytest
import torch

from tsfm import Forecaster
from tsfm.cli.app import run
from tsfm.demo import load_demo
from tsfm.models.visual_mae import PRESETS, VisualMAE

COLUMNS = ["--id", "airport", "--time", "hour", "--target", "departures"]


def leave(*arguments):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    return stopped.value.code


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    return str(Forecaster(VisualMAE(PRESETS["tiny"]).eval(), "tiny").save(tmp_path / "tiny"))


@pytest.fixture
def data(tmp_path):
    load_demo().head(300).drop(index=range(100, 130)).to_csv(tmp_path / "holes.csv", index=False)
    return str(tmp_path / "holes.csv")


def test_a_file_is_written_without_gaps_and_what_was_done_is_told(model, data, tmp_path, capsys):
    out, picture = tmp_path / "whole.csv", tmp_path / "whole.png"
    assert leave("impute", data, "--out", str(out), "--model", model, "--plot", str(picture), *COLUMNS) == 0
    written = pd.read_csv(out, parse_dates=["hour"])
    assert written[["airport", "hour"]].equals(load_demo().head(300)[["airport", "hour"]])
    assert written.departures.notna().all()
    assert picture.stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "30 steps filled in 1 of 1 series" in shown
    assert "30 missing steps of 'h' inserted" in shown


def test_levels_become_columns_beside_the_mark_of_what_was_filled(model, data, tmp_path):
    out = tmp_path / "whole.parquet"
    assert leave("impute", data, "--out", str(out), "--model", model, "--levels", "0.1,0.9", *COLUMNS) == 0
    written = pd.read_parquet(out)
    assert written.columns.tolist() == ["airport", "hour", "departures", "filled", "0.1", "0.9"]
    assert written.filled.sum() == 30


def test_the_input_is_never_overwritten(model, data, capsys):
    assert leave("impute", data, "--out", data, "--model", model, *COLUMNS) == 2
    assert "is the input file; choose another name" in capsys.readouterr().err


def test_several_columns_of_a_wide_file_are_named_one_by_one(model, tmp_path):
    frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=40), "a": 1.0 * (pd.RangeIndex(40) % 7), "b": 2.0})
    frame = frame.assign(b=frame.a + 1, note="calm", wind=1.5)
    frame.loc[[9, 10], ["a", "b", "wind"]] = None
    frame.to_csv(tmp_path / "wide.csv", index=False)
    named = ["--out", str(tmp_path / "whole.csv"), "--model", model, "--target", "a", "--target", "b"]
    assert leave("impute", str(tmp_path / "wide.csv"), *named) == 0
    gaps = pd.read_csv(tmp_path / "whole.csv").isna().sum()
    assert gaps.to_dict() == {"day": 0, "a": 0, "b": 0, "note": 0, "wind": 2}
