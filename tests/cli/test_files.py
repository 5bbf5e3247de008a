"""A file that a command writes appears whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from tsfm.cli.files import write_atomically, write_table
from tsfm.cli.tables import decimals_for, forecast_table, shown_levels
from tsfm.errors import DataError


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(target: Path) -> None:
        target.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_comes_back_as_it_was_written(ending: str, tmp_path: Path):
    frame = pd.DataFrame({"id": ["a", "b"], "0.5": [1.5, 2.5]})
    path = tmp_path / f"table{ending}"
    write_table(frame, path)
    found = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(found, frame)


def test_the_table_shows_a_screen_and_says_how_much_is_left():
    times = pd.date_range("2024-01-01", periods=100, freq="h")
    frame = pd.concat(
        pd.DataFrame({"shop": name, "ds": times, "0.1": 1.0, "0.5": 2.0, "0.9": 3.0}) for name in range(20)
    )
    table = forecast_table(frame, (0.1, 0.5, 0.9))
    assert 24 <= table.row_count <= 40
    cells = [str(cell) for column in table.columns for cell in column.cells]
    assert "… 12 more series" in cells
    assert "… 97 more" in cells


def test_the_levels_shown_are_the_ends_and_the_middle():
    assert shown_levels((0.9, 0.1, 0.4, 0.6, 0.5)) == [0.1, 0.5, 0.9]
    assert shown_levels((0.5,)) == [0.5]


@pytest.mark.parametrize("largest, decimals", [(12345.0, 0), (38.0, 2), (0.00123, 6), (0.0, 2), (float("inf"), 2)])
def test_numbers_show_four_significant_digits(largest: float, decimals: int):
    assert decimals_for(largest) == decimals
