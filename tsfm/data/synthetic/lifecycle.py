"""Epidemics and product life cycles: waves of growth, and what has accumulated, from the first case on.

Logistic and Gompertz curves and the model of Bass (1969), several waves a series, reported as counts with a weekly rhythm.
"""

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.scans import cell_of_circle, standardise

# B series, W waves, T steps.

WAVES = 6


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
    total = draws.log_uniform(30.0, 1e6, rows, 1)
    rate = incidence * noisy / incidence.sum(1, keepdim=True).clamp_min(1e-12) * total
    counted = draws.negative_binomial(rate, draws.log_uniform(1e-3, 0.3, rows, 1))
    events = torch.lerp(rate, counted, draws.chance(0.75, rows, 1))
    outbreak = draws.uniform(0.0, 0.3 * length, rows, 1) * draws.chance(0.5, rows, 1)
    events = events * (clock >= outbreak)
    cumulative = events.cumsum(1)
    # Retirement of an installed base turns the S-curve of a product into a hump.
    values = torch.lerp(events, cumulative, draws.chance(0.55, rows, 1))
    return Drawn(values, 7.0 * has_week[:, 0])


def _waves(draws: Draws, clock: Tensor, rows: int) -> Tensor:
    """(B, T) new cases a step: one to six waves of log-uniform duration, 5 to length / 3 steps."""
    length = len(clock)
    size = (rows, WAVES, 1)
    scale = draws.log_uniform(2.5, max(length / 8, 8.0), rows, 1, 1) * draws.log_normal(1.0, 0.4, *size)
    centre = draws.uniform(-0.1 * length, 1.1 * length, *size)
    height = draws.log_normal(1.0, 1.0, *size)
    height[:, 1:] *= draws.chance(draws.uniform(0.0, 1.0, rows, 1, 1), rows, WAVES - 1, 1)
    time = ((clock - centre) / scale).clamp(-30.0, 30.0)
    up = time.sigmoid()
    logistic = up * (1.0 - up)
    fast = (-time.clamp_min(-6.0)).exp()
    gompertz = fast * (-fast).exp()
    # Bass: innovators start it at once, imitators carry it on.
    start = torch.sigmoid(4.0 * time)
    bass = start * (0.3 + up) * (1.0 - up) * 0.5
    kind = draws.pick((0.45, 0.35, 0.2), rows)
    curves = torch.stack([logistic, gompertz, bass])[kind, torch.arange(rows, device=draws.device)]
    floor = draws.log_uniform(1e-5, 0.02, rows, 1) * draws.chance(0.5, rows, 1)
    return (curves * height).sum(1) + floor


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
