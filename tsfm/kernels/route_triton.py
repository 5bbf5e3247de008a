"""Routing on the GPU (Triton): experts of every token, and the order that sorts rows by expert. No sort, no host sync.

    index     (T, K)      experts of each token, best first
    counts    (blocks, E) slots that each block of tokens gives to each expert
    base      (blocks, E) first sorted row of a block's slots of an expert
    start     (E + 1,)    first sorted row of each expert
    order     (R,)        sorted row -> flat slot t * K + k
    position  (R,)        its inverse

A block counts its slots, one program sums the counts over blocks, and each block places its own slots: a slot's row is
the block's base plus its rank inside the block, so the order is that of a stable sort and the same in every run.
All index arrays but the int64 `index` are int32.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-any-return"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tsfm.kernels.moe_triton import checked

# T tokens, D width, E experts, K experts a token, R = T * K slots.

# Numbers of one-hot that a program holds, tokens of a block at most, and experts at most: more take torch's sort.
HELD, TOKENS, EXPERTS = 4096, 128, 256

LOWEST = tl.constexpr(-3.4028234663852886e38)  # of float32


@triton.jit(do_not_specialize=["T"])
def route_kernel(
    x,  # (T, D)
    router,  # (E, D)
    bias,  # (E,) where HAS_BIAS
    logits,  # (T, E) float32
    index,  # (T, K) int64
    score,  # (T, K) float32
    counts,  # (blocks, E)
    T,
    D: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    E_POW2: tl.constexpr,
    K_POW2: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SIGMOID: tl.constexpr,
    RENORMALISE: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Logits, the K experts of the largest ones (ties: the lowest), their mixing weights, and this block's counts."""
    block = tl.program_id(0)
    token = block * BLOCK_TOKENS + tl.arange(0, BLOCK_TOKENS)
    inside = token < T
    row = token.to(tl.int64)
    expert = tl.arange(0, E_POW2)
    real = expert < E
    dots = tl.zeros((BLOCK_TOKENS, E_POW2), tl.float32)
    for first in range(0, D, BLOCK_DEPTH):
        depth = first + tl.arange(0, BLOCK_DEPTH)
        left = tl.load(x + row[:, None] * D + depth[None, :], mask=inside[:, None] & (depth < D)[None, :], other=0.0)
        right = tl.load(
            router + expert[None, :] * D + depth[:, None], mask=real[None, :] & (depth < D)[:, None], other=0.0
        )
        dots = tl.dot(left.to(tl.float32), right.to(tl.float32), dots, input_precision="ieee")
    kept = inside[:, None] & real[None, :]
    tl.store(logits + row[:, None] * E + expert[None, :], dots, mask=kept)

    choice = dots
    if HAS_BIAS:  # without, sigmoids would rank as logits do, but for large ones that round to 1
        choice = tl.sigmoid(dots) if SIGMOID else dots
        choice += tl.load(bias + expert, mask=real, other=0.0).to(tl.float32)[None, :]
    choice = tl.where(choice == choice, tl.maximum(choice, LOWEST), LOWEST)  # so that only experts taken are below it
    choice = tl.where(real[None, :], choice, float("-inf"))
    slot = tl.arange(0, K_POW2)
    best = tl.zeros((BLOCK_TOKENS, K_POW2), tl.int32)
    picked = tl.full((BLOCK_TOKENS, K_POW2), float("-inf"), tl.float32)
    tally = tl.zeros((BLOCK_TOKENS, E_POW2), tl.int32)
    for k in tl.static_range(K):
        found = tl.argmax(choice, 1, tie_break_left=True)
        mine = expert[None, :] == found[:, None]
        best = tl.where(slot[None, :] == k, found[:, None], best)
        picked = tl.where(slot[None, :] == k, tl.sum(tl.where(mine, dots, 0.0), 1)[:, None], picked)
        tally += (mine & inside[:, None]).to(tl.int32)
        choice = tl.where(mine, float("-inf"), choice)

    if SIGMOID:
        odds = tl.sigmoid(picked)
        total = tl.sum(odds, 1) if RENORMALISE else tl.full((BLOCK_TOKENS,), 1.0, tl.float32)
    else:
        every = tl.where(real[None, :], dots, float("-inf"))
        top = tl.max(picked, 1) if RENORMALISE else tl.max(every, 1)
        odds = tl.exp(picked - top[:, None])
        total = tl.sum(odds, 1) if RENORMALISE else tl.sum(tl.exp(every - top[:, None]), 1)
    total = tl.maximum(total, 1.1754944e-38)  # all of a token's sigmoids may underflow
    out = row[:, None] * K + slot[None, :]
    held = inside[:, None] & (slot < K)[None, :]
    tl.store(index + out, best.to(tl.int64), mask=held)
    tl.store(score + out, odds / total[:, None], mask=held)
    tl.store(counts + block.to(tl.int64) * E + expert, tl.sum(tally, 0), mask=real)


