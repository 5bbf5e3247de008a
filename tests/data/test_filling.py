"""Filling in: data of every kind come back as they were but for their gaps, whatever rows the time axis left out."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import to_panel
from tsfm.data.filling import fill_in, tangible

HOURS = pd.date_range("2024-03-30", periods=48, freq="h", tz="Europe/Berlin")  # clocks go forward within


def filled(data, **given):
    """The data with 1000 + the number of the step in each gap."""
    data = tangible(data)
    panel = to_panel(data, **given)
    return fill_in(data, panel, [np.where(np.isnan(one), 1000.0 + np.arange(len(one)), one) for one in panel.values])


def long_frame():
    stamps = pd.date_range("2024-01-01", periods=6, freq="D")
    frame = pd.DataFrame({"shop": ["a"] * 6 + ["b"] * 6, "day": [*stamps, *stamps], "sold": np.arange(12.0)})
    return frame.assign(price=np.arange(12))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_an_array_keeps_its_type_and_every_bit_of_what_was_observed(kind):
    data = np.array([0.1, np.nan, -0.0, 1e-7, np.nan], dtype=kind)
    found = filled(data)
    assert found.dtype == kind
    assert found[[0, 2, 3]].tobytes() == data[[0, 2, 3]].tobytes()
    assert found[[1, 4]].tolist() == [1001, 1004]
    assert np.isnan(data).sum() == 2


def test_a_list_keeps_its_own_numbers():
    found = filled([1, None, 2.5, "3", float("nan")])
    assert found == [1, 1001.0, 2.5, "3", 1004.0]
    assert [type(one) for one in found] == [int, float, float, str, float]
    assert filled((1, None, 2)) == (1, 1001.0, 2)


def test_integers_without_a_gap_stay_integers():
    assert filled(np.array([2**60 + 1, 5])).tolist() == [2**60 + 1, 5]
    assert filled(pd.Series([2**60 + 1, 5])).dtype == np.int64


def test_a_tensor_comes_back_as_one():
    torch = pytest.importorskip("torch")
    data = torch.tensor([[1.0, float("nan")], [float("nan"), 4.0]])
    assert filled(data).tolist() == [[1.0, 1001.0], [1000.0, 4.0]]
    assert filled(data).dtype == torch.float32


def test_rows_ragged_lists_and_dicts_keep_their_kind():
    assert filled(np.array([[1, np.nan], [np.nan, 4]])).tolist() == [[1, 1001], [1000, 4]]
    ragged = filled([[1, None], np.array([np.nan, 2.0, 3.0], np.float32)])
    assert ragged[0] == [1, 1001.0]
    assert ragged[1].dtype == np.float32
    found = filled({"x": [1, None], "y": pd.Series([np.nan, 2.0], HOURS[:2], name="q")})
    assert found["x"] == [1, 1001.0]
    assert found["y"].tolist() == [1000.0, 2.0]
    assert found["y"].index.equals(HOURS[:2])


def test_what_can_be_read_once_is_read_once():
    rows = ({"start": "2024-01-01", "freq": "D", "target": [1.0, np.nan], "item_id": name} for name in "ab")
    found = filled(rows)
    assert [(row["item_id"], row["target"]) for row in found] == [("a", [1.0, 1001.0]), ("b", [1.0, 1001.0])]


def test_a_series_without_rows_to_insert_keeps_its_index_and_order():
    series = pd.Series([3.0, np.nan, 1.0, 2.0], HOURS[[3, 1, 0, 2]], dtype="float32", name="load")
    found = filled(series)
    pd.testing.assert_series_equal(found, pd.Series([3, 1001, 1, 2], series.index, dtype="float32", name="load"))


def test_missing_hours_are_inserted_in_a_time_zone_across_a_change_of_clocks():
    series = pd.Series(np.arange(48), HOURS, name="load").rename_axis("when").drop(HOURS[[24, 25, 26, 40]])
    found = filled(series)
    assert found.index.equals(HOURS.rename("when"))
    assert found.iloc[[24, 25, 26, 40]].tolist() == [1024, 1025, 1026, 1040]
    assert found.drop(HOURS[[24, 25, 26, 40]]).tolist() == series.tolist()


@pytest.mark.parametrize("rule", ["D", "W-SUN", "B", "MS", "ME", "QS", "YE", "BME", "15min", "2D", "2h"])
def test_steps_left_out_are_inserted_at_every_frequency(rule):
    stamps = pd.date_range("2021-01-04", periods=20, freq=rule)
    series = pd.Series(np.arange(20.0), stamps).drop(stamps[[7, 8, 15]])
    found = filled(series, freq=rule)
    assert list(found.index) == list(stamps)
    assert found.iloc[[7, 8, 15]].tolist() == [1007, 1008, 1015]
    assert found.drop(stamps[[7, 8, 15]]).equals(series)


def test_periods_timedeltas_and_numbers_are_time_axes_too():
    for index in (
        pd.period_range("2024-01", periods=12, freq="M"),
        pd.timedelta_range("0h", periods=12, freq="h"),
        pd.RangeIndex(5, 29, 2),
    ):
        series = pd.Series(np.arange(12.0), index).drop(index[[4, 5]])
        found = filled(series)
        assert list(found.index) == list(index)
        assert type(found.index) is type(index)
        assert found.iloc[[4, 5]].tolist() == [1004, 1005]


def test_stamps_beside_the_grid_stay_with_their_values():
    stamps = pd.date_range("2024-01-01", periods=30, freq="h")
    moved = stamps.to_series().reset_index(drop=True)
    moved[10] += pd.Timedelta("3min")
    series = pd.Series(np.arange(30.0), pd.DatetimeIndex(moved)).drop(stamps[20])
    found = filled(series)
    assert found.drop(stamps[20]).tolist() == [*range(20), *range(21, 30)]
    assert found[stamps[20]] == 1020


def test_a_long_frame_keeps_its_columns_rows_and_index():
    frame = long_frame().sample(frac=1, random_state=0)
    frame.loc[[2, 9], "sold"] = np.nan
    found = filled(frame, id="shop", time="day", target="sold")
    wanted = frame.copy()
    wanted.loc[2, "sold"], wanted.loc[9, "sold"] = 1002, 1003
    pd.testing.assert_frame_equal(found, wanted)


def test_a_long_frame_gets_the_rows_it_lacks():
    frame = long_frame().astype({"shop": "category", "sold": "float32"})
    found = filled(frame.drop([2, 3, 10]), id="shop", time="day", target="sold")
    assert found.dtypes[["shop", "day", "sold"]].equals(frame.dtypes[["shop", "day", "sold"]])
    assert found[["shop", "day"]].equals(frame[["shop", "day"]])
    assert found.sold[[2, 3, 10]].tolist() == [1002, 1003, 1004]
    assert found.price.isna().tolist() == [place in (2, 3, 10) for place in range(12)]
    assert found.drop([2, 3, 10]).price.tolist() == frame.drop([2, 3, 10]).price.tolist()


def test_repeated_rows_become_one():
    frame = pd.concat([long_frame(), long_frame().iloc[[4]]])
    found = filled(frame, id="shop", time="day", target="sold")
    pd.testing.assert_frame_equal(found, long_frame())


def test_text_stamps_stay_text_until_a_row_is_inserted():
    frame = long_frame().assign(day=lambda rows: rows.day.astype(str))
    frame.loc[1, "sold"] = np.nan
    assert filled(frame, id="shop", time="day", target="sold").day.equals(frame.day)
    found = filled(frame.drop(2), id="shop", time="day", target="sold")
    assert found.day.equals(long_frame().day)


def test_a_frame_of_two_levels_or_with_times_for_an_index_comes_back_so():
    frame = long_frame().set_index(["shop", "day"])
    found = filled(frame.drop([("a", pd.Timestamp("2024-01-03"))]), target="sold")
    assert found.index.equals(frame.index)
    assert found.index.names == ["shop", "day"]
    assert found.sold.iloc[2] == 1002
    series = filled(frame.sold.drop([("a", pd.Timestamp("2024-01-03"))]))
    assert isinstance(series, pd.Series)
    assert series.name == "sold"
    assert series.iloc[2] == 1002
    by_time = long_frame().set_index("day")
    found = filled(by_time.iloc[[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]], id="shop", target="sold")
    assert found.index.equals(by_time.index)
    assert found.columns.tolist() == ["shop", "sold", "price"]


def test_a_wide_frame_keeps_its_columns_and_their_order():
    index = pd.date_range("2024-01-01", periods=5, name="day")
    frame = pd.DataFrame({"b": [1.0, np.nan, 3, 4, 5], "a": [1, 2, 3, 4, 5], "none": np.nan}, index)
    found = filled(frame, errors="skip")
    pd.testing.assert_frame_equal(found, frame[["b", "a"]].fillna(1001.0))
    found = filled(frame.drop(index[2]).reset_index(), errors="skip")
    assert found.columns.tolist() == ["day", "b", "a"]
    assert found.day.tolist() == index.tolist()
    assert found.a.tolist() == [1, 2, 1002, 4, 5]


def test_columns_that_are_no_target_stay_beside_those_that_are():
    index = pd.date_range("2024-01-01", periods=5, name="day")
    frame = pd.DataFrame({"x": [1.0, np.nan, 3, 4, 5], "note": list("pqrst")}, index)
    found = filled(frame, target=["x"])
    assert found.note.tolist() == list("pqrst")
    assert found.x.tolist() == [1, 1001, 3, 4, 5]


def test_nullable_columns_stay_nullable():
    index = pd.date_range("2024-01-01", periods=3)
    whole = filled(pd.Series([1, None, 3], index, dtype="Int64"))
    assert str(whole.dtype) == "Float64"
    single = filled(pd.Series([0.1, None, 3], index, dtype="Float32"))
    assert str(single.dtype) == "Float32"
    assert single.tolist() == pytest.approx([0.1, 1001, 3])


def test_cells_that_hold_a_series_are_filled():
    frame = pd.DataFrame({"item_id": ["a", "b"], "target": [[1.0, np.nan], [np.nan, 2.0, 3.0]], "kind": [1, 2]})
    found = filled(frame)
    assert [list(cell) for cell in found.target] == [[1, 1001], [1000, 2, 3]]
    assert found.kind.tolist() == [1, 2]
    stamps = ["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05"]
    found = filled(pd.DataFrame({"item_id": ["a"], "timestamp": [stamps], "target": [[1.0, 2.0, 4.0, 5.0]]}))
    assert list(found.target[0]) == [1, 2, 1002, 4, 5]
    assert pd.DatetimeIndex(found.timestamp[0]).equals(pd.date_range("2024-01-01", periods=5))


def test_frames_and_series_of_polars_and_arrow_come_back_as_such():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = polars.DataFrame(long_frame().drop([2, 3])).with_columns(polars.col("sold").cast(polars.Float32))
    found = filled(frame, id="shop", time="day", target="sold")
    assert found.schema["sold"] == polars.Float32
    assert found.schema["shop"] == polars.String
    assert found["day"].to_list() == long_frame().day.tolist()
    assert found["sold"].to_list()[1:5] == [1, 1002, 1003, 4]
    mixed = frame.with_columns(note=polars.lit("x"), flag=polars.lit(True))
    found = filled(mixed, id="shop", time="day", target="sold")
    assert found.schema == mixed.schema
    assert found["note"].to_list()[:5] == ["x", "x", None, None, "x"]
    assert found["price"].to_list()[:5] == [0, 1, None, None, 4]
    table = filled(arrow.Table.from_pandas(long_frame().drop([2])), id="shop", time="day", target="sold")
    assert isinstance(table, arrow.Table)
    assert table["sold"].to_pylist()[2] == 1002
    series = filled(polars.Series("q", [1.0, None, 3.0], dtype=polars.Float32))
    assert (series.name, series.dtype, series.to_list()) == ("q", polars.Float32, [1, 1001, 3])


def test_filling_reads_gaps_from_before_the_data_were_changed():
    frame = long_frame()
    frame.loc[1, "sold"] = np.nan
    panel = to_panel(frame, id="shop", time="day", target="sold")
    arrays = [np.where(np.isnan(one), 7.0, one) for one in panel.values]
    frame["sold"] = frame.sold.fillna(0)
    assert fill_in(frame, panel, arrays).sold[1] == 7
