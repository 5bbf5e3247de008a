"""Standings from scores: skill over the seasonal naive forecast, ranks, wins and intervals. Numbers in, numbers out.

Skill is 1 - the geometric mean of a model's errors over those of the seasonal naive forecast, as GIFT-Eval aggregates
(geometric mean over configurations, divided by that of `seasonal_naive`). Two things differ from there: ties share
their rank, and a ratio below 0.01 counts as 0.01 (fev's bound), since one error of zero would make every other
configuration worthless. There is no upper bound, as on GIFT-Eval. `standings.js` does the same in the page.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.rows import Model, Suite, Task
from tsfm.errors import DataError
from tsfm.evaluation.metrics import FLOOR, relative

# T tasks, M models, G data sets, R resamples.

Array = NDArray[np.float64]

METRICS = ("crps", "mase")
COMPLETE = 0.9
RESAMPLES, SEED, COVERAGE = 1000, 0, 0.95
TERMS = ("short", "medium", "long")
UNITS = ("second", "minute", "hour", "day", "business day", "week", "month", "quarter", "year")
FEWEST_GROUPS = 3  # an interval from fewer data sets says nothing


@dataclass(frozen=True)
class Comparison:
    """Who is compared on what: every model here has every task here.

    left_out  models that lack too many tasks to be compared, each with those it lacks
    dropped   tasks left out for everybody, each with the models that lack it
    asked     how many tasks the benchmark has
    """

    models: tuple[Model, ...]
    tasks: tuple[Task, ...]
    left_out: tuple[tuple[str, list[str]], ...]
    dropped: tuple[tuple[str, list[str]], ...]
    asked: int


@dataclass(frozen=True)
class Standing:
    """One line of the table; intervals are NaN for fewer than three data sets, `wins` for one model alone."""

    model: Model
    skill: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    rank: dict[str, float]
    wins: float


class Duel(NamedTuple):
    """A model's errors over those of another: geometric mean, and the ends of its paired interval."""

    other: Model
    ratio: float
    low: float
    high: float


def compare(suite: Suite, universe: Iterable[str] | None = None, complete: float = COMPLETE) -> Comparison:
    """Choose models and tasks so that every model has every task.

    universe  names of the tasks to compare on; those that a model of ours was measured on if None
    complete  a model with fewer than this share of the tasks that the fullest one has is left out, and named;
              every other model narrows the comparison to what all of them have
    """
    names = set(suite.measured if universe is None else universe)
    tasks = [task for task in suite.tasks if task.name in names]
    usable = np.isfinite(sum(ratios(suite.models, tasks, metric) for metric in METRICS))  # (T, M)
    counts = usable.sum(axis=0)
    kept = counts >= max(1, complete * counts.max(initial=0))
    shared = usable[:, kept].all(axis=1)

    def lacking(row: Array, of: Sequence[Task | Model]) -> list[str]:
        return [one.name for one, has in zip(of, row, strict=True) if not has]

    inside = tuple(model for model, keep in zip(suite.models, kept, strict=True) if keep)
    return Comparison(
        models=inside,
        tasks=tuple(task for task, keep in zip(tasks, shared, strict=True) if keep),
        left_out=tuple((suite.models[m].name, lacking(usable[:, m], tasks)) for m in np.flatnonzero(~kept)),
        dropped=tuple((tasks[t].name, lacking(usable[t, kept], inside)) for t in np.flatnonzero(~shared)),
        asked=len(suite.tasks),
    )


def place_of(found: Comparison, name: str, option: str) -> int:
    """Where a model stands among those compared; `option` is the one that named it, for the error where it is not."""
    names = [model.name for model in found.models]
    if name not in names:
        raise DataError(f"{option} {name}: it is not among the models compared: {', '.join(sorted(names))}")
    return names.index(name)


def ratios(models: Sequence[Model], tasks: Sequence[Task], metric: str) -> Array:
    """Return errors over those of the seasonal naive forecast, (T, M); NaN where there is none to be had."""
    table = np.full((len(tasks), len(models)), np.nan)
    for column, model in enumerate(models):
        for line, task in enumerate(tasks):
            score = model.scores.get(task.name)
            if score is not None:
                table[line, column] = relative(getattr(score, metric), getattr(score, f"naive_{metric}"))
    return np.where(np.isfinite(table), table, np.nan)


