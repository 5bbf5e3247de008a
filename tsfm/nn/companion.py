"""The companion state space (Zhang et al. 2023, SpaceTime, section 3), computed through linear recurrences.

The state goes on as x' = A x + b u, where A shifts a state by one place and adds `a` times its last entry. So the rows
c A^h, h = 0, 1, ..., are windows w_h ... w_(h + S - 1) of one sequence that begins with c and goes on as
w_(n + S) = sum_i a_i w_(n + i), and the last entries of the columns A^l b follow the same recurrence. Both sequences
are quotients of power series with the denominator r(z) = 1 - sum_m a_(S - m) z^m: a kernel takes a few Fourier
transforms instead of the powers of A. They are formed in float64, which costs little beside the long convolutions.

With the input u = k x fed back, A becomes A + b k', and the rows c (A + b k')^h follow from those of c and of k by one
convolution over h.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, K kernels, S state size, L steps, H horizon, R outputs. Vectors a, b, c, k are (K, S).

AT_ONCE = 2**17  # numbers that are transformed together: more leave the cache of a core


def product(left: Tensor, right: Tensor, length: int) -> Tensor:
    """The first coefficients of the product of two power series; (..., any), (..., any) -> (..., length)."""
    left, right = left[..., :length], right[..., :length]
    size = left.shape[-1] + right.shape[-1] - 1
    full = torch.fft.irfft(torch.fft.rfft(left, n=size) * torch.fft.rfft(right, n=size), n=size)
    return F.pad(full, (0, max(0, length - size)))[..., :length]


def reciprocal(series: Tensor, length: int) -> Tensor:
    """The first coefficients of 1 / series, whose own first is 1; (..., any) -> (..., length).

    Newton's iteration doubles what is right at every turn. The last turn alone is recorded, which gives the exact
    gradient, once differentiated: that of g (2 - s g) in s is -g^2.
    """
    with torch.no_grad():
        found = torch.ones_like(series[..., :1])
        while found.shape[-1] < length:
            found = _newton(found, series, min(2 * found.shape[-1], length))
    return _newton(found, series, length)


def _newton(found: Tensor, series: Tensor, length: int) -> Tensor:
    return 2 * F.pad(found, (0, length - found.shape[-1])) - product(found, product(found, series, length), length)


class Recurrence:
    """What A gives for `length` steps: rows c A^h, kernels c A^l b and states sum_i A^(L - 1 - i) b u_i."""

    def __init__(self, a: Tensor, length: int):
        self.state, self.length = a.shape[-1], length
        one = torch.ones_like(a[..., :1], dtype=torch.float64)
        self.denominator = torch.cat([one, -a.double().flip(-1)], dim=-1)  # (K, S + 1)
        self.inverse = reciprocal(self.denominator, length + self.state - 1)

    def sequence(self, c: Tensor) -> Tensor:
        """The sequence whose windows are the rows c A^h; (K, S) -> (K, length + S - 1) float64."""
        start = product(self.denominator, c.double(), self.state)
        return product(self.inverse, start, self.length + self.state - 1)

    def kernel(self, c: Tensor, b: Tensor) -> Tensor:
        """c A^l b for l < length; (K, S), (K, S) -> (K, length) float64."""
        return windows_dot(self.sequence(c), b)

    def last_state(self, u: Tensor, b: Tensor) -> Tensor:
        """State after all of u (B, K, L), L at most `length`, from zero -> (B, K, S) in the type of u.

        A state is a triangular map of the last entries of itself and the S - 1 states after it without input.
        """
        steps = u.shape[-1]
        last = product(self.inverse, b.double().flip(-1), steps + self.state - 1)  # (K, L + S - 1) of A^l b
        ahead = torch.einsum("bkl,kls->bks", u.flip(-1), last.to(u.dtype).unfold(-1, self.state, 1))
        mixing = F.pad(self.denominator[..., : self.state].flip(-1), (0, self.state - 1)).unfold(-1, self.state, 1)
        return torch.einsum("bks,kts->bkt", ahead, mixing.to(u.dtype))


def windows_dot(sequence: Tensor, b: Tensor) -> Tensor:
    """Every window's product with b; (K, L + S - 1), (K, S) -> (K, L) float64."""
    return product(sequence, b.double().flip(-1), sequence.shape[-1])[..., b.shape[-1] - 1 :]


class _Convolution(torch.autograd.Function):
    """Causal convolutions of the same series, a few series at a time, with nothing kept but their input."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(u, kernels)
        size, length = 2 * u.shape[-1], u.shape[-1]
        out = u.new_empty(len(kernels), len(u), *kernels.shape[1:])
        kernels = torch.fft.rfft(kernels, n=size)
        for here in _slices(len(u), kernels[0].numel()):
            seen = torch.fft.rfft(u[here], n=size)
            for kernel, into in zip(kernels, out, strict=True):
                into[here] = torch.fft.irfft(seen * kernel, n=size)[..., :length]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (u, kernels), (grad,) = ctx.saved_tensors, grads
        size, length = 2 * u.shape[-1], u.shape[-1]
        kernels = torch.fft.rfft(kernels, n=size).conj()
        for_kernels = torch.zeros_like(kernels)
        for_u = torch.empty_like(u) if ctx.needs_input_grad[0] else None
        for here in _slices(len(u), kernels[0].numel()):
            seen = torch.fft.rfft(u[here], n=size).conj()
            back = [torch.fft.rfft(part[here], n=size) for part in grad]
            for part, into in zip(back, for_kernels, strict=True):
                into += (part * seen).sum(0)
            if for_u is not None:
                total = torch.stack([part * kernel for part, kernel in zip(back, kernels, strict=True)]).sum(0)
                total = total.sum(1, keepdim=True) if u.shape[1] == 1 else total
                for_u[here] = torch.fft.irfft(total, n=size)[..., :length]
        return for_u, torch.fft.irfft(for_kernels, n=size)[..., :length]


def _slices(rows: int, numbers: int) -> list[slice]:
    step = max(1, AT_ONCE // numbers)
    return [slice(first, first + step) for first in range(0, rows, step)]


def convolve(u: Tensor, kernels: Tensor) -> Tensor:
    """Outputs sum_l kernel_l u_(t - l) of every kernel; (B, K or 1, L), (R, K, at most L) -> (R, B, K, L)."""
    out: Tensor = _Convolution.apply(u, F.pad(kernels, (0, u.shape[-1] - kernels.shape[-1])))  # type: ignore[no-untyped-call]
    return out


def closed_loop_rows(recurrence: Recurrence, b: Tensor, c: Tensor, k: Tensor, horizon: int) -> Tensor:
    """c (A + b k')^h for h < horizon; vectors (K, S) -> (K, horizon, S) in their type."""
    state = b.shape[-1]
    seen, fed_back = (recurrence.sequence(vector)[:, : horizon + state - 1] for vector in (c, k))
    loop = F.pad(-windows_dot(fed_back, b)[:, :-1], (1, 0))  # the delayed feedback
    loop = torch.cat([torch.ones_like(loop[:, :1]), loop[:, 1:]], dim=-1)
    through = F.pad(product(reciprocal(loop, horizon), windows_dot(seen, b), horizon), (1, -1))
    rows, added = (sequence.to(c.dtype).unfold(-1, state, 1) for sequence in (seen, fed_back))  # (K, H, S)
    return rows + convolve(added.permute(2, 0, 1), through.to(c.dtype)[None])[0].permute(1, 2, 0)
