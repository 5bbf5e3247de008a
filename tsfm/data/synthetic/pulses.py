"""Pulses, spikes and steps; and rivers: rain in bursts, fast and slow recession, skewed and long in memory."""

import math

import torch

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.noise import power_law, short_noise, slow_path
from tsfm.data.synthetic.scans import hold, linear_recurrence, two_state_chain

# B series, T steps.


def pulses_and_steps(draws: Draws, rows: int, length: int) -> Drawn:
    """A third each: periodic pulses, random steps, periodic anomalies on a base."""
    values = torch.empty(rows, length, device=draws.device)
    period = torch.zeros(rows, device=draws.device)
    kind = draws.pick((1.0, 1.0, 1.0), rows)
    for index, make in enumerate((_periodic_pulses, _random_steps, _anomalies)):
        chosen = torch.nonzero(kind == index).flatten()
        if len(chosen):
            drawn = make(draws, len(chosen), length)
            values[chosen], period[chosen] = drawn.values, drawn.period
    return Drawn(values, period)


def _periodic_pulses(draws: Draws, rows: int, length: int) -> Drawn:
    """Trapezoids or triangles every 16 to length / 8 steps (rise, flat top, fall), on noise, white to brown."""
    period = draws.log_uniform(8.0, max(length / 8, 16.0), rows, 1)
    width = torch.maximum(draws.uniform(0.05, 1.0, rows, 1), 4.0 / period)
    phase = (torch.arange(length, device=draws.device) / period + draws.uniform(0.0, 1.0, rows, 1)).frac() / width
    rise, fall = draws.uniform(0.02, 0.5, rows, 1), draws.uniform(0.02, 0.5, rows, 1)
    pulse = torch.minimum(phase / rise, (1.0 - phase) / fall).clamp(0.0, 1.0)
    pulse = pulse * (slow_path(draws, rows, length) * draws.uniform(0.0, 0.5, rows, 1)).exp()
    noise = power_law(draws, draws.uniform(0.0, 2.0, rows, 1), length) * draws.log_uniform(0.01, 0.4, rows, 1)
    sign = 2.0 * draws.chance(0.7, rows, 1) - 1.0
    return Drawn(sign * draws.uniform(0.5, 3.0, rows, 1) * pulse + noise, period[:, 0])


def _random_steps(draws: Draws, rows: int, length: int) -> Drawn:
    """Levels held for random times: of a few values, of any value, or by small moves up and down."""
    change = draws.chance(draws.log_uniform(2.0, 100.0, rows, 1) / length, rows, length)
    change[:, 0] = 1.0
    few = draws.normal(rows, 4).gather(1, draws.integer(0, 3, rows, length))
    any_value = draws.normal(rows, length)
    moves = (change * draws.normal(rows, length)).cumsum(1) * 0.5
    kind = draws.pick((0.35, 0.3, 0.35), rows)
    level = torch.stack([hold(few, change), hold(any_value, change), moves])[
        kind, torch.arange(rows, device=draws.device)
    ]
    ramp = draws.rows(0.3, rows)
    if len(ramp):
        decay = (-1.0 / draws.log_uniform(2.0, 40.0, len(ramp), 1)).exp()
        level[ramp] = linear_recurrence(decay, level[ramp] * (1.0 - decay))
    noise = short_noise(draws, rows, length) * draws.log_uniform(0.005, 0.4, rows, 1)
    return Drawn(level + noise, torch.zeros(rows, device=draws.device))


def _anomalies(draws: Draws, rows: int, length: int) -> Drawn:
    """Spikes at a period of 20 to 300 steps, of correlated size, on quiet coloured noise."""
    period = draws.log_uniform(20.0, 300.0, rows, 1)
    cycle = torch.arange(length, device=draws.device) / period + draws.uniform(0.0, 1.0, rows, 1)
    turns = int(length / 20) + 3
    size = linear_recurrence(torch.full((rows, 1), 0.7, device=draws.device), draws.normal(rows, turns)) * 0.3 + 1.5
    at = (cycle.frac() < 1.01 / period).float()
    lasting = linear_recurrence((-1.0 / draws.log_uniform(0.3, 8.0, rows, 1)).exp(), at * size.gather(1, cycle.long()))
    base = power_law(draws, draws.uniform(0.0, 2.0, rows, 1), length) * draws.log_uniform(0.02, 0.5, rows, 1)
    sign = 2.0 * draws.chance(0.75, rows, 1) - 1.0
    return Drawn(base + sign * lasting * draws.log_uniform(0.5, 3.0, rows, 1), period[:, 0])


def river_flow(draws: Draws, rows: int, length: int) -> Drawn:
    """Rain in wet spells and by season, through a quick and a slow reservoir: sharp rises, slow recession."""
    clock = torch.arange(length, device=draws.device)
    year = torch.tensor([365.25, 52.18, 8766.0, 12.0], device=draws.device)[
        draws.pick((0.6, 0.2, 0.1, 0.1), rows)
    ].unsqueeze(1)
    strength = draws.uniform(0.0, 1.5, rows, 1)
    season = (2 * math.pi * (clock / year + draws.uniform(0.0, 1.0, rows, 1))).sin() * strength
    slow_weather = slow_path(draws, rows, length, max(16, length // 16), 1.0) * draws.uniform(0.1, 0.6, rows, 1)
    wet = two_state_chain(
        draws.log_uniform(0.01, 0.2, rows, 1), draws.uniform(0.1, 0.5, rows, 1), draws.uniform(0.0, 1.0, rows, length)
    )
    chance = draws.log_uniform(0.005, 0.1, rows, 1) + wet * draws.uniform(0.2, 0.8, rows, 1)
    rain = draws.chance(chance, rows, length) * draws.log_normal(1.0, draws.uniform(0.6, 1.4, rows, 1), rows, length)
    rain = rain * (season + slow_weather).exp()
    quick = (-1.0 / draws.log_uniform(0.7, 12.0, rows, 1)).exp()
    slow = (-1.0 / draws.log_uniform(15.0, 300.0, rows, 1)).exp()
    share = draws.uniform(0.1, 0.7, rows, 1)
    flow = (
        linear_recurrence(quick, rain) * (1.0 - quick) * (1.0 - share)
        + linear_recurrence(slow, rain) * (1.0 - slow) * share
    )
    # A hydrograph rises within a step or two, not at once.
    rising = draws.uniform(0.0, 0.7, rows, 1)
    flow = linear_recurrence(rising, flow * (1.0 - rising))
    flow = flow * (short_noise(draws, rows, length) * draws.log_uniform(0.003, 0.08, rows, 1)).exp()
    power = draws.uniform(0.8, 1.5, rows, 1)
    flow = (flow.clamp_min(1e-9).log() * power).exp() + draws.uniform(0.0, 0.3, rows, 1)
    return Drawn(flow, (year * (year < length) * (strength > 0.4))[:, 0])
