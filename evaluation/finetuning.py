"""What fine-tuning brings on real sets, method by method: evaluation/results/finetuning.csv.

    python evaluation/finetuning.py                                  every set with every method (hours)
    python evaluation/finetuning.py --task car_parts/M/short --method lora
    python evaluation/finetuning.py --summary                        geometric means of the rows that stand

Sets are those of the suite zero_shot. All steps that any official test window of a set forecasts are cut off first, so
that neither the three blocks nor the training see them. The row of a method says what it gives, whatever the guard
thinks of it; that of "auto" what a person gets. Rows that stand are kept; delete the file to measure anew.
Needs $TSFM_DATA.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tsfm
from tsfm.data.adapters import to_panel
from tsfm.data.datasets import load_series
from tsfm.evaluation.results import origin, put_rows, read_csv
from tsfm.evaluation.tasks import Task, load_suite
from tsfm.finetuning.methods import METHODS
from tsfm.finetuning.split import BLOCKS
from tsfm.panel import Panel

AUTO = "auto"
RESULTS = Path(__file__).resolve().parent / "results" / "finetuning.csv"
TASKS = (
    "car_parts/M/short",
    "covid_deaths/D/short",
    "m4_weekly/W/short",
    "hierarchical_sales/W/short",
    "m4_hourly/H/short",
    "m_dense/D/short",
)


def before_the_test(task: Task, tasks: Sequence[Task]) -> Panel:
    """The series of a set without the steps that any test window of it forecasts."""
    held_out = max(one.windows * one.horizon for one in tasks if one.dataset == task.dataset)
    rows = [
        {"item_id": one.series_id, "start": one.start, "freq": one.freq, "target": one.values[:-held_out]}
        for one in load_series(task.dataset)
    ]
    return to_panel(rows, errors="skip")


def measure(task: Task, panel: Panel, method: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fine-tune one set by one method."""
    began, processor = time.perf_counter(), time.process_time()
    found = tsfm.finetune(panel, task.horizon, method=method, time_budget=seconds, seed=seed, progress=False)
    table, report = found.table, found.report
    name = found.winner if method == AUTO else method
    course = report["courses"].get(name)
    row: dict[str, Any] = {"task": task.name, "method": method, "seed": seed, "budget": seconds}
    row |= {"series": len(panel), "horizon": report["split"]["horizon"], "by_series": report["split"]["by_series"]}
    row |= {f"{block}_windows": report["split"][block] for block in BLOCKS}
    for entrant, label in (("seasonal-naive", "naive"), ("zero-shot", "zero_shot"), (name, "tuned")):
        row |= {f"{label}_{block}": round(float(table.loc[entrant, block]), 6) for block in BLOCKS}
    row |= {"kept": found.winner if method == AUTO else "", "parameters": course["trained"] if course else 0}
    if course:
        row |= {"steps": course["looks"][-1]["step"], "best_step": course["best_step"]}
        row |= {"fraction": course["fraction"], "ended": course["ended"]}
    row |= {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(time.process_time() - processor, 1)}
    return row


def gain(row: dict[str, str], block: str) -> float:
    """Logarithm of how much smaller the loss of the tuned model, or of what was kept, is than the zero-shot one."""
    return math.log(float(row[f"zero_shot_{block}"]) / float(row[f"tuned_{block}"]))


def summarise(rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """A row a method: geometric means of what it saves on the report windows, over the sets measured."""
    total = sum(weight.numel() for weight in tsfm.load("moe-decoder-tiny").model.parameters())  # type: ignore[attr-defined]
    found = []
    for method in (*METHODS, AUTO):
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        entry: dict[str, Any] = {"method": method, "rows": len(own)}
        for block in BLOCKS:
            entry[block] = round(1 - math.exp(-float(np.mean([gain(row, block) for row in own]))), 4)
        entry["worse_on_report"] = sum(gain(row, "report") < 0 for row in own)
        entry["parameters"] = round(float(np.median([int(row["parameters"]) for row in own])) / total, 4)
        entry["median_cpu_seconds"] = round(float(np.median([float(row["cpu_seconds"]) for row in own])), 1)
        found.append(entry)
    return found


def main() -> None:
    """Measure what is asked for and has no row yet, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", action="append", help="of the suite zero_shot; may be given several times")
    parser.add_argument("--method", action="append", choices=(*METHODS, AUTO))
    parser.add_argument("--seconds", type=float, default=120.0, help="budget of one run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    given = parser.parse_args()
    tasks = load_suite("zero_shot")
    chosen = [] if given.summary else [task for task in tasks if task.name in (given.task or TASKS)]
    for task in sorted(chosen, key=lambda task: (given.task or list(TASKS)).index(task.name)):
        panel = before_the_test(task, tasks)
        for method in given.method or (*METHODS, AUTO):
            there = read_csv(RESULTS)
            key = (task.name, method, str(given.seed))
            if any((row["task"], row["method"], row["seed"]) == key for row in there):
                continue
            row = measure(task, panel, method, given.seconds, given.seed) | origin()
            put_rows(RESULTS, [row], ["task", "method", "seed"])  # others may have added rows meanwhile
            print(task.name, method, f"{gain({k: str(v) for k, v in row.items()}, 'report'):+.4f}", row["kept"])
    for entry in summarise(read_csv(RESULTS)):
        print(", ".join(f"{name} {value}" for name, value in entry.items()))


if __name__ == "__main__":
    main()
