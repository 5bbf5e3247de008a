"""Time-MoE's published files, and how they map to ours: keys of config.json, names of tensors.

Only the routed experts differ: published one matrix each, here stacked for `kernels.expert_mlp`.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tsfm.errors import DataError
from tsfm.models.time_moe import TimeMoEConfig

# E experts.

MODEL_TYPE = "time_moe"
KEYS = {
    "hidden_size": "width",
    "intermediate_size": "inner_width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "num_experts": "experts",
    "num_experts_per_tok": "top_k",
    "horizon_lengths": "horizons",
    "use_dense": "dense",
    "max_position_embeddings": "max_positions",
    "rms_norm_eps": "norm_eps",
    "rope_theta": "rotary_base",
    "router_aux_loss_factor": "balance_weight",
    "initializer_range": "initial_std",
}
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
FIXED = {"input_size": 1, "hidden_act": "silu"}
EXPERT = re.compile(r"(.*\.ffn_layer\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")


def read_config(published: Mapping[str, Any]) -> TimeMoEConfig:
    """Our config of a published config.json; `DataError` where it lacks a size or asks for what this model is not.

    Keys that are absent or null mean what they do in the published code, a single number of horizons one head.
    """
    published = {key: value for key, value in published.items() if value is not None}
    if missing := [key for key in NEEDED if key not in published]:
        raise DataError(f"config.json has no {', '.join(missing)}; copy the folder of the published checkpoint again")
    for key, value in FIXED.items():
        if published.get(key, value) != value:
            raise DataError(f"config.json has {key} = {published[key]!r}; tsfm reads what was published, {value!r}")
    horizons = published.get("horizon_lengths", 1)
    horizons = tuple(map(int, [horizons] if isinstance(horizons, int) else horizons))
    published["horizon_lengths"] = horizons
    published.setdefault("num_key_value_heads", published["num_attention_heads"])
    given = {ours: published[key] for key, ours in KEYS.items() if key in published}
    usual = TimeMoEConfig()
    return TimeMoEConfig(**{name: type(getattr(usual, name))(value) for name, value in given.items()})


def write_config(config: TimeMoEConfig) -> dict[str, Any]:
    """The config.json that the published code reads."""
    return {
        "architectures": ["TimeMoeForPrediction"],
        "model_type": MODEL_TYPE,
        "apply_aux_loss": not config.dense,
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
        "use_cache": True,
        **FIXED,
        **{key: getattr(config, ours) for key, ours in KEYS.items()},
    }


def read_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dictionary of published tensors, in float32."""
    state, parts = {}, dict[str, dict[int, dict[str, Tensor]]]()
    for name, tensor in published.items():
        if match := EXPERT.fullmatch(name):
            stack, number, part = match.groups()
            parts.setdefault(stack, {}).setdefault(int(number), {})[part] = tensor.float()
        else:
            state[name] = tensor.float()
    for stack, experts in parts.items():
        ordered = [experts[number] for number in sorted(experts)]
        if any(len(expert) != 3 for expert in ordered):
            raise DataError(f"{stack} has an expert without all of gate_proj, up_proj, down_proj; copy the file again")
        state[f"{stack}.up"] = torch.stack([torch.cat([one["gate_proj"], one["up_proj"]]) for one in ordered])
        state[f"{stack}.down"] = torch.stack([one["down_proj"] for one in ordered])
    return state


def write_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of our state dictionary."""
    tensors = {}
    for name, tensor in state.items():
        if name.endswith(".experts.up"):
            stack = name.removesuffix(".up")
            for number, both in enumerate(tensor):
                gate, up = both.chunk(2)
                tensors[f"{stack}.{number}.gate_proj.weight"] = gate.contiguous()
                tensors[f"{stack}.{number}.up_proj.weight"] = up.contiguous()
        elif name.endswith(".experts.down"):
            stack = name.removesuffix(".down")
            tensors |= {f"{stack}.{number}.down_proj.weight": down.contiguous() for number, down in enumerate(tensor)}
        else:
            tensors[name] = tensor
    return tensors
