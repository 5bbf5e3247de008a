"""How long things take on a device, and how long they must take at least.

On a GPU a time is the median over calls with a cold L2 cache (`triton.testing.do_bench`), compilation left out. On a
processor the contenders take turns, so that another job on the machine hurts all alike, and the time is the lower
quartile of processor time where one thread runs, of wall time where several do. The least time of a kernel is its
arithmetic over the device's dense products, or its compulsory traffic over the device's copies, whichever is longer.
A time under a CUDA graph leaves out what the processor needs to launch kernels, and finds in the L2 cache what the call
before left there: small layers get under a floor that counts all traffic as memory's.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch

# T tokens, D width, F expert width, E experts, K experts a token, R = T * K routed rows.


class Shape(NamedTuple):
    """Sizes of a sparse layer."""

    tokens: int
    width: int
    ffn: int
    experts: int = 8
    top_k: int = 2

    @property
    def rows(self) -> int:
        """Routed rows."""
        return self.tokens * self.top_k

    def flop(self, backward: bool = False) -> int:
        """Useful operations of a layer, those of the backward pass too if asked."""
        return (18 if backward else 6) * self.rows * self.width * self.ffn


class Peak(NamedTuple):
    """Operations and bytes a second: large dense bfloat16 products, and copies counting what is read and written."""

    flop: float
    bytes: float


class Timing(NamedTuple):
    """Microseconds: the figure to quote, and how far it spreads."""

    us: float
    low: float
    high: float


# Measured through PyTorch on one card each: 8192 x 8192 x 8192 products of random numbers, copies between buffers.
PEAKS = {"H200": Peak(788e12, 4.3e12), "H100": Peak(798e12, 3.0e12)}


def peak_of(device: torch.device, dtype: torch.dtype) -> Peak:
    """Constants of a known card in bfloat16 and float16, else what a large product and a copy reach here and now."""
    if device.type == "cuda" and dtype.itemsize == 2:
        for name, peak in PEAKS.items():
            if name in torch.cuda.get_device_name(device):
                return peak
    return _measured(device, dtype)


@cache
def _measured(device: torch.device, dtype: torch.dtype) -> Peak:
    large, deep = (8192, 8192) if device.type == "cuda" else (4096, 1024)
    left, right = torch.randn(large, deep, device=device).to(dtype), torch.randn(deep, deep, device=device).to(dtype)
    source = torch.empty((2**30 if device.type == "cuda" else 2**27) // 4, device=device)
    target = torch.empty_like(source)
    product = times({"product": lambda: left @ right}, device)["product"].us
    copy = times({"copy": lambda: target.copy_(source)}, device)["copy"].us
    return Peak(2e6 * large * deep * deep / product, 2e6 * source.nbytes / copy)


def kernel_limits(shape: Shape, size: int, keep_z: bool = True) -> dict[str, tuple[float, float]]:
    """Operations and compulsory bytes of every kernel of a layer; `size` bytes a number.

    keep_z  whether the forward pass writes z, as training does
    """
    tokens, width, ffn, experts, _ = shape
    rows, matrix = shape.rows, shape.experts * shape.width * shape.ffn
    product = 2.0 * rows * width * ffn
    read, routed, hidden = tokens * width, rows * width, rows * ffn
    summed = (2.0 * routed, float(size * (routed + read)))
    return {
        "route": (2.0 * tokens * width * experts, 4.0 * (read + tokens * experts + 5 * rows)),
        "up_swiglu": (2 * product, float(size * (read + 2 * matrix + hidden * (3 if keep_z else 1)))),
        "rows_matmul down": (product, float(size * (hidden + matrix + routed))),
        "combine": summed,
        "act_backward": (product, float(size * (read + matrix + 5 * hidden))),
        "rows_matmul dx": (2 * product, float(size * (2 * hidden + 2 * matrix + routed))),
        "combine dx": summed,
        "weight_grad up": (2 * product, float(size * (2 * hidden + read + 2 * matrix))),
        "weight_grad down": (product, float(size * (read + hidden + matrix))),
    }


FORWARD = ("up_swiglu", "rows_matmul down", "combine")


def least_us(flop: float, traffic: float, peak: Peak) -> float:
    """The least microseconds of one kernel."""
    return 1e6 * max(flop / peak.flop, traffic / peak.bytes)


def layer_floor(shape: Shape, size: int, mode: str, peak: Peak) -> float:
    """The least microseconds of a layer without its router: each of its kernels at its limit."""
    limits = kernel_limits(shape, size, keep_z=mode != "forward")
    names = [name for name in limits if name != "route"] if mode == "forward+backward" else FORWARD
    return sum(least_us(*limits[name], peak) for name in names)


def times(functions: Mapping[str, Callable[[], Any]], device: torch.device, budget: float = 0.5) -> dict[str, Timing]:
    """Time of every function; `budget` is about how many seconds each may take."""
    if device.type == "cuda":
        return {name: _on_gpu(function) for name, function in functions.items()}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    end = clock() + budget * len(functions)
    while clock() < end or len(next(iter(found.values()))) < 3:
        for name, function in functions.items():
            start = clock()
            function()
            found[name].append(1e6 * (clock() - start))
    return {name: _quartiles(values) for name, values in found.items()}


def _quartiles(values: list[float]) -> Timing:
    ordered = sorted(values)
    low, middle, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    return Timing(low, middle, high)


def _on_gpu(function: Callable[[], Any]) -> Timing:
    from triton.testing import do_bench

    middle, low, high = do_bench(function, warmup=25, rep=100, quantiles=[0.5, 0.2, 0.8])
    return Timing(1e3 * middle, 1e3 * low, 1e3 * high)


def graphed_us(function: Callable[[], Any], device: torch.device) -> float | str:
    """Median microseconds of a replayed CUDA graph of the function; empty where there are none or it waits inside."""
    if device.type != "cuda":
        return ""
    from triton.testing import do_bench_cudagraph

    try:
        return 1e3 * float(do_bench_cudagraph(function, rep=50, return_mode="median"))
    except RuntimeError:
        torch.cuda.synchronize()
        return ""


def peak_megabytes(function: Callable[[], Any], device: torch.device) -> float | str:
    """Memory that a call takes beside what lay there before, in MB (10^6 bytes); empty on a processor."""
    if device.type != "cuda":
        return ""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6
