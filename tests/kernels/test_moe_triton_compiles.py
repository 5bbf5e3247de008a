"""Every expert kernel is compiled for a Hopper GPU with every tile of the table, which takes no GPU.

The interpreter decides on import whether kernels can be compiled, so this file runs itself without it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tsfm.kernels import moe_triton, route_triton, tiles

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32", torch.int64: "*i64"}
SHARED = 227 * 2**10  # bytes of a Hopper multiprocessor that one program may take
WIDTH, FFN, EXPERTS, TOP_K = 384, 768, 8, 2


class Compiled:
    """Stands in a kernel's place: a launch compiles for Hopper and prints the shared memory it would take."""

    def __init__(self, kernel: Any):
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self.launch

    def launch(self, *given: Any, **named: Any) -> None:
        names = self.kernel.arg_names
        values = dict(zip(names, given, strict=False)) | {name: one for name, one in named.items() if name in names}
        fixed = {one.name: values[one.name] for one in self.kernel.params if one.is_constexpr}
        signature = {
            name: "constexpr" if name in fixed else TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            for name, value in values.items()
        }
        source = ASTSource(self.kernel, {name: signature[name] for name in names}, constexprs=fixed)
        options = {name: one for name, one in named.items() if name not in names}
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        print(self.kernel.__name__, made.metadata.shared)


def compile_layer(chosen: tiles.Tiles, dtype: torch.dtype, tokens: int = 64) -> None:
    """Launch all kernels of a layer forward and backward."""
    rows = tokens * TOP_K
    x, hidden, z = (
        torch.zeros(size, width, dtype=dtype) for size, width in ((tokens, WIDTH), (rows, FFN), (rows, 2 * FFN))
    )
    up, down = torch.zeros(EXPERTS, 2 * FFN, WIDTH, dtype=dtype), torch.zeros(EXPERTS, WIDTH, FFN, dtype=dtype)
    order, start = torch.zeros(rows, dtype=torch.int32), torch.zeros(EXPERTS + 1, dtype=torch.int32)
    weight = torch.zeros(tokens, TOP_K)
    for keep in (True, False):
        moe_triton.up_swiglu(x, up, order, start, chosen.up, z=keep)
    moe_triton.combine(moe_triton.rows_matmul(hidden, down, start, chosen.rows), order, tokens, weight)
    moe_triton.act_backward(x, down, z, weight, order, start, chosen.back)
    moe_triton.weight_grad(x, hidden, order, start, TOP_K, chosen.grad, left_by_token=True)
    moe_triton.weight_grad(z, x, order, start, TOP_K, chosen.grad, left_by_token=False)
    moe_triton.combine(moe_triton.rows_matmul(z, up, start, chosen.rows, matrix_first=True), order, tokens)


def compile_router(experts: int) -> None:
    """Launch all kernels of the router and of the sort."""
    x, router = torch.zeros(64, WIDTH), torch.zeros(experts, WIDTH)
    index = route_triton.route(x, router, router[:, 0].contiguous(), TOP_K, sigmoid=False, renormalise=True)[0]
    route_triton.sort_rows(index, experts)


def compile_everything() -> None:
    for module in (moe_triton, route_triton):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            setattr(module, name, Compiled(getattr(module, name)))
    for (_, size), chosen in tiles.START.items():
        compile_layer(chosen, torch.bfloat16 if size == 2 else torch.float32)
    for experts in (8, 64, route_triton.EXPERTS):
        compile_router(experts)


@pytest.mark.slow
def test_every_kernel_compiles_for_a_hopper_gpu_and_fits_its_memory_with_every_tile(tmp_path):
    setting = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, Path(__file__)], capture_output=True, text=True, env=setting, check=False)
    assert done.returncode == 0, done.stderr
    taken = [line.split() for line in done.stdout.splitlines()]
    assert len({name for name, _ in taken}) == 9
    assert [(name, size) for name, size in taken if int(size) > SHARED] == []


if __name__ == "__main__":
    compile_everything()
