"""Selective scan in plain torch, forward and backward: the path of processors and of machines without Triton.

Decays and driven inputs of a few steps are made by whole-tensor operations, so that one `addcmul` a step is left in
sequence; how many steps follows from the cache. On one core, at 256 channels of 16 states and float32, this takes 0.8
to 1.0 of the time of a loop that does everything step by step at 16 series, 0.6 at one series, and with the backward
pass half and a third of the time of that loop under autograd (0.9 at 64 series of 512 channels), which keeps twelve
times as much (313 MB for 27 MB at 16 series of 512 steps). Beside the reference path it takes less time at every size
of `evaluation/results/speed_scan.csv`. Chunks that advance together by cumulative products are slower, because every
state moves through memory twice more.

The backward pass starts at every 64th state, which the forward pass saved, and holds the states of those 64 steps
only in part: it notes the first of every few, and makes these few again.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# S series, L steps, W channels, N states a channel, G groups that share B and C, P = W / G channels of a group,
# T steps made at once (time first, so that a step is one block of memory).

EVERY = 64  # steps between saved states
CACHED = 2**18  # elements of the states made at once: 1 MB in float32, and as much for their decays


def steps_at_once(elements: int) -> int:
    """A power of two, at most 64, of steps whose states stay in the cache; `elements` are those of one state."""
    return 1 << (max(2, min(EVERY, CACHED // max(1, elements))).bit_length() - 1)


class Steps:
    """The inputs of T steps in the type of the arithmetic, time first."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        B: Tensor,
        C: Tensor,
        bias: Tensor | None,
        softplus: bool,
        at: slice,
        kind: torch.dtype,
    ):
        groups = B.shape[2]
        self.u = rows(u, at, groups, kind)  # (T, S, G, P)
        self.before = rows(delta, at, groups, kind)
        if bias is not None:
            self.before = self.before + bias.to(kind).view(groups, -1)
        self.delta = F.softplus(self.before) if softplus else self.before
        self.drive = self.delta * self.u
        self.into, self.out_of = (matrix[:, at].transpose(0, 1).to(kind).contiguous() for matrix in (B, C))

    def run(self, A: Tensor, state: Tensor, room: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Decays and states of every step, both (T, S, G, N, P) in the room, after the state (S, G, N, P)."""
        decay, states = (part[: self.delta.shape[0]] for part in room[:2])
        torch.mul(self.delta[..., None, :], A, out=decay).exp_()
        torch.mul(self.into[..., None], self.drive[..., None, :], out=states)
        for t in range(states.shape[0]):
            state = torch.addcmul(states[t], decay[t], state, out=states[t])
        return decay, states


def room_for(parts: int, steps: int, state: Tensor) -> list[Tensor]:
    """Memory for states of so many steps that serves every piece; fresh memory would be faulted in page by page."""
    return [state.new_empty(steps, *state.shape) for _ in range(parts)]


def rows(values: Tensor, at: slice, groups: int, kind: torch.dtype) -> Tensor:
    """Steps of (S, L, W) as (T, S, G, P)."""
    steps: Tensor = values[:, at].transpose(0, 1).to(kind).unflatten(-1, (groups, -1))
    return steps.contiguous()


def write(out: Tensor, at: slice, values: Tensor) -> None:
    """Steps as (T, S, G, P) into (S, L, W)."""
    out[:, at] = values.flatten(2).transpose(0, 1)


def read_out(out_of: Tensor, states: Tensor) -> Tensor:
    """Sum over states: (T, S, G, N) and (T, S, G, N, P) -> (T, S, G, P)."""
    return torch.matmul(out_of[..., None, :], states).squeeze(-2)


def over_channels(states: Tensor, values: Tensor) -> Tensor:
    """Sum over channels: (T, S, G, N, P) and (T, S, G, P) -> (T, S, G, N)."""
    return torch.matmul(states, values[..., None]).squeeze(-1)


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
    """Outputs (S, L, W), last state (S, G, N, P) and the state before every 64th step (S, ceil(L / 64), G, N, P)."""
    (series, length, _), kind = u.shape, torch.promote_types(u.dtype, torch.float32)
    out, A = torch.empty_like(u), A.to(kind)
    state = u.new_zeros(series, *A.shape, dtype=kind) if start is None else start.to(kind, copy=True)
    saved = u.new_empty(series, -(-length // EVERY), *A.shape, dtype=kind)
    size = steps_at_once(state.numel())
    room = room_for(2, min(size, length), state)
    for first in range(0, length, size):
        if first % EVERY == 0:
            saved[:, first // EVERY] = state
        at = slice(first, min(first + size, length))
        steps = Steps(u, delta, B, C, bias, softplus, at, kind)
        _, states = steps.run(A, state, room)
        state = states[-1].clone()
        y = read_out(steps.out_of, states)
        if D is not None:
            y.addcmul_(D.to(kind).view(A.shape[0], -1), steps.u)
        if z is not None:
            y *= F.silu(rows(z, at, A.shape[0], kind))
        write(out, at, y)
    return out, state, saved


class Gradients:
    """Where the backward pass collects; sums over steps and series are kept in the type of the arithmetic."""

    def __init__(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, z: Tensor | None, adjoint: Tensor):
        self.u, self.delta = torch.empty_like(u), torch.empty_like(delta)
        self.z = u.new_empty(0) if z is None else torch.empty_like(z)
        self.B, self.C = (B.new_empty(B.shape, dtype=A.dtype) for _ in "BC")
        self.A = torch.zeros_like(A)  # (G, N, P)
        self.D, self.bias = (A.new_zeros(A.shape[0], A.shape[2]) for _ in "Db")
        self.adjoint = adjoint  # (S, G, N, P), of the state after the steps that are left


def step_back(
    into: Gradients,
    steps: Steps,
    at: slice,
    A: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    softplus: bool,
    state: Tensor,
    grad: Tensor,
    room: list[Tensor],
) -> None:
    """Gradients of the steps `at`, of which `state` is the one before; grad (T, S, G, P) is that of their outputs."""
    decay, states = steps.run(A, state, room)
    skip = None if D is None else D.to(A).view(A.shape[0], -1)
    if z is not None:
        gate = rows(z, at, A.shape[0], A.dtype)
        y = read_out(steps.out_of, states)
        if skip is not None:
            y.addcmul_(skip, steps.u)
        open_ = torch.sigmoid(gate)
        write(into.z, at, grad * y * open_ * (1 + gate * (1 - open_)))
        grad = grad * gate * open_
    into.C[:, at] = over_channels(states, grad).transpose(0, 1)
    adjoints = room[2][: grad.shape[0]]
    torch.mul(steps.out_of[..., None], grad[..., None, :], out=adjoints)
    adjoints[-1] += into.adjoint
    for t in range(states.shape[0] - 1, 0, -1):
        adjoints[t - 1].addcmul_(decay[t], adjoints[t])
    into.B[:, at] = over_channels(adjoints, steps.drive).transpose(0, 1)
    of_drive = read_out(steps.into, adjoints)
    adjoints *= decay
    into.adjoint = adjoints[0].clone()
    adjoints[1:] *= states[:-1]
    adjoints[0] *= state  # now the gradient of delta * A
    of_delta = torch.addcmul((adjoints * A).sum(-2), of_drive, steps.u)
    into.A += adjoints.mul_(steps.delta[..., None, :]).sum((0, 1))
    of_u = of_drive * steps.delta
    if skip is not None:
        of_u.addcmul_(skip, grad)
        into.D += (grad * steps.u).sum((0, 1))
    if softplus:
        of_delta *= torch.sigmoid(steps.before)
    into.bias += of_delta.sum((0, 1))
    write(into.u, at, of_u)
    write(into.delta, at, of_delta)


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
) -> tuple[Tensor, ...]:
    """Gradients of u, delta, A, B, C, D, z (empty where there is none), bias and the first state."""
    kind, length = saved.dtype, u.shape[1]
    A = A.to(kind)
    adjoint = u.new_zeros(u.shape[0], *A.shape, dtype=kind) if grad_last is None else grad_last.to(kind, copy=True)
    into = Gradients(u, delta, A, B, z, adjoint)
    size = steps_at_once(adjoint.numel())
    room = room_for(3, min(size, length), adjoint)

    def steps_of(at: slice) -> Steps:
        return Steps(u, delta, B, C, bias, softplus, at, kind)

    for chunk in reversed(range(saved.shape[1])):
        begin, end = chunk * EVERY, min((chunk + 1) * EVERY, length)
        pieces = [slice(first, min(first + size, end)) for first in range(begin, end, size)]
        marks = [saved[:, chunk]]
        for at in pieces[:-1]:
            marks.append(steps_of(at).run(A, marks[-1], room)[1][-1].clone())
        for at, state in zip(reversed(pieces), reversed(marks), strict=True):
            of_out = rows(grad, at, A.shape[0], kind)
            step_back(into, steps_of(at), at, A, D, z, softplus, state, of_out, room)
    return into.u, into.delta, into.A, into.B, into.C, into.D.flatten(), into.z, into.bias.flatten(), into.adjoint
