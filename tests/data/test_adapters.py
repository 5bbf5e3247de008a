"""Everything a person has goes in and comes back in the same family, under their own names."""

import collections

import numpy as np
import pandas as pd
import pytest
import torch

from tsfm.data.adapters import give_back, to_panel
from tsfm.errors import DataError

X = np.arange(20.0)
H = 3
DAYS = pd.date_range("2024-01-01", periods=20 + H, freq="D", name="day")
NEXT = list(DAYS[20:])


def results(panel, horizon=H):
    return [np.arange(horizon) + 10.0 * i for i in range(len(panel))]


def round_trip(data, **how):
    panel = to_panel(data, **how)
    return give_back(panel, results(panel))


def long_frame(**names) -> pd.DataFrame:
    """Two series, "b" first, with the columns called as asked."""
    columns = {"id": np.repeat(["b", "a"], 20), "time": np.tile(DAYS[:20], 2), "target": np.r_[X, X]}
    return pd.DataFrame(columns).rename(columns=names)


@pytest.mark.parametrize(
    "one",
    [
        list(X),
        tuple(X),
        range(20),
        X.astype(np.float32),
        X.astype(np.uint8),
        torch.arange(20),
        torch.arange(20, dtype=torch.bfloat16),
        torch.arange(20.0, requires_grad=True),
        np.ma.masked_array(X, X < 0),
        collections.deque(X),
        pd.Index(X),
        (value for value in X),
    ],
    ids=lambda one: type(one).__name__,
)
def test_one_series_without_stamps_gives_an_array(one):
    panel = to_panel(one)
    assert panel.values[0].tolist() == X.tolist()
    assert give_back(panel, results(panel)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("make", [np.stack, lambda rows: torch.tensor(np.stack(rows))], ids=["array", "tensor"])
def test_a_matrix_has_a_series_a_row_and_gives_a_matrix(make):
    made = round_trip(make([X, X]))
    assert made.shape == (2, H)
    assert made[1].tolist() == [10, 11, 12]


def test_a_ragged_list_gives_a_list_of_arrays():
    made = round_trip([[1, 2, 3], np.array([4.0]), torch.ones(2), (5, 6)])
    assert isinstance(made, list)
    assert [array.tolist() for array in made] == [[0, 1, 2], [10, 11, 12], [20, 21, 22], [30, 31, 32]]


def test_a_dict_gives_a_dict_with_the_same_keys():
    made = round_trip({"b": [1, 2], ("a", 1): X, 7: torch.ones(4)})
    assert list(made) == ["b", ("a", 1), 7]
    assert made[7].tolist() == [20, 21, 22]


@pytest.mark.parametrize("name", ["sales", None, ("a", 1)])
def test_a_series_gives_a_series_with_its_name_on_the_continued_index(name):
    made = round_trip(pd.Series(X, index=DAYS[:20], name=name))
    assert made.name == name
    assert list(made.index) == NEXT
    assert made.index.name == "day"


def test_a_series_without_stamps_counts_on():
    assert list(round_trip(pd.Series(X)).index) == [20, 21, 22]


def test_lists_and_dicts_of_series_give_series_back():
    one, two = pd.Series(X, DAYS[:20], name="p"), pd.Series(X[:5], DAYS[:5], name="q")
    made = round_trip([one, two])
    assert [part.name for part in made] == ["p", "q"]
    assert made[1].index[0] == DAYS[5]
    made = round_trip({"left": one, "plain": [1, 2]})
    assert list(made["left"].index) == NEXT
    assert isinstance(made["plain"], np.ndarray)


@pytest.mark.parametrize("labels", [["a", "b"], [3, 1], [("x", 1), ("x", 2)]])
def test_a_wide_frame_gives_a_wide_frame(labels):
    columns = pd.Index(labels, name="store", tupleize_cols=False)
    made = round_trip(pd.DataFrame(np.stack([X, X], axis=1), index=DAYS[:20], columns=columns))
    assert list(made.columns) == labels
    assert made.columns.name == "store"
    assert made.index.name == "day"
    assert list(made.index) == NEXT


def test_columns_of_two_levels_are_kept():
    columns = pd.MultiIndex.from_tuples([("x", 1), ("x", 2)], names=["shop", "item"])
    made = round_trip(pd.DataFrame(np.stack([X, X], axis=1), index=DAYS[:20], columns=columns))
    assert made.columns.equals(columns)
    assert made.columns.names == ["shop", "item"]


def test_a_wide_frame_with_a_time_column_keeps_it():
    made = round_trip(pd.DataFrame({"when": DAYS[:20], "a": X, "b": X}))
    assert list(made.columns) == ["when", "a", "b"]
    assert list(made["when"]) == NEXT


def test_series_of_a_wide_frame_that_end_earlier_keep_the_shared_future():
    late = X.copy()
    late[15:] = np.nan
    made = round_trip(pd.DataFrame({"a": X, "b": late}, index=DAYS[:20]))
    assert list(made.index) == NEXT


@pytest.mark.parametrize(
    ("names", "how"),
    [
        ({"id": "unique_id", "time": "ds", "target": "y"}, {}),
        ({"id": "item_id", "time": "timestamp", "target": "target"}, {}),
        ({"id": "Store", "time": "Date", "target": "Sales"}, {}),
        ({"id": "k", "time": "when", "target": "amount"}, {"id": "k", "time": "when", "target": "amount"}),
    ],
)
def test_a_long_frame_gives_a_long_frame_with_the_same_columns_in_the_order_of_its_ids(names, how):
    made = round_trip(long_frame(**names), **how)
    assert list(made.columns) == list(names.values())
    assert made[names["id"]].tolist() == ["b"] * H + ["a"] * H
    assert made[names["time"]].tolist() == NEXT * 2
    assert made[names["target"]].tolist() == [0, 1, 2, 10, 11, 12]


def test_rows_of_a_long_frame_may_come_in_any_order():
    frame = long_frame(id="unique_id", time="ds", target="y")
    panel = to_panel(frame.sample(frac=1, random_state=0))
    assert sorted(panel.ids) == ["a", "b"]
    assert all(values.tolist() == X.tolist() for values in panel.values)


@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_the_dtype_of_the_ids_is_kept(dtype):
    frame = long_frame(id="unique_id", time="ds", target="y").astype({"unique_id": dtype})
    assert round_trip(frame)["unique_id"].dtype == frame["unique_id"].dtype


def test_integer_ids_and_a_named_target_keep_their_names():
    frame = long_frame(id="sku", time="when", target="units").assign(sku=np.repeat([7, 3], 20), price=1.0)
    panel = to_panel(frame, id="sku", target="units")
    assert panel.ids == [7, 3]
    assert list(panel.past_covariates) == ["price"]
    assert give_back(panel, results(panel))["sku"].tolist() == [7] * H + [3] * H


def test_a_long_frame_of_one_series_needs_no_id():
    made = round_trip(pd.DataFrame({"ds": DAYS[:20], "y": X}))
    assert list(made.columns) == ["ds", "y"]
    assert list(made["ds"]) == NEXT


def test_a_frame_indexed_by_id_and_time_keeps_its_index():
    frame = long_frame(id="item_id", time="timestamp").set_index(["item_id", "timestamp"])
    made = round_trip(frame)
    assert list(made.index.names) == ["item_id", "timestamp"]
    assert made.loc["a"].index.tolist() == NEXT


def test_a_long_frame_without_times_counts_rows():
    made = round_trip(pd.DataFrame({"unique_id": ["a", "b", "a"], "y": [1, 2, 3]}))
    assert list(made.columns) == ["unique_id", "y"]


def test_a_list_of_targets_makes_a_wide_panel():
    frame = pd.DataFrame({"ds": DAYS[:20], "y": X, "z": X, "other": X})
    made = round_trip(frame, target=["y", "z"])
    assert list(made.columns) == ["ds", "y", "z"]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_polars_in_is_polars_out(zone):
    pl = pytest.importorskip("polars")
    frame = long_frame(id="unique_id", time="ds", target="y")
    frame["ds"] = frame["ds"].dt.tz_localize(zone)
    mine = pl.DataFrame({name: pl.Series(name, frame[name].to_list()) for name in frame.columns})
    made = round_trip(mine)
    assert isinstance(made, pl.DataFrame)
    assert made.schema == mine.schema
    assert made["ds"].to_list()[:H] == [stamp.tz_localize(zone).to_pydatetime() for stamp in NEXT]
    assert made["unique_id"].to_list() == ["b"] * H + ["a"] * H


def test_a_wide_polars_frame_of_dates_and_a_polars_series_come_back_as_such():
    pl = pytest.importorskip("polars")
    mine = pl.DataFrame({"date": [stamp.date() for stamp in DAYS[:20]], "a": X, "b": [None, *range(19)]})
    made = round_trip(mine)
    assert made.schema == {"date": pl.Date, "a": pl.Float64, "b": pl.Float64}
    made = round_trip(pl.Series("sales", [1, 2, None]))
    assert isinstance(made, pl.Series)
    assert made.name == "sales"
    with pytest.raises(DataError, match="collect"):
        to_panel(mine.lazy())


def test_a_polars_frame_with_a_series_in_every_cell_comes_back_as_such():
    pl = pytest.importorskip("polars")
    made = round_trip(
        pl.DataFrame({"item_id": ["a"], "start": [DAYS[0].to_pydatetime()], "freq": "D", "target": [[1, 2]]})
    )
    assert made["target"].to_list() == [[0, 1, 2]]
    assert made["start"][0] == DAYS[2].to_pydatetime()


def test_arrow_in_is_arrow_out():
    pa = pytest.importorskip("pyarrow")
    mine = pa.table({"unique_id": ["a"] * 20, "ds": DAYS[:20].to_pydatetime(), "y": X})
    made = round_trip(mine)
    assert isinstance(made, pa.Table)
    assert made.schema == mine.schema
    assert made["ds"].to_pylist() == [stamp.to_pydatetime() for stamp in NEXT]


def test_an_arrow_record_batch_is_a_table():
    pa = pytest.importorskip("pyarrow")
    batch = pa.RecordBatch.from_pydict({"id": ["a", "a"], "ds": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]})
    panel = to_panel(batch)
    assert panel.ids == ["a"]
    assert isinstance(give_back(panel, [np.ones(2)]), pa.Table)


