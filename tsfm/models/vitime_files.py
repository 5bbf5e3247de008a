"""ViTime's published files: the arguments that its checkpoints hold, as keys of config.json, and names of tensors.

A published checkpoint is one pickled dictionary of `args` and `model`. Converted, `args` is config.json and `model` is
model.safetensors; the names of tensors are ours but for a prefix that training on several devices leaves. Sizes of the
transformer follow from `modelSize`, times those of a large MAE, unless "actual" states them. The number of heads in the
released files could not be looked at, and is taken to follow in the same way.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tsfm.errors import DataError
from tsfm.models.vitime import ViTimeConfig

WIDTH, DEPTH, HEADS = 1024, 12, 16  # at a modelSize of 1; the decoder has half the width and depth, and as many heads
NEEDED = ("h", "maxScal", "size", "modelSize", "patch_size")
FIXED = {"out_channels": 1}
SIZES = {
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "decoder_embed_dim": "decoder_width",
    "decoder_depth": "decoder_depth",
    "decoder_num_heads": "decoder_heads",
    "layer_norm_eps": "norm_eps",
}


def read_config(published: Mapping[str, Any]) -> ViTimeConfig:
    """Our config of published arguments; `DataError` where a size is not there or they ask for another model."""
    if missing := [key for key in NEEDED if key not in published]:
        raise DataError(
            f"config.json has no {', '.join(missing)}; convert the published checkpoint with its args again"
        )
    for key, value in FIXED.items():
        if published.get(key, value) != value:
            raise DataError(f"config.json has {key} = {published[key]!r}; tsfm reads what was published, {value!r}")
    blur = published.get("ks", (31, 31))
    if blur[0] != blur[1]:
        raise DataError(f"config.json has ks = {blur!r}; tsfm blurs as far over time as over values, as published")
    past, _, ahead = published["size"]
    finer = 2 if published.get("upscal") else 1
    return ViTimeConfig(
        height=published["h"],
        columns=finer * (past + ahead),
        limit=float(published["maxScal"]),
        patch_rows=published["patch_size"][0],
        patch_columns=published["patch_size"][1],
        blur=blur[0],
        reference="signed-rms" if published.get("muNorm") else "mean",
        max_context=published.get("realInputLength", past),
        max_horizon=ahead,
        distance_power=float(published.get("dNorm", 1)),
        **{ours: sizes_of(published)[key] for key, ours in SIZES.items()},
    )


def sizes_of(published: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of the transformer by their published names: those stated, else those that follow from `modelSize`."""
    share = published["modelSize"]
    width, depth, heads = int(WIDTH * share), int(DEPTH * share), max(1, int(HEADS * share))
    usual = (width, depth, heads, width // 2, depth // 2, heads, 1e-5)
    return {**dict(zip(SIZES, usual, strict=True)), **published.get("actual", {})}


def write_config(config: ViTimeConfig) -> dict[str, Any]:
    """Arguments as the published code names them, with the sizes of the transformer stated."""
    past = config.columns * config.max_context // (config.max_context + config.max_horizon)
    return {
        "h": config.height,
        "maxScal": config.limit,
        "size": [past, 0, config.columns - past],
        "modelSize": config.width / WIDTH,
        "patch_size": [config.patch_rows, config.patch_columns],
        "ks": [config.blur, config.blur],
        "upscal": False,
        "dNorm": config.distance_power,
        "realInputLength": config.max_context,
        **FIXED,
        **({"muNorm": 2} if config.reference == "signed-rms" else {}),
        "actual": {key: getattr(config, ours) for key, ours in SIZES.items()},
    }


def read_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dictionary of published tensors, in float32."""
    return {name.removeprefix("module."): tensor.float() for name, tensor in published.items()}


def write_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of our state dictionary."""
    return dict(state)
