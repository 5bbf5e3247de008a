"""Sequence mixers of the state-space forecaster: what stands where the flagship has attention.

Every one maps the tokens of a series, and the state after those before them, to outputs and the next state: one
parallel pass over many tokens in training, one token at a time in a stream, from the same parameters. A series has at
most 160 tokens, so a recurrence whose decay is one number a head is a masked product over all of them (the dual form of
Dao and Gu 2024), which a processor does faster than a scan.

    "s4d"    diagonal model with constant parameters (Gu et al. 2022)
    "mamba"  selective scan (Gu and Dao 2023)
    "ssd"    Mamba-2: keys and queries shared by all heads, decay and gain from one step (Dao and Gu 2024)
    "gla"    gated linear attention, one decay a head (Yang et al. 2023, Sun et al. 2023)
    "delta"  gated delta rule: what a key held is replaced, not added to (Yang et al. 2024)
    "attention"  the flagship's, the control of comparisons; it has no state and cannot be streamed

Tokens before a series begins are zero at the entrance, and nothing here has a bias that could make them something else:
they leave a state of zeros as it is. Small parameters that act element by element are kept as vectors, so that the
optimiser treats them as such and files keep them in float32.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm import kernels
from tsfm.kernels.diagonal import diagonal_ssm, discretise
from tsfm.nn.attention import CausalAttention, causal_bias
from tsfm.nn.rotary import rotary_angles

if TYPE_CHECKING:
    from tsfm.models.state_space import StateSpaceConfig

# B series, N tokens, D width, I inner width, A heads, V = I / A width of a head, S state size, K taps.

State = tuple[Tensor, ...]  # of one layer; (B, ...) each


def rates(count: int, slowest: float = 1 / 64) -> Tensor:
    """Decay rates a token from 1 to `slowest`, evenly on a logarithmic scale, as softplus takes them; (count,)."""
    return torch.expm1(torch.logspace(0.0, math.log10(slowest), count)).log()


def decays(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """What is left at token i of what came in at j, 0 for j > i, and of the state before; (..., N) logarithms.

    returns (..., N, N), (..., N)
    """
    total = log_decay.cumsum(-1)
    later = torch.ones(total.shape[-1], total.shape[-1], dtype=torch.bool, device=total.device).triu(1)
    between = (total[..., :, None] - total[..., None, :]).masked_fill(later, -torch.inf)
    return between.exp(), total.exp()


def recall(query: Tensor, key: Tensor, value: Tensor, left: Tensor, of_state: Tensor, memory: Tensor | None) -> Tensor:
    """Sum over earlier tokens of (query_i key_j) value_j times what is left, and what the memory holds.

    query, key (B, A or 1, N, S), value (B, A, N, V), left (B, A, N, N), of_state (B, A, N), memory (B, A, S, V)
    """
    scores = (query @ key.transpose(-1, -2)).float() * left
    found: Tensor = scores.to(value.dtype) @ value
    if memory is not None:
        found = found + of_state[..., None] * (query.float() @ memory)
    return found


def memorise(key: Tensor, value: Tensor, left: Tensor, of_state: Tensor, memory: Tensor | None) -> Tensor:
    """The memory after the last token; arguments as in `recall`."""
    with torch.autocast(value.device.type, enabled=False):
        new = (key.float() * left[..., -1, :, None]).transpose(-1, -2) @ value.float()
        return new if memory is None else new + of_state[..., -1, None, None] * memory


def in_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, A * V) -> (B, A, N, V)."""
    apart: Tensor = x.unflatten(-1, (heads, -1))
    return apart.transpose(1, 2)


class ShortConvolution(nn.Module):
    """Causal convolution of every channel over a few tokens, then SiLU."""

    def __init__(self, channels: int, taps: int):
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter((torch.rand(taps * channels) * 2 - 1) * taps**-0.5)

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, N, channels), the last K - 1 inputs before it -> outputs, the last K - 1 inputs."""
        whole = F.pad(x, (0, 0, self.taps - 1, 0)) if before is None else torch.cat([before.to(x.dtype), x], 1)
        weight = self.weight.to(x.dtype).view(self.taps, -1)
        mixed = whole[:, : x.shape[1]] * weight[0]
        for tap in range(1, self.taps):
            mixed = mixed + whole[:, tap : tap + x.shape[1]] * weight[tap]
        return F.silu(mixed), whole[:, x.shape[1] :].float()


class Mixer(nn.Module):
    """What the recurrent ones share: values in, a gate, and an output projection that starts at zero."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__()
        self.heads, self.size, self.inner = config.heads, config.state, config.inner
        self.value = nn.Linear(config.width, config.inner, bias=False)
        self.gate = nn.Linear(config.width, config.inner, bias=False)
        self.out = nn.Linear(config.inner, config.width, bias=False)
        nn.init.zeros_(self.out.weight)


