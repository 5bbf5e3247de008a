"""Rotary position embedding on part of each head (Su et al. 2021), so that content and position share the head."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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
    """`rotate` in place and without a gradient: a quarter of its time; cos and sin broadcast against half of x."""
    half = cos.shape[-1]
    turned = x[..., : 2 * half]
    swapped = torch.cat([turned[..., half:], turned[..., :half]], dim=-1)
    turned.mul_(torch.cat([cos, cos], dim=-1)).addcmul_(swapped, torch.cat([-sin, sin], dim=-1))
    return x


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rotate` by the passes of `rotate_`, for training; nothing of x is kept for the gradient."""
    out: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return out


class _Rotation(torch.autograd.Function):
    """Its gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.kind = x.dtype
        return rotate_(x.to(torch.promote_types(x.dtype, torch.float32), copy=True), cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate_(grad.clone(), cos, -sin).to(ctx.kind), None, None
