"""RealTS: the synthetic series that ViTime learns from (Yang et al. 2024, arXiv 2407.07311, section on RealTS).

Two hypotheses of the paper, in seven laws with its probabilities. Periodic: inverse Fourier transforms of drawn spectra
(two kinds, three series in ten each), seasons of the clock, and sums of waves. Trend: random walks, logistic growth,
and waves of moving amplitude on a line. Half of the series run backwards in time.

The paper fits the Gaussian magnitudes and phases of its spectra to real sets and does not publish the fits, so here
their means follow laws that such sets are known for: a power of the frequency (kind 1), and peaks at the harmonics of
one or two seasons over such a floor (kind 2). All parameters not named in the paper are ours.
"""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import draw_tags, season_periods
from tsfm.data.synthetic.noise import bin_frequencies, padded_length
from tsfm.data.synthetic.scans import standardise

# B series, T steps, F frequency bins, K waves.


def realts(draws: Draws, rows: int, length: int) -> Drawn:
    """Series of the seven laws of RealTS in their published shares."""
    values = torch.empty(rows, length, device=draws.device)
    period = torch.empty(rows, device=draws.device)
    law = draws.pick([share for share, _ in LAWS], rows)
    for index, (_, make) in enumerate(LAWS):
        chosen = torch.nonzero(law == index).flatten()
        if len(chosen):
            drawn = make(draws, len(chosen), length)
            values[chosen], period[chosen] = standardise(drawn.values), drawn.period
    backwards = draws.chance(0.5, rows).bool()
    return Drawn(torch.where(backwards[:, None], values.flip(1), values), period)


def random_walk(draws: Draws, rows: int, length: int) -> Drawn:
    """RWB: sums of Gaussian steps around a small drift."""
    steps = draws.normal(rows, length) + 0.05 * draws.normal(rows, 1)
    return Drawn(steps.cumsum(1), torch.zeros(rows, device=draws.device))


def seasons(draws: Draws, rows: int, length: int, slots: int = 2) -> Drawn:
    """Sines at the periods of a clock, such as a day and a week, with two harmonics each and some noise."""
    period = season_periods(draws, draw_tags(draws, rows), slots, length)
    values = 0.1 * draws.chance(0.5, rows, 1) * draws.normal(rows, length)
    for slot in range(slots):
        for harmonic in (1.0, 2.0, 3.0):
            amplitude = draws.normal(rows, 1) / harmonic / (slot + 1)
            values = values + amplitude * sine(draws, period[:, slot : slot + 1] / harmonic, length)
    return Drawn(values, period[:, 0])


def periodic_waves(draws: Draws, rows: int, length: int, waves: int = 5) -> Drawn:
    """PWB: one to five sines, saws and squares of any frequency, amplitude and phase."""
    values = torch.zeros(rows, length, device=draws.device)
    amplitude = draws.uniform(0.2, 1.0, rows, waves)
    amplitude[:, 1:] *= draws.chance(0.5, rows, waves - 1)
    period = draws.log_uniform(4.0, max(8.0, length / 2), rows, waves)
    for wave in range(waves):
        phase = cycles(draws, period[:, wave : wave + 1], length)
        shapes = torch.stack([(2 * math.pi * phase).sin(), 2 * phase.frac() - 1, (phase.frac() < 0.5) * 2.0 - 1])
        kind = draws.pick((0.6, 0.2, 0.2), rows)
        values = values + amplitude[:, wave : wave + 1] * shapes[kind, torch.arange(rows, device=draws.device)]
    return Drawn(values, period.gather(1, amplitude.argmax(1, keepdim=True))[:, 0])


