"""Result files as checked rows: ours (`results/<suite>_<model>.csv`) and other people's (`published/<benchmark>.csv`).

A row that cannot be used is refused with its file, its line and what to do; a task that failed is kept as a failure.
"""

import csv
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tsfm.errors import DataError

HERE = Path(__file__).resolve().parent
RESULTS, PUBLISHED = HERE / "results", HERE / "published"

NUMBERS = ("mase", "crps", "naive_mase", "naive_crps", "seconds")
NEEDED = (
    "model",
    "suite",
    "task",
    "domain",
    "frequency",
    "term",
    "parameters",
    "licence",
    "windows",
    "error",
    *NUMBERS,
)
PUBLISHED_COLUMNS = ("dataset", "model", "mase", "crps", "params_if_known", "leakage")

WORDS = {"S": "second", "T": "minute", "MIN": "minute", "H": "hour", "D": "day", "B": "business day", "W": "week"}
WORDS |= {"M": "month", "MS": "month", "ME": "month", "Q": "quarter", "QS": "quarter", "QE": "quarter"}
WORDS |= dict.fromkeys(("A", "Y", "AS", "YS", "YE"), "year")


@dataclass(frozen=True)
class Task:
    """One configuration of a benchmark; `group` is the data set whatever its frequency, the unit of resampling."""

    name: str
    group: str
    domain: str
    frequency: str
    term: str


@dataclass(frozen=True)
class Score:
    """Errors of a model on a task, those of the seasonal naive forecast there, and the stored row if it is ours."""

    mase: float
    crps: float
    naive_mase: float
    naive_crps: float
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A competitor with its scores by task.

    parameters  None where nobody said
    leak        "no", "yes", "no, in part" where some series could not be checked, or "not checked"
    failed      task -> why it has no score
    """

    name: str
    ours: bool
    parameters: float | None
    licence: str
    leak: str
    scores: Mapping[str, Score]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds_per_thousand(self) -> float | None:
        """Seconds for 1,000 forecasts over all that was measured, None where nobody did."""
        rows = [score.row for score in self.scores.values() if score.row.get("seconds")]
        forecasts = sum(int(row["windows"]) for row in rows)
        return 1000 * sum(float(row["seconds"]) for row in rows) / forecasts if forecasts else None


@dataclass(frozen=True)
class Suite:
    """Everything known on one suite: the tasks, ours first, and who was measured on them."""

    name: str
    tasks: tuple[Task, ...]
    models: tuple[Model, ...]
    benchmark: str = ""
    source: str = ""

    @property
    def measured(self) -> tuple[str, ...]:
        """Tasks that a model of ours has a score on; all of them where we have none."""
        ours = {name for model in self.models if model.ours for name in model.scores}
        return tuple(task.name for task in self.tasks if task.name in ours or not ours)


def load(suite: str, results: Path = RESULTS, published: Path = PUBLISHED, names: Sequence[str] | None = None) -> Suite:
    """Return the suite from its files; with `names` only these models. Raise `DataError` where a row is of no use."""
    tasks: dict[str, Task] = {}
    models = [model for path in sorted(results.glob(f"{suite}_*.csv")) for model in read_results(path, suite, tasks)]
    benchmark = source = ""
    for path in sorted(published.glob("*.csv")):
        about = described(path)
        if about["suite"] == suite:
            models += read_published(path, about, tasks)
            benchmark, source = about["title"], about["source"]
    there = {model.name for model in models}
    if names and not set(names) <= there:
        wanted = ", ".join(sorted(set(names) - there))
        raise DataError(f"no rows of {wanted} on {suite}; there are {', '.join(sorted(there)) or 'none'}; add --run")
    if not models:
        raise DataError(f"no rows on {suite} in {results}; measure a model first: --run --models moe-decoder-tiny")
    chosen = tuple(model for model in models if not names or model.name in names)
    return Suite(suite, tuple(tasks.values()), chosen, benchmark, source)


def suites_with_rows(results: Path = RESULTS) -> list[str]:
    """Names of the suites that a result file of ours has test rows of, the headline suite first."""
    from tsfm.evaluation.tasks import suites

    found = [name for name in suites() if any(results.glob(f"{name}_*.csv"))]
    return sorted(found, key=lambda name: (name != "zero_shot", name))


def read_results(path: Path, suite: str, tasks: dict[str, Task]) -> list[Model]:
    """Models of one result file of ours; its tasks are added to `tasks`. Validation rows are left aside."""
    models: dict[str, Model] = {}
    for line, row in checked(path, NEEDED, f"measure again: tsfm evaluate --suite {suite} --model NAME"):
        if row.get("split") == "validation":
            continue
        name = row["model"]
        model = models.setdefault(name, Model(name, True, _number(row["parameters"]), row["licence"], "", {}, {}))
        if row["task"] in {*model.scores, *model.failed}:
            raise DataError(f"{path.name}, line {line}: {name} has {row['task']} twice; delete one of the two lines")
        tasks.setdefault(row["task"], _task(row["task"], row["domain"], row["frequency"], row["term"]))
        if row["error"]:
            models[name] = replace(model, failed={**model.failed, row["task"]: row["error"]})
            continue
        mase, crps, naive_mase, naive_crps = (_required(row, column, path, line) for column in NUMBERS[:4])
        for column in ("windows", "seconds"):
            _required(row, column, path, line)
        models[name] = replace(
            model, scores={**model.scores, row["task"]: Score(mase, crps, naive_mase, naive_crps, row)}
        )
    return [replace(model, leak=_leak(model.scores)) for model in models.values()]


def read_published(path: Path, about: Mapping[str, Any], tasks: dict[str, Task]) -> list[Model]:
    """Models of a published file; its tasks follow ours, and its domains and names are the benchmark's own."""
    rows = checked(path, PUBLISHED_COLUMNS, f"see {path.parent.name}/README.md for its columns")
    errors = {(row["model"], row["dataset"]): _pair(row, path, line) for line, row in rows}
    models: dict[str, Model] = {}
    for line, row in rows:
        name, task = row["model"], row["dataset"]
        kind = task.split("/")
        domain = about["sets"].get(kind[0], {}).get("domain", "")
        tasks[task] = _task(task, domain, kind[1], kind[-1])
        naive = errors.get((about["baseline"], task))
        if naive is None:
            raise DataError(f"{path.name}, line {line}: {task} has no row of {about['baseline']}; add it")
        facts = (_parameters(row["params_if_known"]), "", {"Yes": "yes", "No": "no"}.get(row["leakage"], "not checked"))
        model = models.setdefault(name, Model(name, False, *facts, {}))
        models[name] = replace(model, scores={**model.scores, task: Score(*errors[name, task], *naive)})
    return list(models.values())


