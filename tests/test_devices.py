"""What runs on a GPU, tried without one: nothing mixes tensors of two devices, and all gives what the CPU gives."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from elsewhere import ELSEWHERE, HERE, Elsewhere
from every_forecaster import forecaster_named, forecaster_names

import tsfm
from tsfm import Forecaster
from tsfm.cli.pretrain import begun
from tsfm.data import windows
from tsfm.data.synthetic import sample
from tsfm.training import trainer
from tsfm.training.config import RunConfig
from tsfm.training.trainer import Trainer

RANDOM = np.random.default_rng(0)
SERIES = [np.sin(np.arange(300) / 3) + RANDOM.normal(size=300) / 10, np.arange(90.0)]
NETWORKS = [name for name in forecaster_names() if isinstance(forecaster_named(name).model, torch.nn.Module)]
TRAINABLE = ("moe-decoder", "state-space", "time-moe", "visual-mae", "vitime")


def moved(name: str) -> Forecaster:
    """A forecaster that lives elsewhere; only inside `Elsewhere()`."""
    model = copy.deepcopy(forecaster_named(name).model).to(ELSEWHERE)
    return Forecaster(model, name, precision="float32", device=ELSEWHERE)


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with Elsewhere():
        there, here = torch.ones(3, device=ELSEWHERE), torch.ones(3)
        assert ((there + torch.tensor(1.0)).device, here.device) == (ELSEWHERE, HERE)
        for mixed in (lambda: there + here, lambda: torch.cat([there, here]), lambda: there[here.long()], there.numpy):
            with pytest.raises((RuntimeError, TypeError), match="device"):
                mixed()
        layer = torch.nn.Linear(3, 3).to(ELSEWHERE)
        layer(there).sum().backward()
        assert layer.weight.grad.device == ELSEWHERE
        assert there.cpu().numpy().sum() == 3


@pytest.mark.parametrize("name", NETWORKS)
def test_forecasts_of_another_device_are_those_of_the_cpu(name):
    here = tsfm.forecast(SERIES, 24, model=forecaster_named(name))
    with Elsewhere():
        there = tsfm.forecast(SERIES, 24, model=moved(name))
    np.testing.assert_array_equal(np.asarray(there.median), np.asarray(here.median))


@pytest.mark.parametrize(
    "use",
    [
        partial(tsfm.forecast, SERIES, 24, effort="best"),
        partial(tsfm.forecast, np.stack([SERIES[0], SERIES[0][::-1]]), 24, jointly=True),
        partial(tsfm.finetune, SERIES[0], 24, method="lora", time_budget=1),
        partial(tsfm.finetune, SERIES[0], 24, method="experts", time_budget=1),
    ],
    ids=["best", "jointly", "lora", "experts"],
)
def test_other_uses_keep_to_the_device(use):
    option = "base" if use.func is tsfm.finetune else "model"
    with Elsewhere():
        assert use(**{option: moved("moe-decoder-tiny")})


def test_gaps_are_filled_and_streams_go_on_there():
    holed = np.where(np.arange(300) % 50 < 5, np.nan, SERIES[0])
    with Elsewhere():
        assert np.isfinite(np.asarray(tsfm.impute(holed, model=moved("visual-mae-nano")).values)).all()
        stream = moved("state-space-nano").stream(SERIES[0])
        stream.update(np.arange(5.0))
        assert len(np.asarray(stream.forecast(12).median)) > 0


@pytest.mark.parametrize("architecture", TRAINABLE)
def test_a_run_of_pretraining_keeps_to_its_device(architecture, tmp_path, monkeypatch):
    # No autocast, which knows the devices by name; and a chunk of series is random as its own device's generator is.
    monkeypatch.setattr(trainer, "choose_precision", lambda device: torch.float32)
    config = run_of(architecture)
    here = Trainer(tmp_path / "here", config, [SERIES])
    wanted = [here.train_step() for _ in range(2)]
    monkeypatch.setattr(trainer, "choose_device", lambda device: ELSEWHERE)
    monkeypatch.setattr(windows, "sample", sampled_there)
    with Elsewhere():
        there = Trainer(tmp_path / "there", replace(config, device="cuda"), [SERIES])
        there.resume()
        assert [there.train_step()] == wanted[:1]
        assert {value.device for value in there.prepare(1) if value is not None} == {ELSEWHERE}
        there.save()
        there.resume()
        assert [there.train_step()] == wanted[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu_is_that_of_the_cpu_but_for_rounding(tmp_path, monkeypatch):
    config = replace(run_of("moe-decoder"), windows=replace(run_of("moe-decoder").windows, real_share=1.0))
    monkeypatch.setattr(trainer, "choose_precision", lambda device: torch.float32)
    losses = {}
    for device in ("cpu", "cuda"):
        one = Trainer(tmp_path / device, replace(config, device=device, compiled=device == "cuda"), [SERIES])
        losses[device] = [one.train_step() for _ in range(3)]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-3)


def run_of(architecture: str) -> RunConfig:
    """A few small steps of the smallest preset of an architecture."""
    config = begun(architecture, "nano" if architecture in ("moe-decoder", "state-space", "visual-mae") else "tiny")
    fewer = replace(config.windows, chunk_series=16, tokens=max(config.windows.contexts) // config.windows.patch)
    return replace(config, windows=fewer, compiled=False, steps=4)


def sampled_there(count, length, seed, *, families, device):
    """Synthetic series that are moved to the device that they should have been made on."""
    made = sample(count, length, seed, families=families)
    return replace(made, values=made.values.to(device), observed=made.observed.to(device))
