"""Bad tables: each ends in one plain message, or is read as it is meant, with every change told."""

import gzip

import numpy as np
import pandas as pd
import pytest
from bad_tables import DAYS, X, comma, panel_of, table, told

import tsfm
from tsfm.data import memory
from tsfm.data.adapters import to_panel
from tsfm.data.packed import unpacked_size
from tsfm.data.readers import EXACT, read_csv
from tsfm.data.sniffing import HEAD, Dialect, head_cells, sniff
from tsfm.errors import DataError


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", ":", "~", "  ", " "])
def test_every_separator_gives_the_same_series(tmp_path, mark):
    panel = panel_of(tmp_path, table(mark))
    assert panel.ids == ["sales"]
    assert panel.values[0].tolist() == X
    assert ("separator" in told(panel)) == (mark not in ",;\t|")


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep=;", '"sep=;"'])
def test_line_ends_and_the_line_that_excel_writes_change_nothing(tmp_path, line, first):
    panel = panel_of(tmp_path, (first + line if first else "") + table(";", line=line))
    assert panel.values[0].tolist() == X
    assert told(panel) == {}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_every_encoding_of_excel_is_read(tmp_path, encoding):
    panel = panel_of(tmp_path, table("\t", names=("date", "Ums\u00e4tze")).encode(encoding))
    assert panel.ids == ["Ums\u00e4tze"]
    assert panel.values[0].tolist() == X
    assert ("encoding" in told(panel)) == (encoding != "utf-8-sig")


def test_an_accent_far_below_the_head_is_read_as_well(tmp_path):
    rows = "".join(f"a,{step},{step}\n" for step in range(40_000)) + "caf\u00e9,1,1\ncaf\u00e9,2,2\n"
    assert len(rows) > HEAD
    panel = panel_of(tmp_path, ("id,time,y\n" + rows).encode("cp1252"))
    assert panel.ids == ["a", "caf\u00e9"]
    assert "Windows-1252" in told(panel)["encoding"]


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ("Total,480\n", "Total"),
        ("\nSum:,480\n", "Sum:"),
        (",480\n", "480"),
        ("Source: the ministry,\n", "Source: the ministry"),
        ("Total,480\nAverage,24\n", "Average"),
    ],
)
def test_totals_and_notes_at_the_end_are_left_out_and_told(tmp_path, end, kept):
    panel = panel_of(tmp_path, table() + end)
    assert panel.values[0].tolist() == X
    assert kept in told(panel)["footer"]


def test_a_series_that_is_called_total_is_a_series(tmp_path):
    rows = "".join(f"{store},{day},{step}\n" for store in ("a", "Total") for step, day in enumerate(DAYS))
    panel = panel_of(tmp_path, "store,date,sales\n" + rows)
    assert panel.ids == ["a", "Total"]
    assert "footer" not in told(panel)
    assert panel_of(tmp_path, "store,date,sales\n" + rows + "Total,,380\n").ids == ["a", "Total"]


@pytest.mark.parametrize("names", [("date", "sales"), ("date", "sales", "")])
def test_separators_at_the_ends_of_lines_make_no_column(tmp_path, names):
    panel = panel_of(tmp_path, table(names=names, end=","))
    assert panel.ids == ["sales"]
    assert panel.values[0].tolist() == X
    assert "empty column" in told(panel)["empty columns"]


def test_lines_of_names_between_the_rows_are_left_out_and_told(tmp_path):
    rows = [f"{day},{x}\n" for day, x in zip(DAYS, X, strict=True)]
    panel = panel_of(tmp_path, "date,sales\n" + "".join(rows[:7]) + "date,sales\n" + "".join(rows[7:]))
    assert panel.values[0].tolist() == X
    assert "first: row 7" in told(panel)["repeated names"]


def test_lines_above_the_names_are_left_out_and_told(tmp_path):
    panel = panel_of(tmp_path, "Sales report 2024\nall shops\n\n" + table())
    assert panel.values[0].tolist() == X
    assert "'Sales report 2024'" in told(panel)["preamble"]


def test_repeated_rows_are_dropped_and_contradicting_ones_refused(tmp_path):
    assert "duplicates" in told(panel_of(tmp_path, table() + f"{DAYS[-1]},{X[-1]}\n"))
    with pytest.raises(DataError, match=r"'sales' has different values at the same time 2024-01-20.*aggregate"):
        panel_of(tmp_path, table() + f"{DAYS[-1]},99\n")


