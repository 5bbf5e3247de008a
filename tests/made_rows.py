"""Made result rows for the tests of the leaderboard: files in the columns that `tsfm evaluate` writes."""

import csv
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TASKS = [
    f"{dataset}/{frequency}/{term}"
    for dataset in ("alpha", "beta", "gamma", "delta", "epsilon")
    for frequency in ("H", "D")
    for term in ("short", "long")
]
DOMAINS = {"alpha": "Energy", "beta": "Energy", "gamma": "Sales", "delta": "Sales", "epsilon": "Nature"}


def made_row(model: str, task: str, **cells: Any) -> dict[str, Any]:
    """A whole row with errors that depend on nothing but model and task."""
    rng = np.random.default_rng(zlib.crc32(f"{model} {task}".encode()))
    mase, crps = rng.uniform(0.4, 1.2, 2).round(5)
    dataset, frequency, *_, term = task.split("/")
    return {
        **{"model": model, "weights": "abc", "parameters": 6_700_000, "licence": "Apache-2.0", "suite": "zero_shot"},
        **{"task": task, "dataset": dataset, "domain": DOMAINS.get(dataset, ""), "frequency": frequency, "term": term},
        **{"split": "test", "context": "", "horizon": 24, "season": 24, "series": 5, "windows": 20, "available": 20},
        **{
            "mase": mase,
            "crps": crps,
            "smape": 0.2,
            "mape": 0.3,
            "mse": 9.0,
            "mse_of_mean": 4.0,
            "mae": 1.5,
            "nd": 0.25,
        },
        **{"rmse": 3.0, "msis": 7.0, "coverage80": 0.8, "calibration": 0.02, "naive_mase": 1.0, "naive_crps": 0.8},
        **{"baseline": "computed", "leak": "no", "seconds": 0.5, "note": "", "error": "", "data_sha256": "d" * 64},
        **{"seed": 0, "command": "tsfm evaluate", "commit": "c" * 40, "hardware": "one core", "versions": "python"},
        **cells,
    }


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]], name: str = "zero_shot_made.csv") -> Path:
    """Write rows as a result file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def write_models(folder: Path, models: Iterable[str] = ("one", "two", "three"), tasks: Sequence[str] = TASKS) -> Path:
    """Write a result file a model, and return the folder."""
    for model in models:
        write_rows(folder, [made_row(model, task) for task in tasks], f"zero_shot_{model}.csv")
    return folder
