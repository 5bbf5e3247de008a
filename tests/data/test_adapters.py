"""Everything a person has goes in and comes back in the same family, under their own names."""

import collections
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
        X,
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


def test_arrow_in_is_arrow_out():
    pa = pytest.importorskip("pyarrow")
    mine = pa.table({"unique_id": ["a"] * 20, "ds": DAYS[:20].to_pydatetime(), "y": X})
    made = round_trip(mine)
    assert isinstance(made, pa.Table)
    assert made.schema == mine.schema
    assert made["ds"].to_pylist() == [stamp.to_pydatetime() for stamp in NEXT]


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


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([True, False], [1, 0]),
        ([Decimal("1.5"), None], [1.5, np.nan]),
        ([Fraction(1, 2), 2], [0.5, 2]),
        ([1, None, 3.5], [1, np.nan, 3.5]),
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        (pd.array([True, None], dtype="boolean"), [1, np.nan]),
        (np.ma.masked_array([1, 2], [False, True]), [1, np.nan]),
        (["1", " 2.5 ", "", "NA"], [1, 2.5, np.nan, np.nan]),
        ([1, "2", None], [1, 2, np.nan]),
        ([10**30, -1], [1e30, -1]),
        ([torch.tensor(1), np.float32(2)], [1, 2]),
    ],
)
def test_all_ways_to_write_numbers_are_numbers(values, numbers):
    np.testing.assert_array_equal(to_panel(values).values[0], numbers)


def test_numbers_read_from_text_are_told():
    frame = long_frame(id="unique_id", time="ds", target="y").astype({"y": str})
    panel = to_panel(frame)
    assert panel.values[0].tolist() == X.tolist()
    assert [(repair.series_id, repair.kind, repair.count) for repair in panel.repairs] == [
        ("b", "text", 20),
        ("a", "text", 20),
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, np.inf], "inf at position 1"),
        ([1, -np.inf, 2, np.inf], "-inf at position 1 and 1 more"),
        ([1, 10**400], "inf at position 1"),
        ([1, "one"], "'one' at position 1"),
        (["1", "1,5"], "'1,5' at position 1"),
        ([1, 2j], "2j at position 1"),
        (np.array([1j]), "1j at position 0"),
        (np.array(["2024-01-01"], dtype="M8[D]"), "2024-01-01"),
        ([None, np.nan], "no value at all"),
        (np.zeros(0), "empty"),
        ([1, [2]], r"\[2\] at position 1"),
    ],
)
def test_what_is_no_number_is_an_error_that_names_series_value_and_place(values, words):
    with pytest.raises(DataError, match=f"series 's'.*{words}"):
        to_panel({"s": values})


def test_a_bad_value_in_a_frame_is_named_by_its_time():
    frame = long_frame(id="unique_id", time="ds", target="y")
    frame.loc[25, "y"] = np.inf
    with pytest.raises(DataError, match=r"1 of 2 series.*\n.*'a' has inf at 2024-01-06"):
        to_panel(frame)
    frame["y"] = frame["y"].astype(object)
    frame.loc[25, "y"] = "broken"
    with pytest.raises(DataError, match=r"'a' has 'broken' at 2024-01-06"):
        to_panel(frame)
    with pytest.raises(DataError, match=r"'w' has inf at 2024-01-02"):
        to_panel(pd.DataFrame({"w": [1, np.inf], "v": [1, 2]}, index=DAYS[:2]))


def test_every_bad_series_is_in_one_message_up_to_ten():
    data = {f"bad{i}": [np.inf] for i in range(33)} | {"good": [1, 2]}
    with pytest.raises(DataError) as caught:
        to_panel(data)
    text = str(caught.value)
    assert "33 of 34" in text
    assert all(f"'bad{i}'" in text for i in range(10))
    assert "'bad10'" not in text
    assert "and 23 more" in text
    assert "errors='skip'" in text


