"""S4 as a forecaster: equivariant, whatever its layers, and able to learn what it is shown."""

import dataclasses

import pytest
import torch

from tsfm.errors import DataError
from tsfm.models.s4 import PRESETS, S4, S4Config

LAYERS = {
    "S4": {},
    "S4D": {"kernel": "diag", "init": "lin"},
    "S4D bilinear": {"kernel": "diag", "init": "inv", "method": "bilinear"},
    "LSSL": {"kernel": "dense"},
    "two channels": {"channels": 2},
    "normalised before": {"prenorm": True, "kernel": "diag"},
    "both ways": {"bidirectional": True, "kernel": "diag"},
    "as published": {"instance_norm": False},
}
SMALL = {"context": 48, "horizon": 12, "variates": 2, "width": 12, "state": 8, "dropout": 0.0}


@pytest.fixture(params=LAYERS)
def model(request):
    torch.manual_seed(0)
    return S4(S4Config(**SMALL, **LAYERS[request.param])).eval()


@pytest.fixture
def values():
    return torch.randn(3, 48, 2, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_forecast_follows_the_scale_and_the_level_of_its_context(values):
    torch.manual_seed(0)
    model = S4(S4Config(**SMALL)).eval()
    torch.testing.assert_close(model(20 * values + 7), 20 * model(values) + 7, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_a_constant_context_has_a_forecast_at_its_level(values):
    torch.manual_seed(0)
    model = S4(S4Config(**SMALL)).eval()
    found = model(torch.full_like(values, 5.0))
    torch.testing.assert_close(found, torch.full_like(found, 5.0), rtol=0, atol=0.05)


@torch.no_grad()
def test_a_causal_stack_forecasts_a_step_without_knowing_of_later_ones(values):
    torch.manual_seed(0)
    longer = S4(S4Config(**SMALL)).eval()
    shorter = S4(dataclasses.replace(longer.config, horizon=5)).eval()
    shorter.load_state_dict(longer.state_dict())
    torch.testing.assert_close(shorter(values), longer(values)[:, :5], rtol=0, atol=1e-5)


def test_every_layer_learns_a_wave_of_two_variates(model):
    steps = torch.arange(200)[:, None] * torch.tensor([0.5, 0.3])
    wave = torch.stack([torch.sin(steps)[start : start + 60] for start in range(0, 140, 7)])
    context, target = wave[:, :48], wave[:, 48:]
    optimizer = torch.optim.AdamW(model.parameter_groups(0.01), lr=0.01, weight_decay=0.0)
    losses = []
    for _ in range(30):
        loss = (model(context) - target).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_forecasts_its_horizon(name):
    config = dataclasses.replace(PRESETS[name], context=48, horizon=12, width=16)
    with torch.no_grad():
        assert S4(config).eval()(torch.randn(2, 48, 1)).shape == (2, 12, 1)


def test_a_kernel_that_cannot_be_says_which_can():
    with pytest.raises(DataError, match="kernel='diag'"):
        S4(S4Config(**SMALL, init="lin"))
    with pytest.raises(DataError, match="'dplr', 'diag' or 'dense'"):
        S4(S4Config(**SMALL, kernel="dialog"))
