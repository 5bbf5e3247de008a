"""A model on a suite: row after row, written as they come, so that nothing measured is ever lost.

    evaluate("moe-decoder-tiny", "zero_shot", out="tsfm-results")

writes `tsfm-results/zero_shot_moe-decoder-tiny.csv`, a row a task. Called again it measures only what is missing: rows
of the same weights, data, options and commit stand. A task that fails leaves a row that says why; the others go on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from tsfm.data.datasets import load_card, load_series
from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.contenders import Contender, contender
from tsfm.evaluation.measuring import measure, task_hash
from tsfm.evaluation.results import check_folder, locked, origin, read_csv, write_csv
from tsfm.evaluation.scoreboard import COLUMNS, Row, Scoreboard, as_measured, as_stored
from tsfm.evaluation.statistical import STATISTICAL
from tsfm.evaluation.tasks import Task, check_lengths, load_suite, suites
from tsfm.leaks import leaks
from tsfm.options import check_choice, check_optional

SPLITS = ("test", "validation")
SAME = ("question", "weights", "split", "seed", "data_sha256", "commit")
"""What must agree for a row of an earlier call to stand."""


def evaluate(
    model: Any,
    suite: str = "quick",
    *,
    split: str = "test",
    tasks: Sequence[str] | None = None,
    context: int | None = None,
    max_windows: int | None = None,
    batch_size: int | None = None,
    effort: str = "fast",
    seed: int = 0,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: bool | None = None,
) -> Scoreboard:
    """Measure a model on a suite; a row a task, in the order of the suite.

    model        name, folder, `Forecaster`, or a function (see `contender`)
    suite        "quick" (under a minute), "zero_shot", "long_horizon", "classic", "synthetic_probe", or a TOML file
    split        "test" for reporting, "validation" (earlier windows) for every choice
    tasks        names of tasks or data sets; all of the suite if None
    context      the most steps to give to the model, instead of what the task says
    max_windows  forecast only so many windows a task, evenly spaced; ratios are to the baseline on the same windows
    effort       "best" lets our models average several views of a series; their rows are called "<name>-best"
    out          folder of the CSV, which is read first: what stands there is not measured again unless `fresh`
    """
    entrant = contender(model, batch_size, effort=effort)
    check_choice(split, "split", SPLITS)
    check_optional(context, "context", "context=512")
    check_optional(max_windows, "max_windows", "max_windows=100")
    chosen = load_suite(suite, tasks)
    if context is not None:
        chosen = [replace(task, context=context) for task in chosen]
    order = [task.name for task in load_suite(suite)]
    suite = own_name(suite)
    path = None if out is None else Path(out) / file_name(suite, split, entrant.name, context, max_windows)
    if path is not None:
        check_folder(path.parent)
    stored = read_rows(path)
    used = ["statsforecast"] if entrant.name in STATISTICAL else []
    made_by = {"suite": suite, "split": split, "seed": seed, **origin(*used)}
    rows = []
    for task in chosen:
        row = {**described(task, entrant), **made_by}
        old = stored.get(task.name)
        if old is not None and not fresh and stands(old, row, max_windows):
            rows.append(as_measured(old))
            continue
        torch.manual_seed(seed)
        rows.append(row if row["error"] else row | attempt(entrant, task, split, max_windows, progress))
        if path is not None:
            stored = keep(path, rows[-1], order, fresh)
    protocols = {task.protocol for task in chosen}
    return Scoreboard(rows, protocols.pop() if len(protocols) == 1 else "rolling")


def keep(path: Path, row: Row, order: Sequence[str], fresh: bool) -> dict[str, dict[str, str]]:
    """Put a row among those stored, in the suite's order, and return them all; other runs may be writing too."""
    with locked(path.parent):
        stored = read_rows(path)
        measured = row["task"] in stored and not stored[row["task"]]["error"]
        if fresh or not (measured and row["error"]):  # a failure never costs a measured row
            stored[row["task"]] = as_stored(row)
        write_csv(path, [stored[name] for name in order if name in stored])
    return stored


