"""Covariates in `tsfm.finetune`: learned, asked for in forecasts, remembered in the folder, and their worth told."""

import numpy as np
import pandas as pd
import pytest
from finetuning.small import frame, small_base

import tsfm
from tsfm.errors import DataError
from tsfm.finetuning import run as runs

HORIZON = 8


@pytest.fixture
def short(monkeypatch):
    """Courses of few steps."""
    monkeypatch.setattr(runs, "MOST_STEPS", 40)


def test_covariates_known_ahead_are_learned_asked_for_and_their_worth_is_told(short, tmp_path):
    data = frame(3, 400)
    generator = np.random.default_rng(1)
    data["promotion"] = (generator.random(len(data)) < 0.1).astype(float)
    data["y"] += 8 * data["promotion"]
    found = tsfm.finetune(data, HORIZON, small_base(), "head", 600, tmp_path / "m", future=["promotion"])
    assert {row["kind"] for row in found.report["covariates"]} == {"ridge", "boosting"}
    assert "Covariates (promotion) save" in repr(found)
    assert any(row["selection"] > 0.1 for row in found.report["covariates"])
    if found.forecaster.head is None:
        pytest.fail(f"a promotion of 8 was not kept: {found.report['verdict']}")
    with pytest.raises(DataError, match="promotion"):
        found.forecast(data)
    ahead = data.groupby("unique_id").tail(HORIZON)[["unique_id", "promotion"]].assign(promotion=0.0)
    stamps = data["ds"].max() + pd.to_timedelta(np.arange(1, HORIZON + 1), "h")
    ahead["ds"] = np.tile(stamps, 3)
    without = found.forecast(data, future=ahead).quantile_array(0.5)
    with_it = found.forecast(data, future=ahead.assign(promotion=1.0)).quantile_array(0.5)
    assert (with_it - without).mean() > 4
    loaded = tsfm.load(tmp_path / "m", precision="fp32").forecast(data, HORIZON, future=ahead)
    np.testing.assert_allclose(loaded.quantile_array(0.5), without, rtol=1e-9)


def test_a_folder_remembers_its_columns_and_its_horizon_and_rows_ahead_are_ahead_for_any_winner(short, tmp_path):
    data = frame(2, 200).rename(columns={"unique_id": "shop", "ds": "hour", "y": "sold"})
    data["visitors"], data["open"] = 1.0, 1.0
    roles = {"id": "shop", "time": "hour", "target": "sold"}
    made = tsfm.finetune(data, 5, small_base(), "none", out=tmp_path / "m", future=["open"], windows=2, **roles)
    assert made.winner in ("zero-shot", "seasonal-naive") or made.forecaster.head is not None
    ahead = data.groupby("shop").tail(5).assign(sold=np.nan)
    ahead["hour"] += pd.Timedelta(5, "h")
    both = pd.concat([data, ahead]).sort_values(["shop", "hour"])
    both.to_csv(tmp_path / "both.csv", index=False)
    loaded = tsfm.load(tmp_path / "m")
    for given in (both, tmp_path / "both.csv"):
        found = loaded.forecast(given)
        assert found.horizon == 5
        assert found.to_frame()["hour"].min() == data["hour"].max() + pd.Timedelta(1, "h")
    with pytest.raises(DataError):
        loaded.forecast(data.rename(columns={"sold": "a", "visitors": "b"}))


def test_without_a_method_covariates_alone_are_tried(short):
    data = frame(3, 300)
    data["promotion"] = (np.random.default_rng(1).random(len(data)) < 0.1).astype(float)
    data["y"] += 8 * data["promotion"]
    found = tsfm.finetune(data, HORIZON, small_base(), "none", future=["promotion"])
    assert found.report["courses"] == {}
    heads = {f"zero-shot + {kind}{blind}" for kind in ("ridge", "boosting") for blind in ("", ", blind")}
    assert set(found.table.index) == {"seasonal-naive", "zero-shot", *heads}


def promoted() -> pd.DataFrame:
    data = frame(3, 300)
    data["promotion"] = (np.random.default_rng(1).random(len(data)) < 0.1).astype(float)
    return data.assign(y=data["y"] + 8 * data["promotion"])


def test_an_interrupt_while_covariates_are_read_keeps_what_was_trained(short):
    def interrupt(line):
        if "ridge, blind" in line:
            raise KeyboardInterrupt

    found = tsfm.finetune(promoted(), HORIZON, small_base(), "head", 600, future=["promotion"], progress=interrupt)
    assert "head" in found.table.index and "head + ridge" not in found.table.index
    assert any("interrupted" in note for note in found.report["notes"])


def test_a_covariate_that_never_changes_is_left_aside_and_that_is_said(short):
    found = tsfm.finetune(frame(3, 160).assign(open=1.0), HORIZON, small_base(), "none", future=["open"])
    assert found.report["covariates"] == []
    assert any("open never changes" in note for note in found.report["notes"])


def test_a_constant_target_with_a_covariate_still_gives_a_model(short):
    data = promoted().assign(y=5.0)
    found = tsfm.finetune(data, HORIZON, small_base(), "none", future=["promotion"])
    assert any("could not be fitted" in note for note in found.report["notes"])


def test_a_base_that_reads_covariates_is_refused_before_they_are_lost(short, tmp_path):
    made = tsfm.finetune(promoted(), HORIZON, small_base(), "none", out=tmp_path / "m", future=["promotion"])
    assert made.forecaster.head is not None
    with pytest.raises(DataError, match=r"reads covariates \(promotion\).*with_head\(None\)"):
        tsfm.finetune(frame(3, 160), HORIZON, tmp_path / "m")
    with pytest.raises(DataError, match="promotion"):
        tsfm.backtest(promoted(), HORIZON, models=[tmp_path / "m"])
    with pytest.raises(DataError, match=r"with_head\(None\).as_gluonts"):
        made.forecaster.as_gluonts(HORIZON)
