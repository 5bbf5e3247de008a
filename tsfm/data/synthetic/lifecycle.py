"""Epidemics and product life cycles: waves of growth, and what has accumulated, from the first case on.

Logistic and Gompertz curves and the model of Bass (1969), wave after wave, reported as counts with a weekly rhythm.
"""

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.scans import cell_of_circle, standardise

# B series, T steps.


def life_cycle(draws: Draws, rows: int, length: int) -> Drawn:
    """Half cumulative totals, half increments; zero before the outbreak for many."""
    clock = torch.arange(length, device=draws.device, dtype=torch.float32)
    incidence = _waves(draws, clock, rows)
    weekly = cell_of_circle(
        draws.normal(rows, 7) * draws.uniform(0.0, 0.5, rows, 1), (clock.expand(rows, -1) + 0.5) / 7.0
    )
    has_week = draws.chance(0.35, rows, 1)
    incidence = incidence * (weekly * has_week).exp()
    noisy = draws.log_normal(1.0, draws.log_uniform(0.01, 0.4, rows, 1), rows, length)
    total = draws.log_uniform(300.0, 3e6, rows, 1)
    rate = incidence * noisy / incidence.sum(1, keepdim=True).clamp_min(1e-12) * total
    counted = draws.negative_binomial(rate, draws.log_uniform(1e-3, 0.3, rows, 1))
    events = torch.lerp(rate, counted, draws.chance(0.75, rows, 1))
    outbreak = draws.uniform(0.0, 0.3 * length, rows, 1) * draws.chance(0.35, rows, 1)
    events = events * (clock >= outbreak)
    cumulative = events.cumsum(1)
    values = torch.lerp(events, cumulative, draws.chance(0.55, rows, 1))
    return Drawn(values, 7.0 * has_week[:, 0])


def _waves(draws: Draws, clock: Tensor, rows: int) -> Tensor:
    """(B, T) new cases a step: one wave after another, each with its own height, width and moment.

    The typical distance of two waves is log-uniform, 25 steps to twice the length, so some rows show a single take-off.
    """
    length = len(clock)
    spacing = draws.log_uniform(25.0, 2.0 * length, rows, 1)
    position = clock / spacing + draws.uniform(0.0, 1.0, rows, 1)
    cycle = position.floor()
    waves = int(length / 25) + 5
    width = (draws.log_uniform(0.03, 0.2, rows, 1) * draws.log_normal(1.0, 0.3, rows, waves)).clamp_max(0.2)
    moment = draws.uniform(0.0, 1.0, rows, waves)
    swell = draws.normal(rows, 1) * torch.arange(waves, device=draws.device).sub(waves / 2) * 0.2
    height = draws.log_normal(1.0, draws.uniform(0.2, 1.4, rows, 1), rows, waves) * swell.clamp(-3.0, 3.0).exp()
    kind = draws.pick((0.45, 0.35, 0.2), rows)
    total = torch.zeros(rows, length, device=draws.device)
    for neighbour in (-1, 0, 1):
        index = (cycle + (neighbour + 1)).long()
        time = (position - cycle - neighbour - moment.gather(1, index)) / width.gather(1, index)
        total.addcmul_(_wave(time.clamp(-30.0, 30.0), kind), height.gather(1, index))
    floor = draws.log_uniform(1e-5, 0.01, rows, 1) * draws.chance(0.4, rows, 1)
    return total + floor


def _wave(time: Tensor, kind: Tensor) -> Tensor:
    """(B, T) rate of new cases around `time` 0: logistic (0), Gompertz with its long tail (1), Bass (2)."""
    up = time.sigmoid()
    curve = up * (1.0 - up)
    rows = torch.nonzero(kind == 1).flatten()
    if len(rows):
        fast = (-time[rows].clamp_min(-6.0)).exp()
        curve[rows] = fast * (-fast).exp()
    rows = torch.nonzero(kind == 2).flatten()
    if len(rows):
        # Innovators buy at once, imitators follow them.
        curve[rows] = (4.0 * time[rows]).sigmoid() * (0.3 + up[rows]) * (1.0 - up[rows]) * 0.5
    return curve


def growth_curve(draws: Draws, rows: int, length: int) -> Drawn:
    """Smooth growth without counting noise: one exponential, saturating or doubling curve with a little noise."""
    clock = torch.arange(length, device=draws.device) / length
    rate = draws.log_uniform(1.0, 30.0, rows, 1)
    exponential = (rate * (clock - 1.0)).exp()
    saturating = 1.0 - (-rate * clock).exp()
    sigmoid = torch.sigmoid(rate * (clock - draws.uniform(0.1, 1.2, rows, 1)))
    power = (clock + 1.0 / length).log().mul(draws.uniform(0.3, 4.0, rows, 1)).exp()
    kind = draws.pick((0.25, 0.25, 0.3, 0.2), rows)
    curve = standardise(
        torch.stack([exponential, saturating, sigmoid, power])[kind, torch.arange(rows, device=draws.device)]
    )
    noise = draws.normal(rows, length) * draws.log_uniform(3e-4, 0.05, rows, 1)
    return Drawn(curve + noise, torch.zeros(rows, device=draws.device))
