"""The selective scan for `gpu.py`: its gate, and its time beside the plain scan's and that of its traffic."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from evaluation.speed_layers import TOLERANCE
from evaluation.speed_limits import peak_of, times
from tsfm import kernels

Rows = list[dict[str, Any]]
Sizes = tuple[int, int, int]  # series, channels, steps
RESULTS = ("output", "u", "delta", "A", "B", "C", "z")
PATHS: tuple[kernels.Path, ...] = ("triton", "cpu")
STATES = 16  # of a channel


def relative(got: Tensor, right: Tensor) -> float:
    """Root mean square of the error over that of the truth."""
    return float((got.float() - right).norm() / right.norm())


def scan_inputs(device: torch.device, sizes: Sizes, kind: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """u, delta, A, B, C and z, and a gradient of the output; channels lie together in memory, as models make them."""
    series, width, length = sizes

    def normal(channels: int) -> Tensor:
        return torch.randn(series, length, channels, device=device).to(kind).transpose(1, 2)

    rates = -torch.rand(width, STATES, device=device) - 0.1
    u, delta, z, pull = (normal(width) for _ in range(4))
    return [u, delta, rates, normal(STATES), normal(STATES), z], pull


def scan_results(path: kernels.Path, inputs: list[Tensor], pull: Tensor | None) -> list[Tensor]:
    """The outputs of a scan, and its gradients where there is something to pull with."""
    leaves = [one.detach().requires_grad_(pull is not None) for one in inputs]
    with kernels.using(path):
        out = kernels.selective_scan(*leaves[:5], z=leaves[5], delta_softplus=True)[0]
        return [out] if pull is None else [out.detach(), *torch.autograd.grad(out, leaves, pull)]


def scan_gate(device: torch.device, kind: torch.dtype, sizes: Sizes) -> Rows:
    """Relative errors of the fused scan and its gradients against the reference in float32, on odd sizes."""
    inputs, pull = scan_inputs(device, sizes, kind)
    ours, again = (scan_results("triton", inputs, pull) for _ in range(2))
    truth = scan_results("reference", [one.float() for one in inputs], pull.float())
    errors = [relative(got, right) for got, right in zip(ours, truth, strict=True)]
    same = all(torch.equal(one, two) for one, two in zip(ours, again, strict=True))
    passed = same and all(error <= TOLERANCE[kind] for error in errors)
    return [dict(**dict(zip(RESULTS, errors, strict=True)), bit_equal=same, passed=passed)]


def scan_rows(device: torch.device, kind: torch.dtype, sizes: Sizes, backward: bool, budget: float) -> Rows:
    """Time of the fused scan and of the plain one, and the traffic of u, delta, z, y, B and C over the device's."""
    series, width, length = sizes
    inputs, pull = scan_inputs(device, sizes, kind)
    calls = {path: partial(scan_results, path, inputs, pull if backward else None) for path in PATHS}
    found, right = (call() for call in calls.values())
    wrong = max(relative(got, made.float()) for got, made in zip(found, right, strict=True))
    timed = times(calls, device, budget)
    traffic = kind.itemsize * series * length * ((4 * width + 2 * STATES) * (3 if backward else 1))
    floor = 1e6 * traffic / peak_of(device, kind).bytes
    shape = {"series": series, "width": width, "length": length, "states": STATES, "backward": backward}
    gate = {"relative_error": wrong, "passed": wrong <= TOLERANCE[kind]}
    speed = {"floor_us": floor, "fraction_of_floor": floor / timed["triton"].us, "plain_us": timed["cpu"].us}
    return [dict(**shape, **timed["triton"]._asdict(), **gate, **speed)]
