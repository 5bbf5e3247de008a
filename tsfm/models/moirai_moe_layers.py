"""Layers of Moirai-MoE: projections by patch size, any-variate attention, experts chosen by distance to centroids.

Attention is by time and sample, across variates (Woo et al. 2024, section 3.1.2), with rotary positions on half of each
head and a bias for "same variate" and "other variate". The router has no weights: a token goes to the two experts whose
centroids are *farthest* from it (Liu et al. 2024 speak of the nearest; the published code, for which the weights were
made, takes the farthest).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm import kernels
from tsfm.nn.mixture import PARAMETERS
from tsfm.nn.moe import record

if TYPE_CHECKING:
    from tsfm.models.moirai_moe import MoiraiMoEConfig

# B rows, N tokens, M tokens that are asked, D width, A heads, P longest patch, E experts, T = B * M.

EPS = 1e-5


class PatchIn(nn.Module):
    """Linear layer of values of a patch, or of its hidden vector, with weights for each patch size."""

    def __init__(self, inputs: Sequence[int], width: int):
        super().__init__()
        self.inputs = tuple(inputs)
        longest = max(inputs)
        bound = min(inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(len(inputs), width, longest).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(inputs), width).uniform_(-bound, bound))

    def forward(self, x: Tensor, size: int) -> Tensor:
        """x (..., P) of the patch size at position `size` -> (..., D); columns beyond that size are not read."""
        steps = self.inputs[size]
        return F.linear(x[..., :steps], self.weight[size, :, :steps], self.bias[size])


class PatchOut(nn.Module):
    """Linear layer from a token to `dim` numbers a step of the longest patch."""

    def __init__(self, width: int, patch_sizes: Sequence[int], dim: int):
        super().__init__()
        self.dim = dim
        bound = width**-0.5
        outputs = dim * max(patch_sizes)
        self.weight = nn.Parameter(torch.empty(len(patch_sizes), outputs, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(patch_sizes), outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor, size: int) -> Tensor:
        """x (..., D) -> (..., P, dim)."""
        out: Tensor = F.linear(x, self.weight[size], self.bias[size]).unflatten(-1, (self.dim, -1)).transpose(-1, -2)
        return out


class MixtureProjection(nn.Module):
    """The raw parameters of the output mixture, each by its official name."""

    def __init__(self, width: int, patch_sizes: Sequence[int]):
        super().__init__()
        components = nn.ModuleList(
            nn.ModuleDict({name: PatchOut(width, patch_sizes, 1) for name in names}) for names in PARAMETERS
        )
        weights = PatchOut(width, patch_sizes, len(PARAMETERS))
        self.proj = nn.ModuleDict({"weights_logits": weights, "components": components})

    def forward(self, x: Tensor, size: int) -> dict[str, Tensor]:
        """x (..., D) -> "weights_logits" (..., P, 4) and "components.<i>.<parameter>" (..., P, 1)."""
        return {name: part(x, size) for name, part in self.proj.named_modules() if isinstance(part, PatchOut)}


class VariateBias(nn.Module):
    """What is added to the scores of each head: one number for the same variate, one for another."""

    def __init__(self, heads: int):
        super().__init__()
        self.emb = nn.Embedding(2, heads)

    def forward(self, same: Tensor) -> Tensor:
        """same (B, M, N) bool -> (B, A, M, N)."""
        other, own = self.emb.weight[:, None, :, None, None].unbind()
        return torch.where(same[:, None], own, other)


class Attention(nn.Module):
    """Attention over the tokens of all variates of a sample up to the same time."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.q_norm = nn.RMSNorm(width // heads, eps=EPS)
        self.k_norm = nn.RMSNorm(width // heads, eps=EPS)
        self.var_attn_bias = VariateBias(heads)

    def forward(self, x: Tensor, seen: "Seen", last: bool) -> Tensor:
        """x (B, N, D) -> (B, N, D), or (B, M, D) for the asked tokens alone where `last`."""
        kind = self.q_proj.weight.dtype
        rows = x.to(kind)
        asked = rows[:, seen.asked] if last else rows
        query, key, value = (
            projection(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, part in ((self.q_proj, asked), (self.k_proj, rows), (self.v_proj, rows))
        )
        turn = (seen.cos[:, :, seen.asked], seen.sin[:, :, seen.asked]) if last else (seen.cos, seen.sin)
        query = rotate_pairs(self.q_norm(query.float()), *turn).to(kind)
        key = rotate_pairs(self.k_norm(key.float()), seen.cos, seen.sin).to(kind)
        allowed = seen.allowed[:, seen.asked] if last else seen.allowed
        mask = allowed[:, None]
        if seen.same is not None:  # a bias that is the same for all keys changes nothing
            same = seen.same[:, seen.asked] if last else seen.same
            mask = self.var_attn_bias(same).masked_fill(~mask, -torch.inf).to(kind)
        mixed = F.scaled_dot_product_attention(query, key, value, mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Seen:
    """Who may look at whom, and from where; made once and shared by all layers.

    allowed   (B, N, N) bool
    same      (B, N, N) bool, of one variate; None where there is only one
    cos, sin  (B, 1, N, R / 2)
    asked     (M,) positions of the tokens whose output is wanted
    """

    def __init__(
        self, sample: Tensor, time: Tensor, variate: Tensor, rotated: int, variates: int, asked: Tensor | slice
    ):
        self.allowed = (sample[:, :, None] == sample[:, None]) & (time[:, :, None] >= time[:, None])
        self.same = variate[:, :, None] == variate[:, None] if variates > 1 else None
        frequency = 10000.0 ** (-torch.arange(0, rotated, 2, dtype=torch.float32, device=time.device) / rotated)
        angle = time.float()[:, None, :, None] * frequency
        self.cos, self.sin, self.asked = angle.cos(), angle.sin(), asked


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring channels of the first half of each head by the angles of its time; (B, A, N, D / A)."""
    turned, rest = x[..., : 2 * cos.shape[-1]], x[..., 2 * cos.shape[-1] :]
    even, odd = turned[..., ::2], turned[..., 1::2]
    pairs = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
    return torch.cat([pairs, rest], -1)


class CentroidExperts(nn.Module):
    """SwiGLU experts, stacked: `up` holds fc_gate above fc1, `down` fc2."""

    def __init__(self, width: int, inner: int, experts: int, top_k: int):
        super().__init__()
        self.top_k = top_k
        self.up = nn.Parameter(torch.empty(experts, 2 * inner, width).uniform_(-(width**-0.5), width**-0.5))
        self.down = nn.Parameter(torch.empty(experts, width, inner).uniform_(-(inner**-0.5), inner**-0.5))

    def forward(self, x: Tensor, centroids: Tensor) -> Tensor:
        """x (..., D) normalised, centroids (E, D) -> (..., D)."""
        rows = x.flatten(0, -2)
        index, weight, _ = farthest(rows, centroids, self.top_k)
        record(index, weight)
        mixed = kernels.expert_mlp(rows.to(self.up.dtype), self.up, self.down, index, weight)
        return mixed.view_as(x)


def farthest(x: Tensor, centroids: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` experts with the most distant centroids, a softmax over their distances, and all distances.

    x (T, D) -> index (T, K), weight (T, K) float32, distance (T, E). In float64, because a near-tie decides who works;
    the centroids are rounded to float32 first, as the published code uses them.
    """
    with torch.autocast(x.device.type, enabled=False):
        tokens, fixed = x.double(), centroids.float().double()
        square = tokens.square().sum(-1, keepdim=True) + fixed.square().sum(-1) - 2 * tokens @ fixed.T
        distance = square.clamp(min=1e-12).sqrt()
        best, index = distance.topk(count, dim=-1)
        return index, best.softmax(-1).float(), distance.float()


class Block(nn.Module):
    """Attention, then experts, each behind a norm and beside the way around it."""

    def __init__(self, config: "MoiraiMoEConfig"):
        super().__init__()
        self.self_attn = Attention(config.width, config.heads)
        self.ffn = CentroidExperts(config.width, config.expert_width, config.experts, config.top_k)
        self.norm1 = nn.RMSNorm(config.width, eps=EPS)
        self.norm2 = nn.RMSNorm(config.width, eps=EPS)

    def forward(self, x: Tensor, seen: Seen, centroids: Tensor, last: bool = False) -> Tensor:
        """x (B, N, D) float32 -> the same, or (B, M, D) of the asked tokens where `last`."""
        mixed = self.self_attn(self.norm1(x), seen, last)
        x = (x[:, seen.asked] if last else x) + mixed.float()
        return x + cast(Tensor, self.ffn(self.norm2(x), centroids)).float()


class Encoder(nn.Module):
    """All layers; the last computes the asked tokens only."""

    centroid: Tensor

    def __init__(self, config: "MoiraiMoEConfig"):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        shape = (config.depth, config.experts, config.width)
        self.register_buffer("centroid", torch.randn(shape).double())

    def forward(self, x: Tensor, seen: Seen, layers: Sequence[nn.Module] | None = None) -> Tensor:
        """x (B, N, D) -> (B, M, D); `layers` are copies of the own ones in another precision."""
        chosen = self.layers if layers is None else layers
        for position, block in enumerate(chosen):
            x = block(x, seen, self.centroid[position], position == len(chosen) - 1)
        return cast(Tensor, self.norm(x))
