"""Causal self-attention by plain batched products: at a hundred tokens that trains faster on a CPU than fused kernels.

Queries and keys are RMS-normalised (Henry et al. 2020) and partly rotated; the output projection starts at zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.nn.norms import normalise
from tsfm.nn.rotary import rotate, rotate_

# B series, A heads, N tokens, D width, R rotated width of a head.


class CausalAttention(nn.Module):
    """Multi-head attention over earlier tokens of the same series."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Mix the tokens of each series.

        x         (B, N, D)
        bias      (B, 1, N, N)  0 where a query may look, -inf where not
        cos, sin  (N, R / 2)    rotation of queries and keys at each position
        returns   (B, N, D)
        """
        batch, tokens, width = x.shape
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).split(width, dim=-1)
        )
        query = rotate(self.query_norm(query.float()), cos, sin).to(value.dtype)
        key = rotate(self.key_norm(key.float()), cos, sin).to(value.dtype)
        scores = (query @ key.transpose(-1, -2)).float() * (query.shape[-1] ** -0.5) + bias
        mixed = torch.softmax(scores, dim=-1).to(value.dtype) @ value  # (B, A, N, D / A)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out

    def infer(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, asking: int) -> Tensor:
        """What `forward` gives the last `asking` tokens, without a gradient; x float32 -> (B, asking, D).

        Products run in the type of the weights.
        """
        width, kind = x.shape[-1], self.qkv.weight.dtype
        x = x.to(kind)
        query = F.linear(x[:, -asking:].contiguous(), self.qkv.weight[:width]).unflatten(-1, (self.heads, -1))
        key, value = F.linear(x, self.qkv.weight[width:]).unflatten(-1, (2, self.heads, -1)).unbind(2)
        query = rotate_(normalise(query.float(), self.query_norm), cos[-asking:, None], sin[-asking:, None]).to(kind)
        key = rotate_(normalise(key.float(), self.key_norm), cos[:, None], sin[:, None]).to(kind)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), bias[:, :, -asking:].to(kind)
        )
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def causal_bias(present: Tensor) -> Tensor:
    """Additive mask of causal attention that hides absent tokens; (B, N) bool -> (B, 1, N, N) float32.

    Every token may look at itself, so that the rows of absent tokens stay finite.
    """
    tokens = present.shape[1]
    past = torch.ones(tokens, tokens, dtype=torch.bool, device=present.device).tril()
    itself = torch.eye(tokens, dtype=torch.bool, device=present.device)
    allowed = (past & present[:, None, :]) | itself
    return torch.where(allowed, 0.0, -torch.inf)[:, None]