def trend_waves(draws: Draws, rows: int, length: int) -> Drawn:
    """TWDB: a line, and on it a sine whose amplitude swells and fades."""
    time = torch.linspace(0.0, 1.0, length, device=draws.device)
    period = draws.log_uniform(6.0, max(12.0, length / 2), rows, 1)
    swell = 1 + draws.uniform(0.0, 0.9, rows, 1) * sine(draws, period * draws.uniform(3.0, 20.0, rows, 1), length)
    wave = sine(draws, period, length) * swell * draws.log_uniform(0.05, 1.0, rows, 1)
    return Drawn(2 * draws.normal(rows, 1) * time + wave, period[:, 0])


def logistic_growth(draws: Draws, rows: int, length: int) -> Drawn:
    """LGB: K / (1 + exp(-r (t - t0))), begun and ended anywhere, with a little noise."""
    time = torch.linspace(0.0, 1.0, length, device=draws.device)
    growth = torch.sigmoid(draws.log_uniform(3.0, 40.0, rows, 1) * (time - draws.uniform(-0.1, 1.1, rows, 1)))
    noise = draws.log_uniform(1e-3, 0.1, rows, 1) * draws.normal(rows, length)
    return Drawn(standardise(growth) + noise, torch.zeros(rows, device=draws.device))


def smooth_spectrum(draws: Draws, rows: int, length: int) -> Drawn:
    """IFFTB of kind 1: magnitudes around a power of the frequency, phases of any angle."""
    frequency = bin_frequencies(padded_length(length), draws.device).clamp_min(1.0 / length)
    magnitude = (frequency.log() * -draws.uniform(0.3, 1.5, rows, 1)).exp()
    return Drawn(inverse_transform(draws, magnitude, length), torch.zeros(rows, device=draws.device))


def peaked_spectrum(draws: Draws, rows: int, length: int) -> Drawn:
    """IFFTB of kind 2: peaks at the harmonics of one or two seasons, over a floor that falls with the frequency."""
    frequency = bin_frequencies(padded_length(length), draws.device).clamp_min(1.0 / length)
    magnitude = 0.01 * (frequency.log() * -draws.uniform(0.1, 0.7, rows, 1)).exp()
    period = draws.log_uniform(4.0, max(8.0, length / 4), rows, 2)
    width = draws.log_uniform(0.3, 2.0, rows, 1) / length
    for slot in range(2):
        strength = draws.log_uniform(0.3, 3.0, rows, 1) * (draws.chance(0.5, rows, 1) if slot else 1.0)
        for harmonic in (1, 2, 3, 4):
            place = harmonic / period[:, slot : slot + 1]
            peak = (-(((frequency - place) / width) ** 2) / 2).exp()
            magnitude = magnitude + peak * strength * draws.uniform(0.2, 1.0, rows, 1) / harmonic
    return Drawn(inverse_transform(draws, magnitude, length), period[:, 0])


def inverse_transform(draws: Draws, mean: Tensor, length: int) -> Tensor:
    """(B, T) from spectra whose magnitudes are Gaussian around `mean` (B, F) with a third of it as their deviation."""
    magnitude = mean * (1 + draws.normal(*mean.shape) / 3).clamp_min(0.0)
    spectrum = torch.polar(magnitude, draws.uniform(0.0, 2 * math.pi, *mean.shape))
    series: Tensor = torch.fft.irfft(spectrum)[:, :length]
    return series


def cycles(draws: Draws, period: Tensor, length: int) -> Tensor:
    """(B, T) cycles gone by at each step, from a random phase on; period (B, 1)."""
    return torch.arange(length, device=draws.device) / period + draws.uniform(0.0, 1.0, len(period), 1)


def sine(draws: Draws, period: Tensor, length: int) -> Tensor:
    """(B, T) of a period (B, 1) and a random phase."""
    return (2 * math.pi * cycles(draws, period, length)).sin()


LAWS = (
    (0.08, random_walk),
    (0.08, seasons),
    (0.08, periodic_waves),
    (0.08, trend_waves),
    (0.08, logistic_growth),
    (0.3, smooth_spectrum),
    (0.3, peaked_spectrum),
)
