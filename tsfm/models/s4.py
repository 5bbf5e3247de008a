"""S4 as a forecaster: a deep stack of state-space layers used as a black box (Gu, Goel and Re 2022, appendix D.3.5).

The context is followed by zeros over the horizon; a linear encoder, residual blocks and a linear decoder read that one
sequence, and the last H outputs are the forecast. The layers are S4 (`dplr`), S4D (`diag`) or LSSL (`dense`). What
differs from the published runs: no time stamps are read, and by default a context is standardised by its own mean and
deviation, where theirs are standardised by the training set's alone.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.nn import ssm
from tsfm.nn.hippo import Init
from tsfm.nn.ssm_kernels import DenseKernel, DiagonalKernel, DplrKernel
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, D width.

SPREAD_EPS = 1e-5  # of a context's variance, so that a constant one can be divided by it


@dataclass(frozen=True)
class S4Config:
    context: int = 384
    horizon: int = 96
    variates: int = 1
    width: int = 128
    depth: int = 2
    state: int = 64  # real states a feature
    kernel: Literal["dplr", "diag", "dense"] = "dplr"
    init: Init = "legs"  # of a diagonal kernel; the others are LegS
    method: Literal["zoh", "bilinear"] = "zoh"  # of a diagonal kernel; the others are bilinear
    channels: int = 1
    bidirectional: bool = False
    step_limits: tuple[float, float] = (1e-3, 1e-1)
    dropout: float = 0.25
    prenorm: bool = False
    instance_norm: bool = True


PRESETS = {
    "ett": S4Config(),
    "s4d": S4Config(kernel="diag", init="lin"),
    "lssl": S4Config(kernel="dense"),
    "tiny": S4Config(width=16, state=8, context=96, horizon=24),
}


def kernel_of(config: S4Config) -> ssm.Kernel:
    """The kernel of one layer, for sequences of context and horizon."""
    rows = config.channels * (1 + config.bidirectional)
    sizes, limits = (config.width, config.state, rows), config.step_limits
    if config.kernel == "diag":
        return DiagonalKernel(*sizes, init=config.init, method=config.method, step_limits=limits)
    if config.init != "legs":
        raise DataError(f"a {config.kernel!r} kernel starts from 'legs', not {config.init!r}; pass kernel='diag'")
    if config.kernel == "dplr":
        return DplrKernel(*sizes, length=config.context + config.horizon, step_limits=limits)
    if config.kernel == "dense":
        return DenseKernel(*sizes, step_limits=limits)
    raise DataError(f"kernel={config.kernel!r} is not known; pass 'dplr', 'diag' or 'dense'")


class Block(nn.Module):
    """A state-space layer with its residual, normalised after it as published, or before the layer with `prenorm`."""

    def __init__(self, config: S4Config):
        super().__init__()
        self.prenorm = config.prenorm
        self.norm = nn.LayerNorm(config.width)
        self.layer = ssm.S4Block(kernel_of(config), config.bidirectional, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.prenorm:
            return x + cast(Tensor, self.layer(self.norm(x)))
        return cast(Tensor, self.norm(x + self.layer(x)))


@register("s4", kind="architecture")
class S4(nn.Module):
    """State-space layers over the context and an empty horizon; see the module's docstring."""

    Config = S4Config
    # Rate, batch, width and depth of the experiment s4-informer-etth of github.com/state-spaces/s4, whose authors lower
    # the rate on a plateau, for which the cosine stands here.
    fit_settings = MappingProxyType({"rate": 0.01, "batch": 50, "epochs": 10, "patience": 5, "schedule": "cosine"})

    def __init__(self, config: S4Config):
        super().__init__()
        self.config = config
        self.encoder = nn.Linear(config.variates, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width) if config.prenorm else nn.Identity()
        self.decoder = nn.Linear(config.width, config.variates)

    def forward(self, values: Tensor, start: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `start` is not read."""
        if not self.config.instance_norm:
            return self._forecast(values)
        mean = values.mean(1, keepdim=True)
        deviation = (values.var(1, keepdim=True, correction=0) + SPREAD_EPS).sqrt()
        return self._forecast((values - mean) / deviation) * deviation + mean

    def _forecast(self, values: Tensor) -> Tensor:
        horizon = self.config.horizon
        x = self.encoder(F.pad(values, (0, 0, 0, horizon)))  # (B, C + H, D)
        for block in self.blocks:
            x = block(x)
        made: Tensor = self.decoder(self.norm(x[:, -horizon:]))
        return made

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """The model at `rate`, and the dynamics of its layers at a thousandth or less, as published."""
        return ssm.parameter_groups(self, rate)
