"""The truth for every kernel: plain torch, no tricks, any float type (tests run it in float64).

Router and experts follow Shazeer et al. 2017 (top-k gating), Fedus et al. 2021 (Switch) and Dai et al. 2024
(DeepSeekMoE: shared experts, bias-only balancing as in Wang et al. 2024).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# T tokens, D width, E experts, K experts a token, F expert width.


def route(logits: Tensor, top_k: int, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Experts of every token and their weights, which sum to one.

    logits (T, E); bias (E,) is added for the choice only, never to the weights. Ties go to the lowest index.
    returns index (T, K) int64 and weight (T, K)
    """
    choice = logits if bias is None else logits + bias
    index = torch.sort(choice, dim=-1, descending=True, stable=True).indices[:, :top_k]
    return index, torch.softmax(logits.gather(1, index), dim=-1)


def expert_mlp(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sum over each token's experts of weight * down(silu(gate) * value), one expert at a time.

    x (T, D); up (E, 2F, D), gate rows first; down (E, D, F); index, weight (T, K) -> (T, D)
    """
    out = torch.zeros_like(x)
    for expert in range(up.shape[0]):
        token, slot = torch.where(index == expert)
        gate, value = (x[token] @ up[expert].T).chunk(2, dim=-1)
        out.index_add_(0, token, weight[token, slot, None].to(x.dtype) * ((F.silu(gate) * value) @ down[expert].T))
    return out
