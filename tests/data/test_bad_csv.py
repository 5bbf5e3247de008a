"""Bad tables: each ends in one plain message, or is read as it is meant, with every change told."""

import gzip

import numpy as np
import pandas as pd
import pytest

import tsfm
from tsfm.data import memory
from tsfm.data.adapters import to_panel
from tsfm.data.numerals import apart, read_words
from tsfm.data.packed import unpacked_size
from tsfm.data.readers import EXACT, read_csv
from tsfm.data.sniffing import HEAD, Dialect, head_cells, sniff
from tsfm.errors import DataError

DAYS = [f"2024-01-{day:02d}" for day in range(1, 21)]
X = [10 + 1.5 * step for step in range(20)]


def european(day: str) -> str:
    return "/".join(reversed(day.split("-")))


def table(separator=",", number=str, date=str, names=("date", "sales"), end="", line="\n") -> str:
    """Twenty days of the numbers X, written as asked."""
    rows = [separator.join([date(day), number(x)]) + end for day, x in zip(DAYS, X, strict=True)]
    return line.join([separator.join(names), *rows]) + line


def panel_of(tmp_path, content, **named):
    file = tmp_path / "sales.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return to_panel(file, **named)


def told(panel) -> dict[str, str]:
    """Repairs by kind, without the one that dates in text always take."""
    return {repair.kind: repair.message for repair in panel.repairs if repair.kind != "time"}


def comma(x: float) -> str:
    return str(x).replace(".", ",")


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", ":", "~", "  ", " "])
def test_every_separator_gives_the_same_series(tmp_path, mark):
    panel = panel_of(tmp_path, table(mark))
    assert panel.ids == ["sales"]
    assert panel.values[0].tolist() == X
    assert ("separator" in told(panel)) == (mark not in ",;\t|")


def test_a_name_with_commas_does_not_hide_the_semicolons(tmp_path):
    panel = panel_of(tmp_path, table(";", names=("date", "sales, in EUR, net")))
    assert panel.ids == ["sales, in EUR, net"]


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


@pytest.mark.parametrize("mark", [";", "\t"])
def test_decimal_commas_are_told(tmp_path, mark):
    panel = panel_of(tmp_path, table(mark, comma))
    assert panel.values[0].tolist() == X
    assert "decimal commas" in told(panel)["decimal comma"]


def test_decimal_commas_in_quotes_or_alone_are_read(tmp_path):
    panel = panel_of(tmp_path, table(number=lambda x: f'"{comma(x)}"'))
    assert panel.values[0].tolist() == X
    assert "decimal commas" in told(panel)["numerals"]
    alone = panel_of(tmp_path, "y\n1,5\n2,5\n3,5\n")
    assert alone.values[0].tolist() == [1.5, 2.5, 3.5]
    assert "decimal comma" in told(alone)


def test_decimal_commas_between_commas_are_refused_and_never_shift_the_columns(tmp_path):
    with pytest.raises(DataError, match=r"sales.csv' has 2 names and 3 fields a row.*decimal commas"):
        panel_of(tmp_path, table(number=lambda x: f"{x:.1f}".replace(".", ",")))


@pytest.mark.parametrize(
    ("separator", "write", "word"),
    [
        (",", lambda x: f'"{1000 * x:,.2f}"', "10,000.00"),
        (";", lambda x: f"{1000 * x:,.2f}".translate(str.maketrans(",.", ".,")), "10.000,00"),
        (";", lambda x: f"{1000 * x:,.0f}".replace(",", " "), "10 000"),
        (";", lambda x: f"{1000 * x:,.0f}".replace(",", "\u00a0"), "10\\xa0000"),
        (";", lambda x: f"{1000 * x:,.0f}".replace(",", "\u202f"), "10\\u202f000"),
        (",", lambda x: f"{1000 * x:,.0f}".replace(",", "'"), "10'000"),
    ],
)
def test_marks_between_thousands_are_taken_out_and_told(tmp_path, separator, write, word):
    panel = panel_of(tmp_path, table(separator, write))
    assert panel.values[0].tolist() == [1000 * x for x in X]
    assert word in told(panel)["numerals"]


def test_a_mark_that_may_be_either_is_decided_for_the_column_and_told(tmp_path):
    quoted = panel_of(tmp_path, table(number=lambda x: f'"{1000 * x:,.0f}"'))
    assert quoted.values[0][0] == 10_000
    assert "'10,000' can be read two ways and was read as 10000" in told(quoted)["ambiguous numbers"]
    continental = panel_of(tmp_path, table(";", lambda x: f"{1000 * x:,.0f}"))
    assert continental.values[0][0] == 10
    assert "'10,000' may be 10.000 or 10000" in told(continental)["ambiguous numbers"]
    points = panel_of(tmp_path, table(";", lambda x: "900" if x == 10 else f"{1000 * x:,.0f}".replace(",", ".")))
    assert points.values[0][:2].tolist() == [900, 11_500]
    assert "ambiguous numbers" in told(points)


def test_another_column_tells_how_to_read_a_doubtful_one(tmp_path):
    rows = "".join(f'{day},"{step},234","{step},5"\n' for step, day in enumerate(DAYS, 1))
    panel = panel_of(tmp_path, "date,a,b\n" + rows)
    assert [values[0] for values in panel.values] == [1.234, 1.5]


