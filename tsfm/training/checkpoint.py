"""Training states in safetensors and JSON, written beside and renamed: a kill at any moment leaves a whole one."""

import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def save_state(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, and to the disk before the name changes."""
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, in memory of their own."""
    with safe_open(path, framework="pt") as handle:
        names = list(handle.keys())
        return {name: handle.get_tensor(name).clone() for name in names}, handle.metadata() or {}


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix`."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
