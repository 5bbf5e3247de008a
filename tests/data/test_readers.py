"""Files become frames whatever their separator, and come back as the frame in them."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import give_back, to_panel
from tsfm.data.readers import read_table
from tsfm.errors import DataError

DAYS = pd.date_range("2024-01-01", periods=5, freq="D")
LONG = pd.DataFrame({"store": np.repeat(["a", "b"], 5), "date": [*DAYS] * 2, "sales": np.arange(10) / 4})


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "|"), ("a.csv.gz", ",")]
)
@pytest.mark.parametrize("as_text", [True, False])
def test_a_csv_of_any_separator_is_read_by_path_or_text(tmp_path, name, separator, as_text):
    file = tmp_path / name
    LONG.to_csv(file, index=False, sep=separator)
    panel = to_panel(str(file) if as_text else file)
    assert panel.ids == ["a", "b"]
    assert panel.values[1].tolist() == [1.25, 1.5, 1.75, 2.0, 2.25]
    made = give_back(panel, [np.zeros(1), np.ones(1)])
    assert made.columns.tolist() == ["store", "date", "sales"]
    assert made["date"].tolist() == [pd.Timestamp("2024-01-06")] * 2


def test_a_decimal_comma_is_read_as_one(tmp_path):
    LONG.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    assert to_panel(tmp_path / "a.csv").values[0].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_a_wide_csv_with_saved_row_numbers_is_read_without_them(tmp_path):
    pd.DataFrame({"date": DAYS, "a": 1.0, "b": 2.0}).to_csv(tmp_path / "a.csv")
    panel = to_panel(tmp_path / "a.csv")
    assert panel.ids == ["a", "b"]
    assert panel.season == [7, 7]


def test_a_wide_csv_whose_first_column_has_no_name_is_wide(tmp_path):
    pd.DataFrame({"a": 1.0, "b": 2.0}, index=DAYS).to_csv(tmp_path / "a.csv")
    assert to_panel(tmp_path / "a.csv").season == [7, 7]


def test_parquet_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    LONG.to_parquet(tmp_path / "a.parquet")
    assert to_panel(tmp_path / "a.parquet").ids == ["a", "b"]


def test_parquet_with_a_series_a_row_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"item_id": ["a", "b"], "start": ["2024-01-01"] * 2, "freq": "h", "target": [[1.0, 2.0], [3.0]]}
    )
    frame.to_parquet(tmp_path / "a.parquet")
    panel = to_panel(tmp_path / "a.parquet")
    assert panel.season == [24, 24]
    assert [values.tolist() for values in panel.values] == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "cannot be read as CSV"),
        ("a.xlsx", "x", "is no file that can be read; give a path that ends in .csv.*parquet.*tsf"),
        ("a.parquet", "x", "cannot be read as parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name}.*{words}"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["absent.csv", "absent.tsf", "absent.zip"])
def test_a_file_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(name):
    with pytest.raises(DataError, match=rf"no file '{name}'.*looked for in"):
        read_table(name)


def test_a_zip_of_one_csv_is_read_as_that(tmp_path):
    LONG.to_csv(tmp_path / "sales.zip", index=False, compression={"method": "zip", "archive_name": "sales.csv"})
    assert to_panel(tmp_path / "sales.zip").ids == ["a", "b"]


@pytest.mark.parametrize("content", ["2024-01-01,1\n2024-01-02,2\n", "1\n2\n3\n", "1.5,2\n3,4\n", "31.12.2023;5\n"])
def test_a_csv_without_names_never_loses_its_first_row(tmp_path, content):
    (tmp_path / "nameless.csv").write_text(content)
    with pytest.raises(DataError, match=r"nameless.csv.*holds values and no names.*ds,y"):
        read_table(tmp_path / "nameless.csv")


@pytest.mark.parametrize("content", ["0,1,2\n5,6,7\n", "2021,2022\n5,6\n", "0\n5\n", "date,0\n2024-01-01,5\n"])
def test_names_that_count_are_names(tmp_path, content):
    (tmp_path / "counted.csv").write_text(content)
    assert len(read_table(tmp_path / "counted.csv")) == 1


def test_a_csv_in_another_encoding_is_an_error_that_says_how_to_read_it(tmp_path):
    (tmp_path / "cyrillic.csv").write_bytes("\u0434\u0430\u0442\u0430,y\na,1\n".encode("cp1251"))
    with pytest.raises(DataError, match=r"cyrillic.csv.*UTF-8.*encoding="):
        read_table(tmp_path / "cyrillic.csv")
