"""Layers of SpaceTime: fixed differences and moving averages, companion state spaces, and the closed loop.

Everything runs over the last axis, so channels come before steps. A channel axis of length 1 stands for channels that
are all alike, as the repeated input is. Parameters carry the names of the published checkpoints, but for those that
the authors keep and never use (see `read_tensors` in `spacetime.py`).
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.nn.companion import Recurrence, closed_loop_rows, convolve

if TYPE_CHECKING:
    from tsfm.models.spacetime import SpaceTimeConfig

# B series, D width, C context steps, H horizon, K kernels, S state size.

DIFFERENCES = ((1.0, 0, 0, 0), (1.0, -1, 0, 0), (1.0, -2, 1, 0), (1.0, -3, 3, -1))  # of order 0 to 3
TINY = 1e-4  # a matrix of vectors whose mean norm is below this is not normalised


def normalised(vectors: Tensor) -> Tensor:
    """Vectors of L1 norm 1, left as they are where they are almost zero on average; (K, S) -> (K, S)."""
    norm = torch.linalg.vector_norm(vectors, ord=1, dim=-1, keepdim=True)
    return vectors / torch.where(norm.mean() > TINY, norm, torch.ones_like(norm))


class Repeat(nn.Module):
    """The input as every channel, kept as one axis of length 1."""

    def forward(self, u: Tensor) -> Tensor:
        """(B, C) -> (B, 1, C)."""
        return u[:, None]


class Spread(nn.Module):
    """An affine map of the input for every channel."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Linear(1, width)

    def forward(self, u: Tensor) -> Tensor:
        """(B, C) -> (B, D, C)."""
        spread: Tensor = self.layers(u[..., None])
        return spread.mT


class ChannelLinear(nn.Linear):
    """A linear map over channels that leaves steps last: an MLP whose layout changes inside takes twice the time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, L) -> (B, out, L)."""
        return torch.baddbmm(self.bias[:, None], self.weight.expand(len(x), -1, -1), x)


class Mlp(nn.Module):
    """GELU, dropout, then a linear map over channels, with or without the input added."""

    def __init__(self, width: int, out: int, dropout: float, skip: bool):
        super().__init__()
        self.layers = nn.Sequential(nn.GELU(), nn.Dropout(dropout), ChannelLinear(width, out))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, L) -> (B, out, L)."""
        mapped: Tensor = self.layers(x)
        return x + mapped if self.skip else mapped


class Residual(nn.Module):
    """Fixed filters: differences of order 0 to 3, and what moving averages of random windows leave over."""

    diff_kernel: Tensor
    ma_r_kernel: Tensor

    def __init__(self, config: "SpaceTimeConfig"):
        super().__init__()
        repeats, orders = config.width // config.filters, len(DIFFERENCES)
        averages = repeats * (config.filters - orders)
        windows = torch.randint(config.shortest_average, config.longest_average, (averages, 1))
        inside = torch.arange(config.longest_average) < windows
        leftover = inside.float() / -windows
        leftover[:, 0] += 1
        self.register_buffer("diff_kernel", torch.tensor(DIFFERENCES * repeats))
        self.register_buffer("ma_r_kernel", leftover)
        self.repeats = repeats

    def forward(self, x: Tensor) -> Tensor:
        """(B, D or 1, C) -> (B, D, C)."""
        averages = self.ma_r_kernel.unflatten(0, (self.repeats, -1))
        differences = self.diff_kernel.unflatten(0, (self.repeats, -1))
        differences = F.pad(differences, (0, averages.shape[-1] - differences.shape[-1]))
        kernel = torch.cat([differences, averages], dim=1).flatten(0, 1)  # (D, longest average)
        return convolve(x, kernel[None, :, : x.shape[-1]])[0]


class Companion(nn.Module):
    """A companion state space of every kernel, run by convolution; the shift variant filters by `c` alone."""

    def __init__(self, kernels: int, state: int, matrix: str):
        super().__init__()
        if matrix == "shift":
            self.register_buffer("a", torch.zeros(kernels, state))
            self.register_buffer("b", F.pad(torch.ones(kernels, 1), (0, state - 1)))
        else:
            self.a, self.b = (nn.Parameter(torch.randn(kernels, state)) for _ in range(2))
        self.c = nn.Parameter(torch.randn(kernels, state))


class EncoderCompanion(Companion):
    """The open loop: neighbouring channels share a kernel, and the input is added, weighed by channel."""

    def __init__(self, config: "SpaceTimeConfig", kernels: int):
        super().__init__(kernels, config.state, config.matrix)
        self.heads = config.width // kernels
        self.skip = nn.Parameter(torch.ones(config.width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, C) -> (B, D, C)."""
        kernel = Recurrence(normalised(self.a), x.shape[-1]).kernel(self.c, self.b).to(x.dtype)
        kernel = kernel.repeat_interleave(self.heads, 0)  # (D, C)
        return convolve(x, torch.cat([kernel[:, :1] + self.skip[:, None], kernel[:, 1:]], dim=-1)[None])[0]


