"""`tsfm finetune`: progress, a table, a verdict, a model for the other commands, and plain words for bad files."""

from pathlib import Path

import pandas as pd
import pytest
from finetuning.small import frame, small_base

from tsfm.cli.app import run
from tsfm.finetuning import run as runs


def leave(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    return int(stopped.value.code or 0)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small base in a folder, and short courses."""
    monkeypatch.setattr(runs, "MOST_STEPS", 20)
    return str(small_base().save(tmp_path / "base"))


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    frame(3, 160).to_csv(tmp_path / "sales.csv", index=False)
    return tmp_path / "sales.csv"


def test_a_csv_becomes_a_model_that_forecasts_and_a_report(base, sales, tmp_path, capsys):
    assert leave("finetune", str(sales), "--horizon", "8", "--base", base, "--method", "full", "--windows", "2") == 0
    shown = capsys.readouterr().out
    for part in ("step 20 of 20", "left", "Kept: ", "seasonal-naive", "zero-shot", "sales-model", "report.md"):
        assert part in shown
    model = tmp_path / "sales-model"
    assert {"config.json", "report.json", "report.md", "report.png"} <= {path.name for path in model.iterdir()}
    assert leave("forecast", str(sales), "--horizon", "8", "--model", str(model), "--out", str(tmp_path / "f.csv")) == 0
    assert len(pd.read_csv(tmp_path / "f.csv")) == 24


def test_covariates_are_named_by_options(base, sales, capsys):
    data = pd.read_csv(sales)
    data["promotion"] = [float(row % 7 == 0) for row in range(len(data))]
    data["y"] += 5 * data["promotion"]
    data.to_csv(sales, index=False)
    options = ["--horizon", "8", "--base", base, "--method", "head", "--windows", "2", "--future", "promotion"]
    assert leave("finetune", str(sales), *options) == 0
    assert "Covariates (promotion) save" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("unique_id,ds,y\n", "no rows"),
        ("unique_id,ds,y\n" + "".join(f"a,2024-01-0{day},{day}\n" for day in range(1, 5)), "needs at least 5"),
        ("unique_id,ds,y\n" + "".join(f"a,2024-01-0{day},high\n" for day in range(1, 7)), "high"),
    ],
)
def test_a_file_that_cannot_be_used_ends_in_one_plain_sentence(base, tmp_path, capsys, content, said):
    bad = tmp_path / "bad.csv"
    bad.write_text(content)
    assert leave("finetune", str(bad), "--horizon", "8", "--base", base) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith("error: ") and said in shown
    assert not (tmp_path / "bad-model").exists()


def test_the_input_is_never_overwritten(base, sales, capsys):
    assert leave("finetune", str(sales), "--horizon", "8", "--out", str(sales)) == 2
    assert "is the input file" in " ".join(capsys.readouterr().err.split())
