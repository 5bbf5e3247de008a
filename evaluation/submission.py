"""Files that benchmarks take: GIFT-Eval's `all_results.csv` with `config.json`, and fev's evaluation summaries.

GIFT-Eval (github.com/SalesforceAIResearch/gift-eval, README): 15 columns, a row for each of its 97 configurations. A
set that is not whole gets the name `all_results.partial.csv` and a list of what is missing, so that nobody submits it.
fev (`fev.Task.evaluation_summary`, version 0.10): the definition of the task, its error, seconds, and whether the
model was trained on it.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.rows import PUBLISHED, Model, Suite, described, half_checked, leaked
from tsfm.cli.files import write_atomically
from tsfm.errors import DataError
from tsfm.evaluation.tasks import load_suite, suites

FORMATS = ("gift-eval", "fev")
FEV_VERSION = "0.10.0"
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

Row = Mapping[str, str]


@dataclass(frozen=True)
class Details:
    """What a submission says beside its numbers; `leakage` is the sender's own statement, None to take the rows'."""

    org: str = "The tsfm developers"
    model_link: str = ""
    code_link: str = ""
    dtype: str = "float32"
    leakage: str | None = None


def write(kind: str, suite: Suite, name: str, folder: Path, details: Details) -> list[str]:
    """Write the files of a submission into `folder`; return what to tell the sender."""
    model = next((model for model in suite.models if model.ours and model.name == name), None)
    if model is None:
        there = ", ".join(model.name for model in suite.models if model.ours) or "none"
        raise DataError(f"no rows of ours for {name!r} on {suite.name}; there are {there}; add --run --models {name}")
    folder.mkdir(parents=True, exist_ok=True)
    return gift_eval(suite, model, folder, details) if kind == "gift-eval" else fev(suite, model, folder, details)


def gift_eval(suite: Suite, model: Model, folder: Path, details: Details) -> list[str]:
    """Write `all_results.csv` (or `.partial.csv`) and `config.json`."""
    if suite.benchmark != "GIFT-Eval":
        raise DataError(f"suite {suite.name} is not GIFT-Eval's; add --suite zero_shot")
    sets = described(PUBLISHED / "gift_eval.toml")["sets"]
    wanted = [
        task.name for task in suite.tasks if any(task.name in other.scores for other in suite.models if not other.ours)
    ]
    there = sorted(name for name in wanted if name in model.scores)
    lines = [gift_eval_row(name, model, sets) for name in there]
    missing = sorted(set(wanted) - set(there))
    results, other = "all_results.csv", "all_results.partial.csv"
    if missing:
        results, other = other, results
    (folder / other).unlink(missing_ok=True)
    _write_csv(folder / results, lines)
    config = gift_eval_config(model, details)
    _write_text(folder / "config.json", json.dumps(config, indent=4) + "\n")
    messages = [f"{folder / results}: {len(there)} of {len(wanted)} configurations", f"{folder / 'config.json'}"]
    messages += leakage_doubt(model, details)
    note = folder / "MISSING.txt"
    if missing:
        _write_text(note, "Not measured, so that this is no submission yet:\n" + "\n".join(missing) + "\n")
        absent = sorted({name.split("/")[0] for name in missing})
        messages.append(f"INCOMPLETE: GIFT-Eval takes all {len(wanted)}. Missing ({note.name}): {', '.join(absent)}")
    else:
        note.unlink(missing_ok=True)
    empty = [field for field, value in config.items() if not value]
    if empty:
        messages.append(
            f"fill in before you send it: {', '.join(empty)} (options --{' --'.join(empty).replace('_', '-')})"
        )
    return messages


def gift_eval_row(task: str, model: Model, sets: Mapping[str, Any]) -> dict[str, Any]:
    """One line of `all_results.csv`; raise for a measure that the stored row has not."""
    row = model.scores[task].row
    value = reader(row, model.name, task)
    squared, absolute, share = value("mse_of_mean"), value("mae"), value("nd")
    root = math.sqrt(squared)
    about = sets[task.split("/")[0]]
    return {
        "dataset": task,
        "model": model.name,
        "eval_metrics/MSE[mean]": squared,
        "eval_metrics/MSE[0.5]": value("mse"),
        "eval_metrics/MAE[0.5]": absolute,
        "eval_metrics/MASE[0.5]": value("mase"),
        "eval_metrics/MAPE[0.5]": value("mape"),
        "eval_metrics/sMAPE[0.5]": value("smape"),
        "eval_metrics/MSIS": value("msis"),
        "eval_metrics/RMSE[mean]": root,
        # ND is MAE over the mean size of the target, and NRMSE is RMSE over the same.
        "eval_metrics/NRMSE[mean]": root * share / absolute if absolute else 0.0,
        "eval_metrics/ND[0.5]": share,
        "eval_metrics/mean_weighted_sum_quantile_loss": value("crps"),
        "domain": about["domain"],
        "num_variates": about["variates"],
    }


def gift_eval_config(model: Model, details: Details) -> dict[str, str]:
    """Return `config.json`; raise where nobody knows whether test data leaked."""
    return {
        "model": model.name,
        "model_type": "statistical" if model.parameters == 0 else "zero-shot",
        "model_dtype": details.dtype,
        "model_link": details.model_link,
        "code_link": details.code_link,
        "org": details.org,
        "testdata_leakage": leakage(model, details),
        "replication_code_available": "Yes" if details.code_link else "No",
    }


def fev(suite: Suite, model: Model, folder: Path, details: Details) -> list[str]:
    """Write `fev_summaries.csv`, a row a task in the columns of `fev.Task.evaluation_summary`.

    `trained_on_this_dataset` is each task's own; a sender who states a leak states it of all.
    """
    leakage(model, details)
    trained = {name: details.leakage == "Yes" or leaked(score.row) for name, score in model.scores.items()}
    lines = [fev_row(suite.name, name, score.row, model, trained[name]) for name, score in model.scores.items()]
    path = folder / "fev_summaries.csv"
    _write_csv(path, lines)
    return [
        f"{path}: {len(lines)} tasks",
        *leakage_doubt(model, details),
        "errors are pooled over all windows of a task; fev averages them over windows, so rows of tasks with several "
        "windows stand beside rows of the same suite, not beside fev's own leaderboard",
    ]


def step_between_windows(suite: str, task: str) -> int | None:
    """Steps from one window of a task to the next; None in a suite of one's own, whose file is not at hand."""
    found = [one for one in load_suite(suite) if one.name == task] if suite in suites() else []
    return (1 if found[0].protocol == "sliding" else found[0].horizon) if found else None


