"""Seasonal lags estimated causally, and the copies of the past that they point to.

A patch decoder sees a season of 24 through patches of 32 only out of phase. So every token is also given what a
seasonal naive forecaster would say of its next patch, for the best lag in each of three ranges (short: a week of days,
a day of hours; middle: a day of minutes, a week of hours, a year of weeks; long), and how well each lag has explained
the series so far. Lags are chosen at a few prefix ends (`boundaries`); a token uses the newest one that is not after
it, so nothing leaks and no token loses its supervision. The criterion is the mean squared seasonal difference (the
variogram), read off FFTs.

Related: the computed periodicity of TinyCast (2025) and the phase features of TempoPFN (2025).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tsfm.nn.scaling import Scale, squash

# B series, N patches, P patch length, S lag ranges, C points of a prefix.

LAG_RANGES: tuple[tuple[int, int], ...] = ((2, 32), (32, 256), (256, 1025))  # half open, in steps
CYCLES = 3  # cycles back that the averaged copy looks
FIRST_BOUNDARY = 4  # patches; before it no lag is tried
LADDER = tuple(sorted({1, *(part << step for step in range(16) for part in (2, 3))}))  # 1, 2, 3, 4, 6, 8, 12, 16, ...


def default_boundaries(patches: int) -> list[int]:
    """Ascending prefix ends (in patches) at which lags are estimated: the end, and 4, 12, 28, ... patches before it.

    They count from the end, so that padding before a series moves none of them.
    """
    ends = [patches - FIRST_BOUNDARY * ((1 << step) - 1) for step in range(20)]
    return [end for end in reversed(ends) if end > 0]


def variogram(values: Tensor, observed: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Mean squared difference at every lag up to `longest`, and the number of pairs behind it.

    values (B, C) zero where not observed, observed (B, C) -> (B, longest + 1) each, in float64: which lag is best must
    not hang on the rounding of a longer transform.
    """
    values = values.double()
    size = 1 << (values.shape[1] + longest).bit_length()
    mask = observed.to(values.dtype)
    spectra = torch.fft.rfft(torch.stack([mask, values, values * values]), n=size)  # (3, B, size / 2 + 1)
    ones, first, second = spectra
    pairs = torch.fft.irfft(ones * ones.conj(), n=size)[:, : longest + 1].round()
    cross = 2 * (second * ones.conj()).real - 2 * first * first.conj()
    # second * conj(ones) sums x[t]^2 over pairs ahead, its conjugate over pairs behind; together they are twice the
    # real part, an even sequence whose positive lags are wanted.
    total = torch.fft.irfft(cross, n=size)[:, : longest + 1]
    return total / pairs.clamp(min=1), pairs