def test_gluonts_rows_give_a_list_of_arrays_and_know_their_period():
    rows = [
        {"item_id": "A", "start": pd.Period("2024-01", "M"), "target": X},
        {"item_id": "B", "start": None, "target": [1]},
    ]
    panel = to_panel(iter(rows))
    assert panel.ids == ["A", "B"]
    assert panel.season == [12, 1]
    assert panel.future_index(0, 1)[0] == pd.Period("2025-09", "M")
    assert [array.tolist() for array in give_back(panel, results(panel))] == [[0, 1, 2], [10, 11, 12]]


def test_rows_with_a_start_and_a_frequency_or_with_stamps_have_a_time_axis():
    panel = to_panel([{"start": "2024-01-31", "freq": "M", "target": [1, 2, 3]}])
    assert panel.future_index(0, 1)[0] == pd.Timestamp("2024-04-30")
    panel = to_panel([{"id": "q", "timestamp": list(DAYS[:4]), "target": [1, 2, 3, 4]}])
    assert panel.ids == ["q"]
    assert panel.future_index(0, 1)[0] == DAYS[4]


def test_records_of_a_long_table_are_a_long_table():
    made = round_trip([{"ds": "2024-01-01", "y": 1}, {"ds": "2024-01-02", "y": 2}])
    assert made["ds"].iloc[0] == pd.Timestamp("2024-01-03")


def test_a_frame_with_a_series_in_every_cell_gives_such_a_frame():
    frame = pd.DataFrame({"item_id": ["a"], "start": [DAYS[0]], "freq": ["D"], "target": [list(X)]})
    made = round_trip(frame)
    assert list(made.columns) == ["item_id", "start", "target"]
    assert made["start"][0] == NEXT[0]
    assert made["target"][0].tolist() == [0, 1, 2]
