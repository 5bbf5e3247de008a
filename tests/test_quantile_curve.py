"""The quantile curve: never crosses, never jumps, and its mean is its integral."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tsfm.errors import DataError
from tsfm.quantile_curve import evaluate, mean

DECILES = tuple(np.round(np.arange(0.1, 1.0, 0.1), 1).tolist())
FINITE = st.floats(-1e300, 1e300, allow_nan=False)
MODEST = st.floats(-1e6, 1e6, allow_nan=False)
LEVEL = st.floats(1e-9, 1 - 1e-9)
KNOTS = st.lists(st.integers(1, 999), min_size=1, max_size=12, unique=True).map(
    lambda k: tuple(i / 1000 for i in sorted(k))
)


@st.composite
def curves(draw, element=FINITE):
    levels = draw(KNOTS)
    values = draw(arrays(np.float64, (3, len(levels)), elements=element))
    return levels, np.sort(values, axis=-1)


def integral(levels, values, floor=-np.inf):
    """The mean by brute force: fine midpoints in each piece, finer towards the ends."""
    tail = np.geomspace(1e-14, 1.0, 6_001)
    edges = np.unique(
        np.concatenate([tail * levels[0], np.linspace(levels[0], levels[-1], 6_001), 1 - tail * (1 - levels[-1])])
    )
    middles = 0.5 * (edges[1:] + edges[:-1])
    heights = np.stack([evaluate(levels, values, level) for level in middles], axis=-1)
    return (np.maximum(heights, floor) * np.diff(edges)).sum(-1)


@given(curves(), LEVEL, LEVEL)
def test_the_curve_never_falls(curve, one, other):
    levels, values = curve
    low, high = sorted((one, other))
    assert (evaluate(levels, values, low) <= evaluate(levels, values, high)).all()


@given(curves(), st.data())
def test_at_a_knot_the_curve_gives_the_knot_to_the_last_bit(curve, data):
    levels, values = curve
    knot = data.draw(st.integers(0, len(levels) - 1))
    np.testing.assert_array_equal(evaluate(levels, values, levels[knot]), values[:, knot])


@given(curves(MODEST), st.data())
def test_the_curve_does_not_jump_at_a_knot(curve, data):
    levels, values = curve
    knot = data.draw(st.integers(0, len(levels) - 1))
    steepest = 1e3 * np.ptp(values, axis=-1) + 1e-6
    for side in (-1e-9, 1e-9):
        gap = np.abs(evaluate(levels, values, levels[knot] + side) - values[:, knot])
        assert (gap <= 2e-9 * steepest + 1e-9).all()


@given(curves(MODEST))
def test_the_slope_is_the_same_on_both_sides_of_the_outer_knots(curve):
    levels, values = curve
    if len(levels) == 1:
        return
    step = 1e-6
    for edge in (levels[0], levels[-1]):
        middle = evaluate(levels, values, edge)
        left = (middle - evaluate(levels, values, edge - step)) / step
        right = (evaluate(levels, values, edge + step) - middle) / step
        np.testing.assert_allclose(left, right, rtol=2e-3, atol=1e-2)


@given(curves(st.floats(-1.79e308, 1.79e308)), LEVEL)
def test_every_finite_float_gives_a_finite_curve_and_mean(curve, level):
    levels, values = curve
    for found in (evaluate(levels, values, level), mean(levels, values), mean(levels, values, floor_at_zero=True)):
        assert np.isfinite(found).all()


@given(curves())
def test_the_mean_lies_between_the_extremes(curve):
    levels, values = curve
    found = mean(levels, values)
    slack = 1e-12 * np.abs(values).max(-1)
    assert (found >= evaluate(levels, values, 1e-15) - slack).all()
    assert (found <= evaluate(levels, values, 1 - 1e-15) + slack).all()


@pytest.mark.parametrize("offset", [0.0, -0.7, 0.7, -30.0, 30.0, 1.2, -1.2])
@pytest.mark.parametrize("levels", [DECILES, (0.3, 0.8), (0.05, 0.5, 0.6)])
def test_the_mean_is_the_integral_of_the_curve_with_and_without_a_floor(levels, offset):
    values = offset + np.sort(np.random.default_rng(0).normal(size=(4, len(levels))), axis=-1)
    np.testing.assert_allclose(mean(levels, values), integral(levels, values), atol=5e-6)
    np.testing.assert_allclose(mean(levels, values, floor_at_zero=True), integral(levels, values, 0.0), atol=5e-6)


@given(curves())
def test_a_floor_never_lowers_the_mean_and_never_leaves_it_below_zero(curve):
    levels, values = curve
    floored = mean(levels, values, floor_at_zero=True)
    assert (floored >= 0).all()
    assert (floored >= mean(levels, values) - 1e-9 * np.abs(values).max(-1)).all()


@given(FINITE, KNOTS, LEVEL)
def test_equal_knots_are_a_constant_to_the_last_bit(constant, levels, level):
    values = np.full((2, len(levels)), constant)
    assert (evaluate(levels, values, level) == constant).all()
    assert (mean(levels, values) == constant).all()
    assert (mean(levels, values, floor_at_zero=True) == max(constant, 0.0)).all()


@given(curves(MODEST), LEVEL, st.integers(-900, 800))
@settings(max_examples=50)
def test_the_unit_does_not_matter(curve, level, exponent):
    levels, values = curve
    values = np.round(values, 3)
    unit = 2.0**exponent
    np.testing.assert_allclose(
        evaluate(levels, values * unit, level) / unit, evaluate(levels, values, level), rtol=1e-12, atol=1e-6
    )
    np.testing.assert_allclose(mean(levels, values * unit) / unit, mean(levels, values), rtol=1e-12, atol=5e-6)


def test_the_tails_of_a_normal_distribution_are_close_to_normal():
    values = np.array([-1.28155, -0.84162, -0.52440, -0.25335, 0.0, 0.25335, 0.52440, 0.84162, 1.28155])
    assert evaluate(DECILES, values, 0.01) == pytest.approx(-2.326, abs=0.05)
    assert evaluate(DECILES, values, 0.99) == pytest.approx(2.326, abs=0.05)
    assert mean(DECILES, values) == pytest.approx(0.0, abs=1e-12)


def test_the_mean_of_an_exponential_distribution_is_found():
    levels = np.linspace(0.01, 0.99, 99)
    assert mean(levels.tolist(), -np.log(1 - levels)) == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, float("nan"), "high", None])
def test_a_level_outside_the_open_interval_is_named_in_the_error(level):
    with pytest.raises(DataError, match=repr(level)):
        evaluate(DECILES, np.zeros((2, 9)), level)


def test_a_percentage_given_as_level_is_told_what_to_write():
    with pytest.raises(DataError, match=r"give 0\.95"):
        evaluate(DECILES, np.zeros(9), 95)


def test_the_result_is_a_copy_that_may_be_changed():
    values = np.arange(9.0)[None]
    evaluate(DECILES, values, 0.5)[:] = -1
    assert values[0, 4] == 4.0
