"""Parity with published code: what a folder of tests/fixtures holds, how near ours is, and layers run step by step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"


class Stored:
    """A published model's arguments, its weights, and the arrays that the published code made with them."""

    def __init__(self, model: str, kind: str = ""):
        """`kind` begins the names of the files where a folder holds several models."""
        self.files = f"{FIXTURES / model}/{kind}"
        self.config: dict[str, Any] = json.loads(Path(f"{self.files}config.json").read_text())

    def arrays(self, prefix: str = "") -> dict[str, Tensor]:
        """Arrays whose names begin so, by what follows; new ones every time, so that a test may change them."""
        with np.load(f"{self.files}io.npz") as file:
            return {name.removeprefix(prefix): torch.from_numpy(file[name]) for name in file if name.startswith(prefix)}

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        """Tensors whose names begin so, by what follows."""
        stored = load_file(f"{self.files}model.safetensors")
        return {name.removeprefix(prefix): one for name, one in stored.items() if name.startswith(prefix)}


def apart(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max())


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> None:
    """Fail unless type and shape are the same and no difference exceeds `tolerance` times the largest value."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * float(wanted.detach().abs().max()))


def stepped(step: Callable[[Tensor, Any], tuple[Tensor, Any]], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Outputs of x (B, C, D) one step after the other, and the last state."""
    rows = []
    for now in x.unbind(1):
        row, state = step(now, state)
        rows.append(row)
    return torch.stack(rows, 1), state
