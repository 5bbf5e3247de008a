"""The period of a series, chosen by its autocorrelation and its spectrum together.

A lag is a candidate where the mean squared seasonal difference has a dip, whose depth is the autocorrelation there. A
multiple of a period has a dip as deep, so the share of the spectrum's power in a lag's own frequency and its first two
overtones votes too: that of a multiple is less. What the calendar says (`season`) is believed a little more than what
else fits as well. Series are taken without their straight line, and missing values need not be filled.
"""

import torch
from torch import Tensor

from tsfm.nn.lags import variogram

# B series, C context steps, L lags.

OVERTONES = 3  # of a lag's frequency, the first being itself
VOTE = 0.3  # what all of a spectrum's power counts against an autocorrelation of one
CALENDAR = 0.1  # what the calendar's season counts
SLACK = 0.03  # of what a longer period must fit better
WEAKEST = 0.1  # autocorrelation of a period that is one


def without_line(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, C) less the straight line of least squares through those observed, and their variance (B, 1)."""
    there = observed.double()
    count = there.sum(1, keepdim=True).clamp(min=1)
    time = torch.arange(values.shape[1], device=values.device, dtype=torch.float64)
    time = torch.where(observed, time - (there * time).sum(1, keepdim=True) / count, 0.0)
    values = torch.where(observed, values.double(), 0.0)
    centred = torch.where(observed, values - values.sum(1, keepdim=True) / count, 0.0)
    slope = (time * centred).sum(1, keepdim=True) / time.square().sum(1, keepdim=True).clamp(min=1)
    rest = centred - slope * time
    return rest, rest.square().sum(1, keepdim=True) / count


def spectral_votes(values: Tensor, longest: int) -> Tensor:
    """Share of the power in the frequency of each lag and its overtones; (B, C) -> (B, longest + 1), in [0, 1]."""
    size = 1 << (2 * values.shape[1]).bit_length()
    power = torch.fft.rfft(values, n=size).abs().square()
    blur = size // max(1, values.shape[1])  # bins of one peak of a series this long
    smooth = torch.nn.functional.avg_pool1d(power[:, None], 2 * blur + 1, 1, blur, count_include_pad=False)[:, 0]
    share = (2 * blur + 1) * smooth / power.sum(1, keepdim=True).clamp(min=1e-30)
    lags = torch.arange(longest + 1, device=values.device).clamp(min=2)
    order = torch.arange(1, OVERTONES + 1, device=values.device)[:, None]
    at = (order * size / lags).round().long()
    inside = at <= size // 2
    votes: Tensor = (share[:, at.clamp(max=size // 2)] * inside).sum(1).clamp(0, 1)
    return votes


def choose_period(values: Tensor, observed: Tensor, season: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Steps of each series' period (B,), 1 where it has none, and the autocorrelation there (B,).

    values (B, C) standardised, observed (B, C), season (B,) of the calendar, 1 where there is none; longest: a period

    A season that is too long for its repetition to be seen is believed as it is, where the series is as long.
    """
    longest = max(2, min(longest, values.shape[1] - 1))
    rest, variance = without_line(values, observed)
    difference, pairs = variogram(rest, observed, longest + 1)
    level = difference / (2 * variance.clamp(min=1e-12))  # (B, longest + 2)
    lags = torch.arange(longest + 2, device=values.device)
    enough = (pairs >= 6) & (pairs >= 0.75 * lags)
    inner = level[:, 1:-1]
    dip = (inner < level[:, :-2]) & (inner <= level[:, 2:]) & enough[:, 1:-1] & enough[:, 2:]
    own = lags[1:-1] == season[:, None]
    cost = inner * (1 + 3 / pairs[:, 1:-1].clamp(min=1).sqrt()) - VOTE * spectral_votes(rest, longest)[:, 1:]
    cost = cost - CALENDAR * own
    cost = torch.where((dip | (own & enough[:, 1:-1])) & (lags[1:-1] > 1), cost, torch.inf)  # lags 1 .. longest
    least = cost.min(1, keepdim=True).values
    sampled = 1 / observed.sum(1, keepdim=True).clamp(min=1).sqrt()  # error of an autocorrelation of noise
    found = (cost <= least + SLACK + sampled).to(torch.uint8).argmax(1) + 1  # the shortest that fits nearly as well
    strength = 1 - level.gather(1, found[:, None])[:, 0]
    chance = 3 / pairs.gather(1, found[:, None])[:, 0].clamp(min=1).sqrt()
    weakest = torch.where(found == season, WEAKEST, chance.clamp(min=WEAKEST))
    real = torch.isfinite(least[:, 0]) & (strength > weakest)
    first = observed.to(torch.uint8).argmax(1)
    length = values.shape[1] - first
    seen = enough.gather(1, season.clamp(1, longest)[:, None])[:, 0] & (season <= longest)
    believed = ~real & ~seen & (season > 1) & (season <= length)
    period = torch.where(real, found, torch.where(believed, season, torch.ones_like(found)))
    return period, torch.where(real, strength, torch.zeros_like(strength)).to(values.dtype)
