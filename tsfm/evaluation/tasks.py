"""What a benchmark asks, as data: a suite is a TOML file of tasks, a task one data set at one horizon under one rule.

rolling    windows back to back at the end of every series, each forecast from all that precedes it (GIFT-Eval;
           with one window, a forecasting competition)
sliding    every window of a test stretch, one step apart, on values standardised by the training stretch, from a
           fixed context (the long-horizon papers since Informer, Zhou et al. 2021)
generated  series of known law with their best possible forecast (tsfm/evaluation/probe.py)
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from tsfm.data.series import Series
from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.probe import read_probe

PROTOCOLS = ("rolling", "sliding", "generated")
REQUIRED = {"name": '"sales/short"', "dataset": '"sales.csv"', "horizon": "24", "season": "24"}
COUNTS = {"horizon": 24, "season": 24, "windows": 1, "context": 512, "train": 700, "validation": 100, "test": 200}
STRETCHES = ("train", "validation", "test")
PUBLISHED = ("naive_mase", "naive_crps")
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".tsf", ".toml", ".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True)
class Task:
    """One row of a leaderboard.

    name       as the benchmark writes it, e.g. "ett1/H/short"
    dataset    name of a card of `datasets_registry`; in a suite of one's own also a file or folder, beside the suite
               where its path is relative ("sales.csv", "./m4"), and then its whole path
    horizon    steps ahead
    season     steps; of the seasonal error that scales MASE and of the seasonal naive forecast
    term       "short", "medium" or "long", where the benchmark has terms
    windows    rolling: test windows a series
    context    the most steps a model is given; None for all there are
    train, validation, test    sliding: steps of the three stretches
    naive_mase, naive_crps     of the seasonal naive forecast as published; None where nothing is
    law        generated: the entry as it stands in the file
    written    `dataset` as it stands in the file
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
    written: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        """Remember what the file says, which is shown instead of a path of this machine."""
        object.__setattr__(self, "written", self.written or self.dataset)


def suites() -> list[str]:
    """Names of the suites that travel with the package."""
    folder = resources.files("tsfm.evaluation") / "suites"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_suite(name: str = "zero_shot", tasks: Sequence[str] | None = None) -> list[Task]:
    """Tasks of a suite in file order, all or those whose name or data set is in `tasks`.

    name    one of `suites()`, or the path of a TOML file of your own, ending in .toml
    """
    suite = read_suite(name)
    if tasks is None:
        return suite
    known = {one for task in suite for one in (task.name, task.written)}
    strange = sorted(set(tasks) - known)
    if strange:
        there = ", ".join(dict.fromkeys(task.written for task in suite))
        raise UnknownName(f"the suite {name!r} has no task or data set {', '.join(strange)}; its data sets are {there}")
    return [task for task in suite if task.name in tasks or task.written in tasks]


def read_suite(name: str) -> list[Task]:
    """All tasks of a suite; raise `DataError` that names file, task, value and remedy where one cannot be."""
    suite, folder = f"suite {name!r}", Path(name).expanduser().parent if Path(name).suffix == ".toml" else None
    try:
        entries = tomllib.loads(read_text(name))
    except UnicodeDecodeError as error:
        raise DataError(f"{suite} is not text in UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{suite} is no TOML: {error}") from error
    listed = entries.pop("task", [])
    if isinstance(listed, dict):
        raise DataError(f"{suite} has [task]; write [[task]] above each task, with two brackets")
    if entries:
        raise DataError(f"{suite} has {', '.join(entries)} outside of any task; write [[task]] above each task")
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        raise DataError(f"{suite} has no tasks; write [[task]] and under it name, dataset, horizon and season")
    tasks = [read_task(entry, f"{suite}, {called(entry, place)}", folder) for place, entry in enumerate(listed, 1)]
    names = [task.name for task in tasks]
    for task in tasks:
        if names.count(task.name) > 1:
            raise DataError(f"{suite} has {names.count(task.name)} tasks named {task.name!r}; give each its own name")
    return tasks


def read_text(name: str) -> str:
    """The text of a suite of the package or of a file of one's own."""
    own = Path(name).expanduser()
    if own.suffix != ".toml":
        if name not in suites():
            raise UnknownName(f"no suite {name!r}; there are {', '.join(suites())}, or give the path of a .toml file")
        return (resources.files("tsfm.evaluation") / "suites" / f"{name}.toml").read_text(encoding="utf-8")
    if not own.is_file():
        raise UnknownName(f"there is no file {name!r}; a suite is a TOML file of [[task]] entries")
    try:
        return own.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"suite {name!r} cannot be read: {error.strerror}; check the path") from error


