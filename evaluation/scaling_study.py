"""The study of scaling laws: plan it, make its corpus, run it, look at its rows.

    export TSFM_DATA=../shared/data
    python evaluation/scaling_study.py plan     # time a few steps of every kind of run, print hours a run and in all
    python evaluation/scaling_study.py corpus   # make the windows that all runs share; goes on where it stopped
    python evaluation/scaling_study.py run      # every run that lacks rows; goes on where it stopped
    python evaluation/scaling_study.py rows     # what there is
    python evaluation/scaling_study.py measure  # the losses of rows whose weights are kept here anew, without training

All take `--study quick`, which needs no real data but the validation windows, and `--groups`, but for `measure`.
The sweep is `tsfm/scaling/study.toml`. Rows go to `results/scaling/runs.csv`, one a decayed checkpoint; the losses of
single validation tasks to `tasks.csv`, times of steps to `steps.csv`; those of other studies to a folder in there, of
their name. Test windows are never read.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from tsfm.errors import TsfmError
from tsfm.evaluation.measuring import Window, evenly_spaced, usable_windows
from tsfm.evaluation.protocol import seasonal_naive
from tsfm.evaluation.results import ROOT, check_folder, origin, put_rows, read_csv, write_csv
from tsfm.evaluation.tasks import Task, load_suite
from tsfm.scaling.corpus import Corpus, CorpusConfig, cache_folder, make_corpus, open_corpus
from tsfm.scaling.learner import Learner
from tsfm.scaling.measure import Exam, longest_horizon, read_exams, write_exams
from tsfm.scaling.plan import Plan, Study, counted, read_study
from tsfm.scaling.results import KEYS, SUITE
from tsfm.scaling.study import measure_again, run_study

# n windows, C context steps, H horizon.

OUT = ROOT / "evaluation" / "results" / "scaling"
WINDOWS = 20  # validation windows of a task
TIMED_TOKENS, TIMED_STEPS = 24_576, 12  # at most, after two steps that compile
MEASURING = 8.0  # seconds that measuring a checkpoint takes, roughly
TIME_KEY = ("size", "experts", "top_k", "batch", "compiled")

console = Console(highlight=False)


def packed(task: Task, context: int, patch: int) -> Exam:
    """Validation windows of a task, in units of their contexts' deviations."""
    chosen = evenly_spaced(usable_windows(task, "validation"), WINDOWS)
    horizon = min(task.horizon, longest_horizon(context, patch))
    parts = [packed_window(window, task.season, context, horizon) for window in chosen]
    values, target, scale, naive = (np.stack(part).astype(np.float32) for part in zip(*parts, strict=True))
    return Exam(task.name, values, target, scale, naive)


def packed_window(window: Window, season: int, context: int, horizon: int) -> tuple[Any, ...]:
    """Values (C,), target (H,), seasonal error and the seasonal naive forecast's error of one window."""
    kept = window.context[-context:]
    observed = np.isfinite(kept).any()
    mean, deviation = (np.nanmean(kept), np.nanstd(kept)) if observed else (0.0, 1.0)
    unit = deviation if deviation > 0 else 1.0
    values = np.full(context, np.nan)
    values[context - len(kept) :] = (kept - mean) / unit
    target = (window.target[:horizon] - mean) / unit
    forecast = (seasonal_naive(window.context, horizon, season, [0.5])[:, 0] - mean) / unit
    wrong = np.abs(target - forecast)
    naive = wrong[np.isfinite(wrong)].mean() if np.isfinite(wrong).any() else np.nan
    return values, target, window.scale / unit if window.scale else np.nan, naive


def exams_of(study: Study) -> list[Exam]:
    """The packed validation windows of the suite, made on the first call."""
    path = cache_folder(study.name) / f"{SUITE}-validation-{WINDOWS}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_exams(path, [packed(task, study.corpus.context, study.corpus.patch) for task in load_suite(SUITE)])
    return read_exams(path)


