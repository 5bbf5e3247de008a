"""The three ways to the best split of compute agree with brute force and with each other."""

import numpy as np
import pytest
from known_laws import TRUTH

from tsfm.errors import DataError
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
    with pytest.raises(DataError, match="fit JOINT"):
        frontier(single, [1e14])
