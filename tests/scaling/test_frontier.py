"""The three ways to the best split of compute agree with brute force and with each other."""

import numpy as np
import pytest
from known_laws import TRUTH

from tsfm.errors import DataError
from tsfm.scaling.cost import Cost, cost_of
from tsfm.scaling.fitting import fit
from tsfm.scaling.frontier import envelope, frontier, isoflop
from tsfm.scaling.laws import JOINT, power
from tsfm.scaling.simulate import MILESTONES, SIZES

VALUES = {"E": 0.1, "A": 3.0, "B": 30.0, "a": 0.3, "b": 0.35}


@pytest.fixture(scope="module")
def runs():
    """Columns of many sizes without noise, whose best sizes lie inside those trained."""
    sizes, points = np.geomspace(SIZES[0], SIZES[-1], 24), np.geomspace(MILESTONES[0] / 30, MILESTONES[-1], 40)
    active, points = (column.ravel() for column in np.meshgrid(sizes, points, indexing="ij"))
    inputs = {"active": active, "points": points}
    return {"flops": 6 * active * points, **inputs, "loss": JOINT.predict(VALUES, inputs)}


def test_the_closed_form_is_the_numeric_minimum(runs):
    found = fit(JOINT, runs, runs["loss"], resamples=0)
    best = frontier(found, [1e13, 1e15], cost=0.7)
    for flops, active, points, loss in zip(best.flops, best.active, best.points, best.loss, strict=True):
        sizes = np.geomspace(active / 3, active * 3, 20001)
        losses = found.predict({"active": sizes, "points": flops / 0.7 / sizes})
        assert sizes[losses.argmin()] == pytest.approx(active, rel=1e-2)
        assert losses.min() == pytest.approx(loss, rel=1e-9)
        assert active * points * 0.7 == pytest.approx(flops)
    assert best.size_exponent + best.data_exponent == pytest.approx(1)
    assert best.size_exponent == pytest.approx(VALUES["b"] / (VALUES["a"] + VALUES["b"]), rel=1e-3)


def test_the_search_finds_the_closed_form_where_cost_is_proportional_to_size(runs):
    noisy = runs["loss"] * np.exp(0.003 * np.random.default_rng(0).normal(size=len(runs["loss"])))
    found, budgets = fit(JOINT, runs, noisy, resamples=20), np.geomspace(1e11, 1e16, 6)
    closed, searched = frontier(found, budgets, 0.7), frontier(found, budgets, lambda active: 0.7 * active)
    for name in ("active", "points", "loss", "size_exponent", "data_exponent"):
        np.testing.assert_allclose(getattr(searched, name), getattr(closed, name), rtol=1e-5)
    for name, ends in closed.intervals.items():
        assert searched.intervals[name] == pytest.approx(ends, rel=1e-5)


def test_no_other_size_is_better_at_the_true_cost(runs):
    cost = Cost(fixed=600.0, root=22.0, each=6 / 32, error=0.0)
    found = fit(JOINT, runs, runs["loss"], resamples=0)
    best = frontier(found, [1e11, 1e13], cost)
    for flops, active, points, loss in zip(best.flops, best.active, best.points, best.loss, strict=True):
        assert cost(active) * points == pytest.approx(flops)
        sizes = active * np.geomspace(0.5, 2, 2001)
        losses = found.predict({"active": sizes, "points": flops / cost(sizes)})
        assert sizes[losses.argmin()] == pytest.approx(active, rel=1e-2)
        assert loss == pytest.approx(losses.min(), rel=1e-9)


def test_cost_that_grows_more_slowly_than_size_is_spent_on_size(runs):
    found = fit(JOINT, runs, runs["loss"], resamples=0)
    constant = frontier(found, np.geomspace(1e10, 1e13, 8), 0.2).size_exponent
    share = 0.87
    slow = frontier(found, np.geomspace(1e10, 1e13, 8), lambda active: active**share)
    a, b = VALUES["a"], VALUES["b"]
    assert constant == pytest.approx(b / (a + b), rel=1e-3)
    assert slow.size_exponent == pytest.approx(b / (a + share * b), rel=1e-3)
    assert slow.data_exponent == pytest.approx(1 - share * slow.size_exponent, rel=1e-6)


