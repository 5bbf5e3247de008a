"""A panel knows its seasons, its usual horizon and the stamps that come next."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import give_back, to_panel


def dated(freq: str, periods: int = 40) -> pd.Series:
    return pd.Series(np.arange(float(periods)), index=pd.date_range("2020-01-01", periods=periods, freq=freq))


@pytest.mark.parametrize(
    ("freq", "season", "horizon"),
    [
        ("s", 60, 60),
        ("10s", 6, 60),
        ("min", 1440, 48),
        ("5min", 288, 48),
        ("10min", 144, 48),
        ("15min", 96, 48),
        ("30min", 48, 48),
        ("h", 24, 48),
        ("6h", 4, 48),
        ("D", 7, 30),
        ("B", 5, 30),
        ("W-WED", 52, 8),
        ("MS", 12, 12),
        ("QS", 4, 8),
        ("YS", 1, 4),
    ],
)
def test_every_frequency_has_its_season_and_usual_horizon(freq, season, horizon):
    panel = to_panel(dated(freq))
    assert panel.season == [season]
    assert panel.default_horizon() == horizon


@pytest.mark.parametrize(("length", "horizon"), [(1, 1), (3, 1), (40, 10), (10_000, 64)])
def test_the_horizon_of_an_unknown_frequency_is_a_quarter_of_the_history_within_bounds(length, horizon):
    assert to_panel(np.ones(length)).default_horizon() == horizon


def test_the_most_common_frequency_decides_the_horizon_of_a_mixed_panel():
    panel = to_panel({"a": dated("h"), "b": dated("D"), "c": dated("D")})
    assert panel.default_horizon() == 30
    assert panel.season == [24, 7, 7]


def test_the_future_index_continues_the_past_index_without_a_gap():
    panel = to_panel(dated("h"))
    both = panel.past_index(0).append(panel.future_index(0, 5))
    assert list(both) == list(pd.date_range("2020-01-01", periods=45, freq="h"))


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-FRI", "MS", "ME", "QE", "YS", "15min"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_series_in_a_long_frame_has_the_axis_it_has_alone(freq, zone):
    index = pd.date_range("2020-02-29", periods=30, freq=freq, tz=zone)
    alone = to_panel(pd.Series(np.arange(30.0), index=index))
    frame = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 30), "ds": [*index] * 2, "y": 1.0})
    assert to_panel(frame).index == [alone.index[0]] * 2


def test_future_times_of_all_series_are_their_future_indexes_one_after_the_other():
    panel = to_panel({"a": dated("MS"), "b": dated("h"), "c": dated("W-FRI", 7)})
    together = panel.future_times(3)
    assert list(together) == [stamp for i in range(3) for stamp in panel.future_index(i, 3)]


def test_a_panel_cut_down_to_some_series_still_gives_results_back_in_its_family():
    panel = to_panel({"a": [1, 2], "b": [3, 4], "c": [5]}).take([2, 0])
    assert panel.ids == ["c", "a"]
    assert list(panel.give_back([np.zeros(2), np.ones(2)])) == ["c", "a"]


def test_values_are_float64_and_a_panel_given_again_is_itself():
    panel = to_panel(np.arange(5, dtype=np.int16))
    assert panel.values[0].dtype == np.float64
    assert to_panel(panel) is panel


def test_changing_the_users_array_later_does_not_change_the_panel():
    mine = np.arange(5.0)
    panel = to_panel(mine)
    mine[:] = -1
    assert panel.values[0].tolist() == [0, 1, 2, 3, 4]


def test_as_many_results_as_series_are_wanted():
    with pytest.raises(ValueError, match="1 results for 2 series"):
        give_back(to_panel({"a": [1], "b": [2]}), [np.zeros(3)])
