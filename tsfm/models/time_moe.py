"""Time-MoE: a decoder over single time points with sparse experts and one head a horizon (Shi et al. 2024).

Every step attends to the steps before it; every head forecasts the next 1, 8, 32 or 64 steps, and a rollout takes the
longest head that still fits. A point model: its forecast is the median alone, so intervals come from
`tsfm/conformal.py`. It reads standardised values, by the mean and the unbiased deviation of what was observed of the
context. Steps that were not observed are filled by straight lines, because the model knows no other input.

The published weights (`tsfm.load("time-moe-50m")`) are in bfloat16. They compute in what `precision=` says: "fp32",
"bf16" (forecasts move by 0.3 % of their norm, more where a step sits on the edge between two experts), or "auto", which
is bf16 where the hardware multiplies it; `tsfm doctor` tells which. Published folders load and save through the maps of
`time_moe_files.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from tsfm import kernels
from tsfm.batch import Batch
from tsfm.models.time_moe_layers import (
    Backbone,
    Head,
    Routing,
    angles,
    causal_among,
    in_precision,
    initialise,
    schedule,
)
from tsfm.models.time_moe_losses import (
    Windows,
    balance_loss,
    huber_of_head,
    left_aligned,
    right_aligned,
    standard,
    standardised,
    windows_of,
)
from tsfm.nn.copies import Copies
from tsfm.nn.kv_cache import KVCache
from tsfm.nn.norms import normalise
from tsfm.registry import register

# B series, C context steps, N new steps, H horizon, D width, h steps of a head.

ROWS = 4  # times `kernels.rows_at_once` steps go through `predict` together: more take more memory and no less time
FEWEST_SERIES = 4  # go through together nevertheless, because later passes of a rollout have few steps of each
FEWEST_STEPS = 1024  # of context that a long horizon leaves
LARGE = 2 * 10**7  # parameters from which on freed memory is kept in the process: see `kernels.keep_freed_memory`


@dataclass(frozen=True)
class TimeMoEConfig:
    width: int = 384
    inner_width: int = 1536  # of the shared expert; the routed ones have a top_k-th of it
    depth: int = 12
    heads: int = 12
    kv_heads: int = 12
    experts: int = 8
    top_k: int = 2
    horizons: tuple[int, ...] = (1, 8, 32, 64)
    dense: bool = False
    max_positions: int = 4096
    norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    balance_weight: float = 0.02
    initial_std: float = 0.02

    @property
    def head_width(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    @property
    def expert_width(self) -> int:
        """Inner width of a routed expert."""
        return self.inner_width // self.top_k


PRESETS = {
    "tiny": TimeMoEConfig(
        width=32, inner_width=64, depth=2, heads=4, kv_heads=4, horizons=(1, 8, 32), initial_std=0.15
    ),
    "50m": TimeMoEConfig(),
    "200m": TimeMoEConfig(width=768, inner_width=3072),
}


memory_kept = cache(kernels.keep_freed_memory)  # said once a process


@register("time-moe")
class TimeMoE(nn.Module):
    """Point-wise sparse decoder with a head a horizon; see the module's docstring."""

    Config = TimeMoEConfig
    levels = (0.5,)
    point_only = True
    fills_gaps = True
    own_scaling = True
    input_dtype = torch.float64
    PARTS = MappingProxyType(
        {
            "head": r"^(lm_heads\.|model\.norm\.)",
            "router": r"\.ffn_layer\.gate\.",
            "norms": r"norm\.weight$",
            "experts": r"\.experts\.(up|down)$",
            "matrices": r"\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)\.weight$",
            "layers": r"^model\.layers\.\d+\.self_attn$",
        }
    )

    def __init__(self, config: TimeMoEConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self._copies = Copies(in_precision)
        self.model = Backbone(config)
        self.lm_heads = nn.ModuleList(Head(config.width, steps) for steps in config.horizons)
        self.size = sum(weight.numel() for weight in self.parameters())
        for module in self.modules():
            initialise(module, config.initial_std)

    @property
    def max_context(self) -> int:
        """Most steps that positions were trained for; a horizon takes its share of them, see `context_for`."""
        return self.config.max_positions

    def context_for(self, horizon: int) -> int:
        """Steps of context read before a horizon: both within the trained positions, but for very long horizons."""
        return max(self.config.max_positions - horizon, min(FEWEST_STEPS, self.config.max_positions))

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        config, idle = self.config, 0 if self.config.dense else self.config.experts - self.config.top_k
        return self.size - config.depth * idle * 3 * config.expert_width * config.width

    @staticmethod
    def run_settings(config: TimeMoEConfig) -> dict[str, Any]:
        """What pretraining begins with: published numbers, at a rate for the width, and 8,192 points a step."""
        windows = {"contexts": (512, 1024), "context_shares": (0.5, 0.5), "tokens": 256}
        return {"windows": windows, "other_rate": 1e-4 * 384 / config.width, "weight_decay": 0.5}

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products (float32 or bfloat16)."""
        self.precision = dtype
        self._copies = Copies(in_precision)

    def forward(
        self, values: Tensor, present: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, list[Routing]]:
        """Hidden states that the heads read, and what the routers decided (none in the dense variant).

        values     (B, N) standardised
        present    (B, N) bool, False in padding; without padding before a series, causality hides it anyway
        positions  (N,) or (B, N), by default from 0 on
        returns    (B, N, D)
        """
        default = torch.arange(values.shape[1], device=values.device)
        turn = angles(default if positions is None else positions, self.config.head_width, self.config.rotary_base)
        allowed = None if present is None else causal_among(present)
        with torch.autocast(values.device.type, enabled=False):
            x, routings = self.model.embed_layer(values), []  # what is added up stays in float32
        for layer in self.model.layers:
            x, routing = layer(x, turn, allowed)
            routings.append(routing)
        return self.model.norm(x), [routing for routing in routings if routing is not None]

    def official_loss(
        self,
        values: Tensor,
        labels: Tensor,
        counted: Tensor | None = None,
        present: Tensor | None = None,
        masked: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The published training loss of standardised windows (B, N), the Huber loss of every head, and the balance.

        labels   (B, N) the step after each; counted (B, N) which of them count, None: all, and zeros beyond the end
        present  (B, N) padding is False; masked: attention is told of it, which padding behind the steps does not need
        """
        with torch.autocast(values.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            hidden, routings = self(values, present if masked else None)
            each = torch.stack([huber_of_head(head(hidden), labels, counted) for head in self.lm_heads])
        if not routings:
            return each.mean(), each, each.new_zeros(())
        balance = balance_loss(routings, present)
        return each.mean() + self.config.balance_weight * balance, each, balance

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """The published loss of contexts with what came after them; target and counted (B, H) in the batch's units."""
        mean, deviation = standard(batch.values.double(), batch.observed)
        values = torch.cat([batch.values, target], 1).double()
        return self._loss((values - mean) / deviation, torch.cat([batch.observed, counted], 1))

    def window_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """The published loss of training windows (B, N), standardised as a whole with the population's deviation."""
        mean, deviation = standard(values.double(), observed, spare=0)
        return self._loss((values - mean) / deviation, observed)

    def _loss(self, values: Tensor, observed: Tensor) -> Tensor:
        windows = windows_of(torch.where(observed, values, 0.0), observed)
        steps, counted, present = windows.values.float(), windows.counted[:, 1:], windows.present[:, :-1]
        return self.official_loss(steps[:, :-1], steps[:, 1:], counted, present, masked=False)[0]

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says, with gradients in the weights and in the values: a full pass for every head taken."""
        (steps, _, own), mean, deviation = self._standardised(batch, horizon)
        made, lengths = steps[:, :0], own
        for head, taken in schedule(self.config.horizons, horizon):
            sequence = left_aligned(torch.cat([right_aligned(steps, own), made], 1), lengths)
            with torch.autocast(steps.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
                hidden = self(sequence)[0][torch.arange(len(steps), device=steps.device), lengths - 1]
                made = torch.cat([made, self.lm_heads[head](hidden)[:, :taken].float()], 1)
            lengths = lengths + taken
        return (made.double() * deviation + mean).to(batch.values.dtype)[..., None]

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] | None = None) -> Tensor:
        """Forecast (B, H, 1) of the next `horizon` steps in the units of the batch."""
        if quantile_levels is not None and tuple(quantile_levels) != self.levels:
            raise ValueError("Time-MoE forecasts points: its one level is 0.5; intervals come from tsfm.conformal")
        (steps, _, lengths), mean, deviation = self._standardised(batch, horizon)
        full = bool((lengths == steps.shape[1]).all())
        made = self.generate(steps, horizon, None if full else lengths)
        return (made.double() * deviation + mean).to(batch.values.dtype)[..., None]

    def _standardised(self, batch: Batch, horizon: int) -> tuple[Windows, Tensor, Tensor]:
        longest = self.context_for(horizon)
        return standardised(batch.values[:, -longest:], batch.observed[:, -longest:])

    @torch.inference_mode()
    def generate(self, values: Tensor, horizon: int, lengths: Tensor | None = None) -> Tensor:
        """Standardised forecasts (B, H) of standardised contexts (B, C), a few thousand steps at a time.

        lengths  (B,) where contexts differ: each begins in column 0, and what follows its steps is padding
        """
        if self.size >= LARGE:
            memory_kept()
        size = max(FEWEST_SERIES, ROWS * kernels.rows_at_once(values.device) // values.shape[1])
        every = lengths.split(size) if lengths is not None else [None] * -(-len(values) // size)
        parts = [self._roll_out(part, horizon, own) for part, own in zip(values.split(size), every, strict=True)]
        return torch.cat(parts)

    def _roll_out(self, values: Tensor, horizon: int, lengths: Tensor | None) -> Tensor:
        passes = schedule(self.config.horizons, horizon)
        cache = self.new_cache(len(values), values.shape[1] + horizon - passes[-1][1], keep=len(passes) > 1)
        cache.begin(values.shape[1], lengths)
        made: list[Tensor] = []
        for head, taken in passes:
            hidden = self.extend(made[-1] if made else values, cache, last_only=True)
            made.append(self.lm_heads[head](hidden[:, 0])[:, :taken])
        return torch.cat(made, 1)

    def new_cache(self, series: int, steps: int, keep: bool = True) -> KVCache:
        """An empty cache for a rollout of `steps` in all; one that keeps nothing serves a single pass."""
        config = self.config
        layers = config.depth if keep else 0
        shape = (layers, series, config.kv_heads, steps, config.head_width)
        return KVCache(shape, self.precision, self.model.norm.weight.device)

    @torch.inference_mode()
    def extend(self, values: Tensor, cache: KVCache, last_only: bool) -> Tensor:
        """Hidden states that the heads read of the steps (B, N) after those in the cache, which takes them in.

        last_only  of each series' last step alone: the last layer needs the others only as keys and values
        """
        steps, lengths = values.shape[1], cache.lengths
        allowed = cache.visible(steps)
        turn = angles(cache.positions(steps), self.config.head_width, self.config.rotary_base)
        x = self.model.embed_layer(values)
        *others, final = self._copies.of(self.model.layers, self.precision)
        for number, layer in enumerate(others):
            x = layer.infer(x, turn, cache, number, allowed, None)
        last = None
        if last_only:
            last = torch.full((len(x),), steps - 1, device=x.device)
            if lengths is not None and not cache.filled:
                last = lengths - 1
                allowed = (torch.arange(steps, device=x.device) <= last[:, None])[:, None, None]
            elif allowed is not None:
                allowed = allowed[:, :, -1:]
        x = final.infer(x, turn, cache, len(others), allowed, last)
        cache.advance(steps)
        return normalise(x, self.model.norm)

    def bytes_per_series(self, context: int, horizon: int) -> int:
        """A share of memory by which the caller makes batches of what `predict` computes together on a processor."""
        return 2**13 * min(context, self.max_context) + 16 * horizon
