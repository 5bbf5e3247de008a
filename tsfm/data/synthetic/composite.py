"""Trend, several seasons and noise, added or multiplied, with seasons that swell, slip and vanish."""

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import FREQUENCIES, draw_tags, season_periods, spans
from tsfm.data.synthetic.noise import growth_path, short_noise, slow_path, waveform_profile
from tsfm.data.synthetic.scans import on_circle, standardise, stretch

# B series, T steps, K knots.

CELLS = 96
SLOTS = 3


def multi_season_composite(draws: Draws, rows: int, length: int) -> Drawn:
    """A trend with none to three seasons; the second season is a multiple of the first for a third of the rows."""
    tags = draw_tags(draws, rows)
    periods = season_periods(draws, tags, SLOTS, length)
    ratio = draws.integer(2, 7, rows).float()
    periods[:, 1] = torch.lerp(periods[:, 1], periods[:, 0] * ratio, draws.chance(0.33, rows))
    amplitude = draws.log_uniform(0.15, 2.0, rows, SLOTS)
    amplitude *= draws.chance(torch.tensor([0.85, 0.5, 0.25], device=draws.device), rows, SLOTS)
    # What is counted once a year has cycles now and then, but no season.
    is_yearly = (tags == len(FREQUENCIES) - 1).float().unsqueeze(1)
    amplitude = amplitude * (1.0 - is_yearly * draws.chance(0.65, rows, 1))
    season = torch.zeros(rows, length, device=draws.device)
    for slot in range(SLOTS):
        wanted = torch.nonzero(amplitude[:, slot]).flatten()
        if len(wanted):
            season[wanted] += (
                _season(draws, periods[wanted, slot : slot + 1], length) * amplitude[wanted, slot : slot + 1]
            )
    trend = _trend(draws, rows, length, spans(draws, tags, length)) * draws.log_uniform(0.1, 4.0, rows, 1)
    trend = trend * draws.chance(0.8, rows, 1)
    noise = short_noise(draws, rows, length) * draws.log_uniform(0.01, 1.0, rows, 1)
    added = trend + season + noise
    multiplied = (0.7 * trend).clamp(-8.0, 8.0).exp() * (1.0 + 0.3 * season + 0.3 * noise)
    strongest = (amplitude * amplitude).argmax(1, keepdim=True)
    period = periods.gather(1, strongest)[:, 0] * (amplitude.amax(1) > 0).float()
    return Drawn(torch.lerp(added, multiplied, draws.chance(0.4, rows, 1)), period)


def _season(draws: Draws, period: Tensor, length: int) -> Tensor:
    """One season (B, T): a waveform, its amplitude modulated, its phase drifting, or gone for a while."""
    rows = len(period)
    phase = torch.arange(length, device=draws.device) / period + draws.uniform(0.0, 1.0, rows, 1)
    drifting = draws.rows(0.15, rows)
    if len(drifting):
        phase[drifting] += slow_path(draws, len(drifting), length) * draws.uniform(0.05, 0.6, len(drifting), 1)
    wave = on_circle(waveform_profile(draws, rows, CELLS), phase)
    modulated = draws.rows(0.4, rows)
    if len(modulated):
        wave[modulated] *= (0.35 * slow_path(draws, len(modulated), length, 64)).exp()
    gone = draws.rows(0.05, rows)
    if len(gone):
        clock = torch.arange(length, device=draws.device)
        start = draws.uniform(0.0, 0.8 * length, len(gone), 1)
        stop = start + draws.uniform(0.1 * length, length, len(gone), 1)
        wave[gone] *= 1.0 - ((clock >= start) & (clock < stop)).float()
    return wave


def _trend(draws: Draws, rows: int, length: int, span: Tensor) -> Tensor:
    """(B, T) trends of unit size: linear, exponential, logistic, piecewise, wandering slope, random walk."""
    knots = 129
    unit = torch.linspace(0.0, 1.0, knots, device=draws.device).expand(rows, knots)
    centred = (unit - draws.uniform(0.1, 0.9, rows, 1)) * draws.log_uniform(3.0, 40.0, rows, 1)
    rate = draws.uniform(1.0, 5.0, rows, 1)
    bends = draws.chance(draws.uniform(1.0, 6.0, rows, 1) / knots, rows, knots)
    bends[:, 0] = 1.0
    clock = torch.arange(knots, device=draws.device, dtype=torch.float32)
    latest = (bends * clock).cummax(1).values.long()
    slopes = draws.normal(rows, knots).gather(1, latest)
    shapes = torch.stack(
        [
            unit * 2.0 - 1.0,
            (rate * unit).exp() / rate.exp() * 3.0,
            torch.sigmoid(centred) * 2.0,
            standardise(slopes.cumsum(1)),
            standardise(draws.normal(rows, knots).cumsum(1)),
        ]
    )
    kind = draws.pick((0.25, 0.12, 0.15, 0.25, 0.23), rows)
    shaped = shapes[kind, torch.arange(rows, device=draws.device)]
    shaped = stretch(shaped * (2.0 * draws.chance(0.65, rows, 1) - 1.0), length)
    # Half of the trends act on the scale of a typical series of the rate, and so bend again and again in a long one.
    return torch.lerp(shaped, growth_path(draws, rows, length, span), draws.chance(0.5, rows, 1))