def described(path: Path) -> dict[str, Any]:
    """What the TOML beside a published file says of it."""
    about = path.with_suffix(".toml")
    if not about.is_file():
        raise DataError(f"{path.name}: no {about.name} beside it; it names suite, title, source, baseline and sets")
    with about.open("rb") as file:
        return tomllib.load(file)


def checked(path: Path, needed: Sequence[str], remedy: str) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row; raise for columns that are not there and for rows cut short."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [(reader.line_num, row) for row in reader]
    missing = [column for column in needed if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path.name}, line 1: no column {', '.join(missing)} (an older version wrote it); {remedy}")
    for line, row in rows:
        if None in row or None in row.values():
            raise DataError(f"{path.name}, line {line}: not as many cells as columns; {remedy}")
    return rows


def frequency_word(code: str) -> str:
    """Write "15T" or "15min" as "15 minutes", "W-THU" as "week", and what is not known as it stands."""
    found = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", code)
    word = WORDS.get(found[2].upper()) if found else None
    if found is None or word is None:
        return code
    return f"{found[1]} {word}s" if found[1] not in ("", "1") else word


def _task(name: str, domain: str, frequency: str, term: str) -> Task:
    return Task(name, name.split("/")[0], domain, frequency_word(frequency), term)


def _pair(row: Mapping[str, str], path: Path, line: int) -> tuple[float, float]:
    return _required(row, "mase", path, line), _required(row, "crps", path, line)


def _required(row: Mapping[str, str], column: str, path: Path, line: int) -> float:
    value = _number(row[column])
    if row[column] and (value is None or value < 0):
        raise DataError(
            f"{path.name}, line {line}: {column} is {row[column]!r}, no error measure; mend or drop the line"
        )
    return math.nan if value is None else value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _parameters(text: str) -> float | None:
    """Read "4.14M" as 4,140,000; None where nobody said."""
    found = re.fullmatch(r"([\d.]+)\s*([KMB]?)", text.strip(), re.IGNORECASE)
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}[found[2].upper()] if found else None


def leaked(row: Mapping[str, str]) -> bool:
    """Whether the leak check found series of the row's set in the training data: "yes: 3 of 21 checked"."""
    return row.get("leak", "").strip().lower().startswith("yes")


def half_checked(scores: Mapping[str, Score]) -> dict[str, str]:
    """Tasks with series that the leak check could not judge, each with how many it could: "86 of 756", or "none"."""
    left = {}
    for task, score in scores.items():
        text = score.row.get("leak", "").strip().lower()
        counted = re.fullmatch(r"no: (\d+ of \d+) checked", text)
        if text != "no" and not leaked(score.row):
            left[task] = counted[1] if counted else "none"
    return left


def _leak(scores: Mapping[str, Score]) -> str:
    """One hit marks the model; a plain "no" wants every series of every set checked."""
    if any(leaked(score.row) for score in scores.values()):
        return "yes"
    left = half_checked(scores)
    if len(left) == len(scores) and set(left.values()) <= {"none"}:
        return "not checked"
    return "no, in part" if left else "no"
