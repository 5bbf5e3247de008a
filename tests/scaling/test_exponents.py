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
    along = rows_along(rows, "active", "loss")
    assert list(along["run"]) == list(range(8))
    assert set(along["milestone"]) == {4}


def test_points_are_those_of_the_largest_size_that_has_read_the_most(rows: pd.DataFrame):
    along = rows_along(rows, "points", "loss")
    assert set(along["run"]) == {6}
    assert list(along["milestone"]) == list(range(6))


def test_flops_are_those_of_rows_that_no_other_beats_for_as_little(rows: pd.DataFrame):
    along = rows_along(rows, "flops", "loss")
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


def test_two_sizes_tell_no_offset(rows: pd.DataFrame):
    few = rows[rows["run"].isin([0, 3, 6])]
    found = {(one.variable, one.form) for one in exponents(few, "loss", resamples=20)}
    assert ("active", "line") in found
    assert ("active", "offset") not in found


def test_rows_of_one_size_are_refused(rows: pd.DataFrame):
    with pytest.raises(DataError, match="spans a factor"):
        exponents(rows[rows["run"] == 3], "loss", resamples=5)
