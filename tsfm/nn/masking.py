"""Contiguous patch masking: hidden spans teach one-pass forecasts of long horizons (TiRex, Auer et al. 2025)."""

import math

import torch
from torch import Tensor

# B series, N patches.


def contiguous_masks(
    batch: int, patches: int, longest: int, share: float, generator: torch.Generator, spans: int = 2
) -> Tensor:
    """Hidden patches (B, N) bool: a `share` of the series get one to `spans` spans of 1 to `longest` patches.

    Span lengths are log-uniform, at most half of the series; the first patch is never hidden.
    """
    hidden = torch.zeros(batch, patches, dtype=torch.bool)
    position = torch.arange(patches)
    chosen = torch.rand(batch, generator=generator) < share
    for span in range(spans):
        most = max(1, min(longest, patches // 2)) + 1
        length = torch.exp(torch.rand(batch, generator=generator) * math.log(most)).long()
        start = 1 + (torch.rand(batch, generator=generator) * (patches - 1)).long()
        taken = chosen if span == 0 else chosen & (torch.rand(batch, generator=generator) < 0.5)
        inside = (position >= start[:, None]) & (position < (start + length)[:, None])
        hidden |= inside & taken[:, None]
    return hidden