def own_name(suite: str) -> str:
    """Return what rows call a suite; a file of one's own may not be called like a suite of the package."""
    path = Path(suite)
    if path.suffix == ".toml" and path.stem in suites():
        raise DataError(f"{suite!r} is called like the suite {path.stem!r} of tsfm; give the file another name")
    return path.stem


def file_name(suite: str, split: str, model: str, context: int | None = None, max_windows: int | None = None) -> str:
    """Name of the CSV of a model on a suite; what is not the whole test split as the tasks ask has its own file."""
    parts = [suite] if split == "test" else [suite, split]
    parts += [f"context{context}"] if context else []
    parts += [f"sample{max_windows}"] if max_windows else []
    return f"{'-'.join(parts)}_{model}.csv"


def read_rows(path: Path | None) -> dict[str, dict[str, str]]:
    """Return the stored rows by task, with today's columns."""
    rows = [] if path is None else read_csv(path)
    if rows and "task" not in rows[0]:
        raise DataError(f"{path} holds no rows of this kind; name another folder with out=")
    return {row["task"]: {name: row.get(name) or "" for name in COLUMNS} for row in rows}


def described(task: Task, entrant: Contender) -> Row:
    """Return what is known of a row before anything is measured; a data set that cannot be read is told in `error`."""
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"model": entrant.name, "weights": entrant.weights, "parameters": entrant.parameters}
    row |= {"licence": entrant.licence, "task": task.name, "dataset": task.written, "term": task.term}
    row["question"] = hashlib.sha256(repr(replace(task, dataset=task.written)).encode()).hexdigest()[:16]
    row |= {"context": task.context, "horizon": task.horizon, "season": task.season}
    try:
        if task.protocol == "generated":
            row |= {"leak": "no"}  # drawn for this task, whatever was drawn for training
        else:
            card = load_card(task.dataset)
            row |= {"domain": card.domain, "frequency": card.frequency, "leak": leak_of(task.dataset, entrant)}
        return {**row, "data_sha256": task_hash(task)}
    except Exception as error:  # whatever a data set does, the other rows stay
        return {**row, "error": reason(error)}


def leak_of(dataset: str, entrant: Contender) -> str:
    """Return "no", "no: 86 of 756 checked" or "yes: 3 of 21 checked"; "" where nothing can be told (tsfm/leaks.py)."""
    if entrant.name in STATISTICAL:
        return "no"  # what is fitted to the context alone has seen nothing before
    return leaks(((series.series_id, series.values) for series in load_series(dataset)), entrant.forecaster)


def attempt(entrant: Contender, task: Task, split: str, most: int | None, progress: bool | None) -> Row:
    """Return the numbers of a row, or why there are none."""
    failed = getattr(entrant.predict, "failed", 0)
    try:
        if task.protocol != "generated":
            check_lengths(task, load_series(task.dataset), split)
        found = measure(entrant.predict, task, split, most, progress)
        fallen = getattr(entrant.predict, "failed", 0) - failed
        note = f"{fallen} of {found.windows} windows could not be fitted and got the seasonal naive forecast"
        return asdict(replace(found, note="; ".join(filter(None, [found.note, note if fallen else ""]))))
    except Exception as error:  # whatever a model does, the other rows stay
        return {"error": reason(error)}


def reason(error: Exception) -> str:
    """Return what a row says of an error: ours speak for themselves."""
    return str(error) if isinstance(error, TsfmError) else f"{type(error).__name__}: {error}"


def stands(old: Mapping[str, str], row: Row, most: int | None) -> bool:
    """Tell whether an earlier row answers the same question; a function without a weights hash may have changed."""
    if not row["weights"] and row["licence"] == "":
        return False
    if old.get("error") or row["error"] or any(as_stored(row)[name] != old.get(name) for name in SAME):
        return False
    return int(old["windows"]) == min(int(old["available"]), most or int(old["available"]))
