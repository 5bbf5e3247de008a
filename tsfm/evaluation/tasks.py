"""What a benchmark asks, as data: a suite is a TOML file of tasks, a task one data set at one horizon under one rule.

rolling    windows back to back at the end of every series, each forecast from all that precedes it (GIFT-Eval;
           with one window, a forecasting competition)
sliding    every window of a test stretch, one step apart, on values standardised by the training stretch, from a
           fixed context (the long-horizon papers since Informer, Zhou et al. 2021)
generated  series of known law with their best possible forecast (tsfm/evaluation/probe.py)
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from tsfm.errors import DataError, UnknownName

PROTOCOLS = ("rolling", "sliding", "generated")


@dataclass(frozen=True)
class Task:
    """One row of a leaderboard.

    name       as the benchmark writes it, e.g. "ett1/H/short"
    dataset    name of a card of `datasets_registry`
    horizon    steps ahead
    season     steps; of the seasonal error that scales MASE and of the seasonal naive forecast
    term       "short", "medium" or "long", where the benchmark has terms
    windows    rolling: test windows a series
    context    the most steps a model is given; None for all there are
    train, validation, test    sliding: steps of the three stretches
    naive_mase, naive_crps     of the seasonal naive forecast as published; None where nothing is
    law        generated: the entry as it stands in the file
    """

    name: str
    dataset: str
    horizon: int
    season: int
    protocol: str = "rolling"
    term: str = ""
    windows: int = 1
    context: int | None = None
    train: int = 0
    validation: int = 0
    test: int = 0
    naive_mase: float | None = None
    naive_crps: float | None = None
    law: Mapping[str, Any] = field(default_factory=dict)


def suites() -> list[str]:
    """Names of the suites that travel with the package."""
    folder = resources.files("tsfm.evaluation") / "suites"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_suite(name: str = "zero_shot", tasks: Sequence[str] | None = None) -> list[Task]:
    """Tasks of a suite in file order, all or those whose name or data set is in `tasks`.

    name    one of `suites()`, or the path of a TOML file of your own, ending in .toml
    """
    own = Path(name)
    if own.suffix != ".toml" and name not in suites():
        raise UnknownName(f"no suite {name!r}; there are {', '.join(suites())}, or give the path of a .toml file")
    if own.suffix == ".toml" and not own.is_file():
        raise UnknownName(f"there is no file {name!r}; a suite is a TOML file of [[task]] entries")
    packaged = resources.files("tsfm.evaluation") / "suites" / f"{name}.toml"
    text = (own if own.suffix == ".toml" else packaged).read_text(encoding="utf-8")
    try:
        suite = [read_task(entry) for entry in tomllib.loads(text)["task"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"suite {name!r} cannot be read: {error}; it needs [[task]] entries as those of tsfm"
        ) from error
    if tasks is None:
        return suite
    known = {one for task in suite for one in (task.name, task.dataset)}
    strange = sorted(set(tasks) - known)
    if strange:
        there = ", ".join(dict.fromkeys(task.dataset for task in suite))
        raise UnknownName(f"the suite {name!r} has no task or data set {', '.join(strange)}; its data sets are {there}")
    return [task for task in suite if task.name in tasks or task.dataset in tasks]


def read_task(entry: Mapping[str, Any]) -> Task:
    """Return the task of one TOML entry."""
    own = {one.name for one in fields(Task)} - {"law"}
    law = {key: value for key, value in entry.items() if key not in own}
    task = Task(**{key: value for key, value in entry.items() if key in own}, law=law)
    if task.protocol not in PROTOCOLS:
        raise DataError(f"task {task.name!r} has protocol {task.protocol!r}; protocols are {', '.join(PROTOCOLS)}")
    if law and task.protocol != "generated":
        raise DataError(f"task {task.name!r} has unknown entries {', '.join(law)}; a task has {', '.join(sorted(own))}")
    return task
