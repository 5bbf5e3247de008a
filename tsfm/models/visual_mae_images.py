"""Forecasts by VisionTS (Chen et al. 2024) and VisionTS++ (Shen et al. 2025), as published: draw, reconstruct, read.

VisionTS draws every variate in an image of its own, of three equal channels. VisionTS++ draws all variates of a series
into one: each has a band of rows and one colour, and each quantile a head. What differs here: a horizon that one image
cannot hold (short contexts, where the published code breaks) is forecast by further images, each of which begins where
the median of the one before ends.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.models.visual_mae_layers import MaskedAutoencoder
from tsfm.nn.folding import Folding, fold, resized, unfolded

# B series, C context steps, H horizon, V variates, P steps of a period, S pixels a side, N patches, Q quantile levels.

EPSILON = 1e-5  # added to a variance
CLIPS = ((-5.0, 5.0), (-1.8044, 2.2489))  # of VisionTS++: wide, or the range of ImageNet's pixels


class Standard(NamedTuple):
    """Values around their mean in units of a deviation, with both; (..., C), (..., 1), (..., 1)."""

    values: Tensor
    mean: Tensor
    deviation: Tensor


def standardised(values: Tensor, norm_const: float) -> Standard:
    """Values (..., C) whose standard deviation becomes `norm_const`."""
    mean = values.mean(-1, keepdim=True)
    deviation = (values.var(-1, keepdim=True, unbiased=False) + EPSILON).sqrt() / norm_const
    return Standard((values - mean) / deviation, mean, deviation)


def drawn(values: Tensor, place: Folding, interpolation: str) -> Tensor:
    """Images (B, 1, S, S) of standardised values (B, C): the context on the left, zeros on the right."""
    shown = resized(fold(values, place.period)[:, None], place.image, place.shown, interpolation)
    return F.pad(shown, (0, place.image - shown.shape[-1]))


def left_columns(place: Folding, device: torch.device) -> Tensor:
    """Which patches a forecast hides, (1, N): 1 in the columns after the context."""
    hidden = (torch.arange(place.side, device=device) >= place.columns).float()
    return hidden.repeat(place.side)[None]


def read_back(images: Tensor, place: Folding, interpolation: str) -> Tensor:
    """The H steps after the context that images (B, M, S, S) show; (B, M, H)."""
    steps = unfolded(resized(images, place.period, place.width, interpolation))
    first = place.padding + place.context
    return steps[..., first : first + place.horizon]


def reconstruct(mae: MaskedAutoencoder, images: Tensor, place: Folding) -> tuple[Tensor, Tensor]:
    """What the decoder's heads read (B, N, narrow) of images of which the context's columns are shown, and the mask."""
    hidden = left_columns(place, images.device)
    order = hidden.argsort(dim=1, stable=True).expand(len(images), -1)
    visible = order[:, : place.columns * place.side]
    return mae.decode(mae.encode(images, visible), order.argsort(1)), hidden


def vision_ts(
    mae: MaskedAutoencoder,
    values: Tensor,
    horizon: int,
    period: int,
    *,
    norm_const: float = 0.4,
    align_const: float = 0.4,
    interpolation: str = "bilinear",
) -> Tensor:
    """Point forecasts (B, H) of series (B, C) by VisionTS."""
    size, patch = mae.side * mae.patch, mae.patch
    place = within_reach(Folding(values.shape[1], horizon, period, size, patch, align_const))
    standard = standardised(values, norm_const)
    images = drawn(standard.values.float(), place, interpolation).expand(-1, 3, -1, -1)
    made = mae.unpatchify(mae.decoder_pred(reconstruct(mae, images, place)[0])).mean(1, keepdim=True)
    forecast = read_back(made, place, interpolation)[:, 0] * standard.deviation + standard.mean
    if place.horizon == horizon:
        return forecast
    options: dict[str, Any] = {"norm_const": norm_const, "align_const": align_const}
    longer = torch.cat([values, forecast], 1)
    rest = vision_ts(mae, longer, horizon - place.horizon, period, interpolation=interpolation, **options)
    return torch.cat([forecast, rest], 1)


def within_reach(place: Folding) -> Folding:
    """The same layout, of no more steps than its image can hold."""
    while place.reach < place.horizon:
        horizon = max(1, min(place.reach, place.horizon - 1))
        place = Folding(place.context, horizon, place.period, place.image, place.patch, place.align, place.visible)
    return place


def colours(variates: int) -> list[int]:
    """The channel of every variate: red, green, blue, red ..."""
    return [number % 3 for number in range(variates)]


def bands(values: Tensor, place: Folding, colour: Sequence[int], clip: int) -> Tensor:
    """Images (B, 3, S, S) of standardised series (B, V, C): a band of rows and a colour a variate."""
    variates, height = values.shape[1], place.image // values.shape[1]
    shown = resized(fold(values, place.period), height, place.shown)  # (B, V, height, shown)
    image = values.new_zeros(len(values), 3, place.image, place.image)
    for number in range(variates):
        rows = slice(number * height, (number + 1) * height)
        image[:, colour[number], rows, : place.shown] = shown[:, number]
    return image.clamp(*CLIPS[clip])


def vision_ts_plus(
    mae: MaskedAutoencoder,
    values: Tensor,
    horizon: int,
    period: int,
    *,
    norm_const: float = 0.4,
    align_const: float = 0.4,
    colour: Sequence[int] | None = None,
    visible: int | None = None,
    padding: str = "replicate",
    clip: int = 0,
) -> Tensor:
    """Quantile forecasts (B, V, H, Q) of the variates (B, V, C) of series by VisionTS++, rising with the level.

    visible   columns of patches that show the context, which is then padded to their share where it is shorter:
              by its first value ("replicate") or by its mean ("constant")
    """
    size, side = mae.side * mae.patch, mae.side
    colour = colours(values.shape[1]) if colour is None else colour
    standard, short = standardised(values, norm_const), 0
    if visible is not None:
        short = max(0, math.ceil(horizon / (side - visible) * visible) - values.shape[-1])
    place = within_reach(Folding(values.shape[-1] + short, horizon, period, size, mae.patch, align_const, visible))
    images = bands(F.pad(standard.values.float(), (short, 0), mode=padding), place, colour, clip)
    read = reconstruct(mae, images, place)[0]
    made = torch.stack([of_bands(mae.unpatchify(patches), place, colour) for patches in in_order(mae, read)], -1)
    forecast = made * standard.deviation[..., None] + standard.mean[..., None]
    if place.horizon == horizon:
        return forecast
    middle = forecast.sort(-1).values[..., forecast.shape[-1] // 2]
    options: dict[str, Any] = {"norm_const": norm_const, "align_const": align_const}
    longer, left = torch.cat([values, middle], -1), horizon - place.horizon
    rest = vision_ts_plus(mae, longer, left, period, colour=colour, visible=visible, clip=clip, **options)
    return torch.cat([forecast, rest], 2)


def in_order(mae: MaskedAutoencoder, read: Tensor) -> list[Tensor]:
    """What each head says (B, N, pixels), by rising level: the median's own stands in their middle."""
    others = [head(read) for head in mae.decoder_pred_quantile_list]
    middle = len(others) // 2
    return [*others[:middle], mae.decoder_pred(read), *others[middle:]]


def of_bands(images: Tensor, place: Folding, colour: Sequence[int]) -> Tensor:
    """The steps (B, V, H) that each variate's band shows in its colour; images (B, 3, S, S)."""
    height = place.image // len(colour)
    rows = [images[:, own, number * height : (number + 1) * height] for number, own in enumerate(colour)]
    return read_back(torch.stack(rows, 1), place, "bilinear")
