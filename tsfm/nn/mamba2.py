"""Mamba-2 block: state-space duality in chunks of matrix products, in plain torch (Dao and Gu 2024, section 6).

Every head has one decay a step, so a chunk of steps is a product with a lower triangular matrix of decays, and only the
state after each chunk is passed on in sequence. The length of a chunk changes the time taken and the memory, not the
result: 64 is the default here (256 in the authors' GPU kernels), because the triangle costs as much as its area. Names
of parameters are those of the authors' checkpoints; `extend` and `step` are as in `tsfm/nn/mamba.py`. The authors leave
`A_log`, `D` and `dt_bias` out of weight decay.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.nn.mamba import Mamba, MambaState, at_least_float32, causal_conv, conv_step, step_bias

# B series, N steps, D width, H heads, P channels of a head, G groups of heads that share matrices, R = H / G,
# S state size, I = H * P channels with a state, M chunks, T steps of a chunk, K steps that the convolution sees.

EPS = 1e-5


def decays_between(log_decay: Tensor) -> Tensor:
    """Logarithm of what is left at step i of what entered at step j, -inf where i < j; (..., T) -> (..., T, T).

    Sums over (j, i] and not differences of sums from the start: those lose small decays behind a large one.
    """
    steps = log_decay.shape[-1]
    below = torch.ones(steps, steps, dtype=torch.bool, device=log_decay.device).tril(-1)
    sums = torch.where(below, log_decay[..., None], 0.0).cumsum(-2)
    return sums.masked_fill(~(below | torch.eye(steps, dtype=torch.bool, device=below.device)), -torch.inf)


def chunked(values: Tensor, chunk: int, groups: int) -> Tensor:
    """Steps (B, N, H, ...) as (B, M, G, R, T, ...), zeros behind the last."""
    missing = -values.shape[1] % chunk
    whole = F.pad(values, (0, 0) * (values.ndim - 2) + (0, missing))
    apart: Tensor = whole.unflatten(2, (groups, -1)).unflatten(1, (-1, chunk)).movedim(2, 4)
    return apart


def ssd(
    x: Tensor, log_decay: Tensor, into: Tensor, out_of: Tensor, state: Tensor | None = None, chunk: int = 64
) -> tuple[Tensor, Tensor]:
    """Outputs (B, N, H, P) and last state of h_t = exp(log_decay_t) h_(t-1) + x_t into_t', y_t = h_t out_of_t.

    x             (B, N, H, P)  times the step size
    log_decay     (B, N, H)     step size times rate, at most 0
    into, out_of  (B, N, G, S)  of G consecutive blocks of heads
    state         (B, H, P, S)  before the first step, zeros where None
    """
    length, groups = x.shape[1], into.shape[2]
    chunk = max(1, min(chunk, length))
    x, log_decay = chunked(x, chunk, groups), chunked(log_decay, chunk, groups)  # (B, M, G, R, T, P), (B, M, G, R, T)
    into, out_of = chunked(into, chunk, groups), chunked(out_of, chunk, groups)  # (B, M, G, 1, T, S)
    left = decays_between(log_decay).exp()  # (B, M, G, R, T, T)
    here = (out_of @ into.mT * left) @ x
    made = (x * left[..., -1, :, None]).mT @ into  # (B, M, G, R, P, S), by every chunk alone
    since_start = log_decay.cumsum(-1).exp()
    now = torch.zeros_like(made[:, 0]) if state is None else state.to(made).unflatten(1, (groups, -1))
    before = []
    for own, kept in zip(made.unbind(1), since_start[..., -1, None, None].unbind(1), strict=True):
        before.append(now)
        now = kept * now + own
    earlier = out_of @ torch.stack(before, 1).mT * since_start[..., None] if before else here
    outputs = (here + earlier).movedim(4, 2).flatten(1, 2).flatten(2, 3)[:, :length]
    return outputs, now.flatten(1, 2)


class GatedNorm(nn.Module):
    """RMS normalisation of a gated signal within each of several groups of channels."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        gated = (at_least_float32(x) * F.silu(at_least_float32(gate))).unflatten(-1, (self.groups, -1))
        return (F.rms_norm(gated, gated.shape[-1:], eps=EPS).flatten(-2) * self.weight).to(x)


