"""Linear state-space models with a dense state matrix, as LSSL has it (Gu et al. 2021).

The columns dA^l dB are found by doubling: with the first m of them known, one product by dA^m gives m more. That costs
N^2 numbers a step and is the reason for S4; here it serves LSSL, last states of S4, and the tests as the truth.
"""

import torch
from torch import Tensor

# S series, L steps, W channels, N states a channel.


def bilinear(A: Tensor, B: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """dA (W, N, N) and dB (W, N) of x' = A x + B u sampled every `step` (W,); A, B of one model or each channel."""
    half = step[:, None, None] / 2 * A
    one = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    driven = (step[:, None] * B)[..., None]
    solved = torch.linalg.solve(one - half, torch.cat([(one + half).expand_as(half), driven], -1))
    return solved[..., :-1], solved[..., -1]


def krylov(decay: Tensor, start: Tensor, length: int) -> Tensor:
    """Columns decay^l start, l = 0 .. length - 1; (W, N, N), (..., W, N) -> (..., W, N, length)."""
    columns, power = start[..., None], decay
    while columns.shape[-1] < length:
        columns = torch.cat([columns, power @ columns], -1)
        if columns.shape[-1] < length:
            power = power @ power
    return columns[..., :length]


def last_state(u: Tensor, decay: Tensor, into: Tensor, initial_state: Tensor | None = None) -> Tensor:
    """State (S, W, N) after the inputs u (S, W, L) of x_t = decay x_(t-1) + into u_t; (W, N, N), (W, N)."""
    length = u.shape[-1]
    last = torch.einsum("swl,wnl->swn", u.to(decay), krylov(decay, into, length).flip(-1))
    if initial_state is None:
        return last
    return last + torch.einsum("wnm,swm->swn", torch.linalg.matrix_power(decay, length), initial_state.to(decay))
