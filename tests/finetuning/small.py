"""A small base that has learned nothing, and series that it can learn in seconds: fine-tuning must show."""

import numpy as np
import pandas as pd
import torch

from tsfm.data.adapters import to_panel
from tsfm.forecaster import Forecaster
from tsfm.models.moe_decoder import MoEDecoder, MoEDecoderConfig
from tsfm.panel import Panel

CONFIG = MoEDecoderConfig(width=32, depth=2, heads=2, shared_width=16, expert_width=8, experts=4, patch=8, max_ahead=4)


def small_base() -> Forecaster:
    """A random decoder; every part of it moves the forecast."""
    torch.manual_seed(0)
    model = MoEDecoder(CONFIG)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape)
    return Forecaster(model.eval(), "small")


def frame(series: int = 6, steps: int = 240, seed: int = 0) -> pd.DataFrame:
    """Hourly series with a day and some noise, in a long frame."""
    generator = np.random.default_rng(seed)
    time = np.arange(steps)
    values = [
        10 + 3 * np.sin(2 * np.pi * (time + shift) / 24) + 0.3 * generator.normal(size=steps)
        for shift in generator.integers(24, size=series)
    ]
    stamps = pd.date_range("2024-01-01", periods=steps, freq="h")
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"store_{number}" for number in range(series)], steps),
            "ds": np.tile(stamps, series),
            "y": np.concatenate(values),
        }
    )


def panel(series: int = 6, steps: int = 240, seed: int = 0) -> Panel:
    """The same as a panel."""
    return to_panel(frame(series, steps, seed))
