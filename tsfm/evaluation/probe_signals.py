"""Noise-free parts of a probe: trends, seasons and level shifts, one random variant a series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError

# N series, C context steps, T steps in all, M steps of a period.

Array = NDArray[np.float64]
BEND = 3.0  # growth rate of the exponential trend over one context
STEEPNESS = 12.0  # of the logistic trend, a context
HARMONICS = 4


@dataclass(frozen=True)
class Trend:
    """A trend that rises by `rise` over the context, up or down by chance.

    kind    "linear"; "exponential": ever steeper, always up; "logistic": an S whose middle lies between `earliest` and
            `latest`; "break": linear until there, then `turn` times as steep
    earliest, latest    shares of the context
    """

    kind: str = "linear"
    rise: float = 8.0
    turn: float = -1.0
    earliest: float = 0.5
    latest: float = 0.85

    def draw(self, random: np.random.Generator, series: int, context: int, steps: int) -> Array:
        """One trend a series, (N, T)."""
        clock = np.arange(steps) / context
        at = random.uniform(self.earliest, self.latest, (series, 1))
        size = self.rise * random.choice([-1.0, 1.0], (series, 1))
        if self.kind == "linear":
            return np.asarray(size * clock, dtype=np.float64)
        if self.kind == "exponential":
            return np.asarray(np.abs(size) * np.expm1(BEND * clock) / np.expm1(BEND), dtype=np.float64)
        if self.kind == "logistic":
            return np.asarray(size / (1 + np.exp(-STEEPNESS * (clock - at))), dtype=np.float64)
        if self.kind == "break":
            return np.asarray(size * (np.minimum(clock, at) + self.turn * np.maximum(clock - at, 0)), dtype=np.float64)
        raise DataError(f"no trend {self.kind!r}; there are linear, exponential, logistic, break")


@dataclass(frozen=True)
class Season:
    """A season of `period` steps within -amplitude..amplitude, at a random phase of its own in every series.

    shape    "sine"; "square": high for half of the period; "sawtooth": rises evenly, then drops; "pulse": high for an
             eighth; "harmonics": a random profile a series, of four harmonics
    """

    period: int
    amplitude: float = 1.0
    shape: str = "sine"

    def draw(self, random: np.random.Generator, series: int, steps: int) -> Array:
        """One season a series, (N, T), exactly periodic."""
        table = self.amplitude * self.profile(random, series)  # (N, M)
        start = random.integers(self.period, size=(series, 1))
        return np.take_along_axis(table, (start + np.arange(steps)) % self.period, axis=1)

    def profile(self, random: np.random.Generator, series: int) -> Array:
        """One period, (N, M), within -1..1."""
        phase = np.arange(self.period) / self.period
        if self.shape == "harmonics":
            order = np.arange(1, HARMONICS + 1)[:, None]
            angle = 2 * np.pi * (order * phase + random.random((series, HARMONICS, 1)))  # (N, harmonics, M)
            waves = (random.uniform(0.3, 1.0, (series, HARMONICS, 1)) / order * np.sin(angle)).sum(1)
            return np.asarray(waves / np.abs(waves).max(1, keepdims=True), dtype=np.float64)
        shapes = {
            "sine": np.sin(2 * np.pi * phase),
            "square": np.where(phase < 0.5, 1.0, -1.0),
            "sawtooth": np.linspace(-1.0, 1.0, self.period),
            "pulse": np.where(phase < 1 / 8, 1.0, -1.0),
        }
        if self.shape not in shapes:
            raise DataError(f"no season shape {self.shape!r}; there are {', '.join(shapes)}, harmonics")
        return np.broadcast_to(shapes[self.shape], (series, self.period))


@dataclass(frozen=True)
class Shift:
    """A level shift of `size`, up or down by chance, once between two shares of the context."""

    size: float
    earliest: float = 0.5
    latest: float = 0.9

    def draw(self, random: np.random.Generator, series: int, context: int, steps: int) -> Array:
        """One shift a series, (N, T)."""
        at = context * random.uniform(self.earliest, self.latest, (series, 1))
        size = self.size * random.choice([-1.0, 1.0], (series, 1))
        return np.where(np.arange(steps) >= at, size, 0.0)