@pytest.mark.parametrize("family", ["dict", "long", "wide", "rows"])
def test_skipping_leaves_out_the_bad_series_and_says_why(family):
    bad = np.where(np.arange(20) == 3, np.inf, 1.0)
    data = {
        "dict": {"good": X, "bad": bad},
        "long": pd.DataFrame({"unique_id": np.repeat(["good", "bad"], 20), "ds": [*DAYS[:20]] * 2, "y": np.r_[X, bad]}),
        "wide": pd.DataFrame({"good": X, "bad": bad}, index=DAYS[:20]),
        "rows": [{"item_id": "good", "target": X}, {"item_id": "bad", "target": bad}],
    }[family]
    panel = to_panel(data, errors="skip")
    assert panel.ids == ["good"]
    assert "inf" in panel.skipped["bad"]
    assert len(panel.index) == 1


def test_when_every_series_is_bad_skipping_is_an_error_too():
    with pytest.raises(DataError, match="no value at all"):
        to_panel({"a": [np.nan], "b": []}, errors="skip")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "the list is empty"),
        ({}, "the dict is empty"),
        (pd.DataFrame(), "no rows or no columns"),
        (5.0, "is no series"),
        (None, "is no series"),
        ({1, 2}, "is no series"),
        (object(), "type object"),
        (np.zeros((2, 2, 2)), "3 dimensions"),
        (np.array(1.0), "0 dimensions"),
        ("hello", "'hello' is no file"),
        ("absent.csv", "no file 'absent.csv'"),
        ([[1, 2], 3], "series 1 is 3"),
        ([np.zeros((2, 2))], r"series 0 has 2 dimensions \(shape \(2, 2\)\)"),
        ([pd.DataFrame({"a": [1]})], "pd.concat"),
        ({"a": pd.DataFrame({"a": [1]})}, "pd.concat"),
        ({"ds": ["2024-01-01"], "y": [1]}, "pandas.DataFrame"),
        ([{"item_id": "a", "target": [1]}, {"item_id": "a", "target": [2]}], "share the id 'a'"),
        ([{"item_id": "a", "x": [1]}], "target="),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns named 'a'"),
        (pd.DataFrame({"unique_id": ["a", None], "ds": DAYS[:2], "y": [1, 2]}), r"no id in 1 rows \(first: row 1\)"),
        (
            pd.DataFrame({"store": ["a", "b"], "city": ["c", "d"], "date": DAYS[:2], "sales": [1, 2]}),
            "'store', 'city' could name the series; say which with id=",
        ),
        (
            pd.DataFrame({"store": ["a", "b"], "date": DAYS[:2], "sales": [1, 2], "price": [1, 2]}),
            "'sales', 'price' could be the one to forecast; name it with target=",
        ),
        (pd.DataFrame({"start": DAYS[:2], "end": DAYS[:2], "y": [1, 2]}), "'start', 'end' could be the time.*time="),
        (pd.DataFrame({"store": [1, 2], "date": [DAYS[0]] * 2, "sales": [1, 2]}), "id="),
    ],
)
def test_what_cannot_be_understood_is_an_error_with_its_remedy(data, words):
    with pytest.raises(DataError, match=words):
        to_panel(data)


@pytest.mark.parametrize("argument", ["id", "time", "target"])
def test_a_named_column_that_is_not_there_is_an_error_that_lists_the_columns(argument):
    with pytest.raises(DataError, match=f"{argument}='nope' is no column.*'ds', 'y'"):
        to_panel(pd.DataFrame({"ds": DAYS[:2], "y": [1, 2]}), **{argument: "nope"})


def test_an_unknown_choice_of_errors_is_an_error():
    with pytest.raises(DataError, match="errors='ignore'"):
        to_panel([1, 2], errors="ignore")


