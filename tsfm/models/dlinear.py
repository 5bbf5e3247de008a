"""DLinear: one linear map of the context's trend and one of what remains of it (Zeng et al. 2023, section 4).

The trend is a moving average whose window is filled up at both ends with the first and the last value. Every variate is
forecast by itself, by the same two maps or, with `individual`, by two of its own. Nothing is normalised.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tsfm.errors import DataError
from tsfm.registry import register

# B series, C context steps, H horizon, V variates.


@dataclass(frozen=True)
class DLinearConfig:
    context: int = 336
    horizon: int = 96
    variates: int = 7
    moving_average: int = 25
    individual: bool = False

    def __post_init__(self) -> None:
        """Refuse a moving average over nothing."""
        if self.moving_average < 1:
            raise DataError(f"moving_average={self.moving_average} is too small; give at least 1")


PRESETS = {"ett": DLinearConfig()}


def split_trend(x: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Moving average over the last axis (..., C), its ends repeated, and what remains."""
    before, after = (window - 1) // 2, window // 2
    first, last = x[..., :1].expand(*x.shape[:-1], before), x[..., -1:].expand(*x.shape[:-1], after)
    trend = torch.cat([first, x, last], dim=-1).unfold(-1, window, 1).mean(-1)
    return trend, x - trend


class VariateLinears(nn.ModuleList):
    """A linear map over time for each variate."""

    def __init__(self, config: DLinearConfig):
        super().__init__(nn.Linear(config.context, config.horizon) for _ in range(config.variates))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, V, C) to (B, V, H)."""
        return torch.stack([map_of_one(x[:, place]) for place, map_of_one in enumerate(self)], dim=1)


@register("dlinear", kind="architecture")
class DLinear(nn.Module):
    """Trend and remainder of a context, each forecast by one linear map; see the module's docstring."""

    Config = DLinearConfig
    # The ETTh1 script of github.com/cure-lab/LTSF-Linear; patience, epochs and schedule are its defaults.
    fit_settings = MappingProxyType({"rate": 0.005, "batch": 32, "epochs": 10, "patience": 3, "schedule": "type1"})

    def __init__(self, config: DLinearConfig):
        super().__init__()
        self.config = config
        self.Linear_Seasonal, self.Linear_Trend = self._map(), self._map()

    def _map(self) -> nn.Module:
        made = VariateLinears(self.config) if self.config.individual else self._linear()
        for linear in made.modules():
            if isinstance(linear, nn.Linear):
                nn.init.constant_(linear.weight, 1 / self.config.context)
        return made

    def _linear(self) -> nn.Linear:
        return nn.Linear(self.config.context, self.config.horizon)

    def forward(self, values: Tensor, start: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `start` is not read."""
        trend, remainder = split_trend(values.mT, self.config.moving_average)  # (B, V, C)
        forecast: Tensor = self.Linear_Seasonal(remainder) + self.Linear_Trend(trend)
        return forecast.mT
