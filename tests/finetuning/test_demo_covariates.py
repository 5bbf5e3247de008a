"""The demo set with covariates is what its README says, and its columns have the roles that it names."""

import hashlib

import pandas as pd

from tsfm.data.adapters import to_panel
from tsfm.demo import COLUMNS, FUTURE, PAST, covariates_path, load_covariates, load_demo


def test_the_target_is_the_demo_sets():
    table = load_covariates()
    assert list(table.columns) == [*COLUMNS.values(), *FUTURE, *PAST]
    pd.testing.assert_frame_equal(table[list(COLUMNS.values())], load_demo()[list(COLUMNS.values())])


def test_the_file_is_the_one_that_its_recipe_made_and_is_small():
    content = covariates_path().read_bytes()
    assert len(content) < 400_000
    assert hashlib.sha256(content).hexdigest() == "94d8ffee152b963be22e9364917f146d123b23e7c3a88f10867d07c79dce6143"


def test_the_timetable_is_known_in_every_hour_and_the_weather_in_nearly_all():
    table = load_covariates()
    assert table.scheduled.notna().all()
    assert table[PAST].isna().sum().tolist() == [36, 36, 36]


def test_the_timetable_is_near_what_happened_and_does_not_give_it_away():
    table = load_covariates()
    missed = (table.departures - table.scheduled).abs()
    assert 0.1 < missed.mean() / table.departures.mean() < 0.2
    assert table.scheduled.sum() > table.departures.sum()  # flights that were cancelled stay in the timetable


def test_the_weather_is_physically_possible():
    measured = load_covariates()[PAST].dropna()
    assert measured.ge(0).all(axis=None)
    assert measured.le([60, 3, 10]).all(axis=None)  # miles an hour, inches an hour, miles


def test_the_panel_holds_the_covariates_in_their_roles():
    panel = to_panel(covariates_path(), past=PAST, future=FUTURE, **COLUMNS)
    assert panel.ids == ["EWR", "JFK", "LGA"]
    assert panel.past_covariates is not None
    assert list(panel.past_covariates) == [*PAST, *FUTURE]
