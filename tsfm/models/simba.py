"""SiMBA: Mamba over a sequence and EinFFT over its channels (Patro and Agneeswaran 2024, sections 3.1 and 3.2).

EinFFT takes a Fourier transform over the sequence and over blocks of channels, a small complex network to every
block's spectrum, and the transform back. Both parts are residuals behind a layer norm, as the authors' code has them.

That code covers images alone; the forecaster around the blocks is not published, so this one is ours, and its numbers
cannot be those of the paper's table. Certain are the blocks (EinFFT of four blocks of channels, shrunk by 0.01) and the
context of 96 steps; sizes of the time-series model, its embedding, head and training are not. Ours standardises every
variate by its own context, embeds patches of it (or, with `patch=0`, the whole context, so that the variates are the
sequence), and maps all tokens of a variate to its forecast. Patches are the default because Mamba then reads time,
which is what the paper calls it to do; EinFFT is no causal part, and need not be within a context.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.nn.mamba import Mamba, at_least_float32
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, N tokens, D width, K blocks of channels.

EPS = 1e-5
BLOCKS = 4
SHRINKING = 0.01


@dataclass(frozen=True)
class SiMBAConfig:
    context: int = 96
    horizon: int = 96
    variates: int = 7
    width: int = 64
    depth: int = 2
    patch: int = 8
    states: int = 16
    conv: int = 4
    expand: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a width that is no whole number of blocks."""
        if self.width % BLOCKS or self.width < 1:
            raise DataError(f"width={self.width} must be a multiple of {BLOCKS}")

    @property
    def tokens(self) -> int:
        """Tokens of a variate."""
        return -(-self.context // self.patch) if self.patch else 1


PRESETS = {"tiny": SiMBAConfig(width=16), "ett": SiMBAConfig(), "ett-inverted": SiMBAConfig(width=128, patch=0)}


class EinFFT(nn.Module):
    """Mix channels in the spectrum of the sequence and of the blocks; (B, N, D) -> (B, N, D), D a multiple of K."""

    def __init__(self, width: int):
        super().__init__()
        size = width // BLOCKS
        self.complex_weight_1, self.complex_weight_2 = (_drawn(BLOCKS, size, size) for _ in range(2))
        self.complex_bias_1, self.complex_bias_2 = (_drawn(BLOCKS, size) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(at_least_float32(x).unflatten(-1, (BLOCKS, -1)), dim=(1, 2), norm="ortho")
        hidden = _mapped(spectrum, self.complex_weight_1, self.complex_bias_1)
        hidden = torch.view_as_complex(F.relu(torch.view_as_real(hidden)))
        made = torch.view_as_real(_mapped(hidden, self.complex_weight_2, self.complex_bias_2))
        kept = torch.view_as_complex(F.softshrink(made, SHRINKING))
        mixed: Tensor = torch.fft.ifft2(kept, dim=(1, 2), norm="ortho").real
        return mixed.flatten(2).to(x)


def _drawn(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(2, *shape))  # real parts, imaginary parts


def _mapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Complex linear map of every block; x (B, N, K, D / K), weight (2, K, D / K, D / K), bias (2, K, D / K)."""
    return torch.einsum("bnki,kio->bnko", x, torch.complex(*weight)) + torch.complex(*bias)


class Mixer(nn.Module):
    """Mamba behind a layer norm."""

    def __init__(self, width: int, states: int, conv: int, expand: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.mamba = Mamba(width, states, conv, expand)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mamba(self.norm(x))
        return mixed


class Block(nn.Module):
    """Mamba, then EinFFT, each a residual behind a layer norm; (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, states: int, conv: int, expand: int, dropout: float = 0.0):
        super().__init__()
        self.attn = Mixer(width, states, conv, expand)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = EinFFT(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(x))
        mixed: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return mixed


@register("simba", kind="architecture")
class SiMBA(nn.Module):
    """SiMBA's blocks over patches of each variate, or over the variates; see the module's docstring."""

    Config = SiMBAConfig
    # Ours, not tuned: the settings of the paper for time series are not published.
    fit_settings = MappingProxyType({"rate": 5e-4, "batch": 32, "epochs": 10, "patience": 3, "schedule": "type1"})

    def __init__(self, config: SiMBAConfig):
        super().__init__()
        self.config = config
        sizes = (config.width, config.states, config.conv, config.expand)
        self.embedding = nn.Linear(config.patch or config.context, config.width)
        self.blocks = nn.ModuleList(Block(*sizes, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.head = nn.Linear(config.tokens * config.width, config.horizon)

    def forward(self, values: Tensor, start: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `start` is not read."""
        mean = values.mean(1, keepdim=True)
        deviation = torch.sqrt(values.var(1, keepdim=True, correction=0) + EPS)
        x = self._tokens(((values - mean) / deviation).mT)
        for block in self.blocks:
            x = block(x)
        own = self.norm(x).reshape(values.shape[0], values.shape[2], -1)  # (B, V, tokens of a variate * D)
        forecast: Tensor = self.head(own).mT
        return forecast * deviation + mean

    def _tokens(self, x: Tensor) -> Tensor:
        """Variates (B, V, C) as (B, V, D), or their patches as (B * V, N, D); zeros before the first step."""
        if not self.config.patch:
            embedded: Tensor = self.embedding(x)
            return embedded
        missing = self.config.tokens * self.config.patch - self.config.context
        patches: Tensor = F.pad(x, (missing, 0)).unflatten(-1, (-1, self.config.patch))
        tokens: Tensor = self.embedding(patches).flatten(0, 1)
        return tokens
