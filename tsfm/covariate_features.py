"""Features of covariates: what a head sees of one step of one window, in numbers.

    column known ahead   its value at that step; how far that is from its mean over the last season before the cutoff,
                         from its value one season earlier and from the step before; how far from the median, in units
                         of the series, a line leads that was drawn through target and covariate in the last ten
                         seasons of this series; of words the code of that step
    past column          the last known value, and the mean over the last season; of words the last known code
    static column        its value, or the code of its word
    of the forecast      the median, in units of the series, from the level of the last season; the step ahead

A season of one step counts as the last ten. Words that a head has not been fitted to share a code of their own, the
last; what is missing is NaN. Nothing of the target is read but its history.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# n windows, C context steps, H horizon, F features.

SHORT = 10  # steps of a "season" where there is none
SEASONS = 10  # that tell the scale of a series


@dataclass(frozen=True)
class CovariateColumn:
    """One covariate: "past", "future" or "static"; `words` are its categories, None where it holds numbers."""

    name: str
    role: str
    words: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Surroundings:
    """What is known of n windows beside the base's forecast.

    ids, history, season   names of the series; target before the cutoff (C,); steps in their seasons
    past, ahead            column -> n arrays before the cutoff (C,), and after it (H,)
    static                 column -> n values
    words                  column of words -> what its codes stand for in these data
    """

    ids: list[Hashable]
    history: list[Floats]
    season: list[int]
    past: dict[str, list[Floats]]
    ahead: dict[str, list[Floats]]
    static: dict[str, list[Any]]
    words: Mapping[str, Sequence[str]]


def at_end(panel: Panel, columns: Sequence[CovariateColumn], horizon: int) -> Surroundings:
    """What surrounds the forecast of every series of a panel."""
    past, future, static = panel.past_covariates or {}, panel.future_covariates or {}, panel.static or {}
    return Surroundings(
        panel.ids,
        panel.values,
        panel.season,
        {one.name: past[one.name] for one in columns if one.role != "static"},
        {one.name: [row[:horizon] for row in future[one.name]] for one in columns if one.role == "future"},
        {one.name: static[one.name] for one in columns if one.role == "static"},
        panel.categories,
    )


def at_cutoffs(
    panel: Panel,
    columns: Sequence[CovariateColumn],
    series: NDArray[np.int64],
    cutoff: NDArray[np.int64],
    horizon: int,
) -> Surroundings:
    """What surrounded windows of the history; known ahead is what then stood in the columns."""
    moving, static = panel.past_covariates or {}, panel.static or {}
    pairs = list(zip(series.tolist(), cutoff.tolist(), strict=True))
    names = [one.name for one in columns if one.role != "static"]
    coming = [one.name for one in columns if one.role == "future"]
    return Surroundings(
        [panel.ids[i] for i, _ in pairs],
        [panel.values[i][:end] for i, end in pairs],
        [panel.index[i].season for i, _ in pairs],
        {name: [moving[name][i][:end] for i, end in pairs] for name in names},
        {name: [moving[name][i][end : end + horizon] for i, end in pairs] for name in coming},
        {one.name: [static[one.name][i] for i, _ in pairs] for one in columns if one.role == "static"},
        panel.categories,
    )


def span(season: int) -> int:
    """Steps over which means are taken."""
    return season if season > 1 else SHORT


def own_scale(history: Floats, season: int) -> float:
    """Mean absolute change over a season in the last ten seasons; 0 where nothing moved or can be told."""
    recent = history[-SEASONS * max(season, SHORT) :]
    for step in dict.fromkeys((season, 1)):
        with np.errstate(over="ignore"):  # changes near the end of float64's range tell no scale
            changes = np.abs(recent[step:] - recent[:-step])
        changes = changes[~np.isnan(changes)]
        usual = float(changes.mean()) if len(changes) else 0.0
        if 0 < usual < np.inf:
            return usual
    return 0.0


def own_scales(known: Surroundings) -> Floats:
    """The unit of every window (n,)."""
    return np.array([own_scale(*one) for one in zip(known.history, known.season, strict=True)], dtype=np.float64)


def features(
    columns: Sequence[CovariateColumn], known: Surroundings, medians: Floats, scale: Floats, horizon: int
) -> Floats:
    """Features of every step of every window, those that are codes first.

    medians   (n, H) of the base
    scale     (n,)
    horizon   the last step that a head knows; later steps count as that one
    returns   (n, H, F), NaN where missing
    """
    codes: list[Floats] = []
    numbers: list[Floats] = []
    for column in columns:
        made = BUILDERS[column.role](column, known, medians.shape)
        (numbers if column.words is None else codes).extend(made)
    level = np.array([mean_of(one[-span(s) :]) for one, s in zip(known.history, known.season, strict=True)])
    unit = np.where(scale > 0, scale, 1.0)
    ahead = [one for one in columns if one.role == "future" and one.words is None]
    numbers += [_by_own_line(one, known, medians, unit) for one in ahead]
    numbers.append((medians - level[:, None]) / unit[:, None])
    steps = np.minimum(np.arange(1, medians.shape[1] + 1), horizon)
    numbers.append(np.broadcast_to(steps.astype(np.float64), medians.shape))
    return np.stack([*codes, *numbers], axis=-1)


def cardinalities(columns: Sequence[CovariateColumn]) -> tuple[int, ...]:
    """How many codes each of the first features can take; the last of each is any other word."""
    return tuple(len(one.words) + 1 for one in columns if one.words is not None)


def _future(column: CovariateColumn, known: Surroundings, shape: tuple[int, ...]) -> list[Floats]:
    now = np.stack(known.ahead[column.name])
    if column.words is not None:
        return [recoded(now, known.words[column.name], column.words)]
    usual, before = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, (past, season) in enumerate(zip(known.past[column.name], known.season, strict=True)):
        usual[row] = mean_of(past[-span(season) :])
        places = np.arange(shape[1]) % season - season + len(past)
        there = places >= 0
        before[row, there] = past[places[there]]
    return [now, now - usual, now - before, now - _one_step_before(now, known.past[column.name])]


def _one_step_before(ahead: Floats, past: Sequence[Floats]) -> Floats:
    """The value of the step before each one ahead (n, H); before the first it is the last of the history."""
    last = [one[-1] if len(one) else np.nan for one in past]
    return np.column_stack([last, ahead[:, :-1]])


def _by_own_line(column: CovariateColumn, known: Surroundings, medians: Floats, unit: Floats) -> Floats:
    """How far from the median (n, H) the line of the target over the covariate in the last ten seasons leads."""
    found = np.full(medians.shape, np.nan)
    for row, (target, past, season) in enumerate(
        zip(known.history, known.past[column.name], known.season, strict=True)
    ):
        steps = SEASONS * max(season, SHORT)
        y, x = target[-steps:], past[-steps:]
        both = ~np.isnan(x) & ~np.isnan(y)
        if both.sum() > SHORT and np.ptp(x[both]) > 0:
            slope, level = line(x[both], y[both])
            ahead = np.clip(known.ahead[column.name][row], x[both].min(), x[both].max())
            found[row] = (level + slope * ahead - medians[row]) / unit[row]
    return found


def line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and intercept of least squares."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _past(column: CovariateColumn, known: Surroundings, shape: tuple[int, ...]) -> list[Floats]:
    last, usual = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, (past, season) in enumerate(zip(known.past[column.name], known.season, strict=True)):
        there = np.flatnonzero(~np.isnan(past[-span(season) :]))
        if len(there):
            recent = past[-span(season) :][there]
            last[row], usual[row] = recent[-1], recent.mean()
    if column.words is not None:
        return [recoded(last, known.words[column.name], column.words)]
    return [last, usual]


def _static(column: CovariateColumn, known: Surroundings, shape: tuple[int, ...]) -> list[Floats]:
    if column.words is None:
        numbers = [as_number(value, column.name) for value in known.static[column.name]]
    else:
        places = {word: float(code) for code, word in enumerate(column.words)}
        numbers = [
            np.nan if is_missing(value) else places.get(str(value), float(len(places)))
            for value in known.static[column.name]
        ]
    return [np.broadcast_to(np.array(numbers, dtype=np.float64)[:, None], shape)]


BUILDERS = {"future": _future, "past": _past, "static": _static}


def recoded(codes: Floats, words: Sequence[str], fitted: Sequence[str]) -> Floats:
    """Codes of the words of these data as codes of those fitted; other words get the code after the last."""
    places = {word: code for code, word in enumerate(fitted)}
    table = np.array([places.get(word, len(places)) for word in words] or [0], dtype=np.float64)
    missing = np.isnan(codes)
    return np.where(missing, np.nan, table[np.where(missing, 0, codes).astype(np.int64)])


def mean_of(values: Floats) -> float:
    """Mean of what is there, NaN for nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def is_missing(value: Any) -> bool:
    """Whether a static value is absent: None, NaN, NaT or NA."""
    return bool(pd.isna(value))


def as_number(value: Any, name: str) -> float:
    """A static number, NaN where it is absent."""
    try:
        return float("nan") if is_missing(value) else float(value)
    except (TypeError, ValueError):
        raise DataError(f"static {name!r} held numbers when it was fitted and holds {value!r} now; give one") from None
