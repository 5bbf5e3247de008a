"""Measure Time-MoE at its published size beside the official implementation: CPU seconds and memory on one thread.

    python evaluation/speed_time_moe.py
    python evaluation/speed_time_moe.py --case b1 --precision bf16 --out trial.csv

The official code cannot be installed beside this package, so its seconds are those measured on the same machine once
(OFFICIAL, with its fp32 matmul rate); they are scaled by the matmul rate of this very run. Weights are random at the
published size and rounded to bfloat16, in which the published ones are stored; routers are whitened so that the experts
are evenly loaded, as trained ones are. Every case runs in a process of its own, whose largest resident memory is its
peak. CPU seconds of one thread hold on a busy machine too, where wall-clock times do not. `bf16_error` is the distance
of the forecasts to those of fp32, relative to their norm; `bf16_error_routed` is that where both precisions use the
same experts, which is left when no token sits on the edge between two.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from speed import peak_memory
from torch import Tensor, nn

from tsfm import kernels
from tsfm.batch import Batch
from tsfm.evaluation.results import ROOT, origin, read_csv, write_csv
from tsfm.models.time_moe import PRESETS, TimeMoE

# B series, C context steps, H horizon, T tokens, D width, E experts.

OUT = ROOT / "evaluation" / "results" / "speed_time_moe.csv"
OFFICIAL_RATE = 100.0  # GFLOP/s of fp32 matrix products on one thread while OFFICIAL was measured: 97 to 104
FAINTEST = 0.05  # of the strongest direction of a layer's input, for a whitened router: fainter ones are rounding


@dataclass(frozen=True)
class Case:
    """What is measured, and what the official code took: CPU seconds on one thread, median and least, and peak MB."""

    series: int
    context: int
    horizon: int
    repeats: int
    official_seconds: float
    official_least: float
    official_mb: float


CASES = {
    "b1": Case(1, 512, 96, 5, 0.95, 0.83, 840),
    "b32": Case(32, 512, 96, 2, 36.5, 36.5, 2399),
    "b8long": Case(8, 2048, 720, 1, 101.6, 101.6, 5404),
    "train": Case(8, 512, 0, 2, 21.0, 18.8, 7434),
}


def matmul_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """GFLOP/s of fp32 matrix products in CPU seconds of this process."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    left @ right
    began, done = time.process_time(), 0
    while time.process_time() - began < seconds:
        left @ right
        done += 1
    return 2e-9 * size**3 * done / (time.process_time() - began)


def walks(series: int, steps: int, seed: int = 0) -> Tensor:
    """Standardised random walks (B, C)."""
    made = torch.randn(series, steps, generator=torch.Generator().manual_seed(seed)).cumsum(1)
    return (made - made.mean(1, keepdim=True)) / made.std(1, keepdim=True)


@torch.no_grad()
def whiten_routers(model: TimeMoE) -> None:
    """Give every router random directions of its whitened input, so that each expert gets about the same share.

    Layer after layer, in one pass over a few walks: a router moves what the layers after it see.
    """
    generator = torch.Generator().manual_seed(1)

    def whiten(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0].double()
        mean = rows.mean(0)
        _, size, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        kept = int((size >= FAINTEST * size[0]).sum())
        white = directions[:kept] * (len(rows) ** 0.5 / size[:kept, None])
        chosen = torch.randn(model.config.experts, kept, generator=generator, dtype=torch.float64)
        weight = nn.functional.normalize(chosen, dim=1) @ white
        weight -= (weight @ mean)[:, None] * mean / mean.square().sum().clamp(min=1e-12)
        layer.gate.weight.copy_(weight)

    hooks = [layer.ffn_layer.register_forward_pre_hook(whiten) for layer in model.model.layers]
    model(walks(4, 512, seed=2))
    for hook in hooks:
        hook.remove()


