"""Regime-switching Ornstein-Uhlenbeck processes with stochastic volatility.

Parameter ranges follow the TempoPFN prior (Moroshan et al. 2025). The step is exact,
x' = m + (x - m) exp(-theta dt) plus noise of the exact variance, so the process is a linear recurrence with random
coefficients and needs no loop over time.
"""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import draw_tags, season_periods, spans
from tsfm.data.synthetic.noise import growth_path
from tsfm.data.synthetic.scans import linear_recurrence, two_state_chain

# B series, T steps.


def regime_switching(draws: Draws, rows: int, length: int) -> Drawn:
    """Two regimes, calm around a low mean and volatile around a high one, on a trend with seasons and breaks."""
    chain = two_state_chain(
        1.0 - _staying(draws, rows), 1.0 - _staying(draws, rows), draws.uniform(0.0, 1.0, rows, length)
    )
    step = draws.log_uniform(0.003, 0.3, rows, 1)  # time between steps, in units of the rates below
    pull = torch.lerp(draws.uniform(1.0, 5.0, rows, 1), draws.uniform(0.05, 0.5, rows, 1), chain)
    centre = torch.lerp(draws.normal(rows, 1) - 2.0, draws.normal(rows, 1) + 2.0, chain)
    sigma = torch.lerp(draws.log_normal(0.3, 0.3, rows, 1), draws.log_normal(1.5, 0.5, rows, 1), chain)
    tags = draw_tags(draws, rows)
    seasons, period = _seasons(draws, tags, length)
    centre = centre + seasons + _trend(draws, tags, length)
    volatility_memory = (-draws.uniform(0.5, 5.0, rows, 1) * step).exp()
    volatility = linear_recurrence(volatility_memory, draws.normal(rows, length) * (1.0 - volatility_memory**2).sqrt())
    sigma = sigma * (volatility * draws.uniform(0.1, 0.6, rows, 1)).exp()
    decay = (-pull * step).exp()
    drive = (1.0 - decay) * centre + sigma * ((1.0 - decay * decay) / (2.0 * pull)).sqrt() * draws.normal(rows, length)
    drive[:, 0] = centre[:, 0] + sigma[:, 0] * draws.normal(rows)
    values = linear_recurrence(decay, drive)
    return Drawn(values + draws.uniform(0.0, 0.1, rows, 1) * draws.normal(rows, length), period)


def _staying(draws: Draws, rows: int) -> Tensor:
    """(B, 1) chance to stay in a regime: dwell times from 7 to 1,000 steps, log-uniform."""
    return 1.0 - draws.log_uniform(0.001, 0.15, rows, 1)


def _seasons(draws: Draws, tags: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """(B, T) sum of none to two sinusoids with drifting amplitude, and (B,) the period of the first (0 if none)."""
    rows = len(tags)
    periods = season_periods(draws, tags, 2, length)
    wanted = draws.chance(0.5, rows, 1) * torch.cat(
        [torch.ones(rows, 1, device=draws.device), draws.chance(0.4, rows, 1)], dim=1
    )
    amplitude = draws.uniform(0.5, 3.0, rows, 2) * wanted
    clock = torch.arange(length, device=draws.device)
    total = torch.zeros(rows, length, device=draws.device)
    for slot in range(2):
        angle = clock * (2 * math.pi / periods[:, slot : slot + 1]) + draws.uniform(0.0, 2 * math.pi, rows, 1)
        swell = 1.0 + (clock / length) * draws.uniform(-0.6, 1.0, rows, 1)
        total.addcmul_(angle.sin() * swell, amplitude[:, slot : slot + 1])
    return total, periods[:, 0] * wanted[:, 0]


def _trend(draws: Draws, tags: Tensor, length: int) -> Tensor:
    """(B, T) trend of the mean for seven in ten rows, with up to three breaks of one to five units."""
    rows = len(tags)
    trend = growth_path(draws, rows, length, spans(draws, tags, length)) * draws.uniform(0.3, 3.0, rows, 1)
    breaks = draws.chance(draws.uniform(0.0, 3.0, rows, 1) / length, rows, length)
    size = draws.uniform(1.0, 5.0, rows, length) * draws.normal(rows, length).sign()
    return (trend + (breaks * size).cumsum(1)) * draws.chance(0.7, rows, 1)
