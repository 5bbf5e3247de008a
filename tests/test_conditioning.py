"""What models see of a person's numbers: our own always near 1, published ones as they are wherever that can be."""

import numpy as np
import pytest

from tsfm.conditioning import condition, condition_rarely, restore

WALK = np.random.default_rng(0).normal(size=(1, 60)).cumsum(1)


@pytest.mark.parametrize("scale, level", [(1.0, 0.0), (3e-4, 1e5), (1e5, -1e9), (1e-3, 1e7)])
def test_published_models_see_usual_values_to_the_last_bit(scale, level):
    series = scale * WALK + level
    made = condition_rarely(series)
    np.testing.assert_array_equal(made.values, series)
    assert (made.location == 0).all() and (made.coarse == 0).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-30, 1e-5, 1e7, 1e30, 1e300])
def test_published_models_see_values_of_another_size_divided_by_a_power_of_two(scale):
    series = scale * WALK
    made = condition_rarely(series)
    assert 0.1 < made.values.std() < 10
    np.testing.assert_array_equal(restore(made.values[..., None], made)[..., 0], series)


def test_what_is_not_observed_is_zero_and_counts_for_nothing():
    series = 1e8 * WALK
    holes = series.copy()
    holes[:, 5:9] = np.nan
    made = condition_rarely(holes)
    assert (made.values[:, 5:9] == 0).all() and not made.observed[:, 5:9].any()
    assert np.isfinite(made.values).all()


def test_our_own_models_see_a_location_taken_off_and_values_up_to_1():
    made = condition(1e9 + 1e-2 * WALK)
    assert 0.5 <= np.abs(made.values).max() <= 1
    np.testing.assert_allclose(restore(made.values[..., None], made)[..., 0], 1e9 + 1e-2 * WALK, rtol=1e-15)
