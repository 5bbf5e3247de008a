"""Windows, horizons, seasons and the baseline follow GIFT-Eval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.protocol import (
    fill_forward,
    horizon_for,
    season_for,
    seasonal_naive,
    window_count,
    windows,
)

FREQUENCIES = ["h", "15min", "10min", "5min", "7min", "10s", "s", "D", "2D", "B", "W-SUN", "W-THU", "ME", "QE", "YE"]


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 6))
def test_validation_windows_end_where_testing_begins_and_keep_two_horizons(
    steps: int, horizon: int, count: int
) -> None:
    values = np.arange(steps, dtype=np.float64)
    first_test = steps - count * horizon
    found = list(windows(values, horizon, count, "validation"))
    assert len(found) == max(0, min(count, (first_test - 2 * horizon) // horizon))
    if found:
        assert found[-1][1][-1] == first_test - 1
    for context, target in found:
        assert len(context) >= 2 * horizon and len(target) == horizon
        assert target[0] == context[-1] + 1 and target[-1] < first_test


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 100))
def test_test_windows_cover_the_end_without_overlap(horizon: int, count: int, before: int) -> None:
    values = np.arange(before + horizon * count, dtype=np.float64)
    found = list(windows(values, horizon, count))
    np.testing.assert_array_equal(np.concatenate([target for _, target in found]), values[before:])
    assert all(context[-1] + 1 == target[0] for context, target in found)


def test_a_series_too_short_for_its_test_windows_is_refused() -> None:
    with pytest.raises(DataError, match="series of 12 steps has no 2 windows of 6 steps"):
        list(windows(np.zeros(12), 6, 2))
    with pytest.raises(UnknownName, match="'train'"):
        list(windows(np.zeros(12), 6, 1, "train"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("freq", FREQUENCIES)
def test_seasons_are_those_of_gluonts(freq: str) -> None:
    seasonality = pytest.importorskip("gluonts.time_feature.seasonality", reason="the comparison needs gluonts")
    assert season_for(freq) == seasonality.get_seasonality(freq)


def test_month_and_quarter_starts_have_the_season_of_month_and_quarter_ends() -> None:
    assert [season_for(freq) for freq in ("MS", "ME", "M", "QS", "Q", "YS", "H", "15T")] == [
        12,
        12,
        12,
        4,
        4,
        1,
        24,
        96,
    ]


@pytest.mark.parametrize(
    "freq, m4, horizon",
    [
        ("h", False, 48),
        ("15min", False, 48),
        ("10s", False, 60),
        ("D", False, 30),
        ("W-THU", False, 8),
        ("MS", False, 12),
        ("h", True, 48),
        ("W-SUN", True, 13),
        ("D", True, 14),
        ("ME", True, 18),
        ("QS", True, 8),
    ],
)
def test_horizons_follow_the_frequency_and_grow_with_the_term(freq: str, m4: bool, horizon: int) -> None:
    assert [horizon_for(freq, term, m4) for term in ("short", "medium", "long")] == [
        horizon,
        10 * horizon,
        15 * horizon,
    ]


def test_an_unknown_frequency_or_term_is_named() -> None:
    with pytest.raises(UnknownName, match="'B'"):
        horizon_for("B")
    with pytest.raises(UnknownName, match="'far'"):
        horizon_for("h", "far")
    with pytest.raises(DataError, match="every day"):
        season_for("every day")


def test_windows_are_a_tenth_of_the_shortest_series_between_one_and_twenty() -> None:
    assert [window_count(n, 48) for n in (100, 481, 9600, 9601, 10**6)] == [1, 2, 20, 20, 20]
    assert window_count(10**6, 48, m4=True) == 1


def test_the_seasonal_naive_median_repeats_the_last_season_and_its_spread_grows_by_season() -> None:
    context = np.random.default_rng(0).normal(size=50)
    quantiles = seasonal_naive(context, 10, 4)
    np.testing.assert_allclose(quantiles[:, 4], np.resize(context[-4:], 10))
    width = quantiles[:, 8] - quantiles[:, 0]
    np.testing.assert_allclose(width / width[0], np.sqrt([1, 1, 1, 1, 2, 2, 2, 2, 3, 3]))
    sigma = np.sqrt(np.mean((context[4:] - context[:-4]) ** 2))
    np.testing.assert_allclose(width[0], 2 * 1.2815515655446004 * sigma)


def test_the_seasonal_naive_forecast_bridges_gaps_and_short_contexts() -> None:
    np.testing.assert_allclose(fill_forward(np.array([np.nan, 2.0, np.nan, 4.0, np.nan])), [2, 2, 2, 4, 4])
    np.testing.assert_allclose(seasonal_naive(np.array([3.0]), 2, 24), np.full((2, 9), 3.0))
    with pytest.raises(DataError, match="no observed value"):
        seasonal_naive(np.full(5, np.nan), 2, 1)
