"""How weights are stored: bfloat16 or float32 as they are, or the blocks' matrices in int8 with a scale an output row.

Weight-only int8 quarters a sparse model's file; routers and norms stay in float32, because they are small and a
router's near-ties decide which expert runs.
"""

import torch
from torch import Tensor

QUANTISED = ".int8"  # suffixes of the two parts of an int8 weight
SCALE = ".scale"
FORMATS = ("float32", "bfloat16", "int8")


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 rows and their float32 scales; each row of the last dimension of (..., K) has one scale (..., 1)."""
    scale = (weight.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def pack(state: dict[str, Tensor], stored: str) -> dict[str, Tensor]:
    """Tensors to write for a float state dictionary; `stored` is one of `FORMATS`."""
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        value = value.detach().cpu()
        small = value.dim() < 2 or "router" in key
        if stored == "int8" and "blocks." in key and not small:
            tensors[key + QUANTISED], tensors[key + SCALE] = quantise(value.float())
        elif stored != "float32" and value.is_floating_point() and not small:
            tensors[key] = value.bfloat16()
        else:
            tensors[key] = value
    return {key: value.contiguous() for key, value in tensors.items()}


def unpack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float32 state dictionary of stored tensors, int8 rows multiplied by their scales."""
    state: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key.endswith(QUANTISED):
            weight = key.removesuffix(QUANTISED)
            state[weight] = value.float() * tensors[weight + SCALE].float()
        elif not key.endswith(SCALE):
            state[key] = value.float() if value.is_floating_point() else value
    return state
