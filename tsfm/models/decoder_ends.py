"""Both ends of a patch decoder: channels become tokens, and tokens quantiles around their newest observed value.

The flagship and the state-space decoder share these and keep the parameters themselves, whose names are those of files.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.nn.lags import LAG_RANGES

# B series, M tokens, P patch length, D width, Q quantile levels.


class Ends(Protocol):
    """What is asked of a decoder here: layers, and a config with the layout of its channels."""

    config: Any
    embed_hidden: Any
    embed: Any
    embed_skip: Any
    norm: Any
    head: Any
    gates: Any


def embedded(model: Ends, channels: Tensor) -> Tensor:
    """Tokens (B, M, D) of channels (B, M, channels)."""
    with torch.autocast(channels.device.type, enabled=False):
        x = model.embed_skip(channels)  # in float32: the level must not lose digits on its way to the head
    tokens: Tensor = x + model.embed(F.silu(model.embed_hidden(channels)))
    return tokens


def read_out(model: Ends, x: Tensor, channels: Tensor) -> Tensor:
    """Quantiles (B, M, P, Q) in squashed units of tokens (B, M, D) that were shown these channels."""
    x = model.norm(x)
    quantiles: Tensor = model.head(x) + channels[..., :1, None]
    if model.gates is None:
        return quantiles
    copied: Tensor = model.gates(x, channels[..., model.config.layout.copied], channels[..., -len(LAG_RANGES) :])
    return quantiles + copied[..., None]
