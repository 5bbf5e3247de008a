"""The diagonal state-space model S4D (Gu et al. 2022): its convolution kernel, and the model run by convolution.

The parameters are constant in time, so the model is a convolution with K[l] = 2 Re sum_n weight_n exp(l log_decay_n).
With l = b i + j the sum is one real matrix product of exp(b i log_decay) and exp(j log_decay), about 2 sqrt(L)
exponentials a state instead of L: 13 ms for 200 at 256 channels, 32 states and 512 steps, 50 ms for 1850 at 4096 steps
(one core). The convolution of 16 series takes 26 and 308 ms, and the way back through both 104 and 1136 ms, of which
the convolution alone is 73 and 1006. So there is no Triton kernel for K: it would win a small part of the layer.
"""

import torch
from torch import Tensor

from tsfm.errors import DataError

# S series, L steps, W channels, N states a channel, each standing for itself and its conjugate.


def discretise(A: Tensor, step: Tensor, method: str = "zoh") -> tuple[Tensor, Tensor]:
    """Logarithm of the decay a step, and what multiplies the input matrix, of x' = A x + B u sampled every `step`.

    A (W, N) complex, step (W,) -> log_decay (W, N), gain (W, N); `method` is "zoh" or "bilinear"
    """
    scaled = A * step[:, None]
    if method == "zoh":
        return scaled, torch.expm1(scaled) / A
    if method == "bilinear":
        return torch.log((1 + scaled / 2) / (1 - scaled / 2)), step[:, None] / (1 - scaled / 2)
    raise DataError(f"method={method!r} is not known; pass 'zoh' or 'bilinear'")


def s4d_kernel(log_decay: Tensor, weight: Tensor, length: int) -> Tensor:
    """Convolution kernel 2 Re sum_n weight_n exp(l log_decay_n), l = 0 .. length - 1.

    The phase l Im(log_decay) is formed in float64, since float32 would lose it over long kernels.

    log_decay (W, N) complex, as `discretise` gives it; weight (..., W, N) complex, C B gain -> (..., W, length)
    """
    block = 1 << (max(1, length).bit_length() // 2)  # about the root of the length
    count = (length + block - 1) // block
    near = powers(log_decay, torch.arange(block, device=log_decay.device))  # (W, N, block)
    far = powers(log_decay, block * torch.arange(count, device=log_decay.device))  # (W, N, count)
    heads = weight[..., None] * far
    left = torch.cat([heads.real, -heads.imag], dim=-2).transpose(-1, -2)  # (..., W, count, 2N)
    with torch.autocast(left.device.type, enabled=False):
        kernel = torch.matmul(left, torch.cat([near.real, near.imag], dim=-2))  # (..., W, count, block)
    return 2 * kernel.flatten(-2)[..., :length]


def powers(log_decay: Tensor, exponents: Tensor) -> Tensor:
    """Decay to the power of every exponent, (W, N) and (T,) -> (W, N, T), in the type of log_decay."""
    return torch.exp(log_decay[..., None].to(torch.complex128) * exponents).to(log_decay.dtype)


def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """Outputs y_t = sum_l kernel[l] u_(t-l) by a zero-padded Fourier transform; (S, W, L), (W, L) -> (S, W, L)."""
    length = u.shape[-1]
    if length == 0:
        return u.clone()
    size = 2 * length
    out: Tensor = torch.fft.irfft(torch.fft.rfft(u, n=size) * torch.fft.rfft(kernel, n=size), n=size)
    return out[..., :length]


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
    length = u.shape[-1]
    out = causal_convolution(u, s4d_kernel(log_decay, into * out_of, length))
    if initial_state is not None:
        out = out + s4d_kernel(log_decay, initial_state * out_of * torch.exp(log_decay), length)
    last = last_state(u, log_decay, into, initial_state)
    return out if skip is None else out + skip[:, None] * u, last


def last_state(u: Tensor, log_decay: Tensor, into: Tensor, initial_state: Tensor | None = None) -> Tensor:
    """State (S, W, N) after the inputs u (S, W, L); the other axes are those of `diagonal_ssm`."""
    length = u.shape[-1]
    passed = powers(log_decay, torch.arange(length, device=u.device))  # (W, N, L)
    last = torch.einsum("swl,wnl->swn", u.to(passed), passed.flip(-1)) * into
    if initial_state is None:
        return last
    return last + initial_state * powers(log_decay, torch.tensor([length], device=u.device))[..., 0]
