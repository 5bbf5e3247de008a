"""Sparse mixture-of-experts feed-forward layer: routed experts beside one shared expert, dropless.

Softmax over the chosen logits (as Mixtral, Jiang et al. 2024) and a shared expert (DeepSeekMoE, Dai et al. 2024).
With one expert a token that weight would always be 1, and the router would learn nothing from the output: it is the
expert's share of the softmax over all instead (Switch, Fedus et al. 2022).
Balance comes from a bias on the choice that the trainer moves against the load (Wang et al. 2024; here in proportion to
it) and from the small loss of Fedus et al. 2021: with a bias of fixed small steps alone, two to four of sixteen experts
took nearly every token here. The router runs in float32 whatever the precision of the experts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm import kernels

# T tokens, D width, E experts, K experts a token, F expert width.


class Route(NamedTuple):
    """Experts of every token (T, K), the strongest first, and their mixing weights (T, K)."""

    expert: Tensor
    weight: Tensor


_RECORDS: list[list[Route]] = []


@contextmanager
def recorded_routes() -> Iterator[list[Route]]:
    """Collect what every router decides inside the block, in the order the layers run."""
    routes: list[Route] = []
    _RECORDS.append(routes)
    try:
        yield routes
    finally:
        _RECORDS.pop()


def record(expert: Tensor, weight: Tensor) -> None:
    """Tell those who collect it what a router decided."""
    for routes in _RECORDS:
        routes.append(Route(expert, weight))


class SparseExperts(nn.Module):
    """Shared SwiGLU expert plus the top-K of E routed SwiGLU experts."""

    balance: Tensor

    def __init__(self, width: int, shared_width: int, expert_width: int, experts: int, top_k: int):
        super().__init__()
        self.top_k, self.experts = top_k, experts
        self.shared_up = nn.Linear(width, 2 * shared_width, bias=False)
        self.shared_down = nn.Linear(shared_width, width, bias=False)
        nn.init.zeros_(self.shared_down.weight)
        if experts:
            self.router = nn.Linear(width, experts, bias=False)
            self.up = nn.Parameter(torch.randn(experts, 2 * expert_width, width) * width**-0.5)
            self.down = nn.Parameter(torch.zeros(experts, width, expert_width))
            nn.init.normal_(self.router.weight, std=0.1 * width**-0.5)
            self.register_buffer("balance", torch.zeros(experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs and what the trainer needs to keep the experts busy.

        x (T, D) float32, normalised -> output (T, D), tokens of each expert (E,), router losses (2,): of the logits'
        size (Zoph et al. 2022) and of imbalance, 1 where the load is even
        """
        gate, value = self.shared_up(x).chunk(2, dim=-1)
        out = self.shared_down(F.silu(gate) * value)
        if not self.experts:
            return out, x.new_zeros(0), x.new_zeros(2)
        with torch.autocast(x.device.type, enabled=False):
            index, weight, logits, counts = self.route(x, counted=True)
            assert counts is not None
            load = counts.sum(0)
            share = load / load.sum().clamp(min=1)
            imbalance = self.experts * (share * torch.softmax(logits, dim=-1).mean(0)).sum()
            losses = torch.stack([torch.logsumexp(logits, dim=-1).square().mean(), imbalance])
        dtype = out.dtype
        mixed = kernels.expert_mlp(x.to(dtype), self.up.to(dtype), self.down.to(dtype), index, weight, counts=counts)
        return out + mixed, load, losses

    def infer(self, x: Tensor) -> Tensor:
        """The output of `forward` alone, without a gradient; products run in the type of the weights."""
        rows = x.to(self.shared_up.weight.dtype)
        gate, value = self.shared_up(rows).chunk(2, dim=-1)
        hidden = F.silu(gate).mul_(value)
        if not self.experts:
            out: Tensor = self.shared_down(hidden)
            return out
        index, weight, _, counts = self.route(x, counted=False)
        mixed = kernels.expert_mlp(rows, self.up, self.down, index, weight, counts=counts)
        return mixed.addmm_(hidden, self.shared_down.weight.t())

    def route(self, x: Tensor, counted: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Experts of every token, chosen with the balance bias, and their weights, which ignore it: `kernels.route`."""
        index, weight, logits, counts = kernels.route(
            x, self.router.weight, self.top_k, bias=self.balance, renormalise=self.top_k > 1, counted=counted
        )
        record(index, weight)
        return index, weight, logits, counts


@torch.no_grad()
def rebalance(layer: SparseExperts, load: Tensor, rate: float) -> None:
    """Move the bias of each expert against its excess load, at most by `rate`; `load` (E,) counts one step's tokens."""
    mean = load.float().mean().clamp(min=1)
    layer.balance += rate * ((mean - load) / mean).clamp(-1, 1)
    layer.balance -= layer.balance.mean()
