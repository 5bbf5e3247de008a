"""Laws have the derivatives that they say, and contain each other where they should."""

import numpy as np
import pytest
from known_laws import COLUMNS, TRUTH

from tsfm.errors import DataError
from tsfm.scaling.laws import JOINT, OVERTRAINED, REPEATED, SPARSE, broken


@pytest.mark.parametrize("law", TRUTH, ids=lambda law: law.name)
def test_a_laws_derivatives_are_those_of_finite_differences(law):
    logs = [np.log(driver) for driver in law.read(COLUMNS).values()]
    theta = np.stack([law.theta(TRUTH[law]), law.theta(TRUTH[law]) * 1.03])
    _, slopes = law.evaluate(theta, logs)
    for i in range(theta.shape[1]):
        step = 1e-5 * np.eye(theta.shape[1])[i]
        after, before = (law.evaluate(theta + sign * step, logs)[0] for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, :, i], (after - before) / 2e-5, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("law", TRUTH, ids=lambda law: law.name)
def test_a_law_of_a_larger_loss_is_rescaled(law):
    theta = law.theta(TRUTH[law])
    logs = [np.log(driver) for driver in law.read(COLUMNS).values()]
    before, after = (law.evaluate(one[None], logs)[0] for one in (theta, law.rescaled(theta, 1.7)))
    np.testing.assert_allclose(after, before + 1.7, rtol=1e-12)


def test_the_law_of_repeated_data_is_the_joint_law_at_one_epoch_and_worse_after():
    once = COLUMNS | {"unique": COLUMNS["points"]}
    joint = JOINT.predict(TRUTH[JOINT], COLUMNS)
    np.testing.assert_allclose(REPEATED.predict(TRUTH[REPEATED], once), joint, rtol=1e-12)
    often = REPEATED.predict(TRUTH[REPEATED], COLUMNS | {"unique": COLUMNS["points"] / 30})
    assert (often > joint).all()


def test_repeated_data_are_never_worth_more_than_the_pool_and_r_times_the_pool():
    pool = np.full(3, 1e7)
    many = {"active": np.full(3, 1e5), "unique": pool, "points": pool * [1e3, 1e5, 1e7]}
    bound = JOINT.predict(TRUTH[JOINT], {"active": many["active"], "points": pool * (1 + TRUTH[REPEATED]["R"])})
    np.testing.assert_allclose(REPEATED.predict(TRUTH[REPEATED], many), bound, rtol=1e-9)


def test_the_sparse_law_is_the_joint_law_for_dense_models():
    dense = COLUMNS | {"total": COLUMNS["active"]}
    np.testing.assert_allclose(SPARSE.predict(TRUTH[SPARSE], dense), JOINT.predict(TRUTH[JOINT], COLUMNS), rtol=1e-12)


def test_the_over_trained_law_is_the_joint_law_of_one_exponent():
    a, A, B = 0.34, 2.0, 90.0
    joint = JOINT.predict({"E": 0.2, "A": A, "B": B, "a": a, "b": a}, COLUMNS)
    values = {"E": 0.2, "A": A * 6 ** (a / 2), "B": B * 6 ** (a / 2), "h": a / 2}
    np.testing.assert_allclose(OVERTRAINED.predict(values, COLUMNS), joint, rtol=1e-12)


def test_a_broken_law_has_its_two_exponents_far_from_the_break():
    law = broken("active")
    values = {"A": 1.0, "a": 0.1, "c": 0.4, "d": 1e6, "f": 0.2}
    x = np.array([1.0, 2.0, 1e12, 2e12])
    loss = law.predict(values, {"active": x})
    assert np.log2(loss[0] / loss[1]) == pytest.approx(0.1, abs=1e-6)
    assert np.log2(loss[2] / loss[3]) == pytest.approx(0.5, abs=1e-6)


def test_parameters_are_asked_for_by_name():
    with pytest.raises(DataError, match="has the parameters E, A, B, a, b; got E, A"):
        JOINT.predict({"E": 1.0, "A": 2.0}, COLUMNS)
