"""Rotary position embedding on part of each head (Su et al. 2021), so that content and position share the head."""

import torch
from torch import Tensor

# B series, A heads, N tokens, R rotated width of a head.


def rotary_angles(tokens: int, rotated: int, base: float = 1000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine for positions 0 .. tokens - 1, (N, R / 2) each."""
    frequency = base ** (-torch.arange(0, rotated, 2, dtype=torch.float32) / rotated)
    angle = torch.arange(tokens, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first R channels of every head; (B, A, N, head width) in and out."""
    half = cos.shape[-1]
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], dim=-1)


def rotate_(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rotate` in place, for inference; x (B, N, A, head width), tokens before heads."""
    half = cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    turned = x[..., : 2 * half]
    swapped = torch.cat([turned[..., half:], turned[..., :half]], dim=-1)
    turned.mul_(torch.cat([cos, cos], dim=-1)).addcmul_(swapped, torch.cat([-sin, sin], dim=-1))
    return x
