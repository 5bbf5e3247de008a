"""Training windows: a pure function of a seed and a step, so that a restart sees the data it would have seen.

Every step has one context length (short ones make room for more series at the same number of tokens). A share of its
windows is cut from real series, the rest from a chunk of synthetic ones that serves a few dozen steps. Windows are
right-aligned like a batch; what is missing, and what lies before a short series, is unobserved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.data.synthetic import sample

# B windows, L window length in steps, N patches of context, P patch length.

RealSets = Sequence[Sequence[NDArray[np.float64]]]


class WindowSource(Protocol):
    """What gives every step its windows, a pure function of the step's number."""

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Values and observed mask of one step, (B, N + 1, P): the last patch is only a target."""


@dataclass(frozen=True)
class WindowConfig:
    """What a step's windows are drawn from.

    contexts, context_shares   context lengths in steps and how often each is used
    tokens                     tokens of a step: windows times patches of context
    real_share                 share of windows cut from real series, where there are any
    short_share                share of windows shorter than their context, log-uniformly
    stretch_share              share of real windows resampled by a factor between 1/2 and 2
    bend_share                 share of real windows put through a random power
    """

    patch: int = 32
    contexts: tuple[int, ...] = (512, 2048, 4096)
    context_shares: tuple[float, ...] = (0.3, 0.55, 0.15)
    tokens: int = 8192
    real_share: float = 0.4
    short_share: float = 0.25
    mix_share: float = 0.15
    reverse_share: float = 0.05
    hole_share: float = 0.1
    stretch_share: float = 0.0
    bend_share: float = 0.0
    chunk_series: int = 768
    chunk_steps: int = 32
    families: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RealSeries:
    """Real series as one flat array, and the probability of drawing each.

    flat    (total,) float32, NaN where missing, every series scaled by itself
    starts  (n + 1,) first step of each series in `flat`
    share   (n,)     cumulative probability
    """

    flat: NDArray[np.float32]
    starts: NDArray[np.int64]
    share: NDArray[np.float64]


def gather_real(sets: RealSets, shortest: int = 24) -> RealSeries:
    """Join data sets: a set is drawn as the square root of its points, a series in it as the root of its length."""
    kept, weights = [], []
    for group in sets:
        series = [values for values in group if np.isfinite(values).sum() >= shortest and np.nanstd(values) > 0]
        lengths = np.array([len(values) for values in series], dtype=np.float64)
        if len(series) == 0:
            continue
        kept += [standardised(values) for values in series]
        weights.append(np.sqrt(lengths.sum()) * np.sqrt(lengths) / np.sqrt(lengths).sum())
    share = np.cumsum(np.concatenate(weights))
    starts = np.cumsum([0, *(len(values) for values in kept)])
    return RealSeries(np.concatenate(kept), starts, share / share[-1])


def standardised(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The series around its mean in units of its deviation, so that float32 loses no digits to a large level."""
    scaled: NDArray[np.float32] = ((values - np.nanmean(values)) / np.nanstd(values)).astype(np.float32)
    return scaled


