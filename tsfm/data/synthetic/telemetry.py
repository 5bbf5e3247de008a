"""Metrics of computers: baselines, scheduled jobs, bursts, caps, leaks with resets, deployments, silence."""

import torch
from torch import Tensor

from tsfm.data.synthetic.calendar import hourly_composite
from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.noise import power_law, short_noise
from tsfm.data.synthetic.scans import last_event, linear_recurrence, standardise, two_state_chain

# B series, T steps.


def it_telemetry(draws: Draws, rows: int, length: int) -> Drawn:
    """Sums of a few parts: each row has some of them, at least a baseline."""
    clock = torch.arange(length, device=draws.device)
    period = draws.log_uniform(6.0, float(length), rows, 1)
    known = torch.tensor([12.0, 24.0, 60.0, 96.0, 144.0, 288.0, 360.0, 720.0, 1440.0, 2016.0], device=draws.device)
    listed = known[draws.integer(0, len(known) - 1, rows, 1)]
    period = torch.lerp(period, listed, draws.chance(0.6, rows, 1))
    has = draws.chance(torch.tensor([0.55, 0.5, 0.2, 0.3, 0.35], device=draws.device), rows, 5)
    baseline = power_law(draws, draws.uniform(0.2, 2.2, rows, 1), length) * draws.log_uniform(0.02, 0.5, rows, 1)
    values = baseline + short_noise(draws, rows, length) * draws.log_uniform(0.01, 0.3, rows, 1)
    values += _jobs(draws, clock, period) * has[:, :1]
    values += _bursts(draws, rows, length) * has[:, 1:2]
    leaking = torch.nonzero(has[:, 2]).flatten()
    if len(leaking):
        values[leaking] += _leak(draws, len(leaking), length, period[leaking])
    used = torch.nonzero(has[:, 4]).flatten()
    if len(used):
        daily = hourly_composite(draws, len(used), length, tag=2)
        values[used] += standardise(daily.values) * draws.log_uniform(0.3, 2.0, len(used), 1)
        period[used] = torch.where(has[used, :1] > 0, period[used], daily.period.unsqueeze(1))
    deployed = draws.chance(draws.uniform(1.0, 6.0, rows, 1) / length, rows, length)
    values += (deployed * draws.normal(rows, length)).cumsum(1) * has[:, 3:4]
    seasonal = (has[:, 0] + has[:, 4]).clamp_max(1.0)
    return Drawn(_limits(draws, values), period[:, 0] * seasonal)


def _jobs(draws: Draws, clock: Tensor, period: Tensor) -> Tensor:
    """(B, T) narrow pulses every `period`, of varying size, each late by a little; some are skipped."""
    rows = len(period)
    time = clock / period + draws.uniform(0.0, 1.0, rows, 1)
    cycle = time.floor().long()
    cycles = int(cycle.max()) + 1
    late = draws.uniform(0.0, 1.0, rows, cycles) * draws.log_uniform(0.001, 0.2, rows, 1)
    size = draws.log_normal(1.0, draws.log_uniform(0.02, 0.6, rows, 1), rows, cycles)
    size *= draws.chance(draws.uniform(0.85, 1.0, rows, 1), rows, cycles)
    width = torch.maximum(draws.log_uniform(0.01, 0.4, rows, 1), 1.2 / period)
    inside = (time - cycle - late.gather(1, cycle)) / width
    on = ((inside >= 0.0) & (inside < 1.0)).float()
    tail = torch.lerp(torch.ones_like(inside), (-3.0 * inside).exp(), draws.chance(0.35, rows, 1))
    return on * tail * size.gather(1, cycle) * draws.log_uniform(0.5, 4.0, rows, 1)


def _bursts(draws: Draws, rows: int, length: int) -> Tensor:
    """(B, T) shot noise in clusters: a busy state, jumps in it, and a geometric decay of 1.5 to 60 steps."""
    busy = two_state_chain(
        draws.log_uniform(0.001, 0.02, rows, 1),
        draws.log_uniform(0.01, 0.2, rows, 1),
        draws.uniform(0.0, 1.0, rows, length),
    )
    rate = draws.log_uniform(0.0005, 0.01, rows, 1) + busy * draws.log_uniform(0.02, 0.4, rows, 1)
    jumps = draws.chance(rate, rows, length) * draws.log_normal(0.7, 0.8, rows, length)
    decay = (-1.0 / draws.log_uniform(1.5, 60.0, rows, 1)).exp()
    return linear_recurrence(decay, jumps)


def _leak(draws: Draws, rows: int, length: int, period: Tensor) -> Tensor:
    """(B, T) sawtooth: growth since the last reset, at regular or random times."""
    clock = torch.arange(length, device=draws.device)
    regular = ((clock / period).frac() < 1.0 / period).float()
    random = draws.chance(draws.log_uniform(1.0, 30.0, rows, 1) / length, rows, length)
    reset = torch.lerp(regular, random, draws.chance(0.6, rows, 1))
    growth = (1.0 + 0.8 * draws.normal(rows, length)).clamp_min(0.0).cumsum(1)
    since = growth - growth.gather(1, last_event(reset))
    return since / since.amax(1, keepdim=True).clamp_min(1e-6) * draws.log_uniform(0.7, 4.0, rows, 1)


def _limits(draws: Draws, values: Tensor) -> Tensor:
    """Non-negative for most rows, capped for some, silent at times for a few."""
    rows, length = values.shape
    lowest = values.amin(1, keepdim=True)
    values = values - lowest * draws.uniform(0.3, 1.3, rows, 1)
    values = torch.lerp(values, values.clamp_min(0.0), draws.chance(0.85, rows, 1))
    top = values.amax(1, keepdim=True)
    cap = torch.lerp(top, values.mean(1, keepdim=True), draws.uniform(0.3, 0.9, rows, 1))
    values = torch.minimum(values, torch.lerp(top, cap, draws.chance(0.15, rows, 1)))
    silent = draws.rows(0.12, rows)
    if len(silent):
        enter, leave = draws.log_uniform(3e-4, 0.01, len(silent), 1), draws.log_uniform(0.005, 0.1, len(silent), 1)
        values[silent] *= 1.0 - two_state_chain(enter, leave, draws.uniform(0.0, 1.0, len(silent), length))
    return values
