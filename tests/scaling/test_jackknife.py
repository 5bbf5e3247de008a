"""The jackknife over data sets says how far an exponent hangs on them, and nothing more."""

import numpy as np
import pandas as pd
import pytest

from tsfm.errors import DataError
from tsfm.scaling.fitting import fit
from tsfm.scaling.jackknife import leave_datasets_out, standard_error
from tsfm.scaling.laws import power
from tsfm.scaling.simulate import MILESTONES

LINE = power("points", offset=False)
DATASET_OF = {f"{name}_{horizon}": name for name in ("city", "river", "shop", "wind") for horizon in (64, 256)}


def made(exponents, rows=6):
    """Rows of one run, and losses of its tasks, whose data sets have exponents of their own."""
    points = np.geomspace(MILESTONES[0], MILESTONES[-1], rows)
    study = pd.DataFrame({"run": "w24", "milestone": np.arange(rows), "points": points})
    parts = [
        study[["run", "milestone"]].assign(task=task, loss=LINE.predict({"A": 3.0, "a": exponents[name]}, study))
        for task, name in DATASET_OF.items()
    ]
    return study, pd.concat(parts)


def test_data_sets_that_agree_leave_no_error():
    found = leave_datasets_out(LINE, *made(dict.fromkeys(DATASET_OF.values(), 0.12)), DATASET_OF)
    assert found.fit.parameters == pytest.approx({"A": 3.0, "a": 0.12}, rel=1e-4)
    assert max(found.error.values()) < 1e-4


def test_the_error_of_an_exponent_is_about_the_deviation_of_data_sets_over_the_root_of_their_number():
    exponents = {"city": 0.10, "river": 0.11, "shop": 0.13, "wind": 0.12}
    found = leave_datasets_out(LINE, *made(exponents), DATASET_OF)
    expected = np.std(list(exponents.values()), ddof=1) / 2
    assert found.error["a"] == pytest.approx(expected, rel=0.15)
    assert len(found.fit.resamples) == 0


def test_leaving_a_data_set_out_is_fitting_the_mean_of_the_others():
    rows, losses = made({"city": 0.05, "river": 0.11, "shop": 0.13, "wind": 0.12})
    found = leave_datasets_out(LINE, rows, losses.sample(frac=1, random_state=0), DATASET_OF)
    others = losses[~losses["task"].str.startswith("city")].groupby("milestone")["loss"].mean()
    assert found.without["city"] == pytest.approx(fit(LINE, rows, others, resamples=0).parameters, rel=1e-6)
    assert found.spread("a")[1] == found.without["city"]["a"]


def test_the_error_of_a_mean_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=9)
    without = (values.sum() - values) / 8
    usual = values.std(ddof=1) / 3
    assert standard_error(values.mean(), without, np.full(9, 3)) == pytest.approx(usual)


def test_a_data_set_of_more_tasks_counts_for_more():
    random, errors, means = np.random.default_rng(1), [], []
    counts = np.array([1, 2, 2, 4, 6])
    for _ in range(2000):
        values = random.normal(size=5)  # of a data set, the same for its tasks
        mean, total = values @ counts / counts.sum(), counts.sum()
        means.append(mean)
        errors.append(standard_error(mean, (mean * total - values * counts) / (total - counts), counts))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(means), rel=0.15)


def test_intervals_are_made_where_they_are_asked_for():
    rows, losses = made({"city": 0.05, "river": 0.11, "shop": 0.13, "wind": 0.12})
    found = leave_datasets_out(LINE, rows, losses, DATASET_OF, resamples=20, groups=rows["milestone"])
    low, high = found.fit.intervals["a"]
    assert low <= found.fit.parameters["a"] <= high


def test_what_cannot_be_left_out_is_refused_with_the_remedy():
    rows, losses = made(dict.fromkeys(DATASET_OF.values(), 0.12))
    with pytest.raises(DataError, match="task 'wind_256' has no data set"):
        leave_datasets_out(LINE, rows, losses, {task: DATASET_OF[task] for task in list(DATASET_OF)[:-1]})
    with pytest.raises(DataError, match="all tasks are of the data set 'city'"):
        leave_datasets_out(LINE, rows, losses, dict.fromkeys(DATASET_OF, "city"))
    with pytest.raises(DataError, match="task 'wind_256' has no loss in run 'w24' at milestone 5, and 1 losses lack"):
        leave_datasets_out(LINE, rows, losses.iloc[:-1], DATASET_OF)
    with pytest.raises(DataError, match="task 'city_64' has two losses in run 'w24' at milestone 0; drop one"):
        leave_datasets_out(LINE, rows, pd.concat([losses, losses.iloc[:1]]), DATASET_OF)
