"""Pretraining of a model that says itself what it learns from windows: Time-MoE, from nothing to a forecast."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfm.cli.pretrain import begun
from tsfm.data.windows import WindowConfig
from tsfm.errors import DataError
from tsfm.loading import load
from tsfm.models.moe_decoder import PRESETS as DECODER
from tsfm.models.time_moe import PRESETS
from tsfm.training.config import RunConfig, read_config
from tsfm.training.runs import open_run, write_model
from tsfm.training.trainer import Trainer

WINDOWS = WindowConfig(contexts=(64, 128), context_shares=(0.5, 0.5), tokens=16, chunk_series=16, chunk_steps=4)
CONFIG = RunConfig(PRESETS["tiny"], WINDOWS, seed=3, steps=8, warmup=3, decay_start=6, architecture="time-moe")
WAVES = [[np.sin(np.arange(400) / period) for period in (3.0, 4.0, 5.0)]]


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    Trainer(tmp_path / "whole", CONFIG, WAVES).run(report=lambda line: None)
    cut = Trainer(tmp_path / "cut", CONFIG, WAVES)
    cut.resume()
    for _ in range(3):
        cut.losses.append(cut.train_step())
    cut.save()
    config = read_config(tmp_path / "cut")
    assert (config, config.model) == (CONFIG, PRESETS["tiny"])
    assert Trainer(tmp_path / "cut", config, WAVES).run(report=lambda line: None)
    assert (tmp_path / "cut" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def test_training_lowers_the_loss_on_sines(tmp_path):
    windows = replace(WINDOWS, real_share=1.0, mix_share=0.0)
    trainer = Trainer(tmp_path, replace(CONFIG, steps=40, decay_start=30, windows=windows), WAVES)
    trainer.run(report=lambda line: None)
    assert np.mean(trainer.losses[-5:]) < 0.75 * np.mean(trainer.losses[:5])


def test_what_was_trained_loads_forecasts_and_says_what_it_is(tmp_path):
    config = replace(CONFIG, steps=2)
    trainer = open_run(tmp_path / "run", config)
    trainer.run(report=lambda line: None)
    folder = write_model(trainer.model, tmp_path / "model", tmp_path / "run")
    card = json.loads((folder / "config.json").read_text())
    assert card["training"]["tokens"] == 2 * 16 * 32
    assert card["training"]["active_parameters"] < sum(weight.numel() for weight in trainer.model.parameters())
    assert card["description"].startswith("Point-wise sparse decoder")
    assert np.isfinite(load(folder).forecast(np.sin(np.arange(100) / 3), 20).median).all()


def test_the_loss_of_a_window_does_not_know_its_unit_or_what_is_not_observed(tmp_path):
    trainer = Trainer(tmp_path, CONFIG, WAVES)
    values, observed = trainer.prepare(0)
    with torch.no_grad():
        wanted = trainer.model.window_loss(values, observed)
        torch.testing.assert_close(trainer.model.window_loss(7 * values + 3, observed), wanted, rtol=1e-4, atol=1e-5)
        hidden = torch.where(observed, values, 1e6)
        assert torch.equal(trainer.model.window_loss(hidden, observed), wanted)


def test_every_published_size_can_be_begun_from_the_command_line():
    config = begun("time-moe", "50m")
    assert config.model == PRESETS["50m"]
    assert config.other_rate == 1e-4
    assert begun("moe-decoder", "tiny") == RunConfig(DECODER["tiny"])
    with pytest.raises(DataError, match="--preset 2b is not known; presets are tiny, 50m, 200m"):
        begun("time-moe", "2b")
    with pytest.raises(DataError, match=r"--model naive cannot be pretrained here; there are .*time-moe"):
        begun("naive", "tiny")
