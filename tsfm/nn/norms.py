"""RMS normalisation for inference: `nn.RMSNorm` in three passes over memory where torch takes six on a CPU."""

import torch
from torch import Tensor, nn


def normalise(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """What `norm(x)` gives, in float32 and without a gradient; x (..., D) -> (..., D)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = length.square_().div_(x.shape[-1]).add_(norm.eps or 0.0).rsqrt_()
    normalised: Tensor = (x * inverse).mul_(norm.weight)
    return normalised