def best_lags(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """The lag of least seasonal difference in each range, 0 where there is none, and its strength.

    values (B, C) squashed, zero where not observed; observed (B, C)
    returns lag (B, S) int64, strength (B, S + 1): 1 - difference / (2 variance), 0 without a lag; the last column is
    that of lag one, which tells rough from smooth.
    """
    longest = min(LAG_RANGES[-1][1], max(2, 2 * values.shape[1] // 3))
    difference, pairs = variogram(values, observed, longest)
    count = observed.sum(1, keepdim=True).clamp(min=1)
    mean = values.sum(1, keepdim=True) / count
    variance = (torch.where(observed, values - mean, 0.0) ** 2).sum(1, keepdim=True) / count
    level = difference / (2 * variance.clamp(min=1e-6))  # (B, longest + 1)
    lags = torch.arange(longest + 1, device=values.device)
    enough = (pairs >= 6) & (pairs >= 0.5 * lags + 1.5)  # so the neighbours of a lag exist too, however long C is
    inner = level[:, 1:-1]
    dip = (inner < level[:, :-2]) & (inner <= level[:, 2:]) & enough[:, 1:-1]
    cost = inner * (1 + 3 / pairs[:, 1:-1].clamp(min=1).sqrt()) + 2e-4 * torch.log2(lags[1:-1])  # ties: the shorter
    cost = torch.where(dip, cost, torch.inf)  # lags 1 .. longest - 1
    chosen, strengths = [], []
    for low, high in LAG_RANGES:
        part = cost[:, low - 1 : high - 1]
        if part.shape[1] == 0:
            chosen.append(torch.zeros_like(lags[:1]).expand(len(values)))
            strengths.append(torch.zeros_like(level[:, 0]))
            continue
        least, where = part.min(1)
        found = torch.isfinite(least)
        chosen.append(torch.where(found, where + low, 0))
        strengths.append(torch.where(found, 1 - least, 0.0))
    strengths.append(torch.where(enough[:, 1], 1 - level[:, 1], 0.0))
    return torch.stack(chosen, 1), torch.stack(strengths, 1).clamp(-1, 1).to(values.dtype)


def causal_lags(
    values: Tensor, observed: Tensor, scale: Scale, boundaries: Sequence[int], tokens: int
) -> tuple[Tensor, Tensor]:
    """Lag and strength of every range for each of `tokens` tokens, from the newest boundary not after it.

    values, observed (B, N, P); boundaries in patches, ascending; tokens >= N (the rest look at the future)
    returns lag (B, tokens, S), strength (B, tokens, S + 1)
    """
    slots = len(LAG_RANGES)
    lag = torch.zeros(values.shape[0], tokens, slots, dtype=torch.int64, device=values.device)
    strength = torch.zeros(values.shape[0], tokens, slots + 1, device=values.device)
    for end in boundaries:
        loc, spread = scale.loc[:, end - 1, None], scale.scale[:, end - 1, None]
        seen = observed[:, :end].flatten(1)
        prefix = torch.where(seen, torch.asinh((values[:, :end].flatten(1) - loc) / spread), 0.0)
        found, strong = best_lags(prefix, seen)
        lag[:, end - 1 :], strength[:, end - 1 :] = found[:, None], strong[:, None]
    return lag, strength


def lags_since_start(
    values: Tensor, observed: Tensor, scale: Scale, tokens: int, first: int = 0
) -> tuple[Tensor, Tensor]:
    """As `causal_lags`, for tokens from `first` on, at the boundaries of `LADDER`, counted from where a series begins.

    Later values move no boundary, so what a stream has read stays as it was read. In the longest gap between two
    boundaries a third of the series is newer than the lags.
    returns lag (B, tokens - first, S), strength (B, tokens - first, S + 1)
    """
    patches = values.shape[1]
    begun = observed.any(-1).to(torch.uint8).argmax(1, keepdim=True)  # (B, 1)
    at = begun + torch.arange(patches, device=values.device)  # (B, N), counted from there
    inside = at < patches
    at = at.clamp(max=patches - 1)
    rows = torch.arange(len(values), device=values.device)[:, None]
    values, observed = values[rows, at], observed[rows, at] & inside[..., None]
    age = torch.arange(first + 1, tokens + 1, device=values.device) - begun  # (B, tokens - first) patches so far
    slots = len(LAG_RANGES)
    lag = torch.zeros(*age.shape, slots, dtype=torch.int64, device=values.device)
    strength = torch.zeros(*age.shape, slots + 1, dtype=values.dtype, device=values.device)
    oldest, newest = int(age[:, 0].min()), min(int(age[:, -1].max()), patches - int(begun.min()))
    for end, following in pairwise(LADDER):
        if following <= oldest or end > newest:
            continue
        place = at[:, end - 1 : end]
        loc, spread = scale.loc.gather(1, place), scale.scale.gather(1, place)
        seen = observed[:, :end].flatten(1)
        prefix = torch.where(seen, torch.asinh((values[:, :end].flatten(1) - loc) / spread), 0.0)
        found, strong = best_lags(prefix, seen)
        reached = ((age >= end) & (end <= patches - begun))[..., None]  # what looks ahead learns no more
        lag, strength = torch.where(reached, found[:, None], lag), torch.where(reached, strong[:, None], strength)
    return lag, strength


def known_steps(observed: Tensor) -> Tensor:
    """Steps up to the end of the newest patch with an observed value, for each token; (B, N, P) -> (B, N)."""
    patches, patch = observed.shape[1], observed.shape[2]
    end = torch.arange(1, patches + 1, device=observed.device) * patch
    return torch.where(observed.any(-1), end, 0).cummax(1).values


def seasonal_copies(
    values: Tensor, observed: Tensor, lag: Tensor, known: Tensor, tokens: int, first: int = 0
) -> tuple[Tensor, Tensor]:
    """What each lag says of the patch after every token: its latest cycle, and the mean of the last few cycles.

    Of T tokens, `first` to `tokens`.

    values    (B, N, P)  in the units of the series, zero where not observed
    observed  (B, N, P)
    lag       (B, T, S)  0: no lag
    known     (B, T)     steps known to each token, counted from the first column
    returns   copies (B, T, S, 2, P) and whether each rests on an observed value, same shape
    """
    batch, patches, patch = values.shape
    flat, seen = values.reshape(batch, -1), observed.reshape(batch, -1)
    steps = torch.arange(patch, device=values.device)
    target = (torch.arange(first + 1, tokens + 1, device=values.device) * patch)[:, None] + steps  # (T, P)
    ahead = (target[None] - known[..., None])[:, :, None]  # (B, T, 1, P) steps beyond what is known
    period = lag[..., None].clamp(min=1)
    latest = target[None, :, None] - (ahead // period + 1) * period  # (B, T, S, P)
    total = torch.zeros(latest.shape, dtype=values.dtype, device=values.device)
    weight = torch.zeros_like(total)
    recent = seen_recent = total
    for cycle in range(CYCLES):
        source = latest - cycle * period
        valid = (source >= 0) & (lag[..., None] > 0)
        at = source.clamp(0, patches * patch - 1).reshape(batch, -1)
        here = valid & seen.gather(1, at).view(latest.shape)
        value = torch.where(here, flat.gather(1, at).view(latest.shape), 0.0)
        if cycle == 0:
            recent, seen_recent = value, here
        total = total + value
        weight = weight + here
    mean = total / weight.clamp(min=1)
    return torch.stack([recent, mean], 3), torch.stack([seen_recent, weight > 0], 3)


def deviations(values: Tensor, observed: Tensor, scale: Scale, lag: Tensor, first: int = 0) -> Tensor:
    """How far each token's newest value lies above what each lag said of it, squashed; 0 where that is unknown.

    values, observed (B, N, P); scale and lag of T tokens from `first` on, of which those after N look at the future
    -> (B, T, S)
    """
    batch, patches, _ = values.shape
    flat, seen = values.flatten(1), observed.flatten(1)
    at = torch.where(seen, torch.arange(flat.shape[1], device=values.device), -1).view(values.shape).amax(-1)
    newest = at.cummax(1).values  # (B, N)
    newest = torch.cat([newest, newest[:, -1:].expand(-1, first + lag.shape[1] - patches)], 1)[:, first:]
    source = newest[..., None] - lag
    known = (source >= 0) & (lag > 0)
    there = source.clamp(min=0).reshape(batch, -1)
    known &= seen.gather(1, there).view(lag.shape)
    before = squash(flat.gather(1, there).view(lag.shape), scale)
    return torch.where(known, squash(scale.last[..., None], scale) - before, 0.0)


class CopyGates(nn.Module):
    """Shares of the seasonal copies, and of the newest value's distance to its own copies, that a token forecasts.

    What repeats exactly is so forecast exactly, which a network cannot learn to the last digit; one share of a copy
    with one of its deviation is the airline model of Box and Jenkins (1970). Gates begin at zero.
    """

    def __init__(self, width: int):
        super().__init__()
        self.lags = len(LAG_RANGES)
        self.gates = nn.Linear(width, 3 * self.lags)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)

    def forward(self, x: Tensor, copies: Tensor, deviations: Tensor) -> Tensor:
        """x (B, T, D), copies (B, T, 2 * S * P) relative to the newest value, deviations (B, T, S) -> (B, T, P)."""
        with torch.autocast(x.device.type, enabled=False):
            of_copies, of_deviations = self.gates(x.float()).split((2 * self.lags, self.lags), -1)
            copied = (of_copies[..., None] * copies.unflatten(-1, (2 * self.lags, -1))).sum(-2)
            moved: Tensor = copied + (of_deviations * deviations).sum(-1, keepdim=True)
        return moved
