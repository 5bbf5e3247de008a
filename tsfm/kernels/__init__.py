"""Which computation runs where: the only place in the package that knows devices and instruction sets.

`expert_mlp` is the sparse layer's heart; `choose_precision` decides the type of the large matrix products; `describe`
says both in words for `tsfm doctor`. The Triton kernels take their seat here, beside the CPU path, when they land.
"""

import ctypes
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.kernels.moe import collect, dispatch, mix_rows, rows_matmul

__all__ = [
    "choose_device",
    "choose_precision",
    "describe",
    "expert_mlp",
    "keep_freed_memory",
    "memory_for_batches",
]

# On a processor the tiny decoder was fastest at 64 to 256 series of 512 steps (40 to 160 MB), a quarter slower at 512.
HOST_MEMORY = 64 * 2**20

# T tokens, D width, E experts, K experts a token, F expert width, R = T * K routed rows.


def expert_mlp(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of each token's SwiGLU experts; dropless, differentiable in x, up, down and weight.

    x       (T, D)      up (E, 2F, D), gate rows first      down (E, D, F)
    index   (T, K)      experts of each token
    weight  (T, K)      their mixing weights, fp32
    returns (T, D)      in the type of x
    """
    experts, top_k = up.shape[0], index.shape[1]
    flat = index.reshape(-1)
    order = torch.argsort(flat, stable=True)  # (R,) sorted row -> t * K + k
    if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        return mix_rows(x, up, down, order, flat.bincount(minlength=experts).tolist(), weight)
    counts = (flat[:, None] == torch.arange(experts, device=flat.device)).sum(0)
    start = F.pad(counts.cumsum(0), (1, 0))
    position = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    gate, value = rows_matmul(dispatch(x, order, position), up, start).chunk(2, dim=-1)
    rows = rows_matmul(F.silu(gate) * value, down, start)  # (R, D)
    per_token = collect(rows, order, position).view(-1, top_k, rows.shape[-1])
    mixed: Tensor = (per_token * weight[..., None].to(rows.dtype)).sum(1)
    return mixed


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
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
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
    why = "native on this GPU" if device.type == "cuda" else _cpu_bf16()[1]
    return [
        ("device", str(device), "a CUDA device is visible" if device.type == "cuda" else "no CUDA device is visible"),
        ("precision", precision, why),
        ("expert layers", "sorted rows, one GEMM an expert", "plain torch path; the Triton kernels are not built yet"),
        ("threads", str(torch.get_num_threads()), "torch.get_num_threads()"),
    ]
