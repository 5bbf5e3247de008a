"""Checkpoints of MAE and VisionTS++ as published, and how they map to ours.

An official file (mae_visualize_vit_base.pth, VisionTS++'s) is a pickle, which only `tsfm convert` opens, as
tensors alone. It says nothing of sizes: those of the network are read off its tensors, and its heads off its widths.
The files mae_pretrain_*.pth have no decoder and cannot draw.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tsfm.errors import DataError
from tsfm.models.visual_mae_config import DECILES, VisualMAEConfig

PREFIX = "vision_model."
KEYS = {
    "img_size": "image",
    "patch_size": "patch_size",
    "in_chans": "channels",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "decoder_embed_dim": "decoder_width",
    "decoder_depth": "decoder_depth",
    "decoder_num_heads": "decoder_heads",
    "mlp_ratio": "mlp_ratio",
    "layer_norm_eps": "norm_eps",
}
HEADS = {768: 12, 1024: 16, 1280: 16, 512: 16}  # of the official widths, the last that of every decoder
LICENCE = "CC-BY-NC-4.0"  # of the official MAE weights, as github.com/facebookresearch/mae states it
OLD_NAMES = {"decoder_pred_1.": "decoder_pred."}  # the head of the median in the released VisionTS++
NEEDED = ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
HEADS_NAME = "decoder_pred_quantile_list."


def read_config(published: Mapping[str, Any]) -> VisualMAEConfig:
    """Our config of sizes as the published code calls them."""
    if missing := [key for key in ("img_size", "patch_size", "embed_dim", "num_heads") if key not in published]:
        raise DataError(f"config.json has no {', '.join(missing)}; convert the published file again")
    sizes = {ours: published[key] for key, ours in KEYS.items() if key in published}
    for wide, heads in (("embed_dim", "num_heads"), ("decoder_embed_dim", "decoder_num_heads")):
        if wide in published and heads in published and published[wide] % max(1, published[heads]):
            raise DataError(
                f"config.json has {heads} {published[heads]}, which does not divide {wide} {published[wide]}; convert "
                "the published file again"
            )
    return drawn_as(sizes, bool(published.get("quantile")), int(published.get("clip_input", 0)))


def drawn_as(sizes: Mapping[str, Any], quantiles: bool, clip: int = 0) -> VisualMAEConfig:
    """The config of a network of these sizes, drawing as VisionTS, or as VisionTS++ where it has heads of quantiles."""
    if quantiles:
        return VisualMAEConfig(drawing="visionts++", quantile_levels=DECILES, clip=clip, **sizes)
    return VisualMAEConfig(drawing="visionts", quantile_levels=(0.5,), **sizes)


def write_config(config: VisualMAEConfig) -> dict[str, Any]:
    """Sizes as the published code calls them; `DataError` for a model that draws in our own way."""
    if config.drawing == "exact":
        raise DataError("a visual-mae that draws exactly is ours alone; save it with `Forecaster.save`")
    sizes = {key: getattr(config, ours) for key, ours in KEYS.items()}
    return {**sizes, "norm_pix_loss": False, "quantile": config.drawing == "visionts++", "clip_input": config.clip}


def read_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dictionary of published tensors, whether they name the network alone or a whole VisionTS."""
    state = {}
    for name, tensor in published.items():
        own = name.rpartition(PREFIX)[2]
        if own == "mask":  # which patches VisionTS hides, computed anew
            continue
        for old, new in OLD_NAMES.items():
            own = new + own.removeprefix(old) if own.startswith(old) else own
        state[PREFIX + own] = tensor.float()
    return state


def write_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of our state dictionary: the network alone."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def config_of(
    state: Mapping[str, Tensor], heads: int | None = None, decoder_heads: int | None = None
) -> VisualMAEConfig:
    """The config of the network that a state dictionary of ours holds, read off its shapes.

    heads, decoder_heads  of attention, where the widths are not official ones
    """
    names = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    if missing := [name for name in NEEDED if name not in names]:
        raise DataError(f"the file has no {', '.join(missing)}: it is no masked autoencoder of images")
    if "decoder_pos_embed" not in names:
        raise DataError("the file has no decoder, so it cannot draw: take mae_visualize_vit_*.pth, not mae_pretrain_*")
    kernel, width = names["patch_embed.proj.weight"], names["pos_embed"].shape[-1]
    narrow, patch = names["decoder_pos_embed"].shape[-1], kernel.shape[-1]
    for count, of, option in ((heads, width, "--heads"), (decoder_heads, narrow, "--decoder-heads")):
        if count and of % count:
            raise DataError(f"{option} {count} does not divide a width of {of}; say how many heads it was trained with")
    sizes = {
        "image": round((names["pos_embed"].shape[1] - 1) ** 0.5) * patch,
        "patch_size": patch,
        "channels": kernel.shape[1],
        "width": width,
        "depth": layers(names, "blocks."),
        "heads": heads or heads_of(width, "--heads"),
        "decoder_width": narrow,
        "decoder_depth": layers(names, "decoder_blocks."),
        "decoder_heads": decoder_heads or heads_of(narrow, "--decoder-heads"),
        "mlp_ratio": names["blocks.0.mlp.fc1.weight"].shape[0] / width,
    }
    return drawn_as(sizes, any(name.startswith(HEADS_NAME) for name in names))


def heads_of(width: int, option: str) -> int:
    """Heads of attention of an official width."""
    if width not in HEADS:
        raise DataError(f"the file is {width} wide, as no official one is: say how many heads it has with {option}")
    return HEADS[width]


def layers(names: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers of a name there are."""
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})