def test_a_column_that_contradicts_itself_is_an_error_that_names_both_rows(tmp_path):
    with pytest.raises(DataError, match=r"'sales' of 'sales.csv'.*'1,5' in row 0.*'11,500.25' in row 1"):
        panel_of(tmp_path, table(number=lambda x: '"1,5"' if x == 10 else f'"{1000 * x:,.2f}"'.replace(".00", ".25")))


@pytest.mark.parametrize(
    "write", ["${:.1f}", "{:.1f} \u20ac", "USD {:.1f}", "{:.1f} %", "{:.1f}%", "\u00a3 {:.1f}"], ids=ascii
)
def test_signs_of_currency_and_percent_are_taken_out_and_told(tmp_path, write):
    panel = panel_of(tmp_path, table(number=write.format))
    assert panel.values[0].tolist() == X
    assert "10" in told(panel)["numerals"]


@pytest.mark.parametrize("write", ["({:.1f})", "{:.1f}-", "\u2212{:.1f}"])
def test_minus_is_read_however_it_is_written(tmp_path, write):
    panel = panel_of(tmp_path, table(number=write.format))
    assert panel.values[0].tolist() == [-x for x in X]
    assert "minus" in told(panel)["numerals"]


@pytest.mark.parametrize(
    "word", ["a1", "2024-01-31", "31.12.2024", "10:30", "1,2,3", "12'34", "1,234,56", "5 kg", "+ -5", "1.2.3", "$", "%"]
)
def test_what_is_no_number_stays_a_word(word):
    assert apart(word) is None


def test_numbers_are_read_to_the_last_bit():
    reading = read_words(["0.1", "-", "1e-5", "123456.789012345"], ".")
    assert reading.numbers == {"0.1": 0.1, "1e-5": 1e-5, "123456.789012345": 123456.789012345}


@pytest.mark.parametrize("word", ["-", "N/A", "null", "#DIV/0!", "?", "k.A.", "missing", "--"])
def test_words_for_missing_are_missing_and_told(tmp_path, word):
    panel = panel_of(tmp_path, table(number=lambda x: word if x == 13 else str(x)))
    np.testing.assert_array_equal(panel.values[0], [np.nan if x == 13 else x for x in X])
    assert repr(word) in told(panel)["missing words"]


def test_a_word_among_numbers_far_below_is_missing_and_the_rest_is_read_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=80_000)
    rows = "".join(f"{step},{value!r}\n" for step, value in enumerate(values.tolist()))
    panel = panel_of(tmp_path, "time,y\n" + rows + "80000,-\n80001,1\n")
    np.testing.assert_array_equal(panel.values[0], [*values, np.nan, 1])
    assert "'-' counts as missing" in told(panel)["missing words"]


def test_one_word_among_numbers_is_an_error_that_names_column_word_and_row(tmp_path):
    with pytest.raises(DataError, match=r"'sales' holds numbers, and 'broken' in row 2"):
        panel_of(tmp_path, table(number=lambda x: "broken" if x == 13 else str(x)))
    with pytest.raises(DataError, match=r"'sales' has 'broken' at 2024-01-03"):
        panel_of(tmp_path, table(number=lambda x: "broken" if x == 13 else f"${x}"), target="sales")


@pytest.mark.parametrize("target", [None, "y"])
def test_a_target_of_text_is_an_error_with_examples_and_the_columns_of_numbers(tmp_path, target):
    rows = "".join(f"{day},{['good', 'bad', 'fine'][step % 3]},{step},{step}\n" for step, day in enumerate(DAYS))
    with pytest.raises(DataError, match=r"'y'.*holds text \('good', 'bad', 'fine'\); name one of 'price', 'units'"):
        panel_of(tmp_path, "date,y,price,units\n" + rows, target=target)


def test_two_ways_to_write_dates_in_one_column_are_read_each_on_its_own_and_told(tmp_path):
    panel = panel_of(tmp_path, table(date=lambda day: day if day < "2024-01-08" else european(day)))
    assert panel.values[0].tolist() == X
    assert list(panel.past_index(0)) == list(pd.DatetimeIndex(DAYS))
    text = next(repair.message for repair in panel.repairs if repair.kind == "time")
    assert "'2024-01-01' and '08/01/2024'" in text
    assert "day first, as '13/01/2024' shows" in text


def test_dates_whose_order_nothing_tells_are_refused_beside_others_too(tmp_path):
    with pytest.raises(DataError, match=r"'01/01/2024' in column 'date', which may be day/month or month/day"):
        panel_of(tmp_path, table(date=lambda day: european(day) if day < "2024-01-05" else day))


def test_dates_that_contradict_each_other_are_an_error_that_names_both_rows(tmp_path):
    with pytest.raises(DataError, match=r"day/month \('13/02/2024' in row 0\) and month/day \('02/14/2024' in row 1\)"):
        panel_of(tmp_path, "date,y\n13/02/2024,1\n02/14/2024,2\n")


def test_dates_with_points_start_with_the_day_and_that_is_told(tmp_path):
    panel = panel_of(tmp_path, "date,y\n01.02.2024,1\n02.02.2024,2\n03.02.2024,3\n")
    assert panel.past_index(0)[-1] == pd.Timestamp("2024-02-03")
    assert "day first" in panel.repairs[0].message


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
        (gzip.compress(b"a,b\n1,2\n"), "gzip"),
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
