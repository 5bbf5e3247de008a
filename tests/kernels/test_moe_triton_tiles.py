"""The table of tiles: as high as the rows of an expert, no larger than its matrices, within a GPU's memory."""

import pytest
import torch

from tsfm.kernels import tiles


@pytest.mark.parametrize(("rows", "height"), [(1, 16), (63, 16), (64, 64), (511, 64), (512, 128), (10**6, 128)])
def test_tiles_are_as_high_as_the_rows_of_an_expert_fill(rows, height):
    assert tiles.tile_for(rows, 384, 768, torch.bfloat16).up.rows == height


def test_tiles_are_no_wider_and_no_deeper_than_the_matrices():
    chosen = tiles.tile_for(1000, 24, 40, torch.float16)
    assert (chosen.up.columns, chosen.up.depth) == (64, 32)
    assert tiles.tile_for(1000, 3, 3, torch.float16).up[:3] == (128, tiles.SMALLEST, tiles.SMALLEST)


@pytest.mark.parametrize("memory", [64 * 2**10, 99 * 2**10, 227 * 2**10])
def test_tiles_fit_into_the_memory_of_smaller_gpus(memory):
    for (_, itemsize), table in tiles.START.items():
        for tile, weights in zip(tiles.fitting(table, itemsize, memory), (2, 1, 1, 1), strict=True):
            assert tile.stages * tile.depth * (tile.rows + weights * tile.columns) * itemsize <= memory
