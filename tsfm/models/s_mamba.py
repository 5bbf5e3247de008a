"""S-Mamba: every variate is one token, and a Mamba block in each direction mixes the variates (Wang et al. 2024).

The context of a variate, standardised by its own mean and deviation, becomes a token by one linear map; the layers are
those of an inverted transformer with two Mamba blocks in place of attention, one reading the variates forwards and one
backwards; a linear map makes the forecast of each token. The order of the variates therefore matters.

Official checkpoints load by name. Their layers also hold three parts that are never called (`man`, `man2` and `a`);
those are passed over. The authors' classes place dropout after the embedding and in the feed-forward layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.nn.mamba import Mamba
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, D width, N tokens: the variates and, after them, time features.

EPS = 1e-5
UNUSED = ("man.", "man2.", "a.")


@dataclass(frozen=True)
class SMambaConfig:
    context: int = 96
    horizon: int = 96
    variates: int = 7
    width: int = 256
    inner_width: int = 256
    depth: int = 2
    states: int = 2
    activation: Literal["gelu", "relu"] = "gelu"
    dropout: float = 0.1
    normalise: bool = True


PRESETS = {"tiny": SMambaConfig(width=32, inner_width=32), "ett": SMambaConfig()}


class Embedding(nn.Module):
    """One token a variate; (B, C, N) -> (B, N, D)."""

    def __init__(self, context: int, width: int, dropout: float):
        super().__init__()
        self.value_embedding = nn.Linear(context, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        tokens: Tensor = self.dropout(self.value_embedding(values.mT))
        return tokens


class Layer(nn.Module):
    """Mamba over the tokens in both directions, then a feed-forward layer, each with its residual under a norm."""

    def __init__(self, config: SMambaConfig):
        super().__init__()
        width = config.width
        self.attention = Mamba(width, config.states, conv=2, expand=1)
        self.attention_r = Mamba(width, config.states, conv=2, expand=1)
        self.conv1 = nn.Conv1d(width, config.inner_width, 1)
        self.conv2 = nn.Conv1d(config.inner_width, width, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.activation: Callable[[Tensor], Tensor] = F.relu if config.activation == "relu" else F.gelu
        self.register_load_state_dict_pre_hook(_pass_over_unused)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x) + self.attention_r(x.flip(1)).flip(1))
        hidden = self.dropout(self.activation(self.conv1(x.mT)))
        mixed: Tensor = self.norm2(x + self.dropout(self.conv2(hidden)).mT)
        return mixed


def _pass_over_unused(module: nn.Module, stored: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in [name for name in stored if name.startswith(tuple(prefix + part for part in UNUSED))]:
        del stored[name]


class Encoder(nn.Module):
    """The layers and a norm behind them; (B, N, D) -> (B, N, D)."""

    def __init__(self, config: SMambaConfig):
        super().__init__()
        self.attn_layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.attn_layers:
            x = layer(x)
        mixed: Tensor = self.norm(x)
        return mixed


@register("s-mamba", kind="architecture")
class SMamba(nn.Module):
    """Bidirectional Mamba over variates; see the module's docstring."""

    Config = SMambaConfig
    # The ETTh1 script for horizon 96 of github.com/wzhwzhwzh0921/S-D-Mamba; patience and schedule are its defaults.
    fit_settings = MappingProxyType({"rate": 7e-5, "batch": 32, "epochs": 10, "patience": 3, "schedule": "type1"})

    def __init__(self, config: SMambaConfig):
        super().__init__()
        self.config = config
        self.enc_embedding = Embedding(config.context, config.width, config.dropout)
        self.encoder = Encoder(config)
        self.projector = nn.Linear(config.width, config.horizon)

    def forward(self, values: Tensor, start: Tensor | None = None, marks: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `start` is not read.

        marks  (B, C, M) features of time, each of them one more token
        """
        mean, deviation = torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])
        if self.config.normalise:
            mean = values.mean(1, keepdim=True)
            deviation = torch.sqrt(values.var(1, keepdim=True, correction=0) + EPS)
        tokens = (values - mean) / deviation
        if marks is not None:
            tokens = torch.cat([tokens, marks], -1)
        mixed = self.encoder(self.enc_embedding(tokens))[:, : values.shape[2]]  # (B, V, D)
        forecast: Tensor = self.projector(mixed).mT
        return forecast * deviation + mean
