"""The acceptance test of the protocol: it gives the published errors of the seasonal naive forecast."""

from pathlib import Path

import pytest

from tsfm.data.datasets import load_series
from tsfm.evaluation.protocol import TERMS, Configuration, horizon_for, load_suite, season_for, window_count
from tsfm.evaluation.scoring import score_configuration, seasonal_naive_forecaster

SUITE = load_suite()


@pytest.fixture
def use_data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    monkeypatch.setenv("TSFM_DATA", str(data_folder))


def test_the_suite_is_the_36_configurations_that_were_rebuilt_exactly() -> None:
    assert len(SUITE) == len({configuration.name for configuration in SUITE}) == 36
    assert {configuration.term for configuration in SUITE} == set(TERMS)


@pytest.mark.data
@pytest.mark.usefixtures("use_data")
@pytest.mark.parametrize("entry", SUITE, ids=lambda entry: entry.name)
def test_the_stored_configuration_follows_from_the_rules(entry: Configuration) -> None:
    series = load_series(entry.dataset)
    m4 = entry.dataset.startswith("m4_")
    horizon = horizon_for(series[0].freq, entry.term, m4)
    count = window_count(min(map(len, series)), horizon, m4)
    assert (entry.horizon, entry.season, entry.windows) == (horizon, season_for(series[0].freq), count)


@pytest.mark.data
@pytest.mark.usefixtures("use_data")
@pytest.mark.parametrize("entry", SUITE, ids=lambda entry: entry.name)
def test_the_seasonal_naive_forecast_has_its_published_errors(entry: Configuration) -> None:
    row = score_configuration(seasonal_naive_forecaster, entry, "test")
    assert row.mase == pytest.approx(entry.seasonal_naive_mase, rel=1e-5)
    assert row.crps == pytest.approx(entry.seasonal_naive_crps, rel=1e-5)
