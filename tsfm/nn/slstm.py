"""The recurrence of the sLSTM (Beck et al. 2024, xLSTM, section 2.2): scalar memories with exponential gates.

Input and forget gates are exponentials, so a normaliser n runs along with the cell c, and both are stored divided by
exp(m), the largest gate so far. Every head feeds its last output back to its own four gates.

The loop over steps goes forwards with few operations and backwards by hand: what does not depend on the step before is
computed for all steps at once, as is the gradient of the recurrent weights. Since y = o c / n is the same for every m,
m takes no gradient.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, N steps, A heads, W channels of a head; gates are in the order input, forget, cell input, output.


class SLSTMState(NamedTuple):
    """Output, cell, normaliser and stabiliser after a step, (A, B, W) each."""

    y: Tensor
    c: Tensor
    n: Tensor
    m: Tensor


def empty_state(like: Tensor) -> SLSTMState:
    """The state before any step; like (A, B, W)."""
    zero = torch.zeros_like(like)
    return SLSTMState(zero, zero, zero, torch.full_like(like, -torch.inf))


def advance(gates: Tensor, state: SLSTMState) -> tuple[SLSTMState, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The next state, and the four gates as they acted; gates (A, B, 4 W) before their activations."""
    take, keep, cell, show = gates.chunk(4, -1)
    kept = F.logsigmoid(keep) + state.m
    m = torch.maximum(take, kept)
    take, keep, cell, show = torch.exp(take - m), torch.exp(kept - m), torch.tanh(cell), torch.sigmoid(show)
    c, n = torch.addcmul(keep * state.c, take, cell), torch.addcmul(take, keep, state.n)
    return SLSTMState(show * c / n, c, n, m), (take, keep, cell, show)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, recurrent: Tensor, *start: Tensor) -> tuple[Tensor, ...]:
        state = SLSTMState(*start)
        states, acted = [state], []
        for now in gates:
            state, these = advance(torch.baddbmm(now, state.y, recurrent.mT), state)
            states.append(state)
            acted.append(torch.stack(these))
        y, c, n, _ = (torch.stack(parts) for parts in zip(*states, strict=True))  # (N + 1, A, B, W), from the start on
        forget = gates.chunk(4, -1)[1] + y[:-1] @ recurrent.chunk(4, 1)[1].mT  # again, for the slope of its activation
        ctx.save_for_backward(recurrent, y, c, n, torch.stack(acted), forget)
        ctx.mark_non_differentiable(state.m)
        return y[1:], *state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, for_y: Tensor, *for_last: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, y, c, n, acted, forget = ctx.saved_tensors
        take, keep, cell, show = acted.unbind(1)  # (N, A, B, W)
        to_c = show / n[1:]
        ratio = c[1:] / n[1:]
        of_cell, of_keep = take * (1 - cell.square()), keep * torch.sigmoid(-forget)
        of_show = ratio * show * (1 - show)
        for_gates = for_y.new_empty(*for_y.shape[:-1], 4 * for_y.shape[-1])
        dy, dc, dn = (part.clone() for part in for_last[:3])
        for step in range(len(for_y) - 1, -1, -1):
            dy += for_y[step]
            seen = dy * to_c[step]
            dc += seen
            dn -= seen * ratio[step]
            taken, kept, celled, shown = for_gates[step].chunk(4, -1)
            torch.mul(torch.addcmul(dn, dc, cell[step]), take[step], out=taken)
            torch.mul(torch.addcmul(dc * c[step], dn, n[step]), of_keep[step], out=kept)
            torch.mul(dc, of_cell[step], out=celled)
            torch.mul(dy, of_show[step], out=shown)
            dc *= keep[step]
            dn *= keep[step]
            dy = for_gates[step] @ recurrent
        for_recurrent = torch.einsum("nabg,nabw->agw", for_gates, y[:-1])
        return for_gates, for_recurrent, dy, dc, dn, None


def slstm(gates: Tensor, recurrent: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
    """Outputs of all steps, and the state after them; differentiable in everything but the stabiliser.

    gates      (N, A, B, 4 W)  before their activations, without what is fed back
    recurrent  (A, 4 W, W)
    returns    (N, A, B, W), and the state
    """
    y, *last = _Recurrence.apply(gates, recurrent, *state)  # type: ignore[no-untyped-call]
    return y, SLSTMState(*last)
