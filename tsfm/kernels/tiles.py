"""Tiles of the expert kernels: a table keyed by rows of an expert, looked up by a plain function.

No autotuning at run time: it costs minutes, needs a driver even under the interpreter, and makes numbers depend on the
machine's mood. `START` holds the values to begin with; `MEASURED` takes what a benchmark finds for exact shapes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

# D width, F expert width.

SMALLEST = 16  # side of the smallest matrix product that Triton compiles


class Tile(NamedTuple):
    """Block of one product: rows and columns of the result, depth of a step, warps, loads in flight."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 3


class Tiles(NamedTuple):
    """Tiles of the kernels that multiply: `up` has two accumulators, `back` an epilogue that reads both halves of z."""

    up: Tile
    rows: Tile
    back: Tile
    grad: Tile


# Rows of an expert on average, up to which a bucket serves; the last serves all others.
BUCKETS = (64, 512)

# (bucket, bytes of a number) -> tiles. Four-byte products run on the plain units, without tensor cores.
START: dict[tuple[int, int], Tiles] = {
    (0, 2): Tiles(Tile(16, 64, 64, 4, 4), Tile(16, 128, 64, 4, 4), Tile(16, 64, 64, 4, 4), Tile(64, 64, 16, 4, 3)),
    (1, 2): Tiles(Tile(64, 64, 64, 4, 4), Tile(64, 128, 64, 4, 4), Tile(64, 64, 64, 8, 4), Tile(64, 128, 64, 4, 3)),
    (2, 2): Tiles(
        Tile(128, 128, 64, 8, 4), Tile(128, 128, 64, 8, 4), Tile(128, 64, 64, 8, 4), Tile(128, 128, 64, 8, 3)
    ),
    (0, 4): Tiles(Tile(16, 32, 32, 4, 3), Tile(16, 64, 32, 4, 3), Tile(16, 32, 32, 4, 3), Tile(32, 32, 16, 4, 3)),
    (1, 4): Tiles(Tile(64, 32, 32, 4, 3), Tile(64, 64, 32, 4, 3), Tile(64, 32, 32, 4, 3), Tile(64, 64, 32, 4, 3)),
    (2, 4): Tiles(Tile(64, 64, 32, 8, 3), Tile(64, 64, 32, 4, 3), Tile(64, 64, 32, 8, 3), Tile(64, 64, 32, 4, 3)),
}

# (bucket, D, F, dtype) -> tiles, as measured.
MEASURED: dict[tuple[int, int, int, torch.dtype], Tiles] = {}

_forced: Tiles | None = None


def tile_for(rows: int, width: int, ffn: int, dtype: torch.dtype) -> Tiles:
    """Tiles for experts of `rows` rows on average, width D and expert width F."""
    if _forced is not None:
        return _forced
    bucket = sum(rows >= limit for limit in BUCKETS)
    tiles = MEASURED.get((bucket, width, ffn, dtype)) or START[bucket, dtype.itemsize]
    return Tiles(
        clipped(tiles.up, ffn, width),
        clipped(tiles.rows, max(width, ffn), max(width, 2 * ffn)),
        clipped(tiles.back, ffn, width),
        clipped(tiles.grad, max(width, 2 * ffn), tiles.grad.depth),
    )


def clipped(tile: Tile, columns: int, depth: int) -> Tile:
    """The tile, no wider and no deeper than the matrices need."""
    return tile._replace(
        columns=min(tile.columns, power_of_two(columns)),
        depth=min(tile.depth, power_of_two(depth)),
    )


def power_of_two(size: int) -> int:
    """Smallest power of two that holds `size` and that Triton multiplies."""
    return max(SMALLEST, 1 << (size - 1).bit_length())


def fitting(tiles: Tiles, itemsize: int, memory: int) -> Tiles:
    """The tiles with as many loads in flight as fit into the `memory` bytes that a program may share."""

    def shallower(tile: Tile, weights: int) -> Tile:
        step = tile.depth * (tile.rows + weights * tile.columns) * itemsize
        return tile._replace(stages=max(1, min(tile.stages, memory // step)))

    return Tiles(shallower(tiles.up, 2), *(shallower(tile, 1) for tile in tiles[1:]))


@contextmanager
def using(tiles: Tiles) -> Iterator[None]:
    """Take these tiles whatever the shape: for tests and benchmarks."""
    global _forced
    before, _forced = _forced, tiles
    try:
        yield
    finally:
        _forced = before
