"""The recurrence of the mLSTM (Beck et al. 2024, xLSTM, section 2.3): a matrix memory with exponential gates.

Without feedback from outputs to gates all steps can be compared at once, as attention does, which is the faster form
for training; step by step the memory stands for them. Weights and memory are divided by the largest gate so far.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, N steps, A heads, W channels of a head.

CELL_EPS = 1e-6


class MLSTMState(NamedTuple):
    """Memory (B, A, W, W), normaliser (B, A, W) and stabiliser (B, A) after a step."""

    memory: Tensor
    normaliser: Tensor
    stabiliser: Tensor


def mlstm(query: Tensor, key: Tensor, value: Tensor, take: Tensor, keep: Tensor) -> Tensor:
    """Outputs of all steps at once; (B, A, N, W) three times, gates (B, A, N) before activation -> (B, A, N, W).

    A step s counts for a later one t by exp(take_s) times the forget gates between them; the largest such weight
    divides out of the quotient, so it takes no gradient.
    """
    steps = query.shape[2]
    kept = F.logsigmoid(keep).cumsum(-1)
    weight = kept[..., :, None] - kept[..., None, :] + take[..., None, :]  # (B, A, N, N) logarithms
    later = torch.ones(steps, steps, dtype=torch.bool, device=query.device).triu(1)
    weight = weight.masked_fill(later, -torch.inf)
    largest = weight.detach().amax(-1, keepdim=True)
    seen = query @ key.mT * query.shape[-1] ** -0.5 * torch.exp(weight - largest)
    floor = torch.maximum(seen.sum(-1, keepdim=True).abs(), torch.exp(-largest))
    read: Tensor = seen / (floor + CELL_EPS) @ value
    return read


def mlstm_step(
    query: Tensor, key: Tensor, value: Tensor, take: Tensor, keep: Tensor, state: MLSTMState
) -> tuple[Tensor, MLSTMState]:
    """Output and state of one more step; (B, A, W) three times, gates (B, A) -> (B, A, W), state."""
    kept = F.logsigmoid(keep) + state.stabiliser
    stabiliser = torch.maximum(kept, take)
    keep, take = torch.exp(kept - stabiliser)[..., None], torch.exp(take - stabiliser)[..., None]
    key = key * key.shape[-1] ** -0.5
    memory = keep[..., None] * state.memory + (take * key)[..., None] * value[..., None, :]
    normaliser = keep * state.normaliser + take * key
    length = (query * normaliser).sum(-1, keepdim=True).abs()
    floor = torch.maximum(length, torch.exp(-stabiliser)[..., None])
    read = (query[..., None, :] @ memory).squeeze(-2) / (floor + CELL_EPS)
    return read, MLSTMState(memory, normaliser, stabiliser)
