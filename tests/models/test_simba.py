"""SiMBA's parts say what the authors' code says; the forecaster around them is ours and keeps what it promises."""

import pytest
import torch
from parity import Stored, apart

from tsfm.models.simba import Block, EinFFT, SiMBA, SiMBAConfig
from tsfm.nn.mamba import Mamba

STORED = Stored("simba")


def loaded(module, name):
    module.load_state_dict(STORED.weights(f"{name}."))
    return module


@pytest.fixture(params=[8, 0], ids=["patches", "inverted"])
def model(request):
    torch.manual_seed(0)
    return SiMBA(SiMBAConfig(context=44, horizon=6, variates=3, width=8, patch=request.param)).eval()


@pytest.mark.parametrize("case", ["a", "b"])
def test_einfft_equals_the_published_one_in_outputs_and_gradients(case):
    module, given = loaded(EinFFT(STORED.config["einfft"]["dim"]), "einfft"), STORED.arrays(f"einfft_{case}_")
    x = given["x"].requires_grad_()
    y = module(x)
    y.backward(given["gy"])
    assert apart(y, given["y"]) < 1e-5
    assert apart(x.grad, given["grad_x"]) < 1e-4
    for name, weight in module.named_parameters():
        assert apart(weight.grad, given[f"grad_{name}"]) < 1e-4, name


def test_block_equals_the_published_one_and_so_does_its_mamba():
    config, given = STORED.config["block"], STORED.arrays("block_")
    block = loaded(Block(config["dim"], config["d_state"], config["d_conv"], config["expand"]), "block")
    assert apart(block(given["x"]), given["y"]) < 1e-5
    assert apart(block.attn(given["x"]), given["mamba"]) < 1e-5


def test_the_published_slow_mamba_is_the_mamba_block():
    config, given = STORED.config["mambablock"], STORED.arrays("mambablock_")
    block = loaded(Mamba(config["d_model"], config["d_state"], config["d_conv"], config["expand"]), "mambablock")
    assert apart(block(given["x"]), given["y"]) < 1e-5


@torch.no_grad()
def test_every_step_of_the_context_is_read(model):
    model, x = model.double(), torch.randn(1, 44, 3, dtype=torch.float64)
    for step in (0, 3, 4, 43):
        other = x.clone()
        other[:, step] += 1
        assert (model(other) - model(x)).abs().amin() > 1e-6


@torch.no_grad()
def test_patched_variates_are_forecast_alone_and_inverted_ones_together(model):
    model, x = model.double(), torch.randn(1, 44, 3, dtype=torch.float64)
    other = x.clone()
    other[:, :9, 0] += 1
    moved = (model(other) - model(x)).abs().amax((0, 1))
    assert moved[0] > 1e-6
    assert bool((moved[1:] < 1e-12).all()) == bool(model.config.patch)


@torch.no_grad()
def test_forecasts_follow_the_units_of_every_variate(model):
    x, factor, shift = torch.randn(2, 44, 3), torch.tensor([1.0, 10.0, 0.5]), torch.tensor([0.0, 5.0, -9.0])
    moved = (model(x * factor + shift) - shift) / factor
    torch.testing.assert_close(moved, model(x), rtol=1e-3, atol=1e-3)
