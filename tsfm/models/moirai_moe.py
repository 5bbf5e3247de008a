"""Moirai-MoE (Liu et al. 2024, arXiv 2410.10469): a decoder over the patches of any number of variates.

Every token predicts the patch that follows it in its variate as a mixture of four distributions. A longer horizon is
forecast patch by patch, and the mean and deviation that scale a series are computed anew with each: all its tokens
move, and by attention all others, so that no key or value of an earlier pass can be used again. What is saved, with the
same numbers: paths share the first pass, patches that cannot be seen yet are left out, and the last layer computes the
asked tokens alone. What is known ahead is seen from the patch after it on, and in its scale before.

Quantiles need no samples. Of the first patch they are those of the mixture itself (tsfm/nn/mixture.py). For later
ones a few paths of a fixed Latin hypercube are continued, and the quantiles are those of the even mixture of all their
mixtures: a forecast again is the same forecast, whatever the company.

Precision: `tsfm.load(name, precision="fp32")` or "bf16"; "auto" takes bf16 where the hardware multiplies it, which
moves quantiles by 0.2% of the 80% interval on average. Parameters bear the official names (moirai_moe_files.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.batch import Batch
from tsfm.models.decoder_block import in_precision
from tsfm.models.moirai_moe_layers import Encoder, MixtureProjection, PatchIn, Seen
from tsfm.models.moirai_moe_losses import order_of_deviation, packed_mean
from tsfm.models.moirai_moe_tokens import Layout, Tokens, batch_tokens, causal_mean, left_padded, patches
from tsfm.nn.copies import Copies
from tsfm.nn.mixture import FURTHEST, Mixture, joined_mixtures, levels_of_paths, pooled_quantiles, read_mixture
from tsfm.registry import register

# B series, V targets, C context steps, H horizon, N tokens, M asked tokens, P patch length, S paths, Q quantile levels.

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SCALED_SHARE = 0.3  # of a training window gives its mean and deviation (Liu et al. 2024)
LARGEST_SCORES = 2**25  # of one head that are computed together; rows of many variates go one after another
Choice = Callable[[Mixture, int], Tensor]


@dataclass(frozen=True)
class MoiraiMoEConfig:
    width: int = 384
    expert_width: int = 512
    depth: int = 6
    patch_sizes: tuple[int, ...] = (16,)
    max_tokens: int = 512  # of the published training; longer rows are read too
    experts: int = 32
    top_k: int = 2
    patch: int = 16  # the one of patch_sizes to forecast with
    max_context: int = 4096
    paths: int = 16  # continued beyond the first patch

    @property
    def heads(self) -> int:
        """Of 64 channels each."""
        return self.width // 64


PRESETS = {
    "small": MoiraiMoEConfig(),
    "base": MoiraiMoEConfig(width=768, expert_width=1024, depth=12),
    "tiny": MoiraiMoEConfig(width=64, expert_width=32, depth=2, experts=8, paths=8),
}


@register("moirai-moe")
class MoiraiMoE(nn.Module):
    """Any-variate decoder with experts chosen by centroids; see the module's docstring."""

    Config = MoiraiMoEConfig
    levels = DECILES
    any_level = True
    uses_covariates = True
    own_scaling = True
    input_dtype = torch.float64  # a large mean is taken off before digits are lost
    EXCEPT = MappingProxyType(
        {
            "a_forecast_scales_and_shifts_with_its_series": "the first patch is filled up with zeros, and the variance "
            "gets 1e-5 added, as in the published code",
            "a_forecast_does_not_depend_on_neighbours_order_or_batch_size": "between the modes of a mixture a quantile "
            "moves up to 5e-5 of the deviation for the last digit of float32; 99.9% keep the promised 1e-5",
        }
    )
    PARTS = MappingProxyType(
        {
            "head": r"^(param_proj|encoder\.norm)\.",
            "norms": r"norm",
            "experts": r"\.ffn\.(up|down)$",
            "matrices": r"\.(q_proj|k_proj|v_proj|out_proj)\.weight$",
            "layers": r"^encoder\.layers\.\d+\.(self_attn|ffn)$",
        }
    )

    def __init__(self, config: MoiraiMoEConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self._copies = Copies(in_precision)
        self.patch_index = config.patch_sizes.index(config.patch)
        self.in_proj = PatchIn(config.patch_sizes, config.width)
        self.res_proj = PatchIn(config.patch_sizes, config.width)
        self.feat_proj = PatchIn([config.width] * len(config.patch_sizes), config.width)
        self.encoder = Encoder(config)
        self.param_proj = MixtureProjection(config.width, config.patch_sizes)

    @property
    def patch(self) -> int:
        """Steps of a patch; contexts are padded on the left to a multiple of it."""
        return self.config.patch

    @property
    def max_context(self) -> int:
        """Longest context used, in steps."""
        return self.config.max_context

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        config, size = self.config, sum(weight.numel() for weight in self.parameters())
        return size - config.depth * (config.experts - config.top_k) * 3 * config.expert_width * config.width

    @staticmethod
    def run_settings(config: MoiraiMoEConfig) -> dict[str, Any]:
        """What pretraining begins with: the published rate and decay, at a rate for the width, 32,768 points a step."""
        return {"windows": {"tokens": 1024}, "other_rate": 1e-3 * 384 / config.width, "weight_decay": 0.1}

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products of `predict` (float32 or bfloat16)."""
        self.precision = dtype
        self._copies = Copies(in_precision)

    def forward(
        self, given: Tokens, columns: Tensor | None = None, asked: Tensor | slice = slice(None), variates: int = 2
    ) -> Mixture:
        """The mixture (B, M, P) of the patch after every asked token.

        columns   tokens that are read, all by default; every token counts for the scale of its variate
        asked     positions among those read
        variates  1 where there is a single one, which needs no bias
        """
        loc, scale = given.scale()
        values = ((given.target - loc) / scale).float()
        ids = (given.sample, given.time, given.variate)
        if columns is not None:
            values, loc, scale = (part.index_select(1, columns) for part in (values, loc, scale))
            ids = (ids[0].index_select(1, columns), ids[1].index_select(1, columns), ids[2].index_select(1, columns))
        hidden = self.feat_proj(F.silu(self.in_proj(values, self.patch_index)), self.patch_index)
        x = self.res_proj(values, self.patch_index) + hidden
        seen = Seen(*ids, self.config.width // self.config.heads // 2, variates, asked)
        x = self.encoder(x, seen, self._layers())
        return read_mixture(self.param_proj(x, self.patch_index), loc[:, asked], scale[:, asked])

    def _layers(self) -> Sequence[nn.Module]:
        """The layers in the precision of `predict`: copies of them, made anew once a weight has changed."""
        return self._copies.of(self.encoder.layers, torch.float32 if torch.is_grad_enabled() else self.precision)

    def next_patch(self, given: Tokens, layout: Layout, step: int) -> Mixture:
        """The mixture (B, V, P) of patch `step` of the horizon, from what is known up to then."""
        columns, device = layout.before(step), given.target.device
        asked = torch.searchsorted(columns, layout.of_targets(step - 1)).to(device)
        size = max(1, LARGEST_SCORES // len(columns) ** 2)
        parts = [self(part, columns.to(device), asked, layout.variates) for part in given.split(size)]
        return parts[0] if len(parts) == 1 else joined_mixtures(parts)

    def continued(self, given: Tokens, layout: Layout, choose: Choice) -> Tensor:
        """The horizon (R, V, H) that follows when `choose` says of each patch's mixture what its values are.

        It may give several rows for each row, copies of a row side by side, from the first patch on.
        """
        found: list[Tensor] = []
        for step in range(layout.horizon):
            values = choose(self.next_patch(given, layout, step), step)
            found.append(values)
            if step + 1 < layout.horizon:
                given = given.repeated(len(values) // len(given.target))
                given = given.filled(layout.of_targets(step).to(values.device), values)
        return torch.cat(found, -1)

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] = DECILES) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at any levels, in the units of the batch."""
        return self._quantiles(batch, horizon, quantile_levels, 1)[:, 0]

    @torch.inference_mode()
    def predict_jointly(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] = DECILES) -> Tensor:
        """Quantiles (B, 1 + V, H, Q) of each series and of its V companions, which are all targets alike."""
        return self._quantiles(batch, horizon, quantile_levels, None)

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says at `levels`, with gradients in the weights and in the values; (B, H, Q)."""
        return self._quantiles(batch, horizon, self.levels, 1)[:, 0]

    def _quantiles(self, batch: Batch, horizon: int, quantile_levels: Sequence[float], count: int | None) -> Tensor:
        given, layout = batch_tokens(batch, self.patch, horizon)
        levels = torch.tensor(tuple(quantile_levels), dtype=torch.float64, device=given.target.device)
        order = levels.argsort()
        rows, found, ends = len(batch), list[Tensor](), list[Tensor]()

        def draw(mixture: Mixture, step: int) -> Tensor:
            """Keep the quantiles of the first `count` targets, and give each path values of its own; (B * S, V, P)."""
            paths = mixture.map(lambda part: part.unflatten(0, (rows, -1)).movedim(1, 3))  # (B, V, P, S, ...)
            found.append(pooled_quantiles(paths.map(lambda part: part[:, :count]), levels[order]))
            if step + 1 == layout.horizon:
                return mixture.loc
            wanted = levels_of_paths(step, layout.targets, self.patch, self.config.paths).to(levels.device)
            if step == 0:  # paths that run away stay where numbers can be told from each other
                ends.extend((mixture.loc + side * mixture.scale)[..., None] for side in (-FURTHEST, FURTHEST))
            own = paths.map(lambda part: part.unsqueeze(4)) if step else paths  # at first they share one mixture
            values = pooled_quantiles(own, wanted[..., None] if step else wanted).flatten(3).clamp(*ends)
            return values.movedim(-1, 1).flatten(0, 1).to(given.target.dtype)

        self.continued(given, layout, draw)
        ordered = torch.cat(found, 2)[:, :, :horizon].cummax(-1).values  # the last digits of a solution may cross
        return ordered[..., order.argsort()].to(batch.values.dtype)

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """Negative log likelihood, in scaled units, of the steps after a batch; a series weighs as any other.

        target, counted  (B, H) in the units of the batch; each patch is forecast from the true ones before it

        Series are brought to a deviation of the order of 1 first, where what the scaler adds to it hardly counts.
        """
        unit = order_of_deviation(batch.values, batch.observed)
        short = -target.shape[1] % self.patch
        target, counted = F.pad(torch.where(counted, target / unit, 0.0), (0, short)), F.pad(counted, (0, short))
        return self._likelihood(replace(batch, values=batch.values / unit), target, counted, None)

    def window_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """What pretraining lowers: the loss of all patches of windows (B, L) but the first three tenths of each.

        Those give the mean and the deviation, as published; windows in which they hold too little are not counted.
        """
        unit = order_of_deviation(values, observed)
        values = torch.where(observed, values / unit, 0.0)
        there = observed.unflatten(1, (-1, self.patch))
        first = there.any(-1).long().argmax(1, keepdim=True)
        known = first + ((there.shape[1] - first) * SCALED_SHARE).ceil().long()
        unknown = torch.arange(there.shape[1], device=values.device) >= known  # (B, N)
        enough = (there.sum(-1) * ~unknown).sum(1, keepdim=True) >= self.patch // 2
        seen, after = observed[:, : -self.patch], (observed & enough)[:, -self.patch :]
        batch = Batch(values[:, : -self.patch], seen, torch.ones(len(values), dtype=torch.int64, device=values.device))
        return self._likelihood(batch, values[:, -self.patch :], after, (unknown, enough))

    def _likelihood(
        self, batch: Batch, target: Tensor, counted: Tensor, within: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """The loss of whole patches (B, H) after a batch, and of those of its context that are to be forecast too.

        within  which patches are (B, N), context and horizon, and which rows count (B, 1)
        """
        observed = torch.cat([batch.observed, counted], 1)
        values = causal_mean(torch.cat([torch.where(batch.observed, batch.values, 0.0), target], 1), observed)
        given, layout = batch_tokens(batch, self.patch, target.shape[1])
        after = [layout.of_targets(step)[:1] for step in range(layout.horizon)]
        own = torch.cat([torch.arange(layout.context), *after]).to(values.device)  # tokens of the series itself
        given = replace(
            given, target=given.target.index_copy(1, own, patches(left_padded(values, self.patch), self.patch))
        )
        start = layout.context - 1
        if within is not None:
            start, unknown = 0, within[0] & within[1]
            given = replace(given, predicted=given.predicted.index_copy(1, own, within[0]))
        mixture = self(given, None, own[start:-1], layout.variates)
        wanted, known = given.target[:, own[start + 1 :]], patches(left_padded(observed, self.patch), self.patch)
        known = known[:, start + 1 :]
        if within is not None:
            known = known & unknown[:, 1:, None]
        each = -mixture.scaled_log_prob(((wanted - mixture.loc) / mixture.scale).float())
        same = torch.zeros_like(own[start + 1 :]).expand(len(values), -1)
        return packed_mean(each, known, same, same)

    def bytes_per_series(self, context: int, horizon: int, levels: int = len(DECILES), variates: int = 1) -> int:
        """Peak activation memory of one series in `predict`, for choosing a batch size.

        levels asked, and variates: itself and all beside it, each of which sees all the others.
        """
        count = variates * (-(-context // self.patch) - (-horizon // self.patch))
        paths = self.config.paths if horizon > self.patch else 1
        per_token = 32 * (self.config.width + self.config.expert_width)
        scores = min(paths * count**2, LARGEST_SCORES) * (4 if variates == 1 else 12) * self.config.heads
        return paths * (count * per_token + 480 * self.patch * levels) + scores + 64 * context * variates