def called(entry: Mapping[str, Any], place: int) -> str:
    """How an error calls a task: by its name, else by its place in the file."""
    name = entry.get("name")
    return f"task {name!r}" if isinstance(name, str) and name else f"task {place}"


def read_task(entry: Mapping[str, Any], where: str = "the task", folder: Path | None = None) -> Task:
    """Return the task of one TOML entry, every value checked.

    where    how an error calls it
    folder   of the suite, which relative paths of data sets start from; None for the suites of the package
    """
    own = {one.name for one in fields(Task)} - {"law", "written"}
    for key, example in REQUIRED.items():
        if key not in entry:
            raise DataError(f"{where} has no {key}; add one, such as {key} = {example}")
    for key in own & set(entry):
        check_value(where, key, entry[key])
    law = {key: value for key, value in entry.items() if key not in own}
    task = Task(**{key: value for key, value in entry.items() if key in own}, law=law)
    if task.protocol not in PROTOCOLS:
        raise DataError(f"{where}: protocol = {task.protocol!r}; protocols are {', '.join(PROTOCOLS)}")
    check_protocol(where, task, entry)
    return Task(**{**vars(task), "dataset": beside(task.dataset, folder)})


def check_value(where: str, key: str, value: Any) -> None:
    """Counts are whole numbers from 1 on (`validation` from 0), published errors positive ones, the others text."""
    if key in COUNTS:
        least = 0 if key == "validation" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise DataError(
                f"{where}: {key} = {value!r}; give a whole number of at least {least}, such as {COUNTS[key]}"
            )
    elif key in PUBLISHED:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise DataError(f"{where}: {key} = {value!r}; give a positive number, or leave the line out")
    elif not isinstance(value, str) or (key != "term" and not value.strip()):
        raise DataError(f"{where}: {key} = {value!r}; say it in words, in quotes")


def check_protocol(where: str, task: Task, entry: Mapping[str, Any]) -> None:
    """A task has what its protocol needs and nothing that it would not read."""
    allowed = {one.name for one in fields(Task)} - {"law", "written"} - {"windows", *STRETCHES}
    allowed |= {"rolling": {"windows"}, "sliding": set(STRETCHES), "generated": set(entry)}[task.protocol]
    for key in (key for key in entry if key not in allowed):
        near = get_close_matches(key, allowed, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(sorted(allowed))}"
        raise DataError(f"{where}: a {task.protocol} task has no entry {key!r} (= {entry[key]!r}); {remedy}")
    missing = [key for key in STRETCHES if key not in entry]
    if task.protocol == "sliding" and missing:
        raise DataError(f"{where}: a sliding task needs {', '.join(missing)}, in steps; add {missing[0]} = 1000 or so")
    if task.protocol == "sliding" and task.test < task.horizon:
        raise DataError(f"{where}: test = {task.test} has no room for a window of {task.horizon} steps; give more")
    if (task.naive_mase is None) != (task.naive_crps is None):
        raise DataError(f"{where}: naive_mase and naive_crps are one published row; give both or neither")
    if task.protocol == "generated":
        try:
            read_probe(task)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} cannot be generated: {error}") from error


def beside(dataset: str, folder: Path | None) -> str:
    """Return the path of a data set that is a file or folder beside its suite, a name as it is."""
    named = not dataset.lower().endswith(TABLES) and "/" not in dataset and "\\" not in dataset
    return dataset if named or folder is None else str((folder / Path(dataset).expanduser()).resolve())


def check_lengths(task: Task, series: Sequence[Series], split: str) -> None:
    """Raise `DataError` that names the series that are too short for a task."""
    if task.protocol == "sliding":
        needed, what = task.train + task.validation + task.test, "train, validation and test"
    else:
        needed, what = task.windows * task.horizon + 1, f"{task.windows} x {task.horizon} steps of test and a context"
    short = [one for one in series if len(one) < needed]
    if short and (task.protocol == "sliding" or split == "test"):
        raise DataError(
            f"task {task.name!r}: {len(short)} of {len(series)} series are too short, first {short[0].series_id!r} "
            f"with {len(short[0])} steps: {what} take {needed}; shorten what the task asks for, or leave such series "
            "out of the data set"
        )
