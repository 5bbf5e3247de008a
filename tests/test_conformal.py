"""Intervals of a model of points: from a backtest of each series, and none where there is too little for one."""

import numpy as np
import pytest
from every_forecaster import forecaster_named

from tsfm import DataError, registry
from tsfm.conformal import CUTOFFS, FEWEST, around, cutoffs, fewest_steps, reaches

DECILES = tuple(round(0.1 * one, 1) for one in range(1, 10))
WALK = np.random.default_rng(0).normal(size=200).cumsum()


@pytest.fixture
def points():
    return forecaster_named("time-moe")


def test_a_cutoff_leaves_its_horizon_to_measure_and_a_context_to_forecast_from():
    for steps in range(1, 300):
        for horizon in (1, 7, 48):
            found = cutoffs(steps, horizon)
            assert len(found) in (0, *range(FEWEST, CUTOFFS + 1))
            assert bool(found) == (steps >= fewest_steps(horizon))
            assert all(cutoff + horizon <= steps and cutoff >= max(8, horizon // 2) for cutoff in found)
            assert len(set(found)) == len(found)


def test_as_many_errors_lie_within_reach_as_the_number_of_forecasts_asks_for():
    errors = np.abs(np.random.default_rng(1).normal(size=(8, 12)))
    reach = reaches(errors)
    for step, (eighty, *_) in enumerate(reach, 1):
        pooled = errors[:, int(np.ceil(step / 1.5)) - 1 : int(1.5 * step)]
        assert (pooled <= eighty).mean() >= 0.8 * 9 / 8
    assert (np.diff(reach, axis=1) <= 0).all()


def test_four_forecasts_support_the_80_percent_interval_with_their_largest_error():
    errors = np.arange(1.0, 5.0)[:, None]
    assert reaches(errors)[0].tolist() == [4.0, 3.0, 2.0, 1.0]


def test_missing_outcomes_are_no_errors():
    errors = np.abs(np.random.default_rng(2).normal(size=(8, 6)))
    errors[:, 3] = np.nan
    assert np.isfinite(reaches(errors)).all()


def test_the_median_is_the_point_and_the_ends_lie_as_far_below_as_above():
    found = around(np.array([[5.0], [7.0]]), np.abs(np.random.default_rng(3).normal(size=(8, 2))))
    assert found[:, 4].tolist() == [5.0, 7.0]
    np.testing.assert_allclose(found[:, 4:5] - found[:, 3::-1], found[:, 5:] - found[:, 4:5])


def test_intervals_of_noise_hold_about_what_they_promise(points):
    rng = np.random.default_rng(4)
    many = [rng.normal(size=160) for _ in range(60)]
    found = np.stack(points.predict_arrays([one[:150] for one in many], 10, (0.1, 0.9), clip=None))
    after = np.stack([one[150:] for one in many])
    inside = (found[..., 0] <= after) & (after <= found[..., 1])
    assert 0.75 < inside.mean() < 0.95


def test_the_provenance_says_where_intervals_come_from_and_how_many_errors_they_stand_on(points):
    made = points.forecast(list(WALK), 10)
    assert made.provenance.notes[0].startswith("intervals from 80 errors or more of 8 forecasts from earlier cutoffs")
    assert "note       intervals from 80 errors" in str(made.provenance)
    low, high = made.interval(0.8)
    assert (low < made.median).all() and (made.median < high).all()


def test_the_level_of_the_point_needs_no_backtest(points):
    made = points.forecast(list(WALK), 10, quantile_levels=0.5)
    assert made.provenance.notes == []
    np.testing.assert_array_equal(made.median, points.forecast(list(WALK), 10).median)
    with pytest.raises(DataError, match=r"series 0 has a point forecast and no level 0.1: .*give quantile_levels"):
        made.interval(0.8)


def test_a_series_too_short_has_its_point_and_says_why_it_has_no_interval(points):
    made = points.forecast({"new": list(WALK[:15]), "old": list(WALK)}, 9)
    assert np.isfinite(made.median["new"]).all()
    assert made.points.keys() == {"new"}
    with pytest.raises(
        DataError, match=r"series 'new' has a point forecast and no level 0.1: it has 15 steps.*20 steps"
    ):
        made.interval(0.8)
    assert (made["old"].quantile(0.9)["old"] > made["old"].median["old"]).all()
    assert made.provenance.notes[1].startswith("1 series with a point forecast alone, too short")


def test_tables_pictures_and_cards_show_what_there_is(points):
    made = points.forecast({"new": list(WALK[:15]), "old": list(WALK)}, 9)
    table = made.to_frame().set_index("unique_id")
    assert table.loc["new", "0.1"].isna().all() and table.loc["new", "0.5"].notna().all()
    assert table.loc["old"].notna().all(axis=None)
    assert "median alone" in made._repr_html_()
    pytest.importorskip("matplotlib")
    new, old = made.plot().axes
    assert len(new.collections) == 0 and len(old.collections) == 2


def test_plain_arrays_of_a_series_too_short_are_its_point_at_every_level(points):
    (found,) = points.predict_arrays([WALK[:15]], 9, DECILES, clip=None)
    assert (found == found[:, 4:5]).all()


def test_gluonts_gets_the_point_of_a_series_too_short_at_every_level(points):
    pytest.importorskip("gluonts")
    made = points.forecast({"new": list(WALK[:15]), "old": list(WALK)}, 9)
    new, old = made.to_gluonts()
    for level in ("0.1", "0.5", "0.9"):
        np.testing.assert_array_equal(new.quantile(level), made.median["new"])
    assert (old.quantile("0.1") < old.quantile("0.9")).all()


def test_a_constant_series_is_sure_of_itself(points):
    made = points.forecast([3.0] * 100, 5)
    assert made.points == {}
    assert (made.quantile(0.9) == 3).all()


def test_more_history_than_the_context_serves_the_backtest(points):
    made = points.forecast(list(WALK), 9, context=12)
    assert made.points == {}
    assert made.provenance.context == 12


def test_what_a_model_excepts_is_a_promise_that_tests_know(checkout):
    written = "\n".join(path.read_text() for path in (checkout / "tests").rglob("test_*.py"))
    for name in registry.names():
        for promise in getattr(registry.get(name), "EXCEPT", {}):
            assert f"def test_{promise}(forecaster" in written, f"{name}: no test of the promise {promise}"
