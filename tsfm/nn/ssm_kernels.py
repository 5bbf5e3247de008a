"""Parameters of linear state-space models, a module a kind: diagonal (S4D), diagonal plus low rank (S4), dense (LSSL).

Each gives the same four things from the same parameters: the convolution kernel, what a given state adds to the
outputs, the state after a run, and a recurrence that takes one step at a time. The names and layouts of the parameters
are those of the published checkpoints: `inv_dt` is the logarithm of the step, `A_real` that of -Re A, `A_imag` is
-Im A, and complex numbers are a last axis of two. Sources: Gu et al. 2022 (S4D), Gu, Goel and Re 2022 (S4), Gu et al.
2021 (LSSL). The size `state` counts real states, so half as many complex numbers are stored.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tsfm.errors import DataError
from tsfm.kernels import dense, diagonal, dplr
from tsfm.nn import hippo

# B series, L steps, W features (one model each), R kernels a feature, n = state / 2 complex states, G models shared.

# One step: u (B, W) and the state -> y (B, R, W) and the next state.
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def log_uniform(width: int, limits: tuple[float, float]) -> Tensor:
    """Logarithms (W, 1) of steps drawn log-uniformly between two limits."""
    low, high = map(math.log, limits)
    return torch.rand(width, 1) * (high - low) + low


def as_complex(pairs: Tensor) -> Tensor:
    """Complex numbers (...) of a real parameter (..., 2)."""
    return torch.view_as_complex(pairs)


def as_pairs(numbers: Tensor) -> nn.Parameter:
    """A real parameter (..., 2) of complex numbers (...)."""
    return nn.Parameter(torch.view_as_real(numbers.to(torch.complex64)).contiguous())


class DiagonalKernel(nn.Module):
    """S4D: every feature a diagonal model, or several features of different C sharing one of `copies`."""

    slow = ("inv_dt", "A_real", "A_imag", "B")

    def __init__(
        self,
        width: int,
        state: int = 64,
        channels: int = 1,
        init: hippo.Init = "lin",
        method: str = "zoh",
        copies: int | None = None,
        step_limits: tuple[float, float] = (1e-3, 1e-1),
    ):
        super().__init__()
        self.method, self.width = method, width
        copies = width if copies is None else copies
        if width % copies:
            raise DataError(f"copies={copies} does not divide the {width} features; pass a divisor")
        A, B = (one.repeat(copies, 1) for one in hippo.diagonal(init, state))
        self.inv_dt = nn.Parameter(log_uniform(width, step_limits))
        self.A_real = nn.Parameter((-A.real).log().float())
        self.A_imag = nn.Parameter(-A.imag.float())
        self.B = as_pairs(B[None])
        self.C = as_pairs(torch.randn(channels, width, state // 2, dtype=torch.complex64))

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithm of the decay and input weight of a step (W, n), and C (R, W, n)."""
        log_decay, gain = diagonal.discretise(self._shared(self._poles()), self.inv_dt[:, 0].exp(), self.method)
        return log_decay, gain * self._shared(as_complex(self.B)[0]), as_complex(self.C)

    def _poles(self) -> Tensor:
        return torch.complex(-self.A_real.exp(), -self.A_imag)  # (G, n)

    def _shared(self, models: Tensor) -> Tensor:
        return models.repeat(self.width // len(models), 1)  # (G, n) -> (W, n)

    def forward(self, length: int) -> Tensor:
        """Convolution kernel (R, W, L)."""
        log_decay, into, C = self.system()
        return diagonal.s4d_kernel(log_decay, into * C, length)

    def state_kernel(self, state: Tensor, length: int) -> Tensor:
        """What a state (B, W, n) adds to the next `length` outputs, (B, R, W, L)."""
        log_decay, _, C = self.system()
        return diagonal.s4d_kernel(log_decay, state[:, None] * C * log_decay.exp(), length)

    def last_state(self, u: Tensor, state: Tensor) -> Tensor:
        """State (B, W, n) after the inputs u (B, W, L) from a state."""
        log_decay, into, _ = self.system()
        return diagonal.last_state(u, log_decay, into, state)

    def empty_state(self, series: int) -> Tensor:
        """The state (B, W, n) before anything is seen."""
        return torch.zeros(series, *self.C.shape[1:-1], dtype=as_complex(self.C).dtype, device=self.C.device)

    def recurrence(self) -> Step:
        """What takes one step, with everything that stays the same computed once."""
        log_decay, into, C = self.system()
        decay = log_decay.exp()

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            state = decay * state + into * u[..., None]
            return 2 * torch.einsum("rwn,bwn->brw", C, state).real, state

        return step


class DplrKernel(nn.Module):
    """S4: the LegS model in its diagonal plus low-rank form, bilinear. `C` holds C~ for kernels of `l_kernel` steps."""

    slow = ("inv_dt", "A_real", "A_imag", "B", "P")
    l_kernel: Tensor

    def __init__(
        self,
        width: int,
        state: int = 64,
        channels: int = 1,
        length: int = 1024,
        step_limits: tuple[float, float] = (1e-3, 1e-1),
    ):
        super().__init__()
        start = hippo.nplr(state, hippo.LARGEST_INPUT)
        poles, P, B = (one.repeat(width, 1) for one in (start.W, start.P[0], start.B))
        self.inv_dt = nn.Parameter(log_uniform(width, step_limits))
        self.A_real = nn.Parameter((-poles.real).log().float())
        self.A_imag = nn.Parameter(-poles.imag.float())
        self.P = as_pairs(P[None])
        self.B = as_pairs(B[None])
        self.C = as_pairs(torch.randn(channels, width, state // 2, dtype=torch.complex64))
        self.register_buffer("l_kernel", torch.tensor(length))
        with torch.no_grad():
            self.C.copy_(torch.view_as_real(self.prepared(as_complex(self.C), length)))

    def system(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Poles, P and B (W, n) in continuous time, and the step (W,)."""
        poles = torch.complex(-self.A_real.exp(), -self.A_imag)
        return poles, as_complex(self.P)[0], as_complex(self.B)[0], self.inv_dt[:, 0].exp()

    def prepared(self, C: Tensor, length: int) -> Tensor:
        """C~ (R, W, n) of a C, for kernels of `length` steps."""
        return dplr.truncated(C, dplr.dplr_dense(*self.system())[0], length)

    def output(self) -> Tensor:
        """C (R, W, n) itself, as the recurrence reads it."""
        return dplr.truncated(as_complex(self.C), dplr.dplr_dense(*self.system())[0], int(self.l_kernel), back=True)

    def _kernel(self, B: Tensor, length: int) -> Tensor:
        """Kernel (..., R, W, L) of other inputs B (..., W, n)."""
        poles, P, _, step = self.system()
        held, C = int(self.l_kernel), as_complex(self.C)
        if length > held:
            C, held = self.prepared(self.output(), length), length
        return dplr.dplr_kernel(poles, P, B, C, step, held)[..., :length]

    def forward(self, length: int) -> Tensor:
        """Convolution kernel (R, W, L); more steps than `l_kernel` cost a dense product a feature."""
        return self._kernel(self.system()[2], length)

    def state_kernel(self, state: Tensor, length: int) -> Tensor:
        """What a state (B, W, n) adds to the next `length` outputs, (B, R, W, L)."""
        poles, P, _, step = self.system()
        return self._kernel(state / step[:, None] + dplr.dplr_apply(poles, P, state) / 2, length)

    def last_state(self, u: Tensor, state: Tensor) -> Tensor:
        """State (B, W, n) after the inputs u (B, W, L) from a state."""
        decay, into = dplr.dplr_dense(*self.system())
        last = dense.last_state(u, decay, into, torch.cat([state, state.conj()], -1))
        return last[..., : state.shape[-1]].to(state)

    def empty_state(self, series: int) -> Tensor:
        """The state (B, W, n) before anything is seen."""
        return torch.zeros(series, *self.C.shape[1:-1], dtype=as_complex(self.C).dtype, device=self.C.device)

    def recurrence(self) -> Step:
        """What takes one step, in a time that is linear in the states."""
        poles, P, B, step_size = self.system()
        C, shift = self.output(), 2 / step_size

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            driven = shift[:, None] * state + dplr.dplr_apply(poles, P, state) + 2 * B * u[..., None]
            state = dplr.dplr_solve(poles, P, shift, driven)
            return 2 * torch.einsum("rwn,bwn->brw", C, state).real, state

        return step


class DenseKernel(nn.Module):
    """LSSL: all features share a dense real A and B, each with its own step and C; bilinear."""

    slow = ("inv_dt", "A", "B")

    def __init__(
        self,
        width: int,
        state: int = 64,
        channels: int = 1,
        measure: hippo.Measure = "legs",
        step_limits: tuple[float, float] = (1e-3, 1e-1),
    ):
        super().__init__()
        A, B = hippo.hippo(measure, state)
        self.inv_dt = nn.Parameter(log_uniform(width, step_limits))
        self.A = nn.Parameter(A.float())
        self.B = nn.Parameter(B.float())
        self.C = nn.Parameter(torch.randn(channels, width, state))

    def system(self) -> tuple[Tensor, Tensor]:
        """dA (W, N, N) and dB (W, N)."""
        return dense.bilinear(self.A, self.B, self.inv_dt[:, 0].exp())

    def forward(self, length: int) -> Tensor:
        """Convolution kernel (R, W, L)."""
        return torch.einsum("rwn,wnl->rwl", self.C, dense.krylov(*self.system(), length))

    def state_kernel(self, state: Tensor, length: int) -> Tensor:
        """What a state (B, W, N) adds to the next `length` outputs, (B, R, W, L)."""
        decay = self.system()[0]
        after = torch.einsum("wnm,bwm->bwn", decay, state)
        return torch.einsum("rwn,bwnl->brwl", self.C, dense.krylov(decay, after, length))

    def last_state(self, u: Tensor, state: Tensor) -> Tensor:
        """State (B, W, N) after the inputs u (B, W, L) from a state."""
        return dense.last_state(u, *self.system(), state)

    def empty_state(self, series: int) -> Tensor:
        """The state (B, W, N) before anything is seen."""
        return self.C.new_zeros(series, *self.C.shape[1:])

    def recurrence(self) -> Step:
        """What takes one step."""
        decay, into = self.system()

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.einsum("wnm,bwm->bwn", decay, state) + into * u[..., None]
            return torch.einsum("rwn,bwn->brw", self.C, state), state

        return step
