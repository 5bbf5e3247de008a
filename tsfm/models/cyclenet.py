"""CycleNet: a learnt cycle of every variate, and one map over time of what the cycle leaves (Lin et al. 2024).

The cycle is a table with a row a phase. Its rows at the context's phases are subtracted; a linear map, or an MLP with
one hidden layer, shared by the variates, continues the rest; the rows at the horizon's phases are added. With
`normalise` mean and deviation of the context stand outside of all that (the paper's RevIN, without weights).

The phase of a step is its place in its series modulo `cycle`. The authors' loader hands the model the place of the
first step after the context, and their code takes it for the context's first: to a checkpoint of theirs give
`start + context` as `start`.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tsfm.errors import DataError
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, W steps of the cycle, D width.

EPSILON = 1e-5
BACKBONES = ("linear", "mlp")


@dataclass(frozen=True)
class CycleNetConfig:
    context: int = 96
    horizon: int = 96
    variates: int = 7
    cycle: int = 24
    backbone: str = "linear"
    width: int = 512  # of the MLP's hidden layer
    normalise: bool = True

    def __post_init__(self) -> None:
        """Refuse a backbone that does not exist and a cycle of no steps."""
        if self.cycle < 1:
            raise DataError(f"cycle={self.cycle} is too small; give at least 1")
        if self.backbone not in BACKBONES:
            raise DataError(f"backbone={self.backbone!r} is not known; give one of {', '.join(BACKBONES)}")


PRESETS = {"ett": CycleNetConfig(), "ett-mlp": CycleNetConfig(backbone="mlp")}


class Cycle(nn.Module):
    """A table (W, V) that begins as zeros."""

    def __init__(self, steps: int, variates: int):
        super().__init__()
        self.data = nn.Parameter(torch.zeros(steps, variates))

    def forward(self, first: Tensor, steps: int) -> Tensor:
        """Rows (B, steps, V) from the phases (B,) on."""
        places = first[:, None] + torch.arange(steps, device=first.device)
        return self.data[places % len(self.data)]


@register("cyclenet", kind="architecture")
class CycleNet(nn.Module):
    """A learnt cycle and a map over time of the rest; see the module's docstring."""

    Config = CycleNetConfig
    # The ETTh1 scripts of github.com/ACAT-SCUT/CycleNet, linear backbone; the MLP's rate is 0.005.
    fit_settings = MappingProxyType({"rate": 0.01, "batch": 256, "epochs": 30, "patience": 5, "schedule": "type3"})

    def __init__(self, config: CycleNetConfig):
        super().__init__()
        self.config = config
        self.cycleQueue = Cycle(config.cycle, config.variates)
        if config.backbone == "linear":
            self.model: nn.Module = nn.Linear(config.context, config.horizon)
        else:
            hidden = (nn.Linear(config.context, config.width), nn.ReLU())
            self.model = nn.Sequential(*hidden, nn.Linear(config.width, config.horizon))

    def forward(self, values: Tensor, start: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units.

        start   (B,) int64: place of the context's first step in its series; 0 where it is not given
        """
        if start is None:
            start = torch.zeros(len(values), dtype=torch.long, device=values.device)
        mean, deviation = self._level(values)
        context, horizon = self.config.context, self.config.horizon
        rest = (values - mean) / deviation - self.cycleQueue(start, context)
        ahead = self.model(rest.mT).mT + self.cycleQueue(start + context, horizon)  # (B, H, V)
        forecast: Tensor = ahead * deviation + mean
        return forecast

    def _level(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (B, 1, V) of the contexts, 0 and 1 where they are not normalised."""
        if not self.config.normalise:
            zero = torch.zeros_like(values[:, :1])
            return zero, zero + 1
        return values.mean(1, keepdim=True), (values.var(1, keepdim=True) + EPSILON).sqrt()
