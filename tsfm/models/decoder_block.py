"""The layer of the patch decoder: attention over earlier tokens, then sparse experts; and its copies for inference."""

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tsfm.nn.attention import CausalAttention
from tsfm.nn.moe import SparseExperts
from tsfm.nn.norms import normalise

if TYPE_CHECKING:
    from tsfm.models.moe_decoder import MoEDecoderConfig

# B series, M tokens, D width.


class Block(nn.Module):
    """Attention over earlier tokens, then sparse experts."""

    def __init__(self, config: "MoEDecoderConfig"):
        super().__init__()
        self.norm1 = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = CausalAttention(config.width, config.heads)
        self.norm2 = nn.RMSNorm(config.width, eps=1e-6)
        self.experts = SparseExperts(
            config.width, config.shared_width, config.expert_width, config.experts, config.top_k
        )

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = x + self.attention(self.norm1(x), bias, cos, sin)
        mixed, load, losses = self.experts(self.norm2(x).flatten(0, 1))
        return x + mixed.view_as(x), load, losses

    def infer(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, asking: int) -> Tensor:
        """What `forward` makes of the last `asking` tokens, without a gradient; overwrites x."""
        mixed = self.attention.infer(normalise(x, self.norm1), bias, cos, sin, asking)
        x = x[:, -asking:].contiguous().add_(mixed.float())
        return x.add_(self.experts.infer(normalise(x, self.norm2).flatten(0, 1)).float().view_as(x))


def in_precision(block: nn.Module, dtype: torch.dtype) -> Block:
    """A copy of a block with its matrices in `dtype`, but for the router, which stays in float32."""
    made = copy.deepcopy(block)
    for name, weight in made.named_parameters():
        if weight.dim() > 1 and "router" not in name:
            weight.data = weight.data.to(dtype)
    return cast(Block, made)
