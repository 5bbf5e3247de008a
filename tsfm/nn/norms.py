"""RMS normalisation on a processor: `nn.RMSNorm` in three passes over memory where torch takes six."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def normalise(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """What `norm(x)` gives, in float32 and without a gradient; x (..., D) -> (..., D)."""
    return (x * inverse_length(x, norm.eps)).mul_(norm.weight)


def normalised(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """What `norm(x)` gives, with its gradient, for training; x (..., D) -> (..., D)."""
    out: Tensor = _Normalised.apply(x, norm.weight, norm.eps)  # type: ignore[no-untyped-call]
    return out


def inverse_length(x: Tensor, eps: float | None) -> Tensor:
    """One over the root of the mean square; (..., D) -> (..., 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse: Tensor = length.square_().div_(x.shape[-1]).add_(eps or 0.0).rsqrt_()
    return inverse


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float | None) -> Tensor:
        inverse = inverse_length(x, eps)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse
        share = grad * unit
        along = (share @ weight).div_(x.shape[-1])[..., None]  # what would change the length alone
        return (grad * weight).addcmul_(unit, along, value=-1).mul_(inverse), share.flatten(0, -2).sum(0), None
