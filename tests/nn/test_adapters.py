"""Adapters over every registered model with weights: what they leave alone, what they learn, and what folding gives."""

import copy
import re

import numpy as np
import pytest
import torch
from every_forecaster import forecaster_named
from torch import nn
from torch.nn.utils import parametrize

import tsfm.models  # noqa: F401  fills the registry
from tsfm import DataError, Forecaster, UnknownName, registry
from tsfm.batch import Batch
from tsfm.nn.adapters import (
    AdapterConfig,
    adapter_state,
    attach,
    count,
    detach,
    fold,
    learned,
    load_adapter,
    merged,
)

MODELS = [name for name in registry.names() if isinstance(forecaster_named(name).model, nn.Module)]
KINDS = ("lora", "dora", "stacks", "weights", "rows", "bottleneck")
HORIZON = 40


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return copy.deepcopy(forecaster_named(request.param).model)


def config_of(model: nn.Module, kind: str) -> AdapterConfig:
    """A change of one kind: of all matrices or stacks, of all norms, of two experts, behind all layers."""
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    matrices = tuple(name for name in shapes if len(shapes[name]) == 2 and re.search(model.PARTS["matrices"], name))
    experts = model.PARTS.get("experts", r"(?!)")
    stacks = tuple(name for name in shapes if len(shapes[name]) == 3 and re.search(experts, name))
    if not stacks and kind in ("stacks", "rows"):
        pytest.skip("the model is dense: no stacks of experts")
    layers = tuple(name for name, _ in model.named_modules() if re.search(model.PARTS["layers"], name))
    return {
        "lora": AdapterConfig("lora", matrices, rank=4),
        "dora": AdapterConfig("dora", matrices + stacks, rank=2),
        "stacks": AdapterConfig("lora", stacks, rank=2),
        "weights": AdapterConfig("weights", tuple(name for name, shape in shapes.items() if len(shape) == 1)),
        "rows": AdapterConfig("weights", stacks, rows=tuple((name, (1, 4)) for name in stacks)),
        "bottleneck": AdapterConfig("bottleneck", layers, width=4),
    }[kind]


def forecast(model: nn.Module) -> np.ndarray:
    time = np.arange(200.0)
    series = [np.sin(time / 4), time % 12, np.random.default_rng(0).normal(size=150).cumsum()]
    return np.stack(Forecaster(model, "under test").predict_arrays(series, HORIZON, clip=None))


def width(quantiles: np.ndarray) -> float:
    """The mean width of the 80% intervals."""
    return float((quantiles[..., -1] - quantiles[..., 0]).mean())


