"""What every test shares: one thread, Triton's interpreter where there is no GPU, and reasons for what is skipped.

The environment is set before torch or triton is imported anywhere, because both read it once, on import.
"""

import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that holds `eval/*.parquet` and `pretrain/*.parquet`, or a skip with the reason."""
    folder = Path(os.environ.get("TSFM_DATA", "../shared/data"))
    if not (folder / "CATALOG.csv").exists():
        pytest.skip(f"no data set at {folder}: set TSFM_DATA to the folder with eval/ and pretrain/")
    return folder


@pytest.fixture(autouse=True)
def exceptions_of_the_model(request: pytest.FixtureRequest) -> None:
    """Skip a promise that the model under test says it cannot keep, with the reason it gives (`EXCEPT`)."""
    if "forecaster" in request.fixturenames:
        model = getattr(request.getfixturevalue("forecaster"), "model", None)
        promise = getattr(request.function, "__name__", "").removeprefix("test_")
        if promise in getattr(model, "EXCEPT", {}):
            pytest.skip(f"{type(model).__name__} excepts this promise: {model.EXCEPT[promise]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where torch sees no CUDA device."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device and torch sees none"))
