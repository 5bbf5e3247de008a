"""Time-MoE says what the published code says: hidden states, routing, heads, caches, rollouts, losses, gradients."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tsfm.batch import Batch
from tsfm.models import time_moe_files as files
from tsfm.models.time_moe import PRESETS, TimeMoE
from tsfm.models.time_moe_layers import angles, schedule
from tsfm.models.time_moe_losses import fill_gaps, left_aligned, right_aligned
from tsfm.nn.moe import recorded_routes

FIXTURES = Path(__file__).parent.parent / "fixtures" / "time_moe"
HORIZONS = (1, 6, 8, 64, 96, 150)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
assert_close = torch.testing.assert_close


@pytest.fixture(scope="module", params=["sparse", "dense"])
def folder(request):
    return FIXTURES if request.param == "sparse" else FIXTURES / "dense_gqa"


@pytest.fixture(scope="module")
def arrays(folder):
    with np.load(folder / "io.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file if not name.endswith("grad_names")}


@pytest.fixture(scope="module")
def shared(folder):
    model = TimeMoE(files.read_config(json.loads((folder / "config.json").read_text())))
    model.load_state_dict(files.read_tensors(load_file(folder / "model.safetensors")))
    return model.eval()


@pytest.fixture
def model(shared):
    shared.set_precision(torch.float32)
    shared.zero_grad()
    return shared


def heard(model):
    """What passes through the layers of one forward of `x`, by the fixture's names."""
    found = {}

    def listen(name, part):
        def hear(module, given, made):
            found[name] = (given[0] if part == "input" else made[0] if isinstance(made, tuple) else made).detach()
            if isinstance(made, tuple) and part == "routing" and made[1] is not None:
                found[f"{name}.routing"] = made[1]

        return hear

    hooks = [model.model.embed_layer.register_forward_hook(listen("embed", "output"))]
    for number, layer in enumerate(model.model.layers):
        for module, name, part in (
            (layer, "input", "input"),
            (layer.self_attn, "attn_out", "output"),
            (layer.ffn_layer, "ffn_out", "routing"),
        ):
            hooks.append(module.register_forward_hook(listen(f"layer{number}.{name}", part)))
    return found, hooks


@torch.no_grad()
def test_a_forward_pass_gives_every_intermediate_value(model, arrays):
    found, hooks = heard(model)
    hidden, routings = model(arrays["x"])
    for hook in hooks:
        hook.remove()
    assert_close(found["embed"], arrays["fwd.embed"], **CLOSE)
    assert_close(hidden, arrays["fwd.last_hidden"], **CLOSE)
    for number in range(model.config.depth):
        for name in ("input", "attn_out", "ffn_out"):
            wanted = arrays[f"fwd.layer{number}.{name}"]
            assert_close(found[f"layer{number}.{name}"].view_as(wanted), wanted, **CLOSE)
    assert len(routings) == (0 if model.config.dense else model.config.depth)
    for number, routing in enumerate(routings):
        assert_close(routing.logits, arrays[f"fwd.layer{number}.router_logits"], **CLOSE)
        assert_close(routing.weight, arrays[f"fwd.layer{number}.topk_weight"], **CLOSE)
        assert torch.equal(routing.expert, arrays[f"fwd.layer{number}.topk_index"])


