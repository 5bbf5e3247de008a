"""Causal scaling: every patch is standardised by what was known when it arrived, then squashed by arcsinh.

The running mean and standard deviation up to and including a patch, as in Toto (Cohen et al. 2025), so that one pass
gives a fair forecast at every position; arcsinh tames spikes and keeps small values linear (as in Chronos-2, 2025).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, N patches, P patch length.


class Scale(NamedTuple):
    """Running statistics after each patch.

    loc    (B, N)  mean of all observed values so far
    scale  (B, N)  their standard deviation; 1 where it is still zero
    usable (B, N)  True once the observed values were not all the same
    seen   (B, N)  observed values so far
    last   (B, N)  the newest of them
    rough  (B, N)  root mean square of their steps from one to the next; the deviation where there is none yet
    """

    loc: Tensor
    scale: Tensor
    usable: Tensor
    seen: Tensor
    last: Tensor
    rough: Tensor


def causal_scale(values: Tensor, observed: Tensor) -> Scale:
    """Mean and standard deviation of the observed values up to each patch; (B, N, P) each.

    Sums run in float64 around the first observed value, so that a constant start has a deviation of exactly zero and
    a large level costs no digits.
    """
    flat, seen = values.flatten(1), observed.flatten(1)
    first = flat.gather(1, seen.to(torch.uint8).argmax(1, keepdim=True))  # (B, 1)
    centred = torch.where(observed, values - first[..., None], 0.0).double()
    count = observed.sum(-1).cumsum(1)
    known = count.clamp(min=1)
    mean = centred.sum(-1).cumsum(1) / known
    square = (centred * centred).sum(-1).cumsum(1) / known
    variance = square - mean * mean
    usable = variance > 1e-12 * square
    scale = torch.where(usable, variance, 1.0).sqrt()
    rough = roughness(centred, observed)
    rough = torch.where(usable & (rough > 0), rough, scale)
    loc, scale, rough = ((mean + first).to(values.dtype), scale.to(values.dtype), rough.to(values.dtype))
    return Scale(loc, scale, usable, count, newest(values, observed), rough)


def roughness(values: Tensor, observed: Tensor) -> Tensor:
    """Root mean square of the steps between neighbouring observed values, up to each patch; (B, N, P) -> (B, N)."""
    flat, seen = values.flatten(1), observed.flatten(1)
    both = seen[:, 1:] & seen[:, :-1]
    step = torch.where(both, flat[:, 1:] - flat[:, :-1], 0.0)
    square = F.pad(step * step, (1, 0)).view_as(values).sum(-1).cumsum(1)
    return (square / F.pad(both, (1, 0)).view_as(observed).sum(-1).cumsum(1).clamp(min=1)).sqrt()


def newest(values: Tensor, observed: Tensor) -> Tensor:
    """The newest observed value up to the end of each patch, 0 before the first; (B, N, P) -> (B, N)."""
    position = torch.arange(1, observed[0].numel() + 1, device=values.device).view_as(observed[0])
    latest = torch.where(observed, position, 0).amax(-1).cummax(1).values  # (B, N), 0: none yet
    found = values.flatten(1).gather(1, (latest - 1).clamp(min=0))
    return torch.where(latest > 0, found, 0.0)


def running_statistics(scale: Scale, seen: Tensor) -> Tensor:
    """Five numbers a token: log count, share observed, how its patch moved the running mean and deviation, roughness.

    seen (B, N, P) -> (B, N, 5)
    """
    count = torch.log2(scale.seen.to(scale.loc.dtype) + 1) / 12
    share = seen.to(scale.loc.dtype).mean(-1)
    before = torch.cat([scale.loc[:, :1], scale.loc[:, :-1]], 1)
    spread = torch.cat([scale.scale[:, :1], scale.scale[:, :-1]], 1)
    begun = torch.cat([scale.seen[:, :1], scale.seen[:, :-1]], 1) > 0
    moved = torch.where(begun, torch.asinh((scale.loc - before) / scale.scale), 0.0)
    # Before its second value a series has no deviation, and the 1 that stands for it would tell the unit of measure.
    known = torch.cat([scale.usable[:, :1], scale.usable[:, :-1]], 1) & scale.usable
    widened = torch.where(known, torch.log(scale.scale / spread).clamp(-4, 4), 0.0)
    rough = torch.log(scale.rough / scale.scale).clamp(-8, 2) / 4
    return torch.stack([count, share, moved, widened, rough], -1)


def squash(values: Tensor, scale: Scale) -> Tensor:
    """arcsinh of the standardised values; `values` is (B, N, ...), scaled patch by patch."""
    shape = scale.loc.shape + (1,) * (values.dim() - 2)
    return torch.asinh((values - scale.loc.view(shape)) / scale.scale.view(shape))


def unsquash(squashed: Tensor, scale: Scale) -> Tensor:
    """Inverse of `squash`."""
    shape = scale.loc.shape + (1,) * (squashed.dim() - 2)
    return torch.sinh(squashed) * scale.scale.view(shape) + scale.loc.view(shape)
