"""Laws of what a series does around its signal, each with the best possible forecast.

A law draws values around a noise-free signal and gives the quantiles of the future values, *given the signal, the
parameters and all that was observed*: what a forecaster could reach that had learned the law from infinitely many such
series. Nobody has lower expected quantile loss at any level, since the loss is least at the conditional quantile
(Koenker & Bassett 1978). What "optimal" means, law by law, stands in each docstring.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# N series, C context steps, H horizon, T = C + H, Q quantile levels.

Array = NDArray[np.float64]
HALVINGS = 80  # of a bracket of a thousand scales: below float64's resolution
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)  # of integrals over -1..1


class Law(Protocol):
    """What the laws have in common; `memory` is how many of the last steps the future depends on."""

    @property
    def memory(self) -> int: ...

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        """Values (N, T) around the signal (N, T)."""

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        """Return the optimum (N, H, Q) from the signal (N, T) and past values (N, C), the last `memory` observed."""


def normal_scores(levels: Sequence[float]) -> Array:
    """Quantiles (Q,) of the standard normal law."""
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def invert(cdf: Callable[[float], float], levels: Sequence[float], reach: float) -> Array:
    """Quantiles (Q,), the least x in -reach..reach with cdf(x) >= level, by bisection."""
    found = []
    for level in levels:
        low, high = -reach, reach
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if cdf(middle) >= level else (middle, high)
        found.append(high)
    return np.array(found)


def around(signal: Array, past: Array, offsets: Array) -> Array:
    """Quantiles (N, H, Q) of the future signal plus noise whose quantiles (Q,) are the same at every step."""
    return signal[:, past.shape[1] :, None] + offsets


@dataclass(frozen=True)
class Exact:
    """No noise. Optimal: the signal itself, at every level; its error is zero."""

    memory = 0

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        return signal.copy()

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        return around(signal, past, np.zeros(len(levels)))

    def cdf(self, x: float) -> float:
        return float(x >= 0)


@dataclass(frozen=True)
class Gaussian:
    """Independent normal noise of standard deviation `scale`. Optimal: the signal plus the normal quantiles."""

    scale: float
    memory = 0

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        return signal + self.scale * random.standard_normal(signal.shape)

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        return around(signal, past, self.scale * normal_scores(levels))

    def cdf(self, x: float) -> float:
        return NormalDist(0.0, self.scale).cdf(x)


@dataclass(frozen=True)
class Student:
    """Independent heavy-tailed noise, `scale` times a Student t. Optimal: the signal plus the quantiles of that law."""

    scale: float
    freedom: float = 3.0
    memory = 0

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        return signal + self.scale * random.standard_t(self.freedom, signal.shape)

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        return around(signal, past, invert(self.cdf, levels, 1e3 * self.scale))

    def cdf(self, x: float) -> float:
        """Probability below x = scale * sqrt(freedom) * tan(angle): the angle has density cos(angle)**(freedom - 1)."""

        def area(angle: float) -> float:
            return 0.5 * angle * float(WEIGHTS @ np.cos(0.5 * angle * (NODES + 1)) ** (self.freedom - 1))

        return 0.5 + 0.5 * area(math.atan(x / (self.scale * math.sqrt(self.freedom)))) / area(0.5 * math.pi)


@dataclass(frozen=True)
class Uneven:
    """Independent normal noise whose standard deviation, `scale` on geometric average, swells and shrinks.

    It is between exp(-depth) and exp(depth) times `scale`, once up and down every `period` steps, counted from the
    first. Optimal: the signal plus the normal quantiles times the standard deviation of the step.
    """

    scale: float
    period: int
    depth: float = 1.0
    memory = 0

    def deviation(self, steps: int) -> Array:
        """Standard deviation (T,) of each step."""
        clock = np.arange(steps) % self.period / self.period
        return self.scale * np.exp(self.depth * np.sin(2 * np.pi * clock))

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        return signal + self.deviation(signal.shape[1]) * random.standard_normal(signal.shape)

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        ahead = self.deviation(signal.shape[1])[past.shape[1] :, None]
        return around(signal, past, ahead * normal_scores(levels))


@dataclass(frozen=True)
class Multiplied:
    """The signal, above zero, times exp(scale * normal). Optimal: the lognormal quantiles; the signal is the median."""

    scale: float
    memory = 0

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        return np.asarray(signal * np.exp(self.scale * random.standard_normal(signal.shape)), dtype=np.float64)

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        return np.asarray(
            signal[:, past.shape[1] :, None] * np.exp(self.scale * normal_scores(levels)), dtype=np.float64
        )


@dataclass(frozen=True)
class Autoregressive:
    """The signal plus r[t] = w1 r[t-1] + w2 r[t-2] + ... + scale * normal; weights (1,) are a random walk.

    Optimal: the normal law of the conditional mean, the recursion continued without noise from the last observed r, and
    of the conditional variance scale**2 * (psi[0]**2 + ... + psi[h-1]**2), psi the response to a unit shock (Box &
    Jenkins 1970, chapter 5). For AR(1) that is w**h * r and scale**2 * (1 - w**2h) / (1 - w**2).
    """

    scale: float
    weights: tuple[float, ...] = (1.0,)

    @property
    def memory(self) -> int:
        return len(self.weights)

    def run(self, start: Array, shocks: Array) -> Array:
        """Continue r from `start` (N, memory), oldest first, under shocks (N, S)."""
        path = np.concatenate([start, shocks], axis=1)
        backwards = np.array(self.weights[::-1])
        for step in range(self.memory, path.shape[1]):
            path[:, step] += path[:, step - self.memory : step] @ backwards
        return path[:, self.memory :]

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        still = np.zeros((len(signal), self.memory))
        return signal + self.run(still, self.scale * random.standard_normal(signal.shape))

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        cut, steps = past.shape[1], signal.shape[1]
        last = (past - signal[:, :cut])[:, cut - self.memory :]
        mean = self.run(last, np.zeros((len(signal), steps - cut)))  # (N, H)
        shock = np.zeros((1, steps - cut))
        shock[0, 0] = self.scale
        deviation = np.sqrt(np.cumsum(self.run(np.zeros((1, self.memory)), shock) ** 2, axis=1))  # (1, H)
        return signal[:, cut:, None] + mean[..., None] + deviation[..., None] * normal_scores(levels)


@dataclass(frozen=True)
class Demand:
    """Intermittent demand: with the signal as its probability, 1 + Poisson(mean - 1) pieces are asked for, else none.

    Optimal: the least whole number whose probability of not being exceeded reaches the level; zero as long as the level
    is at most the probability of no demand.
    """

    mean: float = 4.0
    memory = 0

    def draw(self, random: np.random.Generator, signal: Array) -> Array:
        asked = random.random(signal.shape) < probability(signal)
        return np.where(asked, 1.0 + random.poisson(self.mean - 1, signal.shape), 0.0)

    def quantiles(self, signal: Array, past: Array, levels: Sequence[float]) -> Array:
        chance = probability(signal[:, past.shape[1] :, None])
        within = (np.asarray(levels) - (1 - chance)) / chance  # level inside the law of the pieces
        most = int(self.mean + 20 * math.sqrt(self.mean)) + 20
        count = np.arange(most)
        log_factorial = np.concatenate([[0.0], np.log(count[1:]).cumsum()])
        rate = max(self.mean - 1, 1e-12)
        below = np.exp(count * math.log(rate) - rate - log_factorial).cumsum()  # (pieces,)
        pieces = 1.0 + np.searchsorted(below, within)
        return np.where(within <= 0, 0.0, pieces)


def probability(signal: Array) -> Array:
    """The signal as a probability."""
    return np.clip(signal, 0.02, 0.98)


LAWS: dict[str, Callable[..., Law]] = {
    "none": Exact,
    "gaussian": Gaussian,
    "student": Student,
    "uneven": Uneven,
    "multiplied": Multiplied,
    "autoregressive": Autoregressive,
    "demand": Demand,
}