class Noise:
    """Windows for timing: white noise, as long as those of the corpus."""

    def __init__(self, corpus: CorpusConfig, batch: int):
        patches = corpus.context // corpus.patch
        self.values = torch.randn(batch // patches, patches + 1, corpus.patch)

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same windows at every step."""
        return self.values, torch.ones_like(self.values, dtype=torch.bool)


def timed(plan: Plan, study: Study) -> dict[str, Any]:
    """A row of the times of a kind of run: processor seconds of a step with its data, and of the first two."""
    torch.compiler.reset()
    learner = Learner(Path(), plan.run_config(study.corpus), Noise(study.corpus, plan.batch), plan.kind)
    begun = time.monotonic()
    for step in range(2):
        learner.train_step(learner.prepare(step))
    first, started, steps = (
        time.monotonic() - begun,
        time.process_time(),
        max(2, min(TIMED_STEPS, TIMED_TOKENS // plan.batch)),
    )
    for step in range(steps):
        learner.train_step(learner.prepare(step))
    seconds = (time.process_time() - started) / steps
    count, points = counted(learner.config.model), plan.batch * study.corpus.patch
    row = {name: getattr(plan, name) for name in TIME_KEY}
    row |= {"active": count.active, "total": count.total, "first_seconds": first, "step_seconds": seconds}
    return {**row, "steps_per_second": 1 / seconds, "points_per_second": points / seconds, **origin()}


def time_key(row: dict[str, Any] | Plan) -> tuple[str, ...]:
    """What a row of times is about."""
    return tuple(str(row[name] if isinstance(row, dict) else getattr(row, name)) for name in TIME_KEY)


def plan_study(study: Study, out: Path, groups: Sequence[str], eager: bool) -> None:
    """Print hours of every run and of every group; kinds of runs without a time are timed first.

    eager   as if nothing were compiled: an upper bound that is known in minutes
    """
    path = out / "steps.csv"
    times = {time_key(row): row for row in read_csv(path)}
    table = []
    for planned in study.plans_of(groups):
        plan = replace(planned, compiled=planned.compiled and not eager)
        key = time_key(plan)
        if key not in times:
            times[key] = {name: str(value) for name, value in timed(plan, study).items()}
            write_csv(path, list(times.values()))
        steps, row = plan.steps_in_all(study.corpus.patch), times[key]
        seconds = float(row["first_seconds"]) + steps * float(row["step_seconds"]) + MEASURING * len(plan.milestones)
        table.append({"group": plan.group, "run": plan.name, "steps": steps, "rows": len(plan.milestones)})
        table[-1] |= {"ms_a_step": 1000 * float(row["step_seconds"]), "hours": seconds / 3600}
        console.print(
            f"{plan.name:<60} {steps:>7} steps  {table[-1]['ms_a_step']:6.0f} ms  {seconds / 3600:5.2f} h",
            soft_wrap=True,
        )
    frame = pd.DataFrame(table)
    sums = frame.groupby("group", sort=False).agg(runs=("run", "size"), rows=("rows", "sum"), hours=("hours", "sum"))
    console.print(sums.assign(until=sums["hours"].cumsum()).round(2).to_string())
    console.print(f"{len(frame)} runs, {frame['rows'].sum()} rows, {frame['hours'].sum():.1f} processor hours")


def keep(row: dict[str, Any], out: Path) -> None:
    """Put a row into runs.csv, and its tasks into tasks.csv, in place of older ones of the same run and milestone."""
    tasks = {"run": row["run"], "milestone": row["milestone"], **row.pop("tasks")}
    made = {**row, "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"), **origin()}
    put_rows(out / "runs.csv", [made], KEYS)
    put_rows(out / "tasks.csv", [tasks], KEYS)


def corpus_of(study: Study, asked: str) -> Corpus:
    """The finished corpus of a study, asked for by this name."""
    wanted = "" if asked == "study" else f" --study {shlex.quote(asked)}"
    return open_corpus(cache_folder(study.name) / "corpus", f"python evaluation/scaling_study.py corpus{wanted}")


def run_all(study: Study, corpus: Corpus, out: Path, groups: Sequence[str]) -> None:
    """Run what lacks rows, the groups named or all."""
    plans, exams, states = study.plans_of(groups), exams_of(study), cache_folder(study.name) / "runs"

    def done() -> set[tuple[str, int]]:
        return {(row["run"], int(row["milestone"])) for row in read_csv(out / "runs.csv")}

    for row in run_study(study, corpus, states, exams, done, plans, report=lambda line: print(line, flush=True)):
        print(f"{row['run']} {row['points'] / 1e6:.1f}M: {told(row)}", flush=True)
        keep(row, out)


def told(row: dict[str, Any]) -> str:
    """The losses of a row in words."""
    names = ("train_loss", "id_loss", "ood_loss", "mase")
    return "  ".join(f"{name} {float(row[name]):.4f}" for name in names if row.get(name) not in (None, ""))


def measure_all(study: Study, corpus: Corpus, out: Path) -> None:
    """Put the losses that kept weights have now into their rows; what trained them stays as it was."""
    for losses in measure_again(corpus, cache_folder(study.name) / "runs", exams_of(study)):
        name, milestone = losses["run"], losses["milestone"]
        rows = [row for row in read_csv(out / "runs.csv") if (row["run"], row["milestone"]) == (name, str(milestone))]
        if not rows:
            console.print(f"{name} {milestone / 1e6:.1f}M: no row in {out / 'runs.csv'}; skipped", soft_wrap=True)
            continue
        tasks = {"run": name, "milestone": milestone, **losses.pop("tasks")}
        by = {"measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"), "measured_commit": origin()["commit"]}
        console.print(f"{name} {milestone / 1e6:.1f}M: {told(rows[0])}  now  {told(losses)}", soft_wrap=True)
        put_rows(out / "runs.csv", [{**rows[0], **losses, **by}], KEYS)
        put_rows(out / "tasks.csv", [tasks], KEYS)


def show_rows(study: Study, out: Path, groups: Sequence[str]) -> None:
    """Print what has been measured, of the groups named or of all."""
    study.plans_of(groups)  # complains of groups that are not there
    rows = [row for row in read_csv(out / "runs.csv") if not groups or row["group"] in groups]
    for row in rows:
        console.print(f"{row['run']:<60} {float(row['points']) / 1e6:7.1f}M  {told(row)}", soft_wrap=True)
    console.print(f"{len(rows)} rows of {len({row['run'] for row in rows})} runs")


def main() -> int:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plan", "corpus", "run", "rows", "measure"])
    parser.add_argument("--study", default="study", help="study or quick, or a .toml file of your own")
    parser.add_argument("--groups", nargs="+", default=[], help="only these; by default all, in order")
    parser.add_argument("--data", type=Path, help="folder of pretraining sets; by default $TSFM_DATA/pretrain")
    parser.add_argument("--eager", action="store_true", help="plan as if nothing were compiled, which is sooner known")
    parser.add_argument("--out", type=Path, help="folder of rows; by default evaluation/results/scaling")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    try:
        do(asked, read_study(asked.study))
    except TsfmError as error:
        console.print(f"{error}", style="red", soft_wrap=True, markup=False)
        return 1
    return 0


def do(asked: argparse.Namespace, study: Study) -> None:
    """Do what is asked with a study."""
    out = asked.out or (OUT if study.name == "study" else OUT / study.name)
    if asked.what in ("plan", "run", "measure"):
        check_folder(out)
    if asked.what == "plan":
        plan_study(study, out, asked.groups, asked.eager)
    elif asked.what == "corpus":
        real = (asked.data or pretraining_folder()) if study.corpus.real_share else None
        make_corpus(cache_folder(study.name) / "corpus", study.corpus, real, lambda line: print(line, flush=True))
    elif asked.what == "run":
        run_all(study, corpus_of(study, asked.study), out, asked.groups)
    elif asked.what == "measure":
        measure_all(study, corpus_of(study, asked.study), out)
    else:
        show_rows(study, out, asked.groups)


def pretraining_folder() -> Path:
    """The folder of real sets by default."""
    return Path(os.environ.get("TSFM_DATA", "../shared/data")) / "pretrain"


if __name__ == "__main__":
    sys.exit(main())
