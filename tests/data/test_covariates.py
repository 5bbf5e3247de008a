"""Covariates lie on the axis of their series, are known where they are asked for, and belong to one series only."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError

STEPS, H = 20, 3
DAYS = pd.date_range("2024-01-01", periods=STEPS + H)


def shops(horizon: int = 0) -> pd.DataFrame:
    """Two shops with a weather of their own, a promotion, an event in words and a region; `horizon` rows to come."""
    rows = STEPS + horizon
    frame = pd.DataFrame(
        {
            "shop": np.repeat(["a", "b"], rows),
            "day": [*DAYS[:rows]] * 2,
            "sold": np.r_[np.arange(rows), 100 + np.arange(rows)].astype(float),
            "weather": np.r_[np.arange(rows), -np.arange(rows)] / 10,
            "promo": np.tile(np.arange(rows) % 3 == 0, 2),
            "event": ([None, "fair", "strike", None] * rows)[: 2 * rows],
            "region": np.repeat(["north", "south"], rows),
        }
    )
    coming = frame["day"] >= DAYS[STEPS]
    return frame.assign(sold=frame["sold"].mask(coming), weather=frame["weather"].mask(coming))


ROLES = {"id": "shop", "time": "day", "target": "sold"}
NAMED = {"past": ["weather"], "future": ["promo", "event"], "static": ["region"]}


def coming() -> pd.DataFrame:
    """What is known of the steps after the history."""
    frame = shops(H)
    return frame[frame["day"] >= DAYS[STEPS]].drop(columns=["sold", "weather", "region"]).fillna({"event": "none"})


def test_named_columns_follow_the_repairs_of_their_series():
    frame = shops().drop(index=[5, 6]).sample(frac=1, random_state=0)
    panel = to_panel(frame, **ROLES, **NAMED)
    weather = dict(zip(panel.ids, panel.past_covariates["weather"], strict=True))
    expected = np.arange(STEPS) / 10
    np.testing.assert_array_equal(weather["b"], -expected)
    expected[5:7] = np.nan
    np.testing.assert_array_equal(weather["a"], expected)
    assert any("'weather' is missing in 2 of 40 steps" in repair.message for repair in panel.repairs)


def test_booleans_are_numbers_and_words_are_codes_with_their_list():
    panel = to_panel(shops(), **ROLES, **NAMED)
    assert panel.past_covariates["promo"][0].tolist() == [float(i % 3 == 0) for i in range(STEPS)]
    assert panel.categories == {"event": ["fair", "strike"]}
    np.testing.assert_array_equal(panel.past_covariates["event"][0][:4], [np.nan, 0, 1, np.nan])
    assert panel.static == {"region": ["north", "south"]}


def test_a_word_first_met_ahead_gets_a_code_of_its_own():
    future = coming().assign(event="flood")
    panel = to_panel(shops(), **ROLES, past=["weather", "promo", "event"], future=future)
    assert panel.categories["event"] == ["fair", "strike", "flood"]
    assert [values.tolist() for values in panel.future_covariates["event"]] == [[2.0] * H] * 2


def test_named_columns_are_not_told_as_unused_and_others_are():
    told = [r.message for r in to_panel(shops(), **ROLES, past=["weather"]).repairs if r.kind == "covariates"]
    assert len(told) == 1
    assert "'promo'" in told[0]
    assert "'weather'" not in told[0]


def test_a_static_column_that_changes_is_an_error_that_names_both_values():
    frame = shops()
    frame.loc[3, "region"] = "west"
    with pytest.raises(DataError, match="'region', which is both 'north' and 'west' in series 'a'"):
        to_panel(frame, **ROLES, **NAMED)


def test_last_rows_without_a_target_are_what_is_known_ahead():
    panel = to_panel(shops(H), **ROLES, **NAMED)
    assert [len(values) for values in panel.values] == [STEPS, STEPS]
    assert [len(column) for column in panel.past_covariates["weather"]] == [STEPS, STEPS]
    assert panel.future_covariates["promo"][1].tolist() == [float(i % 3 == 0) for i in range(STEPS, STEPS + H)]
    assert panel.future_index(0, H).tolist() == DAYS[STEPS:].tolist()
    assert any("3 last rows without a target" in repair.message for repair in panel.repairs)


def test_a_history_that_is_missing_at_its_end_stays_whole_when_nothing_is_known_ahead():
    frame = shops().astype({"promo": object})
    frame.loc[frame["day"] >= DAYS[STEPS - 2], ["sold", "promo", "event"]] = None
    panel = to_panel(frame, **ROLES, future=["promo", "event"])
    assert [len(values) for values in panel.values] == [STEPS, STEPS]
    assert panel.future_covariates is None


def test_rows_ahead_may_come_in_any_order():
    future = coming().sample(frac=1, random_state=3)
    panel = to_panel(shops(), **ROLES, past=["promo", "event"], future=future)
    assert panel.future_covariates["promo"][0].tolist() == [float(i % 3 == 0) for i in range(STEPS, STEPS + H)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[f["day"] != DAYS[STEPS]], "begins at 2024-01-22.* 2024-01-21.* comes next"),
        (lambda f: f[f["day"] != DAYS[STEPS + 1]], "2024-01-23.* where 2024-01-22.* comes next"),
        (lambda f: pd.concat([f, f.tail(1)]), "for 'b' has several rows at 2024-01-23"),
        (lambda f: f.assign(day=f["day"] - pd.Timedelta("2D")), "at 2024-01-19.*lies in its history"),
        (lambda f: f.drop(columns="day"), "no column 'day'"),
        (lambda f: f.drop(columns="shop"), "no column 'shop'"),
        (lambda f: f.assign(promo=[1, None, 0, 1, 1, 1]), "no value of 'promo' for series 'a' at 2024-01-22"),
        (lambda f: f.assign(promo="yes"), "'promo' is words in future= .'yes'. and numbers"),
        (lambda f: f.assign(day=f["day"].dt.tz_localize("UTC")), "with a time zone.*write both alike"),
    ],
)
def test_rows_ahead_that_are_not_the_next_steps_are_named(change, words):
    with pytest.raises(DataError, match=words):
        to_panel(shops(), **ROLES, past=["promo", "event"], future=change(coming()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"past": ["rain"]}, "past= names 'rain', which is no column.*'weather'"),
        ({"past": ["weather"], "future": ["weather"]}, "both past= and future= name the column 'weather'"),
        ({"past": ["sold"]}, "'sold', which is id, time or target already"),
        ({"past": {"weather": [1]}}, "does not name columns"),
        ({"past": ["day2"]}, "'day2' holds times.*dayofweek"),
        ({"past": ["typo"]}, "'typo' holds numbers, but series 'b' has 'n.a. yet' in row 30"),
        ({"past": ["wild"]}, "'wild' of series 'a' has inf in row 4"),
    ],
)
def test_columns_that_cannot_be_covariates_are_named(given, words):
    frame = shops().assign(day2=[*DAYS[:STEPS]] * 2, typo=[str(i) for i in range(2 * STEPS)], wild=1.0)
    frame.loc[30, "typo"], frame.loc[4, "wild"] = "n.a. yet", np.inf
    with pytest.raises(DataError, match=words):
        to_panel(frame, **ROLES, **given)


def test_repeated_rows_that_differ_in_a_named_column_are_an_error():
    frame = pd.concat([shops(), shops().iloc[[7]].assign(weather=9.0)])
    with pytest.raises(DataError, match="'weather' of series 'a' has different values at the same time 2024-01-08"):
        to_panel(frame, **ROLES, past=["weather"])


@pytest.mark.parametrize("future", [{"promo": [1, 0, 1]}, pd.DataFrame({"promo": [1, 0, 1]})])
def test_values_ahead_are_never_shared_by_several_series(future):
    with pytest.raises(DataError, match=r"'a': \[...\], 'b': \[...\]"):
        to_panel({"a": np.arange(9.0), "b": np.arange(9.0)}, future=future)
    assert to_panel({"a": np.arange(9.0)}, future=future).future_covariates["promo"][0].tolist() == [1, 0, 1]


def test_a_dict_gives_each_series_its_own_values_ahead():
    future = {"promo": {"b": [0, 0], "a": [1, 1]}}
    panel = to_panel({"a": np.arange(9.0), "b": np.arange(9.0)}, future=future)
    assert [values.tolist() for values in panel.future_covariates["promo"]] == [[1, 1], [0, 0]]


def test_columns_of_a_wide_frame_are_shared_only_where_the_series_are_named():
    frame = pd.DataFrame({"day": DAYS[:STEPS], "a": 1.0, "b": 2.0, "weather": np.arange(STEPS)})
    with pytest.raises(DataError, match=r"target=\['a', 'b'\]"):
        to_panel(frame, past=["weather"])
    panel = to_panel(frame, target=["a", "b"], past=["weather"])
    assert [column.tolist() for column in panel.past_covariates["weather"]] == [list(range(STEPS))] * 2
    assert any("covariates of each of its 2 series" in repair.message for repair in panel.repairs)


def test_the_column_left_beside_named_ones_is_the_target():
    frame = pd.DataFrame({"day": DAYS[:STEPS], "sold": 1.0, "weather": 2.0, "kind": "x"})
    panel = to_panel(frame, past=["weather"], static=["kind"])
    assert panel.ids == ["sold"]
    assert panel.static == {"kind": ["x"]}


def test_data_without_columns_cannot_have_one_named():
    with pytest.raises(DataError, match="names a column"):
        to_panel([1.0, 2.0], past=["weather"])
    with pytest.raises(DataError, match="a long frame with a row a step"):
        to_panel([{"target": [1.0, 2.0], "start": "2024-01-01", "freq": "D"}], past=["weather"])
