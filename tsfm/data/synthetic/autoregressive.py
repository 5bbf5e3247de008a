"""Linear processes in their usual parametrisations (seasonal ARIMA, exponential smoothing), and prices with GARCH.

The linear ones are filters, so each is one product in the frequency domain; a unit root enters as a root just inside
the circle of the padded transform or as a cumulative sum.
"""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import draw_tags, season_periods
from tsfm.data.synthetic.noise import bin_frequencies, padded_length
from tsfm.data.synthetic.scans import linear_recurrence, standardise

# B series, T steps, F frequency bins.


def linear_process(draws: Draws, rows: int, length: int) -> Drawn:
    """Seasonal ARIMA for six in ten rows, exponential smoothing in its innovations form for the rest."""
    points = padded_length(length)
    angle = 2 * math.pi * bin_frequencies(points, draws.device)
    tags = draw_tags(draws, rows)
    season = season_periods(draws, tags, 1, length).round()
    is_smoothing = draws.chance(0.4, rows)
    response = torch.empty(rows, len(angle), dtype=torch.complex64, device=draws.device)
    seasonal = draws.chance(0.65, rows)
    for smoothing, make in ((0.0, _sarima), (1.0, _smoothing)):
        chosen = torch.nonzero(is_smoothing == smoothing).flatten()
        if len(chosen):
            response[chosen] = make(draws, angle, season[chosen], seasonal[chosen].unsqueeze(1), length)
    innovations = draws.complex_normal(rows, len(angle))
    heavy = draws.rows(0.3, rows)
    if len(heavy):
        tails = draws.student(draws.uniform(2.5, 8.0, len(heavy), 1), len(heavy), points)
        innovations[heavy] = torch.fft.rfft(tails)
    values = standardise(torch.fft.irfft(innovations * response, n=points)[:, :length])
    integrated = draws.rows(0.2, rows)
    if len(integrated):
        # Exponential smoothing has its unit root already: those rows get the drift alone.
        drift = draws.normal(len(integrated), 1) * 0.015 * torch.arange(length, device=draws.device)
        rooted = is_smoothing[integrated].unsqueeze(1)
        values[integrated] = torch.lerp(values[integrated].cumsum(1), values[integrated], rooted) + drift
    twice = draws.rows(0.04, rows)
    if len(twice):
        values[twice] = standardise(values[twice]).cumsum(1)
    return Drawn(standardise(values), season[:, 0] * seasonal)


def _delay(angle: Tensor, steps: Tensor | float) -> Tensor:
    """z**-steps on the unit circle, (B, F) or (F,)."""
    turn = angle * steps
    return torch.complex(turn.cos(), -turn.sin())


def _sarima(draws: Draws, angle: Tensor, season: Tensor, seasonal: Tensor, length: int) -> Tensor:
    """(B, F) response of ARMA(p, q) x seasonal AR(1): up to two complex pairs or real roots, of radius .2 to .999."""
    rows = len(season)
    step, two_steps = _delay(angle, 1.0), _delay(angle, 2.0)
    response = torch.ones(rows, len(angle), dtype=torch.complex64, device=draws.device)
    for order in range(2):
        # Two roots near the circle would make every series a smooth curve.
        radius = 1.0 - draws.log_uniform(0.001 if order == 0 else 0.1, 0.9, rows, 1)
        turn = draws.uniform(0.0, math.pi, rows, 1) ** 2 / math.pi  # slow cycles more often than fast ones
        complex_pair = draws.chance(0.35, rows, 1)
        first = radius * torch.lerp(torch.ones_like(turn), 2.0 * turn.cos(), complex_pair)
        second = radius * radius * complex_pair
        wanted = torch.ones(rows, 1, device=draws.device) if order == 0 else draws.chance(0.5, rows, 1)
        response = response / (1.0 - wanted * first * step + wanted * second * two_steps)
    moving = draws.uniform(-0.9, 0.9, rows, 1) * draws.chance(0.4, rows, 1)
    response = response * (1.0 + moving * step)
    memory = (1.0 - draws.log_uniform(0.001, 0.4, rows, 1)) * seasonal
    return response / (1.0 - memory * _delay(angle, season))


def _smoothing(draws: Draws, angle: Tensor, season: Tensor, seasonal: Tensor, length: int) -> Tensor:
    """(B, F) response of damped additive Holt-Winters: error, level, damped slope and season of one innovation."""
    rows = len(season)
    step = _delay(angle, 1.0)
    level = draws.log_uniform(0.01, 0.6, rows, 1)
    slope = level * draws.log_uniform(0.005, 0.3, rows, 1) * draws.chance(0.5, rows, 1)
    damping = draws.uniform(0.8, 0.99, rows, 1)
    nearly_one = 1.0 - 0.5 / length
    cycle = draws.log_uniform(0.01, 0.4, rows, 1) * seasonal
    cycle_delay = _delay(angle, season)
    response = 1.0 + step * (level + slope / (1.0 - damping * step)) / (1.0 - nearly_one * step)
    fading = 1.0 - 0.5 * season / length
    return response + cycle * cycle_delay / (1.0 - fading.clamp_min(0.5) * cycle_delay)


def random_walk(draws: Draws, rows: int, length: int) -> Drawn:
    """Prices, rates and indices: drift, GARCH(1,1) with Student-t shocks, jumps; seven in ten as a geometric walk."""
    shock = draws.student(draws.uniform(2.5, 10.0, rows, 1), rows, length)
    shock = shock / shock.square().mean(1, keepdim=True).sqrt()
    persistence = draws.uniform(0.8, 0.999, rows, 1)
    reaction = torch.minimum(draws.uniform(0.02, 0.2, rows, 1), 0.9 * persistence)
    coefficient = reaction * shock.square().roll(1, dims=1) + (persistence - reaction)
    drive = (1.0 - persistence).expand(rows, length).clone()
    drive[:, 0] = 1.0
    variance = linear_recurrence(coefficient.clamp_max(4.0), drive).clamp(1e-3, 100.0)
    variance = torch.lerp(variance, torch.ones_like(variance), draws.chance(0.35, rows, 1))
    step = shock * variance.sqrt()
    jump = draws.chance(draws.log_uniform(3e-4, 0.01, rows, 1), rows, length) * draws.normal(rows, length) * 6.0
    step = step + jump * draws.chance(0.3, rows, 1)
    reverting = draws.rows(0.2, rows)
    walk = step.cumsum(1)
    if len(reverting):
        rate = 1.0 - draws.log_uniform(0.001, 0.05, len(reverting), 1)
        walk[reverting] = linear_recurrence(rate, step[reverting])
    clock = torch.arange(length, device=draws.device)
    walk = walk + clock * (draws.normal(rows, 1) * 0.04)
    size = draws.log_uniform(0.002, 0.05, rows, 1)
    geometric = (walk * size).clamp(-7.0, 7.0).exp()
    values = torch.lerp(standardise(walk), geometric, draws.chance(0.7, rows, 1))
    return Drawn(values, torch.zeros(rows, device=draws.device))
