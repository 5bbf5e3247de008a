"""Measure the selective scan on a processor: its time and memory beside those of plain loops over the steps.

    python evaluation/speed_scan.py

"ours" is what `tsfm.kernels.selective_scan` takes on a processor; "loop" is the reference path, one step after the
other (`kernels.using("reference")`); "tensors" makes decays and inputs of all steps first, as plain listings of Mamba
do. Every way is held against the loop before it is timed. Times are processor time on one thread, the lower quartile
over calls that take turns (`speed_limits.py`); `times_loop` is the time over that of the loop. `kept_mb` is what the
forward pass keeps for the backward pass beside its arguments, `all_states_mb` what keeping every state would take, and
`peak_mb` the most memory that a call had at once, to 0.1 MB.
"""

import argparse
import ctypes
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from evaluation.speed_limits import times
from tsfm import kernels
from tsfm.evaluation.results import ROOT, origin, write_csv

# S series, W channels, N states a channel, L steps.

TOLERANCE = 1e-5  # relative, root mean square
SLOW = 5000  # MB of states times steps from which on the backward pass of "tensors" takes minutes, and is left out


class Sizes(NamedTuple):
    """Sizes of a scan."""

    series: int
    channels: int
    states: int
    steps: int

    @property
    def all_states_mb(self) -> float:
        """Megabytes of every state in float32."""
        return 4e-6 * self.series * self.channels * self.states * self.steps


# S-Mamba and SiMBA on ETTh1, a step-by-step reader, one long series, wide states, and a large batch.
SHAPES = [
    Sizes(32, 256, 2, 7),
    Sizes(224, 128, 16, 12),
    Sizes(1, 256, 16, 64),
    Sizes(1, 256, 16, 512),
    Sizes(1, 64, 16, 2048),
    Sizes(8, 64, 64, 128),
    Sizes(16, 256, 16, 256),
]


def drawn(sizes: Sizes) -> tuple[list[Tensor], Tensor]:
    """u, delta, A, B, C, D, z and the bias of delta, as a Mamba block makes them, and a gradient of the output."""
    series, channels, states, steps = sizes
    draw = torch.Generator().manual_seed(0)

    def normal(width: int) -> Tensor:
        return torch.randn(series, steps, width, generator=draw).transpose(1, 2)

    rates = -torch.arange(1.0, states + 1).repeat(channels, 1)
    signal, gate, pull = (normal(channels) for _ in range(3))
    rows = [torch.ones(channels), gate, torch.full((channels,), -4.0)]
    return [signal, normal(channels), rates, normal(states), normal(states), *rows], pull


def by_path(
    path: kernels.Path, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """The outputs of one path."""
    with kernels.using(path):
        return kernels.selective_scan(u, delta, A, B, C, D, z, bias, delta_softplus=True)[0]


def by_tensors(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor) -> Tensor:
    """The outputs, from decays and driven inputs (S, W, L, N) of all steps."""
    delta = F.softplus(delta + bias[:, None])
    decay = torch.exp(delta[..., None] * A[:, None])
    driven = (delta * u)[..., None] * B.mT[:, None]
    state, rows = torch.zeros_like(driven[:, :, 0]), []
    for t in range(u.shape[-1]):
        state = decay[:, :, t] * state + driven[:, :, t]
        rows.append((state * C[:, None, :, t]).sum(-1))
    return (torch.stack(rows, -1) + D[:, None] * u) * F.silu(z)


WAYS: dict[str, Callable[..., Tensor]] = {
    "ours": partial(by_path, "cpu"),
    "loop": partial(by_path, "reference"),
    "tensors": by_tensors,
}


def call(way: str, inputs: list[Tensor], pull: Tensor | None) -> list[Tensor]:
    """Outputs and, where there is something to pull with, the gradients of all inputs."""
    if pull is None:
        with torch.inference_mode():
            return [WAYS[way](*inputs)]
    leaves = [one.detach().requires_grad_() for one in inputs]
    out = WAYS[way](*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, pull)]


def kept_megabytes(way: str, inputs: list[Tensor]) -> float:
    """What the forward pass keeps for the backward pass, beside its arguments; views of one memory counted once."""
    leaves = [one.detach().requires_grad_() for one in inputs]
    own = {one.untyped_storage().data_ptr() for one in leaves}
    kept: dict[int, int] = {}

    def keep(one: Tensor) -> Tensor:
        kept[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        out = WAYS[way](*leaves)
        del out
    return sum(size for place, size in kept.items() if place not in own) / 1e6


def peak_megabytes(function: Callable[[], Any]) -> float | str:
    """Most resident memory during a call beyond what was resident before; empty where Linux does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that lies ready would hide what a call takes
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _resident("VmRSS")
        function()
        return (_resident("VmHWM") - before) / 1e6
    except (OSError, AttributeError):
        return ""


def _resident(name: str) -> int:
    """Bytes of a line of the process's status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def measure(sizes: Sizes, backward: bool, budget: float) -> list[dict[str, Any]]:
    """Rows of one size in one mode, one a way."""
    inputs, pull = drawn(sizes)
    ways = [way for way in WAYS if way != "tensors" or not backward or sizes.all_states_mb * sizes.steps < SLOW]
    calls = {way: partial(call, way, inputs, pull if backward else None) for way in ways}
    truth = calls["loop"]()
    wrong = {way: max(map(relative, made(), truth)) for way, made in calls.items()}
    for way, error in wrong.items():
        if not error <= TOLERANCE:
            raise ValueError(f"{way} is wrong by {error:.1e} at {sizes}, more than {TOLERANCE:.0e}")
    timed = times(calls, torch.device("cpu"), budget)
    return [
        {
            **sizes._asdict(),
            "mode": "forward+backward" if backward else "forward",
            "way": way,
            "ms": timed[way].us / 1e3,
            "times_loop": timed[way].us / timed["loop"].us,
            "kept_mb": kept_megabytes(way, inputs) if backward else "",
            "peak_mb": peak_megabytes(made),
            "all_states_mb": sizes.all_states_mb,
            "relative_error": wrong[way],
            **origin(),
        }
        for way, made in calls.items()
    ]


def relative(got: Tensor, right: Tensor) -> float:
    """Root mean square of the error over that of the truth."""
    return float((got - right).norm() / right.norm())


def main() -> int:
    """Measure every size, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for every way")
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "speed_scan.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for sizes in SHAPES:
        for backward in (False, True):
            made = measure(sizes, backward, options.seconds)
            rows += made
            write_csv(options.out, rows)
            for row in made:
                told = f"{row['way']:8} {row['ms']:10.2f} ms, {row['times_loop']:5.2f} of the loop"
                Console().print(
                    f"{tuple(sizes)} {row['mode']:16} {told}, peak {row['peak_mb'] or 0:.1f} MB", soft_wrap=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