def test_future_and_static_covariates_are_carried_by_series():
    frame = long_frame(id="unique_id", time="ds", target="y")
    future = pd.DataFrame({"unique_id": np.repeat(["a", "b"], H), "ds": NEXT * 2, "promo": np.arange(6)})
    static = pd.DataFrame({"unique_id": ["a", "b"], "region": ["north", "south"]})
    panel = to_panel(frame, future=future, static=static)
    assert [values.tolist() for values in panel.future_covariates["promo"]] == [[3, 4, 5], [0, 1, 2]]
    assert panel.static == {"region": ["south", "north"]}


def test_covariates_may_be_dicts():
    panel = to_panel({"a": X, "b": X}, future={"promo": [0, 1, 0]}, static={"size": [1, 2]})
    assert len(panel.future_covariates["promo"]) == 2
    assert panel.static == {"size": [1, 2]}
    assert to_panel({"a": X, "b": X}, static={"b": "small", "a": "big"}).static == {"static": ["big", "small"]}


@pytest.mark.parametrize(
    ("future", "words"),
    [
        (lambda f: f[f["unique_id"] == "a"], "no rows for series 'b'"),
        (lambda f: f.drop(index=0), "for 'a'|3 rows for some|2 rows for some"),
        (lambda f: f.drop(columns="unique_id"), "no column 'unique_id'"),
        (lambda f: f.assign(ds=f["ds"] + pd.Timedelta("1D")), "comes next"),
        (lambda f: f.assign(promo=np.nan), "finite"),
    ],
)
def test_future_covariates_that_do_not_belong_to_the_panel_are_refused(future, words):
    right = pd.DataFrame({"unique_id": np.repeat(["a", "b"], H), "ds": NEXT * 2, "promo": np.arange(6.0)})
    with pytest.raises(DataError, match=words):
        to_panel(long_frame(id="unique_id", time="ds", target="y"), future=future(right))


def test_static_covariates_of_the_wrong_length_or_ids_are_refused():
    with pytest.raises(DataError, match="one value for each of the 2 series"):
        to_panel({"a": X, "b": X}, static={"size": [1, 2, 3]})
    with pytest.raises(DataError, match="no value for series 'b'"):
        to_panel({"a": X, "b": X}, static={"size": {"a": 1}})


def test_fifty_thousand_series_of_one_point_are_a_panel():
    frame = pd.DataFrame({"unique_id": np.arange(50_000), "ds": DAYS[0], "y": 1.0})
    panel = to_panel(frame)
    assert len(panel) == 50_000
    assert len(give_back(panel, [np.zeros(2)] * 50_000)) == 100_000


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    lengths=lengths,
    horizon=st.integers(1, 9),
    family=st.sampled_from(["ragged", "dict", "long", "matrix", "wide", "rows"]),
)
def test_any_number_of_series_of_any_length_comes_back_in_its_shape(lengths, horizon, family):
    arrays = [np.arange(length) + 100.0 * i for i, length in enumerate(lengths)]
    same = np.stack([np.arange(lengths[0]) + 100.0 * i for i in range(len(lengths))])
    days = pd.date_range("2024", periods=12, freq="D")
    data = {
        "ragged": arrays,
        "dict": dict(enumerate(arrays)),
        "long": pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(lengths)), lengths),
                "ds": np.concatenate([days[:length] for length in lengths]),
                "y": np.concatenate(arrays),
            }
        ),
        "matrix": same,
        "wide": pd.DataFrame(same.T, index=days[: lengths[0]]),
        "rows": [{"target": array} for array in arrays],
    }[family]
    panel = to_panel(data)
    expected = list(same) if family in ("matrix", "wide") else arrays
    assert [values.tolist() for values in panel.values] == [values.tolist() for values in expected]
    made = give_back(panel, results(panel, horizon))
    flat = {"dict": lambda: list(made.values()), "long": lambda: made["y"], "wide": lambda: made.to_numpy().T}
    np.testing.assert_array_equal(np.ravel(flat.get(family, lambda: made)()), np.concatenate(results(panel, horizon)))
