"""Other views of a series: what the same model says of its square root, and of every second step of it.

`effort="best"` averages the quantiles of the views. Their errors differ, because a root makes multiplied seasons
additive and shrinks peaks, and because half the steps let the model look back twice as far and ahead in half as many
patches; their average is better than each. Which views, and for which series, was chosen on validation windows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsfm.batching import Context, crop
from tsfm.inference import Model, quantiles

# B series, C context steps, H horizon, Q quantile levels.

Floats = NDArray[np.float64]
SEASON, HISTORY = 24, 1024  # fewest steps of a season and of a history of which every second step says enough

NAMES = "averaged with the forecasts of every second step and of the square root, where the series allows them"


def averaged_quantiles(
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    season: Sequence[int] | None,
    knots: tuple[float, ...],
    **options: Any,
) -> list[Floats]:
    """Return what `inference.quantiles` does, averaged over the views of every series."""
    seasons = [1] * len(contexts) if season is None else [int(one) for one in season]
    total = quantiles(model, device, contexts, horizon, seasons, knots, **options)
    count = np.ones(len(contexts))
    for view in (halves, roots):
        positions, found = view(model, device, contexts, horizon, seasons, knots, options)
        for position, one in zip(positions, found, strict=True):
            total[position] = total[position] + one
            count[position] += 1
    return [found / views for found, views in zip(total, count, strict=True)]


def halves(
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    seasons: Sequence[int],
    knots: tuple[float, ...],
    options: Mapping[str, Any],
) -> tuple[list[int], list[Floats]]:
    """Positions of the series long enough, and their quantiles (H, Q) put together from those of odd and even steps."""
    positions, parts = [], []
    for position, (context, season) in enumerate(zip(contexts, seasons, strict=True)):
        values = context.values
        odd_and_even = [values[(len(values) + step) % 2 :: 2] for step in (0, 1)]
        seen = all(np.isfinite(part).any() for part in odd_and_even)
        if context.constant is None and season >= SEASON and len(values) >= HISTORY and seen:
            positions.append(position)
            parts += [crop(part, None, position) for part in odd_and_even]
    half = [seasons[position] // 2 for position in positions for _ in (0, 1)]
    found = quantiles(model, device, parts, -(-horizon // 2), half, knots, **options)
    pairs = zip(found[::2], found[1::2], strict=True)
    return positions, [np.stack(pair, 1).reshape(-1, len(knots))[:horizon] for pair in pairs]


def roots(
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    seasons: Sequence[int],
    knots: tuple[float, ...],
    options: Mapping[str, Any],
) -> tuple[list[int], list[Floats]]:
    """Positions of the series that are never negative, and squares of the quantiles (H, Q) of their square roots."""
    positions = [
        position
        for position, context in enumerate(contexts)
        if context.constant is None and np.fmin.reduce(context.values) >= 0
    ]
    rooted = [crop(np.sqrt(contexts[position].values), None, position) for position in positions]
    found = quantiles(model, device, rooted, horizon, [seasons[one] for one in positions], knots, **options)
    return positions, [np.maximum(one, 0.0) ** 2 for one in found]
