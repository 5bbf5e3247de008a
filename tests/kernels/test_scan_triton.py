"""The Triton scan against the plain loop: in the interpreter here, on the device where there is one.

The interpreter runs the kernels' arithmetic but not their compilation, so they are also compiled for a Hopper GPU,
which needs none.
"""

import os
import subprocess
import sys

import pytest
import torch
from scan_problems import answers, apart, made_scan, wide

pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")

from tsfm.kernels import reference_scan, scan_triton, selective_scan, using
from tsfm.kernels.scan import scan

SHAPES = [
    {"series": 2, "channels": 6, "states": 3, "length": 7, "groups": 2},
    {"series": 1, "channels": 5, "states": 4, "length": 66, "without": ("D", "z")},
    {"series": 1, "channels": 4, "states": 1, "length": 64, "without": ("delta_bias", "initial_state")},
    {"series": 2, "channels": 70, "states": 16, "length": 12, "softplus": False},
    {"series": 2, "channels": 3, "states": 5, "length": 1, "groups": 1},
    {"series": 1, "channels": 140, "states": 17, "length": 6, "groups": 2},
]


def kernels(**problem):
    """The scan by the Triton kernels."""
    with using("triton"):
        return selective_scan(**problem)


def loop(**problem):
    """The plain loop, which is the truth."""
    return reference_scan.selective_scan(**problem)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_equal_the_loop_in_outputs_and_gradients(shape, device):
    problem = made_scan(**shape, dtype=torch.float32, device=device)
    assert max(apart(answers(kernels, problem), answers(loop, wide(problem))).values()) < 1e-6


def test_kernels_on_float16_sum_in_float32(device):
    problem = made_scan(1, 6, 4, 20, groups=2, dtype=torch.float16, device=device)
    ours = answers(kernels, problem)
    assert ours["last"].dtype == torch.float32
    assert max(apart(ours, answers(loop, wide(problem))).values()) < 1e-3


def test_kernels_read_every_tensor_in_its_own_type(device):
    problem = made_scan(1, 6, 4, 9, dtype=torch.float32, device=device)
    mixed = {name: problem[name].detach().half().requires_grad_() for name in ("u", "B", "z")}
    ours = answers(kernels, {**problem, **mixed})
    assert ours["delta"].dtype == torch.float32
    assert ours["u"].dtype == torch.float16
    assert max(apart(ours, answers(loop, wide({**problem, **mixed}))).values()) < 1e-3


def test_small_steps_survive_the_softplus(device):
    problem = made_scan(
        1, 4, 2, 6, without=("delta_bias", "z", "D", "initial_state"), dtype=torch.float32, device=device
    )
    problem["delta"] = (problem["delta"].detach() - 10).requires_grad_()  # step sizes near 1e-6
    assert max(apart(answers(kernels, problem), answers(loop, wide(problem))).values()) < 1e-6


def test_nothing_is_left_unwritten(device, poisoned):
    problem = made_scan(1, 6, 3, 66, dtype=torch.float32, device=device)
    assert all(one.isfinite().all() for one in answers(kernels, problem).values())


def test_two_runs_are_equal_to_the_last_bit(device):
    problem = made_scan(2, 6, 4, 9, dtype=torch.float32, device=device)
    first, second = answers(kernels, problem), answers(kernels, problem)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_steps_give_no_outputs_and_leave_the_state(device):
    problem = made_scan(2, 6, 4, 0, dtype=torch.float32, device=device)
    out, last = kernels(**problem)
    assert out.shape == (2, 6, 0)
    assert torch.equal(last, problem["initial_state"])
    last.sum().backward()
    assert torch.equal(problem["initial_state"].grad, torch.ones(2, 6, 4, device=device))


def test_no_series_give_no_outputs(device):
    out, last = kernels(**made_scan(0, 6, 4, 5, dtype=torch.float32, device=device))
    assert (out.shape, last.shape) == ((0, 6, 5), (0, 6, 4))


