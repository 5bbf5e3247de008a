"""The state-space model S4 (Gu, Goel and Re 2022): diagonal plus low-rank state matrices A = diag(W) - P P*.

Its convolution kernel comes from the generating function at the roots of unity, which needs no power of A: four Cauchy
sums and one rank-one correction (appendix C.3). What stands here differs from the paper's formula by a factor 1 + w
above and below, so that the root w = -1, where the paper's nodes are infinite, is a point like any other.
A kernel of L steps is made from C~ = C (I - dA^L), which the published checkpoints hold in place of C.
"""

import math

import torch
from torch import Tensor

from tsfm.kernels.dense import bilinear

# W channels (the axis, beside the parameter of that name), n complex states that stand for conjugate pairs, L steps,
# R output rows, F = L // 2 + 1 frequencies.


def dplr_kernel(poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor, length: int) -> Tensor:
    """Convolution kernel (..., R, W, L) of C~ (R, W, n) as the module's docstring has it.

    poles, P (W, n); B (..., W, n); step (W,); all complex but the step
    """
    turn = torch.arange(length // 2 + 1, dtype=torch.float64, device=step.device) * (2 * math.pi / length)
    root = torch.polar(torch.ones_like(turn), -turn)
    near, far = (1 + root).to(poles), 2 * (1 - root).to(poles)  # (F,)
    scaled = step[:, None] * poles
    both = torch.cat([scaled, scaled.conj()], -1)  # (W, 2n)
    cauchy = 1 / (far - near * both[..., None])  # (W, 2n, F)

    def total(weight: Tensor) -> Tensor:
        return torch.einsum("...wn,wnf->...wf", torch.cat([weight, weight.conj()], -1), cauchy)

    per_step = step[:, None]
    with_input = B[..., None, :, :]
    correction = total(C * P) * total(P.conj() * with_input) / (1 + near * per_step * total(P * P.conj()))
    spectrum = 2 * per_step * (total(C * with_input) - near * per_step * correction)
    kernel: Tensor = torch.fft.irfft(spectrum, n=length)
    return kernel


def dplr_apply(poles: Tensor, P: Tensor, x: Tensor) -> Tensor:
    """A x of states x (..., W, n)."""
    return poles * x - P * _paired(P.conj() * x)


def dplr_solve(poles: Tensor, P: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    """(shift - A)^-1 x of states x (..., W, n), by Woodbury's identity; shift (W,)."""
    inverse = 1 / (shift[:, None] - poles)
    part = inverse * x
    return part - inverse * P * _paired(P.conj() * part) / (1 + _paired(P.conj() * inverse * P))


def _paired(products: Tensor) -> Tensor:
    """Sum over the last axis and over the conjugates that it stands for."""
    total: Tensor = products.real.sum(-1, keepdim=True)
    return 2 * total


def dplr_dense(poles: Tensor, P: Tensor, B: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """dA (W, 2n, 2n) and dB (W, 2n) over the states and their conjugates, complex128, bilinear; B (W, n)."""
    whole = [torch.cat([one, one.conj()], -1).to(torch.complex128) for one in (poles, P, B)]
    A = torch.diag_embed(whole[0]) - whole[1][..., :, None] * whole[1][..., None, :].conj()
    return bilinear(A, whole[2], step.double())


def truncated(C: Tensor, decay: Tensor, length: int, back: bool = False) -> Tensor:
    """C~ = C (I - decay^length) of C (R, W, n), or with `back` the C of a C~; decay as `dplr_dense` gives it."""
    power = torch.linalg.matrix_power(decay, length)
    rest = torch.eye(power.shape[-1], dtype=power.dtype, device=power.device) - power
    whole = torch.cat([C, C.conj()], -1).to(power)[..., None, :]  # (R, W, 1, 2n)
    found = torch.linalg.solve(rest, whole, left=False) if back else whole @ rest
    half: Tensor = found[..., 0, : C.shape[-1]]
    return half.to(C)
