"""The promises of architecture.md, as properties of every registered forecaster (`clip=None` where values matter)."""

import tracemalloc

import numpy as np
import pytest
from every_forecaster import forecaster_named, forecaster_names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tsfm import Forecaster, TsfmError
from tsfm.options import DECILES

HORIZON = 9
few = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=forecaster_names())
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return forecaster_named(request.param)


@st.composite
def series(draw: st.DrawFn, shortest: int = 2, longest: int = 300) -> np.ndarray:
    """A walk, a seasonal series, counts or noise, with values missing anywhere but at its ends."""
    steps = draw(st.integers(shortest, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["walk", "season", "counts", "noise"]))
    time = np.arange(steps)
    values = {
        "walk": rng.normal(size=steps).cumsum(),
        "season": 3 + np.sin(time / 7 * 2 * np.pi) + 0.1 * rng.normal(size=steps),
        "counts": rng.poisson(0.7, size=steps).astype(float),
        "noise": rng.normal(size=steps),
    }[kind]
    values[0], values[-1] = values[0] + 0.5, values[-1] - 0.25
    if draw(st.booleans()):
        values[1:-1][rng.random(max(steps - 2, 0)) < 0.3] = np.nan
    return values


def predict(forecaster: Forecaster, many: list[np.ndarray], **options: object) -> list[np.ndarray]:
    options = {"season": [7] * len(many), "clip": None, **options}
    return forecaster.predict_arrays(many, HORIZON, DECILES, **options)


def assert_close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - wanted).max() <= tolerance


@few
@given(many=st.lists(series(), min_size=2, max_size=6), size=st.sampled_from([None, 1, 2]), seed=st.integers(0, 99))
def test_a_forecast_does_not_depend_on_neighbours_order_or_batch_size(forecaster, many, size, seed):
    order = np.random.default_rng(seed).permutation(len(many))
    together = predict(forecaster, [many[position] for position in order], batch_size=size)
    for position, found in zip(order, together, strict=True):
        (alone,) = predict(forecaster, [many[position]])
        assert_close(found, alone, 1e-5 * np.nanstd(many[position]))


@few
@given(one=series(), padding=st.integers(1, 200))
def test_missing_values_before_a_series_change_nothing(forecaster, one, padding):
    padded = np.concatenate([np.full(padding, np.nan), one])
    np.testing.assert_array_equal(predict(forecaster, [padded])[0], predict(forecaster, [one])[0])


@few
@given(one=series(), exponent=st.floats(-6, 6), shift=st.floats(-1e3, 1e3))
def test_a_forecast_scales_and_shifts_with_its_series(forecaster, one, exponent, shift):
    scale, deviation = 10.0**exponent, np.nanstd(one)
    moved = scale * one + shift * scale * deviation
    wanted = scale * predict(forecaster, [one])[0] + shift * scale * deviation
    assert_close(predict(forecaster, [moved])[0], wanted, 1e-4 * scale * deviation)


@few
@given(one=series(shortest=20), seed=st.integers(0, 99))
def test_a_forecast_is_unchanged_by_anything_after_the_cutoff(forecaster, one, seed):
    cutoff = len(one) * 3 // 4
    cutoff += int(np.isfinite(one[cutoff:]).argmax()) + 1
    other = one.copy()
    other[cutoff:] = np.random.default_rng(seed).normal(scale=1e6, size=len(one) - cutoff)
    np.testing.assert_array_equal(predict(forecaster, [one[:cutoff]])[0], predict(forecaster, [other[:cutoff]])[0])


@few
@given(one=series(), levels=st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8))
def test_quantiles_never_cross_and_come_in_the_order_asked(forecaster, one, levels):
    (found,) = forecaster.predict_arrays([one], HORIZON, levels, [7], clip=None)
    rising = np.argsort(levels, kind="stable")
    assert found.shape == (HORIZON, len(levels))
    assert (np.diff(found[:, rising], axis=1) >= 0).all()


@few
@given(value=st.floats(allow_nan=False, allow_infinity=False), steps=st.integers(1, 70), gap=st.integers(0, 5))
def test_a_constant_series_forecasts_itself_to_the_last_bit(forecaster, value, steps, gap):
    one = np.concatenate([np.full(steps, value), np.full(gap, np.nan), [value]])
    assert (predict(forecaster, [one])[0] == value).all()


@few
@given(one=arrays(np.float64, st.integers(1, 80), elements=st.floats(allow_infinity=False)))
def test_any_finite_history_gives_a_finite_forecast_or_a_clear_error(forecaster, one):
    try:
        (found,) = predict(forecaster, [one])
    except TsfmError as error:
        assert np.isnan(one).all()
        assert "series 0 has no value" in str(error)
    else:
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=1) >= 0).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-30, 1e30, 1e300])
def test_a_forecast_has_the_size_of_its_series_at_any_scale(forecaster, scale):
    rng = np.random.default_rng(1)
    one = scale * (10 + rng.normal(size=128))
    (found,) = predict(forecaster, [one])
    assert np.isfinite(found).all()
    assert (np.abs(found / scale - 10) < 200).all()


def test_the_ends_of_float64_give_a_finite_forecast(forecaster):
    for one in ([1e308, -1e308], [1.7e308, -1.7e308] * 20, [5e-324, 0.0, 5e-324], [1e-320, 1e308], [-1e308, 1.0, 2.0]):
        (found,) = predict(forecaster, [np.array(one)])
        assert np.isfinite(found).all()


def test_zeros_and_one_point_forecast_themselves(forecaster):
    zeros, point = predict(forecaster, [np.zeros(40), np.array([7.25])])
    assert (zeros == 0).all()
    assert (point == 7.25).all()


def test_the_arrays_given_are_left_as_they_were(forecaster):
    one = np.array([1.0, np.nan, 3.0, 2.0, 5.0])
    before = one.copy()
    predict(forecaster, [one])
    np.testing.assert_array_equal(one, before)


@pytest.mark.slow
def test_ten_million_points_are_forecast_in_bounded_memory(forecaster):
    one = np.random.default_rng(0).normal(size=10_000_000).cumsum()
    tracemalloc.start()
    try:
        (found,) = predict(forecaster, [one])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.isfinite(found).all()
    assert peak < 200e6


@pytest.mark.slow
def test_fifty_thousand_one_point_series_are_forecast(forecaster):
    many = [np.array([float(value)]) for value in range(50_000)]
    found = predict(forecaster, many)
    assert len(found) == 50_000
    assert (found[49_999] == 49_999).all()
