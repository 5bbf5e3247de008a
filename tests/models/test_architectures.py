"""What every registered architecture keeps, whoever wrote it: a new entry is tested here without a test of its own."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.training.fit import FitSettings, loss_of, optimizer_of, settings_of
from tsfm.training.fit_data import Batch, Scaling, Table
from tsfm.training.fitted import Fitted, load_fitted

# Sizes of a test, and the names under which architectures say how wide and deep they are, made small here.
CONTEXT, HORIZON, VARIATES = 96, 24, 3
SMALL = {"width": 32, "inner_width": 32, "depth": 2, "layers": 2, "heads": 2}


@pytest.fixture(params=registry.names("architecture"))
def name(request):
    return request.param


def small(entry):
    """The preset "tiny" of an architecture, else its default config made small, at the test's sizes."""
    presets = getattr(sys.modules[entry.__module__], "PRESETS", {})
    begun = presets.get("tiny", entry.Config())
    known = {one.name for one in dataclasses.fields(begun)}
    less = {} if "tiny" in presets else {key: value for key, value in SMALL.items() if key in known}
    return dataclasses.replace(begun, **less, context=CONTEXT, horizon=HORIZON, variates=VARIATES)


@pytest.fixture
def model(name):
    entry = registry.get(name, kind="architecture")
    torch.manual_seed(0)
    return entry(small(entry))


@pytest.fixture
def batch():
    """Windows of noisy daily waves, 8 of them, each from a place of its own."""
    generator = torch.Generator().manual_seed(0)
    start = torch.arange(8) * 5
    steps = start[:, None] + torch.arange(CONTEXT + HORIZON)
    waves = torch.stack([torch.sin(steps * 2 * torch.pi / 24 + phase) for phase in range(VARIATES)], dim=-1)
    values = waves + 0.1 * torch.randn(waves.shape, generator=generator)
    return Batch(values[:, :CONTEXT], values[:, CONTEXT:], None, start)


def test_its_config_begins_with_the_sizes_and_survives_json(name):
    entry = registry.get(name, kind="architecture")
    assert [one.name for one in dataclasses.fields(entry.Config)[:3]] == ["context", "horizon", "variates"]
    assert entry.Config.__dataclass_params__.frozen
    config = small(entry)
    told = json.loads(json.dumps(dataclasses.asdict(config)))
    assert entry.Config(**{key: tuple(one) if isinstance(one, list) else one for key, one in told.items()}) == config


def test_its_forecast_has_every_step_of_every_variate_and_is_finite(model, batch):
    model.eval()
    with torch.no_grad():
        for values in (batch.values, batch.values * 1e3 + 1e4, torch.zeros_like(batch.values)):
            found = model(values, batch.start)
            assert found.shape == (8, HORIZON, VARIATES)
            assert found.isfinite().all()
        assert model(batch.values).shape == (8, HORIZON, VARIATES)


def test_its_forecast_is_the_same_whatever_else_is_in_the_batch(model, batch):
    model.eval()
    with torch.no_grad():
        together = model(batch.values, batch.start)
        alone = torch.cat([model(batch.values[[row]], batch.start[[row]]) for row in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_its_forecast_again_is_the_same_and_leaves_the_values_as_they_were(model, batch):
    before = batch.values.clone()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(batch.values, batch.start), model(batch.values, batch.start))
    assert torch.equal(batch.values, before)


def test_gradients_reach_every_parameter_that_is_trained(model, batch):
    model.train()
    loss_of(model, batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_its_optimiser_holds_every_parameter_that_is_trained_once(model):
    optimizer = optimizer_of(model, FitSettings())
    held = [id(one) for group in optimizer.param_groups for one in group["params"]]
    trained = {id(one) for one in model.parameters() if one.requires_grad}
    assert len(held) == len(set(held))
    assert trained <= set(held)


def test_its_published_settings_can_be_followed(name):
    assert settings_of(name).rate > 0


def test_a_few_steps_lower_its_loss(model, batch):
    optimizer = optimizer_of(model, FitSettings(rate=1e-3))
    torch.manual_seed(0)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[-3:]) < losses[0]


def test_a_saved_one_loads_with_the_same_forecasts(name, model, batch, tmp_path):
    values = np.zeros((CONTEXT + HORIZON, VARIATES))
    table = Table("waves", values, ("a", "b", "c"), (100, 10, 10), 24)
    scaling = Scaling(np.zeros(VARIATES), np.ones(VARIATES))
    other = load_fitted(Fitted(model, name, table, scaling, {}).save(tmp_path / "model")).model
    assert other.config == model.config
    with torch.no_grad():
        assert torch.equal(other(batch.values, batch.start), model.eval()(batch.values, batch.start))