class Block(nn.Module):
    """A SpaceTime layer. The first one filters its input and adds what comes of that, the others add their input."""

    def __init__(self, config: "SpaceTimeConfig", first: bool):
        super().__init__()
        self.pre = Residual(config) if first else nn.Identity()
        self.ssm = EncoderCompanion(config, config.kernels if first else config.width)
        self.mlp = Mlp(config.width, config.width, config.dropout, skip=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D or 1, C) -> (B, D, C)."""
        z = self.pre(x)
        added: Tensor = z + self.mlp(self.ssm(z))
        return added


class Encoder(nn.Module):
    """The blocks, one after the other."""

    def __init__(self, config: "SpaceTimeConfig"):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(config, first=number == 0) for number in range(config.depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D or 1, C) -> (B, D, C)."""
        encoded: Tensor = self.blocks(x)
        return encoded


class Views(NamedTuple):
    """What the decoder makes of z (B, D, C): a forecast, and the outlook of every step on the next output and z."""

    ahead: Tensor  # (B, D, H)
    next_output: Tensor  # (B, D, C)
    next_input: Tensor  # (B, D, C)


class ClosedLoop(Companion):
    """The decoder: a state space that predicts its own next input by `k`, so that it can run on without any.

    Its vectors have L1 norm 1, save the `b` that reads the context.
    """

    def __init__(self, config: "SpaceTimeConfig"):
        super().__init__(config.width, config.state, config.matrix)
        self.k = nn.Parameter(torch.randn(config.width, config.state))

    def forward(self, z: Tensor, horizon: int) -> Tensor:
        """Run on without input after z; (B, D, C) -> (B, D, H)."""
        return self._ahead(self._recurrence(z, horizon), z, horizon)

    def views(self, z: Tensor, horizon: int) -> Views:
        """What `forward` gives, and the open loop's two outlooks, which training compares with what came."""
        recurrence = self._recurrence(z, horizon)
        b = normalised(self.b)
        kernels = torch.stack([recurrence.kernel(normalised(row), b) for row in (self.c, self.k)])
        outputs, inputs = convolve(z, kernels[..., : z.shape[-1]].to(z.dtype))
        return Views(self._ahead(recurrence, z, horizon), outputs, inputs)

    def _recurrence(self, z: Tensor, horizon: int) -> Recurrence:
        return Recurrence(normalised(self.a), max(z.shape[-1], horizon))

    def _ahead(self, recurrence: Recurrence, z: Tensor, horizon: int) -> Tensor:
        b, c, k = (normalised(vectors) for vectors in (self.b, self.c, self.k))
        rows = closed_loop_rows(recurrence, b, c, k, horizon)
        return torch.einsum("khs,bks->bkh", rows, recurrence.last_state(z, self.b))
