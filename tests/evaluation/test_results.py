"""Result files are whole, and rows say what made them without naming a machine's folders."""

from pathlib import Path

import pytest

from tsfm.evaluation import results


def test_rows_come_back_as_text(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.csv"
    results.write_csv(path, [{"name": 'a,"b"', "value": 1 / 3}, {"name": "c", "value": 2}])
    assert results.read_csv(path) == [{"name": 'a,"b"', "value": "0.333333"}, {"name": "c", "value": "2"}]
    assert results.read_csv(tmp_path / "none.csv") == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    results.write_csv(path, [{"a": 1}])
    with pytest.raises(ValueError, match="b"):
        results.write_csv(path, [{"a": 1}, {"a": 2, "b": 3}])
    assert results.read_csv(path) == [{"a": "1"}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_the_command_names_no_folder_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inside = str(results.ROOT / "evaluation" / "score.py")
    monkeypatch.setattr("sys.argv", [inside, "--model", str(tmp_path / "my run"), "--out", "here.csv"])
    assert results.command() == "python evaluation/score.py --model 'my run' --out here.csv"


def test_what_made_a_row_is_known() -> None:
    made_by = results.origin()
    assert set(made_by) == {"command", "commit", "hardware", "versions"}
    assert "cores" in made_by["hardware"] and "torch " in made_by["versions"]
    assert all(made_by.values())
