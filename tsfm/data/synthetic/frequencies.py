"""Frequency tags and their calendar periods in steps.

The probabilities follow the mix of frequencies in the GIFT-Eval benchmark (Aksu et al. 2024): hourly first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Draws

# B series.


@dataclass(frozen=True)
class Frequency:
    """One sampling rate: its share, its calendar cycles in steps (0 below two steps) and other periods seen at it."""

    name: str
    share: float
    day: float
    week: float
    year: float
    others: tuple[float, ...]


FREQUENCIES: tuple[Frequency, ...] = (
    Frequency("10S", 0.06, 8640.0, 60480.0, 0.0, (6, 30, 60, 90, 180, 360, 720, 4320)),
    Frequency("1T", 0.04, 1440.0, 10080.0, 0.0, (5, 10, 15, 30, 60, 120, 240, 720)),
    Frequency("5T", 0.10, 288.0, 2016.0, 0.0, (6, 12, 24, 36, 72, 144, 576)),
    Frequency("10T", 0.05, 144.0, 1008.0, 52596.0, (6, 12, 18, 36, 72, 288)),
    Frequency("15T", 0.10, 96.0, 672.0, 35064.0, (4, 8, 16, 24, 32, 48, 192)),
    Frequency("30T", 0.03, 48.0, 336.0, 17532.0, (4, 8, 12, 16, 24, 96)),
    Frequency("H", 0.27, 24.0, 168.0, 8766.0, (6, 8, 12, 12.4206, 24.8412, 48, 336, 354.37, 730.5)),
    Frequency("D", 0.15, 0.0, 7.0, 365.25, (3.5, 14, 28, 30.4375, 91.3125, 182.625)),
    Frequency("W", 0.09, 0.0, 0.0, 52.18, (4.348, 8.7, 13.045, 26.09, 104.36)),
    Frequency("M", 0.07, 0.0, 0.0, 12.0, (3, 4, 6, 24, 36, 60)),
    Frequency("Q", 0.02, 0.0, 0.0, 4.0, (2, 8, 16, 20)),
    Frequency("A", 0.02, 0.0, 0.0, 0.0, (3, 5, 7, 9, 11)),
)

DAILY = 7  # index of the first tag with no cycle inside a day
SHARES = tuple(frequency.share for frequency in FREQUENCIES)
# The typical length of a real series at each rate, in steps: trends and regimes live on this scale, so that a short
# crop of a long monthly series still looks like a monthly series.
TYPICAL_SPAN = (4000.0, 4000.0, 4000.0, 3000.0, 3000.0, 3000.0, 3000.0, 1200.0, 400.0, 150.0, 80.0, 50.0)


def draw_tags(draws: Draws, rows: int, low: int = 0, high: int = len(FREQUENCIES)) -> Tensor:
    """(B,) indices into `FREQUENCIES`, by share, among the tags low..high-1."""
    return draws.pick(SHARES[low:high], rows) + low


def cycles(tags: Tensor) -> Tensor:
    """(B, 3) steps in a day, a week and a year; 0 where the rate has no such cycle."""
    table = torch.tensor([[each.day, each.week, each.year] for each in FREQUENCIES], device=tags.device)
    return table[tags]


def spans(draws: Draws, tags: Tensor, length: int) -> Tensor:
    """(B, 1) steps over which trends act: log-uniform around the typical length of the rate, within 16..2 * length."""
    typical = torch.tensor(TYPICAL_SPAN, device=tags.device)[tags].unsqueeze(1)
    return (typical * draws.log_uniform(0.3, 2.0, len(tags), 1)).clamp(16.0, 2.0 * length)


def season_periods(draws: Draws, tags: Tensor, slots: int, length: int) -> Tensor:
    """(B, slots) periods in steps: 60 % from the calendar of the tag, 40 % log-uniform from 3 up.

    The free ones end at half of the length, or of a typical series of the tag if that is shorter. The main cycles of
    the calendar weigh most, and no period exceeds the length, as it could not be seen as a season.
    """
    choices = torch.zeros(len(FREQUENCIES), 12)
    weights = torch.zeros(len(FREQUENCIES), 12)
    for row, each in enumerate(FREQUENCIES):
        main = [period for period in (each.day, each.week, each.year) if 2.0 <= period <= length]
        others = [period for period in each.others if period <= length]
        listed = [*main, *others] or [length / 4]
        choices[row, : len(listed)] = torch.tensor(listed)
        weights[row, : len(listed)] = torch.tensor([4.0] * len(main) + [1.0] * (len(listed) - len(main)))
    choices, weights = choices.to(tags.device), weights.to(tags.device)
    cell = torch.multinomial(weights[tags], slots, replacement=True, generator=draws.generator)
    listed_period = choices[tags].gather(1, cell)
    longest = torch.tensor(TYPICAL_SPAN, device=tags.device)[tags].clamp_max(float(length)).unsqueeze(1) / 2.0
    free_period = 3.0 * (longest / 3.0).clamp_min(1.5) ** draws.uniform(0.0, 1.0, len(tags), slots)
    return torch.lerp(free_period, listed_period, draws.chance(0.6, len(tags), slots))
