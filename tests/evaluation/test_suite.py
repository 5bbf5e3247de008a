"""The suites are what their benchmarks say; zero_shot gives the published errors of the seasonal naive forecast."""

from dataclasses import replace
from pathlib import Path

import pytest

from datasets_registry import load_card
from tsfm.data.datasets import load_series
from tsfm.evaluation.measuring import measure, seasonal_naive_forecaster
from tsfm.evaluation.protocol import TERMS, horizon_for, season_for, window_count
from tsfm.evaluation.tasks import Task, load_suite, suites

SUITE = load_suite()


@pytest.fixture
def use_data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    monkeypatch.setenv("TSFM_DATA", str(data_folder))


def test_the_suite_is_the_36_configurations_that_were_rebuilt_exactly() -> None:
    assert len(SUITE) == len({task.name for task in SUITE}) == 36
    assert {task.term for task in SUITE} == set(TERMS)


@pytest.mark.data
@pytest.mark.usefixtures("use_data")
@pytest.mark.parametrize("entry", SUITE, ids=lambda entry: entry.name)
def test_the_stored_configuration_follows_from_the_rules(entry: Task) -> None:
    series = load_series(entry.dataset)
    m4 = entry.dataset.startswith("m4_")
    horizon = horizon_for(series[0].freq, entry.term, m4)
    count = window_count(min(map(len, series)), horizon, m4)
    assert (entry.horizon, entry.season, entry.windows) == (horizon, season_for(series[0].freq), count)


@pytest.mark.data
@pytest.mark.usefixtures("use_data")
@pytest.mark.parametrize("entry", SUITE, ids=lambda entry: entry.name)
def test_the_seasonal_naive_forecast_has_its_published_errors(entry: Task) -> None:
    found = measure(seasonal_naive_forecaster, entry)
    assert found.mase == pytest.approx(entry.naive_mase, rel=1e-5)
    assert found.crps == pytest.approx(entry.naive_crps, rel=1e-5)


def test_the_suites_that_the_documents_name_are_there() -> None:
    assert {"quick", "zero_shot", "long_horizon", "classic", "synthetic_probe"} <= set(suites())


@pytest.mark.parametrize(
    "entry", [task for suite in suites() for task in load_suite(suite)], ids=lambda task: task.name
)
def test_every_task_has_a_card_that_is_not_for_training(entry: Task) -> None:
    if entry.protocol != "generated":
        assert load_card(entry.dataset).training == "never"


@pytest.mark.parametrize("entry", load_suite("long_horizon"), ids=lambda task: task.name)
def test_the_long_horizon_splits_are_those_of_the_card(entry: Task) -> None:
    splits = load_card(entry.dataset).splits
    assert splits is not None
    assert (entry.train, entry.validation, entry.test) == (splits.train, splits.validation, splits.test)


@pytest.mark.data
@pytest.mark.usefixtures("use_data")
@pytest.mark.parametrize("dataset", ["ETTh1", "exchange_rate", "national_illness"])
def test_no_window_of_a_long_horizon_test_stretch_is_dropped(dataset: str) -> None:
    for entry in load_suite("long_horizon", [dataset]):
        found = measure(seasonal_naive_forecaster, replace(entry, context=36), max_windows=10)
        assert found.available == len(load_series(dataset)) * (entry.test - entry.horizon + 1)
