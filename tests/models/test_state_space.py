"""The state-space decoder: causality, mixers as recurrences, padding, sizes, and training by the flagship's trainer."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfm.batch import Batch
from tsfm.cli.pretrain import begun
from tsfm.data.windows import WindowConfig
from tsfm.loading import load
from tsfm.models.state_space import PRESETS, StateSpace
from tsfm.models.state_space_mixers import MIXERS, recall
from tsfm.nn.lags import LADDER, best_lags, lags_since_start
from tsfm.nn.scaling import causal_scale, squash
from tsfm.training.config import RunConfig
from tsfm.training.runs import open_run, write_model
from tsfm.training.trainer import Trainer

PATCH = 32
RECURRENT = sorted(set(MIXERS) - {"attention"})
SMALL = replace(PRESETS["pico"], width=32, inner=32, state=8, max_ahead=4)


def made(mixer: str) -> StateSpace:
    """A small model whose zero-initialised parts were moved, so that everything reaches the output."""
    torch.manual_seed(0)
    model = StateSpace(replace(SMALL, mixer=mixer)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return model


@pytest.fixture(params=sorted(MIXERS))
def model(request) -> StateSpace:
    return made(request.param)


def waves(count: int, patches: int) -> torch.Tensor:
    """Noisy daily and weekly waves (B, N, P)."""
    steps = torch.arange(patches * PATCH)
    noise = torch.randn(count, len(steps), generator=torch.Generator().manual_seed(0))
    values = torch.sin(steps * 2 * np.pi / 24) + 0.5 * torch.sin(steps * 2 * np.pi / 168) + 0.2 * noise
    return values.unflatten(1, (patches, PATCH))


def all_seen(values: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(values, dtype=torch.bool)


def batch_of(values: torch.Tensor) -> Batch:
    return Batch(values.double(), all_seen(values), torch.ones(len(values), dtype=torch.int64))


@torch.no_grad()
def after_every_token(model: StateSpace, values: torch.Tensor) -> torch.Tensor:
    shown = model.inputs(values, all_seen(values))
    return model(shown.channels, shown.bias)[0]


@pytest.mark.parametrize("cut", [1, 5, 8])
def test_a_token_knows_nothing_of_what_comes_after_it(model, cut):
    values = waves(2, 9)
    later = values.clone()
    later[:, cut:] = 100 * torch.randn(later[:, cut:].shape, generator=torch.Generator().manual_seed(1))
    before, after = after_every_token(model, values)[:, :cut], after_every_token(model, later)[:, :cut]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("mixer", RECURRENT)
def test_tokens_in_pieces_give_what_all_at_once_give(mixer):
    model = made(mixer)
    shown = model.inputs(waves(2, 12), all_seen(waves(2, 12)))
    whole, last, _ = model.advance(shown.channels, shown.bias)
    state, pieces = None, []
    for first, end in ((0, 1), (1, 6), (6, 7), (7, 12)):
        piece, state, _ = model.advance(shown.channels[:, first:end], shown.bias[:, first:end], state)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-4, atol=1e-5)
    for layer, wanted in zip(state, last, strict=True):
        for found, expected in zip(layer, wanted, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mixer", RECURRENT)
def test_tokens_before_a_series_begins_leave_the_state_empty(mixer):
    model = made(mixer)
    channels = torch.randn(2, 3, SMALL.layout.channels)
    _, state, _ = model.advance(channels, torch.zeros(2, 3, dtype=torch.bool))
    assert all((part == 0).all() for layer in state for part in layer)


def test_patches_without_values_before_a_series_change_nothing(model):
    values = waves(2, 5).flatten(1)
    padded = torch.nn.functional.pad(values, (3 * PATCH, 0))
    observed = torch.nn.functional.pad(all_seen(values), (3 * PATCH, 0))
    season = torch.ones(2, dtype=torch.int64)
    found = model.predict(Batch(padded.double(), observed, season), 50)
    torch.testing.assert_close(found, model.predict(batch_of(values), 50), rtol=1e-5, atol=1e-5)


def test_the_delta_rule_replaces_what_a_key_held():
    """Two values under one key, with full shares and no decay: the second alone is recalled."""
    key = torch.tensor([1.0, 0.0]).expand(1, 1, 2, 2)
    values = torch.tensor([[[[3.0], [5.0]]]])
    mutual = (key @ key.transpose(-1, -2)).tril(-1)
    replaced = torch.linalg.solve_triangular(mutual + torch.eye(2), values, upper=False, unitriangular=True)
    found = recall(key, key, replaced, torch.ones(2, 2).tril(), torch.ones(1, 1, 2), None)
    torch.testing.assert_close(found, values)


def test_lags_are_those_of_the_newest_boundary_counted_from_the_start_of_each_series():
    values = waves(2, 10)
    observed = all_seen(values)
    observed[1, :3] = False  # begins at the fourth patch
    values = torch.where(observed, values, 0.0)
    scale = causal_scale(values, observed)
    lag, strength = lags_since_start(values, observed, scale, 11)
    for row, begin in ((0, 0), (1, 3)):
        for token in range(begin, 11):
            end = max(step for step in LADDER if step <= min(token, 9) - begin + 1)
            there = slice(begin, begin + end)
            at = [part[row : row + 1, begin + end - 1 : begin + end] for part in scale]
            prefix = squash(values[row : row + 1, there].flatten(1)[:, None], type(scale)(*at))[:, 0]
            wanted, strong = best_lags(prefix, observed[row : row + 1, there].flatten(1))
            assert lag[row, token].tolist() == wanted[0].tolist()
            torch.testing.assert_close(strength[row, token], strong[0])


@pytest.mark.parametrize("ahead", [0, 2])
def test_channels_from_a_later_token_on_are_those_of_all(model, ahead):
    values = waves(2, 9).double()
    whole, part = (model.inputs(values, all_seen(values), ahead=ahead, first=first) for first in (0, 6))
    assert torch.equal(part.channels, whole.channels[:, 6:])
    assert torch.equal(part.bias, whole.bias[:, 6:])


def test_horizons_beyond_one_pass_continue_and_agree_on_the_start(model):
    values = waves(2, 8).flatten(1)
    short, long = model.predict(batch_of(values), 40), model.predict(batch_of(values), 400)
    assert long.shape == (2, 400, 9)
    assert (long.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(long[:, :40], short, rtol=1e-4, atol=1e-4)


def test_a_series_far_from_zero_is_read_to_the_last_digit(model):
    values = waves(1, 6).flatten(1).double()
    found = model.predict(batch_of(values + 1e7), 40) - 1e7
    torch.testing.assert_close(found, model.predict(batch_of(values), 40), rtol=1e-5, atol=1e-5)


def test_mixers_are_compared_at_equal_size():
    configs = {config.mixer: config for name, config in PRESETS.items() if name.startswith("nano")}
    assert configs.keys() == MIXERS.keys()
    sizes = [sum(weight.numel() for weight in StateSpace(config).parameters()) for config in configs.values()]
    assert all(1.5e6 < size < 2.5e6 for size in sizes)
    assert max(sizes) / min(sizes) < 1.02


WINDOWS = WindowConfig(contexts=(64, 128), context_shares=(0.5, 0.5), tokens=64, chunk_series=8, chunk_steps=8)
RUN = RunConfig(SMALL, WINDOWS, seed=3, steps=6, warmup=3, decay_start=4, compiled=False, architecture="state-space")


def test_the_flagships_trainer_trains_it_stops_and_goes_on_bit_for_bit(tmp_path):
    assert Trainer(tmp_path / "whole", RUN).run(report=lambda line: None)
    cut = Trainer(tmp_path / "cut", RUN)
    cut.resume()
    for _ in range(3):
        cut.losses.append(cut.train_step())
    cut.save()
    assert open_run(tmp_path / "cut", RUN).run(report=lambda line: None)
    assert (tmp_path / "cut" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()
    folder = write_model(cut.model, tmp_path / "model", tmp_path / "cut")
    card = json.loads((folder / "config.json").read_text())
    assert card["weights"]["dtype"] == "int8"
    assert np.isfinite(load(folder).forecast(np.sin(np.arange(100) / 3), 20).median).all()


def test_gradients_reach_every_parameter(model):
    values = waves(3, 8)
    shown = model.inputs(values[:, :-1], all_seen(values[:, :-1]))
    quantiles, _, losses = model(shown.channels, shown.bias)
    (quantiles.square().mean() + losses.sum()).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_training_lowers_the_loss_on_a_sine(tmp_path):
    sines = [[np.sin(np.arange(400) / period) for period in (3.0, 4.0, 5.0)]]
    config = replace(RUN, steps=30, decay_start=20, windows=replace(WINDOWS, real_share=1.0, mix_share=0.0))
    trainer = Trainer(tmp_path, config, sines)
    trainer.run(report=lambda line: None)
    assert np.mean(trainer.losses[-5:]) < 0.75 * np.mean(trainer.losses[:5])


def test_every_size_can_be_begun_from_the_command_line():
    for preset, config in PRESETS.items():
        assert begun("state-space", preset) == RunConfig(config, architecture="state-space")
