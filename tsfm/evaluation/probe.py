"""Probes: series of known law with their best possible forecast, to see what a model picks up and what it cannot.

In the spirit of SynTSBench (Tan et al. 2025): a task is one structure (a trend, a season, two seasons, gaps, a random
walk, ...), and beside the model's error stand the seasonal naive forecast's and the optimum's. The optimum is the
conditional quantile given law, parameters and past (probe_laws.py), which nobody can beat; a model that must learn the
parameters from the context stays above it. What differs: quantiles instead of points, and laws with memory.

A value is    base = level + trend + shift
              signal = base + seasons, or base * (1 + seasons)
              law(signal), perhaps with outliers; of the past, perhaps with steps missing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.metrics import LEVELS
from tsfm.evaluation.probe_laws import LAWS, Exact, Gaussian, Law, Student, around, invert
from tsfm.evaluation.probe_signals import Season, Shift, Trend

if TYPE_CHECKING:
    from tsfm.evaluation.tasks import Task

# N series, C context steps, H horizon, T = C + H, Q quantile levels.

Array = NDArray[np.float64]
Kind = TypeVar("Kind")
SPLITS = ("test", "validation")
EXACT = Exact()


@dataclass(frozen=True)
class Outliers:
    """Values thrown up or down by `size`, each with probability `rate`.

    future    they go on after the cut as well, so that they are part of what is to be forecast; else of the past only
    """

    rate: float
    size: float
    future: bool = False

    def draw(self, random: np.random.Generator, series: int, context: int, steps: int) -> Array:
        """What is added to the values, (N, T)."""
        thrown = self.size * random.choice([-1.0, 1.0], (series, steps)) * (random.random((series, steps)) < self.rate)
        if not self.future:
            thrown[:, context:] = 0.0
        return thrown

    def quantiles(self, law: Exact | Gaussian | Student, levels: Sequence[float]) -> Array:
        """Quantiles (Q,) of noise that is thrown: those of a mixture of three, solved numerically."""

        def mixture(x: float) -> float:
            thrown = law.cdf(x - self.size) + law.cdf(x + self.size)
            return (1 - self.rate) * law.cdf(x) + 0.5 * self.rate * thrown

        return invert(mixture, levels, self.size + 1e3 * getattr(law, "scale", 0.0))


@dataclass(frozen=True)
class Missing:
    """Steps of the past that were not observed: each with probability `rate`, and `blocks` runs of `length` steps."""

    rate: float = 0.0
    blocks: int = 0
    length: int = 0

    def draw(self, random: np.random.Generator, series: int, context: int) -> NDArray[np.bool_]:
        """Tell which steps are missing, (N, C)."""
        hidden = random.random((series, context)) < self.rate
        for _ in range(self.blocks):
            first = random.integers(context - self.length, size=(series, 1))
            clock = np.arange(context)
            hidden |= (clock >= first) & (clock < first + self.length)
        return hidden


@dataclass(frozen=True)
class Probe:
    """A recipe of series; everything random in it follows from `seed`.

    past         steps before the cut
    level        of each series between a half and one and a half times this
    multiplied   seasons are shares of the level and the trend, and swell with them
    outliers     where the future is thrown too, the law is none, gaussian or student
    missing      the last steps that a law with memory needs are always observed, so that the optimum is known
    """

    past: int
    horizon: int
    seed: int
    series: int = 64
    level: float = 30.0
    trend: Trend | None = None
    seasons: tuple[Season, ...] = ()
    multiplied: bool = False
    shift: Shift | None = None
    law: Law = EXACT
    outliers: Outliers | None = None
    missing: Missing | None = None

    def __post_init__(self) -> None:
        """Refuse what has no known optimum."""
        if min(self.past, self.horizon, self.series) < 1:
            raise DataError(f"{self} has no series, past or horizon; each is at least 1")
        if self.outliers and self.law.memory:
            raise DataError(f"outliers hide the state of {self.law}; take a law without memory")
        if self.outliers and self.outliers.future and not isinstance(self.law, Exact | Gaussian | Student):
            raise DataError(f"the optimum of {self.law} with outliers in the future is not known; leave future out")


@dataclass(frozen=True)
class Probes:
    """Series made by a recipe.

    context   (N, C)     NaN where missing
    target    (N, H)
    optimal   (N, H, Q)  the best possible quantiles
    """

    context: Array
    target: Array
    optimal: Array


def generate(probe: Probe, levels: Sequence[float] = LEVELS, split: str = "test") -> Probes:
    """Series of a recipe with their optimum; the splits are two independent draws."""
    if split not in SPLITS:
        raise UnknownName(f"no split {split!r}; there are {', '.join(SPLITS)}")
    random = np.random.default_rng((probe.seed, SPLITS.index(split)))
    cut, steps = probe.past, probe.past + probe.horizon
    signal = draw_signal(probe, random)  # (N, T)
    values = probe.law.draw(random, signal)
    if probe.outliers is not None and probe.outliers.future:
        optimal = around(signal, values[:, :cut], probe.outliers.quantiles(_plain(probe.law), levels))
    else:
        optimal = probe.law.quantiles(signal, values[:, :cut], levels)
    if probe.outliers is not None:
        values = values + probe.outliers.draw(random, probe.series, cut, steps)
    context = values[:, :cut].copy()
    if probe.missing is not None:
        hidden = probe.missing.draw(random, probe.series, cut)
        hidden[:, cut - probe.law.memory :] = False
        context[hidden] = np.nan
    return Probes(context, values[:, cut:], optimal)


def draw_signal(probe: Probe, random: np.random.Generator) -> Array:
    """The noise-free part, (N, T)."""
    steps = probe.past + probe.horizon
    base = np.repeat(probe.level * random.uniform(0.5, 1.5, (probe.series, 1)), steps, axis=1)
    if probe.trend is not None:
        base = base + probe.trend.draw(random, probe.series, probe.past, steps)
    if probe.shift is not None:
        base = base + probe.shift.draw(random, probe.series, probe.past, steps)
    seasons = np.zeros_like(base)
    for season in probe.seasons:
        seasons = seasons + season.draw(random, probe.series, steps)
    return np.asarray(base * (1 + seasons) if probe.multiplied else base + seasons, dtype=np.float64)


def read_probe(task: "Task") -> Probe:
    """Return the recipe of a suite's task: `Probe`'s fields as TOML, `seasons` a list, `law` with its `kind`."""
    entry = dict(task.law)
    law = dict(entry.pop("law", {"kind": "none"}))
    kind = law.pop("kind", None)
    if kind not in LAWS:
        raise DataError(f"task {task.name!r} has law {kind!r}; laws are {', '.join(LAWS)}")
    parts: dict[str, Any] = {"law": _made(task, LAWS[kind], _frozen(law))}
    parts["seasons"] = tuple(_made(task, Season, season) for season in entry.pop("seasons", ()))
    kinds: dict[str, Callable[..., Any]] = {"trend": Trend, "shift": Shift, "outliers": Outliers, "missing": Missing}
    for name, made in kinds.items():
        if name in entry:
            parts[name] = _made(task, made, entry.pop(name))
    return _made(task, Probe, {"horizon": task.horizon, **entry, **parts})


def probe_windows(
    task: "Task", split: str = "test", levels: Sequence[float] = LEVELS
) -> Iterator[tuple[str, Array, Array, Array]]:
    """Yield (series_id, context (C,), target (H,), optimal (H, Q)) of each series of a task.

    A task's `context` cuts what a model is given; series and optimum, which knows all of the past, stay as they are.
    """
    made = generate(read_probe(task), levels, split)
    first = max(0, made.context.shape[1] - task.context) if task.context else 0
    for position, context in enumerate(made.context):
        yield f"{task.name} {position}", context[first:], made.target[position], made.optimal[position]


def probe_hash(task: "Task") -> str:
    """sha256 of the test split's values as float32, so that the last digits of a processor's sine do not show."""
    made = generate(read_probe(task))
    whole = np.concatenate([made.context, made.target], axis=1).astype("<f4")
    return hashlib.sha256(np.where(np.isnan(whole), np.float32("nan"), whole).tobytes()).hexdigest()


def _plain(law: Law) -> Exact | Gaussian | Student:
    assert isinstance(law, Exact | Gaussian | Student)  # Probe has seen to it
    return law


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}


def _made(task: "Task", kind: Callable[..., Kind], entry: Mapping[str, Any]) -> Kind:
    try:
        return kind(**entry)
    except TypeError as error:
        raise DataError(f"task {task.name!r} cannot be read: {error}") from error
