"""What Moirai-MoE's loss is averaged over, and the units that it is in."""

import torch
from torch import Tensor

# B rows, C context steps, N tokens, P patch length.


def packed_mean(loss: Tensor, counted: Tensor, sample: Tensor, variate: Tensor) -> Tensor:
    """Mean of `loss` (B, N, P) over what is counted, each variate of each sample of a row weighing alike.

    counted (B, N, P) bool; sample, variate (B, N)
    """
    same = (sample[:, :, None] == sample[:, None]) & (variate[:, :, None] == variate[:, None])
    of_variate = same.to(loss.dtype) @ counted.sum(-1, keepdim=True).to(loss.dtype)  # (B, N, 1)
    share = torch.where(counted, 1 / of_variate.clamp(min=1), 0.0)
    return (torch.where(counted, loss, 0.0) * share).sum() / share.sum().clamp(min=1e-6)


def order_of_deviation(values: Tensor, observed: Tensor) -> Tensor:
    """The power of two (B, 1) next above the standard deviation of each row; 1 where that is 0."""
    count = observed.sum(1, keepdim=True).clamp(min=1)
    known = torch.where(observed, values, 0.0).detach()
    mean = known.sum(1, keepdim=True) / count
    deviation = (torch.where(observed, known - mean, 0.0).square().sum(1, keepdim=True) / count).sqrt()
    return torch.ldexp(torch.ones_like(deviation), torch.frexp(deviation).exponent)
