"""Measure what each step towards a fast trainer brings: tokens a second of training the flagship, change by change.

    python evaluation/speed_training.py

Every row has all changes of the rows before it. It is made in a process of its own, since code that was compiled and
memory that was kept stay with a process; rounds go over all rows in turn, and their median is told, so that a
slow minute of the machine is not one row's. One thread computes, as in a training beside other work; the last row lets
a second one make the data. A step is 8,192 tokens of synthetic windows. Seconds are wall time: let nothing else run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from tsfm.evaluation.results import ROOT, origin, put_rows
from tsfm.kernels import keep_freed_memory, using
from tsfm.models.moe_decoder import PRESETS
from tsfm.training.config import RunConfig
from tsfm.training.trainer import Trainer

WARM = 8  # steps before the clock starts, at least


@dataclass(frozen=True)
class Stage:
    """A way to train; each differs from the one before in one thing."""

    what: str
    sorted_rows: bool = True
    bf16: bool = True
    compiled: bool = True
    keep_memory: bool = True
    ahead: bool = True


STAGES = (
    Stage("float32, one expert at a time", False, False, False, False, False),
    Stage("rows sorted by expert, one product an expert", True, False, False, False, False),
    Stage("bf16 over float32 weights", True, True, False, False, False),
    Stage("compiled", True, True, True, False, False),
    Stage("freed memory kept", True, True, True, True, False),
    Stage("data made ahead by a second thread", True, True, True, True, True),
)


def tokens_per_second(stage: Stage, preset: str, steps: int) -> float:
    """Of this process, which is used up by it."""
    if stage.keep_memory:
        keep_freed_memory()
    config = RunConfig(PRESETS[preset], compiled=stage.compiled)
    trainer = Trainer(Path(tempfile.gettempdir()), config)  # nothing is saved
    if not stage.bf16:
        trainer.precision = torch.float32
    shapes: set[tuple[int, ...]] = set()  # one for every length of window, each compiled when it is first met
    step, measured, seconds = 0, 0, 0.0
    with nullcontext() if stage.sorted_rows else using("reference"), ThreadPoolExecutor(1) as pool:
        coming = pool.submit(trainer.prepare, 0) if stage.ahead else None
        while measured < steps:
            begun = time.perf_counter()
            prepared = coming.result() if coming else trainer.prepare(step)
            coming = pool.submit(trainer.prepare, step + 1) if coming else None
            trainer.train_step(prepared)
            if len(shapes) == len(config.windows.contexts) and step >= WARM:
                measured, seconds = measured + 1, seconds + time.perf_counter() - begun
            shapes.add(tuple(prepared[0].shape))
            step += 1
    return steps * config.windows.tokens / seconds


def main() -> int:
    """Measure every stage in turn, print, and put rows into the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=[*PRESETS])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stage", type=int, help=argparse.SUPPRESS)  # one measurement, in a process of its own
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "speed_training.csv")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.stage is not None:
        print(json.dumps(tokens_per_second(STAGES[asked.stage], asked.preset, asked.steps)))
        return 0
    found: dict[str, list[float]] = {stage.what: [] for stage in STAGES}
    for _ in range(asked.rounds):
        for place, stage in enumerate(STAGES):
            told = [
                sys.executable,
                __file__,
                "--preset",
                asked.preset,
                "--steps",
                str(asked.steps),
                "--stage",
                str(place),
            ]
            found[stage.what].append(json.loads(subprocess.run(told, check=True, capture_output=True).stdout))
    made_by, first = origin(), statistics.median(found[STAGES[0].what])
    rows = []
    for what, each in found.items():
        middle = statistics.median(each)
        row = {"preset": asked.preset, "change": what, "tokens_per_second": middle, "times_the_first": middle / first}
        rows.append(
            row | {"least": min(each), "most": max(each), "steps": asked.steps, "rounds": asked.rounds, **made_by}
        )
        Console().print(f"{what:<48} {middle:8,.0f} tokens/s  {middle / first:.2f} times the first")
    put_rows(asked.out, rows, ["preset", "change"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
