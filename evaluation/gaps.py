"""Where a model falls behind: its errors over those of the best small model of others, part by part.

The best is chosen anew for every part, so no single model beats ours by as much everywhere: in a part of one or two
configurations somebody is ahead by luck alone. Statistical models, fitted to each series, count as small. Models that
have seen a benchmark's data are no rivals.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from evaluation.rows import Model, Task
from evaluation.standings import Comparison, logs, place_of, ratios, values_of
from tsfm.errors import DataError

SMALL = 10e6  # parameters of the largest model that ours is compared with
WORST = 8  # configurations named


class Gap(NamedTuple):
    """A model's geometric mean error over that of the best rival in a part of the configurations."""

    by: str
    part: str
    tasks: int
    ratio: float
    rival: str


def gaps(found: Comparison, name: str, metric: str, most: float = SMALL, worst: int = WORST) -> list[Gap]:
    """Gaps by domain, frequency and term, each from the widest to the narrowest, then the worst configurations.

    most   parameters of a rival; models of unknown size and our own are none
    """
    mine = place_of(found, name, "--gaps")
    rivals = [place for place, model in enumerate(found.models) if is_rival(model, most)]
    if not rivals:
        raise DataError(f"no published model of at most {most / 1e6:g}M parameters is among the models compared")
    table = logs(ratios(found.models, found.tasks, metric))  # (T, M)
    every = []
    for by, parts in parts_of(found.tasks):
        part_gaps = []
        for part, chosen in parts:
            means = table[chosen].mean(axis=0)
            best = min(rivals, key=lambda place: means[place])
            ratio = float(np.exp(means[mine] - means[best]))
            part_gaps.append(Gap(by, part, len(chosen), ratio, found.models[best].name))
        every += sorted(part_gaps, key=lambda gap: -gap.ratio)[: worst if by == "configuration" else None]
    return every


def is_rival(model: Model, most: float) -> bool:
    """Whether a model is somebody else's, known to be small, and not known to have seen the data."""
    return not model.ours and model.leak != "yes" and model.parameters is not None and model.parameters <= most


def parts_of(tasks: tuple[Task, ...]) -> Iterator[tuple[str, list[tuple[str, list[int]]]]]:
    """Ways to part tasks, each with its parts and the places of their tasks."""
    for by in ("domain", "frequency", "term"):
        places = {
            part: [t for t, task in enumerate(tasks) if getattr(task, by) == part] for part in values_of(tasks, by)
        }
        yield by, [(part or "not stated", chosen) for part, chosen in places.items()]
    yield "configuration", [(task.name, [t]) for t, task in enumerate(tasks)]
