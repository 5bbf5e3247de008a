"""Sensors that drift: a slow random walk, a weak daily season, plateaus, rounding, changes of gain and offset.

Such series (oil of a transformer, weather, air quality) have an obvious clock and a level that it does not explain.
"""

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import DAILY, cycles, draw_tags
from tsfm.data.synthetic.noise import fourier_profile, power_law, short_noise, slow_path
from tsfm.data.synthetic.scans import autoregress, hold, on_circle, standardise, two_state_chain

# B series, T steps.


def sensor_drift(draws: Draws, rows: int, length: int) -> Drawn:
    """Level that drifts or slowly reverts, with a season of 5 to 60 % of the variance and the faults of instruments."""
    tags = draw_tags(draws, rows, 0, DAILY + 1)
    day, _, year = cycles(tags).unbind(1)
    period = torch.where(day > 0, day, year)
    clock = torch.arange(length, device=draws.device)
    # The variance of a walk over one period against that of the season is what makes the season weak.
    beta = draws.uniform(1.5, 2.6, rows, 1)
    drift = power_law(draws, beta, length)
    reverting = draws.rows(0.35, rows)
    if len(reverting):
        memory = draws.uniform(0.5, 4.0, len(reverting), 1) * period[reverting, None].clamp_max(length / 4)
        drift[reverting] = autoregress(draws.normal(len(reverting), length), (-1.0 / memory).exp())
    phase = clock / period.unsqueeze(1) + draws.uniform(0.0, 1.0, rows, 1)
    season = on_circle(fourier_profile(draws, rows, 64, 4), phase)
    season = season * (slow_path(draws, rows, length, 128, 1.0) * draws.uniform(0.05, 0.6, rows, 1)).exp()
    share = draws.uniform(0.05, 0.6, rows, 1)
    values = drift * (1.0 - share).sqrt() + season * share.sqrt()
    values = values + short_noise(draws, rows, length) * draws.log_uniform(0.003, 0.25, rows, 1)
    return Drawn(_instrument(draws, standardise(values), length), period)


def _instrument(draws: Draws, values: Tensor, length: int) -> Tensor:
    """Faults of instruments, each on a share of the rows: gain and offset changes, stuck readings, coarse steps."""
    rows = len(values)
    shifts = draws.rows(0.2, rows)
    if len(shifts):
        change = draws.chance(draws.uniform(1.0, 4.0, len(shifts), 1) / length, len(shifts), length)
        offset = (change * draws.normal(len(shifts), length)).cumsum(1)
        gain = (change * draws.normal(len(shifts), length) * 0.3).cumsum(1).exp()
        values[shifts] = values[shifts] * gain + offset
    stuck = draws.rows(0.2, rows)
    if len(stuck):
        uniform = draws.uniform(0.0, 1.0, len(stuck), length)
        enter = draws.log_uniform(5e-4, 0.02, len(stuck), 1)
        is_stuck = two_state_chain(enter, draws.log_uniform(0.01, 0.3, len(stuck), 1), uniform)
        values[stuck] = hold(values[stuck], 1.0 - is_stuck)
    sparse = draws.rows(0.12, rows)
    if len(sparse):
        # A device that reports only now and then: its reading is held between reports.
        values[sparse] = hold(
            values[sparse], draws.chance(draws.uniform(0.1, 0.7, len(sparse), 1), len(sparse), length)
        )
    coarse = draws.rows(0.35, rows)
    if len(coarse):
        resolution = draws.log_uniform(0.003, 0.4, len(coarse), 1)
        values[coarse] = (values[coarse] / resolution).round() * resolution
    return values
