"""The flagship: what a token may know, seasonal copies, long horizons, and the parts it is made of."""

from dataclasses import replace
from math import asinh

import numpy as np
import pytest
import torch

from tsfm.batch import Batch
from tsfm.models.moe_decoder import PRESETS, MoEDecoder, MoEDecoderConfig
from tsfm.nn.heads import QuantileHead
from tsfm.nn.lags import (
    FIRST_BOUNDARY,
    CopyGates,
    best_lags,
    causal_lags,
    default_boundaries,
    deviations,
    known_steps,
    seasonal_copies,
    variogram,
)
from tsfm.nn.masking import contiguous_masks
from tsfm.nn.scaling import causal_scale, squash, unsquash

CONFIG = MoEDecoderConfig(width=32, depth=2, heads=2, shared_width=16, expert_width=8, experts=4, max_ahead=4)


@pytest.fixture(scope="module", params=[False, True], ids=["", "gates"])
def model(request) -> MoEDecoder:
    """A small decoder whose zero-initialised parts were moved, so that everything reaches the output."""
    torch.manual_seed(0)
    made = MoEDecoder(replace(CONFIG, copy_gates=request.param)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return made


def series(count: int, length: int, seed: int = 0) -> torch.Tensor:
    """Noisy daily and weekly waves."""
    steps = torch.arange(length)
    noise = torch.randn(count, length, generator=torch.Generator().manual_seed(seed))
    return torch.sin(steps * 2 * np.pi / 24) + 0.5 * torch.sin(steps * 2 * np.pi / 168) + 0.2 * noise


def batch_of(values: torch.Tensor, observed: torch.Tensor | None = None) -> Batch:
    """A batch of fully or partly observed values."""
    seen = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
    return Batch(torch.where(seen, values, 0.0), seen, torch.ones(len(values), dtype=torch.int64))


@pytest.fixture(params=["waves", "exact waves", "walk", "short"])
def some_values(request) -> torch.Tensor:
    """Series of different kinds, (2, C)."""
    waves = series(2, 700)
    exact = torch.sin(torch.arange(700) * 2 * np.pi / 24).expand(2, -1)
    return {"waves": waves, "exact waves": exact, "walk": waves.cumsum(1), "short": waves[:, :45]}[request.param]


@torch.no_grad()
def training_view(
    model: MoEDecoder, values: torch.Tensor, hidden: torch.Tensor | None = None, ends=None
) -> torch.Tensor:
    """Quantiles of the patch after every token, in the series' units; (B, N, P, Q)."""
    patches = values.unflatten(1, (-1, CONFIG.patch))
    observed = torch.ones_like(patches, dtype=torch.bool)
    if hidden is not None:
        observed = observed & ~hidden[..., None]
    made = model.inputs(
        torch.where(observed, patches, 0.0), observed, default_boundaries(patches.shape[1]) if ends is None else ends
    )
    return unsquash(model(made.channels, made.bias)[0], made.scale)


@pytest.mark.parametrize("cut", [1, 3, 5, 8, 11])
def test_a_token_knows_nothing_of_what_comes_after_it(model, cut):
    values = series(3, 12 * CONFIG.patch)
    later = values.clone()
    later[:, cut * CONFIG.patch :] = 100 * torch.randn_like(later[:, cut * CONFIG.patch :])
    before, after = training_view(model, values)[:, :cut], training_view(model, later)[:, :cut]
    torch.testing.assert_close(after, before)


def test_a_hidden_patch_is_not_seen(model):
    values = series(2, 12 * CONFIG.patch)
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[:, 5:8] = True
    other = values.clone()
    other[:, 5 * CONFIG.patch : 8 * CONFIG.patch] += 50.0
    torch.testing.assert_close(training_view(model, other, hidden), training_view(model, values, hidden))


def test_one_pass_ahead_is_the_hidden_span_of_training(model):
    values = series(2, 12 * CONFIG.patch)
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[:, 8:] = True
    trained = training_view(model, values, hidden, default_boundaries(8))[:, 7:11].flatten(1, 2)
    served = model.predict(batch_of(values[:, : 8 * CONFIG.patch]), 4 * CONFIG.patch)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-4)


def test_an_open_gate_forecasts_a_season_that_repeats_to_the_last_digit():
    model = MoEDecoder(replace(CONFIG, copy_gates=True)).eval()
    with torch.no_grad():
        model.gates.gates.bias[0] = 1.0  # the newest copy of the first lag, in a network that says nothing else
    wave = torch.randn(24, generator=torch.Generator().manual_seed(0)).repeat(20)[None]
    median = model.predict(batch_of(wave), 48)[0, :, 4]
    torch.testing.assert_close(median, wave[0, :48], rtol=1e-4, atol=1e-5)


