"""Selective scan, forward and backward (Triton). Only kernels and their launchers; `scan.py` says what is computed.

One program holds the state of BLOCK channels of one series in registers and walks along time, so a step reads a few
rows of neighbouring numbers and writes one. The backward walks back over chunks of EVERY steps: it makes the states of
a chunk again from the one that the forward saved, into a scratch of its own small enough to stay in the cache, and
carries the gradient of the state in registers. Programs share nothing: what several of them contribute to (A, D and
bias over series, B and C over channels) is written apart and summed after in a fixed order, without atomics, so two
runs are equal to the last bit. Arithmetic is float32 whatever the inputs are.

    u, delta, z, out   (S, L, W)       A            (G, N, P)
    B, C               (S, L, G, N)    D, bias      (W,)
    start, last        (S, G, N, P)    saved        (S, ceil(L / EVERY), G, N, P)

All arrays are contiguous, and what is done with a pointer that is None is compiled out.
"""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-any-return"

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tsfm.kernels.scan_torch import EVERY

# S series, L steps, W channels, N states a channel, G groups that share B and C, P = W / G channels of a group.


class Tile(NamedTuple):
    """Channels of a program, its warps, and the steps whose inputs are under way."""

    channels: int
    warps: int
    stages: int


def tile_for(states: int, channels: int) -> Tile:
    """Tile for N states a channel and P channels of a group: at most 2048 numbers, eight of them a thread.

    Not tuned: chosen so that nothing spills when compiled for Hopper and that inputs are fetched ahead at N >= 16.
    """
    rows = triton.next_power_of_2(states)
    block = min(64, triton.next_power_of_2(channels), max(1, 2048 // rows))
    return Tile(block, max(1, min(8, rows * block // 256)), 4)


@triton.jit
def softplus(x):
    """log(1 + exp(x)); the quotient undoes the rounding of 1 + exp(x), which would lose small step sizes."""
    grown = tl.exp(tl.minimum(x, 20.0))
    one_more = 1.0 + grown
    excess = one_more - 1.0
    lost = excess == 0.0
    log = tl.log(one_more) * (grown / tl.where(lost, 1.0, excess))
    return tl.where(x > 20.0, x, tl.where(lost, grown, log))


@triton.jit
def place(W: tl.constexpr, G: tl.constexpr, N: tl.constexpr, N_POW2: tl.constexpr, BLOCK: tl.constexpr):
    """This program's series, group, channels and matrix in (G, N, P), the last two with what of them exists."""
    P: tl.constexpr = W // G
    BLOCKS: tl.constexpr = (P + BLOCK - 1) // BLOCK
    group = tl.program_id(1) // BLOCKS
    within = tl.program_id(1) % BLOCKS * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, N_POW2)
    matrix = (group * N + n[:, None]) * P + within[None, :]
    matrix_in = (n < N)[:, None] & (within < P)[None, :]
    return tl.program_id(0).to(tl.int64), group, group * P + within, within < P, matrix, matrix_in


@triton.jit
def read(values, at, inside):
    """Numbers in float32, zero where there is none."""
    return tl.load(values + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def read_or_zero(values, at, inside):
    """Numbers in float32, zeros where `values` is None."""
    return tl.zeros(at.shape, tl.float32) if values is None else read(values, at, inside)


@triton.jit
def step_size(delta, at, inside, shift, SOFTPLUS: tl.constexpr):
    """Step sizes, and what they were before the softplus."""
    before = read(delta, at, inside) + shift
    return softplus(before) if SOFTPLUS else before, before


@triton.jit
def advance(state, rates, size, value, into):
    """State after a step: rates and states (N_POW2, BLOCK), size and value (BLOCK,), into (N_POW2,)."""
    return tl.exp(size[None, :] * rates) * state + into[:, None] * (size * value)[None, :]


@triton.jit(do_not_specialize=["length"])
def forward_kernel(
    u,  # (S, L, W)
    delta,  # (S, L, W)
    A,  # (G, N, P)
    B,  # (S, L, G, N)
    C,  # (S, L, G, N)
    D,  # (W,) or None
    z,  # (S, L, W) or None
    bias,  # (W,) or None
    start,  # (S, G, N, P) or None
    out,  # (S, L, W)
    last,  # (S, G, N, P)
    saved,  # (S, ceil(L / EVERY), G, N, P)
    length,
    W: tl.constexpr,
    G: tl.constexpr,
    N: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    EVERY: tl.constexpr,
    N_POW2: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Outputs, last state, and the state before every EVERY-th step."""
    series, group, channel, inside, matrix, matrix_in = place(W, G, N, N_POW2, BLOCK)
    n = tl.arange(0, N_POW2)
    rates = read(A, matrix, matrix_in)
    shift, skip = read_or_zero(bias, channel, inside), read_or_zero(D, channel, inside)
    state = read_or_zero(start, series * N * W + matrix, matrix_in)
    for t in tl.range(0, length, num_stages=STAGES):
        chunk = series * tl.cdiv(length, EVERY) + t // EVERY
        tl.store(saved + chunk * N * W + matrix, state, mask=matrix_in & (t % EVERY == 0))
        at = (series * length + t) * W + channel
        shared = ((series * length + t) * G + group) * N + n
        size, _ = step_size(delta, at, inside, shift, SOFTPLUS)
        value = read(u, at, inside)
        state = advance(state, rates, size, value, read(B, shared, n < N))
        y = tl.sum(state * read(C, shared, n < N)[:, None], 0) + skip * value
        if z is not None:
            gate = read(z, at, inside)
            y *= gate * tl.sigmoid(gate)
        tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)
    tl.store(last + series * N * W + matrix, state, mask=matrix_in)


@triton.jit
def chunk_again(
    state, scratch, inputs, rates, shift, of_channels, of_states, first, steps, W: tl.constexpr, GN: tl.constexpr,
    SOFTPLUS: tl.constexpr, STAGES: tl.constexpr
):  # fmt: skip
    """State after `steps` steps from row `first` of (S * L) on, and in scratch the state before each of them.

    inputs: delta, u and B; of_channels, of_states: columns of (S * L, W) and (S * L, G * N), and which of them exist
    """
    delta, u, B = inputs
    channel, channel_in = of_channels
    shared, shared_in = of_states
    for t in tl.range(0, steps, num_stages=STAGES):
        tl.store(scratch + t * state.shape[0] * state.shape[1], state)
        at = (first + t) * W + channel
        size, _ = step_size(delta, at, channel_in, shift, SOFTPLUS)
        into = read(B, (first + t) * GN + shared, shared_in)
        state = advance(state, rates, size, read(u, at, channel_in), into)
    return state


@triton.jit
def gate_back(z, of_z, at, inside, pull, y):
    """Gradient of y, given that of y * silu(z); writes that of z."""
    if z is not None:
        gate = read(z, at, inside)
        opened = tl.sigmoid(gate)
        of_gate = pull * y * opened * (1.0 + gate * (1.0 - opened))
        tl.store(of_z + at, of_gate.to(of_z.dtype.element_ty), mask=inside)
        pull *= gate * opened
    return pull


@triton.jit
def step_back(state, earlier, adjoint, rates, size, value, into, out_of, pull):
    """Gradients of a step: of the state before it, rates, size, value, into and out_of.

    state and earlier are the states after and before the step; adjoint is the gradient that later steps give to state
    """
    of_out_of = tl.sum(state * pull[None, :], 1)
    adjoint += out_of[:, None] * pull[None, :]
    of_into = tl.sum(adjoint * (size * value)[None, :], 1)
    of_drive = tl.sum(adjoint * into[:, None], 0)
    adjoint *= tl.exp(size[None, :] * rates)
    slope = adjoint * earlier
    of_size = tl.sum(slope * rates, 0) + of_drive * value
    return adjoint, slope * size[None, :], of_size, of_drive * size, of_into, of_out_of


@triton.jit(do_not_specialize=["length"])
def backward_kernel(
    grad,  # (S, L, W)
    grad_last,  # (S, G, N, P) or None
    u,  # this and the next eight as in the forward
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    saved,
    scratch,  # (S, G * BLOCKS, EVERY, N_POW2, BLOCK)
    of_u,  # (S, L, W)
    of_delta,  # (S, L, W)
    of_A,  # (S, G, N, P)
    of_B,  # (BLOCKS, S, L, G, N)
    of_C,  # (BLOCKS, S, L, G, N)
    of_D,  # (S, W)
    of_z,  # (S, L, W), unused without z
    of_bias,  # (S, W)
    of_start,  # (S, G, N, P)
    length,
    W: tl.constexpr,
    G: tl.constexpr,
    N: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    EVERY: tl.constexpr,
    N_POW2: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Gradients of everything: of A, D and bias a series apart, of B and C a block of channels apart."""
    series, group, channel, inside, matrix, matrix_in = place(W, G, N, N_POW2, BLOCK)
    shared, n_in = group * N + tl.arange(0, N_POW2), tl.arange(0, N_POW2) < N
    rates, adjoint = read(A, matrix, matrix_in), read_or_zero(grad_last, series * N * W + matrix, matrix_in)
    shift, skip = read_or_zero(bias, channel, inside), read_or_zero(D, channel, inside)
    sum_A, sum_D, sum_bias = tl.zeros_like(rates), tl.zeros_like(skip), tl.zeros_like(skip)
    scratch += (series * tl.num_programs(1) + tl.program_id(1)) * EVERY * N_POW2 * BLOCK
    scratch += tl.arange(0, N_POW2)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    apart = (tl.program_id(1) % (tl.num_programs(1) // G)) * tl.num_programs(0).to(tl.int64) * length * G * N
    chunks = tl.cdiv(length, EVERY)
    for chunk in range(chunks - 1, -1, -1):
        first, steps = series * length + chunk * EVERY, tl.minimum(length - chunk * EVERY, EVERY)
        state = read(saved, (series * chunks + chunk) * N * W + matrix, matrix_in)
        tl.debug_barrier()  # all threads have read the scratch of the chunk before
        state = chunk_again(state, scratch, (delta, u, B), rates, shift, (channel, inside), (shared, n_in), first,
                            steps, W, G * N, SOFTPLUS, STAGES)  # fmt: skip
        tl.debug_barrier()  # all threads see what the others wrote
        for back in tl.range(1, steps + 1, num_stages=STAGES):
            earlier = tl.load(scratch + (steps - back) * N_POW2 * BLOCK)
            at, at_shared = (first + steps - back) * W + channel, (first + steps - back) * G * N + shared
            size, before = step_size(delta, at, inside, shift, SOFTPLUS)
            value, pull = read(u, at, inside), read(grad, at, inside)
            into, out_of = read(B, at_shared, n_in), read(C, at_shared, n_in)
            pull = gate_back(z, of_z, at, inside, pull, tl.sum(state * out_of[:, None], 0) + skip * value)
            adjoint, of_rates, of_size, of_value, of_into, of_out_of = step_back(
                state, earlier, adjoint, rates, size, value, into, out_of, pull
            )
            of_before = of_size * tl.sigmoid(before) if SOFTPLUS else of_size
            sum_A, sum_D, sum_bias = sum_A + of_rates, sum_D + pull * value, sum_bias + of_before
            tl.store(of_u + at, (of_value + skip * pull).to(of_u.dtype.element_ty), mask=inside)
            tl.store(of_delta + at, of_before.to(of_delta.dtype.element_ty), mask=inside)
            tl.store(of_B + apart + at_shared, of_into, mask=n_in)
            tl.store(of_C + apart + at_shared, of_out_of, mask=n_in)
            state = earlier
    tl.store(of_start + series * N * W + matrix, adjoint, mask=matrix_in)
    tl.store(of_A + series * N * W + matrix, sum_A, mask=matrix_in)
    tl.store(of_D + series * W + channel, sum_D, mask=inside)
    tl.store(of_bias + series * W + channel, sum_bias, mask=inside)


def check(*arrays: Tensor | None) -> None:
    """Raise unless the kernels can read these: they take no strides, and the interpreter rounds bfloat16 wrongly."""
    given = [array for array in arrays if array is not None]
    if any(array.dtype == torch.float64 for array in given):
        raise TypeError("the Triton scan computes in float32; take path='cpu' for float64")
    if not isinstance(forward_kernel, triton.JITFunction) and any(one.dtype == torch.bfloat16 for one in given):
        raise NotImplementedError("Triton's interpreter rounds bfloat16 wrongly; test float32 or float16, or on a GPU")
    if not all(array.is_contiguous() for array in given):
        raise ValueError("the Triton scan takes contiguous arrays")


def launch(kernel: Any, u: Tensor, A: Tensor, softplus: bool, *arrays: Tensor | None) -> None:
    """Start a program for every series and block of channels; nothing runs where there is nothing to do."""
    check(*arrays)
    (series, length, channels), (groups, states, own) = u.shape, A.shape
    tile = tile_for(states, own)
    if series and channels:
        grid = (series, groups * triton.cdiv(own, tile.channels))
        sizes = (length, channels, groups, states, softplus, EVERY, triton.next_power_of_2(states), tile.channels)
        with torch.cuda.device_of(u):  # Triton launches on the current device, whatever the tensors say
            kernel[grid](*arrays, *sizes, tile.stages, num_warps=tile.warps)


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    start: Tensor | None,
    softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (S, L, W), last state (S, G, N, P) and every 64th state (S, ceil(L / 64), G, N, P)."""
    series, length, _ = u.shape
    out = torch.empty_like(u)
    last = u.new_empty(series, *A.shape, dtype=torch.float32)
    saved = u.new_empty(series, -(-length // EVERY), *A.shape, dtype=torch.float32)
    launch(forward_kernel, u, A, softplus, u, delta, A, B, C, D, z, bias, start, out, last, saved)
    return out, last, saved


def backward(
    grad: Tensor,
    grad_last: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    saved: Tensor,
    softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z (empty where there is none), bias and the first state."""
    (series, _, channels), (groups, states, own) = u.shape, A.shape
    tile = tile_for(states, own)
    blocks = triton.cdiv(own, tile.channels)
    scratch = saved.new_empty(series, groups * blocks, EVERY, triton.next_power_of_2(states), tile.channels)
    of_u, of_delta = torch.empty_like(u), torch.empty_like(delta)
    of_z = u.new_empty(0) if z is None else torch.empty_like(z)
    of_A, of_start = (saved.new_empty(series, *A.shape) for _ in range(2))
    of_B, of_C = (saved.new_empty(blocks, *B.shape) for _ in range(2))
    of_D, of_bias = (saved.new_empty(series, channels) for _ in range(2))
    found = (of_u, of_delta, of_A, of_B, of_C, of_D, of_z, of_bias, of_start)
    launch(backward_kernel, u, A, softplus, grad, grad_last, u, delta, A, B, C, D, z, bias, saved, scratch, *found)
    return of_u, of_delta, of_A.sum(0), of_B.sum(0), of_C.sum(0), of_D.sum(0), of_z, of_bias.sum(0), of_start
