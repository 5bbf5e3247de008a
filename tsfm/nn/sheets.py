"""Series drawn exactly: one column of pixels a column of steps, whatever each series' own period.

VisionTS stretches the periods of a context over pixels, so that a forecast blends neighbouring periods. Here a column
of pixels holds one fold of a series, a period or a few of them, and only rows are resampled: a row is a share of the
fold. Resampling is a product with a matrix of weights that are positive and sum to one, so what is not observed simply
weighs nothing, and quantiles that are drawn in order are read back in order.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

# B series, T steps, L steps of the longest fold, S rows of pixels, K columns, M maps, P steps of a period.

CYCLES = 3  # looked back and ahead for the copies of a step


def fold_of(period: Tensor, length: Tensor, horizon: int, shown: int, hidden: int, rows: int) -> Tensor:
    """Steps of a column (B,): the fewest periods by which the series fits into the columns `shown` and the horizon into
    those `hidden`, as long as a column has no more steps than rows."""
    needed = torch.maximum((length + shown - 1) // shown, torch.full_like(length, -(-horizon // max(1, hidden))))
    times = torch.minimum((needed + period - 1) // period, rows // period).clamp(min=1)
    return times * period


def resampling(fold: Tensor, rows: int, longest: int) -> tuple[Tensor, Tensor]:
    """Weights of the steps of a fold in each row of pixels (B, S, L), and of the rows in each step (B, L, S).

    A triangle as wide as the coarser of both: linear interpolation one way, averaging the other.
    """
    step = torch.arange(longest, device=fold.device)
    row = torch.arange(rows, device=fold.device)
    ratio = fold[:, None].float() / rows
    in_steps = ((row + 0.5) * ratio - 0.5).clamp(min=0)
    in_steps = torch.minimum(in_steps, fold[:, None] - 1.0)[..., None]  # (B, S, 1)
    down = (1 - (in_steps - step).abs() / ratio.clamp(min=1)[..., None]).clamp(min=0) * (step < fold[:, None, None])
    in_rows = (((step + 0.5) / ratio) - 0.5).clamp(0, rows - 1)[..., None]  # (B, L, 1)
    up = (1 - (in_rows - row).abs() / (1 / ratio).clamp(min=1)[..., None]).clamp(min=0)
    return down / down.sum(-1, keepdim=True), up / up.sum(-1, keepdim=True)


def draw(values: Tensor, observed: Tensor, fold: Tensor, columns: int, down: Tensor) -> Tensor:
    """Images (B, M, S, K) of the last K folds of right-aligned series, and the share observed as the last map.

    values (B, M, T) zero where not observed, observed (B, T), down as `resampling` gives it
    """
    steps = torch.arange(down.shape[2], device=values.device)[:, None]
    column = columns - torch.arange(columns, device=values.device)
    at = values.shape[-1] - column * fold[:, None, None] + steps  # (B, L, K)
    there = (at >= 0) & (steps < fold[:, None, None])
    at = at.clamp(0, values.shape[-1] - 1).flatten(1)
    seen = (observed.gather(1, at).view(there.shape) & there).to(values.dtype)
    share = down @ seen  # (B, S, K)
    taken = values.gather(2, at[:, None].expand(-1, values.shape[1], -1)).unflatten(2, there.shape[1:])
    drawn = (down[:, None] @ (taken * seen[:, None])) / share.clamp(min=1e-6)[:, None]
    return torch.cat([drawn, share[:, None]], 1)


def read(maps: Tensor, up: Tensor, fold: Tensor, first: int, when: Tensor) -> Tensor:
    """What maps (B, M, S, K) say of steps; (B, M, T). Column `first` begins at step 0, `when` (T,) counts from there.

    Steps that lie left of the first column are said to be what stands in it.
    """
    columns = up[:, None] @ maps  # (B, M, L, K)
    column = torch.div(when, fold[:, None], rounding_mode="floor")  # (B, T)
    at = (when - column * fold[:, None]) * maps.shape[-1] + (column + first).clamp(0, maps.shape[-1] - 1)
    return columns.flatten(2).gather(2, at[:, None].expand(-1, maps.shape[1], -1))


class Copies(NamedTuple):
    """What stands around each step; (B, T) and (B, T, 3).

    anchor   the straight line between its observed neighbours, level beyond the last of them
    others   relative to the anchor: the same phase of the nearest period, the mean of a few periods, and how far the
             anchor's own steps lie above what their phases said; 0 where that is unknown
    """

    anchor: Tensor
    others: Tensor


def copies_of(values: Tensor, observed: Tensor, period: Tensor, horizon: int = 0) -> Copies:
    """The copies of every step of series (B, C), and of `horizon` steps after it."""
    steps = values.shape[1]
    time = torch.arange(steps + horizon, device=values.device)
    ahead = ((time - steps) // period[:, None] + 1).clamp(min=1)  # periods back to the newest that can be known
    sources = [time - (ahead + cycle) * period[:, None] for cycle in range(CYCLES)]
    sources += [time + (1 + cycle) * period[:, None] for cycle in range(CYCLES)]
    total, weight = torch.zeros_like(sources[0], dtype=values.dtype), torch.zeros_like(sources[0], dtype=values.dtype)
    nearest, known = torch.zeros_like(total), torch.zeros_like(weight)
    for cycle in range(CYCLES):  # before and after alike
        newly, found = torch.zeros_like(total), torch.zeros_like(weight)
        for source in (sources[cycle], sources[CYCLES + cycle]):
            at = source.clamp(0, steps - 1)
            here = (observed.gather(1, at) & (source >= 0) & (source < steps)).to(values.dtype)
            newly, found = newly + values.gather(1, at) * here, found + here
        nearest = torch.where((known == 0) & (found > 0), newly / found.clamp(min=1), nearest)
        known, total, weight = known + found, total + newly, weight + found
    mean, there = total / weight.clamp(min=1), known > 0
    before, after, share = neighbours(observed, horizon)
    anchor = torch.lerp(values.gather(1, before), values.gather(1, after), share)
    lag = torch.where(there[:, :steps] & observed, values - nearest[:, :steps], 0.0)
    above = torch.lerp(lag.gather(1, before), lag.gather(1, after), share)
    others = torch.stack([nearest - anchor, mean - anchor, above], -1)
    return Copies(anchor, torch.where(there[..., None], others, 0.0))


def neighbours(observed: Tensor, horizon: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Places of the observed steps next before and after each step (B, T), itself where it is one, and how far between.

    Where there is none on one side both are that of the other.
    """
    steps = observed.shape[1]
    column = torch.arange(steps, device=observed.device).expand_as(observed)
    before = torch.where(observed, column, -1).cummax(1).values
    after = torch.where(observed, column, steps).flip(1).cummin(1).values.flip(1)
    before, after = (
        torch.where(before < 0, after, before).clamp(max=steps - 1),
        torch.where(after == steps, before, after).clamp(min=0),
    )
    share = ((column - before) / (after - before).clamp(min=1)).clamp(0, 1)
    last = before[:, -1:].expand(-1, horizon)
    before, after = torch.cat([before, last], 1), torch.cat([after, last], 1)
    return before, after, torch.cat([share, torch.zeros_like(last, dtype=share.dtype)], 1)


def stretches(length: int, longest: int) -> list[tuple[int, int, int, int]]:
    """Parts of a series that an image holds, (start, stop), and the steps of each that are read, (low, high).

    Parts overlap by half, and a step is read where it lies nearest to the middle.
    """
    if length <= longest:
        return [(0, length, 0, length)]
    starts = [*range(0, length - longest, longest // 2), length - longest]
    edges = [0, *((one + longest + other) // 2 for one, other in pairwise(starts)), length]
    return [(start, start + longest, edges[place], edges[place + 1]) for place, start in enumerate(starts)]
