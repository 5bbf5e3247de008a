"""Exponents are told in every way, each from the rows where it shows."""

import numpy as np
import pandas as pd
import pytest

from tsfm.errors import DataError
from tsfm.scaling.exponents import exponents, rows_along
from tsfm.scaling.laws import JOINT
from tsfm.scaling.simulate import simulate


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Rows of a made study, of which the largest size has not read the most points."""
    study = simulate(5)
    made = pd.DataFrame({**study.inputs, "run": study.groups, "milestone": study.milestones, "loss": study.loss})
    made["flops"] = 6 * made["active"] * made["points"]
    return made[(made["run"] < 7) | (made["milestone"] < 5)].sample(frac=1, random_state=0)


def test_sizes_are_compared_at_the_most_points_that_all_have_read(rows: pd.DataFrame):
    along, at = rows_along(rows, "active", "loss")
    assert at == f"{simulate(5).inputs['points'][4] / 1e6:.0f}M points"
    assert list(along["run"]) == list(range(8))
    assert set(along["milestone"]) == {4}


def test_points_are_those_of_the_largest_size_that_has_read_the_most(rows: pd.DataFrame):
    along, at = rows_along(rows, "points", "loss")
    assert at == f"{along['active'].iloc[0] / 1e3:.0f}k parameters"
    assert set(along["run"]) == {6}
    assert list(along["milestone"]) == list(range(6))


def test_flops_are_those_of_rows_that_no_other_beats_for_as_little(rows: pd.DataFrame):
    along, _ = rows_along(rows, "flops", "loss")
    unbeaten = [
        place for place, row in rows.iterrows() if not ((rows.flops <= row.flops) & (rows.loss < row.loss)).any()
    ]
    assert sorted(along.index) == sorted(unbeaten)


def test_the_joint_form_recovers_both_exponents(rows: pd.DataFrame):
    truth = simulate(5).truth
    noiseless = rows.assign(loss=JOINT.predict(truth, rows))
    found = {(one.variable, one.form): one for one in exponents(noiseless, "loss", resamples=20)}
    assert found["active", "joint"].exponent == pytest.approx(truth["a"], rel=1e-3)
    assert found["points", "joint"].exponent == pytest.approx(truth["b"], rel=1e-3)
    assert pytest.approx(truth["E"], rel=1e-3) == found["points", "joint"].E
    assert np.isnan(found["active", "line"].E)
    assert {name for name, _ in found} == {"active", "points", "flops"}


def test_a_form_needs_two_rows_more_than_parameters(rows: pd.DataFrame):
    for sizes, forms in ((3, set()), (4, {"line"}), (5, {"line", "offset"})):
        few = rows[rows["run"] < sizes]
        assert {one.form for one in exponents(few, "loss", resamples=5) if one.variable == "active"} == forms | {
            "joint"
        }


def test_an_exponent_at_a_bound_is_not_identified(rows: pd.DataFrame):
    random = np.random.default_rng(0)
    told = {}
    for name, noise in (("clear", 1e-4), ("noisy", 0.2)):
        loss = JOINT.predict(simulate(5).truth, rows) * np.exp(noise * random.normal(size=len(rows)))
        told[name] = [one for one in exponents(rows.assign(loss=loss), "loss", resamples=40) if one.form == "joint"]
    assert all(one.identified for one in told["clear"])
    assert not any(one.identified for one in told["noisy"])


def test_rows_of_one_size_and_no_rows_are_refused(rows: pd.DataFrame):
    with pytest.raises(DataError, match="spans a factor"):
        exponents(rows[rows["run"] == 3], "loss", resamples=5)
    with pytest.raises(DataError, match="no rows"):
        exponents(rows[:0], "loss")
