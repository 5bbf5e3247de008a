"""A tsf file gives back the panel that was written in it, and says file, line and remedy where it cannot."""

import bz2
import gzip
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tsfm
from tsfm.data.adapters import to_panel
from tsfm.data.formats.tsf import parse
from tsfm.data.readers import read_table
from tsfm.errors import DataError

HEADER = """# Dataset Information
#
@relation made
@attribute series_name string
@attribute start_timestamp date
@frequency half_hourly
@horizon 4
@missing true
@equallength false
"""
TSF = f"""{HEADER}@data
T1:2012-01-01 00-00-01:1.5,?,3

T2:2012-01-02 10-30-00:-1e-3
"""
PACK = {".tsf": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}

values = st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.just(np.nan), min_size=1, max_size=30)
starts = st.datetimes(pd.Timestamp("1700-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime())
names = st.text(st.characters(codec="utf-8", exclude_characters=":", exclude_categories=["C", "Z"]), min_size=1)
panels = st.dictionaries(names.filter(lambda name: name[0] not in "#@"), st.tuples(starts, values), min_size=1)


def written(folder: Path, text: str | bytes, name: str = "a.tsf") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_names_starts_frequency_and_values_are_read(tmp_path, read):
    first, second = read("tsf", written(tmp_path, TSF))
    np.testing.assert_array_equal(first.values, [1.5, np.nan, 3.0])
    np.testing.assert_array_equal(second.values, [-0.001])
    assert (first.series_id, first.start, first.freq) == ("T1", pd.Timestamp("2012-01-01"), "30min")
    assert (second.series_id, second.start) == ("T2", pd.Timestamp("2012-01-02 10:30"))


def test_the_header_is_told(tmp_path):
    header, _ = parse(written(tmp_path, TSF))
    assert (header.relation, header.frequency, header.horizon) == ("made", "30min", 4)
    assert (header.missing, header.equal_length) == (True, False)
    assert header.attributes == {"series_name": "string", "start_timestamp": "date"}


@given(panels, st.permutations(["series_name string", "start_timestamp date", "state string", "rank numeric"]))
@settings(max_examples=60, deadline=None)
def test_a_panel_that_is_written_is_read_back_whatever_the_order_of_attributes(folder, read, panel, attributes):
    lines = [f"@attribute {attribute}" for attribute in attributes] + ["@frequency 10_minutes", "@data"]
    for name, (start, numbers) in panel.items():
        cells = {"series_name": name, "start_timestamp": f"{start:%Y-%m-%d %H-%M-%S}", "state": "NSW", "rank": "3"}
        body = ",".join("?" if np.isnan(number) else repr(number) for number in numbers)
        lines.append(":".join([*(cells[attribute.split()[0]] for attribute in attributes), body]))
    found = read("tsf", written(folder, "\n".join(lines)))
    assert [series.series_id for series in found] == list(panel)
    for series in found:
        start, numbers = panel[series.series_id]
        np.testing.assert_array_equal(series.values, numbers)
        assert (series.start, series.freq) == (pd.Timestamp(start).floor("min"), "10min")


@given(st.binary(max_size=200), st.integers(0, len(TSF)))
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(folder, read, noise, place):
    text = TSF.encode()
    path = written(folder, text[:place] + noise + text[place:])
    try:
        assert all(len(series) and not np.isinf(series.values).any() for series in read("tsf", path))
    except DataError as error:
        assert path.name in str(error)


@pytest.mark.parametrize("ending", [*PACK, ".zip"])
def test_a_file_may_be_packed(tmp_path, read, ending):
    path = tmp_path / ("a_dataset" + ending if ending in (".tsf", ".zip") else "a_dataset.tsf" + ending)
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a_dataset.tsf", TSF)
            archive.writestr("__MACOSX/._a_dataset.tsf", "x")
    else:
        path.write_bytes(PACK[ending](TSF.encode()))
    assert [len(series) for series in read("tsf", path)] == [3, 1]
    assert read_table(path)["item_id"].tolist() == ["T1", "T2"]


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("4_seconds", "4s"),
        ("minutely", "min"),
        ("10_minutes", "10min"),
        ("half_hourly", "30min"),
        ("Hourly", "h"),
        ("daily", "D"),
        ("weekly", "W-SUN"),
        ("monthly", "MS"),
        ("quarterly", "QS"),
        ("yearly", "YS"),
    ],
)
def test_the_frequencies_of_the_archive_are_those_of_pandas(tmp_path, read, name, alias):
    text = TSF.replace("half_hourly", name).replace("2012-01-02", "2012-01-01")
    assert read("tsf", written(tmp_path, text), frequency="ms")[0].freq == alias


