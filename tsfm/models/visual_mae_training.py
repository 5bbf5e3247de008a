"""What the model that draws exactly learns from: windows of which something is hidden, and what that was.

In most steps the last part of the windows is hidden, as in a forecast; else spans, points and, as an autoencoder of
images learns, patches. Most windows are folded at the period found in what is left of them, some at a random one. What
is drawn depends on the windows alone, whatever their units, so a run that was stopped goes on as it would have.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tsfm.models.visual_mae_config import VisualMAEConfig
from tsfm.models.visual_mae_sheets import Sheet, forecast_places, sheet_of

# B windows, L steps of a window, T steps asked for, K visible patches.

FORECASTS = 0.7  # share of steps that hide what comes last
CROPPED = 0.3  # share of those that show less of what comes before
RANDOM_PERIODS = 0.15  # share of windows
LONGEST_RANDOM = 200
PATCHES = 0.5  # share of the other steps that hide patches too, and of the patches then hidden
SHORTEST = 16  # steps of context


@dataclass(frozen=True)
class Lesson:
    """What is drawn, and what it should say.

    columns  of pixels, from the left, that show the sheet; visible (B, K) patches of them, None: all
    when     (T,) steps asked for, counted from the end of the sheet
    target   (B, T) in the units of the windows; counted (B, T)
    """

    sheet: Sheet
    columns: int
    visible: Tensor | None
    when: Tensor
    target: Tensor
    counted: Tensor


def lesson_of(config: VisualMAEConfig, values: Tensor, observed: Tensor) -> Lesson:
    """The lesson of windows (B, L)."""
    generator = generator_of(values, observed)
    forecast = float(torch.rand(1, generator=generator)) < FORECASTS
    return (ahead if forecast else within)(config, values, observed, generator)


def generator_of(values: Tensor, observed: Tensor) -> torch.Generator:
    """Random numbers that depend on where the windows rise, and on what was observed of them."""
    rising = (values.diff(dim=1) > 0) & observed[:, 1:]
    weight = torch.arange(1, rising.numel() + 1, device=values.device).view_as(rising)
    return torch.Generator().manual_seed(int((rising * weight).sum() + observed.sum()) % 2**62)


def ahead(config: VisualMAEConfig, values: Tensor, observed: Tensor, generator: torch.Generator) -> Lesson:
    """Windows whose last steps are to be forecast: one to half of them, log-uniformly."""
    length = values.shape[1]
    horizon = log_uniform(1, max(1, min(config.one_pass, length // 2)), generator)
    cut = length - horizon
    first = 0
    if float(torch.rand(1, generator=generator)) < CROPPED:
        first = cut - log_uniform(min(SHORTEST, cut), cut, generator)
    past, seen = values[:, first:cut], observed[:, first:cut]
    sheet = folded_anyhow(config, past, seen, horizon, generator)
    columns, when = forecast_places(config, horizon, values.device)
    return Lesson(sheet, columns, None, when, values[:, cut:], observed[:, cut:])


def within(config: VisualMAEConfig, values: Tensor, observed: Tensor, generator: torch.Generator) -> Lesson:
    """Windows of which spans, points and perhaps patches are to be filled."""
    side = config.side
    values, observed = values[:, -config.longest_gap_filled :], observed[:, -config.longest_gap_filled :]
    batch, length = values.shape
    hidden = gaps(batch, length, generator).to(values.device)
    sheet = folded_anyhow(config, values, observed & ~hidden, 0, generator)
    visible = None
    if float(torch.rand(1, generator=generator)) < PATCHES:
        order = torch.rand(batch, side**2, generator=generator).argsort(1).to(values.device)
        visible = order[:, : side**2 - int(side**2 * PATCHES)]
        shown = torch.zeros(batch, side**2, dtype=torch.bool, device=values.device).scatter_(1, visible, True)
        hidden = hidden | ~shown.gather(1, patch_of(sheet.fold, length, config))
        season = torch.ones(batch, dtype=torch.int64, device=values.device)
        sheet = sheet_of(config, values, observed & ~hidden, season, 0, sheet.chosen, sheet.fold)
    when = torch.arange(-length, 0, device=values.device)
    return Lesson(sheet, config.image, visible, when, values, observed & hidden)


def folded_anyhow(
    config: VisualMAEConfig, values: Tensor, observed: Tensor, horizon: int, generator: torch.Generator
) -> Sheet:
    """The sheet of windows folded at their period, some of them at a random one instead."""
    batch, length = values.shape
    season = torch.ones(batch, dtype=torch.int64, device=values.device)
    sheet = sheet_of(config, values, observed, season, horizon)
    draws = torch.rand(2, batch, generator=generator).to(values.device)
    most = max(1, min(LONGEST_RANDOM, length // 2))
    anyhow = torch.exp(draws[0] * math.log(most)).long().clamp(1, most)
    other = draws[1] < RANDOM_PERIODS
    period = torch.where(other, anyhow, sheet.chosen[0])
    strength = torch.where(other, 0.0, sheet.chosen[1])
    return sheet_of(config, values, observed, season, horizon, (period, strength))


def gaps(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Steps to hide (B, L): two spans, log-uniform up to a third of the window, or a share of single steps."""
    place = torch.arange(length)
    hidden = torch.zeros(batch, length, dtype=torch.bool)
    for _ in range(2):
        draws = torch.rand(2, batch, 1, generator=generator)
        width = torch.exp(draws[0] * math.log(max(2.0, length / 3)))
        start = draws[1] * (length + width) - width
        hidden |= (place >= start) & (place < start + width)
    share = 0.7 * torch.rand(batch, 1, generator=generator)
    points = torch.rand(batch, length, generator=generator) < share
    single = torch.rand(batch, 1, generator=generator) < 0.4
    return torch.where(single, points, hidden)


def patch_of(fold: Tensor, length: int, config: VisualMAEConfig) -> Tensor:
    """The patch (B, L) that each step of a sheet is drawn in, where the whole image shows it."""
    when = torch.arange(-length, 0, device=fold.device)
    column = torch.div(when, fold[:, None], rounding_mode="floor")
    phase = when - column * fold[:, None]
    row = (((phase + 0.5) * config.image / fold[:, None]) / config.patch_size).long().clamp(0, config.side - 1)
    across = ((column + config.image).clamp(min=0) // config.patch_size).clamp(0, config.side - 1)
    return row * config.side + across


def log_uniform(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number between two, small ones as often as large ones."""
    draw = float(torch.rand(1, generator=generator))
    return min(high, int(low * ((high + 1) / low) ** draw))
