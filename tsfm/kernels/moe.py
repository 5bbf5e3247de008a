"""The moves of a sparse layer that plain torch does badly on a CPU, as operations that `torch.compile` takes whole.

`dispatch` copies each token's row once for every expert it goes to, sorted by expert; `rows_matmul` multiplies each
expert's rows by its weight; `collect` puts rows back in token order. `weight_grad` is the gradient of the weights.
What lies between them (SwiGLU, weighting, the sum over a token's experts) is ordinary torch that the compiler fuses.

    order     (R,) int64     sorted row -> flat slot t * K + k
    position  (R,) int64     its inverse
    start     (E + 1,) int64 first sorted row of each expert; no row is dropped or padded

Expert loads change every step, and oneDNN builds a new primitive for every new shape (2 ms each, thirty times the
product itself). So products run in blocks of a few fixed sizes: the last block of an expert may overlap the one before
it, which recomputes some rows to the same values, and the last block of a gradient is padded with zero rows.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# T tokens, D width, K experts a token, R = T * K routed rows, E experts, M output width, N input width.

BLOCK = 512


def blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cover rows first .. last by blocks of powers of two (at most BLOCK), of which only the last overlaps another."""
    begin = first
    while begin < last:
        size = min(BLOCK, 1 << ((last - begin).bit_length() - 1))
        if begin > first and size < BLOCK:  # what is left in one block, which reaches back
            size = 1 << (last - begin - 1).bit_length()
            begin = last - size
        yield begin, begin + size
        begin += size


@torch.library.custom_op("tsfm::rows_matmul", mutates_args=())
def rows_matmul(rows: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """Each row times the weight of its expert.

    rows    (R, N)     sorted by expert
    weight  (E, M, N)  as in `nn.Linear`; any strides
    start   (E + 1,)   first row of each expert
    returns (R, M)
    """
    out = rows.new_empty(rows.shape[0], weight.shape[1])
    bounds = start.tolist()
    for expert in range(weight.shape[0]):
        matrix = weight[expert].t()
        for first, last in blocks(bounds[expert], bounds[expert + 1]):
            torch.mm(rows[first:last], matrix, out=out[first:last])
    return out


@rows_matmul.register_fake
def _(rows: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


def mix_rows(x: Tensor, up: Tensor, down: Tensor, order: Tensor, counts: list[int], weight: Tensor) -> Tensor:
    """Weighted sum of each token's SwiGLU experts, without a gradient: a block's rows stay in the cache all through.

    Only bfloat16 goes to oneDNN, so in other types a block is all that an expert has.

    x (T, D), up (E, 2F, D), down (E, D, F), order (R,), counts: rows of each expert, weight (T, K) -> (T, D)
    """
    top_k = weight.shape[1]
    token, rows, begin = order // top_k, x.new_empty(order.shape[0], x.shape[1]), 0
    for expert, count in enumerate(counts):
        into, out_of, end = up[expert].t(), down[expert].t(), begin + count
        for first, last in blocks(begin, end) if x.dtype == torch.bfloat16 else [(begin, end)]:
            gate, value = torch.mm(x.index_select(0, token[first:last]), into).chunk(2, dim=-1)
            torch.mm(F.silu(gate).mul_(value), out_of, out=rows[first:last])
        begin = end
    position = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    return F.embedding_bag(position.view(-1, top_k), rows, mode="sum", per_sample_weights=weight.to(rows.dtype))


@torch.library.custom_op("tsfm::weight_grad", mutates_args=())
def weight_grad(left: Tensor, right: Tensor, start: Tensor) -> Tensor:
    """Sum over each expert's rows of the outer product of left and right; zeros for an expert without rows.

    left (R, M), right (R, N), start (E + 1,) -> (E, M, N); blocks are summed in float32 or wider
    """
    bounds = start.tolist()
    wide = torch.promote_types(left.dtype, torch.float32)
    out = left.new_zeros(len(bounds) - 1, left.shape[1], right.shape[1], dtype=wide)
    for expert in range(out.shape[0]):
        for first in range(bounds[expert], bounds[expert + 1], BLOCK):
            last = min(first + BLOCK, bounds[expert + 1])
            out[expert] += torch.mm(padded(left[first:last]).t(), padded(right[first:last]))
    return out.to(left.dtype)


def padded(rows: Tensor) -> Tensor:
    """Rows followed by zero rows up to a power of two, at least 16."""
    size = max(16, 1 << (rows.shape[0] - 1).bit_length())
    if size == rows.shape[0]:
        return rows
    out = rows.new_zeros(size, rows.shape[1])
    out[: rows.shape[0]] = rows
    return out


@weight_grad.register_fake
def _(left: Tensor, right: Tensor, start: Tensor) -> Tensor:
    return left.new_empty(start.shape[0] - 1, left.shape[1], right.shape[1])


@torch.library.custom_op("tsfm::dispatch", mutates_args=())
def dispatch(x: Tensor, order: Tensor, position: Tensor) -> Tensor:
    """Row of each routed slot in sorted order; x (T, D), order and position (R,) -> (R, D)."""
    return x.index_select(0, order // (order.shape[0] // x.shape[0]))


@dispatch.register_fake
def _(x: Tensor, order: Tensor, position: Tensor) -> Tensor:
    return x.new_empty(order.shape[0], x.shape[1])


@torch.library.custom_op("tsfm::collect", mutates_args=())
def collect(rows: Tensor, order: Tensor, position: Tensor) -> Tensor:
    """Rows back in token order: slot t * K + k of the result is expert k of token t; (R, D) -> (R, D)."""
    return rows.index_select(0, position)


@collect.register_fake
def _(rows: Tensor, order: Tensor, position: Tensor) -> Tensor:
    return torch.empty_like(rows)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _keep_order(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _rows_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    rows, weight, start = ctx.saved_tensors
    grad = grad.contiguous()
    return rows_matmul(grad, weight.transpose(1, 2), start), weight_grad(grad, rows, start), None


def _dispatch_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    order, position = ctx.saved_tensors
    return collect(grad.contiguous(), order, position).view(ctx.tokens, -1, grad.shape[1]).sum(1), None, None


def _keep_tokens(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.tokens = inputs[0].shape[0]
    _keep_order(ctx, inputs, output)


def _collect_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    order, position = ctx.saved_tensors
    return collect(grad.contiguous(), position, order), None, None


rows_matmul.register_autograd(_rows_matmul_backward, setup_context=_keep)
dispatch.register_autograd(_dispatch_backward, setup_context=_keep_tokens)
collect.register_autograd(_collect_backward, setup_context=_keep_order)