@torch.no_grad()
def test_the_first_layer_attends_as_published(model, arrays):
    layer = model.model.layers[0]
    x, config = layer.input_layernorm(arrays["fwd.layer0.input"]), model.config
    turn = angles(torch.arange(x.shape[1]), config.head_width, config.rotary_base)
    seen = []

    def probabilities(query, key, value, allowed):
        key = key.repeat_interleave(config.heads // config.kv_heads, 1)
        scores = query.transpose(1, 2) @ key.mT * config.head_width**-0.5
        past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        seen.append(torch.softmax(scores.masked_fill(~past, -torch.inf), -1))

    layer.self_attn.mixed = probabilities
    layer.self_attn(x, turn, None)
    del layer.self_attn.mixed
    assert_close(seen[0], arrays["fwd.layer0.attn_probs"], **CLOSE)


@torch.no_grad()
def test_every_head_forecasts_its_horizon(model, arrays):
    hidden = model(arrays["x"])[0]
    for steps, head in zip(model.config.horizons, model.lm_heads, strict=True):
        assert_close(head(hidden), arrays[f"fwd.pred_h{steps}"], **CLOSE)


@torch.no_grad()
def test_left_padding_is_masked_where_positions_say_so(model, arrays):
    present = arrays["masked.attention_mask"].bool()
    hidden = model(arrays["x"], present, arrays["masked.position_ids"])[0]
    assert_close(hidden[present], arrays["masked.last_hidden"][present], **CLOSE)
    eight = model.config.horizons.index(8)
    assert_close(model.lm_heads[eight](hidden)[present], arrays["masked.pred_h8"][present], **CLOSE)


@torch.no_grad()
def test_the_cache_holds_the_same_keys_and_goes_on_from_them(model, arrays):
    cache = model.new_cache(3, 48)
    cache.begin(40, None)
    eight = model.lm_heads[model.config.horizons.index(8)]
    before = eight(model.extend(arrays["x"][:, :40], cache, last_only=False))
    after = eight(model.extend(arrays["x"][:, 40:], cache, last_only=False))
    assert_close(before, arrays["cache.prefill40_pred_h8"], **CLOSE)
    assert_close(after, arrays["cache.next8_pred_h8"], **CLOSE)
    assert_close(cache.keys[0], arrays["cache.layer0.key"], **CLOSE)
    assert_close(cache.values[0], arrays["cache.layer0.value"], **CLOSE)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_a_rollout_takes_the_published_heads_and_gives_the_published_forecast(model, arrays, horizon):
    passes = schedule(model.config.horizons, horizon)
    fed = [arrays["x"].shape[1], *(taken for _, taken in passes[:-1])]
    heads = [model.config.horizons[head] for head, _ in passes]
    assert [list(row) for row in zip(fed, heads, strict=True)] == arrays[f"gen.h{horizon}.schedule"].tolist()
    normed = model.generate(arrays["x"], horizon)
    assert_close(normed, arrays[f"gen.h{horizon}.normed"], **CLOSE)
    assert_close(normed * arrays["std"] + arrays["mean"], arrays[f"gen.h{horizon}.forecast"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("longest, taken", [(1, 1), (5, 1), (8, 8), (31, 8), (33, 32), (64, 64), (200, 64)])
def test_the_longest_head_that_fits_is_taken(model, arrays, longest, taken):
    assert int(arrays[f"sel.mh{longest}.out_len"]) == taken
    assert model.config.horizons[schedule(model.config.horizons, longest)[0][0]] == taken


def test_without_a_limit_the_published_model_takes_its_first_head(model, arrays):
    assert int(arrays["sel.mhNone.out_len"]) == model.config.horizons[0]


@torch.no_grad()
def test_a_rollout_without_a_cache_gives_the_same(model, arrays):
    steps = arrays["x"]
    for head, taken in schedule(model.config.horizons, 96):
        steps = torch.cat([steps, model.lm_heads[head](model(steps)[0][:, -1])[:, :taken]], 1)
    assert_close(steps[:, 48:], arrays["gen_nocache.h96.normed"], **CLOSE)
    assert_close(model.generate(arrays["x"], 96), steps[:, 48:], **CLOSE)


def test_contexts_of_several_lengths_roll_out_as_masked_ones_do(model, arrays):
    lengths = arrays["masked.attention_mask"].sum(1)
    normed = model.generate(left_aligned(arrays["x"], lengths), 96, lengths)
    assert_close(normed, arrays["gen_masked.h96.normed"], **CLOSE)


def test_a_short_context_alone_gives_the_published_forecast(model, arrays):
    assert_close(model.generate(arrays["x"][:1, :12], 96), arrays["gen_short.h96.normed"], **CLOSE)


@pytest.mark.parametrize("kind", ["full", "nomask", "attnmask"])
def test_losses_are_the_published_ones(model, arrays, kind):
    counted = None if kind == "nomask" else arrays["train.loss_masks"]
    present = arrays["train.attention_mask"].bool() if kind == "attnmask" else None
    total, each, balance = model.official_loss(arrays["train.x"], arrays["train.labels"], counted, present)
    assert_close(total.double(), arrays[f"train.{kind}.loss"], rtol=1e-6, atol=1e-6)
    assert_close(each.double(), arrays[f"train.{kind}.huber_per_head"], rtol=1e-6, atol=1e-6)
    if not model.config.dense:
        assert_close(balance.double(), arrays[f"train.{kind}.aux_loss"], rtol=1e-6, atol=1e-6)


def test_gradients_are_the_published_ones(model, arrays, folder):
    model.official_loss(arrays["train.x"], arrays["train.labels"], arrays["train.loss_masks"])[0].backward()
    found = files.write_tensors({name: weight.grad for name, weight in model.named_parameters()})
    wanted = load_file(folder / "grads_full.safetensors")
    with np.load(folder / "io.npz") as file:
        norms = dict(zip(file["train.full.grad_names"].tolist(), file["train.full.grad_norms"].tolist(), strict=True))
    assert set(found) == set(wanted) == set(norms)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-9, name
        assert float(found[name].norm()) == pytest.approx(norms[name], rel=1e-4, abs=1e-9), name


def test_published_tensors_and_config_come_back_as_they_were(model, folder):
    wanted = load_file(folder / "model.safetensors")
    found = files.write_tensors(model.state_dict())
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    config = json.loads((folder / "config.json").read_text())
    written = files.write_config(model.config)
    assert {key: value for key, value in config.items() if key in written} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in written.items()
    }


def test_bfloat16_moves_a_forecast_by_less_than_a_hundredth(model, arrays):
    exact = model.generate(arrays["x"], 96) * arrays["std"] + arrays["mean"]
    model.set_precision(torch.bfloat16)
    coarse = model.generate(arrays["x"], 96) * arrays["std"] + arrays["mean"]
    assert 0 < float((coarse - exact).norm() / exact.norm()) < 0.01


def test_a_changed_weight_is_seen_in_bfloat16_too(model, arrays):
    model.set_precision(torch.bfloat16)
    before = model.generate(arrays["x"], 8)
    weight = model.model.layers[0].self_attn.v_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight += 0.5
        after = model.generate(arrays["x"], 8)
        weight.copy_(kept)
    assert float((after - before).abs().max()) > 1e-3


def test_predict_standardises_by_the_mean_and_the_unbiased_deviation(model, arrays):
    batch = Batch(arrays["raw"].double(), torch.ones(3, 48, dtype=torch.bool), torch.ones(3, dtype=torch.int64))
    assert_close(model.predict(batch, 96)[..., 0].float(), arrays["gen.h96.forecast"], rtol=1e-5, atol=1e-4)


def test_what_is_missing_inside_lies_on_a_straight_line(model, arrays):
    values, observed = arrays["raw"].double(), torch.ones(3, 48, dtype=torch.bool)
    observed[:, 20:24] = False
    line = torch.arange(1, 5) / 5
    by_hand = values.clone()
    by_hand[:, 20:24] = values[:, 19:20] + line * (values[:, 24:25] - values[:, 19:20])
    assert_close(fill_gaps(torch.where(observed, values, 0.0), observed), by_hand)
    season = torch.ones(3, dtype=torch.int64)
    mean = torch.stack([row[seen].mean() for row, seen in zip(values, observed, strict=True)])[:, None]
    deviation = torch.stack([row[seen].std() for row, seen in zip(values, observed, strict=True)])[:, None]
    wanted = model.generate(((by_hand - mean) / deviation).float(), 8) * deviation + mean
    assert_close(model.predict(Batch(values, observed, season), 8)[..., 0], wanted, **CLOSE)


def test_after_the_last_observed_step_its_value_is_carried_on():
    values, observed = torch.tensor([[3.0, 5.0, 0.0, 0.0]]), torch.tensor([[True, True, False, False]])
    assert fill_gaps(values, observed).tolist() == [[3.0, 5.0, 5.0, 5.0]]


def test_aligning_left_and_right_are_inverse():
    x, lengths = torch.arange(1.0, 11).view(2, 5), torch.tensor([3, 5])
    moved = left_aligned(x, lengths)
    assert moved.tolist() == [[3, 4, 5, 0, 0], [6, 7, 8, 9, 10]]
    assert right_aligned(moved, lengths).tolist() == [[0, 0, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_the_cache_grows_with_the_length_and_is_taken_once():
    model = TimeMoE(PRESETS["tiny"])
    short, long = model.new_cache(1, 100), model.new_cache(1, 400)
    assert long.keys.numel() == 4 * short.keys.numel()
    place = long.keys.data_ptr()
    long.begin(4, None)
    for _ in range(5):
        model.extend(torch.zeros(1, 4), long, last_only=True)
    assert (long.filled, long.keys.data_ptr()) == (20, place)


def test_a_horizon_of_one_pass_keeps_nothing(model, arrays):
    assert len(model.new_cache(3, 48, keep=False).keys) == 0
    assert_close(model.generate(arrays["x"], 64), model.generate(arrays["x"], 96)[:, :64], **CLOSE)


def test_many_series_are_computed_a_few_thousand_steps_at_a_time(model, arrays, monkeypatch):
    whole = model.generate(arrays["x"], 20)
    monkeypatch.setattr("tsfm.kernels.rows_at_once", lambda device: 7)
    assert_close(model.generate(arrays["x"], 20), whole, **CLOSE)


def test_a_long_horizon_takes_its_steps_from_the_context():
    model = TimeMoE(PRESETS["tiny"])
    assert (model.context_for(96), model.context_for(720), model.context_for(10_000)) == (4000, 3376, 1024)


def test_the_published_sizes_have_the_published_parameters():
    with torch.device("meta"):
        model = TimeMoE(PRESETS["50m"])
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(113.35e6, rel=1e-3)
    assert model.active_parameters == pytest.approx(50e6, rel=0.05)


def test_routers_tell_what_they_decide(model, arrays):
    with recorded_routes() as routes:
        model.generate(arrays["x"], 8)
    assert len(routes) == (0 if model.config.dense else model.config.depth)
