"""What a patch decoder sees of a series: the channels of every token, the attention bias, and the scale to come back.

All of it is causal: a token's channels are made of its own patch and of those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.nn.attention import causal_bias
from tsfm.nn.lags import (
    LAG_RANGES,
    causal_lags,
    deviations,
    known_steps,
    lags_since_start,
    seasonal_copies,
)
from tsfm.nn.scaling import Scale, causal_scale, running_statistics, squash

# B series, N context patches, P patch length, M tokens (N plus those that look ahead).


@dataclass(frozen=True)
class Layout:
    """The channels of a token, in order: anchor, values, close-up and mask of its patch, running statistics; then the
    seasonal copies, how strong and long their lags are, and how far the newest value lies from its own copies.
    """

    patch: int
    copies: bool
    deviations: bool

    @property
    def own(self) -> int:
        """Channels of the patch itself."""
        return 1 + 3 * self.patch + 5

    @property
    def copied(self) -> slice:
        """Channels of the copies: two for each lag, a patch long."""
        return slice(self.own, self.own + len(LAG_RANGES) * 2 * self.patch)

    @property
    def channels(self) -> int:
        """Their number."""
        return len(self.parity)

    @property
    def parity(self) -> list[float]:
        """-1 for every channel that changes sign with the series, 1 for those that stay as they are."""
        own = [-1.0] * (1 + 2 * self.patch) + [1.0] * self.patch + [1.0, 1.0, -1.0, 1.0, 1.0]
        copies = [-1.0] * (len(LAG_RANGES) * 2 * self.patch) + [1.0] * (2 * len(LAG_RANGES) + 1)
        moved = [-1.0] * len(LAG_RANGES) if self.deviations else []
        return own + (copies + moved if self.copies else [])


class Inputs(NamedTuple):
    """What the network sees: channels (B, M, channels), attention bias (B, 1, M, M), and the scale of each token."""

    channels: Tensor
    bias: Tensor
    scale: Scale


def decoder_inputs(
    layout: Layout, values: Tensor, observed: Tensor, boundaries: Sequence[int], ahead: int = 0
) -> Inputs:
    """Channels of every context token and of `ahead` tokens beyond.

    values      (B, N, P)  zero where not observed; a hidden patch is one without observed values
    observed    (B, N, P)
    boundaries  prefix ends, in patches, where seasonal lags are estimated
    """
    channels, scale = token_channels(layout, values, observed, boundaries, ahead)
    return Inputs(channels, causal_bias(scale.seen > 0), scale)


def token_channels(
    layout: Layout,
    values: Tensor,
    observed: Tensor,
    boundaries: Sequence[int] | None,
    ahead: int = 0,
    first: int = 0,
) -> tuple[Tensor, Scale]:
    """Channels and scale of the tokens from `first` on, as `decoder_inputs` has them.

    boundaries  None: those that count from the start of each series (tsfm/nn/lags.py)
    """
    scale = causal_scale(values, observed)
    known = known_steps(observed)
    if ahead:
        scale = Scale(*(torch.cat([part, part[:, -1:].expand(-1, ahead)], 1) for part in scale))
        known = torch.cat([known, known[:, -1:].expand(-1, ahead)], 1)
    tokens = known.shape[1]
    future = (0, 0, 0, ahead)
    seen = F.pad(observed, future)
    ahead_too = F.pad(values, future)
    running = running_statistics(scale, seen)
    if layout.copies and boundaries is None:
        lag, strength = lags_since_start(values, observed, scale, tokens, first)
    elif layout.copies:
        lag, strength = causal_lags(values, observed, scale, boundaries or (), tokens)
    if first:
        scale = Scale(*(part[:, first:] for part in scale))
        seen, ahead_too, known, running = seen[:, first:], ahead_too[:, first:], known[:, first:], running[:, first:]
    anchor = squash(scale.last[..., None], scale)  # (B, M, 1)
    squashed = torch.where(seen, squash(ahead_too, scale), 0.0)
    close_up = torch.where(seen, torch.asinh((ahead_too - scale.last[..., None]) / scale.rough[..., None]), 0.0)
    channels = [anchor, squashed, close_up, seen.to(values.dtype), running]
    if layout.copies:
        copies, rests = seasonal_copies(values, observed, lag, known, tokens, first)
        copies = torch.where(rests, squash(copies, scale) - anchor[..., None, None], 0.0)
        channels += [copies.flatten(2), strength, torch.log2(lag.clamp(min=1).to(values.dtype)) / 8]
        if layout.deviations:
            channels.append(deviations(values, observed, scale, lag, first))
    return torch.cat(channels, -1), scale


def with_mirror_image(made: Inputs, parity: Tensor) -> Inputs:
    """Inputs of a batch followed by those of its negative, (2B, ...), which need no second computation."""
    scale = Scale(*(torch.cat([part, part]) for part in made.scale))
    count = made.scale.loc.shape[0]
    scale.loc[count:].neg_()
    scale.last[count:].neg_()
    return Inputs(torch.cat([made.channels, made.channels * parity]), torch.cat([made.bias, made.bias]), scale)
