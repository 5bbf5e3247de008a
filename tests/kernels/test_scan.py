"""The scan in plain torch against the plain loop, the loop against finite differences and against the field's code.

`mamba_scans.npz` holds inputs, outputs and gradients of the reference function of the Mamba repository on random
numbers, float32 on a CPU.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from scan_problems import answers, apart, made_scan, wide

from tsfm import kernels
from tsfm.errors import DataError
from tsfm.kernels import diagonal, reference_scan
from tsfm.kernels.scan import scan, selective_scan, selective_step

SHAPES = [
    {"series": 2, "channels": 6, "states": 3, "length": 7, "groups": 2},
    {"series": 1, "channels": 5, "states": 4, "length": 130, "without": ("D", "z")},
    {"series": 3, "channels": 4, "states": 1, "length": 65, "without": ("delta_bias", "initial_state")},
    {"series": 2, "channels": 70, "states": 16, "length": 20, "softplus": False},
    {"series": 2, "channels": 3, "states": 5, "length": 1, "groups": 1},
    {"series": 16, "channels": 64, "states": 16, "length": 70},
]


def loop(**problem):
    """The plain loop, which is the truth."""
    return reference_scan.selective_scan(**problem)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scan_equals_the_loop_in_outputs_and_gradients(shape):
    problem = made_scan(**shape)
    assert max(apart(answers(selective_scan, problem), answers(loop, problem)).values()) < 1e-12


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_scan_of_narrow_numbers_is_summed_in_float32(dtype, near):
    problem = made_scan(2, 8, 4, 100, dtype=dtype)
    ours = answers(selective_scan, problem)
    assert ours["last"].dtype == torch.float32
    assert max(apart(ours, answers(loop, wide(problem))).values()) < near


def test_autocast_moves_no_bit_of_a_scan_and_its_gradients():
    problem = made_scan(2, 6, 4, 70, groups=2, dtype=torch.float32)
    plain = answers(selective_scan, problem)
    with torch.autocast("cpu", torch.bfloat16):
        under = answers(selective_scan, problem)
    assert all(torch.equal(plain[name], under[name]) for name in plain)


@pytest.mark.parametrize(
    "shape",
    [
        {"groups": 2, "softplus": True},
        {"groups": None, "softplus": False, "without": ("D", "z", "delta_bias", "initial_state")},
    ],
    ids=str,
)
def test_gradients_of_the_loop_are_those_of_finite_differences(shape):
    problem = made_scan(2, 4, 3, 5, **shape)
    names = [name for name, value in problem.items() if isinstance(value, torch.Tensor)]

    def of_tensors(*tensors):
        return loop(**dict(zip(names, tensors, strict=True)), delta_softplus=problem["delta_softplus"])

    assert torch.autograd.gradcheck(of_tensors, [problem[name] for name in names])


@pytest.mark.parametrize("path", ["reference", "cpu"])
@pytest.mark.parametrize("case", ["var", "group", "const", "complex"])
def test_scan_equals_the_mamba_repository_in_outputs_and_gradients(case, path):
    stored = np.load(Path(__file__).parent / "mamba_scans.npz")
    given = {key.removeprefix(case + "_"): torch.from_numpy(stored[key]) for key in stored if key.startswith(case)}
    names = [name.removeprefix("grad_") for name in given if name.startswith("grad_")]
    inputs = {name: given[name].requires_grad_() for name in names}
    out, last = selective_scan(**inputs, delta_softplus=True, path=path)
    torch.testing.assert_close(out, given["out"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last, given["last_state"], rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad(out, list(inputs.values()), given["gout"])
    for name, grad in zip(names, grads, strict=True):
        torch.testing.assert_close(grad, given["grad_" + name], rtol=2e-5, atol=2e-5, msg=name)


@pytest.mark.parametrize("cut", [1, 40, 64, 99])
def test_a_scan_in_two_parts_is_the_scan_in_one(cut):
    problem = made_scan(2, 6, 4, 100, groups=2)
    whole, last = selective_scan(**problem)
    timed = ("u", "delta", "B", "C", "z")
    left = {**problem, **{name: problem[name][..., :cut] for name in timed}}
    right = {**problem, **{name: problem[name][..., cut:] for name in timed}}
    first, state = selective_scan(**left)
    second, end = selective_scan(**{**right, "initial_state": state})
    torch.testing.assert_close(torch.cat([first, second], -1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end, last, rtol=1e-12, atol=1e-12)
    tensors = [problem[name] for name in ("A", "initial_state", "u", "B")]
    wanted = torch.autograd.grad(whole.sin().sum() + last.sum(), tensors)
    found = torch.autograd.grad(first.sin().sum() + second.sin().sum() + end.sum(), tensors)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [{"groups": 2}, {"without": ("D", "z", "delta_bias"), "softplus": False}], ids=str)
def test_steps_one_by_one_are_the_scan(shape):
    problem = made_scan(2, 6, 4, 20, **shape)
    whole, last = selective_scan(**problem)
    state, rows = problem.pop("initial_state"), []
    for t in range(20):
        now = {name: problem[name][..., t] for name in ("u", "delta", "B", "C", "z") if name in problem}
        row, state = selective_step(state, **{**problem, **now})
        rows.append(row)
    torch.testing.assert_close(torch.stack(rows, -1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)


def test_no_steps_give_no_outputs_and_leave_the_state():
    problem = made_scan(2, 6, 4, 0)
    out, last = selective_scan(**problem)
    assert out.shape == (2, 6, 0)
    assert torch.equal(last, problem["initial_state"])
    last.sum().backward()
    assert torch.equal(problem["initial_state"].grad, torch.ones(2, 6, 4))


def test_no_series_give_no_outputs():
    out, last = selective_scan(**made_scan(0, 6, 4, 5))
    assert (out.shape, last.shape) == ((0, 6, 5), (0, 6, 4))


def test_series_do_not_change_with_their_company():
    problem = made_scan(5, 6, 4, 90, without=("initial_state",), dtype=torch.float32)
    whole, _ = selective_scan(**problem)
    for s in range(5):
        alone = {**problem, **{name: problem[name][s : s + 1] for name in ("u", "delta", "B", "C", "z")}}
        torch.testing.assert_close(selective_scan(**alone)[0], whole[s : s + 1], rtol=1e-5, atol=1e-6)


def test_two_runs_are_equal_to_the_last_bit():
    problem = made_scan(4, 32, 8, 150, dtype=torch.float32)
    first, second = answers(selective_scan, problem), answers(selective_scan, problem)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_backward_does_not_keep_every_state():
    problem = made_scan(2, 16, 16, 512, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.numel()) or one, lambda one: one):
        selective_scan(**problem)
    assert sum(kept) < 2 * 16 * 16 * 512 / 2  # every state would be S * W * N * L numbers


def test_operation_keeps_the_rules_of_torch():
    u, delta, z = (torch.randn(2, 9, 6, requires_grad=True) for _ in range(3))
    A, start = -torch.rand(2, 4, 3), torch.randn(2, 2, 4, 3, requires_grad=True)
    B, C = (torch.randn(2, 9, 2, 4, requires_grad=True) for _ in range(2))
    row = torch.randn(6, requires_grad=True)
    torch.library.opcheck(scan, (u, delta, A, B, C, row, z, row, start, True, "cpu"))
    torch.library.opcheck(scan, (u, delta, A, B, C, None, None, None, None, False, "cpu"))


def test_compiler_takes_the_scan_whole():
    problem = made_scan(2, 6, 4, 10, groups=2)
    assert torch._dynamo.explain(kernels.selective_scan)(**problem).graph_break_count == 0


def test_the_scan_takes_the_path_that_is_asked_for():
    problem = made_scan(2, 64, 16, 50, dtype=torch.float32)
    truth, ours = loop(**problem)[0], selective_scan(**problem)[0]
    assert not torch.equal(truth, ours)  # they sum in other orders
    assert torch.equal(kernels.selective_scan(**problem)[0], ours)
    with kernels.using("reference"):
        assert torch.equal(kernels.selective_scan(**problem)[0], truth)


def test_an_unknown_path_is_named():
    with pytest.raises(DataError, match="path='gpu'"):
        selective_scan(**made_scan(2, 6, 4, 10), path="gpu")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("delta", (2, 6, 9)),
        ("z", (2, 5, 10)),
        ("A", (5, 4)),
        ("B", (2, 4, 9)),
        ("C", (2, 4, 4, 10)),
        ("D", (5,)),
        ("delta_bias", (1,)),
        ("initial_state", (2, 4, 6)),
    ],
)
def test_a_wrong_shape_is_named(name, shape):
    problem = made_scan(2, 6, 4, 10)
    with pytest.raises(DataError, match=f"^{name} has shape"):
        selective_scan(**{**problem, name: torch.zeros(shape)})


def poles(channels: int, states: int) -> tuple[torch.Tensor, ...]:
    """Decays, input and output weights and a first state of a diagonal model, complex128, wanting gradients."""
    draw = torch.Generator().manual_seed(channels)
    parts = [torch.randn(channels, states, 2, generator=draw, dtype=torch.float64) for _ in range(3)]
    rates, into, out_of = (torch.view_as_complex(part) for part in parts)
    log_decay = torch.complex(-rates.real.abs() * 0.1, rates.imag)
    state = torch.complex(*torch.randn(2, 3, channels, states, generator=draw, dtype=torch.float64))
    return tuple(one.requires_grad_() for one in (log_decay, into, out_of, state))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_diagonal_model_by_convolution_is_the_recurrence_in_outputs_and_gradients(length):
    log_decay, into, out_of, state = poles(4, 3)
    u = torch.randn(3, 4, length, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    skip = torch.ones(4, dtype=torch.float64, requires_grad=True)
    tensors = (u, log_decay, into, out_of, skip, state)
    answers = []
    for model in (diagonal.diagonal_ssm, reference_scan.diagonal_ssm):
        out, last = model(*tensors)
        answers.append([out, last, *torch.autograd.grad(out.sin().sum() + last.abs().sum(), tensors)])
    for got, want in zip(*answers, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_discretised_model_settles_where_the_continuous_one_does(method):
    A = torch.tensor([[-0.5 + 2j, -1.0 + 0j]], dtype=torch.complex128)
    log_decay, gain = diagonal.discretise(A, torch.tensor([0.05], dtype=torch.float64), method)
    settled = gain / (1 - torch.exp(log_decay))  # of x' = A x + 1
    torch.testing.assert_close(settled, -1 / A)


def test_autocast_moves_no_bit_of_a_long_kernel():
    log_decay, into, out_of, _ = (one.detach().to(torch.complex64) for one in poles(2, 4))
    plain = diagonal.s4d_kernel(log_decay, into * out_of, 300)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(diagonal.s4d_kernel(log_decay, into * out_of, 300), plain)


def test_long_kernel_in_single_precision_keeps_its_phase():
    log_decay, into, out_of, _ = (one.detach() for one in poles(2, 4))
    weight = into * out_of
    log_decay = torch.complex(log_decay.real * 1e-3, log_decay.imag)
    exact = diagonal.s4d_kernel(log_decay, weight, 4096)
    narrow = log_decay.to(torch.complex64)
    wanted = diagonal.s4d_kernel(narrow.to(torch.complex128), weight, 4096)
    ours = diagonal.s4d_kernel(narrow, weight.to(torch.complex64), 4096)
    assert exact.shape == (2, 4096)
    assert (ours - wanted).square().mean().sqrt() < 1e-6 * wanted.square().mean().sqrt()
