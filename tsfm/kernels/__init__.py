"""Which computation runs where: the only place in the package that knows devices and instruction sets.

`expert_mlp` is the sparse layer's heart; `choose_path` decides what computes it and `using` overrides that for tests;
`choose_precision` decides the type of the large matrix products; `describe` says all in words for `tsfm doctor`.
Triton is imported when its path is first taken, and everything works without it.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.kernels import reference
from tsfm.kernels import scan as scans
from tsfm.kernels.moe import collect, dispatch, mix_rows, plain_route, rows_matmul
from tsfm.kernels.scan import selective_step

__all__ = [
    "choose_device",
    "choose_path",
    "choose_precision",
    "describe",
    "expert_mlp",
    "keep_freed_memory",
    "memory_for_batches",
    "route",
    "rows_at_once",
    "selective_scan",
    "selective_step",
    "using",
]

# On a processor the tiny decoder was fastest at 64 to 256 series of 512 steps (40 to 160 MB), a quarter slower at 512.
HOST_MEMORY = 64 * 2**20

# T tokens, D width, E experts, K experts a token, F expert width, R = T * K routed rows.


Path = Literal["triton", "cpu", "reference"]
PATHS: dict[Path, str] = {
    "triton": "fused Triton kernels",
    "cpu": "plain torch: sorted rows, one GEMM an expert",
    "reference": "reference, one expert at a time",
}
OLDEST_TRITON, OLDEST_GPU = (3, 3), 8  # the latter, a major compute capability, is also the first with bf16
TRITON_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def _missing_triton() -> str:
    """Why the Triton kernels cannot be had on any device, empty where they can; imports nothing."""
    if find_spec("triton") is None:
        return "Triton is not installed: pip install 'tsfm-forecast[triton]'"
    try:
        found = version("triton")
    except PackageNotFoundError:  # builds of other names, which belong to their torch
        return ""
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers and tuple(map(int, numbers.groups())) < OLDEST_TRITON:
        return f"Triton {found} is older than {'.'.join(map(str, OLDEST_TRITON))}: pip install -U triton"
    return ""


_no_triton = _missing_triton()
_forced: Path | None = None


def choose_path(
    device: torch.device, dtype: torch.dtype, activation: reference.Activation = "swiglu"
) -> tuple[Path, str]:
    """What computes sparse layers of this device, type and activation, and the reason in words.

    "triton" are the fused GPU kernels, "cpu" is plain torch on any device, "reference" the slow truth.
    """
    if _forced is not None:
        return _forced, "asked for by kernels.using()"
    if device.type != "cuda":
        return "cpu", "no CUDA device" if not _no_triton else f"no CUDA device; {_no_triton}"
    if _no_triton:
        return "cpu", _no_triton
    if dtype not in TRITON_TYPES:
        return "cpu", f"{dtype} is not among the types of the Triton kernels"
    if activation != "swiglu":
        return "cpu", f"the Triton kernels compute SwiGLU experts, not {activation}"
    if torch.cuda.is_available() and torch.cuda.get_device_properties(device).major < OLDEST_GPU:
        return "cpu", f"Triton compiles for GPUs of compute capability {OLDEST_GPU}.0 or later"
    return "triton", "a CUDA device and Triton are there; SwiGLU experts only, others take plain torch"


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Take this path whatever the device, for tests and benchmarks."""
    global _forced
    if path not in PATHS:
        raise DataError(f"path={path!r} is not known; pass 'triton', 'cpu' or 'reference'")
    if path == "triton" and _no_triton:
        raise DataError(_no_triton)
    before, _forced = _forced, path
    try:
        yield
    finally:
        _forced = before