def test_gates_add_shares_of_copies_and_of_deviations():
    gates = CopyGates(width=8)
    with torch.no_grad():
        gates.gates.bias[[1, 6]] = torch.tensor([1.0, 0.5])  # the averaged copy of the first lag, and its deviation
    copies, moved = torch.randn(2, 3, 6 * 4), torch.randn(2, 3, 3)
    found = gates(torch.randn(2, 3, 8), copies, moved)
    torch.testing.assert_close(found, copies[..., 4:8] + 0.5 * moved[..., :1])


def test_deviations_are_of_the_newest_value_and_zero_where_its_copy_is_missing():
    values = torch.arange(8.0).view(1, 2, 4)
    observed = torch.ones_like(values, dtype=torch.bool)
    observed[0, 1, 3] = observed[0, 0, 2] = False  # newest values 3 and 6; 2 is missing
    scale = causal_scale(torch.where(observed, values, 0.0), observed)
    found = deviations(values, observed, scale, torch.tensor([[[1, 2], [4, 3]]]))
    spread = scale.scale[0]
    level = scale.loc[0]
    expected = [[0.0, asinh((3 - level[0]) / spread[0]) - asinh((1 - level[0]) / spread[0])]]
    expected += [[0.0, asinh((6 - level[1]) / spread[1]) - asinh((3 - level[1]) / spread[1])]]
    torch.testing.assert_close(found, torch.tensor([expected]))


@pytest.mark.parametrize("horizon", [50, 400])
def test_both_signs_in_one_pass_are_what_each_gives_alone(model, some_values, horizon):
    batch = batch_of(some_values, torch.rand(some_values.shape, generator=torch.Generator().manual_seed(2)) < 0.8)
    same, opposite = model.predict_both_signs(batch, horizon)
    torch.testing.assert_close(same, model.predict(batch, horizon), rtol=1e-4, atol=1e-4)
    negative = batch_of(-batch.values, batch.observed)
    torch.testing.assert_close(opposite, model.predict(negative, horizon), rtol=1e-4, atol=1e-4)


def test_inference_gives_what_the_training_pass_gives(model):
    values = series(3, 12 * CONFIG.patch).unflatten(1, (12, -1))
    made = model.inputs(values, torch.ones_like(values, dtype=torch.bool), default_boundaries(12), ahead=2)
    whole = model(made.channels, made.bias)[0].detach()
    with torch.inference_mode():
        torch.testing.assert_close(model.infer(made.channels, made.bias, 3), whole[:, -3:], rtol=1e-5, atol=1e-5)


def test_forecasts_in_bfloat16_follow_a_weight_that_has_changed():
    model, batch = MoEDecoder(CONFIG).eval(), batch_of(series(2, 300))
    model.set_precision(torch.bfloat16)
    before, names = model.predict(batch, 40), set(model.state_dict())
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    after = model.predict(batch, 40)
    assert set(model.state_dict()) == names
    model.set_precision(torch.bfloat16)
    torch.testing.assert_close(model.predict(batch, 40), after)
    assert not torch.equal(after, before)


def test_horizons_beyond_one_pass_continue_and_agree_on_the_start(model):
    values = batch_of(series(2, 300))
    short, long = model.predict(values, 40), model.predict(values, 400)
    assert long.shape == (2, 400, 9)
    assert long.isfinite().all()
    assert (long.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(long[:, :40], short, rtol=1e-4, atol=1e-4)


def test_nothing_but_missing_values_before_the_series_changes_nothing(model, some_values):
    values = some_values
    padded = torch.nn.functional.pad(values, (3 * CONFIG.patch, 0))
    observed = torch.nn.functional.pad(torch.ones_like(values, dtype=torch.bool), (3 * CONFIG.patch, 0))
    alone, with_gap = model.predict(batch_of(values), 50), model.predict(batch_of(padded, observed), 50)
    torch.testing.assert_close(with_gap, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_stay_within_their_budget(preset):
    model = MoEDecoder(PRESETS[preset])
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total < {"tiny": 7.5e6, "nano": 1.9e6, "tiny-dense": 4e6, "nano-dense": 1.9e6}[preset]


def test_channels_match_the_configuration(model):
    made = model.inputs(torch.zeros(1, 3, 32), torch.ones(1, 3, 32, dtype=torch.bool), [3], ahead=2)
    assert made.channels.shape == (1, 5, model.config.layout.channels)


def test_causal_scale_is_the_running_mean_and_deviation():
    values = series(2, 96).unflatten(1, (3, 32)).double()
    scale = causal_scale(values, torch.ones_like(values, dtype=torch.bool))
    for patch in range(3):
        so_far = values[:, : patch + 1].flatten(1)
        torch.testing.assert_close(scale.loc[:, patch], so_far.mean(1))
        torch.testing.assert_close(scale.scale[:, patch], so_far.std(1, correction=0))


def test_a_constant_start_has_no_scale_yet_even_at_a_large_level():
    values = torch.full((1, 2, 8), 123456.7)
    values[0, 1, -1] += 0.5
    scale = causal_scale(values, torch.ones_like(values, dtype=torch.bool))
    assert scale.usable.tolist() == [[False, True]]


def test_scale_knows_the_newest_value_and_the_size_of_a_step():
    values = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 5.0, 7.0], [0.0, 0.0, 0.0]]])
    observed = torch.tensor([[[True, True, False], [False, True, True], [False, False, False]]])
    scale = causal_scale(values, observed)
    assert scale.last.tolist() == [[2.0, 7.0, 7.0]]
    torch.testing.assert_close(scale.rough, torch.tensor([[1.0, 2.5**0.5, 2.5**0.5]]))


