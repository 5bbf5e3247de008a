"""The truth for state-space kernels: one step after the other in plain torch, any float type (tests use float64).

The selective scan follows Gu and Dao 2023 (Mamba, section 3.2 and algorithm 2), the diagonal model with constant
parameters Gu et al. 2022 (S4D). Sizes and names of the arguments are the field's, so B, C and D are parameters here.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# S series, L steps, W channels, N states a channel, G groups of W / G channels that share B and C.


def per_channel(matrix: Tensor, channels: int) -> Tensor:
    """A form of B or C that broadcasts against (S, W, N, L): given as (W, N), (S, N, L) or (S, G, N, L)."""
    if matrix.ndim == 2:
        return matrix[None, :, :, None]
    if matrix.ndim == 3:
        return matrix[:, None]
    return matrix.repeat_interleave(channels // matrix.shape[1], dim=1)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and last state of x_t = exp(delta_t A) x_(t-1) + delta_t B_t u_t, y_t = C_t x_t + D u_t, times silu(z).

    u, delta, z      (S, W, L)
    A                (W, N)     complex: the state stands for itself and its conjugate, so y_t = 2 Re(C_t x_t)
    B, C             (S, N, L), (S, G, N, L) with channels in G blocks, or (W, N) at all times
    D, delta_bias    (W,)
    initial_state    (S, W, N)  zero where None
    returns          (S, W, L) in the type of u and (S, W, N) in float32 or wider
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    inputs, step = u.to(wide), delta.to(wide)
    if delta_bias is not None:
        step = step + delta_bias.to(wide)[:, None]
    if delta_softplus:
        step = F.softplus(step)
    kind = torch.promote_types(A.dtype, wide)
    series, channels, length = u.shape
    into, out_of = (per_channel(matrix.to(torch.promote_types(matrix.dtype, wide)), channels) for matrix in (B, C))
    state = torch.zeros(series, channels, A.shape[1], dtype=kind, device=u.device)
    if initial_state is not None:
        state = initial_state.to(kind)
    out = torch.zeros_like(inputs)
    rows = []
    for t in range(length):
        now = min(t, into.shape[-1] - 1)
        state = torch.exp(step[:, :, t, None] * A) * state + (step * inputs)[:, :, t, None] * into[..., now]
        row = (state * out_of[..., min(t, out_of.shape[-1] - 1)]).sum(-1)
        rows.append(2 * row.real if row.is_complex() else row)
    if rows:
        out = torch.stack(rows, dim=-1)
    if D is not None:
        out = out + D.to(wide)[:, None] * inputs
    if z is not None:
        out = out * F.silu(z.to(wide))
    return out.to(u.dtype), state


def diagonal_ssm(
    u: Tensor,
    log_decay: Tensor,
    into: Tensor,
    out_of: Tensor,
    skip: Tensor | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and last state of x_t = exp(log_decay) x_(t-1) + into u_t, y_t = 2 Re(out_of x_t) + skip u_t.

    u (S, W, L); log_decay, into and out_of (W, N) complex; skip (W,); states (S, W, N) -> (S, W, L), (S, W, N)
    """
    state = torch.zeros(*u.shape[:2], log_decay.shape[1], dtype=log_decay.dtype, device=u.device)
    if initial_state is not None:
        state = initial_state
    rows = []
    for t in range(u.shape[-1]):
        state = torch.exp(log_decay) * state + into * u[:, :, t, None]
        rows.append(2 * (out_of * state).sum(-1).real)
    out = torch.stack(rows, dim=-1) if rows else torch.zeros_like(u)
    return out if skip is None else out + skip[:, None] * u, state