def test_a_scan_in_two_parts_is_the_scan_in_one_to_the_last_bit(device):
    problem = made_scan(1, 6, 4, 20, dtype=torch.float32, device=device)
    whole, last = kernels(**problem)
    timed = ("u", "delta", "B", "C", "z")
    first, state = kernels(**{**problem, **{name: problem[name][..., :7] for name in timed}})
    right = {name: problem[name][..., 7:] for name in timed}
    second, end = kernels(**{**problem, **right, "initial_state": state})
    assert torch.equal(torch.cat([first, second], -1), whole)
    assert torch.equal(end, last)


def test_operation_keeps_the_rules_of_torch(device):
    u, delta, z = (torch.randn(1, 4, 6, device=device, requires_grad=True) for _ in range(3))
    A, start = -torch.rand(2, 4, 3, device=device), torch.randn(1, 2, 4, 3, device=device, requires_grad=True)
    B, C = (torch.randn(1, 4, 2, 4, device=device, requires_grad=True) for _ in range(2))
    row = torch.randn(6, device=device, requires_grad=True)
    torch.library.opcheck(scan, (u, delta, A, B, C, row, z, row, start, True, "triton"))


def test_float64_is_refused(device):
    with pytest.raises(TypeError, match="path='cpu'"):
        kernels(**made_scan(1, 4, 2, 3, device=device))


def test_interpreter_refuses_bfloat16(device):
    if device.type == "cuda":
        pytest.skip("the kernels are not interpreted here")
    with pytest.raises(NotImplementedError, match="bfloat16"):
        kernels(**made_scan(1, 4, 2, 3, dtype=torch.bfloat16))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tsfm.kernels import scan_triton

NARROW = {"u", "delta", "B", "C", "z", "out", "grad", "of_u", "of_delta", "of_z"}
tile = scan_triton.tile_for(16, 768)
sizes = dict(W=768, G=1, N=16, SOFTPLUS=True, EVERY=64, N_POW2=16, BLOCK=tile.channels, STAGES=tile.stages)
for kernel in (scan_triton.forward_kernel, scan_triton.backward_kernel):
    for dtype, absent in (("bf16", ["grad_last"]), ("fp32", ["D", "z", "bias", "start"])):
        constants = {**sizes, **{name: None for name in absent if name in kernel.arg_names}}
        types, aligned = {}, {}
        for place, name in enumerate(kernel.arg_names):
            types[name] = "constexpr" if name in constants else "*" + (dtype if name in NARROW else "fp32")
            if name not in constants:
                aligned[place,] = [["tt.divisibility", 16]]
        length = kernel.arg_names.index("length")
        types["length"] = "i32"
        del aligned[length,]
        source = ASTSource(kernel, types, constants, aligned)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": tile.warps})
        assert "cp.async" in made.asm["ptx"], "inputs are not fetched ahead"
        assert made.metadata.shared < 48 * 1024
"""


@pytest.mark.slow
def test_kernels_compile_for_a_hopper_gpu(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [*SHAPES, {"series": 4, "channels": 768, "states": 16, "length": 512}], ids=str)
def test_kernels_on_bfloat16_equal_the_loop(shape):
    problem = made_scan(**shape, dtype=torch.bfloat16, device="cuda")
    assert max(apart(answers(kernels, problem), answers(loop, wide(problem))).values()) < 1e-2


@pytest.mark.gpu
def test_scan_runs_in_a_cuda_graph():
    problem = made_scan(2, 64, 16, 100, dtype=torch.float32, device="cuda")
    with torch.no_grad():
        wanted = kernels(**problem)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = kernels(**problem)
        graph.replay()
    assert torch.equal(found[0], wanted[0])


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one device cannot be mistaken for another")
def test_kernels_run_on_the_device_of_their_tensors():
    first, second = (made_scan(1, 6, 4, 9, dtype=torch.float32, device=f"cuda:{number}") for number in (0, 1))
    assert max(apart(answers(kernels, second), answers(kernels, first)).values()) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("states", [1, 4, 16, 64, 256])
def test_every_tile_runs_on_the_device(states):
    problem = made_scan(2, 100, states, 130, dtype=torch.float32, device="cuda")
    assert scan_triton.tile_for(states, 100).channels <= 64
    assert max(apart(answers(kernels, problem), answers(loop, wide(problem))).values()) < 1e-5
