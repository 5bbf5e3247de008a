"""Series made ready to be drawn exactly: their period and fold, their units, and what stands around each step."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.models.visual_mae_config import VisualMAEConfig
from tsfm.nn.periods import choose_period
from tsfm.nn.sheets import Copies, copies_of, draw, fold_of, resampling

# B series, C context steps, T steps with those after it, S pixels a side, K columns.

TRAITS = 6  # what no pixel tells
Chosen = tuple[Tensor, Tensor]  # period (B,) and its autocorrelation (B,)


@dataclass(frozen=True)
class Sheet:
    """Series in units of their own, and how they are folded.

    values    (B, C) arcsinh of the standardised values, 0 where not observed
    zoomed    (B, C) arcsinh of the distance to the newest value in units of the usual step from one to the next
    observed  (B, C)
    mean, deviation  (B, 1) of what is in sight
    usable    (B, 1) whether there are three values, not all the same
    chosen    period and its autocorrelation
    fold      (B,) steps of a column
    copies    of every step and of those after them
    traits    (B, 6)
    """

    values: Tensor
    zoomed: Tensor
    observed: Tensor
    mean: Tensor
    deviation: Tensor
    usable: Tensor
    chosen: Chosen
    fold: Tensor
    copies: Copies
    traits: Tensor

    def squashed(self, values: Tensor) -> Tensor:
        """Values (B, T) in the units that are drawn."""
        return torch.asinh((values - self.mean) / self.deviation)

    def unsquashed(self, squashed: Tensor) -> Tensor:
        """Inverse of `squashed`; (B, T, Q)."""
        return torch.sinh(squashed) * self.deviation[..., None] + self.mean[..., None]

    def drawn(self, columns: int, image: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) with the last `columns` folds on their left, and the weights by which steps are read."""
        down, up = resampling(self.fold, image, int(self.fold.max()))
        planes = draw(torch.stack([self.values, self.zoomed], 1), self.observed, self.fold, columns, down)
        return F.pad(planes, (0, image - columns)), up


def forecast_places(config: VisualMAEConfig, horizon: int, device: torch.device) -> tuple[int, Tensor]:
    """Columns of pixels that show the context, and the steps (H,) after it."""
    return config.shown_columns * config.patch_size, torch.arange(horizon, device=device)


def sheet_of(
    config: VisualMAEConfig,
    values: Tensor,
    observed: Tensor,
    season: Tensor,
    horizon: int,
    chosen: Chosen | None = None,
    fold: Tensor | None = None,
) -> Sheet:
    """The sheet of series (B, C) that are to be continued by a horizon, or by nothing to fill their gaps.

    season (B,) of the calendar; chosen, fold: what is known already
    """
    steps = values.shape[1]
    values = torch.where(observed, values, 0.0)
    mean, deviation, _ = standard(values, observed)
    if chosen is None:
        rough = torch.where(observed, torch.asinh((values - mean) / deviation), 0.0)
        chosen = choose_period(rough, observed, season, config.longest_period)
    shown = config.shown_columns * config.patch_size if horizon else config.image
    if fold is None:
        length = steps - observed.to(torch.uint8).argmax(1)
        fold = fold_of(chosen[0], length, horizon, shown, config.image - shown, config.image)
    sight = observed & (torch.arange(steps, device=values.device) >= steps - shown * fold[:, None])
    sight = torch.where(sight.any(1, keepdim=True), sight, observed)
    mean, deviation, usable = standard(values, sight)
    squashed = torch.where(observed, torch.asinh((values - mean) / deviation), 0.0)
    step, newest = usual_step(squashed, sight)
    zoomed = torch.where(observed, torch.asinh((squashed - newest) / step), 0.0)
    count = sight.sum(1, keepdim=True).float()
    traits = [
        fold[:, None].float().log2() / 8,
        chosen[0][:, None].float().log2() / 8,
        chosen[1][:, None].float(),
        step.log().clamp(-8, 2) / 4,
        count / torch.minimum(shown * fold, torch.full_like(fold, steps))[:, None],
        count.log2().clamp(min=0) / 12,
    ]
    copies = copies_of(squashed, observed, chosen[0], horizon)
    told = torch.cat(traits, 1)
    return Sheet(squashed, zoomed / 2, observed, mean, deviation, usable, chosen, fold, copies, told)


def standard(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation of what is counted of (B, C), 1 where it is all the same, and whether they rest on enough."""
    count = counted.sum(1, keepdim=True)
    first = values.gather(1, counted.to(torch.uint8).argmax(1, keepdim=True))
    centred = torch.where(counted, values - first, 0.0).double()
    mean = centred.sum(1, keepdim=True) / count.clamp(min=1)
    square = torch.where(counted, centred - mean, 0.0).square().sum(1, keepdim=True) / count.clamp(min=1)
    varied = square > 1e-12 * centred.square().sum(1, keepdim=True)
    deviation = torch.where(varied & (square > 1e-30), square, 1.0).sqrt()
    return (mean + first).to(values.dtype), deviation.to(values.dtype), varied & (count >= 3)


def usual_step(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean square (B, 1) of the steps between observed neighbours, 1 without any, and the newest value."""
    both = observed[:, 1:] & observed[:, :-1]
    square = torch.where(both, values[:, 1:] - values[:, :-1], 0.0).square().sum(1, keepdim=True)
    step = (square / both.sum(1, keepdim=True).clamp(min=1)).sqrt()
    place = torch.arange(values.shape[1], device=values.device)
    newest = torch.where(observed, place, 0).amax(1, keepdim=True)
    return torch.where(step > 1e-6, step, 1.0), values.gather(1, newest)
