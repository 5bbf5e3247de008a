"""GluonTS both ways: a forecaster is one of its predictors, and its data sets are forecast."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsfm
from tsfm.errors import MissingDependency
from tsfm.evaluation import metrics
from tsfm.evaluation.metrics import LEVELS

pytestmark = pytest.mark.filterwarnings("ignore:Using `json`-module")

STEPS, HORIZON, WINDOWS, SEASON = 400, 6, 3, 24


@pytest.fixture(autouse=True)
def _gluonts() -> None:
    pytest.importorskip("gluonts", reason="the extra `gluonts` is not installed")


def made_series(missing: bool = False) -> np.ndarray:
    """Hourly series, (3, STEPS), exact in float32."""
    random = np.random.default_rng(7)
    hours = np.arange(STEPS)
    values = 20 + np.sin(2 * np.pi * hours / SEASON + random.normal(size=(3, 1))) + random.normal(size=(3, STEPS)) / 4
    if missing:
        values[random.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32).astype(np.float64)


def made_windows(series: np.ndarray) -> Any:
    """The last WINDOWS windows of every series as GluonTS cuts them."""
    from gluonts.dataset.common import ListDataset
    from gluonts.dataset.split import split

    entries = [{"item_id": f"s{i}", "start": "2024-01-01", "target": row} for i, row in enumerate(series)]
    _, template = split(ListDataset(entries, freq="h"), offset=-HORIZON * WINDOWS)
    return template.generate_instances(HORIZON, windows=WINDOWS)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("model", ["seasonal-naive", "moe-decoder-tiny"])
def test_evaluate_model_of_gluonts_finds_what_our_harness_finds(model: str, missing: bool) -> None:
    from gluonts.ev.metrics import MASE, MSIS, MeanWeightedSumQuantileLoss
    from gluonts.model import evaluate_model

    forecaster, series = tsfm.load(model), made_series(missing)
    table = evaluate_model(
        forecaster.as_gluonts(HORIZON),
        test_data=made_windows(series),
        metrics=[MASE(), MeanWeightedSumQuantileLoss(quantile_levels=list(LEVELS)), MSIS()],
        axis=None,
        mask_invalid_label=True,
        seasonality=SEASON,
    )
    cuts = [STEPS - HORIZON * k for k in range(WINDOWS, 0, -1)]
    contexts = [row[:cut] for row in series for cut in cuts]
    target = np.stack([row[cut : cut + HORIZON] for row in series for cut in cuts])
    levels = (0.025, *LEVELS, 0.975)
    quantiles = np.stack(forecaster.predict_arrays(contexts, HORIZON, levels, [SEASON] * len(contexts)))
    scale = np.array([metrics.seasonal_error(context, SEASON) for context in contexts])
    found = dict(table.iloc[0])
    assert found["MASE[0.5]"] == pytest.approx(metrics.mase(target, quantiles[..., 5], scale), rel=1e-6)
    assert found["mean_weighted_sum_quantile_loss"] == pytest.approx(
        metrics.crps(target, quantiles[..., 1:-1]), rel=1e-6
    )
    assert found["MSIS"] == pytest.approx(metrics.msis(target, quantiles[..., 0], quantiles[..., -1], scale), rel=1e-6)


def test_a_forecaster_is_a_predictor_and_keeps_the_ids_and_starts_of_entries() -> None:
    from gluonts.model.predictor import Predictor

    predictor = tsfm.load("seasonal-naive").as_gluonts(HORIZON)
    assert isinstance(predictor, Predictor)
    assert (predictor.prediction_length, predictor.lead_time) == (HORIZON, 0)
    windows = made_windows(made_series())
    found = list(predictor.predict(windows.input))
    assert [one.item_id for one in found] == [entry["item_id"] for entry in windows.input]
    assert [one.start_date for one in found] == [entry["start"] for entry in windows.label]
    nameless = [{key: entry[key] for key in ("start", "target")} for entry in windows.input]
    assert [one.item_id for one in predictor.predict(nameless)] == [None] * len(nameless)


@pytest.mark.parametrize("model", ["naive", "moe-decoder-tiny"])
def test_a_serialised_predictor_comes_back_as_gluonts_reads_it_with_the_same_forecasts(
    model: str, tmp_path: Path
) -> None:
    from gluonts.model.predictor import Predictor

    predictor, windows = tsfm.load(model).as_gluonts(HORIZON), made_windows(made_series()).input
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert again.quantile_levels == predictor.quantile_levels
    for before, after in zip(predictor.predict(windows), again.predict(windows), strict=True):
        np.testing.assert_array_equal(after.forecast_array, before.forecast_array)


def test_an_entry_that_cannot_be_forecast_is_named() -> None:
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", freq="D"), "target": np.full(9, np.nan)}]
    with pytest.raises(tsfm.TsfmError, match=r"a \(entry 0\)"):
        list(tsfm.load("naive").as_gluonts(3).predict(entries))


def test_without_gluonts_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tsfm.gluonts_predictor", raising=False)
    monkeypatch.setitem(sys.modules, "gluonts.model.predictor", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tsfm-forecast\[gluonts\]'"):
        tsfm.load("naive").as_gluonts(3)


def list_dataset(folder: Path) -> Any:
    from gluonts.dataset.common import ListDataset

    return ListDataset([{"item_id": name, "start": "2024-01-01", "target": range(9)} for name in "ab"], freq="D")


def pandas_dataset(folder: Path) -> Any:
    from gluonts.dataset.pandas import PandasDataset

    frame = pd.DataFrame({"target": np.arange(9.0)}, index=pd.period_range("2024-01-01", periods=9, freq="D"))
    return PandasDataset({"a": frame, "b": frame})


def long_pandas_dataset(folder: Path) -> Any:
    from gluonts.dataset.pandas import PandasDataset

    days = pd.date_range("2024-01-01", periods=9)
    frame = pd.DataFrame({"item_id": np.repeat(["a", "b"], 9), "target": [*range(9)] * 2}, index=[*days, *days])
    return PandasDataset.from_long_dataframe(frame, item_id="item_id")


def file_dataset(folder: Path) -> Any:
    from gluonts.dataset.common import FileDataset

    rows = [json.dumps({"item_id": name, "start": "2024-01-01", "target": [*range(9)]}) for name in "ab"]
    (folder / "data.json").write_text("\n".join(rows))
    return FileDataset(folder, "D")


@pytest.mark.parametrize("dataset", [list_dataset, pandas_dataset, long_pandas_dataset, file_dataset])
def test_a_gluonts_data_set_is_continued_at_its_own_frequency(dataset: Callable[[Path], Any], tmp_path: Path) -> None:
    made = tsfm.forecast(dataset(tmp_path), 3, model="naive")
    assert made.ids == ["a", "b"]
    for one in made.to_gluonts():
        assert one.start_date == pd.Period("2024-01-10", freq="D")
        assert one.start_date.freqstr == "D"
        np.testing.assert_array_equal(one.quantile(0.5), [8.0, 8.0, 8.0])


@pytest.mark.parametrize(
    "freq, after",
    [("M", "2024-10"), ("Q", "2026Q2"), ("Y", "2033"), ("h", "2024-01-01 09:00"), ("W-THU", "2024-03-04")],
)
def test_the_frequency_of_a_data_set_is_that_of_its_starts(freq: str, after: str) -> None:
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", freq=freq), "target": np.arange(9.0)}]
    (made,) = tsfm.forecast(entries, 2, model="naive").to_gluonts()
    assert made.start_date == pd.Period(after, freq=freq)
