"""What the kernel tests share: the device, tiles small enough for the interpreter, and poisoned memory.

The top conftest.py sets TRITON_INTERPRET before anything is imported where there is no GPU.
"""

import os
from collections.abc import Iterator

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it where memory is poisoned

import numpy as np
import pytest
import torch

from tsfm.kernels import tiles


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let Triton 3.6's interpreter warn that NumPy will not take its loop bounds any more."""
    item.add_marker(pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU where there is one, else the CPU under Triton's interpreter."""
    triton = pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if triton.__version__.startswith("3.6.") and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("the interpreter of Triton 3.6 fails on loops with NumPy 2.4")
    return torch.device("cpu")


@pytest.fixture
def small_tiles() -> Iterator[None]:
    """Tiles of 16 x 32 x 16, so that small shapes have several tiles along every axis."""
    tile = tiles.Tile(16, 32, 16)
    with tiles.using(tiles.Tiles(tile, tile, tile, tile)):
        yield


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN or the largest integer: nothing unwritten goes unnoticed."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
