"""Fitting a channel adapter around a frozen base, and the guard that keeps it only where it helps.

    |---------------- training ----------------| stopping | selection |
                                                                      ^ end of the data

Scales, maps and gradients read the training part alone. The stopping block ends the training of a learned adapter, and
sets the spread of the quantiles, the correlation of the latent errors and each channel's share of the mixed forecast.
The selection block then compares with each channel alone, once; without a gain of more than its standard error each
channel is forecast alone. AdaPTS (Benechehab et al. 2025) has neither shares nor a guard.
"""

import time as clock
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tsfm.evaluation.metrics import quantile_loss
from tsfm.finetuning.multivariate_learning import Block, Settings, learn
from tsfm.finetuning.multivariate_maps import LEARNED, channel_scales, offline_adapter, untrained_adapter
from tsfm.finetuning.multivariate_quantiles import (
    Mixing,
    blended,
    calibrated,
    error_correlation,
    filled,
)
from tsfm.forecaster import Forecaster
from tsfm.panel import Floats

# B windows, C channels, T steps, L context steps, H horizon, Q levels, K components.

WINDOWS = 12  # of a block, evenly spread
BLOCK = 0.15  # of the data, a block
LEAST = 3  # windows that do not overlap, below which nothing can be told


@dataclass
class Report:
    """What came of a fit, in numbers and in one sentence (`reason`).

    alone, mixed   mean quantile loss on the selection windows, in standard deviations of each channel
    error          standard error of their difference
    share          mean weight of the mixed forecast over the channels that it was fitted for
    windows        of the stopping and of the selection block
    steps          of gradient training, 0 for an offline adapter
    """

    adapter: str
    kept: bool
    reason: str
    alone: float = float("nan")
    mixed: float = float("nan")
    error: float = float("nan")
    share: float = 0.0
    windows: int = 0
    steps: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values; numbers that are not there are None."""
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return "\n".join([self.reason, *self.notes])


def cutoffs(length: int, horizon: int) -> tuple[int, list[int], list[int]] | None:
    """End of the training part, and the cutoffs of the two blocks; None where there is no room for a verdict."""
    block = max(LEAST * horizon, int(BLOCK * length))
    end = length - 2 * block
    if end < 2 * horizon + 2:
        return None
    starts = [
        np.unique(np.linspace(begin, begin + block - horizon, WINDOWS).astype(int)) for begin in (end, end + block)
    ]
    return end, starts[0].tolist(), starts[1].tolist()


def block_of(values: Floats, names: Sequence[object], where: Sequence[int], horizon: int, reach: int) -> Block:
    """The windows at these cutoffs of (C, T) values, each with `reach` steps of context.

    Those in whose context a channel has no value, or that nothing can be compared with, are left out.
    """
    observed = ~np.isnan(values)
    told = [
        cut
        for cut in where
        if observed[:, cut - reach : cut].any(axis=1).all() and observed[:, cut : cut + horizon].any()
    ]
    raw = np.array([values[:, cut - reach : cut] for cut in told]).reshape(-1, len(values), reach)
    target = np.array([values[:, cut : cut + horizon] for cut in told]).reshape(-1, len(values), horizon)
    return Block(filled(raw, names), raw, target, 1 + (told[-1] - told[0]) // horizon if told else 0)


def alone(base: Forecaster, block: Block, settings: Settings) -> Floats:
    """Quantiles (B, C, H, Q) of each channel by itself, gaps and all."""
    windows, channels, reach = block.raw.shape
    rows = list(block.raw.reshape(-1, reach))
    found = base.predict_arrays(rows, settings.horizon, settings.knots, [settings.season] * len(rows), clip=None)
    return np.stack(found).reshape(windows, channels, settings.horizon, -1)


def fit(base: Forecaster, values: Floats, names: Sequence[object], settings: Settings) -> tuple[Mixing | None, Report]:
    """The mixing of channels (C, T), each of which changes in the training part, and the verdict; None without room."""
    began = clock.perf_counter()
    places = cutoffs(values.shape[1], settings.horizon)
    if places is None:
        needed = 2 * LEAST * settings.horizon + 2 * settings.horizon + 2
        return None, Report(
            settings.adapter,
            False,
            f"each channel alone: {values.shape[1]} steps are too few to fit and to judge an adapter at a horizon of "
            f"{settings.horizon}; that takes {needed}",
        )
    end, first, second = places
    reach = min(settings.context or end, end)
    stopping = block_of(values, names, first, settings.horizon, reach)
    selection = block_of(values, names, second, settings.horizon, reach)
    if min(len(stopping.target), len(selection.target)) < LEAST:
        return None, Report(
            settings.adapter,
            False,
            f"each channel alone: fewer than {LEAST} windows to stop or to judge by have values in all channels",
        )
    mixing, steps = fitted(base, values[:, :end], names, stopping, settings)
    calibrate(mixing, base, stopping, settings)
    deviation = np.nanstd(values[:, :end], axis=1)
    report = judged(mixing, base, selection, deviation, settings)
    report.steps, report.seconds = steps, clock.perf_counter() - began
    return mixing, report


def fitted(
    base: Forecaster, train: Floats, names: Sequence[object], stopping: Block, settings: Settings
) -> tuple[Mixing, int]:
    """A mixing with its adapter, not yet calibrated, and the steps of gradient that it took."""
    mean, unit = channel_scales(settings.adapter, train)
    rows = (filled(train[None], names)[0].T - mean) / unit  # (T, C)
    make = untrained_adapter if settings.adapter in LEARNED else offline_adapter
    adapter = make(settings.adapter, rows, settings.components, settings.seed)
    ones = np.ones(len(unit))
    correlation = np.eye(adapter.config.components)
    mixing = Mixing(adapter.double(), mean, unit, correlation, ones, ones, settings.samples, settings.seed)
    steps = learn(mixing, base, train, names, stopping, settings) if settings.adapter in LEARNED else 0
    mixing.adapter.eval()
    return mixing, steps


def calibrate(mixing: Mixing, base: Forecaster, block: Block, settings: Settings) -> None:
    """Set correlation, spread and share of a mixing, on the stopping block."""
    latent = mixing.encode(block.contexts, sample=False)
    curves = mixing.latent_curves(base, latent, settings.horizon, settings.season, settings.knots)[:, 0]
    gaps = np.isnan(block.target).any(axis=1, keepdims=True)  # (B, 1, H)
    happened = mixing.encode(np.where(np.isnan(block.target), mixing.mean[:, None], block.target), sample=False)[:, 0]
    mixing.correlation = error_correlation(curves, np.where(gaps, np.nan, happened))
    mixed = mixing.quantiles(base, block.contexts, settings.horizon, settings.season, settings.knots)
    mixing.spread, mixing.share = calibrated(mixed, alone(base, block, settings), block.target, settings.knots)


def judged(mixing: Mixing, base: Forecaster, block: Block, deviation: Floats, settings: Settings) -> Report:
    """The guard: mixed against alone on windows that decided nothing so far, in deviations (C,) of the channels."""
    report = Report(settings.adapter, False, "", share=float(mixing.share.mean()), windows=len(block.target))
    if not mixing.share.any():
        report.reason = (
            f"each channel alone: on the stopping windows no channel gained from the {settings.adapter} adapter"
        )
        return report
    by_itself = alone(base, block, settings)
    mixed = mixing.quantiles(base, block.contexts, settings.horizon, settings.season, settings.knots)
    mixed = blended(mixed, by_itself, mixing.share[:, None, None])
    each = [
        quantile_loss(block.target, one, settings.knots).mean(-1) / deviation[:, None] for one in (by_itself, mixed)
    ]
    losses = [np.nanmean(one, axis=(1, 2)) for one in each]
    gains = losses[0] - losses[1]
    report.alone, report.mixed = float(losses[0].mean()), float(losses[1].mean())
    report.error = float(gains.std(ddof=1) / np.sqrt(min(len(gains), block.apart)))
    report.kept = bool(gains.mean() > report.error)
    told = (
        f"quantile loss {report.mixed:.4f} against {report.alone:.4f} on {len(gains)} windows that neither trained nor "
        f"stopped; the gain of {100 * (1 - report.mixed / report.alone):.1f} %"
    )
    verdict = "is more than its standard error" if report.kept else "is not more than its standard error"
    chosen = f"{settings.adapter} adapter kept" if report.kept else "each channel alone"
    report.reason = f"{chosen}: {settings.adapter} gives {told} {verdict} of {100 * report.error / report.alone:.1f} %"
    return report