def route(
    x: Tensor,
    router: Tensor,
    top_k: int,
    *,
    scoring: reference.Scoring = "softmax",
    bias: Tensor | None = None,
    renormalise: bool = True,
    counted: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Each token's experts and their mixing weights, from a linear router in float32; ties go to the lowest index.

    x (T, D), router (E, D); scoring, bias and renormalise as in `reference.route`. Differentiable in x and router.
    returns index (T, K), weight (T, K), logits (T, E), counts (blocks, E) of tokens, which `expert_mlp` may reuse;
    None with counted=False where they would cost something
    """
    if choose_path(x.device, x.dtype)[0] == "triton":
        from tsfm.kernels import moe_op

        if router.shape[0] <= moe_op.EXPERTS:
            return moe_op.route(x, router, top_k, scoring=scoring, bias=bias, renormalise=renormalise)
    with torch.autocast(x.device.type, enabled=False):
        if _forced == "reference":
            logits = F.linear(x.float(), router.float())
            index, weight = reference.route(logits, top_k, scoring=scoring, bias=bias, renormalise=renormalise)
        else:
            index, weight, logits = plain_route(x.float(), router.float(), top_k, scoring, bias, renormalise)
    if not counted:
        return index, weight, logits, None
    return index, weight, logits, _counts(index, router.shape[0])


def expert_mlp(
    x: Tensor,
    up: Tensor,
    down: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    activation: reference.Activation = "swiglu",
    counts: Tensor | None = None,
    recompute: bool = False,
) -> Tensor:
    """Weighted sum of each token's experts; dropless, differentiable in x, up, down and weight.

    x          (T, D)
    up         (E, 2F, D), gate rows first, or (E, F, D) for gelu
    down       (E, D, F)
    index      (T, K)     experts of each token
    weight     (T, K)     their mixing weights, fp32
    counts     what `route` returned with this very index; saves counting again
    recompute  on a GPU, keep 2F numbers a routed row less for the backward, for one more product by `up`
    returns    (T, D)     in the type of x, also under autocast
    """
    path = choose_path(x.device, x.dtype, activation)[0]
    if path == "triton":
        from tsfm.kernels import moe_op

        if activation != "swiglu":
            raise DataError(f"the Triton kernels have no {activation} experts; take the path 'cpu' or 'reference'")
        return moe_op.expert_mlp(x, up, down, index, weight, counts, recompute=recompute)
    with torch.autocast(x.device.type, enabled=False):
        if path == "reference":
            return reference.expert_mlp(x, up, down, index, weight, activation)
        return _plain_expert_mlp(x, up, down, index, weight, activation, counts)


def _counts(index: Tensor, experts: int) -> Tensor:
    """Rows of each expert, (1, E) int32, without waiting for the device as `bincount` does; index (T, K)."""
    return (index.reshape(-1, 1) == torch.arange(experts, device=index.device)).sum(0, True, dtype=torch.int32)


def _plain_expert_mlp(
    x: Tensor,
    up: Tensor,
    down: Tensor,
    index: Tensor,
    weight: Tensor,
    activation: reference.Activation,
    counts: Tensor | None,
) -> Tensor:
    """`expert_mlp` in torch alone: rows sorted by expert, one product an expert."""
    if activation == "swiglu" and not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        return mix_rows(x, up, down, index, weight)
    experts, top_k = up.shape[0], index.shape[1]
    flat = index.reshape(-1)
    order = torch.argsort(flat, stable=True)  # (R,) sorted row -> t * K + k
    counts = _counts(index, experts) if counts is None else counts
    start = F.pad(counts.sum(0).cumsum(0), (1, 0))
    position = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    hidden = rows_matmul(dispatch(x, order, position, top_k), up, start)
    if activation == "swiglu":
        gate, value = hidden.chunk(2, dim=-1)
        hidden = F.silu(gate) * value
    else:
        hidden = F.gelu(hidden)
    rows = rows_matmul(hidden, down, start)  # (R, D)
    per_token = collect(rows, order, position).view(-1, top_k, rows.shape[-1])
    mixed: Tensor = (per_token * weight[..., None].to(rows.dtype)).sum(1)
    return mixed


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs (S, W, L) and last state (S, W, N) of a selective scan; differentiable in every tensor.

    The axes of the arguments are those of `tsfm.kernels.scan.selective_scan`; S series, W channels, L steps, N states.
    """
    path = choose_path(u.device, u.dtype)[0]
    return scans.selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, path)


@cache
def _cpu_bf16() -> tuple[bool, str]:
    """Whether this processor multiplies bf16 matrices in hardware, and the reason in words."""
    capability = torch.backends.cpu.get_cpu_capability()
    has_amx = bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
    has_avx = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    if has_amx or has_avx:
        return True, f"{capability} with {'AMX' if has_amx else 'AVX512-BF16'}"
    return False, f"{capability} without bf16 instructions"


def choose_device(asked: str = "auto") -> torch.device:
    """Device of a name as torch gives it; "auto" is an accelerator where there is one."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise DataError(f"device={asked!r} cannot be used here ({reason}); give 'auto' or 'cpu'") from None
    return device


def memory_for_batches(device: torch.device) -> int:
    """Bytes one batch may take: half of what is free on an accelerator, 64 MB of a host's memory."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else HOST_MEMORY


def rows_at_once(device: torch.device) -> int:
    """Rows that a dense layer should compute together: as many as a core's cache holds, many more elsewhere."""
    return 1024 if device.type == "cpu" else 2**14


def choose_precision(device: torch.device, asked: str = "auto") -> torch.dtype:
    """Type of the large matrix products: `asked` is "auto", "fp32" or "bf16".

    "auto" is bf16 where the hardware multiplies it natively, else fp32.
    """
    if asked == "fp32":
        return torch.float32
    if asked == "bf16":
        return torch.bfloat16
    if asked != "auto":
        raise DataError(f"precision={asked!r} is not known; pass 'auto', 'fp32' or 'bf16'")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _cpu_bf16()[0] else torch.float32


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory in the process; True where that could be said.

    By default every large temporary goes back to the system and faults in again page by page, a sixth of a training
    step. Only long jobs that own their process should call this.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
    return all([mallopt(trim_threshold, 2**31 - 1), mallopt(top_pad, 2**28), mallopt(mmap_max, 0)])


def describe() -> list[tuple[str, str, str]]:
    """Rows (what, value, why) on the path that runs on this machine, for `tsfm doctor`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = str(choose_precision(device)).removeprefix("torch.")
    on_gpu = "native on this GPU" if precision == "bfloat16" else "this GPU only emulates bfloat16"
    why = on_gpu if device.type == "cuda" else _cpu_bf16()[1]
    path, reason = choose_path(device, choose_precision(device))
    return [
        ("device", str(device), "a CUDA device is visible" if device.type == "cuda" else "no CUDA device is visible"),
        ("precision", precision, f"{why}; precision='fp32' or 'bf16' (--precision) chooses"),
        ("expert layers", PATHS[path], reason),
        ("threads", str(torch.get_num_threads()), "torch.get_num_threads()"),
    ]
