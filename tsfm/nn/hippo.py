"""HiPPO: systems x' = A x + B u whose state holds the coefficients of the signal so far in an orthogonal basis.

The matrices follow Gu et al. 2020 (LegS: Legendre polynomials over the whole past, LegT: over a sliding window) and
Gu et al. 2022 "How to train your HiPPO" (the truncated Fourier basis). `nplr` is the normal plus low-rank form of LegS
that S4 computes with (Gu, Goel and Re 2022, section 3.1), `diagonal` the starts of S4D (Gu et al. 2022, section 4).
`remember` and `recall` show what the theory is about: a signal goes into N numbers, step by step, and comes back.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tsfm.errors import DataError

# N real states, n = N / 2 complex ones that stand for conjugate pairs, L steps.

Measure = Literal["legs", "legt", "fourier"]
Init = Literal["legs", "lin", "inv", "inv2", "quad", "real"]
LARGEST_INPUT = 2.0  # the published code starts B with imaginary parts of at most this


class Nplr(NamedTuple):
    """A = V (diag(W) - P P*) V* and B = V B, one eigenvector of every conjugate pair."""

    W: Tensor  # (n,) complex, negative imaginary parts
    P: Tensor  # (1, n)
    B: Tensor  # (n,)
    V: Tensor  # (N, n)


def hippo(measure: Measure, size: int) -> tuple[Tensor, Tensor]:
    """A (N, N) and B (N,) of a measure, in float64."""
    order = torch.arange(size, dtype=torch.float64)
    root = (2 * order + 1).sqrt()
    above = order[:, None] < order
    if measure == "legs":
        lower = -torch.outer(root, root).masked_fill(above, 0.0)
        return lower + torch.diag(order), root
    if measure == "legt":
        sign = (1 - 2 * ((order[:, None] - order) % 2)).where(above, 1.0)
        return -torch.outer(root, root) * sign / 2, root / 2
    if measure == "fourier":
        return _fourier(size)
    raise DataError(f"measure={measure!r} is not known; pass 'legs', 'legt' or 'fourier'")


def _fourier(size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines in turn, each pair rotating, all driven so that the window's far end is forgotten."""
    between = torch.zeros(size - 1, dtype=torch.float64)
    between[0::2] = math.pi * torch.arange(size // 2)
    into = torch.zeros(size, dtype=torch.float64)
    into[0::2] = math.sqrt(2)
    into[0] = 1.0
    return torch.diag(between, -1) - torch.diag(between, 1) - torch.outer(into, into), into


def nplr(size: int, largest_input: float | None = None) -> Nplr:
    """Normal plus low-rank form of HiPPO-LegS with an even number of states, computed in float64.

    Eigenvectors have a free phase: here the first component is real and positive. B's imaginary parts are cut off at
    `largest_input`, as S4 starts from.
    """
    A, into = hippo("legs", size)
    rank_one = (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()
    skew = A + torch.outer(rank_one, rank_one) + torch.eye(size, dtype=torch.float64) / 2
    turns, vectors = torch.linalg.eigh(-1j * (skew - skew.T) / 2)
    vectors = vectors[:, : size // 2]
    vectors = vectors * (vectors[0].abs() / vectors[0])
    B = vectors.mH @ into.to(vectors)
    if largest_input is not None:
        B = torch.complex(B.real, B.imag.clamp(-largest_input, largest_input))
    W = torch.complex(torch.full((size // 2,), -0.5, dtype=torch.float64), turns[: size // 2])
    return Nplr(W, (vectors.mH @ rank_one.to(vectors))[None], B, vectors)


IMAGINARY: dict[str, Callable[[Tensor, int], Tensor]] = {
    "lin": lambda n, size: math.pi * n,
    "inv": lambda n, size: size / math.pi * (size / (2 * n + 1) - 1),
    "inv2": lambda n, size: size / math.pi * (size / (n + 1) - 1),
    "quad": lambda n, size: (1 + 2 * n) ** 2 / math.pi,
}


def diagonal(init: Init, size: int) -> tuple[Tensor, Tensor]:
    """A (n,) and B (n,) that a diagonal model of `size` real states starts from, complex128."""
    if init == "legs":
        system = nplr(size, LARGEST_INPUT)
        return system.W, system.B
    n = torch.arange(size // 2, dtype=torch.float64)
    if init == "real":
        A = torch.complex(-(n + 1), torch.zeros_like(n))
    elif init in IMAGINARY:
        A = torch.complex(torch.full_like(n, -0.5), -IMAGINARY[init](n, size))
    else:
        raise DataError(f"init={init!r} is not known; pass 'legs', 'real' or {', '.join(map(repr, IMAGINARY))}")
    return A, torch.ones_like(A)


def remember(signal: Tensor, size: int) -> Tensor:
    """LegS coefficients (..., L, N) of the past up to every step of `signal` (..., L), which holds between its steps.

    In the logarithm of time the system is constant, so each step has an exact solution; its rest is the signal itself
    in the first coefficient.
    """
    A, _ = hippo("legs", size)
    ratio = torch.arange(1, signal.shape[-1], dtype=torch.float64)
    kept = torch.matrix_exp(A * torch.log((ratio + 1) / ratio)[:, None, None]).to(signal)  # (L - 1, N, N)
    rest = torch.eye(size)[0].to(signal) * signal[..., None]  # (..., L, N)
    found = [rest[..., 0, :]]
    for step, decay in enumerate(kept, 1):
        found.append((found[-1] - rest[..., step, :]) @ decay.mT + rest[..., step, :])
    return torch.stack(found, -2)


def recall(coefficients: Tensor, steps: int) -> Tensor:
    """The signal (..., steps) that LegS coefficients (..., N) remember, at the middles of `steps` equal parts."""
    size = coefficients.shape[-1]
    place = (2 * torch.arange(steps) + 1).to(coefficients) / steps - 1
    basis = [torch.ones_like(place), place]
    for order in range(1, size - 1):
        basis.append(((2 * order + 1) * place * basis[-1] - order * basis[-2]) / (order + 1))
    scale = (2 * torch.arange(size) + 1).to(coefficients).sqrt()
    return coefficients * scale @ torch.stack(basis[:size])
