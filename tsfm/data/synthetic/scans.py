"""Time recursions and interpolation without a loop over time steps.

A linear recurrence is composed by doubling (Hillis and Steele 1986) inside blocks of 64 steps and then over the
blocks, so its Python loop has about a dozen turns whatever the length.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

# B series, T steps, K knots or cells.

BLOCK = 64


def linear_recurrence(coefficient: Tensor, drive: Tensor) -> Tensor:
    """(B, T) states x_t = coefficient_t * x_{t-1} + drive_t with x_{-1} = 0; `coefficient` (B, T) or (B, 1)."""
    rows, steps = drive.shape
    padding = -steps % BLOCK
    state = functional.pad(drive, (0, padding)).view(rows, -1, BLOCK)
    decay = functional.pad(coefficient.expand(rows, steps), (0, padding)).reshape(rows, -1, BLOCK)
    state, decay = _double(state, decay, BLOCK)
    blocks = state.shape[1]
    carried, _ = _double(state[:, :, -1], decay[:, :, -1], blocks)
    before = functional.pad(carried[:, :-1], (1, 0)).unsqueeze(-1)  # (B, blocks, 1)
    return torch.addcmul(state, decay, before).view(rows, -1)[:, :steps]


def _double(state: Tensor, decay: Tensor, length: int) -> tuple[Tensor, Tensor]:
    state, decay = state.clone(), decay.clone()
    reach = 1
    while reach < length:
        moved = decay[..., reach:] * state[..., :-reach]
        state[..., reach:] += moved
        decay[..., reach:] = decay[..., reach:] * decay[..., :-reach]
        reach *= 2
    return state, decay


def autoregress(innovations: Tensor, rho: Tensor) -> Tensor:
    """Unit-variance AR(1) of unit-variance `innovations` (B, T), started in its stationary law; `rho` (B, 1)."""
    drive = innovations * (1.0 - rho * rho).clamp_min(1e-8).sqrt()
    drive[:, :1] = innovations[:, :1]
    return linear_recurrence(rho, drive)


def two_state_chain(go: Tensor, leave: Tensor, uniform: Tensor) -> Tensor:
    """(B, T) of 0.0/1.0: a Markov chain that enters state 1 with chance `go` and leaves it with chance `leave`.

    With go + leave <= 1 each uniform number sets the state to 1, sets it to 0 or keeps it, whatever the state was, so
    the state is the last setting: one cummax.
    """
    steps = uniform.shape[1]
    clock = torch.arange(1, steps + 1, device=uniform.device, dtype=uniform.dtype)
    last_one = ((uniform < go).to(uniform.dtype) * clock).cummax(1).values
    last_zero = ((uniform > 1.0 - leave).to(uniform.dtype) * clock).cummax(1).values
    return (last_one > last_zero).to(uniform.dtype)


def last_event(event: Tensor) -> Tensor:
    """(B, T) index of the latest step at or before each whose `event` is 1; 0 before the first."""
    clock = torch.arange(event.shape[1], device=event.device, dtype=event.dtype)
    return (event * clock).cummax(1).values.long()


def hold(values: Tensor, event: Tensor) -> Tensor:
    """`values` (B, T) renewed only where `event` is 1, else the last one kept."""
    return values.gather(1, last_event(event))


def stretch(coarse: Tensor, length: int) -> Tensor:
    """(B, T) from knots (B, K) at equal distances, by straight lines; the first and last knot are the ends."""
    if coarse.shape[1] == 1:
        return coarse.expand(-1, length)
    return functional.interpolate(coarse.unsqueeze(0), size=length, mode="linear", align_corners=True).squeeze(0)


def on_circle(table: Tensor, phase: Tensor) -> Tensor:
    """(B, T) values of cyclic tables (B, K) at `phase` (B, T) in cycles, by straight lines between cells."""
    cells = table.shape[1]
    wrapped = torch.cat([table, table[:, :1]], dim=1)
    place = (phase - phase.floor()) * cells
    left = place.long().clamp_(0, cells - 1)
    low = wrapped.gather(1, left)
    return torch.lerp(low, wrapped.gather(1, left + 1), place - left)


def cell_of_circle(table: Tensor, phase: Tensor) -> Tensor:
    """(B, T) values of cyclic tables (B, K) at `phase` (B, T) in cycles, constant within a cell."""
    cells = table.shape[1]
    return table.gather(1, ((phase - phase.floor()) * cells).long().clamp_(0, cells - 1))


def standardise(values: Tensor) -> Tensor:
    """(B, T) with mean 0 and standard deviation 1 a row; a constant row becomes zero."""
    centred = values - values.mean(1, keepdim=True)
    return centred.div_(_root_mean_square(centred).clamp_min(1e-12))


def spread(values: Tensor) -> Tensor:
    """(B, 1) standard deviations, several times as fast as `Tensor.std` on a CPU."""
    return _root_mean_square(values - values.mean(1, keepdim=True))


def _root_mean_square(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return norm / math.sqrt(values.shape[1])