def test_an_untrained_model_forecasts_its_anchor():
    torch.manual_seed(0)
    values = series(3, 200).cumsum(1)
    median = MoEDecoder(CONFIG).eval().predict(batch_of(values), 40)[..., 4]
    torch.testing.assert_close(median, values[:, -1:].expand(-1, 40), rtol=1e-4, atol=1e-4)


def test_squashing_comes_back():
    values = series(2, 64).unflatten(1, (2, 32))
    scale = causal_scale(values, torch.ones_like(values, dtype=torch.bool))
    torch.testing.assert_close(unsquash(squash(values, scale), scale), values, rtol=1e-4, atol=1e-5)


def test_variogram_is_the_mean_squared_difference_of_observed_pairs():
    values = series(2, 80).double()
    observed = torch.rand(2, 80, generator=torch.Generator().manual_seed(1)) < 0.7
    values = torch.where(observed, values, 0.0)
    difference, pairs = variogram(values, observed, 30)
    for lag in (1, 7, 30):
        both = observed[:, lag:] & observed[:, :-lag]
        truth = ((values[:, lag:] - values[:, :-lag]) ** 2 * both).sum(1) / both.sum(1)
        torch.testing.assert_close(difference[:, lag], truth)
        assert pairs[:, lag].tolist() == both.sum(1).tolist()


def test_the_best_lags_of_hourly_waves_are_a_day_and_a_week():
    values = series(4, 1500)
    lag, strength = best_lags(values, torch.ones_like(values, dtype=torch.bool))
    assert lag[:, :2].tolist() == [[24, 168]] * 4
    assert (strength[:, :2] > 0.7).all()


def test_a_smooth_series_has_no_short_lag():
    ramp = torch.linspace(0, 3, 200)[None]
    lag, _ = best_lags(ramp, torch.ones_like(ramp, dtype=torch.bool))
    assert lag.tolist() == [[0, 0, 0]]


def test_a_seasonal_copy_is_the_value_one_period_before_and_the_mean_of_three():
    flat = torch.arange(128.0)[None]
    patches, seen = flat.unflatten(1, (4, 32)), torch.ones(1, 4, 32, dtype=torch.bool)
    lag = torch.full((1, 5, 1), 20)
    known = torch.tensor([[32, 64, 96, 128, 128]])
    copies, rests = seasonal_copies(patches, seen, lag, known, 5)
    target = torch.arange(128, 160)
    assert copies[0, 3, 0, 0].tolist() == [float(t - 20 * (1 + (t - 128) // 20)) for t in target.tolist()]
    torch.testing.assert_close(copies[0, 3, 0, 1], copies[0, 3, 0, 0] - 20)
    assert rests[0, 3].all()
    assert (copies[0, 4, 0, 0] < 128).all()


def test_lags_appear_only_from_their_boundary_on():
    values = series(1, 32 * 10).unflatten(1, (10, 32))
    seen = torch.ones_like(values, dtype=torch.bool)
    lag, _ = causal_lags(values, seen, causal_scale(values, seen), [FIRST_BOUNDARY, 8], 12)
    assert (lag[:, : FIRST_BOUNDARY - 1] == 0).all()
    assert (lag[:, FIRST_BOUNDARY - 1 :, 0] == 24).all()


def test_known_steps_end_with_the_newest_observed_patch():
    observed = torch.tensor([[True, False, True, False, False]])[..., None].expand(1, 5, 4)
    assert known_steps(observed).tolist() == [[4, 4, 12, 12, 12]]


def test_masks_hide_spans_and_never_the_first_patch():
    hidden = contiguous_masks(2000, 64, 32, share=0.6, generator=torch.Generator().manual_seed(0))
    assert not hidden[:, 0].any()
    assert 0.5 < hidden.any(1).float().mean() < 0.65
    assert 0.05 < hidden.float().mean() < 0.3


def test_quantiles_never_cross():
    torch.manual_seed(0)
    head = QuantileHead(16, 8, 9)
    torch.nn.init.normal_(head.project.weight, std=3.0)
    assert (head(torch.randn(100, 16)).diff(dim=-1) >= -1e-5).all()
