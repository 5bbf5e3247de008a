"""Intervals around point forecasts, from what the same model gets wrong in a short backtest of each series.

Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018) with absolute errors: the model forecasts from a
few earlier cutoffs, and an interval that is to hold a share c of the outcomes reaches as far as the share c (1 + 1 / K)
of the errors of these K forecasts. The correction counts forecasts and not errors, because those of one forecast go
together. A step shares the errors of its neighbours, from two thirds of it to one and a half times it.

What that is worth: the share holds on average where errors to come are like those before, and not for every step of
every series. Four forecasts support the 80 % interval at most; wider ones are read off the curve's exponential tails.
The median is the point forecast. A series too short for four forecasts gets its point alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsfm.batching import Context, crop
from tsfm.inference import Model, quantiles
from tsfm.options import DECILES

# n series, K earlier forecasts of one, H horizon.

Floats = NDArray[np.float64]
CUTOFFS, FEWEST = 8, 4
LEAST_CONTEXT = 8
NEIGHBOURS = 1.5
COVERAGES = (0.8, 0.6, 0.4, 0.2)
LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Evidence:
    """What stands behind the intervals: errors measured and forecasts made, the least of any series; positions of the
    series too short for them; and whether intervals were wanted at all."""

    errors: int = 0
    forecasts: int = 0
    without: list[int] = field(default_factory=list)
    wanted: bool = True

    def __str__(self) -> str:
        least = "" if self.forecasts == CUTOFFS else " or more"
        return (
            f"intervals from {self.errors:,} errors or more of {self.forecasts}{least} forecasts from earlier cutoffs "
            "of each series (split conformal): the model itself forecasts points"
        )


def fewest_steps(horizon: int) -> int:
    """Return how long a series must be for intervals at such a horizon."""
    return horizon + max(LEAST_CONTEXT, horizon // 2) + FEWEST - 1


def cutoffs(steps: int, horizon: int) -> list[int]:
    """Return the earlier cutoffs of a series, at most a horizon apart, the latest first; none where it is too short."""
    room = steps - horizon - max(LEAST_CONTEXT, horizon // 2)
    count = min(CUTOFFS, room + 1)
    if count < FEWEST:
        return []
    apart = min(horizon, room // (count - 1))
    return [steps - horizon - apart * number for number in range(count)]


def curves(
    ask: Callable[..., list[Floats]],
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    season: Sequence[int] | None,
    knots: tuple[float, ...],
    levels: Sequence[float],
    series: Sequence[Floats],
    longest: int | None,
    **options: Any,
) -> tuple[list[Floats], tuple[float, ...], Evidence | None]:
    """Return what `ask` (`inference.quantiles` or its like) says of contexts, (H, Q) each, with its knots.

    Of a model of points, of which other levels than its own are asked, the deciles that `with_intervals` puts around
    them, and what these stand on.
    """
    values = ask(model, device, contexts, horizon, season, knots, **options)
    if not getattr(model, "point_only", False):
        return values, knots, None
    if set(levels) <= set(model.levels):
        return values, knots, Evidence(without=list(range(len(contexts))), wanted=False)
    made = with_intervals(model, device, contexts, horizon, season, values, series, longest, **options)
    return made[0], DECILES, made[1]


def with_intervals(
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    season: Sequence[int] | None,
    points: Sequence[Floats],
    series: Sequence[Floats],
    longest: int | None,
    **options: Any,
) -> tuple[list[Floats], Evidence]:
    """Return the deciles (H, 9) around the point forecasts (H, 1) of contexts, and what they stand on.

    series   (T,) each, all that is known: the contexts are their ends
    longest  the most steps that a forecast reads
    Where a series has too little for a backtest, all its deciles are the point.
    """
    owner, pasts, actual = [], list[Context](), []
    moving = [position for position, context in enumerate(contexts) if context.constant is None]
    for position in moving:
        for past, after in earlier(series[position], horizon, longest):
            owner.append(position)
            pasts.append(past)
            actual.append(after)
    seasons = None if season is None else [season[position] for position in owner]
    made = quantiles(model, device, pasts, horizon, seasons, model.levels, **options)
    rows: dict[int, list[Floats]] = {}
    for position, after, forecast in zip(owner, actual, made, strict=True):
        rows.setdefault(position, []).append(error_of(after, forecast))
    measured = {position: np.stack(kept) for position, kept in rows.items() if len(kept) >= FEWEST}
    evidence = Evidence(
        min((int(np.isfinite(kept).sum()) for kept in measured.values()), default=0),
        min((len(kept) for kept in measured.values()), default=0),
        [position for position in moving if position not in measured],
    )
    return [around(point, measured.get(position)) for position, point in enumerate(points)], evidence


def earlier(series: Floats, horizon: int, longest: int | None) -> Iterator[tuple[Context, Floats]]:
    """Yield what was known at earlier cutoffs, and the (H,) steps after each, of which one is observed at least."""
    known = series[int((~np.isnan(series)).argmax()) :]
    for cutoff in cutoffs(len(known), horizon):
        after, seen = known[cutoff : cutoff + horizon], known[:cutoff] if longest is None else known[:cutoff][-longest:]
        if not (np.isnan(after).all() or np.isnan(seen).all()):
            yield crop(seen, None, "of a backtest"), after


def error_of(actual: Floats, made: Floats) -> Floats:
    """Size of the errors of a forecast (H, 1), (H,), NaN where nothing was observed."""
    with np.errstate(over="ignore"):
        size: Floats = np.minimum(np.abs(actual - made[:, 0]), LARGEST)
    return size


def around(point: Floats, errors: Floats | None) -> Floats:
    """Deciles (H, 9) around a point forecast (H, 1) from the sizes of earlier errors (K, H)."""
    if errors is None:
        return np.repeat(point[:, :1], len(DECILES), axis=1)
    reach = reaches(errors)  # (H, 4), the widest first
    offsets = np.concatenate([-reach, np.zeros_like(point[:, :1]), reach[:, ::-1]], 1)
    with np.errstate(over="ignore"):
        deciles: Floats = np.clip(point[:, :1] + offsets, -LARGEST, LARGEST)
    return deciles


def reaches(errors: Floats) -> Floats:
    """How far the intervals of `COVERAGES` reach at each step, (H, 4), from errors (K, H), NaN where unknown."""
    steps = errors.shape[1]
    shares = np.minimum(1.0, np.array(COVERAGES) * (1 + 1 / len(errors)))
    found = np.empty((steps, len(COVERAGES)))
    for step in range(1, steps + 1):
        pooled = errors[:, int(np.ceil(step / NEIGHBOURS)) - 1 : int(step * NEIGHBOURS)]
        pooled = pooled[np.isfinite(pooled)]
        if len(pooled) < len(errors):
            pooled = errors[np.isfinite(errors)]
        found[step - 1] = np.sort(pooled)[np.ceil(shares * len(pooled) - 1e-9).astype(int) - 1]
    return found