@triton.jit(do_not_specialize=["T"])
def count_kernel(
    index,  # (T, K)
    counts,  # (blocks, E)
    T,
    E: tl.constexpr,
    K: tl.constexpr,
    E_POW2: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
):
    """Slots of each expert in one block of tokens."""
    block = tl.program_id(0)
    token = block * BLOCK_TOKENS + tl.arange(0, BLOCK_TOKENS)
    expert = tl.arange(0, E_POW2)
    tally = tl.zeros((BLOCK_TOKENS, E_POW2), tl.int32)
    for k in tl.static_range(K):
        chosen = tl.load(index + token.to(tl.int64) * K + k, mask=token < T, other=-1)
        tally += (chosen[:, None] == expert[None, :]).to(tl.int32)
    tl.store(counts + block.to(tl.int64) * E + expert, tl.sum(tally, 0), mask=expert < E)


@triton.jit(do_not_specialize=["blocks"])
def scan_counts_kernel(
    counts,  # (blocks, E)
    base,  # (blocks, E)
    start,  # (E + 1,)
    blocks,
    E: tl.constexpr,
    E_POW2: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """First sorted row of each expert, and of each block's slots inside it; one program."""
    expert = tl.arange(0, E_POW2)
    real = expert < E
    total = tl.zeros((E_POW2,), tl.int32)
    for first in range(0, blocks, BLOCK):
        block = first + tl.arange(0, BLOCK)
        at = block.to(tl.int64)[:, None] * E + expert[None, :]
        total += tl.sum(tl.load(counts + at, mask=(block < blocks)[:, None] & real[None, :], other=0), 0)
    begin = tl.cumsum(total, 0) - total
    tl.store(start + expert, begin, mask=real)
    tl.store(start + E, tl.sum(total, 0))
    for first in range(0, blocks, BLOCK):
        block = first + tl.arange(0, BLOCK)
        at = block.to(tl.int64)[:, None] * E + expert[None, :]
        inside = (block < blocks)[:, None] & real[None, :]
        here = tl.load(counts + at, mask=inside, other=0)
        tl.store(base + at, begin[None, :] + tl.cumsum(here, 0) - here, mask=inside)
        begin += tl.sum(here, 0)


@triton.jit(do_not_specialize=["T"])
def place_kernel(
    index,  # (T, K)
    base,  # (blocks, E)
    order,  # (R,)
    position,  # (R,)
    T,
    E: tl.constexpr,
    K: tl.constexpr,
    E_POW2: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
):
    """Sorted row of every slot of one block of tokens."""
    block = tl.program_id(0)
    token = block * BLOCK_TOKENS + tl.arange(0, BLOCK_TOKENS)
    inside = token < T
    expert = tl.arange(0, E_POW2)
    tally = tl.zeros((BLOCK_TOKENS, E_POW2), tl.int32)
    for k in tl.static_range(K):
        chosen = tl.load(index + token.to(tl.int64) * K + k, mask=inside, other=-1)
        tally += (chosen[:, None] == expert[None, :]).to(tl.int32)
    first = tl.load(base + block.to(tl.int64) * E + expert, mask=expert < E, other=0)
    row = first[None, :] + tl.cumsum(tally, 0) - tally  # next free row of each expert, as each token finds it
    for k in tl.static_range(K):
        chosen = tl.load(index + token.to(tl.int64) * K + k, mask=inside, other=-1)
        mine = (chosen[:, None] == expert[None, :]).to(tl.int32)
        mine_row = tl.sum(mine * row, 1)
        slot = token * K + k
        tl.store(position + slot, mine_row, mask=inside)
        tl.store(order + mine_row, slot, mask=inside)
        row += mine


def block_of_tokens(experts: int) -> int:
    """Tokens of a block: the one-hot matrix of a block fits into a program's registers."""
    return max(16, min(TOKENS, HELD // triton.next_power_of_2(max(16, experts))))


def blocks_of_tokens(tokens: int, experts: int) -> int:
    """Blocks that count and place their slots on their own."""
    block = block_of_tokens(experts)
    return (tokens + block - 1) // block


def route(
    x: Tensor, router: Tensor, bias: Tensor | None, top_k: int, *, sigmoid: bool, renormalise: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Experts (T, K), weights (T, K), logits (T, E), both float32, and counts of x (T, D) under router (E, D)."""
    tokens, width = x.shape
    experts, block = router.shape[0], block_of_tokens(router.shape[0])
    assert experts <= EXPERTS, f"the kernel chooses among {EXPERTS} experts at most, not {experts}"
    checked(x, router, *([] if bias is None else [bias]))
    pow2 = triton.next_power_of_2(max(16, experts))
    index = x.new_empty(tokens, top_k, dtype=torch.int64)
    score = x.new_empty(tokens, top_k, dtype=torch.float32)
    logits = x.new_empty(tokens, experts, dtype=torch.float32)
    counts = x.new_empty(blocks_of_tokens(tokens, experts), experts, dtype=torch.int32)
    if tokens:
        route_kernel[(counts.shape[0],)](
            x,
            router,
            router if bias is None else bias,
            logits,
            index,
            score,
            counts,
            tokens,
            width,
            experts,
            top_k,
            E_POW2=pow2,
            K_POW2=triton.next_power_of_2(top_k),
            HAS_BIAS=bias is not None,
            SIGMOID=sigmoid,
            RENORMALISE=renormalise,
            BLOCK_TOKENS=block,
            BLOCK_DEPTH=min(64, HELD // pow2, triton.next_power_of_2(max(16, width))),
        )
    return index, score, logits, counts


def sort_rows(index: Tensor, experts: int, counts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted rows of the slots of index (T, K): order (R,), position (R,) and start (E + 1,).

    counts: what `route` returned with this index; without, or from a router that counts in other blocks, counted here
    """
    tokens, top_k = index.shape
    assert index.is_contiguous() and tokens * top_k < 2**31, "more slots than int32 can number"
    block, pow2 = block_of_tokens(experts), triton.next_power_of_2(max(16, experts))
    blocks = blocks_of_tokens(tokens, experts)
    if not tokens or experts > EXPERTS:
        return sort_by_torch(index.flatten(), experts)
    order, position = (index.new_empty(tokens * top_k, dtype=torch.int32) for _ in range(2))
    start = index.new_empty(experts + 1, dtype=torch.int32)
    shape: dict[str, Any] = {"E": experts, "E_POW2": pow2}
    assert counts is None or counts.shape[1] == experts, f"counts are of {counts.shape[1]} experts, not {experts}"
    if counts is None or counts.shape[0] != blocks:
        counts = index.new_empty(blocks, experts, dtype=torch.int32)
        count_kernel[(blocks,)](index, counts, tokens, K=top_k, BLOCK_TOKENS=block, **shape)
    base = torch.empty_like(counts)
    scan_counts_kernel[(1,)](counts, base, start, blocks, BLOCK=max(1, HELD // pow2), **shape)
    place_kernel[(blocks,)](index, base, order, position, tokens, K=top_k, BLOCK_TOKENS=block, **shape)
    return order, position, start


def sort_by_torch(slots: Tensor, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """`sort_rows` of slots (R,) for any number of experts; waits for nothing either."""
    chosen, order = slots.sort(stable=True)
    position = torch.empty_like(order).scatter_(0, order, torch.arange(slots.numel(), device=slots.device))
    start = torch.searchsorted(chosen, torch.arange(experts + 1, device=slots.device))
    return order.int(), position.int(), start.int()
