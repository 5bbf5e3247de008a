"""The classical baselines are statsforecast's, and say where they could not be fitted."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tsfm.errors import DataError, MissingDependency, UnknownName
from tsfm.evaluation.metrics import Array
from tsfm.evaluation.protocol import fill_forward, seasonal_naive
from tsfm.evaluation.statistical import METHODS, STATISTICAL, Statistical, statistical

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
HORIZON, SEASON = 5, 4


@pytest.fixture(params=STATISTICAL)
def method(request: pytest.FixtureRequest) -> Statistical:
    pytest.importorskip("statsforecast", reason="the extra `bench` is not installed")
    return statistical(request.param)


@pytest.fixture
def ets() -> Statistical:
    pytest.importorskip("statsforecast", reason="the extra `bench` is not installed")
    return statistical("auto-ets")


def made_series(steps: int = 44, seed: int = 3) -> Array:
    noise = np.random.default_rng(seed).normal(size=steps)
    return np.asarray(30 + 4 * np.sin(2 * np.pi * np.arange(steps) / SEASON) + noise, dtype=np.float64)


def test_quantiles_rise_with_their_level_and_come_in_the_order_asked(method: Statistical) -> None:
    (rising,) = method([made_series()], HORIZON, LEVELS, [SEASON])
    assert rising.shape == (HORIZON, len(LEVELS))
    assert (np.diff(rising, axis=-1) > 0).all()
    (falling,) = method([made_series()], HORIZON, LEVELS[::-1], [SEASON])
    np.testing.assert_array_equal(falling, rising[:, ::-1])


def test_the_median_is_the_point_forecast_and_the_intervals_are_those_of_statsforecast(method: Statistical) -> None:
    (quantiles,) = method([made_series()], HORIZON, LEVELS, [SEASON])
    theirs = method.kind(season_length=SEASON).forecast(made_series(), HORIZON, level=[80, 95])
    np.testing.assert_allclose(quantiles[:, 2], theirs["mean"], rtol=1e-6)
    np.testing.assert_allclose(quantiles[:, 3] - quantiles[:, 1], theirs["hi-80"] - theirs["lo-80"], rtol=1e-6)
    np.testing.assert_allclose(quantiles[:, 4] - quantiles[:, 0], theirs["hi-95"] - theirs["lo-95"], rtol=1e-6)


def test_gaps_are_filled_with_the_value_before_them_and_leading_ones_are_left_out(ets: Statistical) -> None:
    gappy = made_series()
    gappy[[9, 20, 21, -1]] = np.nan
    late = np.concatenate([np.full(7, np.nan), gappy])
    found = ets([gappy, fill_forward(gappy), late], HORIZON, LEVELS, [SEASON] * 3)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_series_is_forecast_the_same_whatever_its_neighbours(ets: Statistical) -> None:
    one, other = made_series(), made_series(30, seed=9)
    together = ets([other, one], HORIZON, LEVELS, [SEASON] * 2)
    np.testing.assert_array_equal(ets([one], HORIZON, LEVELS, [SEASON])[0], together[1])


def test_a_constant_series_forecasts_itself(method: Statistical) -> None:
    (quantiles,) = method([np.full(30, 7.0)], HORIZON, LEVELS, [SEASON])
    np.testing.assert_allclose(quantiles, 7.0, rtol=1e-5)


@pytest.mark.parametrize("factor", [2.0**-60, 2.0**600])
def test_a_series_of_odd_size_is_fitted_in_a_unit_of_its_own(method: Statistical, factor: float) -> None:
    nearby = made_series() / 32  # what is in its own unit already
    found = method([nearby * factor, nearby], HORIZON, LEVELS, [SEASON] * 2)
    spread = np.ptp(found[1])
    np.testing.assert_allclose(found[0] / factor, found[1], atol=1e-3 * spread)


def test_a_season_longer_than_the_series_counts_as_one(ets: Statistical) -> None:
    series = made_series(20)
    np.testing.assert_array_equal(*ets([series, series], HORIZON, LEVELS, [1, 24]))


def test_a_series_that_cannot_be_fitted_gets_the_seasonal_naive_forecast_and_is_counted(ets: Statistical) -> None:
    short, long = np.array([3.0, 4.0, 6.0]), made_series()
    with pytest.warns(UserWarning, match="auto-ets could not be fitted to 1 of 2 series.*tiny datasets"):
        found = ets([short, long], HORIZON, LEVELS, [2, SEASON])
    np.testing.assert_allclose(found[0], seasonal_naive(short, HORIZON, 2, LEVELS))
    np.testing.assert_array_equal(found[1], ets([long], HORIZON, LEVELS, [SEASON])[0])
    assert ets.failed == 1


def test_no_more_than_the_stated_steps_of_a_series_are_used(ets: Statistical) -> None:
    ets.method = replace(ets.method, longest=30)
    series = made_series()
    np.testing.assert_array_equal(*ets([series, series[-30:]], HORIZON, LEVELS, [SEASON] * 2))
    assert all(method.longest >= 1000 for method in METHODS.values())


def test_a_context_without_a_value_is_refused(ets: Statistical) -> None:
    with pytest.raises(DataError, match="context of 9 steps has no observed value"):
        ets([np.full(9, np.nan)], HORIZON, LEVELS, [1])


def test_an_unknown_method_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownName, match="'auto-ces'; there are auto-ets, auto-theta, auto-arima"):
        statistical("auto-ces")


def test_without_statsforecast_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tsfm-forecast\[bench\]'"):
        statistical("auto-ets")


def test_naming_the_methods_imports_none_of_them() -> None:
    heavy = "{'statsforecast', 'numba', 'fugue', 'statsmodels', 'pandas', 'torch'}"
    code = f"import sys, tsfm.evaluation.statistical; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
