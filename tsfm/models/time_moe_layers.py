"""Layers of Time-MoE: rotary attention with grouped keys, and sparse experts beside a gated shared one.

Parameters carry the names of the published checkpoints, but for the routed experts, which are stacked for
`kernels.expert_mlp`. Each layer has two views: `forward` for training, `infer` for forecasts, which adds to the
residual stream in place, keeps temporaries small, and computes what is asked for alone.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm import kernels
from tsfm.nn.kv_cache import KVCache
from tsfm.nn.moe import record
from tsfm.nn.norms import normalise, normalised
from tsfm.nn.rotary import rotate_, rotated

if TYPE_CHECKING:
    from tsfm.models.time_moe import TimeMoEConfig

# B series, N steps, D width, A heads, W width of a head, T tokens (B * N), E experts, K experts a token, F their width.

IN_FLOAT32 = ("norm.weight", "ffn_layer.gate.weight", "shared_expert_gate.weight")


class Routing(NamedTuple):
    """What a router decided: logits (T, E), chosen experts (T, K), their weights (T, K)."""

    logits: Tensor
    expert: Tensor
    weight: Tensor


class Angles(NamedTuple):
    """Cosine and sine of the rotation of each step, (B, N, 1, W / 2), or of all series alike (1, N, 1, W / 2)."""

    cos: Tensor
    sin: Tensor


def angles(positions: Tensor, head_width: int, base: float) -> Angles:
    """Rotation at each of the positions (N,) or (B, N)."""
    every_other = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device)
    angle = positions.view(-1, positions.shape[-1], 1, 1).float() / base ** (every_other / head_width)
    return Angles(angle.cos(), angle.sin())


def causal_among(present: Tensor) -> Tensor:
    """Which steps each may look at, (B, 1, N, N) bool: itself and those before it, where they are there."""
    steps = present.shape[1]
    past = torch.ones(steps, steps, dtype=torch.bool, device=present.device).tril()
    return (past & present[:, None, :])[:, None]


class Embedding(nn.Module):
    """Points as vectors: silu(a x) * (b x)."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__()
        self.gate_layer = nn.Linear(1, config.width, bias=False)
        self.emb_layer = nn.Linear(1, config.width, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """(B, N) -> (B, N, D)."""
        points = values[..., None]
        embedded: Tensor = F.silu(self.gate_layer(points)) * self.emb_layer(points)
        return embedded


class Attention(nn.Module):
    """Causal attention with rotary positions; several query heads may share a head of keys and values."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_width)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_width)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, turn: Angles, allowed: Tensor | None) -> Tensor:
        """x (B, N, D), allowed (B, 1, N, N) bool, None for causal -> (B, N, D)."""
        query = rotated(self.q_proj(x).unflatten(-1, (self.heads, -1)), *turn)
        key = rotated(self.k_proj(x).unflatten(-1, (self.kv_heads, -1)), *turn)
        value = self.v_proj(x).unflatten(-1, (self.kv_heads, -1))
        query, key = query.to(value.dtype), key.to(value.dtype)
        hidden = None
        if allowed is not None:  # the least number, not -inf: a step that may look at none looks at all alike
            hidden = torch.where(allowed, 0.0, torch.finfo(value.dtype).min).to(value.dtype)
        return self.mixed(query, key.transpose(1, 2), value.transpose(1, 2), hidden)

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        """query (B, N, A, W), key and value (B, kv heads, C, W), allowed (B or 1, 1, N, C) or added -> (B, N, D)."""
        if self.kv_heads < self.heads:
            key = key.repeat_interleave(self.heads // self.kv_heads, 1)
            value = value.repeat_interleave(self.heads // self.kv_heads, 1)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key, value, allowed, is_causal=allowed is None and query.shape[1] > 1
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def infer(
        self, x: Tensor, turn: Angles, cache: KVCache, layer: int, allowed: Tensor | None, last: Tensor | None
    ) -> Tensor:
        """What `forward` gives, with keys and values of the steps before from the cache.

        last     (B,) the only step of each series that is asked for; None: all
        allowed  (B or 1, 1, N or 1, C), as `mixed` takes it
        """
        kind = self.q_proj.weight.dtype
        x = x.to(kind)
        key = rotate_(self.k_proj(x).unflatten(-1, (self.kv_heads, -1)).float(), *turn).to(kind)
        value = self.v_proj(x).unflatten(-1, (self.kv_heads, -1))
        key, value = cache.append(layer, key, value)
        if last is not None:
            x, turn = step_of(x, last), Angles(*(step_of(part, last) for part in turn))
        query = rotate_(self.q_proj(x).unflatten(-1, (self.heads, -1)).float(), *turn).to(kind)
        return self.mixed(query, key, value, allowed)


def step_of(x: Tensor, last: Tensor) -> Tensor:
    """Step `last` (B,) of each series; x (B or 1, N, ...) -> (B, 1, ...)."""
    each = x.expand(len(last), *x.shape[1:])
    return each[torch.arange(len(last), device=x.device), last][:, None]


class DenseExpert(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out

    def infer(self, x: Tensor) -> Tensor:
        """The same a few rows at a time; x (T, D) in any float type, products in that of the weights."""
        kind = self.gate_proj.weight.dtype
        out, size = x.new_empty(x.shape, dtype=kind), kernels.rows_at_once(x.device)
        for rows, into in zip(x.split(size), out.split(size), strict=True):
            rows = rows.to(kind)
            hidden = F.silu(self.gate_proj(rows), inplace=True).mul_(self.up_proj(rows))
            torch.mm(hidden, self.down_proj.weight.t(), out=into)
        return out


class ExpertStack(nn.Module):
    """Weights of the routed experts: up (E, 2F, D), gate rows first, and down (E, D, F)."""

    def __init__(self, experts: int, width: int, inner: int, std: float):
        super().__init__()
        self.up = nn.Parameter(torch.randn(experts, 2 * inner, width) * std)
        self.down = nn.Parameter(torch.randn(experts, width, inner) * std)


class SparseLayer(nn.Module):
    """The best K of E experts, weighed by their probabilities as they are, and a shared one behind a sigmoid gate."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__()
        self.top_k = config.top_k
        self.gate = nn.Linear(config.width, config.experts, bias=False)
        self.experts = ExpertStack(config.experts, config.width, config.expert_width, config.initial_std)
        self.shared_expert = DenseExpert(config.width, config.inner_width)
        self.shared_expert_gate = nn.Linear(config.width, 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x (T, D), normalised -> (T, D), and what the router decided."""
        index, weight, logits, counts = kernels.route(x, self.gate.weight, self.top_k, renormalise=False)
        record(index, weight)
        shared = torch.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        rows, up, down = (part.to(shared.dtype) for part in (x, self.experts.up, self.experts.down))
        mixed = kernels.expert_mlp(rows, up, down, index, weight, counts=counts)
        return mixed + shared, Routing(logits, index, weight)

    def infer(self, x: Tensor) -> Tensor:
        """The output of `forward` alone, without a gradient; x (T, D) float32."""
        index, weight, _, counts = kernels.route(x, self.gate.weight, self.top_k, renormalise=False, counted=False)
        record(index, weight)
        shared = self.shared_expert.infer(x)
        share = torch.sigmoid(x @ self.shared_expert_gate.weight.t().float())
        up, down = self.experts.up, self.experts.down
        mixed = kernels.expert_mlp(x.to(up.dtype), up, down, index, weight, counts=counts)
        return mixed.addcmul_(shared, share.to(shared.dtype))


class DenseLayer(DenseExpert):
    """The dense variant's feed-forward layer, which has no routing to tell of."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__(config.width, config.inner_width)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """x (T, D) -> (T, D), None."""
        return super().forward(x), None


class Layer(nn.Module):
    """Attention, then experts, each on the normalised stream and added to it."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.ffn_layer = DenseLayer(config) if config.dense else SparseLayer(config)

    def forward(self, x: Tensor, turn: Angles, allowed: Tensor | None) -> tuple[Tensor, Routing | None]:
        x = x + self.self_attn(normalised(x, self.input_layernorm), turn, allowed)
        mixed, routing = self.ffn_layer(normalised(x, self.post_attention_layernorm).flatten(0, 1))
        return x + mixed.view_as(x), routing

    def infer(
        self, x: Tensor, turn: Angles, cache: KVCache, layer: int, allowed: Tensor | None, last: Tensor | None
    ) -> Tensor:
        """What `forward` makes of x, in place where all steps are asked for; arguments as of `Attention.infer`."""
        mixed = self.self_attn.infer(normalise(x, self.input_layernorm), turn, cache, layer, allowed, last)
        x = x.add_(mixed) if last is None else step_of(x, last) + mixed
        rows = normalise(x, self.post_attention_layernorm).flatten(0, 1)
        return x.add_(self.ffn_layer.infer(rows).view_as(x))


class Backbone(nn.Module):
    """Everything before the heads."""

    def __init__(self, config: "TimeMoEConfig"):
        super().__init__()
        self.embed_layer = Embedding(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)


class Head(nn.Module):
    """The next h steps."""

    def __init__(self, width: int, steps: int):
        super().__init__()
        self.out_layer = nn.Linear(width, steps, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., h)."""
        out: Tensor = self.out_layer(x)
        return out


def schedule(horizons: Sequence[int], steps: int) -> list[tuple[int, int]]:
    """Heads of a rollout and how many steps of each are kept: always the longest head that fits what is left."""
    found = []
    while steps > 0:
        fitting = [number for number, length in enumerate(horizons) if length <= steps]
        head = max(fitting, default=0)
        found.append((head, min(horizons[head], steps)))
        steps -= found[-1][1]
    return found


def initialise(module: nn.Module, std: float) -> None:
    """Draw the weight of a linear layer as published; leave other modules as they are."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def in_precision(layer: nn.Module, dtype: torch.dtype) -> Layer:
    """A copy of a layer with its products in `dtype`; norms, the router and the shared gate stay in float32."""
    made = copy.deepcopy(layer)
    for name, weight in made.named_parameters():
        if not name.endswith(IN_FLOAT32):
            weight.data = weight.data.to(dtype)
    assert isinstance(made, Layer)
    return made