def train(model: nn.Module, weights: list[nn.Parameter], steps: int = 3) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(6, 128, generator=generator).cumsum(1)
    batch = Batch(values, torch.ones_like(values, dtype=torch.bool), torch.ones(6, dtype=torch.long))
    target = torch.randn(6, 20, generator=generator)
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(batch, target, torch.ones_like(target, dtype=torch.bool)).backward()
        optimizer.step()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_changes_no_forecast_before_it_is_trained(model, kind):
    before = forecast(model)
    attach(model, config_of(model, kind))
    np.testing.assert_allclose(forecast(model), before, rtol=0, atol=(kind == "dora") * 1e-5 * width(before))


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_named_is_trained_and_taking_it_out_gives_the_base_bit_for_bit(model, kind):
    base, before, config = copy.deepcopy(model.state_dict()), forecast(model), config_of(model, kind)
    trained = attach(model, config)
    assert {id(weight) for weight in model.parameters() if weight.requires_grad} == {id(weight) for weight in trained}
    started = adapter_state(model, config)
    train(model, trained)
    found = adapter_state(model, config)
    assert not [key for key in found if torch.equal(found[key], started[key])]
    assert not np.array_equal(forecast(model), before)
    detach(model, config)
    assert same(model.state_dict(), base)
    np.testing.assert_array_equal(forecast(model), before)
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_merging_gives_a_plain_model_of_the_same_forecasts(model, kind):
    config = config_of(model, kind)
    train(model, attach(model, config))
    plain = merged(model, config)
    assert type(plain) is type(model)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    found = forecast(plain)
    np.testing.assert_allclose(found, forecast(model), rtol=0, atol=1e-5 * width(found))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_comes_back_into_another_copy(model, kind):
    config, other = config_of(model, kind), copy.deepcopy(model)
    trained = attach(model, config)
    assert count(config, other) == sum(weight.numel() for weight in trained)
    train(model, trained)
    attach(other, config, seed=7)
    load_adapter(other, config, adapter_state(model, config))
    assert same(adapter_state(other, config), adapter_state(model, config))
    np.testing.assert_array_equal(forecast(other), forecast(model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_and_its_original_are_taken_apart_on_their_own(model, kind):
    before, config = forecast(model), config_of(model, kind)
    train(model, attach(model, config))
    trained, other = forecast(model), copy.deepcopy(model)
    detach(other, config)
    np.testing.assert_array_equal(forecast(model), trained)
    np.testing.assert_array_equal(forecast(other), before)


@pytest.mark.parametrize("kind", ["lora", "dora", "rows", "bottleneck"])
def test_bfloat16_rounds_an_adapted_model_by_less_than_a_hundredth_of_its_interval(model, kind):
    config = config_of(model, kind)
    train(model, attach(model, config))
    exact = forecast(model)
    for one in (model, merged(model, config)):
        one.set_precision(torch.bfloat16)
        difference = np.abs(forecast(one) - exact).mean()
        assert 0 < difference < 0.01 * width(exact)


def test_only_chosen_rows_are_learned_stored_and_changed(model):
    config, base = config_of(model, "rows"), copy.deepcopy(model)
    train(model, attach(model, config))
    plain = merged(model, config)
    for name, rows in config.rows:
        moved = (plain.get_parameter(name) != base.get_parameter(name)).flatten(1).any(1)
        assert moved.nonzero().flatten().tolist() == list(rows)
        assert adapter_state(model, config)[f"{name}.value"].shape[0] == len(rows)


def test_a_low_rank_change_has_its_rank_in_every_matrix_of_a_stack():
    layer = nn.Module()
    layer.stack = nn.Parameter(torch.randn(3, 12, 10))
    config, base = AdapterConfig("lora", ("stack",), rank=2), layer.stack.detach().clone()
    attach(layer, config)
    nn.init.normal_(learned(layer, config)["stack.up"])
    assert torch.linalg.matrix_rank(merged(layer, config).stack - base, rtol=1e-4).tolist() == [2, 2, 2]


def test_the_length_of_a_dora_row_is_the_norm_of_the_weight_that_it_makes():
    layer, config = nn.Linear(10, 6), AdapterConfig("dora", ("weight",), rank=2)
    attach(layer, config)
    parts = learned(layer, config)
    with torch.no_grad():
        parts["weight.up"].normal_()
        parts["weight.length"].mul_(3)
    torch.testing.assert_close(layer.weight.norm(dim=1, keepdim=True), parts["weight.length"])


def test_rows_that_start_at_zero_can_learn_under_dora():
    layer, config = nn.Linear(10, 6), AdapterConfig("dora", ("weight",), rank=2)
    nn.init.zeros_(layer.weight)
    attach(layer, config)
    assert torch.equal(layer.weight, torch.zeros(6, 10))
    layer(torch.ones(1, 10)).sum().backward()
    assert learned(layer, config)["weight.up"].grad.abs().min() > 0


def test_a_bottleneck_lets_through_what_its_module_has_and_keeps_one_copy_of_its_buffers():
    model = copy.deepcopy(forecaster_named("moe-decoder").model)
    inner, config = model.blocks[0].experts, AdapterConfig("bottleneck", ("blocks.0.experts",))
    for _ in range(2):
        attach(model, config)
    outer = model.blocks[0].experts
    assert outer.experts == inner.experts
    assert outer.up is inner.up
    outer.balance += 1.0
    assert outer.balance is inner.balance
    with pytest.raises(AttributeError, match="wings"):
        _ = outer.wings
    assert copy.deepcopy(outer).balance is not inner.balance


def test_random_parts_follow_the_seed_and_leave_the_generator_of_torch_alone():
    layers, config = [nn.Linear(10, 6) for _ in range(3)], AdapterConfig("lora", ("weight",), rank=2)
    before = torch.random.get_rng_state()
    for layer, seed in zip(layers, (0, 1, 1), strict=True):
        attach(layer, config, seed)
    assert torch.equal(torch.random.get_rng_state(), before)
    other, one, again = (adapter_state(layer, config)["weight.down"] for layer in layers)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight


@pytest.mark.parametrize(
    "config, message",
    [
        (AdapterConfig("prefix", ("first.weight",)), "no adapter of kind 'prefix'; there are lora, dora"),
        (
            AdapterConfig("lora", ("third.weight",)),
            r"no parameter named third.weight; there are first.weight, .* 1 more",
        ),
        (AdapterConfig("lora", ()), "must name something to change"),
        (AdapterConfig("lora", ("first.bias", "first.bias")), "each once"),
        (AdapterConfig("lora", ("first.bias",)), "'first.bias' has 1 axes; lora takes matrices"),
        (AdapterConfig("lora", ("first.weight",)), "'first.weight' is also 'second.weight'"),
        (AdapterConfig("lora", ("first.bias",), rank=0), "rank=0 .* must be at least 1"),
        (AdapterConfig("weights", ("first.bias",), rows=(("first.bias", (0, 4)),)), r"rows \[0, 4\] .* in 0 .. 3"),
        (AdapterConfig("weights", ("first.bias",), rows=(("first.bias", (1, 1)),)), "each once"),
        (
            AdapterConfig("weights", ("first.bias",), rows=(("second.bias", (0,)),)),
            "no parameter with rows named second",
        ),
        (AdapterConfig("bottleneck", ("first.weight",), features=4), "no submodule named first.weight"),
        (AdapterConfig("bottleneck", ("first",)), r"config has no width; pass AdapterConfig\(features=...\)"),
    ],
)
def test_a_change_that_a_model_cannot_take_is_refused_in_words(config, message):
    with pytest.raises((DataError, UnknownName), match=message):
        attach(Tied(), config)


def test_bottlenecks_inside_one_another_are_refused():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(DataError, match=r"'0.0' lies inside '0'; name one of the two"):
        attach(model, AdapterConfig("bottleneck", ("0", "0.0"), features=4))


def test_a_second_change_waits_for_the_first_to_be_merged_or_taken_out():
    layer, config = nn.Linear(4, 4), AdapterConfig("lora", ("weight",))
    attach(layer, config)
    with pytest.raises(DataError, match="merge or detach it before another one"):
        attach(layer, AdapterConfig("weights", ("bias",)))
    detach(layer, config)
    with pytest.raises(DataError, match=r"no lora adapter at 'weight'; call attach"):
        adapter_state(layer, config)


def test_tensors_that_do_not_fit_are_named():
    layer, config = nn.Linear(4, 4), AdapterConfig("lora", ("weight",), rank=2)
    wrong = {"weight.up": torch.zeros(4, 3), "bias.value": torch.zeros(4)}
    with pytest.raises(
        DataError, match=r"lacks weight.down, .*know bias.value, has weight.up of shape \(4, 3\), not \(4, 2"
    ):
        fold(layer, config, wrong)