def made_model(preset: str) -> TimeMoE:
    """A random model of a size, its routers whitened."""
    torch.manual_seed(0)
    model = TimeMoE(PRESETS[preset]).eval()
    whiten_routers(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
    return model


def busiest(model: TimeMoE) -> float:
    """Load of the busiest expert over the mean load, averaged over layers."""
    with torch.no_grad():
        routings = model(walks(4, 256, seed=3))[1]
    loads = [torch.bincount(one.expert.flatten(), minlength=model.config.experts) for one in routings]
    return sum(float(load.max() / load.float().mean()) for load in loads) / len(loads)


def forecast_of(model: TimeMoE, case: Case) -> Callable[[], Tensor]:
    """A call of `predict` on the case's series."""
    values = walks(case.series, case.context).double()
    batch = Batch(values, torch.ones_like(values, dtype=torch.bool), torch.ones(case.series, dtype=torch.int64))
    return lambda: model.predict(batch, case.horizon)


def training_step_of(model: TimeMoE, case: Case) -> Callable[[], Tensor]:
    """A step as the official trainer takes it: forward, backward, clipping, AdamW."""
    values = walks(case.series, case.context + 1)
    seen = torch.ones_like(values, dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    kernels.keep_freed_memory()

    def step() -> Tensor:
        loss = model.window_loss(values, seen)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def measure(name: str, precision: str, preset: str) -> dict[str, Any]:
    """One case in this process."""
    torch.set_num_threads(1)
    case, model = CASES[name], made_model(preset)
    rate, load = matmul_rate(), busiest(model)
    run = training_step_of(model, case) if name == "train" else forecast_of(model, case)
    model.set_precision(torch.bfloat16 if precision == "bf16" else torch.float32)
    warm_up(model, case, name)
    taken, wall, made = [], [], torch.empty(0)
    for _ in range(case.repeats):
        began, clock = time.process_time(), time.perf_counter()
        made = run()
        taken.append(time.process_time() - began)
        wall.append(time.perf_counter() - clock)
    peak, errors = peak_memory(), ("", "")
    if precision == "bf16" and name != "train":
        errors = distances_to_fp32(model, run, made)
    official, least = (one * OFFICIAL_RATE / rate for one in (case.official_seconds, case.official_least))
    seconds = median(taken)
    return {
        "case": name,
        "series": case.series,
        "context": case.context,
        "horizon": case.horizon,
        "precision": precision,
        "preset": preset,
        "repeats": case.repeats,
        "cpu_seconds": f"{seconds:.3f}",
        "cpu_seconds_least": f"{min(taken):.3f}",
        "wall_seconds": f"{median(wall):.3f}",
        "matmul_gflops": f"{rate:.1f}",
        "official_cpu_seconds": f"{official:.3f}",
        "times_faster": f"{official / seconds:.2f}",
        "times_faster_least": f"{least / min(taken):.2f}",
        "peak_mb": f"{peak:.0f}",
        "official_peak_mb": f"{case.official_mb:.0f}",
        "share_of_peak": f"{peak / case.official_mb:.2f}",
        "bf16_error": errors[0],
        "bf16_error_routed": errors[1],
        "busiest_expert": f"{load:.2f}",
    }


def distances_to_fp32(model: TimeMoE, run: Callable[[], Tensor], made: Tensor) -> tuple[str, str]:
    """Relative distance of forecasts in bf16 to those in fp32, and of those with the routes that fp32 took."""
    route, taken = kernels.route, list[Any]()

    def noted(*given: Any, **how: Any) -> Any:
        taken.append(route(*given, **how))
        return taken[-1]

    model.set_precision(torch.float32)
    kernels.route = noted
    exact = run()
    again = iter(taken)
    model.set_precision(torch.bfloat16)
    kernels.route = lambda *given, **how: next(again)
    routed = run()
    kernels.route = route
    first, second = (f"{float((one - exact).norm() / exact.norm()):.2e}" for one in (made, routed))
    return first, second


def warm_up(model: TimeMoE, case: Case, name: str) -> None:
    """Take what is paid once: copies in bf16, the choice of kernels, memory, the optimiser's moments."""
    if name == "train":
        step = training_step_of(model, case)
        step(), step()
    else:
        forecast_of(model, Case(1, 64, 8, 1, 0, 0, 0))()
        if case.series == 1:
            forecast_of(model, case)()


def in_process_of_its_own(name: str, precision: str, preset: str) -> dict[str, Any]:
    """The row of a case, measured by a fresh Python."""
    command = [sys.executable, __file__, "--case", name, "--precision", precision, "--preset", preset, "--here"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    """Measure the cases asked for and write a row each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one or several; all by default")
    parser.add_argument("--precision", choices=("fp32", "bf16"), action="append", help="both by default")
    parser.add_argument("--preset", default="50m", choices=PRESETS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--here", action="store_true", help="measure one case in this process and print its row")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.case[0], options.precision[0], options.preset)))
        return
    rows: list[dict[str, Any]] = [*read_csv(options.out)]
    for name in options.case or CASES:
        for precision in options.precision or ("fp32", "bf16"):
            row = in_process_of_its_own(name, precision, options.preset)
            rows = [old for old in rows if any(old[key] != row[key] for key in ("case", "precision", "preset"))]
            rows.append({**row, **origin()})
            rows.sort(key=lambda row: (list(CASES).index(row["case"]), row["precision"] == "bf16"))
            print(
                " ".join(f"{key}={row[key]}" for key in ("case", "precision", "cpu_seconds", "times_faster", "peak_mb"))
            )
            write_csv(options.out, rows)


if __name__ == "__main__":
    main()