def test_what_a_file_does_not_say_is_taken_from_the_card_and_the_placeholder(tmp_path, read):
    series = read("tsf", written(tmp_path, "@attribute horizon numeric\n@data\n6:1,2\n12:3\n"), frequency="W-SUN")
    assert [one.series_id for one in series] == ["T1", "T2"]
    assert {(one.start, one.freq) for one in series} == {(pd.Timestamp("1970-01-04"), "W-SUN")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_names_may_be_in_utf8_or_latin1(tmp_path, read, encoding):
    text = TSF.replace("T1", "Zürich")
    assert read("tsf", written(tmp_path, text.encode(encoding)))[0].series_id == "Zürich"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.5,?,3", "1.5,x,3", r"a.tsf, line 11: series 'T1' has 'x' for value 2 of 3.*write \?"),
        ("1.5,?,3", "1.5,,3", r"line 11: series 'T1' has '' for value 2 of 3"),
        ("1.5,?,3", "1.5,3,", r"line 11: series 'T1' has '' for value 3 of 3"),
        ("1.5,?,3", "1e999,?", r"line 11: series 'T1' has '1e999' for value 1 of 2, which is no finite number"),
        ("1.5,?,3", "1_5,3", r"line 11: .*no plain numbers"),
        ("2012-01-01 00-00-01", "2012-13-01", r"line 11: '2012-13-01' is no time; write it as"),
        ("00-00-01", "00:00:01", r"line 11: .* has 4 attributes and the header 2 .*00-00-00"),
        ("T2", "T1", r"line 13: a second series is named 'T1'"),
        ("half_hourly", "fortnightly", r"line 6: @frequency fortnightly is not known; .*half_hourly"),
        ("@horizon 4", "@horizon x", r"line 7: @horizon x is no number"),
        ("@missing true", "@missing maybe", r"line 8: @missing maybe is neither"),
        ("name string", "name text", r"line 4: '@attribute series_name text' is no attribute"),
        ("@data", "", r"line 11: .* comes before @data"),
        (TSF, HEADER, r"a.tsf has no line @data"),
        (TSF, HEADER + "@data", r"a.tsf has no series below @data"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, read, old, new, words):
    with pytest.raises(DataError, match=words):
        read("tsf", written(tmp_path, TSF.replace(old, new)))


def test_a_file_of_question_marks_is_told_as_that(tmp_path):
    path = written(tmp_path, HEADER + "@data\nT1:2012-01-01 00-00-00:?,?\n")
    with pytest.raises(DataError, match=r"a.tsf has no value at all.*question mark; fetch it again"):
        tsfm.forecast(path, 3)


def test_an_archive_that_is_damaged_or_holds_several_files_is_an_error_that_names_it(tmp_path, read):
    with pytest.raises(DataError, match=r"a.zip' is no zip archive.*fetch it again"):
        read("tsf", written(tmp_path, "x", "a.zip"))
    with pytest.raises(DataError, match=r"a.tsf.gz' cannot be unpacked"):
        read("tsf", written(tmp_path, gzip.compress(TSF.encode())[:-9], "a.tsf.gz"))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("one.tsf", TSF)
        archive.writestr("two.tsf", TSF)
    with pytest.raises(DataError, match=r"two.zip' holds 2 files \(one.tsf, two.tsf\)"):
        read("tsf", tmp_path / "two.zip")


def test_a_file_is_read_line_by_line(tmp_path, read):
    body = ",".join(["123.456789"] * 10_000)
    path = written(tmp_path, HEADER + "@data\n" + "".join(f"T{i}:2012-01-01 00-00-00:{body}\n" for i in range(40)))
    tracemalloc.start()
    series = read("tsf", path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most - sum(one.values.nbytes for one in series) < path.stat().st_size / 4


def test_a_path_is_forecast_and_checked_on_its_own_time_axis(tmp_path):
    path = written(tmp_path, HEADER + "@data\n" + "".join(f"T{i}:2012-01-0{i} 00-00-00:1,2,3,4,5\n" for i in (1, 2)))
    panel = to_panel(path)
    assert (panel.ids, panel.season) == (["T1", "T2"], [48, 48])
    made = tsfm.forecast(path, 3, model="naive").to_frame()
    assert made["item_id"].unique().tolist() == ["T1", "T2"]
    assert made["ds"][0] == pd.Timestamp("2012-01-01 02:30")
    assert "2 series" in str(tsfm.check(path))


def test_a_path_without_times_has_the_season_of_its_frequency(tmp_path):
    panel = to_panel(written(tmp_path, "@attribute series_name string\n@frequency monthly\n@data\na:1,2,3\n"))
    assert panel.season == [12]
    assert panel.future_index(0, 2).tolist() == [3, 4]
