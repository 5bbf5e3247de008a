"""The xLSTM's blocks say what the authors' package says, and step by step what they say at once, gradients included."""

import pytest
import torch
from parity import Stored, close, stepped

from tsfm.nn.mlstm import MLSTMState, mlstm, mlstm_step
from tsfm.nn.slstm import empty_state, slstm
from tsfm.nn.xlstm import XLSTMStack

STORED = Stored("xlstm_time")
N, A, B, W = 6, 2, 3, 4


@pytest.fixture
def stack():
    stack = XLSTMStack(["mlstm", "slstm", "mlstm"], 16, {"mlstm": 4, "slstm": 2})
    stack.load_state_dict(STORED.weights("stack."))
    return stack


@pytest.fixture(scope="module")
def arrays():
    return STORED.arrays()


@torch.no_grad()
@pytest.mark.parametrize("case", ["stack_a", "stack_b"])
def test_every_block_gives_the_published_values(stack, arrays, case):
    first, _ = stack.blocks[0](arrays[f"{case}_x"])
    close(first, arrays[f"{case}_block0_mlstm"])
    close(stack.blocks[1](first)[0], arrays[f"{case}_block1_slstm"])
    close(stack(arrays[f"{case}_x"]), arrays[f"{case}_y"])


@torch.no_grad()
@pytest.mark.parametrize("case", ["stack_a", "stack_b"])
def test_step_by_step_it_says_what_it_says_at_once(stack, arrays, case):
    found, _ = stepped(stack.step, arrays[f"{case}_x"], stack.empty(2))
    close(found, arrays[f"{case}_y_step"])
    close(found, stack(arrays[f"{case}_x"]))


@torch.no_grad()
def test_the_cells_alone_give_the_published_values(stack, arrays):
    read, _ = stack.blocks[0].xlstm.mlstm_cell(*(arrays[f"mcell_{name}"] for name in "qkv"), None)
    close(read, arrays["mcell_h"])
    y, last = stack.blocks[1].xlstm.slstm_cell(arrays["scell_in"])
    close(y, arrays["scell_h"])
    close(torch.stack([part.transpose(0, 1).flatten(1) for part in last]), arrays["scell_last"])


def drawn(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, dtype=torch.float64, generator=generator) * scale).requires_grad_()


def slstm_as_written(gates, recurrent):
    """The formulae without a stabiliser, in float64; (N, A, B, 4 W) -> (N, A, B, W)."""
    y = c = n = torch.zeros_like(gates[0, ..., :W])
    outputs = []
    for now in gates:
        take, keep, cell, show = (now + torch.einsum("abw,agw->abg", y, recurrent)).chunk(4, -1)
        c = torch.sigmoid(keep) * c + take.exp() * torch.tanh(cell)
        n = torch.sigmoid(keep) * n + take.exp()
        y = torch.sigmoid(show) * c / n
        outputs.append(y)
    return torch.stack(outputs)


def test_the_stabiliser_of_the_slstm_changes_neither_outputs_nor_gradients():
    gates, recurrent = drawn(N, A, B, 4 * W), drawn(A, 4 * W, W, seed=1)
    found, _ = slstm(gates, recurrent, empty_state(gates[0, ..., :W]))
    wanted = slstm_as_written(gates, recurrent)
    torch.testing.assert_close(found, wanted)
    inputs = (gates, recurrent)
    torch.testing.assert_close(
        torch.autograd.grad(found.cos().sum(), inputs), torch.autograd.grad(wanted.cos().sum(), inputs)
    )


def test_the_loop_of_the_slstm_in_two_parts_is_the_whole():
    gates, recurrent = drawn(N, A, B, 4 * W), drawn(A, 4 * W, W, seed=1)
    whole, last = slstm(gates, recurrent, empty_state(gates[0, ..., :W]))
    first, between = slstm(gates[:2], recurrent, empty_state(gates[0, ..., :W]))
    second, after = slstm(gates[2:], recurrent, between)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(tuple(after), tuple(last))


def test_large_gates_overflow_nowhere():
    gates = drawn(N, A, B, 4 * W, scale=1e3).detach().float().requires_grad_()
    recurrent = drawn(A, 4 * W, W, seed=1).detach().float()
    y, _ = slstm(gates, recurrent, empty_state(gates[0, ..., :W].detach()))
    (learnt,) = torch.autograd.grad(y.sum(), gates)
    assert y.isfinite().all()
    assert learnt.isfinite().all()


def test_the_mlstm_learns_at_once_what_it_learns_step_by_step():
    query, key, value = (drawn(B, A, N, W, seed=seed) for seed in range(3))
    take, keep = (drawn(B, A, N, seed=seed, scale=3.0) for seed in (3, 4))
    memory = torch.zeros(B, A, W, W, dtype=torch.float64)
    state = MLSTMState(memory, memory[..., 0], torch.full_like(memory[..., 0, 0], -torch.inf))
    outputs = []
    for at in range(N):
        parts = (part[:, :, at] for part in (query, key, value, take, keep))
        read, state = mlstm_step(*parts, state)
        outputs.append(read)
    inputs = (query, key, value, take, keep)
    found, wanted = mlstm(*inputs), torch.stack(outputs, 2)
    torch.testing.assert_close(found, wanted)
    # The step form differentiates its stabiliser too, which counts for a millionth because of the added epsilon.
    for one, other in zip(
        torch.autograd.grad(found.cos().sum(), inputs), torch.autograd.grad(wanted.cos().sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