def test_a_fixed_cost_makes_small_networks_larger_and_their_exponent_smaller(runs):
    found, budgets = fit(JOINT, runs, runs["loss"], resamples=0), np.geomspace(1e10, 1e13, 8)
    cost = Cost(fixed=600.0, root=22.0, each=0.2, error=0.0)
    plain, true = frontier(found, budgets, 0.2), frontier(found, budgets, cost)
    assert true.active[0] > plain.active[0]
    assert true.size_exponent < plain.size_exponent - 0.01
    far = frontier(found, budgets * 1e12, cost)
    assert far.size_exponent == pytest.approx(plain.size_exponent, abs=1e-3)
    np.testing.assert_allclose(far.active, frontier(found, budgets * 1e12, 0.2).active, rtol=0.01)


def test_costs_are_found_again_from_rows():
    cost = Cost(fixed=600.0, root=22.0, each=0.19, error=0.0)
    points = np.geomspace(1e6, 1e9, len(SIZES))
    found = cost_of(SIZES, points, cost(SIZES) * points)
    np.testing.assert_allclose(found(SIZES), cost(SIZES), rtol=1e-9)
    assert (found.fixed, found.root, found.each) == pytest.approx((600.0, 22.0, 0.19))
    assert "within 0.0 %" in str(found)


def test_costs_of_the_networks_of_the_study_are_known_within_two_percent():
    # As `counted` and `flops_a_point` of tsfm/scaling/plan.py say of w24 to w288.
    active = np.array([11664, 31008, 69504, 164480, 369600, 820800, 1845440, 4150400])
    flops = np.array([5265, 10380, 20142, 41454, 86346, 179682, 389274, 853422])
    cost = cost_of(active, np.ones(8), flops)
    assert cost.error < 0.02
    assert cost(active)[0] / (6 / 32 * active[0]) > 2


@pytest.mark.parametrize("way, slack", [(envelope, 0.06), (isoflop, 0.03)], ids=["envelope", "isoflop"])
def test_curves_without_noise_give_the_exponents_of_the_law(runs, way, slack):
    budgets = np.geomspace(3e12, 3e14, 30)
    found = way(**runs, budgets=budgets, resamples=20)
    closed = frontier(fit(JOINT, runs, runs["loss"], resamples=0), found.flops)
    assert found.size_exponent == pytest.approx(closed.size_exponent, abs=slack)
    assert found.size_exponent + found.data_exponent == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(found.loss, closed.loss, rtol=5e-3)
    low, high = found.intervals["size"]
    assert low <= found.size_exponent <= high


def test_the_envelope_is_the_lowest_of_the_runs(runs):
    found = envelope(**runs, resamples=0)
    for flops, loss in zip(found.flops, found.loss, strict=True):
        near = np.abs(np.log(runs["flops"] / flops)) < 0.1
        assert loss <= runs["loss"][near].min() * 1.02


def test_a_frontier_says_its_exponents_with_their_intervals(runs):
    noisy = runs["loss"] * np.exp(0.003 * np.random.default_rng(0).normal(size=len(runs["loss"])))
    found = frontier(fit(JOINT, runs, noisy, groups=runs["active"], resamples=50), [1e14])
    low, high = found.intervals["size"]
    assert low <= found.size_exponent <= high
    assert f"active ~ flops^{found.size_exponent:.3f} [{low:.3f}, {high:.3f}]" in str(found)


def test_what_has_no_frontier_is_refused_with_the_remedy(runs):
    one = {name: column[:40] for name, column in runs.items()}
    with pytest.raises(DataError, match="compares runs, and there is one"):
        envelope(**one)
    three = {name: column[: 3 * 40] for name, column in runs.items()}
    with pytest.raises(DataError, match="add sizes or budgets"):
        isoflop(**three)
    law = power("active")
    single = fit(law, runs, law.predict(TRUTH[law], runs), resamples=0)
    with pytest.raises(DataError, match="costs of 2 sizes tell no curve"):
        cost_of(SIZES[:2], [1.0, 1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="fit JOINT"):
        frontier(single, [1e14])