class Mamba2(nn.Module):
    """Mamba-2 block, (B, N, D) -> (B, N, D).

    states        state size                          ssm_width         channels with a state; others are a gated MLP
    conv          steps the convolution sees          skip_per_channel  one skip weight a channel, not a head
    expand        inner width over width              gated_norm        normalise behind the gate
    head_width    channels of a head                  norm_groups       of the statistics, as `groups` where None
    groups        of heads that share matrices        chunk             steps made by one product
    """

    def __init__(
        self,
        width: int,
        states: int = 128,
        conv: int = 4,
        expand: int = 2,
        head_width: int = 64,
        groups: int = 1,
        ssm_width: int | None = None,
        skip_per_channel: bool = False,
        gated_norm: bool = True,
        norm_groups: int | None = None,
        bias: bool = False,
        conv_bias: bool = True,
        chunk: int = 64,
    ):
        super().__init__()
        inner = expand * width
        self.ssm_width = inner if ssm_width is None else ssm_width
        self.mlp_width = inner - self.ssm_width
        self.states, self.groups, self.chunk = states, groups, chunk
        self.heads, self.head_width = self.ssm_width // head_width, head_width
        mixed = self.ssm_width + 2 * groups * states
        self.in_proj = nn.Linear(width, 2 * self.mlp_width + self.ssm_width + mixed + self.heads, bias=bias)
        self.conv1d = nn.Conv1d(mixed, mixed, conv, groups=mixed, bias=conv_bias)
        self.dt_bias = nn.Parameter(step_bias(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.ssm_width if skip_per_channel else self.heads))
        self.norm = GatedNorm(self.ssm_width, norm_groups or groups) if gated_norm else None
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mix a whole sequence (B, N, D) that nothing came before."""
        return self.extend(x)[0]

    def extend(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Mix the steps (B, N, D) that follow a state, None at the beginning; returns the state after them too."""
        *mlp, gate, mixed, delta = self._projected(x)
        mixed, conv = causal_conv(mixed, self.conv1d, None if state is None else state.conv)
        values, into, out_of, size, log_decay = self._selected(mixed, delta)
        past = None if state is None else state.ssm
        made, ssm = ssd(values * size[..., None], log_decay, into, out_of, past, self.chunk)
        return self._joined(made, values, gate, mlp), MambaState(conv, ssm)

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Mix one step (B, D) that follows a state; returns (B, D) and the state after it."""
        *mlp, gate, mixed, delta = self._projected(x)
        mixed, conv = conv_step(mixed, self.conv1d, state.conv)
        values, into, out_of, size, log_decay = self._selected(mixed, delta)
        into, out_of = (part.repeat_interleave(self.heads // self.groups, 1) for part in (into, out_of))  # (B, H, S)
        driven = (values * size[..., None])[..., None] * into[..., None, :]  # (B, H, P, S)
        ssm = log_decay.exp()[..., None, None] * state.ssm + driven
        made = (ssm @ out_of[..., None]).squeeze(-1)
        return self._joined(made, values, gate, mlp), MambaState(conv, ssm)

    def first_state(self, series: int) -> MambaState:
        """The state before anything was read."""
        new = self.A_log.new_zeros
        conv = new(series, self.conv1d.in_channels, self.conv1d.kernel_size[0])
        return MambaState(conv, new(series, self.heads, self.head_width, self.states))

    def _projected(self, x: Tensor) -> tuple[Tensor, ...]:
        """Gate and values of the MLP, gate, input of the convolution, and step size of every head."""
        mlp, ssm = self.mlp_width, self.ssm_width
        parts: tuple[Tensor, ...] = self.in_proj(x).split([mlp, mlp, ssm, self.conv1d.in_channels, self.heads], -1)
        return parts

    def _selected(self, mixed: Tensor, delta: Tensor) -> tuple[Tensor, ...]:
        """Values (..., H, P), input and output matrices (..., G, S), step size and log decay (..., H), in float32."""
        shared = self.groups * self.states
        values, into, out_of = at_least_float32(mixed).split([self.ssm_width, shared, shared], -1)
        size = F.softplus(at_least_float32(delta) + self.dt_bias)
        into, out_of = (part.unflatten(-1, (self.groups, -1)) for part in (into, out_of))
        return values.unflatten(-1, (self.heads, -1)), into, out_of, size, -at_least_float32(self.A_log).exp() * size

    def _joined(self, made: Tensor, values: Tensor, gate: Tensor, mlp: Sequence[Tensor]) -> Tensor:
        """The way out: skip, gate, MLP and projection; made and values (..., H, P)."""
        skipped = made + self.D.view(self.heads, -1) * values
        y = skipped.flatten(-2).to(gate)
        y = y * F.silu(gate) if self.norm is None else self.norm(y, gate)
        joined: Tensor = self.out_proj(torch.cat([F.silu(mlp[0]) * mlp[1], y], -1))
        return joined


class Layer(nn.Module):
    """x + mixer(norm(x)) of one mixer of a stack."""

    def __init__(self, width: int, mixer: Mamba | Mamba2):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.mixer = mixer

    def forward(self, x: Tensor, state: MambaState | None) -> tuple[Tensor, MambaState]:
        made, after = self.mixer.extend(self.norm(x), state)
        return x + made, after

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        made, after = self.mixer.step(self.norm(x), state)
        return x + made, after


class MambaStack(nn.Module):
    """Mamba or Mamba-2 blocks as residuals, each behind a norm, and a norm at the end: (B, N, D) -> (B, N, D).

    At the start each block's way out is smaller by the root of the depth, as in the authors' language models.
    """

    def __init__(self, width: int, mixers: Sequence[Mamba | Mamba2]):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, mixer) for mixer in mixers)
        self.norm_f = nn.RMSNorm(width, eps=EPS)
        with torch.no_grad():
            for mixer in mixers:
                mixer.out_proj.weight /= max(1, len(mixers)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Mix a whole sequence (B, N, D) that nothing came before."""
        return self.extend(x)[0]

    def extend(self, x: Tensor, states: Sequence[MambaState] | None = None) -> tuple[Tensor, list[MambaState]]:
        """Mix the steps (B, N, D) that follow the states of the layers, none at the beginning."""
        after = []
        for number, layer in enumerate(self._layers()):
            x, state = layer(x, None if states is None else states[number])
            after.append(state)
        return self.norm_f(x), after

    def step(self, x: Tensor, states: Sequence[MambaState]) -> tuple[Tensor, list[MambaState]]:
        """Mix one step (B, D) that follows the states of the layers."""
        after = []
        for layer, before in zip(self._layers(), states, strict=True):
            x, state = layer.step(x, before)
            after.append(state)
        return self.norm_f(x), after

    def first_state(self, series: int) -> list[MambaState]:
        """The states before anything was read."""
        return [layer.mixer.first_state(series) for layer in self._layers()]

    def _layers(self) -> Iterator[Layer]:
        for layer in self.layers:
            assert isinstance(layer, Layer)
            yield layer
