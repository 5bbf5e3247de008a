"""Moirai-MoE as its authors publish it: the names in config.json and model.safetensors, and ours.

    encoder.layers.<i>.ffn.experts.<e>.fc_gate, fc1  <->  encoder.layers.<i>.ffn.up    (E, 2F, D), fc_gate first
    encoder.layers.<i>.ffn.experts.<e>.fc2           <->  encoder.layers.<i>.ffn.down  (E, D, F)

All other names are the same.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tsfm.errors import DataError
from tsfm.models.moirai_moe import MoiraiMoEConfig
from tsfm.nn.mixture import FIXED_SCALE

# E experts, D width, F expert width.

EXPERT = re.compile(r"(.*\.ffn)\.experts\.(\d+)\.(fc1|fc2|fc_gate)\.weight")
COMPONENTS = (
    "student_t.StudentT",
    "normal.NormalFixedScale",
    "negative_binomial.NegativeBinomial",
    "log_normal.LogNormal",
)
KEYS = {"d_model": "width", "d_ff": "expert_width", "num_layers": "depth", "max_seq_len": "max_tokens"}
PACKAGE = "uni2ts.distribution."


def read_config(published: Mapping[str, Any]) -> MoiraiMoEConfig:
    """Our config of a published config.json; `DataError` where it asks for what this model is not."""
    components = published.get("distr_output", {}).get("components", [])
    found = [one.get("_target_") for one in components]
    if found != [f"{PACKAGE}{name}Output" for name in COMPONENTS]:
        raise DataError(
            f"config.json asks for the output components {found}; tsfm reads the published mixture of Student's t, "
            "normal of fixed scale, negative binomial and log-normal"
        )
    if (fixed := components[1].get("scale", FIXED_SCALE)) != FIXED_SCALE:
        raise DataError(
            f"config.json fixes the normal's scale at {fixed!r}; tsfm reads what was published, {FIXED_SCALE}"
        )
    if (scaling := published.get("scaling", True)) is not True:
        raise DataError(f"config.json has scaling = {scaling!r}; tsfm reads what was published, True")
    try:
        sizes = tuple(int(size) for size in published["patch_sizes"])
        patch = 16 if 16 in sizes else sizes[0]  # the size that the published predictor takes
        return MoiraiMoEConfig(
            **{ours: int(published[key]) for key, ours in KEYS.items()}, patch_sizes=sizes, patch=patch
        )
    except KeyError as error:
        raise DataError(f"config.json has no {error}; copy the folder of the published checkpoint again") from None


def write_config(config: MoiraiMoEConfig) -> dict[str, Any]:
    """The config.json that the published code reads."""
    components: list[dict[str, Any]] = [{"_target_": f"{PACKAGE}{name}Output"} for name in COMPONENTS]
    components[1]["scale"] = FIXED_SCALE
    return {
        "attn_dropout_p": 0.0,
        "d_ff": config.expert_width,
        "d_model": config.width,
        "distr_output": {"_target_": f"{PACKAGE}mixture.MixtureOutput", "components": components},
        "dropout_p": 0.0,
        "max_seq_len": config.max_tokens,
        "num_layers": config.depth,
        "patch_sizes": list(config.patch_sizes),
        "scaling": True,
    }


def read_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dictionary of published tensors."""
    state: dict[str, Tensor] = {}
    experts: dict[str, dict[str, dict[int, Tensor]]] = {}
    for name, tensor in published.items():
        if match := EXPERT.fullmatch(name):
            layer, expert, part = match.groups()
            experts.setdefault(layer, {}).setdefault(part, {})[int(expert)] = tensor
        else:
            state[name] = tensor
    for layer, parts in experts.items():
        missing = {"fc1", "fc2", "fc_gate"} - set(parts)
        if missing:
            raise DataError(f"model.safetensors has no {layer}.experts.*.{min(missing)}; copy the file again")
        gate, value, down = (
            torch.stack([parts[part][expert] for expert in sorted(parts[part])]) for part in ("fc_gate", "fc1", "fc2")
        )
        state[f"{layer}.up"], state[f"{layer}.down"] = torch.cat([gate, value], 1), down
    return state


def write_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of our state dictionary."""
    published: dict[str, Tensor] = {}
    for name, tensor in state.items():
        layer, _, part = name.rpartition(".")
        if not layer.endswith(".ffn"):
            published[name] = tensor.double() if name == "encoder.centroid" else tensor
            continue
        named = {"fc2": tensor} if part == "down" else dict(zip(("fc_gate", "fc1"), tensor.chunk(2, 1), strict=True))
        for own, stack in named.items():
            for expert, weight in enumerate(stack):
                published[f"{layer}.experts.{expert}.{own}.weight"] = weight.clone()
    return published
