"""Products of rows sorted by expert, forward and backward (Triton). Only kernels and their launchers.

    order     (R,)    sorted row -> flat slot t * K + k
    position  (R,)    its inverse
    start     (E+1,)  first sorted row of each expert

A row tile belongs to one expert, and its tail is masked, so no row is padded or copied. The grid is the host-known
bound R // BLOCK_ROWS + E; a tile finds its expert from `start` and idle tiles leave at once, so nothing is copied back
to the host. Activations are gathered on load and written as rows; each token then gathers its K rows, so there are no
atomics and two runs are equal to the last bit. What is kept for the backward is z alone (Guo et al. 2025, SonicMoE:
the gate gradient is <dO W, a>, so the expert outputs need not be saved). Sums are float32 for every input type.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-any-return"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tsfm.kernels.tiles import Tile

# T tokens, D width, E experts, K experts a token, F expert width, R = T * K routed rows.

# Row tiles whose columns run together, so that the weights of an expert stay in the cache.
TOGETHER = 8

# Programs that fill a large GPU: an expert's rows are split among several below that, into parts of LONG rows or more.
ENOUGH, LONG = 264, 256


@triton.jit
def owner(tile, start, E: tl.constexpr, E_POW2: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """Expert of a row tile, its first row, and the expert's end (first >= end: idle)."""
    e = tl.arange(0, E_POW2)
    lo = tl.load(start + e, mask=e < E, other=0)
    hi = tl.load(start + e + 1, mask=e < E, other=0)
    tiles = tl.cdiv(hi - lo, BLOCK_ROWS)
    last = tl.cumsum(tiles, 0)
    expert = tl.sum(((last <= tile) & (e < E)).to(tl.int32), 0)
    mine = e == expert
    first = tl.sum(tl.where(mine, lo + (tile - last + tiles) * BLOCK_ROWS, 0), 0)
    return expert.to(tl.int64), first, tl.sum(tl.where(mine, hi, 0), 0)


@triton.jit
def tile_of(row_tiles, COLUMN_TILES: tl.constexpr, TOGETHER: tl.constexpr):
    """Row tile and column tile of this program."""
    program = tl.program_id(0)
    span = TOGETHER * COLUMN_TILES
    first = program // span * TOGETHER
    height = tl.minimum(row_tiles - first, TOGETHER)
    return first + program % span % height, program % span // height


