"""From latent quantile curves to quantiles of the channels.

A decoder mixes latent channels, and the quantile of a sum is not the sum of the quantiles. So the latent curves are
sampled: stratified levels for each latent channel (its curve comes back exactly), put in the order of a Gaussian copula
whose correlation was fitted to the errors of the stopping block (Iman & Conover 1982), decoded, and read at the levels
asked. Under a linear decoder the median is not sampled but decoded from the latent medians, and only the spread around
it comes from the samples. A stochastic adapter encodes several times; its samples are those of all passes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tsfm import quantile_curve
from tsfm.errors import DataError
from tsfm.evaluation.metrics import quantile_loss
from tsfm.forecaster import Forecaster
from tsfm.nn.channel_adapters import ChannelAdapter
from tsfm.panel import Floats

# B windows, C channels, L context steps, H horizon, Q levels, K components, S samples, passes of a stochastic encoder.

PASSES = 10
INDEPENDENT = 0.1  # share of the identity in the copula: few windows say little about many pairs
SPREADS = np.geomspace(0.6, 2.0, 13)
SHARES = np.linspace(0.0, 1.0, 5)


@dataclass
class Mixing:
    """A fitted adapter, with all that turns contexts into quantiles of the channels.

    adapter      in float64
    mean, unit   (C,) subtracted and divided out before it
    correlation  (K, K) of the latent forecast errors
    spread       (C,) factor on the distance of the quantiles from the median
    share        (C,) weight of the mixed forecast beside that of the channel alone
    samples      S in all; seed of whatever is drawn
    """

    adapter: ChannelAdapter
    mean: Floats
    unit: Floats
    correlation: Floats
    spread: Floats
    share: Floats
    samples: int
    seed: int

    @property
    def passes(self) -> int:
        """How often a window is encoded."""
        return PASSES if self.adapter.stochastic else 1

    def standard(self, values: Floats) -> Floats:
        """Values (..., C, L) in the units of the adapter."""
        scaled: Floats = (values - self.mean[:, None]) / self.unit[:, None]
        return scaled

    @torch.no_grad()
    def encode(self, contexts: Floats, sample: bool) -> Floats:
        """Latent channels (B, passes, K, L) of filled contexts (B, C, L): one pass of means unless `sample`.

        Every window gets the same draws, so that it has one forecast in any company.
        """
        made = []
        for window in self.standard(contexts):
            repeated = torch.from_numpy(window).expand(self.passes if sample else 1, -1, -1)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                made.append(self.adapter.encode(repeated, sample=sample).latent.numpy())
        return np.stack(made)

    def latent_curves(
        self, base: Forecaster, latent: Floats, horizon: int, season: int, knots: Sequence[float]
    ) -> Floats:
        """The base's quantiles (B, passes, K, H, Q) of latent channels (B, passes, K, L), each alone."""
        rows = list(latent.reshape(-1, latent.shape[-1]))
        found = base.predict_arrays(rows, horizon, knots, [season] * len(rows), clip=None)
        return np.stack(found).reshape(*latent.shape[:-1], horizon, len(knots))

    def quantiles(
        self, base: Forecaster, contexts: Floats, horizon: int, season: int, knots: Sequence[float]
    ) -> Floats:
        """Mixed quantiles (B, C, H, Q) of filled contexts (B, C, L), in the units of the data, without `share`."""
        curves = self.latent_curves(base, self.encode(contexts, sample=True), horizon, season, knots)
        return np.stack([self.decoded(one, knots) for one in curves])

    def decoded(self, curves: Floats, knots: Sequence[float]) -> Floats:
        """Quantiles (C, H, Q) of the channels from the latent curves (passes, K, H, Q) of one window."""
        samples = self.decode(np.concatenate(self.drawn(curves, knots)))  # (S, C, H)
        found = np.quantile(samples, [0.5, *knots], axis=0, method="hazen")  # stratified levels lie where hazen says
        centre = found[0]
        if not self.adapter.config.deep:
            centre = self.decode(quantile_curve.evaluate(knots, curves, 0.5)).mean(0)
        deviation = np.moveaxis(found[1:] - found[0], 0, -1)  # (C, H, Q)
        return np.asarray(centre[..., None] + self.spread[:, None, None] * deviation)

    @torch.no_grad()
    def decode(self, latent: Floats) -> Floats:
        """Channels (S, C, H) of latent forecasts (S, K, H), in the units of the data."""
        decoded: Floats = self.adapter.decode(torch.from_numpy(np.ascontiguousarray(latent))).numpy()
        return decoded * self.unit[:, None] + self.mean[:, None]

    def drawn(self, curves: Floats, knots: Sequence[float]) -> list[Floats]:
        """Samples (S / passes, K, H) of every pass: the curve at stratified levels, in the order of the copula."""
        count = max(2, self.samples // len(curves))
        levels = (np.arange(count) + 0.5) / count
        values = np.stack([quantile_curve.evaluate(knots, curves, level) for level in levels], 1)
        generator = np.random.default_rng(self.seed)
        root = np.linalg.cholesky(self.correlation)
        found = []
        for one in values:  # (count, K, H)
            rank = (generator.standard_normal((count, len(root))) @ root.T).argsort(0).argsort(0)
            found.append(np.take_along_axis(one, rank[..., None], 0))
        return found


def filled(contexts: Floats, names: Sequence[object]) -> Floats:
    """Contexts (B, C, L) without gaps: between two values on the line through them, beyond them the nearest one."""
    if not np.isnan(contexts).any():
        return contexts
    made = contexts.copy()
    steps = np.arange(contexts.shape[-1])
    for window in made:
        for name, row in zip(names, window, strict=True):
            seen = ~np.isnan(row)
            if not seen.any():
                raise DataError(
                    f"channel {name!r} has no value in the {len(row)} steps that the adapter reads; "
                    "give a longer context, or leave the channel out"
                )
            row[~seen] = np.interp(steps[~seen], steps[seen], row[seen])
    return made


def error_correlation(curves: Floats, actual: Floats) -> Floats:
    """Correlation (K, K) of the normal scores of what happened, (B, K, H), under latent curves (B, K, H, Q)."""
    below = (curves <= actual[..., None]).sum(-1)
    scores = torch.special.ndtri(torch.from_numpy((below + 0.5) / (curves.shape[-1] + 1))).numpy()
    rows = scores.swapaxes(0, 1).reshape(len(scores[0]), -1)
    rows = rows[:, ~np.isnan(actual).any(1).ravel()]
    count = len(rows)
    if count == 1 or rows.shape[1] < 2:
        return np.eye(count)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(np.corrcoef(rows))
    np.fill_diagonal(found, 1.0)
    return np.asarray((1 - INDEPENDENT) * found + INDEPENDENT * np.eye(count))


def calibrated(mixed: Floats, alone: Floats, target: Floats, knots: Sequence[float]) -> tuple[Floats, Floats]:
    """Spread and share (C,) of least quantile loss on windows: mixed, alone (B, C, H, Q), target (B, C, H).

    The mixed quantiles are those of spread 1. Their spread is set by themselves, before the share: chosen together, a
    small share goes with any spread that happens to suit the few windows.
    """
    middle = quantile_curve.evaluate(knots, mixed, 0.5)[..., None]
    spread = least(SPREADS, [middle + factor * (mixed - middle) for factor in SPREADS], target, knots)
    wider = middle + spread[:, None, None] * (mixed - middle)
    return spread, least(SHARES, [blended(wider, alone, share) for share in SHARES], target, knots)


def least(choices: Floats, forecasts: Sequence[Floats], target: Floats, knots: Sequence[float]) -> Floats:
    """For each channel the choice whose forecast (B, C, H, Q) has the least quantile loss; (C,)."""
    losses = [np.nansum(quantile_loss(target, one, knots), axis=(0, 2, 3)) for one in forecasts]
    return np.asarray(choices[np.argmin(losses, axis=0)])


def blended(mixed: Floats, alone: Floats, share: Floats | float) -> Floats:
    """Average of two sets of quantiles level by level (Vincent 1912), so that they do not cross."""
    return np.asarray(share * mixed + (1.0 - share) * alone)
