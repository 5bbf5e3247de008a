"""Multivariate forecasts: adapters exact where they can be, a guard that says no, the same numbers after loading."""

import json
import subprocess
import sys
from pathlib import Path

import every_forecaster
import numpy as np
import pandas as pd
import pytest
import torch

from tsfm.errors import DataError, UnknownName
from tsfm.finetuning import multivariate_fit
from tsfm.finetuning.multivariate import MultivariateForecaster
from tsfm.finetuning.multivariate_fit import cutoffs
from tsfm.finetuning.multivariate_learning import Settings
from tsfm.loading import load

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LENGTH, HORIZON = 420, 8


def tangled(length: int = LENGTH) -> pd.DataFrame:
    """Four channels that are random mixtures of a slow wave, a fast one, and two noises of different strength."""
    generator = np.random.default_rng(1)
    steps = np.arange(length)
    sources = np.stack(
        [
            np.sin(steps / 30),
            np.sin(2 * np.pi * steps / 7),
            generator.normal(size=length),
            generator.normal(size=length),
        ]
    )
    mixture = generator.normal(size=(4, 4)) * [2.0, 1.0, 1.0, 1.0]
    times = pd.date_range("2024-01-01", periods=length, freq="D")
    return pd.DataFrame((mixture @ sources).T + np.array([100, 0, -5, 3]), times, ["a", "b", "c", "d"])


def small_base():
    return every_forecaster.forecaster_named("moe-decoder")


@pytest.fixture(scope="module")
def kept() -> MultivariateForecaster:
    """A fit whose adapter is kept whatever the guard says, so that what comes after it can be tested."""
    made = MultivariateForecaster("moe-decoder-tiny", "linear", samples=60, context=128)
    made.fit(tangled(), HORIZON, guard=False)
    assert made.mixing is not None
    made.mixing.share = np.array([1.0, 0.5, 0.25, 0.0])
    return made


def test_blocks_follow_the_training_part_and_do_not_share_a_step():
    end, stopping, selection = cutoffs(1000, 20)
    assert end <= stopping[0]
    assert stopping[-1] + 20 <= selection[0]
    assert selection[-1] + 20 == 1000
    assert cutoffs(100, 20) is None


def test_what_comes_after_the_training_part_changes_no_scale_and_no_map():
    values = tangled().to_numpy().T
    later, end = values.copy(), cutoffs(LENGTH, HORIZON)[0]
    later[:, end:] *= 1.0 + np.random.default_rng(3).normal(size=(4, LENGTH - end))
    bases = small_base(), small_base()
    settings = Settings("linear", 4, HORIZON, 7, LEVELS, 64, 40, 0, 1, 1.0)
    first, second = (
        multivariate_fit.fit(base, one, "abcd", settings)[0] for base, one in zip(bases, (values, later), strict=True)
    )
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.unit, second.unit)
    for name, value in first.adapter.state_dict().items():
        assert torch.equal(value, second.adapter.state_dict()[name])
    assert (first.spread != second.spread).any()


@pytest.mark.parametrize("adapter", ["linear-ae", "dropout-ae", "vae", "linear-vae"])
def test_a_learned_adapter_trains_through_a_base_that_stays_as_it_is(adapter: str):
    base = small_base()
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    made = MultivariateForecaster(base, adapter, 2, samples=40, context=64).fit(tangled(), HORIZON, steps=2)
    assert made.report.steps == 2
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    assert all(weight.grad is None for weight in base.model.parameters())
    assert np.isfinite(np.stack(list(made.forecast(tangled()).median.to_numpy()))).all()


def test_the_guard_keeps_each_channel_alone_when_an_adapter_only_loses():
    generator = np.random.default_rng(0)
    walks = pd.DataFrame(generator.normal(size=(LENGTH, 4)).cumsum(0), tangled().index, list("abcd"))
    made = MultivariateForecaster("moe-decoder-tiny", "pca", 1, samples=40, context=128).fit(walks, HORIZON)
    assert made.adapter_kept == "none"
    assert made.report.reason.startswith("each channel alone: ")
    expected = load("moe-decoder-tiny").forecast(walks, HORIZON, context=128)
    pd.testing.assert_frame_equal(made.forecast(walks).median, expected.median)


def test_the_guard_keeps_an_adapter_that_untangles_the_channels(kept: MultivariateForecaster):
    assert kept.report.kept
    assert kept.report.mixed < 0.95 * kept.report.alone


def test_a_mixed_forecast_keeps_the_family_and_never_crosses(kept: MultivariateForecaster):
    made = kept.forecast(tangled(), 11)
    assert list(made.median.columns) == list("abcd")
    assert len(made.median) == 11
    curves = np.stack([made.quantile_array(level) for level in (0.02, 0.1, 0.5, 0.9, 0.98)], -1)
    assert (np.diff(curves) >= 0).all()
    assert "in a linear adapter" in made.provenance.model


