"""Every registered forecaster, ready to use: baselines as they are, models with weights small and randomly initialised.

A random model keeps every promise that does not speak of accuracy, so a new entry of the registry is tested before it
is trained. The checkpoints that travel in the package are added to them.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.checkpoints import embedded
from tsfm.forecaster import Forecaster
from tsfm.loading import load


def forecaster_names() -> list[str]:
    """Names for `forecaster_named`, in the registry's order and then the embedded ones."""
    return [*registry.names(), *embedded()]


@cache
def forecaster_named(name: str) -> Forecaster:
    """A forecaster in float32 (baselines: float64) on the processor."""
    if name in embedded():
        return load(name, device="cpu", precision="fp32")
    entry = registry.get(name)
    if not hasattr(entry, "Config"):
        return Forecaster(entry(), name, precision="float64")
    presets = sys.modules[entry.__module__].PRESETS
    torch.manual_seed(0)
    sparse = [config for config in presets.values() if getattr(config, "experts", 1)]  # their dense twins do less
    smallest = entry(min(sparse or presets.values(), key=lambda config: size(entry, config)))
    with torch.no_grad():
        for weight in smallest.parameters():
            # Parts that start at zero would make every forecast the same, and every test pass.
            weight += 0.02 * torch.randn(weight.shape)
    return Forecaster(smallest.eval(), f"{name} (random)")


def size(entry: Callable[[Any], torch.nn.Module], config: Any) -> int:
    """How many numbers a model of this config has; it is not given memory, because published models are large."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in entry(config).parameters())
