"""Stationary Gaussian processes drawn by one inverse FFT instead of a Cholesky factor.

The spectral density is a sum of smooth parts (power laws, Matern), combs at a period and its harmonics, whose line
width makes them quasi-periodic, and a band-pass; three in ten series multiply two such draws.
"""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import draw_tags, season_periods
from tsfm.data.synthetic.noise import bin_frequencies, draw_spectrum, padded_length

# B series, T steps, F frequency bins.


def spectral_process(draws: Draws, rows: int, length: int) -> Drawn:
    """Gaussian processes of random spectra, standardised."""
    extra = max(1, round(0.3 * rows))
    points = padded_length(length)
    frequency = bin_frequencies(points, draws.device)
    frequency[0] = 0.5 * frequency[1]
    tags = draw_tags(draws, rows + extra)
    periods = season_periods(draws, tags, 2, length)
    density, has_season = _density(draws, frequency, periods, points, length)
    series = draw_spectrum(draws, density.sqrt(), length)
    first, second = series[:extra], series[rows:]
    depth = draws.uniform(0.3, 1.0, extra, 1)
    modulated = first * (1.0 + depth * second)
    grown = first * (depth * second.clamp(-4.0, 4.0)).exp()
    series[:extra] = torch.lerp(modulated, grown, draws.chance(0.3, extra, 1))
    return Drawn(series[:rows], (periods[:, 0] * has_season)[:rows])


def _density(draws: Draws, frequency: Tensor, periods: Tensor, points: int, length: int) -> tuple[Tensor, Tensor]:
    """(B, F) spectral density, and (B,) 1.0 where the comb of the first period has a part in it."""
    rows = periods.shape[0]
    weight = draws.log_normal(1.0, 1.0, rows, 4, 1) * draws.chance(0.6, rows, 4, 1)
    season = draws.uniform(0.5, 3.0, rows, 1) * draws.chance(0.7, rows, 1)
    rough = _smooth_part(frequency, draws.uniform(0.0, 1.6, rows, 1), 1.0 / length)
    smooth = _smooth_part(
        frequency, draws.uniform(1.6, 5.0, rows, 1), 1.0 / draws.log_uniform(8.0, 4.0 * length, rows, 1)
    )
    density = rough * (weight[:, 0] * 0.3 + 1e-4) + smooth * weight[:, 1]
    density.addcmul_(_comb(draws, frequency, periods[:, :1], points), season)
    chosen = draws.rows(0.4, rows)
    if len(chosen):
        density[chosen] += _comb(draws, frequency, periods[chosen, 1:], points) * weight[chosen, 2]
    chosen = draws.rows(0.1, rows)
    if len(chosen):
        density[chosen] += _band(draws, frequency, len(chosen)) * weight[chosen, 3]
    return density, (season[:, 0] > 0).float()


def _smooth_part(frequency: Tensor, beta: Tensor, corner: Tensor | float) -> Tensor:
    """Matern-like density of unit power: flat below `corner`, f**-beta above it."""
    ratio = frequency / corner
    density = ((ratio * ratio).log1p() * (-0.5 * beta)).exp()
    return density / density.sum(1, keepdim=True)


def _comb(draws: Draws, frequency: Tensor, period: Tensor, points: int) -> Tensor:
    """Lines at up to eight harmonics of 1 / period, of unit power, each as wide as its relative width says."""
    rows = period.shape[0]
    order = frequency * period
    nearest = order.round()
    harmonics = draws.integer(1, 8, rows, 1)
    width = draws.log_uniform(1e-4, 0.05, rows, 1) * nearest
    # A line cannot be narrower than the resolution of the transform.
    width = (width * width + (0.4 * period / points) ** 2).sqrt()
    decay = (nearest.clamp_min(1.0).log() * -draws.uniform(0.6, 3.0, rows, 1)).exp()
    inside = ((nearest >= 1.0) & (nearest <= harmonics)).to(frequency.dtype)
    density = inside * decay / width * (-0.5 * ((order - nearest) / width) ** 2).exp()
    return density / density.sum(1, keepdim=True).clamp_min(1e-12)


def _band(draws: Draws, frequency: Tensor, rows: int) -> Tensor:
    """A log-normal bump of unit power around a random frequency."""
    centre = draws.log_uniform(0.003, 0.4, rows, 1).log()
    density = (-0.5 * ((frequency.log() - centre) / draws.log_uniform(0.05, 0.7, rows, 1)) ** 2).exp() / frequency
    return density / density.sum(1, keepdim=True)


def white_noise(draws: Draws, rows: int, length: int) -> Drawn:
    """Independent noise, Gaussian or heavy-tailed: the series that tell a model to say "no signal"."""
    gaussian = draws.normal(rows, length)
    heavy = draws.student(draws.uniform(2.5, 10.0, rows, 1), rows, length)
    flat = draws.uniform(-math.sqrt(3.0), math.sqrt(3.0), rows, length)
    law = draws.pick((0.5, 0.3, 0.2), rows)
    return Drawn(
        torch.stack([gaussian, heavy, flat])[law, torch.arange(rows, device=draws.device)],
        torch.zeros(rows, device=draws.device),
    )


def constant(draws: Draws, rows: int, length: int) -> Drawn:
    """Series that never change, and some that change once: a model must not divide by their spread."""
    level = draws.normal(rows, 1).expand(rows, length)
    late = (torch.arange(length, device=draws.device) > draws.uniform(0.0, length, rows, 1)).float()
    return Drawn(
        level + late * draws.normal(rows, 1) * draws.chance(0.25, rows, 1), torch.zeros(rows, device=draws.device)
    )