def fev_row(suite: str, task: str, row: Row, model: Model, trained: bool) -> dict[str, Any]:
    """One summary; `dataset_fingerprint` is the hash of the data file, since fev's own is made by another library."""
    value = reader(row, model.name, task)
    windows, series = value("windows"), value("series")
    return {
        "model_name": model.name,
        "dataset_path": row["dataset"],
        "dataset_config": task,
        "horizon": int(value("horizon")),
        "num_windows": max(1, round(windows / series)),
        "initial_cutoff": None,
        "window_step_size": step_between_windows(suite, task),
        "min_context_length": 1,
        "max_context_length": row.get("context") or None,
        "seasonality": int(value("season")),
        "eval_metric": "MASE",
        "extra_metrics": json.dumps(["WQL"]),
        "quantile_levels": json.dumps(LEVELS),
        "id_column": "item_id",
        "timestamp_column": "timestamp",
        "target": "target",
        "generate_univariate_targets_from": None,
        "known_dynamic_columns": "[]",
        "past_dynamic_columns": "[]",
        "static_columns": "[]",
        "task_name": f"{suite}/{task}",
        "test_error": value("mase"),
        "training_time_s": 0.0,
        "inference_time_s": value("seconds"),
        "num_forecasts": int(windows),
        "dataset_fingerprint": row.get("data_sha256", "")[:16],
        "trained_on_this_dataset": trained,
        "fev_version": FEV_VERSION,
        "MASE": value("mase"),
        "WQL": value("crps"),
    }


def reader(row: Row, model: str, task: str) -> Callable[[str], float]:
    """Return what reads a number of the row by its column, or raises saying how to get it."""

    def value(column: str) -> float:
        text = row.get(column)
        if not text:
            remedy = "measure again with --run" if text is None else "the metric is not defined on this task"
            raise DataError(f"{model} on {task}: no {column} in the row; {remedy}")
        return float(text)

    return value


def leakage(model: Model, details: Details) -> str:
    """Yes or No, as GIFT-Eval writes it: the leak check of the rows, or the sender's statement where nobody checked.

    A hit is never denied; a check of a part of the series without a hit is "No", and `leakage_doubt` tells the sender.
    """
    if model.leak == "not checked" and details.leakage is None:
        raise DataError(f"{model.name}: its rows have no leak check; run one, or state it with --leakage Yes or No")
    if model.leak == "yes" and details.leakage == "No":
        raise DataError(f"{model.name}: the leak check found test data in training; --leakage No contradicts it")
    return "Yes" if "yes" in (model.leak, (details.leakage or "").lower()) else "No"


def leakage_doubt(model: Model, details: Details) -> list[str]:
    """What the sender should know of a "No" that not all series stand behind, or nothing."""
    if model.leak != "no, in part" or details.leakage:
        return []
    left = half_checked(model.scores)
    first, said = next(iter(left.items()))
    return [
        f"the leak field says No, and the leak check found nothing, but on {len(left)} of {len(model.scores)} "
        f"configurations it could not judge every series ({first}: {said}); --leakage Yes or No is your own statement"
    ]


def _write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    _write_text(path, buffer.getvalue())


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