def test_the_order_of_the_channels_in_the_data_changes_nothing(kept: MultivariateForecaster):
    frame = tangled()
    turned = kept.forecast(frame[["c", "a", "d", "b"]]).median
    pd.testing.assert_frame_equal(turned[list("abcd")], kept.forecast(frame).median)


def test_saved_and_loaded_in_another_process_it_forecasts_the_same(kept: MultivariateForecaster, tmp_path: Path):
    folder = kept.save(tmp_path / "mixed")
    assert sorted(path.name for path in folder.iterdir()) == ["adapter.safetensors", "config.json"]
    tangled().to_csv(tmp_path / "data.csv", index_label="time")
    code = (
        "import sys; from tsfm.finetuning.multivariate import MultivariateForecaster as M; import pandas as pd\n"
        "data = pd.read_csv(sys.argv[2], index_col=0, parse_dates=True)\n"
        "M.load(sys.argv[1]).forecast(data).to_frame().to_json(sys.argv[3], double_precision=15)\n"
    )
    out = tmp_path / "out.json"
    subprocess.run([sys.executable, "-c", code, str(folder), str(tmp_path / "data.csv"), str(out)], check=True)
    data = pd.read_csv(tmp_path / "data.csv", index_col=0, parse_dates=True)
    found = pd.DataFrame(json.loads(out.read_text()))["0.9"].to_numpy(float)
    np.testing.assert_allclose(found, kept.forecast(data).to_frame()["0.9"].to_numpy(), rtol=1e-9)


def test_a_base_of_ones_own_travels_along(tmp_path: Path):
    made = MultivariateForecaster(small_base(), "none").fit(tangled(), HORIZON)
    folder = made.save(tmp_path / "own")
    again = MultivariateForecaster.load(folder)
    pd.testing.assert_frame_equal(again.forecast(tangled()).median, made.forecast(tangled()).median)
    assert again.report.reason == "each channel alone, as asked"


def test_a_file_that_was_changed_is_refused(kept: MultivariateForecaster, tmp_path: Path):
    folder = kept.save(tmp_path / "mixed")
    path = folder / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match=r"adapter\.safetensors is missing or not the one"):
        MultivariateForecaster.load(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        kept.save(tmp_path / "other")


def test_gaps_and_a_channel_that_never_changes_are_told_and_stand_no_fit_in_the_way():
    frame = tangled()
    frame["still"] = 7.0
    frame.iloc[50:60, 1] = np.nan
    frame.iloc[-3:, 2] = np.nan
    made = MultivariateForecaster("moe-decoder-tiny", "pca", samples=40, context=128).fit(frame, HORIZON)
    assert "13 missing values of 'b', 'c' filled" in str(made.report)
    assert "nothing changes in the training part: 'still'" in str(made.report)
    assert (made.forecast(frame).median["still"] == 7.0).all()


def test_a_channel_that_begins_too_late_to_be_judged_leaves_each_channel_alone():
    frame = tangled()
    frame.iloc[20:-60, 3] = np.nan
    made = MultivariateForecaster("moe-decoder-tiny", "pca", samples=40, context=64).fit(frame, HORIZON)
    assert "fewer than 3 windows" in made.report.reason


def test_one_channel_or_too_few_steps_are_forecast_alone_and_say_so():
    one = MultivariateForecaster("moe-decoder-tiny", "pca").fit(tangled()[["a"]], HORIZON)
    assert "one channel there is nothing to mix" in one.report.reason
    short = MultivariateForecaster("moe-decoder-tiny", "pca").fit(tangled(40), HORIZON)
    assert "40 steps are too few" in short.report.reason
    assert len(short.forecast(tangled(40)).median) == HORIZON


def test_what_cannot_be_mixed_is_refused_in_words(kept: MultivariateForecaster):
    with pytest.raises(DataError, match="'b' has 90 steps and 'a' has 100"):
        MultivariateForecaster("naive", "pca").fit({"a": np.arange(100.0), "b": np.arange(90.0)}, 4)
    apart = {
        name: pd.Series(np.arange(50.0), pd.date_range(day, periods=50)) for name, day in (("a", "2024"), ("b", "2025"))
    }
    with pytest.raises(DataError, match="'b' begins or steps at other times"):
        MultivariateForecaster("naive", "pca").fit(apart, 4)
    with pytest.raises(DataError, match="no gradients to give"):
        MultivariateForecaster("naive", "linear-ae")
    with pytest.raises(UnknownName, match="'linear'"):
        MultivariateForecaster("naive", "rotation")
    with pytest.raises(DataError, match="components=9 is more than the 4 channels"):
        MultivariateForecaster("naive", "pca", 9).fit(tangled(), HORIZON)
    with pytest.raises(DataError, match="not fitted"):
        MultivariateForecaster("naive").forecast(tangled())
    with pytest.raises(DataError, match=r"lack 'd' and have 'e' beside them"):
        kept.forecast(tangled().rename(columns={"d": "e"}))