def standings(models: Sequence[Model], tasks: Sequence[Task]) -> list[Standing]:
    """Return a line for each model over these tasks, which every one must have, the best CRPS skill first."""
    if not models or not tasks:
        return []
    table = {metric: ratios(models, tasks, metric) for metric in METRICS}
    groups = [task.group for task in tasks]
    means = {metric: 1 - np.exp(logs(values).mean(axis=0)) for metric, values in table.items()}
    ends = {metric: 1 - interval(logs(values), groups)[::-1] for metric, values in table.items()}
    places = {metric: ranks(values).mean(axis=0) for metric, values in table.items()}
    wins = win_rates(table["crps"])
    others = max(1, len(models) - 1)

    def at(values: dict[str, Array], index: int) -> dict[str, float]:
        return {metric: float(array[index]) for metric, array in values.items()}

    lines = [
        Standing(
            model,
            skill=at(means, m),
            low=at({metric: both[0] for metric, both in ends.items()}, m),
            high=at({metric: both[1] for metric, both in ends.items()}, m),
            rank=at(places, m),
            wins=float((wins[m].sum() - 0.5) / others) if len(models) > 1 else math.nan,
        )
        for m, model in enumerate(models)
    ]
    return sorted(lines, key=lambda line: (-line.skill["crps"], line.model.name))


def slices(models: Sequence[Model], tasks: Sequence[Task], by: str) -> dict[str, list[Standing]]:
    """Return standings for each value of `by` ("domain", "frequency", "term" or "group") among the tasks."""
    parts = {value: [task for task in tasks if getattr(task, by) == value] for value in values_of(tasks, by)}
    return {value: standings(models, part) for value, part in parts.items()}


def values_of(tasks: Sequence[Task], by: str) -> list[str]:
    """Values of a property among the tasks: frequencies and terms from short to long, anything else as they come."""
    values = list(dict.fromkeys(getattr(task, by) for task in tasks))
    if by == "frequency":
        return sorted(values, key=_length)
    return sorted(values, key=TERMS.index) if by == "term" and set(values) <= set(TERMS) else values


def duels(models: Sequence[Model], tasks: Sequence[Task], mine: Model, metric: str = "crps") -> list[Duel]:
    """Return the errors of `mine` over those of every other model, in the order of `models`.

    The interval is paired: both models meet the same data sets in every resample, so it is far narrower than the
    difference between two lines of the table.
    """
    table = logs(ratios(models, tasks, metric))
    own = next(index for index, model in enumerate(models) if model is mine)
    quotient = table[:, [own]] - table
    found = np.vstack([np.exp(quotient.mean(axis=0)), interval(quotient, [task.group for task in tasks])])
    return [Duel(model, *map(float, found[:, m])) for m, model in enumerate(models) if m != own]


def logs(table: Array) -> Array:
    """Logarithms of ratios, of which a geometric mean is made."""
    return np.asarray(np.log(np.maximum(table, FLOOR)))


def ranks(table: Array) -> Array:
    """Rank of every model on every task, 1 the lowest error, ties sharing the mean of their places; (T, M)."""
    less = (table[:, None, :] < table[:, :, None]).sum(axis=2)
    same = (table[:, None, :] == table[:, :, None]).sum(axis=2)
    return np.asarray(1 + less + (same - 1) / 2, dtype=np.float64)


def win_rates(table: Array) -> Array:
    """Share of tasks on which the row's model beats the column's, ties half; (M, M) with a half on the diagonal."""
    mine, theirs = table[:, :, None], table[:, None, :]
    return np.asarray(((mine < theirs) + 0.5 * (mine == theirs)).mean(axis=0))


def interval(table: Array, groups: Sequence[str]) -> Array:
    """95 % bootstrap interval of the geometric mean of logarithms, (T, M) -> (2, M).

    Data sets are drawn, each with all its configurations, so that a set of many configurations is no more certain.
    """
    names, index = np.unique(np.array(groups), return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return np.full((2, table.shape[1]), np.nan)
    member = (index[None, :] == np.arange(len(names))[:, None]).astype(np.float64)  # (G, T)
    counts = (draws(RESAMPLES, len(names))[..., None] == np.arange(len(names))).sum(axis=1)  # (R, G)
    sums = member @ table  # (G, M)
    means = np.exp((counts @ sums) / (counts @ member.sum(axis=1))[:, None])  # (R, M)
    tail = 50 * (1 - COVERAGE)
    return np.asarray(np.percentile(means, [tail, 100 - tail], axis=0))


def draws(resamples: int, groups: int, seed: int = SEED) -> NDArray[np.int64]:
    """Indices below `groups`, (resamples, groups), a hash of their place: the page draws the very same ones.

    The hash is the finaliser of MurmurHash3 (Appleby 2011).
    """
    word = np.arange(resamples * groups, dtype=np.uint64) + np.uint64(seed * resamples * groups + 1)
    word = word * np.uint64(0x9E3779B9) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    word ^= word >> np.uint64(16)
    return (word * np.uint64(groups) >> np.uint64(32)).astype(np.int64).reshape(resamples, groups)


def _length(frequency: str) -> tuple[int, int]:
    count, _, unit = frequency.rpartition(" ") if frequency[:1].isdigit() else ("1", "", frequency)
    unit = unit.removesuffix("s")
    return (UNITS.index(unit) if unit in UNITS else len(UNITS), int(count))
