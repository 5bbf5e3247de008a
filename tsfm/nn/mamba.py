"""Mamba block: a gated, input-dependent state-space layer (Gu and Dao 2023, section 3.4 and algorithm 2).

One projection makes a signal and a gate; the signal passes a short causal convolution, from which the step size and
the input and output matrices of the state are read; a selective scan (`tsfm.kernels.selective_scan`) mixes over time.
Names of parameters are those of the authors' checkpoints. A sequence may be read whole (`forward`), in chunks that
hand on a state of constant size (`extend`), or step by step (`step`): all three say the same. The authors leave
`A_log` and `D` out of weight decay.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm import kernels

# B series, N steps, D width, I inner width, S state size, K steps that the convolution sees, R rank of the step size.

SHORTEST, LONGEST, LEAST = 1e-3, 1e-1, 1e-4  # step sizes at the start: drawn between the first two, at least the third


class MambaState(NamedTuple):
    """What a block knows of the past: a constant size, however long that was."""

    conv: Tensor  # (B, I, K) newest inputs of the convolution, the newest last
    ssm: Tensor  # (B, I, S), or (B, heads, I / heads, S) in Mamba-2


def at_least_float32(x: Tensor) -> Tensor:
    """The numbers in float32, or as wide as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def causal_conv(x: Tensor, conv: nn.Conv1d, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """SiLU of a depthwise convolution over a step and the K - 1 before it, and the newest K inputs.

    x (B, N, I); past (B, I, K), zeros where None -> (B, N, I), (B, I, K)
    """
    steps = conv.kernel_size[0]
    signal = x.transpose(1, 2)  # (B, I, N)
    known = F.pad(signal, (steps, 0)) if past is None else torch.cat([past.to(signal), signal], -1)
    made = F.conv1d(known[..., 1:], conv.weight, conv.bias, groups=conv.groups)
    return F.silu(made).transpose(1, 2), known[..., -steps:]


def conv_step(x: Tensor, conv: nn.Conv1d, past: Tensor) -> tuple[Tensor, Tensor]:
    """`causal_conv` of one step: x (B, I), past (B, I, K) -> (B, I), (B, I, K)."""
    newest = torch.cat([past[..., 1:], x[..., None].to(past)], -1)
    made = (newest * conv.weight[:, 0]).sum(-1)
    return F.silu(made if conv.bias is None else made + conv.bias), newest


def step_bias(channels: int) -> Tensor:
    """Inverse softplus of step sizes drawn log-uniformly between `SHORTEST` and `LONGEST`."""
    low, high = math.log(SHORTEST), math.log(LONGEST)
    size = torch.exp(torch.rand(channels) * (high - low) + low).clamp_min(LEAST)
    return size + torch.log(-torch.expm1(-size))


class Mamba(nn.Module):
    """Mamba block, (B, N, D) -> (B, N, D).

    states  state size of a channel        rank       of the step size, a sixteenth of the width where None
    conv    steps the convolution sees     bias       of the projections in and out
    expand  inner width over width         conv_bias  of the convolution
    """

    def __init__(
        self,
        width: int,
        states: int = 16,
        conv: int = 4,
        expand: int = 2,
        rank: int | None = None,
        bias: bool = False,
        conv_bias: bool = True,
    ):
        super().__init__()
        inner, self.states = expand * width, states
        self.rank = math.ceil(width / 16) if rank is None else rank
        self.in_proj = nn.Linear(width, 2 * inner, bias=bias)
        self.conv1d = nn.Conv1d(inner, inner, conv, groups=inner, bias=conv_bias)
        self.x_proj = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(inner, 1))  # (I, S)
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=bias)
        with torch.no_grad():
            self.dt_proj.weight.uniform_(-(self.rank**-0.5), self.rank**-0.5)
            self.dt_proj.bias.copy_(step_bias(inner))

    def forward(self, x: Tensor) -> Tensor:
        """Mix a whole sequence (B, N, D) that nothing came before."""
        return self.extend(x)[0]

    def extend(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Mix the steps (B, N, D) that follow a state, None at the beginning; returns the state after them too."""
        signal, gate = self.in_proj(x).chunk(2, -1)  # (B, N, I) each
        signal, conv = causal_conv(signal, self.conv1d, None if state is None else state.conv)
        delta, into, out_of = self._selected(signal)
        mixed, ssm = kernels.selective_scan(
            signal.transpose(1, 2),
            delta.transpose(1, 2),
            self._rates(),
            into.transpose(1, 2),
            out_of.transpose(1, 2),
            self.D,
            gate.transpose(1, 2),
            self.dt_proj.bias,
            delta_softplus=True,
            initial_state=None if state is None else state.ssm,
        )
        return self.out_proj(mixed.transpose(1, 2)), MambaState(conv, ssm)

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Mix one step (B, D) that follows a state; returns (B, D) and the state after it."""
        signal, gate = self.in_proj(x).chunk(2, -1)
        signal, conv = conv_step(signal, self.conv1d, state.conv)
        delta, into, out_of = self._selected(signal)
        mixed, ssm = kernels.selective_step(
            state.ssm, signal, delta, self._rates(), into, out_of, self.D, gate, self.dt_proj.bias, delta_softplus=True
        )
        return self.out_proj(mixed), MambaState(conv, ssm)

    def first_state(self, series: int) -> MambaState:
        """The state before anything was read."""
        inner, steps = self.D.shape[0], self.conv1d.kernel_size[0]
        return MambaState(self.D.new_zeros(series, inner, steps), self.D.new_zeros(series, inner, self.states))

    def _rates(self) -> Tensor:
        return -torch.exp(at_least_float32(self.A_log))

    def _selected(self, signal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes (..., I) before their bias and softplus, input and output matrices (..., S) of every step."""
        rank, into, out_of = self.x_proj(signal).split([self.rank, self.states, self.states], -1)
        return F.linear(rank, self.dt_proj.weight), into, out_of
