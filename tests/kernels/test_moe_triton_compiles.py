"""Every expert kernel is compiled for a Hopper GPU with every tile of the table, which takes no GPU.

The interpreter decides on import whether kernels can be compiled, so this file runs itself without it.
"""

import os
import re
import subprocess
import sys
import tempfile
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
PTXAS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
MULTIPLYING = {"up_swiglu_kernel", "rows_matmul_kernel", "act_backward_kernel", "weight_grad_kernel"}

# width, expert width, experts, experts a token: of the table, and those with tails, with one and with three experts
SHAPE = (384, 768, 8, 2)
OTHERS = [(384, 200, 8, 2), (96, 768, 5, 3), (384, 768, 8, 1)]


class Compiled:
    """Stands in a kernel's place: a launch compiles for Hopper and prints what it would take.

    Pointers are as aligned as those of torch's tensors: without, two-byte numbers are never fetched ahead, and a kernel
    takes no shared memory for it.
    """

    def __init__(self, kernel: Any):
        self.kernel = kernel
        self.done: set[str] = set()

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
        aligned = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(names)
            if isinstance(values[name], torch.Tensor)
        }
        options = {name: one for name, one in named.items() if name not in names}
        if (what := repr((signature, fixed, options))) in self.done:
            return
        self.done.add(what)
        source = ASTSource(self.kernel, {name: signature[name] for name in names}, constexprs=fixed, attrs=aligned)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        ahead = "cp.async" in made.asm["ptx"]
        print(self.kernel.__name__, made.metadata.shared, spilled(made.asm["ptx"]), int(ahead))


def spilled(ptx: str) -> int:
    """Bytes of registers that a thread of a kernel keeps in memory."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        call = [PTXAS, "-v", "--gpu-name", "sm_90a", file.name, "-o", os.devnull]
        told = subprocess.run(call, capture_output=True, text=True, check=True).stderr
    return sum(map(int, re.findall(r"(\d+) bytes spill", told)))


def compile_layer(
    chosen: tiles.Tiles, dtype: torch.dtype, shape: tuple[int, int, int, int] = SHAPE, tokens: int = 64
) -> None:
    """Launch all kernels of a layer forward and backward."""
    width, ffn, experts, top_k = shape
    rows = tokens * top_k
    x, hidden, z = (
        torch.zeros(size, wide, dtype=dtype) for size, wide in ((tokens, width), (rows, ffn), (rows, 2 * ffn))
    )
    up, down = torch.zeros(experts, 2 * ffn, width, dtype=dtype), torch.zeros(experts, width, ffn, dtype=dtype)
    order, start = torch.zeros(rows, dtype=torch.int32), torch.zeros(experts + 1, dtype=torch.int32)
    weight = torch.zeros(tokens, top_k)
    for keep in (True, False):
        moe_triton.up_swiglu(x, up, order, start, chosen.up, z=keep)
    moe_triton.combine(moe_triton.rows_matmul(hidden, down, start, chosen.rows), order, tokens, weight)
    moe_triton.act_backward(x, down, z, weight, order, start, chosen.back)
    moe_triton.weight_grad(x, hidden, order, start, top_k, chosen.grad, left_by_token=True)
    moe_triton.weight_grad(z, x, order, start, top_k, chosen.grad, left_by_token=False)
    moe_triton.combine(moe_triton.rows_matmul(z, up, start, chosen.rows, matrix_first=True), order, tokens)


def compile_router(experts: int) -> None:
    """Launch all kernels of the router and of the sort."""
    x, router = torch.zeros(64, SHAPE[0]), torch.zeros(experts, SHAPE[0])
    for top_k, sigmoid in ((1, False), (2, True), (3, False)):
        index = route_triton.route(x, router, router[:, 0].contiguous(), top_k, sigmoid=sigmoid, renormalise=True)[0]
    route_triton.sort_rows(index, experts)


def compile_everything() -> None:
    for module in (moe_triton, route_triton):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            setattr(module, name, Compiled(getattr(module, name)))
    for (_, size), chosen in tiles.START.items():
        compile_layer(chosen, torch.bfloat16 if size == 2 else torch.float32)
    for (_, width, ffn, dtype), chosen in tiles.MEASURED.items():
        compile_layer(chosen, dtype, (width, ffn, *SHAPE[2:]))
    for shape in OTHERS:
        compile_layer(tiles.START[2, 2], torch.bfloat16, shape)
    for experts in (8, 64, route_triton.EXPERTS):
        compile_router(experts)


@pytest.mark.slow
def test_every_kernel_compiles_for_a_hopper_gpu_and_fits_its_memory_with_every_tile(tmp_path):
    setting = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, Path(__file__)], capture_output=True, text=True, env=setting, check=False)
    assert done.returncode == 0, done.stderr
    taken = [(name, *map(int, numbers)) for name, *numbers in map(str.split, done.stdout.splitlines())]
    assert len({name for name, *_ in taken}) == 9
    assert [one for one in taken if one[1] > SHARED] == []
    assert [one for one in taken if one[2]] == [], "registers are spilled"
    assert [one for one in taken if one[0] in MULTIPLYING and not one[3]] == [], "inputs are not fetched ahead"


if __name__ == "__main__":
    compile_everything()