class S4D(Mixer):
    """Every channel through its own linear time-invariant system of complex states, then the gate."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__(config)
        channels, states = config.inner, config.state
        self.log_rate = nn.Parameter(torch.full((channels * states,), math.log(0.5)))
        self.frequency = nn.Parameter((torch.arange(states) * math.pi).repeat(channels))
        self.out_of = nn.Parameter(torch.randn(2 * channels * states) * (2 * states) ** -0.5)
        self.log_step = nn.Parameter(torch.linspace(math.log(0.01), math.log(1.0), channels))
        self.skip = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        u = self.value(x)
        with torch.autocast(x.device.type, enabled=False):
            poles = torch.complex(-self.log_rate.exp(), self.frequency).view(self.inner, -1)
            log_decay, gain = discretise(poles, self.log_step.exp())
            out_of = torch.view_as_complex(self.out_of.view(self.inner, -1, 2))
            before = None if state is None else torch.view_as_complex(state[0])
            y, after = diagonal_ssm(u.float().transpose(1, 2), log_decay, gain, out_of, self.skip, before)
        mixed = F.gelu(y.transpose(1, 2)).to(u.dtype) * F.silu(self.gate(x))
        return self.out(mixed), (torch.view_as_real(after),)


class Mamba(Mixer):
    """Selective scan: step, entrance and exit of every channel's states depend on the token."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__(config)
        self.rank = -(-config.width // 16)
        self.conv = ShortConvolution(config.inner, config.taps)
        self.select = nn.Linear(config.inner, self.rank + 2 * config.state, bias=False)
        self.widen = nn.Linear(self.rank, config.inner, bias=False)
        self.step = nn.Parameter(rates(config.inner, 1e-3))
        self.log_rate = nn.Parameter(torch.arange(1.0, config.state + 1).log().repeat(config.inner))
        self.skip = nn.Parameter(torch.ones(config.inner))

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        before, memory = state or (None, None)
        u, before = self.conv(self.value(x), before)
        low, into, out_of = self.select(u).split((self.rank, self.size, self.size), -1)
        y, memory = kernels.selective_scan(
            u.transpose(1, 2),
            self.widen(low).transpose(1, 2),
            -self.log_rate.exp().view(self.inner, self.size),
            into.transpose(1, 2),
            out_of.transpose(1, 2),
            self.skip,
            self.gate(x).transpose(1, 2),
            self.step,
            True,
            memory,
        )
        return self.out(y.transpose(1, 2)), (before, memory)


class SSD(Mixer):
    """Mamba-2: one decay a head and token; keys and queries are shared by the heads."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__(config)
        self.key = nn.Linear(config.width, config.state, bias=False)
        self.query = nn.Linear(config.width, config.state, bias=False)
        self.conv = ShortConvolution(config.inner + 2 * config.state, config.taps)
        self.to_step = nn.Parameter(torch.randn(config.heads * config.width) * 0.2 * config.width**-0.5)
        self.step = nn.Parameter(rates(config.heads))
        self.log_rate = nn.Parameter(torch.zeros(config.heads))
        self.skip = nn.Parameter(torch.ones(config.heads))
        self.norm = nn.RMSNorm(config.inner, eps=1e-6)

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        before, memory = state or (None, None)
        mixed, before = self.conv(torch.cat([self.value(x), self.key(x), self.query(x)], -1), before)
        value, key, query = mixed.split((self.inner, self.size, self.size), -1)
        step = per_head(x, self.to_step, self.step)  # (B, A, N)
        left, of_state = decays(-self.log_rate.exp()[:, None] * step)
        value = in_heads(value, self.heads)
        driven, key, query = value * step[..., None].to(value.dtype), key[:, None], query[:, None]
        y = recall(query, key, driven, left, of_state, memory) + self.skip[:, None, None] * value
        y = self.norm(y.transpose(1, 2).flatten(2) * F.silu(self.gate(x)))
        return self.out(y.to(x.dtype)), (before, memorise(key, driven, left, of_state, memory))


def per_head(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Softplus of a linear map to one number a head, in float32; (B, N, D) -> (B, A, N)."""
    with torch.autocast(x.device.type, enabled=False):
        return F.softplus(F.linear(x.float(), weight.view(len(bias), -1), bias)).transpose(1, 2)


class GLA(Mixer):
    """Linear attention whose memory fades: every head has its own keys, queries and decay."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__(config)
        self.key = nn.Linear(config.width, config.heads * config.state, bias=False)
        self.query = nn.Linear(config.width, config.heads * config.state, bias=False)
        self.to_step = nn.Parameter(torch.randn(config.heads * config.width) * 0.2 * config.width**-0.5)
        self.step = nn.Parameter(rates(config.heads))
        self.norm = nn.RMSNorm(config.inner // config.heads, eps=1e-6)

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        value, key, query = (in_heads(part(x), self.heads) for part in (self.value, self.key, self.query))
        key = key * self.size**-0.5
        left, of_state = decays(-per_head(x, self.to_step, self.step))
        (memory,) = state or (None,)
        y = self.norm(recall(query, key, value, left, of_state, memory).float())
        y = y.transpose(1, 2).flatten(2).to(x.dtype) * F.silu(self.gate(x))
        return self.out(y), (memorise(key, value, left, of_state, memory),)


class Delta(Mixer):
    """Gated delta rule: a token first takes out what its key recalls, then puts in its value."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__(config)
        keys = config.heads * config.state
        self.key = nn.Linear(config.width, keys, bias=False)
        self.query = nn.Linear(config.width, keys, bias=False)
        self.conv = ShortConvolution(config.inner + 2 * keys, config.taps)
        self.to_step = nn.Parameter(torch.randn(config.heads * config.width) * 0.2 * config.width**-0.5)
        self.step = nn.Parameter(rates(config.heads))
        self.to_share = nn.Parameter(torch.randn(config.heads * config.width) * 0.2 * config.width**-0.5)
        self.norm = nn.RMSNorm(config.inner // config.heads, eps=1e-6)

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        before, memory = state or (None, None)
        mixed, before = self.conv(torch.cat([self.value(x), self.key(x), self.query(x)], -1), before)
        keys = self.heads * self.size
        value, key, query = (in_heads(part, self.heads) for part in mixed.split((self.inner, keys, keys), -1))
        left, of_state = decays(-per_head(x, self.to_step, self.step))
        with torch.autocast(x.device.type, enabled=False):
            key, query = (F.normalize(part.float(), dim=-1, eps=1e-6) for part in (key, query))
            share = torch.sigmoid(F.linear(x.float(), self.to_share.view(self.heads, -1))).transpose(1, 2)[..., None]
            value = value.float()
            if memory is not None:
                value = value - of_state[..., None] * (key @ memory)
            mutual = (share * (key @ key.transpose(-1, -2)) * left).tril(-1)
            replaced = torch.linalg.solve_triangular(
                mutual + torch.eye(x.shape[1], device=x.device), share * value, upper=False, unitriangular=True
            )
            y = self.norm(recall(query, key, replaced, left, of_state, memory))
        y = y.transpose(1, 2).flatten(2).to(x.dtype) * F.silu(self.gate(x))
        return self.out(y), (before, memorise(key, replaced, left, of_state, memory))


class Attention(nn.Module):
    """The flagship's attention behind the same interface."""

    def __init__(self, config: "StateSpaceConfig"):
        super().__init__()
        self.attention = CausalAttention(config.width, config.heads)
        self.rotated = config.width // config.heads // 2

    def forward(self, x: Tensor, present: Tensor, state: State | None) -> tuple[Tensor, State]:
        cos, sin = (part.to(x.device) for part in rotary_angles(x.shape[1], self.rotated))
        return self.attention(x, causal_bias(present), cos, sin), ()


MIXERS: dict[str, type[nn.Module]] = {
    "s4d": S4D,
    "mamba": Mamba,
    "ssd": SSD,
    "gla": GLA,
    "delta": Delta,
    "attention": Attention,
}
