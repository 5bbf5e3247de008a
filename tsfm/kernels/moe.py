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

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tsfm.kernels.reference import Scoring

# T tokens, D width, K experts a token, R = T * K routed rows, E experts, M output width, N input width.

BLOCK = 512

# Of forecasts: bytes of a block with its inputs, hidden values and outputs; rows of the largest block; rows come in
# multiples of GRAIN; operations that take as long as one call. Measured on cores with AMX, AVX512 and 2 MB of cache.
CACHE, LARGEST, GRAIN, PER_CALL = 3 * 2**20, 1024, 32, 5 * 10**7


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
    with torch.autocast(rows.device.type, enabled=False):
        for expert in range(weight.shape[0]):
            matrix = weight[expert].t()
            for first, last in blocks(bounds[expert], bounds[expert + 1]):
                torch.mm(rows[first:last], matrix, out=out[first:last])
    return out


@rows_matmul.register_fake
def _(rows: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


def plain_route(
    x: Tensor, router: Tensor, top_k: int, scoring: Scoring, bias: Tensor | None, renormalise: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Index (T, K), weight (T, K) and logits (T, E) as `reference.route` gives them.

    K times the best expert of those left, where ties go to the first one: `topk`, which takes as long, promises nothing
    of ties. Experts come first in memory, so that what is done for every token runs along the tokens.

    x (T, D), router (E, D), bias (E,)
    """
    logits = router @ x.t()  # (E, T)
    with torch.no_grad():
        choice, found = logits, []
        if bias is not None:
            choice = (torch.sigmoid(logits) if scoring == "sigmoid" else logits) + bias[:, None]
        choice = choice.clamp(min=torch.finfo(choice.dtype).min)  # so that only experts taken are at -inf
        for _ in range(top_k):
            found.append(choice.max(0).indices)
            choice = choice.scatter(0, found[-1][None], -torch.inf)
        index = torch.stack(found)  # (K, T)
    chosen = logits.gather(0, index)
    if scoring == "softmax":
        weight = torch.softmax(chosen, 0) if renormalise else torch.softmax(logits, 0).gather(0, index)
    else:
        weight = torch.sigmoid(chosen)
        if renormalise:
            weight = weight / weight.sum(0).clamp_min(torch.finfo(weight.dtype).tiny)
    return index.t().contiguous(), weight.t().contiguous(), logits.t()


class Block(NamedTuple):
    """A matrix product: neighbouring experts, rows of each, and how often the product is repeated for more rows."""

    first: int
    experts: int
    rows: int
    times: int


def mix_rows(x: Tensor, up: Tensor, down: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of each token's SwiGLU experts, without a gradient: a block's rows stay in the cache all through.

    x (T, D), up (E, 2F, D), down (E, D, F), index (T, K), weight (T, K) -> (T, D)
    """
    experts, width, ffn = down.shape
    expert = index.flatten().to("cpu", torch.uint8 if experts <= 256 else torch.int16).numpy()
    counts = np.bincount(expert, minlength=experts)
    plan = plan_blocks(counts.tolist(), width, ffn, x.dtype)
    token, place = (torch.from_numpy(found).to(x.device) for found in seats(expert, counts, plan, index.shape[1]))
    rows, begin = x.new_empty(token.numel(), width), 0
    for block in plan:
        one, of = block.experts == 1, slice(block.first, block.first + block.experts)
        into, out_of = (up[block.first], down[block.first].t()) if one else (up[of], down[of].transpose(1, 2))
        size, multiply = block.experts * block.rows, torch.mm if one else torch.bmm
        for _ in range(block.times):
            here, out = x.index_select(0, token[begin : begin + size]), rows[begin : begin + size]
            if not one:
                here, out = here.view(block.experts, -1, width), out.view(block.experts, -1, width)
            multiply(swiglu(here, into, multiply), out_of, out=out)
            begin += size
    return F.embedding_bag(place.view(index.shape), rows, mode="sum", per_sample_weights=weight.to(rows.dtype))


def swiglu(rows: Tensor, up: Tensor, multiply: Callable[..., Tensor]) -> Tensor:
    """silu(gate) * value of rows (..., n, D) under up (..., 2F, D); -> (..., n, F).

    oneDNN, which multiplies bfloat16, brings the second matrix into an order of its own: the smaller one comes second.
    """
    if rows.dtype == torch.bfloat16 and rows.shape[-2] < up.shape[-2]:
        gate, value = multiply(up, rows.transpose(-1, -2)).chunk(2, dim=-2)
        return F.silu(gate, inplace=True).mul_(value).transpose(-1, -2)
    gate, value = multiply(rows, up.transpose(-1, -2)).chunk(2, dim=-1)
    return F.silu(gate, inplace=True).mul_(value)


def plan_blocks(counts: list[int], width: int, ffn: int, dtype: torch.dtype) -> list[Block]:
    """Blocks that cover the rows of every expert and fit into the cache.

    In bfloat16 a block has a multiple of 32 rows, so that shapes come back, and a call costs as much as PER_CALL
    operations: neighbours that together fit into the cache, and that this many operations fill up to the same number of
    rows, become one product.
    """
    grouped = dtype == torch.bfloat16
    row, spare = dtype.itemsize * (2 * width + 3 * ffn), PER_CALL // (6 * width * ffn)
    target, blocks = max(64, min(LARGEST, CACHE // row)), list[Block]()
    for expert, count in enumerate(counts):
        times = max(1, (count + target // 2) // target)
        rows = -(-count // times)
        if grouped:
            rows = -(-rows // GRAIN) * GRAIN
            last = blocks[-1] if blocks else Block(0, 0, 0, 0)
            high = max(rows, last.rows)
            filled = last.experts * (high - last.rows) + high - rows
            next_to_it = last.times == times == 1 and last.first + last.experts == expert  # none without rows between
            if next_to_it and (last.experts + 1) * high * row <= CACHE and filled <= spare:
                blocks[-1] = Block(last.first, last.experts + 1, high, 1)
                continue
        if rows:
            blocks.append(Block(expert, 1, rows, times))
    return blocks


def seats(
    expert: NDArray[Any], counts: NDArray[np.int64], plan: list[Block], top_k: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token of every row of the blocks, some of them idle, and row of every slot (R,).

    NumPy sorts small integers by radix, several times as fast as torch; torch gathers faster by int32 than by int64.

    expert (R,) of every slot t * K + k, counts (E,) its histogram
    """
    total = sum(block.experts * block.rows * block.times for block in plan)
    order = expert.argsort(kind="stable")
    row = np.arange(len(expert), dtype=np.int32)
    if total > len(expert):
        room = np.zeros(len(counts), np.int64)
        for block in plan:
            room[block.first : block.first + block.experts] = block.rows * block.times
        row += (room.cumsum() - room - counts.cumsum() + counts).astype(np.int32).repeat(counts)
    token, place = np.zeros(total, np.int32), np.empty(len(expert), np.int32)
    token[row], place[order] = order // top_k, row
    return token, place


@torch.library.custom_op("tsfm::weight_grad", mutates_args=())
def weight_grad(left: Tensor, right: Tensor, start: Tensor) -> Tensor:
    """Sum over each expert's rows of the outer product of left and right; zeros for an expert without rows.

    left (R, M), right (R, N), start (E + 1,) -> (E, M, N); blocks are summed in float32 or wider
    """
    bounds = start.tolist()
    wide = torch.promote_types(left.dtype, torch.float32)
    out = left.new_zeros(len(bounds) - 1, left.shape[1], right.shape[1], dtype=wide)
    with torch.autocast(left.device.type, enabled=False):
        for expert, (begin, end) in enumerate(pairwise(bounds)):
            if left.dtype == wide:  # not of oneDNN: any shape will do, and the sum over blocks costs two passes each
                torch.mm(left[begin:end].t(), right[begin:end], out=out[expert])
                continue
            for first in range(begin, end, BLOCK):
                last = min(first + BLOCK, end)
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
def dispatch(x: Tensor, order: Tensor, position: Tensor, top_k: int) -> Tensor:
    """Row of each routed slot in sorted order; x (T, D), order and position (R,) -> (R, D)."""
    return x.index_select(0, order // top_k)


@dispatch.register_fake
def _(x: Tensor, order: Tensor, position: Tensor, top_k: int) -> Tensor:
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


def _rows_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    rows, weight, start = ctx.saved_tensors
    grad = grad.contiguous()
    of_rows = rows_matmul(grad, weight.transpose(1, 2), start) if ctx.needs_input_grad[0] else None
    return of_rows, weight_grad(grad, rows, start) if ctx.needs_input_grad[1] else None, None


def _dispatch_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    order, position = ctx.saved_tensors
    per_token = collect(grad.contiguous(), order, position).view(-1, ctx.top_k, grad.shape[1])
    return per_token.sum(1), None, None, None


def _keep_order_and_top_k(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    *tensors, ctx.top_k = inputs
    ctx.save_for_backward(*tensors[1:])


def _collect_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    order, position = ctx.saved_tensors
    return collect(grad.contiguous(), position, order), None, None


rows_matmul.register_autograd(_rows_matmul_backward, setup_context=_keep)
dispatch.register_autograd(_dispatch_backward, setup_context=_keep_order_and_top_k)
collect.register_autograd(_collect_backward, setup_context=_keep_order)
