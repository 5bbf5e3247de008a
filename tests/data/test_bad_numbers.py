"""Numbers and dates as people write them in tables: read for the column as a whole and told, or refused in words."""

import numpy as np
import pandas as pd
import pytest
from bad_tables import DAYS, X, comma, european, panel_of, table, told

from tsfm.data.numerals import apart, read_words
from tsfm.errors import DataError


def test_a_name_with_commas_does_not_hide_the_semicolons(tmp_path):
    panel = panel_of(tmp_path, table(";", names=("date", "sales, in EUR, net")))
    assert panel.ids == ["sales, in EUR, net"]


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
