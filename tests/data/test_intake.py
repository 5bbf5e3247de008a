"""What is no series, no number or no covariate is refused in words that name it and the remedy."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError

X = np.arange(20.0)
H = 3
DAYS = pd.date_range("2024-01-01", periods=20 + H, freq="D")
NEXT = list(DAYS[20:])


def long_frame() -> pd.DataFrame:
    """Two series, "b" first."""
    return pd.DataFrame({"unique_id": np.repeat(["b", "a"], 20), "ds": [*DAYS[:20]] * 2, "y": np.r_[X, X]})


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
    frame = long_frame().astype({"y": str})
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
    frame = long_frame()
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
    frame = long_frame()
    future = pd.DataFrame({"unique_id": np.repeat(["a", "b"], H), "ds": NEXT * 2, "promo": np.arange(6)})
    static = pd.DataFrame({"unique_id": ["a", "b"], "region": ["north", "south"]})
    panel = to_panel(frame, future=future, static=static)
    assert [values.tolist() for values in panel.future_covariates["promo"]] == [[3, 4, 5], [0, 1, 2]]
    assert panel.static == {"region": ["south", "north"]}


def test_covariates_may_be_dicts():
    panel = to_panel({"a": X, "b": X}, future={"promo": [[0, 1, 0], [1, 0, 0]]}, static={"size": [1, 2]})
    assert [values.tolist() for values in panel.future_covariates["promo"]] == [[0, 1, 0], [1, 0, 0]]
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
        to_panel(long_frame(), future=future(right))


def test_static_covariates_of_the_wrong_length_or_ids_are_refused():
    with pytest.raises(DataError, match="one value for each of the 2 series"):
        to_panel({"a": X, "b": X}, static={"size": [1, 2, 3]})
    with pytest.raises(DataError, match="no value for series 'b'"):
        to_panel({"a": X, "b": X}, static={"size": {"a": 1}})


def test_columns_beside_the_target_are_named_as_unused():
    frame = pd.DataFrame({"shop": ["a", "a"], "day": ["2024-01-01", "2024-01-02"], "y": [1, 2], "price": [3, 4]})
    told = [repair.message for repair in to_panel(frame).repairs if repair.kind == "covariates"]
    assert len(told) == 1
    assert "'price'" in told[0]


@pytest.mark.parametrize("named", [{"id": "shop"}, {"time": "day"}, {"target": "load"}])
@pytest.mark.parametrize(
    "data", [[1.0, 2.0], {"load": [1.0], "wind": [2.0]}, np.ones(3), torch.ones(3), pd.Series([1])]
)
def test_a_column_named_in_data_without_columns_is_an_error(data, named):
    with pytest.raises(DataError, match="names a column"):
        to_panel(data, **named)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_column_vector_is_told_that_its_rows_are_series(make):
    (repair,) = to_panel(make([[1.0], [2.0], [3.0]])).repairs
    assert "data[:, 0]" in repair.message


def test_an_object_array_of_arrays_is_a_ragged_list():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones(3), np.ones(5)]
    assert [len(values) for values in to_panel(ragged).values] == [3, 5]


def test_a_series_left_out_is_not_said_to_be_read_from_text():
    panel = to_panel({"good": ["1", "2"], "bad": ["x", "2"]}, errors="skip")
    assert [repair.series_id for repair in panel.repairs] == ["good"]