def test_the_smallest_tables_are_series(tmp_path):
    assert panel_of(tmp_path, "y\n1\n2\n3\n").values[0].tolist() == [1, 2, 3]
    assert panel_of(tmp_path, "date,y\n2024-01-01,5\n").values[0].tolist() == [5]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"empty \(0 bytes\)"),
        ("\n \n\r\n", "blank lines only"),
        ("date,sales\n", r"a line of names \(date, sales\) and no rows"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel workbook"),
        (b"PAR1rest", "parquet"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "gzip"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ('[{"date": "2024-01-01", "y": 1}]', "JSON"),
        (b"\0" * 100, "zero bytes"),
        ("\u0434\u0430\u0442\u0430,y\n1,2\n".encode("cp1251"), "not text in UTF-8"),
        (table() + "2024-01-21,3,4,5\n", "line 22 has 4 fields"),
        (table().replace("2024-01-05", '"2024-01-05'), "quotation mark in row 5 is never closed"),
    ],
)
def test_what_is_no_table_is_an_error_that_names_the_file_and_what_it_is(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"sales.csv'.*{words}"):
        panel_of(tmp_path, content)


def test_folders_and_workbooks_are_refused_with_the_way_on(tmp_path):
    (tmp_path / "a.csv").write_text(table())
    with pytest.raises(DataError, match=r"is a folder; give the path of one file in it, such as 'a.csv'"):
        to_panel(tmp_path)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"a.xlsx.*save the sheet as CSV"):
        to_panel(tmp_path / "a.xlsx")


def test_a_file_too_large_for_the_memory_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "large.csv"
    with file.open("wb") as stream:
        stream.write(table().encode() * 1000)
        stream.truncate(2 * memory.GIB)
    dialect = Dialect()
    with pytest.raises(
        DataError, match=r"large.csv' is 2.0 GiB of text and needs about \d+\.\d GiB.*1.0 GiB are free.*p"
    ):
        memory.refuse_too_large(file, dialect, left=memory.GIB)
    memory.refuse_too_large(file, dialect, left=100 * memory.GIB)
    assert unpacked_size(file) == 2 * memory.GIB


def test_the_memory_needed_grows_with_the_size_and_with_new_words(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(table())
    rows, line = head_cells(file, sniff(file))
    assert memory.need(2 * memory.GIB, rows, line) == pytest.approx(2 * memory.need(memory.GIB, rows, line))
    same = [["2024-01-01", number] for _, number in rows]
    assert memory.need(memory.GIB, same, line) < 0.6 * memory.need(memory.GIB, rows, line)


def test_a_column_named_as_id_keeps_its_words(tmp_path):
    rows = "".join(f'"{shop}",{day},{step}\n' for shop in ("1,001", "1,002") for step, day in enumerate(DAYS))
    panel = panel_of(tmp_path, "shop,date,sales\n" + rows, id="shop")
    assert panel.ids == ["1,001", "1,002"]


def test_an_ordinary_table_is_read_as_pandas_reads_it(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"store": np.repeat(["a", "b-1", "3 c"], 500), "date": [*DAYS * 75], "sales": rng.normal(size=1500)}
    )
    frame["count"] = rng.integers(0, 9, 1500)
    frame["note"] = np.where(frame["count"] > 4, "ok", None)
    frame.to_csv(tmp_path / "a.csv", index=False)
    expected = pd.read_csv(tmp_path / "a.csv", **EXACT)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), expected, check_exact=True)


def test_what_was_put_right_stands_in_the_report_and_in_the_forecast(tmp_path):
    file = tmp_path / "sales.csv"
    file.write_bytes(
        (table(";", lambda x: f"{comma(x)} \u20ac", names=("date", "Ums\u00e4tze")) + "Total;1\n").encode("cp1252")
    )
    report = tsfm.check(file)
    assert {"encoding", "numerals", "footer"} <= {finding.kind for finding in report.findings}
    warnings = "\n".join(tsfm.forecast(file, 3, model="seasonal-naive").provenance.warnings)
    assert "Windows-1252" in warnings
    assert "currency" in warnings
    assert "Total" in warnings