@triton.jit(do_not_specialize=["row_tiles"])
def up_swiglu_kernel(
    x,  # (T, D)
    up,  # (E, 2F, D)
    order,  # (R,)
    start,  # (E + 1,)
    hidden,  # (R, F) where WRITE_HIDDEN
    z,  # (R, 2F) where WRITE_Z
    row_tiles,
    D: tl.constexpr,
    F: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    E_POW2: tl.constexpr,
    WRITE_HIDDEN: tl.constexpr,
    WRITE_Z: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """z = x[token] @ up[expert].T and silu(gate) * value of its two halves."""
    row_tile, column_tile = tile_of(row_tiles, (F + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, TOGETHER)
    expert, first, end = owner(row_tile, start, E, E_POW2, BLOCK_ROWS)
    if first >= end:
        return
    local = tl.arange(0, BLOCK_ROWS)
    row_in = local < end - first
    token = (tl.load(order + first + local, mask=row_in, other=0) // K).to(tl.int64)
    column = column_tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    column_in = column < F
    depth = tl.arange(0, BLOCK_DEPTH)
    left = x + token[:, None] * D + depth[None, :]
    right = up + expert * 2 * F * D + column[None, :] * D + depth[:, None]
    gate = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    value = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for done in range(0, D, BLOCK_DEPTH):
        deep_in = depth < D - done
        rows = tl.load(left + done, mask=row_in[:, None] & deep_in[None, :], other=0.0)
        inside = column_in[None, :] & deep_in[:, None]
        gate = tl.dot(rows, tl.load(right + done, mask=inside, other=0.0), gate, input_precision="ieee")
        value = tl.dot(rows, tl.load(right + F * D + done, mask=inside, other=0.0), value, input_precision="ieee")
    inside = row_in[:, None] & column_in[None, :]
    if WRITE_Z:
        z_here = z + first.to(tl.int64) * 2 * F + (local[:, None] * (2 * F) + column[None, :])
        tl.store(z_here, gate.to(z.dtype.element_ty), mask=inside)
        tl.store(z_here + F, value.to(z.dtype.element_ty), mask=inside)
    if WRITE_HIDDEN:
        hidden_here = hidden + first.to(tl.int64) * F + (local[:, None] * F + column[None, :])
        tl.store(hidden_here, (gate * tl.sigmoid(gate) * value).to(hidden.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["row_tiles"])
def rows_matmul_kernel(
    rows,  # (R, M)
    weight,  # (E, N, M), or (E, M, N) where MATRIX_FIRST
    start,  # (E + 1,)
    out,  # (R, N)
    row_tiles,
    M: tl.constexpr,
    N: tl.constexpr,
    E: tl.constexpr,
    E_POW2: tl.constexpr,
    MATRIX_FIRST: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Each row times its expert's matrix."""
    row_tile, column_tile = tile_of(row_tiles, (N + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, TOGETHER)
    expert, first, end = owner(row_tile, start, E, E_POW2, BLOCK_ROWS)
    if first >= end:
        return
    local = tl.arange(0, BLOCK_ROWS)
    row_in = local < end - first
    column = column_tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    column_in = column < N
    depth = tl.arange(0, BLOCK_DEPTH)
    COLUMN_STEP: tl.constexpr = 1 if MATRIX_FIRST else M
    DEPTH_STEP: tl.constexpr = N if MATRIX_FIRST else 1
    left = rows + first.to(tl.int64) * M + (local[:, None] * M + depth[None, :])
    right = weight + expert * M * N + column[None, :] * COLUMN_STEP + depth[:, None] * DEPTH_STEP
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for done in range(0, M, BLOCK_DEPTH):
        deep_in = depth < M - done
        some = tl.load(left + done, mask=row_in[:, None] & deep_in[None, :], other=0.0)
        matrix = tl.load(right + done * DEPTH_STEP, mask=column_in[None, :] & deep_in[:, None], other=0.0)
        total = tl.dot(some, matrix, total, input_precision="ieee")
    inside = row_in[:, None] & column_in[None, :]
    here = out + first.to(tl.int64) * N + (local[:, None] * N + column[None, :])
    tl.store(here, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T"])
def combine_kernel(
    rows,  # (R, D) in sorted order
    position,  # (R,)
    weight,  # (T, K) where WEIGHTED
    out,  # (T, D)
    T,
    D: tl.constexpr,
    K: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Each token's sum, or weighted sum, of its K rows."""
    token = tl.program_id(0) * BLOCK_TOKENS + tl.arange(0, BLOCK_TOKENS)
    token_in = token < T
    place = token.to(tl.int64)
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    inside = token_in[:, None] & (column < D)[None, :]
    total = tl.zeros((BLOCK_TOKENS, BLOCK_COLUMNS), tl.float32)
    for k in tl.static_range(K):
        row = tl.load(position + place * K + k, mask=token_in, other=0).to(tl.int64)
        here = tl.load(rows + row[:, None] * D + column[None, :], mask=inside, other=0.0).to(tl.float32)
        if WEIGHTED:
            here *= tl.load(weight + place * K + k, mask=token_in, other=0.0).to(tl.float32)[:, None]
        total += here
    tl.store(out + place[:, None] * D + column[None, :], total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["row_tiles", "R"])
def act_backward_kernel(
    grad,  # (T, D) of the mixture
    down,  # (E, D, F)
    z,  # (R, 2F)
    weight,  # (T, K)
    order,  # (R,)
    start,  # (E + 1,)
    grad_z,  # (R, 2F)
    scaled,  # (R, F) weight * silu(gate) * value, for the gradient of down
    shares,  # (column tiles, R) float32, parts of the gradient of weight
    row_tiles,
    R,
    D: tl.constexpr,
    F: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    E_POW2: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Gradient through the down product and the activation, which is computed again from z."""
    row_tile, column_tile = tile_of(row_tiles, (F + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, TOGETHER)
    expert, first, end = owner(row_tile, start, E, E_POW2, BLOCK_ROWS)
    if first >= end:
        return
    local = tl.arange(0, BLOCK_ROWS)
    row_in = local < end - first
    slot = tl.load(order + first + local, mask=row_in, other=0)
    token = (slot // K).to(tl.int64)
    column = column_tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    column_in = column < F
    depth = tl.arange(0, BLOCK_DEPTH)
    left = grad + token[:, None] * D + depth[None, :]
    right = down + expert * D * F + depth[:, None] * F + column[None, :]
    pull = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for done in range(0, D, BLOCK_DEPTH):
        deep_in = depth < D - done
        here = tl.load(left + done, mask=row_in[:, None] & deep_in[None, :], other=0.0)
        matrix = tl.load(right + done * F, mask=column_in[None, :] & deep_in[:, None], other=0.0)
        pull = tl.dot(here, matrix, pull, input_precision="ieee")

    inside = row_in[:, None] & column_in[None, :]
    z_first, z_at = first.to(tl.int64) * 2 * F, local[:, None] * (2 * F) + column[None, :]
    gate = tl.load(z + z_first + z_at, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(z + z_first + F + z_at, mask=inside, other=0.0).to(tl.float32)
    score = tl.load(weight + slot, mask=row_in, other=0.0).to(tl.float32)[:, None]
    passed = tl.sigmoid(gate)
    active = gate * passed
    scored = pull * score  # the gradients come first: in another order registers are spilled
    grad_gate = scored * value * passed * (1 + gate * (1 - passed))
    tl.store(grad_z + z_first + z_at, grad_gate.to(grad_z.dtype.element_ty), mask=inside)
    tl.store(grad_z + z_first + F + z_at, (scored * active).to(grad_z.dtype.element_ty), mask=inside)
    hidden = active * value
    tl.store(shares + column_tile.to(tl.int64) * R + first + local, tl.sum(pull * hidden, 1), mask=row_in)
    scaled_here = scaled + first.to(tl.int64) * F + (local[:, None] * F + column[None, :])
    tl.store(scaled_here, (score * hidden).to(scaled.dtype.element_ty), mask=inside)


@triton.jit
def weight_grad_kernel(
    left,  # (R, M), or (T, M) where LEFT_BY_TOKEN
    right,  # (R, N), or (T, N) where not LEFT_BY_TOKEN
    order,  # (R,)
    start,  # (E + 1,)
    out,  # (PARTS, E, M, N)
    M: tl.constexpr,
    N: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    PARTS: tl.constexpr,
    LEFT_BY_TOKEN: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Sum over an expert's rows, or one part of them, of outer products; zeros where there are none."""
    COLUMN_TILES: tl.constexpr = (N + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS
    tile, expert, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    lo = tl.load(start + expert)
    hi = tl.load(start + expert + 1)
    share = tl.cdiv(tl.cdiv(hi - lo, PARTS), BLOCK_DEPTH) * BLOCK_DEPTH
    first = lo + part * share
    last = tl.minimum(first + share, hi)
    high = tile // COLUMN_TILES * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    wide = tile % COLUMN_TILES * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for begin in range(first, last, BLOCK_DEPTH):
        row = begin + tl.arange(0, BLOCK_DEPTH)
        row_in = row < last
        token = (tl.load(order + row, mask=row_in, other=0) // K).to(tl.int64)
        row_left = token if LEFT_BY_TOKEN else row.to(tl.int64)
        row_right = row.to(tl.int64) if LEFT_BY_TOKEN else token
        one = tl.load(left + row_left[None, :] * M + high[:, None], mask=row_in[None, :] & (high < M)[:, None], other=0)
        two = tl.load(
            right + row_right[:, None] * N + wide[None, :], mask=row_in[:, None] & (wide < N)[None, :], other=0
        )
        total = tl.dot(one, two, total, input_precision="ieee")
    at = ((part * E + expert).to(tl.int64) * M + high[:, None]) * N + wide[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(high < M)[:, None] & (wide < N)[None, :])


def grid_of(rows: int, start: Tensor, tile: Tile) -> tuple[int, dict[str, Any]]:
    """Row tiles at most, and what every product over row tiles is launched with."""
    experts = start.shape[0] - 1
    sizes = {"E": experts, "E_POW2": triton.next_power_of_2(experts), "TOGETHER": TOGETHER}
    return min(rows // tile.rows + experts, rows), {**sizes, **blocks_of(tile)}


def blocks_of(tile: Tile) -> dict[str, int]:
    """A tile as a kernel's arguments."""
    return {
        "BLOCK_ROWS": tile.rows,
        "BLOCK_COLUMNS": tile.columns,
        "BLOCK_DEPTH": tile.depth,
        "num_warps": tile.warps,
        "num_stages": tile.stages,
    }


def checked(*tensors: Tensor) -> None:
    """Raise unless the kernels can read these: they take no strides, and the interpreter gets bfloat16 wrong."""
    for tensor in tensors:
        assert tensor.is_contiguous(), f"not contiguous: {tuple(tensor.shape)} with strides {tensor.stride()}"
    if tensors[0].dtype == torch.bfloat16 and not isinstance(owner, triton.JITFunction):
        raise NotImplementedError(
            "Triton's interpreter multiplies bfloat16 wrongly; test float32 or float16, or on a GPU"
        )


def up_swiglu(
    x: Tensor, up: Tensor, order: Tensor, start: Tensor, tile: Tile, *, hidden: bool = True, z: bool = True
) -> tuple[Tensor, Tensor]:
    """silu(gate) * value (R, F) and z (R, 2F) of x (T, D) under up (E, 2F, D); what is not asked for has no rows."""
    checked(x, up, order, start)
    rows, width, ffn = order.shape[0], x.shape[1], up.shape[1] // 2
    made = x.new_empty(rows if hidden else 0, ffn), x.new_empty(rows if z else 0, 2 * ffn)
    if rows:
        tiles, sizes = grid_of(rows, start, tile)
        grid = (tiles * triton.cdiv(ffn, tile.columns),)
        top_k = rows // x.shape[0]
        up_swiglu_kernel[grid](
            x, up, order, start, *made, tiles, D=width, F=ffn, K=top_k, WRITE_HIDDEN=hidden, WRITE_Z=z, **sizes
        )
    return made


def rows_matmul(rows: Tensor, weight: Tensor, start: Tensor, tile: Tile, *, matrix_first: bool = False) -> Tensor:
    """Each row (R, M) times its expert's weight (E, N, M), or (E, M, N) where `matrix_first`; -> (R, N)."""
    checked(rows, weight, start)
    depth, columns = rows.shape[1], weight.shape[2 if matrix_first else 1]
    out = rows.new_empty(rows.shape[0], columns)
    if rows.shape[0]:
        tiles, sizes = grid_of(rows.shape[0], start, tile)
        grid = (tiles * triton.cdiv(columns, tile.columns),)
        rows_matmul_kernel[grid](
            rows, weight, start, out, tiles, M=depth, N=columns, MATRIX_FIRST=matrix_first, **sizes
        )
    return out


def combine(rows: Tensor, position: Tensor, tokens: int, weight: Tensor | None = None) -> Tensor:
    """Each token's sum of its rows (R, D), weighted by weight (T, K) where given; -> (T, D)."""
    checked(rows, position, *([] if weight is None else [weight]))
    width = rows.shape[1]
    out = rows.new_empty(tokens, width)
    if tokens:
        columns = min(512, triton.next_power_of_2(width))
        height = max(1, min(4096 // columns, triton.next_power_of_2(tokens)))
        grid = (triton.cdiv(tokens, height), triton.cdiv(width, columns))
        given = rows if weight is None else weight
        sizes = {"D": width, "K": rows.shape[0] // tokens, "BLOCK_TOKENS": height, "BLOCK_COLUMNS": columns}
        combine_kernel[grid](rows, position, given, out, tokens, WEIGHTED=weight is not None, **sizes)
    return out


def act_backward(
    grad: Tensor, down: Tensor, z: Tensor, weight: Tensor, order: Tensor, start: Tensor, tile: Tile
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the mixture's grad (T, D): the gradient of z (R, 2F), weighted hidden rows (R, F), and of the weights (R,).

    The last is in sorted order.
    """
    checked(grad, down, z, weight, order, start)
    rows, width, ffn = order.shape[0], grad.shape[1], down.shape[2]
    column_tiles = triton.cdiv(ffn, tile.columns)
    grad_z, scaled = torch.empty_like(z), z.new_empty(rows, ffn)
    shares = z.new_empty(column_tiles, rows, dtype=torch.float32)
    if rows:
        tiles, sizes = grid_of(rows, start, tile)
        act_backward_kernel[(tiles * column_tiles,)](
            *(grad, down, z, weight, order, start, grad_z, scaled, shares, tiles, rows),
            **{"D": width, "F": ffn, "K": weight.shape[1], **sizes},
        )
    return grad_z, scaled, shares.sum(0)


def weight_grad(
    left: Tensor, right: Tensor, order: Tensor, start: Tensor, top_k: int, tile: Tile, *, left_by_token: bool
) -> Tensor:
    """Sum over each expert's rows of the outer product of left and right, one of which has a row per token.

    left (R or T, M), right (T or R, N) -> (E, M, N)
    """
    checked(left, right, order, start)
    experts, height, width = start.shape[0] - 1, left.shape[1], right.shape[1]
    tiles = triton.cdiv(height, tile.rows) * triton.cdiv(width, tile.columns)
    parts = max(1, min(ENOUGH // (tiles * experts), order.shape[0] // (experts * LONG)))
    kind = left.dtype if parts == 1 else torch.float32
    out = left.new_empty(parts, experts, height, width, dtype=kind)
    weight_grad_kernel[(tiles, experts, parts)](
        *(left, right, order, start, out),
        **{"M": height, "N": width, "E": experts, "K": top_k, "PARTS": parts, "LEFT_BY_TOKEN": left_by_token},
        **blocks_of(tile),
    )
    return out[0] if parts == 1 else out.sum(0).to(left.dtype)