@dataclass
class TrainingWindows:
    """Windows of every step; `real` may be None.

    What is random is drawn on the CPU, but for the synthetic series, which are made on `device` and stay there.
    """

    config: WindowConfig
    real: RealSeries | None
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _chunk: tuple[int, Tensor, Tensor] | None = field(default=None, repr=False)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Values and observed mask of one step, (B, N + 1, P): the last patch is only a target."""
        config = self.config
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        context = config.contexts[int(torch.multinomial(torch.tensor(config.context_shares), 1, generator=generator))]
        length = context + config.patch
        batch = config.tokens * config.patch // context
        from_real = round(batch * config.real_share) if self.real is not None else 0
        parts = [self.synthetic(step, batch - from_real, length, generator)]
        if from_real:
            parts.append(self.cut_real(from_real, length, generator))
        values, observed = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
        values, observed = mix(values, observed, config.mix_share, generator)
        observed = punch_holes(observed, config.hole_share, generator)
        flip = uniform(batch, 1, like=values, generator=generator) < 0.5
        values = torch.where(flip, -values, values)
        observed = self.shorten(observed, generator)
        values = torch.where(observed, values, 0.0)
        shape = (batch, -1, config.patch)
        return values.reshape(shape), observed.reshape(shape)

    def synthetic(self, step: int, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops of this step's synthetic chunk, (count, length) each."""
        config = self.config
        number = step // config.chunk_steps
        if self._chunk is None or self._chunk[0] != number:
            longest = max(config.contexts) + config.patch
            seed = self.seed * 7919 + number
            made = sample(config.chunk_series, longest, seed, families=config.families, device=self.device)
            self._chunk = (number, made.values, made.observed)
        _, values, observed = self._chunk
        row = torch.randint(values.shape[0], (count, 1), generator=generator).to(values.device)
        first = (uniform(count, 1, like=values, generator=generator) * (values.shape[1] - length + 1)).long()
        at = first + torch.arange(length, device=values.device)
        seen = observed[row, at]
        return standardise_rows(values[row, at], seen), seen

    def cut_real(self, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops of real series, some at a coarser sampling; series shorter than `length` are padded left."""
        assert self.real is not None
        draws = torch.rand(count, 5, generator=generator).double().numpy()
        series = np.searchsorted(self.real.share, draws[:, 0])
        factors = stretches(count, self.config.stretch_share, generator)
        out = np.full((count, length), np.nan, dtype=np.float32)
        for row in range(count):
            start, end = (int(edge) for edge in self.real.starts[series[row] : series[row] + 2])
            step = coarseness(end - start, draws[row, 1])
            wanted = min(round(length * factors[row]) * step, (end - start) // step * step)
            first = start + int(draws[row, 2] * (end - start - wanted + 1))
            piece = stretched(self.real.flat[first : first + wanted].reshape(-1, step).mean(1), factors[row])[:length]
            if draws[row, 3] < self.config.reverse_share:
                piece = piece[::-1]
            spare = min(self.config.patch, length - len(piece) + 1)
            end_at = length - int(draws[row, 4] * spare)  # a short series ends anywhere in the last patch
            out[row, end_at - len(piece) : end_at] = piece
        values = torch.from_numpy(out).to(self.device)
        observed = ~torch.isnan(values)
        values = standardise_rows(torch.where(observed, values, 0.0), observed)
        if self.config.bend_share:
            values = standardise_rows(bend(values, observed, self.config.bend_share, generator), observed)
        return values, observed

    def shorten(self, observed: Tensor, generator: torch.Generator) -> Tensor:
        """Hide the start of some windows, so that short histories are common."""
        batch, length = observed.shape
        position = torch.arange(length, device=observed.device)
        chosen = uniform(batch, 1, like=observed, generator=generator) < self.config.short_share
        low = np.log(self.config.patch)
        kept = torch.exp(low + uniform(batch, 1, like=observed, generator=generator) * (np.log(length) - low))
        return torch.where(chosen, observed & (position >= length - kept), observed)


def coarseness(length: int, draw: float) -> int:
    """Steps averaged into one: mostly 1, else a factor that leaves at least 64 points of a series of `length`."""
    factors = [factor for factor in (2, 3, 4, 6, 7, 12, 24) if length // factor >= 64]
    if draw >= 0.25 or not factors:
        return 1
    return factors[int(draw / 0.25 * len(factors))]


def stretches(count: int, share: float, generator: torch.Generator) -> NDArray[np.float64]:
    """Steps of a real series to one of its window (count,): 1, or for a `share` log-uniform between 1/2 and 2.

    A few dozen sets are seen again and again: at other speeds they teach seasons instead of themselves.
    """
    if not share:
        return np.ones(count)
    draws = torch.rand(count, 2, generator=generator).double().numpy()
    factors: NDArray[np.float64] = np.where(draws[:, 0] < share, 2.0 ** (2 * draws[:, 1] - 1), 1.0)
    return factors


def stretched(piece: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Values at every `factor`-th step, linear in between; NaN beside a missing one."""
    if factor == 1:
        return piece
    at = np.arange(0, len(piece) - 1 + 1e-9, factor)
    below = at.astype(np.int64)
    above, part = np.minimum(below + 1, len(piece) - 1), (at - below).astype(np.float32)
    between: NDArray[np.float32] = piece[below] * (1 - part) + piece[above] * part
    return np.where(part == 0, piece[below], between)


def bend(values: Tensor, observed: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Put a share of the rows, brought to [0, 1], through a power between 0.4 and 2.5: other tails, the same order."""
    low = torch.where(observed, values, torch.inf).amin(1, keepdim=True)
    high = torch.where(observed, values, -torch.inf).amax(1, keepdim=True)
    draws = uniform(2, values.shape[0], 1, like=values, generator=generator)
    power = torch.exp(np.log(2.5) * (2 * draws[1] - 1))
    bent = ((values - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) ** power
    return torch.where(observed & (draws[0] < share), bent, values)


def uniform(*shape: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from [0, 1) on the device of `like`, the same ones on every device."""
    return torch.rand(*shape, generator=generator).to(like.device)


def standardise_rows(values: Tensor, observed: Tensor) -> Tensor:
    """Rows around their observed mean in units of their deviation; a rescaling only, which the model cannot see."""
    count = observed.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(observed, values, 0.0).sum(1, keepdim=True) / count
    centred = torch.where(observed, values - mean, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-12)


def mix(values: Tensor, observed: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace a share of the windows by a convex mixture with another one (TSMixup, Ansari et al. 2024)."""
    batch = values.shape[0]
    other = torch.randperm(batch, generator=generator).to(values.device)
    weight = 0.1 + 0.8 * uniform(batch, 1, like=values, generator=generator)
    chosen = uniform(batch, 1, like=values, generator=generator) < share
    mixed = weight * values + (1 - weight) * values[other]
    return torch.where(chosen, mixed, values), torch.where(chosen, observed & observed[other], observed)


def punch_holes(observed: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Hide one random stretch, and a sprinkle of single steps, in a share of the windows."""
    batch, length = observed.shape
    position = torch.arange(length, device=observed.device)
    draws = uniform(4, batch, 1, like=observed, generator=generator)
    width = torch.exp(draws[1] * np.log(length / 8))
    start = draws[2] * length
    gap = (position >= start) & (position < start + width)
    sprinkle = uniform(batch, length, like=observed, generator=generator) < 0.3 * draws[3] ** 3
    return torch.where(draws[0] < share, observed & ~gap & ~sprinkle, observed)
