"""The truth for every expert kernel: plain torch, no tricks, any float type (tests run it in float64).

Router and experts follow Shazeer et al. 2017 (top-k gating), Fedus et al. 2021 (Switch) and Dai et al. 2024
(DeepSeekMoE: shared experts; balancing by a bias on the choice alone as in Wang et al. 2024). How published models ask:

    this package, Mixtral   softmax, renormalised             the chosen experts share a softmax
    Time-MoE                softmax, not renormalised         beside a shared expert behind a sigmoid gate
    Moirai-MoE              softmax, renormalised             logits are distances to fixed centroids; farther wins
    DeepSeek-V3             sigmoid, renormalised, with bias  beside a shared expert without a gate
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

# T tokens, D width, E experts, K experts a token, F expert width.

Scoring = Literal["softmax", "sigmoid"]
Activation = Literal["swiglu", "gelu"]


def scores(logits: Tensor, index: Tensor, *, scoring: Scoring = "softmax", renormalise: bool = True) -> Tensor:
    """Mixing weights of chosen experts; renormalised, a token's weights sum to one.

    logits (T, E), index (T, K) -> (T, K)
    """
    if scoring == "softmax":
        return (
            torch.softmax(logits.gather(1, index), dim=-1)
            if renormalise
            else torch.softmax(logits, dim=-1).gather(1, index)
        )
    chosen = torch.sigmoid(logits.gather(1, index))
    tiny = torch.finfo(chosen.dtype).tiny  # all of a token's experts may underflow
    return chosen / chosen.sum(-1, keepdim=True).clamp_min(tiny) if renormalise else chosen


def route(
    logits: Tensor,
    top_k: int,
    *,
    scoring: Scoring = "softmax",
    bias: Tensor | None = None,
    renormalise: bool = True,
) -> tuple[Tensor, Tensor]:
    """Experts of every token, best first, and their mixing weights; ties go to the lowest index.

    logits  (T, E)
    bias    (E,) moves the choice, never the weights: added to logits under softmax, to sigmoids under sigmoid
    returns index (T, K) int64 and weight (T, K)
    """
    choice = logits if bias is None else (logits if scoring == "softmax" else torch.sigmoid(logits)) + bias
    index = torch.sort(choice, dim=-1, descending=True, stable=True).indices[:, :top_k]
    return index, scores(logits, index, scoring=scoring, renormalise=renormalise)


def mlp(x: Tensor, up: Tensor, down: Tensor, activation: Activation = "swiglu") -> Tensor:
    """One feed-forward expert: down(silu(gate) * value), or down(gelu(up x)).

    x (T, D); up (2F, D), gate rows first, or (F, D) for gelu; down (D, F) -> (T, D)
    """
    hidden = x @ up.T
    if activation == "gelu":
        return F.gelu(hidden) @ down.T
    gate, value = hidden.chunk(2, dim=-1)
    return (F.silu(gate) * value) @ down.T


def shared_expert(
    x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None = None, activation: Activation = "swiglu"
) -> Tensor:
    """The expert that every token visits, behind a sigmoid gate where `gate` (1, D) is given; x (T, D) -> (T, D)."""
    out = mlp(x, up, down, activation)
    return out if gate is None else torch.sigmoid(x @ gate.T) * out


def combine(rows: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of each token's expert outputs; rows (T, K, D), weight (T, K) -> (T, D)."""
    return (rows * weight[..., None].to(rows.dtype)).sum(1)


def expert_mlp(
    x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor, activation: Activation = "swiglu"
) -> Tensor:
    """Weighted sum of each token's experts, one expert at a time.

    x (T, D); up (E, 2F, D), gate rows first, or (E, F, D) for gelu; down (E, D, F); index, weight (T, K) -> (T, D)
    """
    rows = x.new_zeros(*index.shape, x.shape[1])  # (T, K, D)
    for expert in range(up.shape[0]):
        token, slot = torch.where(index == expert)
        rows = rows.index_put((token, slot), mlp(x[token], up[expert], down[expert], activation))
    return combine(rows, weight)
