"""Coloured noise, filters in the frequency domain, slow levels and cyclic profiles: what the families are built of."""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Draws
from tsfm.data.synthetic.scans import autoregress, standardise, stretch

# B series, T steps, F frequency bins, K knots or cells of a coarse grid.


def padded_length(length: int) -> int:
    """An even number of FFT points, at least half as long again as the series, with small factors only."""
    wanted = length + length // 2
    power = 1 << (wanted - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= wanted and power % 8 == 0 else max(power, 16)


def bin_frequencies(points: int, device: torch.device) -> Tensor:
    """(F,) frequencies of `rfft` in cycles a step."""
    return torch.arange(points // 2 + 1, device=device, dtype=torch.float32) / points


def draw_spectrum(draws: Draws, amplitude: Tensor, length: int) -> Tensor:
    """Standardised Gaussian series (B, T) whose spectral amplitude is `amplitude` (B, F), real or complex."""
    points = 2 * (amplitude.shape[1] - 1)
    series = torch.fft.irfft(draws.complex_normal(*amplitude.shape) * amplitude, n=points)
    return standardise(series[:, :length])


def power_law(draws: Draws, beta: Tensor, length: int) -> Tensor:
    """Standardised (B, T) noise with spectrum f**-beta; `beta` (B, 1): 0 white, 1 pink, 2 like a random walk."""
    points = padded_length(length)
    frequency = bin_frequencies(points, draws.device)
    frequency[0] = frequency[1]
    return draw_spectrum(draws, (frequency.log() * (-0.5 * beta)).exp(), length)


def ar1_noise(draws: Draws, rho: Tensor, length: int) -> Tensor:
    """Unit-variance (B, T) AR(1) noise; `rho` (B, 1)."""
    return autoregress(draws.normal(rho.shape[0], length), rho)


def short_noise(draws: Draws, rows: int, length: int) -> Tensor:
    """Unit-variance (B, T) measurement noise: white for half of the rows, else AR(1) to .97; some heavy-tailed."""
    innovations = draws.normal(rows, length)
    heavy = draws.rows(0.25, rows)
    if len(heavy):
        tails = draws.student(draws.uniform(3.0, 8.0, len(heavy), 1), len(heavy), length)
        innovations[heavy] = tails / tails.square().mean(1, keepdim=True).sqrt()
    coloured = draws.rows(0.5, rows)
    if len(coloured):
        innovations[coloured] = autoregress(innovations[coloured], draws.uniform(0.1, 0.97, len(coloured), 1))
    return innovations


def slow_path(draws: Draws, rows: int, length: int, knots: int = 32, beta: float | Tensor = 2.0) -> Tensor:
    """Standardised smooth-enough (B, T) wandering: power-law noise at a few knots, joined by straight lines."""
    exponent = beta if isinstance(beta, Tensor) else torch.full((rows, 1), beta, device=draws.device)
    return stretch(power_law(draws, exponent, knots), length)


def growth_path(draws: Draws, rows: int, length: int, span: Tensor) -> Tensor:
    """(B, T) integrated growth that never ends: an AR(1) slope, of order 1 over `span` (B, 1) steps, summed.

    A crop of `span` steps shows one trend with a bend or two, whatever the length of the series.
    """
    knots = max(4, min(length, 128))
    distance = length / knots
    rho = (-distance / span).exp()
    slope = ar1_noise(draws, rho, knots) * (distance / span)
    return stretch(slope.cumsum(1), length)


def fourier_profile(draws: Draws, rows: int, cells: int, harmonics: int = 6) -> Tensor:
    """Cyclic tables (B, K) of random Fourier series, weights h**-s with s in .3..2.2 a row, standardised."""
    order = torch.arange(1, harmonics + 1, device=draws.device, dtype=torch.float32)
    weight = (order.log() * -draws.uniform(0.3, 2.2, rows, 1)).exp()
    angle = 2 * math.pi * order.unsqueeze(1) * torch.arange(cells, device=draws.device) / cells  # (harmonics, K)
    waves = (draws.normal(rows, harmonics) * weight) @ angle.cos() + (
        draws.normal(rows, harmonics) * weight
    ) @ angle.sin()
    return standardise(waves)


def bump_profile(draws: Draws, rows: int, cells: int, bumps: int = 4) -> Tensor:
    """Cyclic tables (B, K) in 0..1: one to four von Mises bumps, kappa log-uniform in 1..60."""
    angle = 2 * math.pi * torch.arange(cells, device=draws.device) / cells
    centre = draws.uniform(0.0, 2 * math.pi, rows, bumps, 1)
    kappa = draws.log_uniform(1.0, 60.0, rows, bumps, 1)
    height = draws.uniform(0.2, 1.0, rows, bumps, 1)
    height[:, 1:] *= draws.chance(0.55, rows, bumps - 1, 1)
    table = (height * (kappa * ((angle - centre).cos() - 1.0)).exp()).sum(1)
    return table / table.amax(1, keepdim=True)


def waveform_profile(draws: Draws, rows: int, cells: int) -> Tensor:
    """Cyclic tables (B, K), standardised: sine, saw, square, trapezoid, half sine, lopsided bump, Fourier, steps."""
    phase = torch.arange(cells, device=draws.device).div(cells).expand(rows, cells)
    share = draws.uniform(0.1, 0.9, rows, 1)  # where the crest, or the jump, lies in the cycle
    sine = (2 * math.pi * phase).sin()
    saw = torch.minimum(phase / share, (1 - phase) / (1 - share))
    square = (phase < share).float()
    trapezoid = (2.5 * saw).clamp_max(1.0)
    bump = (phase.clamp_min(1e-4).log() * (4 * share) - 6 * phase).exp()
    steps = draws.normal(rows, 12).repeat_interleave(-(-cells // 12), dim=1)[:, :cells]
    shapes = torch.stack(
        [sine, saw, square, trapezoid, sine.clamp_min(0.0), bump, fourier_profile(draws, rows, cells), steps]
    )
    chosen = draws.pick((0.28, 0.1, 0.07, 0.08, 0.1, 0.1, 0.2, 0.07), rows)
    return standardise(shapes[chosen, torch.arange(rows, device=draws.device)])
