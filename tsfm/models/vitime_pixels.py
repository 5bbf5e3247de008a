"""Values to pixels and back, as ViTime (Yang et al. 2024, arXiv 2407.07311) draws a series.

A picture shows the history and the future side by side at one scale of time: of its T columns, int(L / (L + H) * T)
hold the history by straight lines. In each the value's row is lit, row 0 at `-limit` standard deviations, and the whole
is blurred in both directions; the columns of the future are dark but for what the blur brings there. What the model
gives back is a distribution over the rows of every column.
"""

import math
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, S steps, L steps of history, H horizon, T columns, h height, Q quantile levels.

Reference = Literal["mean", "signed-rms"]
Decoding = Literal["max", "expectation"]
EPSILON = 1e-7  # added to deviations and squares, as published


class Scene(NamedTuple):
    """Which steps of series (B, S) are drawn: history from `first` to `stop`, and `ahead` steps after it; (B,) each."""

    first: Tensor
    stop: Tensor
    ahead: Tensor

    @property
    def history(self) -> Tensor:
        """(B,) steps of history."""
        return self.stop - self.first

    @property
    def shown(self) -> Tensor:
        """(B,) steps of history and future together."""
        return self.stop - self.first + self.ahead

    def history_columns(self, columns: int) -> Tensor:
        """(B,) columns that the history takes."""
        return (self.history.double() / self.shown * columns).long()


class Picture(NamedTuple):
    """A history drawn.

    image      (B, T, h) float32, blurred
    reference  (B, 1) value in the middle of the picture
    deviation  (B, 1) a standard deviation of the history
    """

    image: Tensor
    reference: Tensor
    deviation: Tensor


def scene_of(first: Tensor, stop: Tensor, ahead: Tensor) -> Scene:
    """A scene of whole numbers, with a history of one step at least."""
    first, stop, ahead = first.long(), stop.long(), ahead.long()
    return Scene(torch.minimum(first, stop - 1), stop, ahead)


def between(values: Tensor, position: Tensor) -> Tensor:
    """Values (B, P) at positions (B, P) of series (B, S), by straight lines; a further last axis is kept."""
    left = position.long().clamp(0, values.shape[1] - 1)
    right = (left + 1).clamp(max=values.shape[1] - 1)
    share = (position - left).to(values.dtype)
    if values.dim() == 3:
        left, right, share = (part[..., None].expand(-1, -1, values.shape[2]) for part in (left, right, share))
    low = values.gather(1, left)
    return low + share * (values.gather(1, right) - low)


def draw(values: Tensor, scene: Scene, columns: int, height: int, limit: float, blur: int, kind: Reference) -> Picture:
    """The picture of each history in series (B, S), float64 without gaps."""
    taken = scene.history_columns(columns)[:, None]
    column = torch.arange(columns, device=values.device)
    place = column * ((scene.history - 1)[:, None].double() / (taken - 1).clamp(min=1))
    place = torch.minimum(place, (scene.history - 1)[:, None].double())
    past = column < taken
    shown = between(values, place + scene.first[:, None])  # (B, T), right where `past`
    reference, deviation = centre(shown, past, kind)
    rows = rows_of((shown - reference) / deviation, height, limit)
    lit = F.one_hot(rows, height).float() * past[..., None]
    return Picture(blurred(lit, blur), reference, deviation)


def centre(values: Tensor, counted: Tensor, kind: Reference) -> tuple[Tensor, Tensor]:
    """Reference level and biased deviation (B, 1) of the counted values (B, T)."""
    count = counted.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(counted, values, 0.0).sum(1, keepdim=True) / count
    square = torch.where(counted, values - mean, 0.0).square().sum(1, keepdim=True) / count
    # The root of nothing has no finite slope.
    deviation = torch.where(square > 0, square.clamp(min=torch.finfo(square.dtype).tiny).sqrt(), 0.0)
    if kind == "mean":
        # In proportion, it does the other thing that the published one does: values on the very edge of a pixel, as
        # two points give, fall on one side of it whatever the unit and level.
        return mean, torch.where(square > 0, deviation * (1 + EPSILON), 1.0)
    signed = torch.where(counted, values * values.abs(), 0.0).sum(1, keepdim=True) / count + EPSILON
    return signed.abs().sqrt() * signed.sign(), deviation + EPSILON


def rows_of(values: Tensor, height: int, limit: float) -> Tensor:
    """Row of each standardised value: the pixel whose lower edge lies at or under it."""
    step = 2 * limit / (height - 1)
    return ((values.clamp(-limit, limit) + limit) / step).floor().long().clamp(0, height - 1)


def value_of(row: Tensor, height: int, limit: float) -> Tensor:
    """Standardised value at the lower edge of a row, or between edges."""
    return row * (2 * limit / (height - 1)) - limit


@cache
def kernel(size: int) -> tuple[float, ...]:
    """Weights of a Gaussian over `size` pixels, of the deviation that OpenCV takes where none is given."""
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = [math.exp(-((place - (size - 1) / 2) ** 2) / (2 * sigma**2)) for place in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def blurred(image: Tensor, size: int) -> Tensor:
    """The picture (B, T, h) blurred over both axes, mirrored at its borders, and `size` times as bright."""
    weights = torch.tensor(kernel(size), dtype=image.dtype, device=image.device)
    half = size // 2
    padded = F.pad(image[:, None], (half, half, half, half), mode="reflect")
    along = F.conv2d(padded, weights.view(1, 1, -1, 1))
    return F.conv2d(along, size * weights.view(1, 1, 1, -1))[:, 0]


def decoded(logits: Tensor, decoding: Decoding) -> Tensor:
    """Row (B, T) of every column as published: the most probable one, or the mean one; logits (B, T, h)."""
    probability = torch.softmax(logits, -1)
    if decoding == "max":
        return probability.argmax(-1).double()
    rows = torch.arange(logits.shape[-1], device=logits.device)
    return (probability.double() @ rows.double()) / probability.double().sum(-1)


def quantiles_of(logits: Tensor, levels: Tensor, limit: float) -> Tensor:
    """Standardised quantiles (B, T, Q) of the pixel distributions of every column; logits (B, T, h), levels (Q,).

    A pixel's probability is spread evenly between its lower edge and the next one's, because a value anywhere between
    them lights it; so the half pixel by which the published decoding is too low does not arise.
    """
    height = logits.shape[-1]
    probability = torch.softmax(logits.double(), -1)
    below = F.pad(probability.cumsum(-1), (1, 0))  # (B, T, h + 1), at the edges
    wanted = levels.expand(*logits.shape[:-1], -1).contiguous()
    row = torch.searchsorted(below[..., 1:].detach().contiguous(), wanted).clamp(max=height - 1)
    share = (wanted - below.gather(-1, row)) / probability.gather(-1, row).clamp(min=1e-300)
    return value_of(row + share.clamp(0, 1), height, limit)


def future(found: Tensor, scene: Scene, horizon: int) -> Tensor:
    """Values (B, H, ...) of the steps after each history, read from columns (B, T, ...) by straight lines.

    Rows whose `ahead` is less than `horizon` have no meaning behind it.
    """
    step = torch.arange(horizon, device=found.device) + scene.history[:, None]
    return between(found, step * columns_per_step(scene, found.shape[1]))


def columns_per_step(scene: Scene, columns: int) -> Tensor:
    """(B, 1) by which the first and the last of the shown steps stand on the first and the last column."""
    return (columns - 1) / (scene.shown - 1).clamp(min=1)[:, None].double()
