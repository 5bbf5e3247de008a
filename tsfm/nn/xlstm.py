"""Blocks of the xLSTM (Beck et al. 2024): the sLSTM's scalar and the mLSTM's matrix memory, and a stack of both.

Every block runs over a whole sequence (`forward`) or goes on by one step from a state (`step`), to the same outputs.
Their recurrences are `tsfm.nn.slstm` and `tsfm.nn.mlstm`.

Parameters carry the names of the authors' package in the layout of its plain backend. In its sLSTM the module called
`fgate` drives the input gate and `igate` the forget gate, and so do ours. Gains of norms are stored less 1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.nn.mlstm import MLSTMState, mlstm, mlstm_step
from tsfm.nn.slstm import SLSTMState, empty_state, slstm

# B series, N steps, D width, A heads, W channels of a head, I inner width.

TAPS = 4  # of the causal convolution
BLOCK = 4  # channels that the mLSTM's queries, keys and values mix
NORM_EPS = 1e-5


class LayerState(NamedTuple):
    """Inputs that the convolution still sees (B, TAPS - 1, D), and the cell's state."""

    recent: Tensor
    cell: MLSTMState | SLSTMState


class Norm(nn.Module):
    """Layer norm over heads of channels, each by itself, with a gain and no bias."""

    def __init__(self, width: int, heads: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        split = x.unflatten(-1, (self.heads, -1))
        normed = F.layer_norm(split, split.shape[-1:], eps=NORM_EPS)
        return normed.flatten(-2) * (1 + self.weight)


class Headwise(nn.Module):
    """A linear map of every head's channels by itself."""

    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        size = width // heads
        self.weight = nn.Parameter(torch.randn(heads, size, size) * math.sqrt(2 / (5 * size)))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        heads, size, _ = self.weight.shape
        mapped: Tensor = torch.einsum("...hi,hoi->...ho", x.unflatten(-1, (heads, size)), self.weight).flatten(-2)
        return mapped if self.bias is None else mapped + self.bias


class CausalConvolution(nn.Module):
    """Every channel's own filter of the last steps, then SiLU.

    A sum over the taps takes half the time of a depthwise `nn.Conv1d` and its way back, of a few steps on a CPU.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv1d(width, width, TAPS, groups=width)

    def forward(self, x: Tensor, recent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, N, D), recent (B, TAPS - 1, D) or None for zeros -> (B, N, D), and what is recent then."""
        steps = F.pad(x, (0, 0, TAPS - 1, 0)) if recent is None else torch.cat([recent, x], dim=1)
        assert self.conv.bias is not None
        total, count = self.conv.bias, x.shape[1]
        for tap, weight in enumerate(self.conv.weight.unbind(-1)):  # (D, 1) each
            total = torch.addcmul(total, steps[:, tap : tap + count], weight[:, 0])
        return F.silu(total), steps[:, count:]


class MLSTMCell(nn.Module):
    """Gates from queries, keys and values, the matrix memory, and a norm of every head."""

    def __init__(self, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.igate, self.fgate = nn.Linear(3 * inner, heads), nn.Linear(3 * inner, heads)
        self.outnorm = Norm(inner, heads)
        nn.init.zeros_(self.igate.weight)
        nn.init.zeros_(self.fgate.weight)
        nn.init.normal_(self.igate.bias, std=0.1)
        with torch.no_grad():
            self.fgate.bias.copy_(torch.linspace(3, 6, heads))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, state: MLSTMState | None
    ) -> tuple[Tensor, MLSTMState | None]:
        """(B, N, I) three times, N = 1 where there is a state -> (B, N, I), and the next state where there was one."""
        both = torch.cat([query, key, value], dim=-1)
        gates = self.igate(both).mT, self.fgate(both).mT  # (B, A, N)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        if state is None:
            read = mlstm(q, k, v, *gates)
        else:
            take, keep = (gate[:, :, 0] for gate in gates)
            read, state = mlstm_step(q[:, :, 0], k[:, :, 0], v[:, :, 0], take, keep, state)
            read = read[:, :, None]
        return self.outnorm(read.transpose(1, 2).flatten(2)), state


class MLSTM(nn.Module):
    """The mLSTM's layer: up to an inner width, convolution, cell, a gate beside it, and down again."""

    def __init__(self, width: int, heads: int, depth: int):
        super().__init__()
        inner = math.ceil(2 * width / 64) * 64
        self.proj_up = nn.Linear(width, 2 * inner)
        self.q_proj, self.k_proj, self.v_proj = (Headwise(inner, inner // BLOCK, bias=True) for _ in range(3))
        self.conv1d = CausalConvolution(inner)
        self.mlstm_cell = MLSTMCell(inner, heads)
        self.learnable_skip = nn.Parameter(torch.ones(inner))
        self.proj_down = nn.Linear(inner, width)
        draw_linear(self.proj_up, math.sqrt(2 / (5 * width)))
        draw_linear(self.proj_down, 2 / depth / math.sqrt(width))

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState | None]:
        """(B, N, D), N = 1 where there is a state -> (B, N, D), and the next state where there was one."""
        into, beside = self.proj_up(x).chunk(2, -1)
        smooth, recent = self.conv1d(into, None if state is None else state.recent)
        before = None if state is None else state.cell
        assert not isinstance(before, SLSTMState)
        read, cell = self.mlstm_cell(self.q_proj(smooth), self.k_proj(smooth), self.v_proj(into), before)
        out = self.proj_down((read + self.learnable_skip * smooth) * F.silu(beside))
        return out, None if cell is None else LayerState(recent, cell)

    def empty(self, series: int) -> LayerState:
        """The state before any step."""
        inner, heads = len(self.learnable_skip), self.mlstm_cell.heads
        memory = self.learnable_skip.new_zeros(series, heads, inner // heads, inner // heads)
        cell = MLSTMState(memory, memory[..., 0], torch.full_like(memory[..., 0, 0], -torch.inf))
        return LayerState(memory.new_zeros(series, TAPS - 1, inner), cell)


class SLSTMCell(nn.Module):
    """Recurrent weights and biases of the four gates, gate after gate in the rows of every head."""

    def __init__(self, width: int, heads: int, place: float):
        super().__init__()
        size = width // heads
        self._recurrent_kernel_ = nn.Parameter(torch.zeros(heads, 4 * size, size))
        bias = torch.zeros(4, heads, size)
        # The forget gates of a head reach from long memories to short ones, more of them long in later blocks.
        bias[1] = 5 - 12 * torch.linspace(0, 1, size) ** (0.3 + 1.3 * place)
        self._bias_ = nn.Parameter(bias.flatten())

    def forward(self, gates: Tensor, state: SLSTMState | None = None) -> tuple[Tensor, SLSTMState]:
        """Gates (B, N, 4 D) before activation, gate after gate -> outputs (B, A, N, W), and the last state."""
        heads, size = self._recurrent_kernel_.shape[0], self._recurrent_kernel_.shape[2]
        parts = (gates + self._bias_).unflatten(-1, (4, heads, size)).permute(1, 3, 0, 2, 4)  # (N, A, B, 4, W)
        flat = parts.flatten(-2)
        state = empty_state(flat[0, ..., :size]) if state is None else state
        y, last = slstm(flat, self._recurrent_kernel_, state)
        return y.permute(2, 1, 0, 3), last


class SLSTM(nn.Module):
    """The sLSTM's layer: convolution for the input and forget gates, the cell, and a norm of every head."""

    def __init__(self, width: int, heads: int, place: float):
        super().__init__()
        self.conv1d = CausalConvolution(width)
        self.fgate, self.igate, self.zgate, self.ogate = (Headwise(width, heads, bias=False) for _ in range(4))
        self.slstm_cell = SLSTMCell(width, heads, place)
        self.group_norm = Norm(width, heads)

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """(B, N, D) -> (B, N, D), and the state after it."""
        smooth, recent = self.conv1d(x, None if state is None else state.recent)
        gates = torch.cat([self.fgate(smooth), self.igate(smooth), self.zgate(x), self.ogate(x)], dim=-1)
        before = None if state is None else state.cell
        assert not isinstance(before, MLSTMState)
        y, cell = self.slstm_cell(gates, before)
        return self.group_norm(y.transpose(1, 2).flatten(2)), LayerState(recent, cell)

    def empty(self, series: int) -> LayerState:
        """The state before any step."""
        kernel = self.slstm_cell._recurrent_kernel_
        recent = kernel.new_zeros(series, TAPS - 1, kernel.shape[0] * kernel.shape[2])
        return LayerState(recent, empty_state(kernel.new_zeros(kernel.shape[0], series, kernel.shape[2])))


class FeedForward(nn.Module):
    """A GELU-gated MLP."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        inner = math.ceil(1.3 * width / 64) * 64
        self.proj_up = nn.Linear(width, 2 * inner, bias=False)
        self.proj_down = nn.Linear(inner, width, bias=False)
        draw_linear(self.proj_up, math.sqrt(2 / (5 * width)))
        draw_linear(self.proj_down, 2 / depth / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        gate, value = self.proj_up(x).chunk(2, -1)
        out: Tensor = self.proj_down(F.gelu(gate) * value)
        return out


def draw_linear(linear: nn.Linear, std: float) -> None:
    """Draw a linear map anew; its bias begins at zero."""
    nn.init.normal_(linear.weight, std=std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


class Block(nn.Module):
    """A layer on the normed stream, added to it; after an sLSTM's also a feed-forward layer."""

    def __init__(self, kind: str, width: int, heads: int, number: int, depth: int):
        super().__init__()
        place = number / max(1, depth - 1)
        self.xlstm_norm = Norm(width)
        self.xlstm = MLSTM(width, heads, depth) if kind == "mlstm" else SLSTM(width, heads, place)
        self.ffn_norm = None if kind == "mlstm" else Norm(width)
        self.ffn = None if kind == "mlstm" else FeedForward(width, depth)

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState | None]:
        """(B, N, D), N = 1 where there is a state -> (B, N, D), and the next state where there was one."""
        added, after = self.xlstm(self.xlstm_norm(x), state)
        x = x + added
        return x if self.ffn is None or self.ffn_norm is None else x + self.ffn(self.ffn_norm(x)), after


class XLSTMStack(nn.Module):
    """Blocks of the kinds asked, "slstm" or "mlstm", and a norm."""

    def __init__(self, kinds: Sequence[str], width: int, heads: dict[str, int]):
        super().__init__()
        depth = len(kinds)
        self.blocks = nn.ModuleList(Block(kind, width, heads[kind], at, depth) for at, kind in enumerate(kinds))
        self.post_blocks_norm = Norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence; (B, N, D) -> (B, N, D)."""
        for block in self.blocks:
            x, _ = block(x)
        normed: Tensor = self.post_blocks_norm(x)
        return normed

    def empty(self, series: int) -> list[LayerState]:
        """The states before any step."""
        return [cast(Block, block).xlstm.empty(series) for block in self.blocks]

    def step(self, x: Tensor, states: list[LayerState]) -> tuple[Tensor, list[LayerState]]:
        """One more step of the sequence; (B, D) -> (B, D), and the states after it."""
        x, after = x[:, None], []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block(x, state)
            after.append(state)
        return self.post_blocks_norm(x)[:, 0], after
