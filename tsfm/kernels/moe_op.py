"""The Triton path as one differentiable operation, and the router beside it, registered with torch.library.

They are opaque to `torch.compile` (`custom_op` rather than `triton_op`, which would trace into the launchers): it takes
the layer whole, and the operation that the interpreter tests on a CPU is the one that runs on a GPU. Nothing waits for
the device, so a layer can be captured in a CUDA graph. Kept for the backward: x, z, the index arrays and the weights.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from tsfm.kernels import reference
from tsfm.kernels.moe_triton import act_backward, combine, rows_matmul, up_swiglu, weight_grad
from tsfm.kernels.route_triton import EXPERTS as EXPERTS
from tsfm.kernels.route_triton import blocks_of_tokens, sort_rows
from tsfm.kernels.route_triton import route as route_launcher
from tsfm.kernels.tiles import Tiles, fitting, tile_for

# T tokens, D width, E experts, K experts a token, F expert width, R = T * K routed rows.

Routing = tuple[Tensor, Tensor, Tensor, Tensor]
Saved = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def expert_mlp(
    x: Tensor,
    up: Tensor,
    down: Tensor,
    index: Tensor,
    weight: Tensor,
    counts: Tensor | None = None,
    *,
    recompute: bool = False,
) -> Tensor:
    """Weighted sum of each token's SwiGLU experts; see `tsfm.kernels.expert_mlp`."""
    learns = torch.is_grad_enabled() and (
        x.requires_grad or up.requires_grad or down.requires_grad or weight.requires_grad
    )
    out: Tensor = moe_forward(x, up, down, index, weight, counts, learns and not recompute)[0]
    return out


def route(
    x: Tensor,
    router: Tensor,
    top_k: int,
    *,
    scoring: reference.Scoring = "softmax",
    bias: Tensor | None = None,
    renormalise: bool = True,
) -> Routing:
    """Experts, mixing weights, logits and counts of every token in one launch; see `tsfm.kernels.route`."""
    logits, index, weight, counts = route_forward(x, router, bias, top_k, scoring == "sigmoid", renormalise)
    if logits.requires_grad:
        weight = reference.scores(logits, index, scoring=scoring, renormalise=renormalise)
    return index, weight, logits, counts


@cache
def _shared_memory(device: torch.device) -> int:
    """Bytes that a program may share, without limit under the interpreter."""
    if device.type != "cuda":
        return 2**31
    return int(getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 2**16))


