"""Losses of quantile forecasters."""

import torch
from torch import Tensor

# B series, N tokens, P patch length, Q quantile levels.

SMALL_LOSS = 0.03  # in standard deviations: nobody is paid for forecasting better than that


def pinball(target: Tensor, quantiles: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss of each step, averaged over levels and doubled so that the median's share is the absolute error.

    target (..., ), quantiles (..., Q), levels (Q,) -> (...,). Koenker and Bassett 1978.
    """
    error = target[..., None] - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)


def weighted_mean(loss: Tensor, counted: Tensor, relative: float = 0.0) -> Tensor:
    """Mean of `loss` (B, N, P) over the counted steps, a series weighing as the square root of its counted steps.

    The square root lies between weighing points alike, which drowns short series, and weighing series alike, which
    lets a dozen noisy points speak as loud as two thousand. `relative` lies between counting absolute errors (0) and
    relative ones (1, the gradient of the mean logarithm), as scores that are ratios to a baseline do: at 0 the series
    that can be forecast well hardly count.
    """
    count = counted.sum((1, 2)).to(loss.dtype)
    each = torch.where(counted, loss, 0.0).sum((1, 2)) / count.clamp(min=1)
    weight = count.sqrt()
    if relative:
        weight = weight * (each.detach() + SMALL_LOSS) ** -relative
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)
