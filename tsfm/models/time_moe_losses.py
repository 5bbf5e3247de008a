"""Losses of Time-MoE as published (Shi et al. 2024), and the windows they are taken of.

multi_horizon_huber  of every head at every step, the mean over the heads
balance_loss         of the routers, after Fedus et al. 2021, over all layers together
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.models.time_moe_layers import Routing

# B series, N steps, h steps of a head, T tokens (B * N), E experts, K experts a token.

DELTA = 2.0  # standard deviations up to which an error counts as its square


def huber_of_head(forecast: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean Huber loss of one head.

    forecast (B, N, h) of the steps from each on; labels (B, N) the step after each; mask (B, N) which labels count.
    Steps beyond the end are zeros; without a mask they count, which pulls long heads to zero there, as published.
    """
    beyond = forecast.shape[-1] - 1
    target = F.pad(labels, (0, beyond)).unfold(-1, beyond + 1, 1)  # (B, N, h)
    each = F.huber_loss(forecast.float(), target, reduction="none", delta=DELTA)
    if mask is None:
        return each.mean()
    counted = F.pad(mask.to(each.dtype), (0, beyond)).unfold(-1, beyond + 1, 1)
    return (each * counted).sum() / counted.sum().clamp(min=1)


def balance_loss(routings: Sequence[Routing], present: Tensor | None = None) -> Tensor:
    """How unevenly tokens go to experts, K where all have the same share; present (B, N) leaves out other tokens."""
    experts = routings[0].logits.shape[1]
    probability = torch.softmax(torch.cat([one.logits for one in routings]), dim=-1)  # (layers * T, E)
    chosen = F.one_hot(torch.cat([one.expert for one in routings]), experts).to(probability.dtype)  # (.., K, E)
    if present is None:
        share, mean = chosen.mean(0), probability.mean(0)
    else:
        weight = present.flatten().to(probability.dtype).repeat(len(routings))
        weight = weight / weight.sum().clamp(min=1)
        share, mean = torch.einsum("t,tke->ke", weight, chosen), weight @ probability
    return experts * (share * mean).sum()


class Windows(NamedTuple):
    """Windows from their first observed step on: all begin in column 0, with their padding at the end.

    values   (B, N) gaps filled by straight lines, 0 in the padding
    counted  (B, N) what was observed
    lengths  (B,)
    """

    values: Tensor
    counted: Tensor
    lengths: Tensor

    @property
    def present(self) -> Tensor:
        """(B, N) which columns are steps."""
        return torch.arange(self.values.shape[1], device=self.values.device) < self.lengths[:, None]


def windows_of(values: Tensor, observed: Tensor) -> Windows:
    """Windows of right-aligned series (B, C) of which each has one observed step at least."""
    lengths = values.shape[1] - observed.to(torch.uint8).argmax(1)
    values, counted = left_aligned(fill_gaps(values, observed), lengths), left_aligned(observed, lengths)
    return Windows(values, counted, lengths)


def left_aligned(x: Tensor, lengths: Tensor) -> Tensor:
    """The last `lengths` (B,) columns of each row of x (B, C), moved to the front; zeros behind them."""
    column = torch.arange(x.shape[1], device=x.device)
    found = x.gather(1, (column + x.shape[1] - lengths[:, None]).clamp(max=x.shape[1] - 1))
    return torch.where(column < lengths[:, None], found, torch.zeros_like(found))


def right_aligned(x: Tensor, lengths: Tensor) -> Tensor:
    """What `left_aligned` moved to the front, back at the end; (B, C) -> (B, C)."""
    column = torch.arange(x.shape[1], device=x.device) - (x.shape[1] - lengths[:, None])
    found = x.gather(1, column.clamp(min=0))
    return torch.where(column >= 0, found, torch.zeros_like(found))


def fill_gaps(values: Tensor, observed: Tensor) -> Tensor:
    """Values (B, C) with straight lines across what was not observed, and the last one carried on to the end."""
    steps = values.shape[1]
    column = torch.arange(steps, device=values.device).expand_as(values)
    before = torch.where(observed, column, -1).cummax(1).values
    after = torch.where(observed, column, steps).flip(1).cummin(1).values.flip(1)
    before, after = torch.where(before < 0, after, before), torch.where(after == steps, before, after)
    low, high = values.gather(1, before.clamp(max=steps - 1)), values.gather(1, after.clamp(max=steps - 1, min=0))
    share = (column - before) / (after - before).clamp(min=1)
    return torch.where(observed, values, low + share.to(values.dtype) * (high - low))


def standard(values: Tensor, counted: Tensor, spare: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 1) of the counted values; 1 where they are all the same. (B, N) both.

    spare  subtracted from the count under the variance: 1 is the unbiased one
    """
    count = counted.sum(1, keepdim=True)
    mean = torch.where(counted, values, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
    square = torch.where(counted, values - mean, 0.0).square().sum(1, keepdim=True)
    deviation = (square / (count - spare).clamp(min=1)).sqrt()
    return mean, torch.where(deviation > 0, deviation, 1.0)


def standardised(values: Tensor, observed: Tensor) -> tuple[Windows, Tensor, Tensor]:
    """Contexts (B, C) in units of their own, float32 from column 0 on, with their means and deviations (B, 1)."""
    values = torch.where(observed, values, 0.0).double()
    mean, deviation = standard(values, observed)
    windows = windows_of((values - mean) / deviation, observed)
    return windows._replace(values=windows.values.float()), mean, deviation
