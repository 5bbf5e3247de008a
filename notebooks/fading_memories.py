"""Fading memories: a small forecaster of one's own, complete in one file (notebooks/06_add_your_model.ipynb).

After exponential smoothing (Holt 1957, Winters 1960): a memory is a mean of the past in which older values count less.
Here some memories look back step by step and others season by season, each fades at a pace that is learned, and a small
network says for every step ahead which of them to follow and how far off that may be. Moved into tsfm/models, with its
import line there, it is a model of the package: `tsfm pretrain --model fading-memories --preset pico`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tsfm.batch import Batch
from tsfm.nn.heads import QuantileHead
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.nn.periods import choose_period
from tsfm.registry import register

# B series, C context steps, L steps of a window, H horizon, S places looked back, K memories of a kind, Q quantiles.

LONGEST_PERIOD = 320
LEARNED_HORIZON = 64


@dataclass(frozen=True)
class FadingMemoriesConfig:
    """Sizes; the defaults train in half a minute."""

    memories: int = 8
    depth: int = 32
    width: int = 128
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


PRESETS = {"pico": FadingMemoriesConfig()}


@register("fading-memories")
class FadingMemories(nn.Module):
    """Means of the past that fade at learned paces, over steps and over seasons, read by a small network."""

    Config = FadingMemoriesConfig
    max_context = 2048

    def __init__(self, config: FadingMemoriesConfig):
        super().__init__()
        self.config, self.levels, width = config, config.quantile_levels, config.width
        means = 2 * config.memories
        self.fading = nn.Parameter(torch.linspace(-2.0, 3.0, config.memories).repeat(2, 1))
        self.network = nn.Sequential(nn.Linear(2 * means + 3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.follow = nn.Linear(width, means)
        self.head = QuantileHead(width, 1, len(self.levels))

    def forward(self, values: Tensor, observed: Tensor, season: Tensor, horizon: int) -> Tensor:
        """Quantiles (B, H, Q) of what follows values (B, C), in their units; season (B,) of the calendar."""
        period, strength = choose_period(values, observed, season, LONGEST_PERIOD)
        by_step = remember(values, observed, torch.ones_like(period), horizon, self.kept[0])
        by_season = remember(values, observed, period, horizon, self.kept[1])
        mean, spread = (torch.cat(both, -1) for both in zip(by_step, by_season, strict=True))  # (B, H, 2K)
        unit = spread.mean((1, 2), keepdim=True)
        ahead = torch.arange(1.0, horizon + 1, device=values.device).expand(len(values), -1)
        told = torch.stack([ahead.log(), (ahead / period[:, None]).log(), strength[:, None].expand_as(ahead)], -1)
        scaled = torch.asinh((mean - mean[..., :1]) / unit), (spread / unit + 0.01).log()
        x = self.network(torch.cat([*scaled, told], -1))
        middle = (self.follow(x).softmax(-1) * mean).sum(-1, keepdim=True)
        quantiles: Tensor = middle + unit * self.head(x).squeeze(-2)
        return quantiles

    @property
    def kept(self) -> Tensor:
        """What memories of steps and of seasons keep of each place looked back; (2, S, K)."""
        places = torch.arange(self.config.depth, device=self.fading.device)[:, None]
        return torch.sigmoid(self.fading)[:, None] ** places

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] | None = None) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at the trained levels, in the units of the batch."""
        quantiles: Tensor = self(batch.values, batch.observed, batch.season, horizon)
        return quantiles.cummax(-1).values

    def window_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """Pinball loss of the last steps of windows (B, L), of which the steps before are shown."""
        past, seen = values[:, :-LEARNED_HORIZON], observed[:, :-LEARNED_HORIZON]
        unknown = torch.ones(len(values), dtype=torch.int64, device=values.device)
        quantiles = self(past, seen, unknown, LEARNED_HORIZON)
        each = pinball(values[:, -LEARNED_HORIZON:], quantiles, quantiles.new_tensor(self.levels))
        counted = observed[:, -LEARNED_HORIZON:] & (seen.sum(1, keepdim=True) >= 3)
        return weighted_mean(each[..., None], counted[..., None], relative=0.5)

    @staticmethod
    def run_settings(config: FadingMemoriesConfig) -> dict[str, Any]:
        """What `tsfm pretrain` begins with."""
        contexts = {"contexts": (480, 992, 2016), "context_shares": (0.4, 0.4, 0.2)}
        return {"windows": {**contexts, "tokens": 1024, "chunk_series": 256}, "other_rate": 3e-3, "warmup": 50}

    def set_precision(self, dtype: torch.dtype) -> None:
        """Nothing here is large enough to be worth another type than float32."""

    @property
    def active_parameters(self) -> int:
        """Parameters that one step meets: all of them."""
        return sum(weight.numel() for weight in self.parameters())


def remember(values: Tensor, observed: Tensor, period: Tensor, horizon: int, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (B, H, K) of the values that came whole periods before each step, weighted by what is kept.

    values, observed (B, C), period (B,), kept (S, K)
    """
    step, row = torch.arange(horizon, device=values.device), torch.arange(len(values), device=values.device)
    newest = step - (step // period[:, None] + 1) * period[:, None]  # (B, H), counted from the end of the history
    places = torch.arange(len(kept), device=values.device)
    at = values.shape[1] + newest[..., None] - places * period[:, None, None]  # (B, H, S)
    there = (at >= 0) & observed[row[:, None, None], at.clamp(min=0)]
    found = torch.where(there, values[row[:, None, None], at.clamp(min=0)], 0.0)
    weight = (there.to(values) @ kept).clamp(min=1e-6)
    mean = found @ kept / weight
    return mean, ((found**2) @ kept / weight - mean**2).clamp(min=1e-8).sqrt()
