"""SpaceTime: companion state spaces that forecast by running on in closed loop (Zhang et al. 2023).

An encoder filters a series by fixed differences and moving averages, then by companion state spaces. The decoder's
state space predicts its own next input besides its output, so any horizon follows from one set of weights, those
beyond the one it was trained for included. Univariate: variates are forecast each by itself, by the same weights.

The loss has three parts of equal weight: the error of the forecast, of the open loop's outlook on the next value, and
of its outlook on the decoder's next input, the latter two from the step on where the state has filled up.

As published, all vectors begin as standard normals, so first forecasts are many deviations wide: a table of a few
hundred steps needs dozens of epochs (900 hours, horizon 24: validation error 20 after one epoch, 0.15 after 24).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from tsfm.errors import DataError
from tsfm.models.spacetime_layers import DIFFERENCES, ClosedLoop, Encoder, Mlp, Repeat, Spread, Views
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, D width, S state size.

CHOICES = {
    "matrix": ("companion", "shift"),
    "embedding": ("repeat", "linear"),
    "level": ("mean", "standardize", "last", "none"),
}


@dataclass(frozen=True)
class SpaceTimeConfig:
    context: int = 336
    horizon: int = 96
    variates: int = 7
    kernels: int = 16  # of the first block; those after it and the decoder have one a channel
    heads: int = 8  # channels that share a kernel of the first block
    state: int = 64
    depth: int = 1
    filters: int = 8  # fixed ones before the first block, repeated with other windows up to the width
    shortest_average: int = 4
    longest_average: int = 64  # and not this one itself
    dropout: float = 0.25
    matrix: str = "companion"
    embedding: str = "repeat"
    level: str = "mean"
    loss_weights: tuple[float, ...] = (1.0, 1.0, 1.0)

    @property
    def width(self) -> int:
        """Channels."""
        return self.kernels * self.heads

    def __post_init__(self) -> None:
        """Refuse a choice that does not exist, windows of no steps and filters that do not fill the width."""
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise DataError(f"{field}={getattr(self, field)!r} is not known; give one of {', '.join(known)}")
        if not 0 < self.shortest_average < self.longest_average:
            raise DataError(
                f"shortest_average={self.shortest_average} must lie below {self.longest_average}, and over 0"
            )
        if len(self.loss_weights) != 3:
            raise DataError(f"loss_weights={self.loss_weights} must be three numbers")
        if self.filters <= len(DIFFERENCES) or self.width % self.filters:
            raise DataError(
                f"filters={self.filters} must be more than {len(DIFFERENCES)} and divide kernels * heads = {self.width}"
            )


PRESETS = {
    "ett": SpaceTimeConfig(),
    "tiny": SpaceTimeConfig(kernels=4, heads=4, state=8, depth=2, longest_average=12),
}


def root_mean_square(error: Tensor) -> Tensor:
    """Root of the mean square of everything, with a gradient of zero where nothing is wrong."""
    return error.square().mean().clamp_min(1e-24).sqrt()


class Decoder(nn.Module):
    """The closed loop, under the name that checkpoints give it."""

    def __init__(self, config: SpaceTimeConfig):
        super().__init__()
        self.blocks = nn.ModuleDict({"ssm": ClosedLoop(config)})

    def forward(self, z: Tensor, horizon: int) -> Tensor:
        """(B, D, C) -> (B, D, H)."""
        ahead: Tensor = self.blocks["ssm"](z, horizon)
        return ahead

    def views(self, z: Tensor, horizon: int) -> Views:
        """See `ClosedLoop.views`."""
        loop = self.blocks["ssm"]
        assert isinstance(loop, ClosedLoop)
        return loop.views(z, horizon)


@register("spacetime", kind="architecture")
class SpaceTime(nn.Module):
    """Companion state spaces with a closed loop; see the module's docstring."""

    Config = SpaceTimeConfig
    # The ETTh1 command of github.com/HazyResearch/spacetime; its cosine has 300 epochs, after 10 of warming up.
    fit_settings = MappingProxyType({"rate": 1e-3, "batch": 50, "epochs": 300, "patience": 20, "schedule": "cosine"})

    def __init__(self, config: SpaceTimeConfig):
        super().__init__()
        self.config = config
        self.embedding = Repeat() if config.embedding == "repeat" else Spread(config.width)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.output = Mlp(config.width, 1, config.dropout, skip=False)

    def forward(self, values: Tensor, start: Tensor | None = None, horizon: int | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `horizon` may be any, `start` is not read."""
        series, (place, scale) = self._levelled(values)
        z = self.encoder(self.embedding(series))
        ahead = self.output(self.decoder(z, horizon or self.config.horizon)).squeeze(1)  # (B * V, H)
        forecast: Tensor = (ahead * scale + place).unflatten(0, (-1, values.shape[-1])).mT
        return forecast

    def objective(self, values: Tensor, target: Tensor, start: Tensor | None = None) -> Tensor:
        """The published loss of contexts (B, C, V) and what follows them (B, H, V), in their units."""
        series, (place, scale) = self._levelled(values)
        z = self.encoder(self.embedding(series))
        views = self.decoder.views(z, target.shape[1])
        ahead, outlook = (self.output(view).squeeze(1) * scale + place for view in (views.ahead, views.next_output))
        after = target.mT.flatten(0, 1)  # (B * V, H)
        following = torch.cat([values.mT.flatten(0, 1)[:, 1:], after[:, :1]], dim=-1)  # the next value of every step
        full = min(self.config.state, values.shape[1] - 1)
        errors = (
            ahead - after,
            (outlook - following)[:, full - 1 :],
            views.next_input[..., full - 1 : -1] - z[..., full:],
        )
        parts = [
            weight * root_mean_square(error) for weight, error in zip(self.config.loss_weights, errors, strict=True)
        ]
        return torch.stack(parts).sum()

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """One group, with the published decay."""
        return [{"params": list(self.parameters()), "lr": rate, "weight_decay": 1e-4}]

    def _levelled(self, values: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Series (B * V, C) without their level, and what to add to and multiply by, (B * V, 1) each."""
        series = values.mT.flatten(0, 1)
        scale = torch.ones_like(series[:, :1])
        if self.config.level == "none":
            return series, (torch.zeros_like(scale), scale)
        if self.config.level == "last":
            return series - series[:, -1:], (series[:, -1:], scale)
        place = series.mean(1, keepdim=True)
        if self.config.level == "standardize":
            deviation = series.std(1, keepdim=True)
            scale = torch.where(deviation > 0, deviation, scale)
        return (series - place) / scale, (place, scale)


def read_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published checkpoint of the encoder, decoder and output, without a weight that is never used."""
    return {name: tensor for name, tensor in tensors.items() if name != "decoder.blocks.ssm.skip"}
