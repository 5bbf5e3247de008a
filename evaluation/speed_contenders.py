"""Ways to compute a sparse layer, and the ways its tokens may be routed: what `speed_layers.py` compares.

ours           `tsfm.kernels.expert_mlp`, the path of this device
loop           for every expert: find its tokens, gather, multiply, add back (as in textbooks)
grouped_mm     sort rows, `torch.nn.functional.grouped_mm`, sort back; also compiled
padded bmm     every expert padded to the largest load, two batched products; also compiled
dense          one SwiGLU network on as many rows: no routing, no gather, the yardstick
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.speed_limits import Shape
from tsfm import kernels

# T tokens, D width, F expert width, E experts, K experts a token, R = T * K routed rows.

ROUTINGS = ("uniform", "zipf", "one", "recorded")


class Layer(NamedTuple):
    """What a sparse layer takes: x (T, D), up (E, 2F, D), down (E, D, F), index and weight (T, K)."""

    x: Tensor
    up: Tensor
    down: Tensor
    index: Tensor
    weight: Tensor


Contender = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def draw_layer(
    shape: Shape, routing: str, device: torch.device, dtype: torch.dtype, recorded: Tensor | None = None
) -> Layer:
    """A random layer whose tokens are routed as asked; `recorded` (T', K) are choices of a trained router."""
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*sizes, generator=generator)).to(device, dtype)

    tokens, width, ffn, experts, top_k = shape
    index = choices(shape, routing, generator, recorded).to(device)
    weight = torch.softmax(torch.randn(tokens, top_k, generator=generator), -1).to(device)
    up, down = normal(experts, 2 * ffn, width, scale=width**-0.5), normal(experts, width, ffn, scale=ffn**-0.5)
    return Layer(normal(tokens, width), up, down, index, weight)


def choices(shape: Shape, routing: str, generator: torch.Generator, recorded: Tensor | None = None) -> Tensor:
    """Different experts of every token (T, K): alike, by Zipf's law, the same for all, or as a trained router chose."""
    tokens, experts, top_k = shape.tokens, shape.experts, shape.top_k
    if routing == "one":
        return torch.arange(top_k).expand(tokens, top_k).contiguous()
    if routing == "recorded":
        assert recorded is not None, "recorded routing needs the choices of a router"
        index = recorded.repeat(-(-tokens // len(recorded)), 1)[:tokens, :top_k] % experts
        for k in range(1, top_k):  # folding two experts into one may have made a token's experts equal
            while (equal := (index[:, k : k + 1] == index[:, :k]).any(1)).any():
                index[equal, k] = (index[equal, k] + 1) % experts
        return index
    odds = torch.ones(experts) if routing == "uniform" else 1 / torch.arange(1, experts + 1)
    return torch.multinomial(odds.expand(tokens, -1), top_k, generator=generator)


def loop(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """One expert at a time, as textbooks do it."""
    out = torch.zeros_like(x)
    for expert in range(up.shape[0]):
        token, slot = torch.where(index == expert)
        gate, value = F.linear(x[token], up[expert]).chunk(2, dim=-1)
        rows = F.linear(F.silu(gate) * value, down[expert])
        out = out.index_add(0, token, rows * weight[token, slot, None].to(rows.dtype))
    return out


def grouped(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sort, multiply with `grouped_mm`, sort back."""
    flat, top_k = index.flatten(), index.shape[1]
    order = flat.argsort(stable=True)
    ends = (flat[:, None] == torch.arange(up.shape[0], device=x.device)).sum(0).cumsum(0).int()
    gate, value = F.grouped_mm(x[order // top_k], up.transpose(1, 2), offs=ends).chunk(2, dim=-1)
    rows = F.grouped_mm(F.silu(gate) * value, down.transpose(1, 2), offs=ends)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
    return (rows[back].view(*index.shape, -1) * weight[..., None].to(rows.dtype)).sum(1)


def padded(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor, room: int | None = None) -> Tensor:
    """Two batched products, every expert with as many rows as the busiest one."""
    flat, (experts, width) = index.flatten(), down.shape[:2]
    mine = (flat[:, None] == torch.arange(experts, device=x.device)).int()  # (R, E)
    seat = (mine.cumsum(0) - 1).gather(1, flat[:, None]).squeeze(1)
    room = int(mine.sum(0).amax()) if room is None else room
    place = flat * room + seat
    token = torch.arange(len(flat), device=x.device) // index.shape[1]
    rows = x.new_zeros(experts * room, width).index_copy(0, place, x[token]).view(experts, room, width)
    gate, value = torch.bmm(rows, up.transpose(1, 2)).chunk(2, dim=-1)
    rows = torch.bmm(F.silu(gate) * value, down.transpose(1, 2)).flatten(0, 1)
    return (rows[place].view(*index.shape, -1) * weight[..., None].to(rows.dtype)).sum(1)


def dense(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """One network on R rows, which are x again and again: what the arithmetic alone costs."""
    gate, value = F.linear(x, up[0]).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * value, down[0])


def contenders(layer: Layer, compiled: bool) -> dict[str, Contender]:
    """Name -> way to compute the layer; compiled ones too if asked."""
    found: dict[str, Contender] = {"ours": kernels.expert_mlp, "loop": loop, "padded bmm": padded}
    if hasattr(F, "grouped_mm"):
        found["grouped_mm"] = grouped
    if compiled:
        torch.compiler.reset()  # else the limit on recompilations is reached after a few layers
        room = int(layer.index.flatten().bincount(minlength=layer.up.shape[0]).max())
        found["ours, compiled"] = torch.compile(kernels.expert_mlp, dynamic=False)
        found["padded bmm, compiled"] = torch.compile(lambda *given: padded(*given, room=room), dynamic=False)
        if "grouped_mm" in found and layer.x.is_cuda and layer.x.dtype == torch.bfloat16:
            found["grouped_mm, compiled"] = torch.compile(grouped, dynamic=False)
    return found


def as_mode(compute: Contender, layer: Layer, mode: str) -> Callable[[], object]:
    """The layer as a call: "forward" without gradients, "saving" what a backward pass needs, "forward+backward"."""
    if mode == "forward":

        def forward() -> Tensor:
            with torch.inference_mode():
                return compute(*layer)

        return forward
    learned = [layer.x, layer.up, layer.down, layer.weight]
    x, up, down, weight = (one.detach().clone().requires_grad_() for one in learned)
    if mode == "saving":
        return lambda: compute(x, up, down, layer.index, weight)
    pull = torch.randn_like(x)
    leaves = (x, up, down) if compute is dense else (x, up, down, weight)
    return lambda: torch.autograd.grad(compute(x, up, down, layer.index, weight), leaves, pull)
