"""Sparse mixture-of-experts patch decoder: the flagship zero-shot forecaster.

Patches of past values attend causally; every token predicts nine quantiles of the patch that follows it, so one pass
trains at every position, and hidden spans of patches teach it to forecast many patches ahead in one pass at inference.
Each feed-forward layer is a shared expert beside routed ones. Every token also sees what seasonal copies of the past
say about its next patch (tsfm/nn/lags.py).

Follows in parts Toto (Cohen et al. 2025: causal patch scaling, arcsinh), TiRex (Auer et al. 2025: contiguous patch
masking), DeepSeekMoE (Dai et al. 2024: shared expert, bias balancing). Own: the causal seasonal copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tsfm.batch import Batch
from tsfm.models.decoder_block import Block, in_precision
from tsfm.models.decoder_ends import embedded, read_out
from tsfm.models.decoder_inputs import Inputs, Layout, decoder_inputs, with_mirror_image
from tsfm.models.decoder_losses import SQUASHED_LIMIT, in_patches, loss_of, patches_of, quantiles_after
from tsfm.nn.copies import Copies
from tsfm.nn.heads import QuantileHead
from tsfm.nn.lags import CopyGates, default_boundaries
from tsfm.nn.rotary import rotary_angles
from tsfm.nn.scaling import Scale, unsquash
from tsfm.registry import register

# B series, N context patches, P patch length, D width, M tokens (N plus those that look ahead), Q quantile levels.


@dataclass(frozen=True)
class MoEDecoderConfig:
    patch: int = 32
    width: int = 256
    depth: int = 4
    heads: int = 4
    shared_width: int = 192
    expert_width: int = 96
    experts: int = 16
    top_k: int = 2
    seasonal_copies: bool = True
    copy_gates: bool = False
    max_context: int = 4096
    max_ahead: int = 32  # patches forecast in one pass; longer horizons continue from the median
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

    @property
    def layout(self) -> Layout:
        """What each input channel of a token holds."""
        return Layout(self.patch, self.seasonal_copies, self.copy_gates)


PRESETS = {
    "tiny": MoEDecoderConfig(),
    "nano": MoEDecoderConfig(width=128, depth=3, shared_width=96, expert_width=48, experts=8),
    # As many active parameters, without experts: what the sparse ones are held against.
    "tiny-dense": MoEDecoderConfig(shared_width=384, experts=0),
    "nano-dense": MoEDecoderConfig(width=128, depth=3, shared_width=192, experts=0),
}


@register("moe-decoder")
class MoEDecoder(nn.Module):
    """Decoder-only sparse forecaster; see the module's docstring."""

    Config = MoEDecoderConfig
    cos: Tensor
    sin: Tensor
    sign_symmetric = True
    gains_from_views = True
    added_to_config = frozenset({"copy_gates"})
    stored_in = "int8"  # its blocks, which forecast as well so
    PARTS = MappingProxyType(
        {
            "head": r"^(head|norm|gates)\.",
            "router": r"\.router\.",
            "norms": r"norm",
            "experts": r"\.experts\.(up|down)$",
            "matrices": r"(\.(qkv|out|shared_up|shared_down|hidden|project)|^embed\w*)\.weight$|\.experts\.(up|down)$",
            "layers": r"^blocks\.\d+\.(attention|experts)$",
        }
    )

    def __init__(self, config: MoEDecoderConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self._copies = Copies(in_precision)
        self.embed_hidden = nn.Linear(config.layout.channels, config.width)
        self.embed = nn.Linear(config.width, config.width)
        self.embed_skip = nn.Linear(config.layout.channels, config.width, bias=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=1e-6)
        self.head = QuantileHead(config.width, config.patch, len(config.quantile_levels))
        self.gates = CopyGates(config.width) if config.copy_gates else None
        tokens = -(-config.max_context // config.patch) + config.max_ahead
        cos, sin = rotary_angles(tokens, config.width // config.heads // 2)
        self.register_buffer("cos", cos, persistent=False)  # tables, because a compiler would recompute them per head
        self.register_buffer("sin", sin, persistent=False)

    @property
    def patch(self) -> int:
        """Steps of a patch; contexts are padded on the left to a multiple of it."""
        return self.config.patch

    @property
    def levels(self) -> tuple[float, ...]:
        """Trained quantile levels."""
        return self.config.quantile_levels

    @property
    def max_context(self) -> int:
        """Longest context used, in steps."""
        return self.config.max_context

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products of `predict` (float32 or bfloat16)."""
        self.precision = dtype
        self._copies = Copies(in_precision)

    @torch.no_grad()
    def inputs(self, values: Tensor, observed: Tensor, boundaries: Sequence[int], ahead: int = 0) -> Inputs:
        """What the tokens of a context, and `ahead` tokens beyond, are shown: `decoder_inputs`."""
        return decoder_inputs(self.config.layout, values, observed, boundaries, ahead)

    def forward(self, channels: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantiles of the patch after every token, in squashed units.

        The head says how far they are from the token's anchor, its newest observed value: what is nearly a random walk
        keeps its level to the last digit, although the body rounds to bfloat16. Gates add shares of the seasonal copies
        as they are, so that a season that repeats exactly is forecast exactly.

        channels (B, M, channels), bias (B, 1, M, M)
        returns quantiles (B, M, P, Q), expert load (depth, E), router losses (2,)
        """
        cos, sin = self.cos[: channels.shape[1]], self.sin[: channels.shape[1]]
        x = embedded(self, channels)
        loads, losses = [], []
        for block in self.blocks:
            x, load, loss = block(x, bias, cos, sin)
            loads.append(load)
            losses.append(loss)
        return read_out(self, x, channels), torch.stack(loads), torch.stack(losses).mean(0)

    def infer(self, channels: Tensor, bias: Tensor, asking: int) -> Tensor:
        """What `forward` says for the last `asking` tokens, without a gradient; (B, asking, P, Q).

        The last block needs the other tokens only as keys and values.
        """
        tokens = channels.shape[1]
        with torch.autocast(channels.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            x = embedded(self, channels)
        *others, final = self._copies.of(self.blocks, self.precision)
        for block in others:
            x = block.infer(x, bias, self.cos[:tokens], self.sin[:tokens], tokens)
        x = final.infer(x, bias, self.cos[:tokens], self.sin[:tokens], asking)
        with torch.autocast(channels.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            return read_out(self, x, channels[:, -asking:])

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] | None = None) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at the trained levels, in the units of the batch."""
        if quantile_levels is not None and tuple(quantile_levels) != self.levels:
            raise ValueError(f"the decoder forecasts its trained levels {self.levels}; read others off the curve")
        return self._roll_out(batch, horizon, mirrored=False)

    @torch.inference_mode()
    def predict_both_signs(self, batch: Batch, horizon: int) -> tuple[Tensor, Tensor]:
        """What `predict` says of the batch and of its negative: two (B, H, Q), of one pass and one set of channels."""
        same, opposite = self._roll_out(batch, horizon, mirrored=True).chunk(2)
        return same, opposite

    def _roll_out(self, batch: Batch, horizon: int, mirrored: bool) -> Tensor:
        """Quantiles (B, H, Q); if `mirrored`, of the negative series too, after the others."""
        values, observed = batch.values, batch.observed
        patches = min(-(-horizon // self.patch), self.config.max_ahead)
        produced = [self._one_pass(values, observed, patches, mirrored)]
        if mirrored:
            values, observed = torch.cat([values, -values]), torch.cat([observed, observed])
        while (remaining := horizon - sum(part.shape[1] for part in produced)) > 0:
            middle = produced[-1][..., len(self.levels) // 2]
            values = torch.cat([values, middle], 1)[:, -self.max_context :]
            observed = torch.cat([observed, torch.ones_like(middle, dtype=torch.bool)], 1)[:, -self.max_context :]
            patches = min(-(-remaining // self.patch), self.config.max_ahead)
            produced.append(self._one_pass(values, observed, patches))
        return torch.cat(produced, 1)[:, :horizon]

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says of a horizon of one pass, with gradients in the weights and in the values; (B, H, Q)."""
        ahead = patches_of(self, horizon) - 1
        values, observed = self._in_patches(batch.values), self._in_patches(batch.observed)
        boundaries = default_boundaries(values.shape[1])
        return quantiles_after(self, decoder_inputs(self.config.layout, values, observed, boundaries, ahead), horizon)

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """Pinball loss of the steps after a batch, target (B, H), and of its context: `decoder_losses.loss_of`."""
        return loss_of(self, batch, target, counted)

    def _in_patches(self, steps: Tensor) -> Tensor:
        return in_patches(steps, self.patch)

    def _one_pass(self, values: Tensor, observed: Tensor, patches: int, mirrored: bool = False) -> Tensor:
        """Quantiles (B, patches * P, Q) of the next patches from one pass over (B, C) values."""
        values, observed = self._in_patches(values), self._in_patches(observed)
        boundaries = default_boundaries(values.shape[1])
        made = self.inputs(values, observed, boundaries, ahead=patches - 1)
        if mirrored:
            made = with_mirror_image(made, made.channels.new_tensor(self.config.layout.parity))
        squashed = self.infer(made.channels, made.bias, patches).clamp_(-SQUASHED_LIMIT, SQUASHED_LIMIT)
        scale = Scale(*(part[:, -patches:] for part in made.scale))
        # The head's gaps are positive, but their sums may differ in the last digit from one level to the next.
        return unsquash(squashed, scale).flatten(1, 2).cummax(-1).values

    def bytes_per_series(self, context: int, horizon: int) -> int:
        """Peak activation memory of one series in `predict_both_signs`, for choosing a batch size."""
        ahead = min(-(-horizon // self.patch), self.config.max_ahead)
        tokens = -(-context // self.patch) + ahead
        per_token = 4 * (6 * self.config.layout.channels + 2 * 12 * self.config.width)
        return tokens * (per_token + 3 * 4 * tokens) + 2 * 4 * ahead * 6 * self.patch * len(self.levels) + 64 * context