def _tiles(x: Tensor, rows: int, experts: int, ffn: int) -> Tiles:
    """Tiles for this layer, with as many loads in flight as the device can hold."""
    tiles = tile_for(rows // experts, x.shape[1], ffn, x.dtype)
    return fitting(tiles, x.element_size(), _shared_memory(x.device))


@torch.library.custom_op("tsfm::moe_forward", mutates_args=())
def moe_forward(
    x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor, counts: Tensor | None, keep: bool
) -> Saved:
    """The mixture (T, D), and for the backward z (R, 2F), without rows unless `keep`, order, position and start."""
    if not x.dtype == up.dtype == down.dtype:
        raise TypeError(f"x is {x.dtype}, up {up.dtype}, down {down.dtype}: the kernels multiply one type")
    x, up, down, weight = x.contiguous(), up.contiguous(), down.contiguous(), weight.contiguous()
    experts = up.shape[0]
    tiles = _tiles(x, index.numel(), experts, down.shape[2])
    with torch.cuda.device_of(x):  # Triton launches on the current device, whatever the tensors say
        order, position, start = sort_rows(index.contiguous(), experts, counts)
        hidden, z = up_swiglu(x, up, order, start, tiles.up, z=keep)
        rows = rows_matmul(hidden, down, start, tiles.rows)
        return combine(rows, position, x.shape[0], weight), z, order, position, start


@moe_forward.register_fake
def _(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor, counts: Tensor | None, keep: bool) -> Saved:
    rows = index.numel()
    z = x.new_empty(rows if keep else 0, up.shape[1])
    order, position = x.new_empty(rows, dtype=torch.int32), x.new_empty(rows, dtype=torch.int32)
    return x.new_empty(x.shape), z, order, position, x.new_empty(up.shape[0] + 1, dtype=torch.int32)


@torch.library.custom_op("tsfm::moe_backward", mutates_args=())
def moe_backward(
    grad: Tensor,
    x: Tensor,
    up: Tensor,
    down: Tensor,
    weight: Tensor,
    z: Tensor,
    order: Tensor,
    position: Tensor,
    start: Tensor,
    of_x: bool,
    of_up: bool,
    of_down: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, up, down and weight from that of the mixture, the first three empty where not asked for.

    z is computed again where it has no rows.
    """
    grad, x, up, down, weight = (one.contiguous() for one in (grad, x, up, down, weight))
    tokens, top_k = weight.shape
    tiles = _tiles(x, order.shape[0], up.shape[0], down.shape[2])
    grad_x, grad_up, grad_down = (x.new_empty(0) for _ in range(3))
    with torch.cuda.device_of(x):
        if z.shape[0] < order.shape[0]:
            z = up_swiglu(x, up, order, start, tiles.up, hidden=False)[1]
        grad_z, scaled, shares = act_backward(grad, down, z, weight, order, start, tiles.back)
        if of_down:
            grad_down = weight_grad(grad, scaled, order, start, top_k, tiles.grad, left_by_token=True)
        del scaled, z
        if of_up:
            grad_up = weight_grad(grad_z, x, order, start, top_k, tiles.grad, left_by_token=False)
        if of_x:
            grad_x = combine(rows_matmul(grad_z, up, start, tiles.rows, matrix_first=True), position, tokens)
    return grad_x, grad_up, grad_down, shares.index_select(0, position).view(tokens, top_k).to(weight.dtype)


@moe_backward.register_fake
def _(grad: Tensor, x: Tensor, up: Tensor, down: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, ...]:
    made = [one.new_empty(one.shape if asked else 0) for one, asked in zip((x, up, down), others[-3:], strict=True)]
    return *made, weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Saved) -> None:
    x, up, down, _, weight, *_ = inputs
    ctx.set_materialize_grads(False)  # else zeros as large as z would be made
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, up, down, weight, *output[1:])


def _moe_gradients(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    asked = ctx.needs_input_grad[:3]
    *found, grad_weight = moe_backward(grad, *ctx.saved_tensors, *asked)
    grad_x, grad_up, grad_down = (one if wanted else None for one, wanted in zip(found, asked, strict=True))
    return grad_x, grad_up, grad_down, None, grad_weight, None, None


moe_forward.register_autograd(_moe_gradients, setup_context=_keep)


@torch.library.custom_op("tsfm::route", mutates_args=())
def route_forward(
    x: Tensor, router: Tensor, bias: Tensor | None, top_k: int, sigmoid: bool, renormalise: bool
) -> Routing:
    """Logits (T, E), index (T, K) int64, weight (T, K), counts (blocks, E); only the logits carry a gradient."""
    given = None if bias is None else bias.contiguous()
    with torch.cuda.device_of(x):
        index, weight, logits, counts = route_launcher(
            x.contiguous(), router.contiguous(), given, top_k, sigmoid=sigmoid, renormalise=renormalise
        )
    return logits, index, weight, counts


@route_forward.register_fake
def _(x: Tensor, router: Tensor, bias: Tensor | None, top_k: int, sigmoid: bool, renormalise: bool) -> Routing:
    tokens, experts = x.shape[0], router.shape[0]
    logits, weight = (x.new_empty(tokens, size, dtype=torch.float32) for size in (experts, top_k))
    counts = x.new_empty(blocks_of_tokens(tokens, experts), experts, dtype=torch.int32)
    return logits, x.new_empty(tokens, top_k, dtype=torch.int64), weight, counts


def _keep_router(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(inputs[0], inputs[1])


def _route_gradients(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    x, router = ctx.saved_tensors
    with torch.autocast(grad.device.type, enabled=False):
        grad_x = (grad @ router.float()).to(x.dtype) if ctx.needs_input_grad[0] else None
        grad_router = (grad.t() @ x.float()).to(router.dtype) if ctx.needs_input_grad[1] else None
    return grad_x, grad_router, None, None, None, None


route_forward.register_autograd(_route_gradients, setup_context=_keep_router)
