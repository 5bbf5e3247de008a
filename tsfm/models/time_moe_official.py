"""Time-MoE's published files, and how they map to ours: keys of config.json, names of tensors.

Only the routed experts differ: published one matrix each, here stacked for `kernels.expert_mlp`.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tsfm.errors import DataError

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
FIXED = {"input_size": 1, "hidden_act": "silu"}  # nothing else was published
EXPERT = re.compile(r"(.*\.ffn_layer\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")


def fields_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields of our config from a published config.json, None where it is of another model."""
    if config.get("model_type") != MODEL_TYPE:
        return None
    if missing := [key for key in NEEDED if key not in config]:
        raise DataError(f"the config.json of a Time-MoE folder has no {', '.join(missing)}; download it again")
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise DataError(f"config.json has {key} = {config[key]!r}; only {value!r} was ever published, and works")
    fields = {ours: config[key] for key, ours in KEYS.items() if key in config}
    fields["horizons"] = tuple(fields.get("horizons", (1,)))
    return {"kv_heads": fields["heads"], **fields}


def config_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A published config.json from the fields of ours."""
    return {
        "architectures": ["TimeMoeForPrediction"],
        "model_type": MODEL_TYPE,
        "apply_aux_loss": not fields["dense"],
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
        "use_cache": True,
        **FIXED,
        **{key: fields[ours] for key, ours in KEYS.items()},
    }


def state_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dictionary, in float32, from published tensors."""
    state, parts = {}, dict[str, dict[int, dict[str, Tensor]]]()
    for name, tensor in tensors.items():
        if match := EXPERT.fullmatch(name):
            stack, number, part = match.groups()
            parts.setdefault(stack, {}).setdefault(int(number), {})[part] = tensor.float()
        else:
            state[name] = tensor.float()
    for stack, experts in parts.items():
        ordered = [experts[number] for number in sorted(experts)]
        if any(len(expert) != 3 for expert in ordered):
            raise DataError(f"{stack} has an expert without all of gate_proj, up_proj, down_proj; download it again")
        state[f"{stack}.up"] = torch.stack([torch.cat([one["gate_proj"], one["up_proj"]]) for one in ordered])
        state[f"{stack}.down"] = torch.stack([one["down_proj"] for one in ordered])
    return state


def tensors_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors from our state dictionary."""
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
