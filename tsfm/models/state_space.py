"""State-space patch decoder: the flagship with its attention swapped for a recurrent mixer, and what follows from that.

Patches, causal scaling, seasonal copies, sparse experts, quantile head, losses and trainer are the flagship's
(tsfm/models/moe_decoder.py, decoder_inputs.py). What a token knows of earlier ones it has from a state of fixed size
(state_space_mixers.py), so a stream can go on from it without reading its history again (tsfm/streaming.py).

Two things differ so that a stream may read as a whole series is read. Lags of seasonal copies are estimated at patches
counted from the start of a series, because what follows must not move them; and a context is read in float64, exactly
as it is but for a power of two, because a stream cannot know the location that would be subtracted at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tsfm.batch import Batch
from tsfm.models.decoder_ends import embedded, read_out
from tsfm.models.decoder_inputs import Inputs, Layout, token_channels, with_mirror_image
from tsfm.models.decoder_losses import SQUASHED_LIMIT, in_patches, loss_of, patches_of, quantiles_after
from tsfm.models.state_space_mixers import MIXERS, State
from tsfm.nn.heads import QuantileHead
from tsfm.nn.lags import CopyGates
from tsfm.nn.moe import SparseExperts
from tsfm.nn.scaling import Scale, unsquash
from tsfm.registry import register

# B series, N context patches, P patch length, D width, M tokens (N plus those that look ahead), Q quantile levels.


@dataclass(frozen=True)
class StateSpaceConfig:
    """Sizes; `inner`, `state` and `heads` are the mixer's: its width, state size (a head or channel), and heads.

    PRESETS give every mixer, the control with attention included, the same parameters within 5 %. The default mixer is
    the one that an ablation chose on validation windows (evaluation/results/pretraining_log.csv, runs ss-*).
    """

    patch: int = 32
    width: int = 192
    depth: int = 4
    mixer: str = "gla"
    inner: int = 192
    state: int = 24
    heads: int = 4
    taps: int = 4
    shared_width: int = 128
    expert_width: int = 48
    experts: int = 8
    top_k: int = 2
    seasonal_copies: bool = True
    copy_gates: bool = True
    max_context: int = 4096
    max_ahead: int = 32  # patches forecast in one pass; longer horizons continue from the median
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

    @property
    def layout(self) -> Layout:
        """What each input channel of a token holds."""
        return Layout(self.patch, self.seasonal_copies, self.copy_gates)


PRESETS = {
    "pico": StateSpaceConfig(
        width=64, depth=2, inner=64, state=16, heads=2, shared_width=48, expert_width=16, max_ahead=8
    ),
    "nano": StateSpaceConfig(),
    "nano-ssd": StateSpaceConfig(mixer="ssd", inner=208, state=64),
    "nano-delta": StateSpaceConfig(mixer="delta"),
    "nano-mamba": StateSpaceConfig(mixer="mamba", inner=232, state=16),
    "nano-s4d": StateSpaceConfig(mixer="s4d", inner=232, state=16),
    "nano-attention": StateSpaceConfig(mixer="attention"),
}


class Block(nn.Module):
    """A mixer over tokens, then sparse experts."""

    def __init__(self, config: StateSpaceConfig):
        super().__init__()
        self.norm1 = nn.RMSNorm(config.width, eps=1e-6)
        self.mixer = MIXERS[config.mixer](config)
        self.norm2 = nn.RMSNorm(config.width, eps=1e-6)
        self.experts = SparseExperts(
            config.width, config.shared_width, config.expert_width, config.experts, config.top_k
        )

    def forward(
        self, x: Tensor, present: Tensor, state: State | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor], State]:
        """x (B, M, D), present (B, M) -> the same tokens, (expert load, router losses), the state after them."""
        mixed, state = self.mixer(self.norm1(x) * present[..., None], present, state)
        x = x + mixed
        mixed, load, losses = self.experts(self.norm2(x).flatten(0, 1))
        return x + mixed.view_as(x), (load, losses), state


@register("state-space")
class StateSpace(nn.Module):
    """Zero-shot forecaster with a state of fixed size; see the module's docstring."""

    Config = StateSpaceConfig
    input_dtype = torch.float64
    sign_symmetric = True
    gains_from_views = True
    stored_in = "int8"  # its blocks, which forecast as well so
    PARTS = MappingProxyType(
        {
            "head": r"^(head|norm|gates)\.",
            "router": r"\.router\.",
            "norms": r"norm",
            "experts": r"\.experts\.(up|down)$",
            "matrices": r"(\.(value|gate|key|query|select|widen|qkv|out|shared_\w+|hidden|project)|^embed\w*)"
            r"\.weight$|\.experts\.(up|down)$",
            "layers": r"^blocks\.\d+\.(mixer|experts)$",
        }
    )

    def __init__(self, config: StateSpaceConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.embed_hidden = nn.Linear(config.layout.channels, config.width)
        self.embed = nn.Linear(config.width, config.width)
        self.embed_skip = nn.Linear(config.layout.channels, config.width, bias=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=1e-6)
        self.head = QuantileHead(config.width, config.patch, len(config.quantile_levels))
        self.gates = CopyGates(config.width) if config.copy_gates else None

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

    @property
    def streams(self) -> bool:
        """Whether what a token knows of earlier ones has a fixed size, so that a stream can go on from it."""
        return self.config.mixer != "attention"

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products of `predict` (float32 or bfloat16)."""
        self.precision = dtype

    @torch.no_grad()
    def inputs(
        self, values: Tensor, observed: Tensor, boundaries: Sequence[int] = (), ahead: int = 0, first: int = 0
    ) -> Inputs:
        """What the tokens from `first` on, and `ahead` tokens beyond the context, are shown, in float32.

        values, observed (B, N, P); in place of the flagship's attention bias (B, M) bool: False before a series
        begins. The trainer's boundaries are not used: here they are counted from the start of a series.
        """
        channels, scale = token_channels(self.config.layout, values, observed, None, ahead, first)
        return Inputs(channels.float(), scale.seen > 0, scale)

    def forward(self, channels: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantiles of the patch after every token, in squashed units, around the token's newest observed value.

        channels (B, M, channels), present (B, M)
        returns quantiles (B, M, P, Q), expert load (depth, E), router losses (2,)
        """
        x, _, facts = self.advance(channels, present)
        loads, losses = zip(*facts, strict=True)
        return read_out(self, x, channels), torch.stack(loads), torch.stack(losses).mean(0)

    def advance(
        self, channels: Tensor, present: Tensor, state: Sequence[State] | None = None
    ) -> tuple[Tensor, list[State], list[tuple[Tensor, Tensor]]]:
        """Hidden tokens (B, M, D), the state of every layer after them, and what the trainer wants of every layer."""
        x, after, facts = embedded(self, channels), [], []
        for layer, block in enumerate(self.blocks):
            x, fact, new = block(x, present, None if state is None else state[layer])
            after.append(new)
            facts.append(fact)
        return x, after, facts

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] | None = None) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at the trained levels, in the units of the batch."""
        if quantile_levels is not None and tuple(quantile_levels) != self.levels:
            raise ValueError(f"the decoder forecasts its trained levels {self.levels}; read others off the curve")
        return self.roll_out(*self._in_patches(batch), horizon, mirrored=False)

    @torch.inference_mode()
    def predict_both_signs(self, batch: Batch, horizon: int) -> tuple[Tensor, Tensor]:
        """What `predict` says of the batch and of its negative: two (B, H, Q), of one pass and one set of channels."""
        same, opposite = self.roll_out(*self._in_patches(batch), horizon, mirrored=True).chunk(2)
        return same, opposite

    def roll_out(
        self,
        values: Tensor,
        observed: Tensor,
        horizon: int,
        mirrored: bool,
        state: Sequence[State] | None = None,
        read: int = 0,
    ) -> Tensor:
        """Quantiles (B, H, Q) after the patches (B, N, P); if `mirrored`, of the negative series too, after the others.

        state  of every layer after the first `read` patches, with rows for the negative series if `mirrored`
        """
        produced: list[Tensor] = []
        while (remaining := horizon - sum(part.shape[1] for part in produced)) > 0:
            patches = min(-(-remaining // self.patch), self.config.max_ahead)
            made = self.inputs(values, observed, ahead=patches - 1, first=read)
            if mirrored and not produced:
                made = with_mirror_image(made, made.channels.new_tensor(self.config.layout.parity))
                values, observed = torch.cat([values, -values]), torch.cat([observed, observed])
            produced.append(self._one_pass(made, patches, state))
            middle = produced[-1][..., len(self.levels) // 2].unflatten(1, (-1, self.patch))
            values = torch.cat([values, middle], 1)
            observed = torch.cat([observed, torch.ones_like(middle, dtype=torch.bool)], 1)
        return torch.cat(produced, 1)[:, :horizon]

    def _one_pass(self, made: Inputs, patches: int, state: Sequence[State] | None) -> Tensor:
        """Quantiles (B, patches * P, Q) of the patches after the last tokens, in the units of the series."""
        with torch.autocast(made.channels.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
            x, _, _ = self.advance(made.channels, made.bias, state)
            squashed = read_out(self, x[:, -patches:], made.channels[:, -patches:])
        scale = Scale(*(part[:, -patches:] for part in made.scale))
        squashed = squashed.clamp(-SQUASHED_LIMIT, SQUASHED_LIMIT).to(scale.loc.dtype)
        # The head's gaps are positive, but their sums may differ in the last digit from one level to the next.
        return unsquash(squashed, scale).flatten(1, 2).cummax(-1).values

    def _in_patches(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Values and mask (B, N, P); values are zero where not observed."""
        observed = in_patches(batch.observed, self.patch)
        return torch.where(observed, in_patches(batch.values, self.patch), 0.0), observed

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says of a horizon of one pass, with gradients in the weights and in the values; (B, H, Q)."""
        ahead = patches_of(self, horizon) - 1
        channels, scale = token_channels(self.config.layout, *self._in_patches(batch), None, ahead)
        return quantiles_after(self, Inputs(channels.float(), scale.seen > 0, scale), horizon)

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """Pinball loss of the steps after a batch, target (B, H), and of its context: `decoder_losses.loss_of`."""
        return loss_of(self, batch, target, counted)

    def bytes_per_series(self, context: int, horizon: int) -> int:
        """Peak activation memory of one series in `predict_both_signs`, for choosing a batch size."""
        ahead = min(-(-horizon // self.patch), self.config.max_ahead)
        tokens = -(-context // self.patch) + ahead
        mixing = 2 * 4 * 3 * self.config.heads * tokens
        per_token = 8 * 6 * self.config.layout.channels + 2 * 4 * 12 * (self.config.width + self.config.inner)
        return tokens * (per_token + mixing) + 2 * 8 * ahead * 6 * self.patch * len(self.levels) + 64 * context

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: all but the routed experts it is not sent to."""
        config = self.config
        routed = config.depth * config.experts * 3 * config.expert_width * config.width
        idle = routed * (config.experts - config.top_k) // config.experts if config.experts else 0
        return sum(parameter.numel() for parameter in self.parameters()) - idle
