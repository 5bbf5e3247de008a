"""Wide tables are taken row by row, long ones are mended as a person's own, M4's pairs are joined."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfm.errors import DataError

HOURS = pd.date_range("2016-07-01", periods=4, freq="h")

values = st.floats(allow_nan=False, allow_infinity=False) | st.just(np.nan)
columns = st.text("abcäß_%()° ", min_size=1).map(str.strip).filter(bool)
rows = st.lists(st.lists(values, min_size=3, max_size=3), min_size=2, max_size=20)
m4_series = st.lists(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=30), min_size=1, max_size=6)


def wide(*names: str, length: int = 4) -> pd.DataFrame:
    times = pd.date_range("2016-07-01", periods=length, freq="h")
    return pd.DataFrame({"date": times, **{name: np.arange(length) + i / 8 for i, name in enumerate(names)}})


def long() -> pd.DataFrame:
    frame = pd.DataFrame({"store": np.repeat(["b", "a"], 4), "day": [*HOURS] * 2, "sales": np.arange(8.0)})
    return frame.assign(price=2.5)


@given(rows, st.lists(columns, min_size=3, max_size=3, unique=True), st.sampled_from(["utf-8", "latin-1"]))
@settings(max_examples=40, deadline=None)
def test_a_wide_table_that_is_written_is_read_back(folder, read, rows, names, encoding):
    frame = pd.DataFrame(rows, columns=names)
    frame.insert(0, "date", pd.date_range("2016-07-01", periods=len(rows), freq="h"))
    frame.to_csv(folder / "a.csv", index=False, encoding=encoding)
    found = read("wide_csv", folder / "a.csv")
    assert [series.series_id for series in found] == names
    assert {(series.start, series.freq) for series in found} == {(HOURS[0], "h")}
    for series in found:
        np.testing.assert_array_equal(series.values, frame[series.series_id])


def test_the_card_chooses_columns_and_the_time(tmp_path, read):
    frame = wide("a", "b", "c")
    frame[["a", "date", "b", "c"]].to_csv(tmp_path / "a.csv", index=False)
    found = read("wide_csv", tmp_path / "a.csv", time="date", target=("c", "a"))
    assert [(series.series_id, series.values[0]) for series in found] == [("c", 0.25), ("a", 0.0)]


def test_rows_are_taken_as_they_stand_with_repeated_stamps_and_gaps(tmp_path, read):
    wide("a", "b", length=6).iloc[[0, 1, 1, 2, 5]].to_csv(tmp_path / "a.csv", index=False)
    assert read("wide_csv", tmp_path / "a.csv")[0].values.tolist() == [0, 1, 1, 2, 5]


@pytest.mark.parametrize("name", ["exchange_rate.txt.gz", "exchange_rate.txt"])
def test_a_table_without_names_and_times_counts_its_columns(tmp_path, read, name):
    wide("a", "b")[["a", "b"]].to_csv(tmp_path / name, header=False, index=False)
    first, second = read("wide_csv", tmp_path / name, frequency="D")
    assert (first.series_id, second.series_id) == ("0", "1")
    assert (first.start, first.freq) == (pd.Timestamp("1970-01-01"), "D")
    assert second.values.tolist() == [0.125, 1.125, 2.125, 3.125]


def test_series_of_several_files_bear_the_names_of_the_files(tmp_path, read):
    paths = [tmp_path / "ETTh1.csv", tmp_path / "ETTh2.csv"]
    for path in paths:
        wide("OT").to_csv(path, index=False)
    assert [series.series_id for series in read("wide_csv", *paths)] == ["ETTh1/OT", "ETTh2/OT"]


@pytest.mark.parametrize(
    ("frame", "how", "words"),
    [
        (wide("a"), {"target": ("b",)}, r"a.csv has no column b; it has a"),
        (wide("a"), {"time": "when"}, r"a.csv has no column 'when'; it has date, a"),
        (wide("a").assign(a=["1", "x", "2", "3"]), {}, r"a.csv: column 'a' has 'x' in row 1, which is no finite"),
        (wide("a").assign(a=[1, np.inf, 2, 3]), {}, r"a.csv: column 'a' has inf in row 1"),
        (wide("a")[::-1], {}, r"a.csv: the times in 'date' run backwards; sort"),
        (wide("a").assign(date=["x", "y", "z", "w"]), {}, r"a.csv has 'x' in column 'date'.*cannot be read as a time"),
        (wide("a").assign(date=range(4)), {}, r"a.csv: the column 'date' holds no dates"),
    ],
)
def test_a_wide_table_that_is_wrong_is_an_error_that_names_file_and_column(tmp_path, read, frame, how, words):
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=words):
        read("wide_csv", tmp_path / "a.csv", **how)


@pytest.mark.parametrize("reader", ["long_csv", "long_parquet"])
def test_a_long_table_gives_a_series_an_id_with_its_rows_in_order_and_its_gaps_filled(tmp_path, read, reader):
    path = tmp_path / f"a.{reader.removeprefix('long_')}"
    shuffled = long().sample(frac=1, random_state=1)
    shuffled = shuffled[~((shuffled.store == "a") & (shuffled.day == HOURS[2]))]
    if reader == "long_csv":
        shuffled.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        shuffled.to_parquet(path)
    found = {series.series_id: series for series in read(reader, path, id="store", time="day", target=("sales",))}
    assert {(series.start, series.freq) for series in found.values()} == {(HOURS[0], "h")}
    np.testing.assert_array_equal(found["a"].values, [4, 5, np.nan, 7])
    np.testing.assert_array_equal(found["b"].values, [0, 1, 2, 3])


def test_a_long_table_of_usual_names_needs_no_columns_in_the_card(tmp_path, read):
    long().drop(columns="price").set_axis(["unique_id", "ds", "y"], axis=1).to_csv(tmp_path / "a.csv", index=False)
    assert [series.series_id for series in read("long_csv", tmp_path / "a.csv")] == ["b", "a"]


def test_several_targets_of_a_long_table_are_a_series_each(tmp_path, read):
    long().to_csv(tmp_path / "a.csv", index=False)
    found = read("long_csv", tmp_path / "a.csv", id="store", time="day", target=("sales", "price"))
    assert [series.series_id for series in found] == ["b/sales", "a/sales", "b/price", "a/price"]


def test_months_and_zones_come_as_plain_stamps_and_aliases(tmp_path, read):
    for times, start, freq in [
        (pd.date_range("2020-01-31", periods=4, freq="ME"), "2020-01-31", "ME"),
        (pd.date_range("2020-02-01", periods=4, freq="QS-FEB"), "2020-02-01", "QS-FEB"),
        (pd.date_range("2020-01-15", periods=4, freq="MS") + pd.Timedelta(days=14), "2020-02-01", "MS"),
        (pd.date_range("2020-01-01", periods=4, freq="h", tz="Europe/Berlin"), "2020-01-01", "h"),
    ]:
        pd.DataFrame({"id": "a", "time": times, "target": range(4)}).to_csv(tmp_path / "a.csv", index=False)
        (series,) = read("long_csv", tmp_path / "a.csv")
        assert (series.start, series.freq) == (pd.Timestamp(start), freq)


def test_a_long_table_without_times_takes_placeholder_and_frequency_of_the_card(tmp_path, read):
    pd.DataFrame({"id": ["a", "a", "a"], "y": [1, 2, 3]}).to_csv(tmp_path / "a.csv", index=False)
    (series,) = read("long_csv", tmp_path / "a.csv", frequency="W-SUN")
    assert (series.start, series.freq) == (pd.Timestamp("1970-01-04"), "W-SUN")


def m4_file(rows: dict[str, list[float]], quoted: bool) -> str:
    """A file as the organisers have it: rows padded to the longest."""
    longest = max(map(len, rows.values()))
    text = io.StringIO(",".join(f'"V{i + 1}"' for i in range(longest + 1)) + "\n")
    text.seek(0, io.SEEK_END)
    for name, numbers in rows.items():
        cells = [repr(number) for number in numbers]
        cells = [f'"{cell}"' for cell in cells] if quoted else cells
        text.write(",".join([f'"{name}"', *cells, *[""] * (longest - len(cells))]) + "\n")
    return text.getvalue()


@given(m4_series, st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_m4_pair_that_is_written_is_read_back_joined(folder, read, series, quoted):
    rows = {f"H{i}": numbers for i, numbers in enumerate(series)}
    (folder / "Hourly-train.csv").write_text(m4_file({name: row[:-2] for name, row in rows.items()}, quoted))
    (folder / "Hourly-test.csv").write_text(m4_file({name: row[-2:] for name, row in rows.items()}, quoted))
    found = read("m4_csv", folder / "Hourly-test.csv", folder / "Hourly-train.csv")
    assert [one.series_id for one in found] == list(rows)
    for one in found:
        np.testing.assert_array_equal(one.values, rows[one.series_id])
        assert (one.start, one.freq) == (pd.Timestamp("1970-01-01"), "h")


def test_an_m4_file_that_is_wrong_is_an_error_that_names_file_and_line(tmp_path, read):
    train, test = tmp_path / "Hourly-train.csv", tmp_path / "Hourly-test.csv"
    train.write_text('"V1","V2","V3"\n"H1",1,NA\n"H2",1,x\n')
    with pytest.raises(DataError, match=r"Hourly-train.csv, line 3: .*'x'"):
        read("m4_csv", train)
    train.write_text('"V1","V2","V3"\n"H1",1,NA\n')
    test.write_text('"V1","V2"\n"H7",1\n')
    with pytest.raises(DataError, match=r"Hourly-test.csv has the series 'H7', which no train file has"):
        read("m4_csv", train, test)
    test.write_text('"V1","V2"\n"H1",\n')
    with pytest.raises(DataError, match=r"Hourly-test.csv, line 2 has no value"):
        read("m4_csv", train, test)
