"""`tsfm convert`: a published file of weights, a pickle, into a folder that `tsfm.load` takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("model", "state_dict")  # under which published files keep their tensors


def convert(
    file: Annotated[Path, typer.Argument(help="As published, such as mae_visualize_vit_base.pth.")],
    out: Annotated[Path, typer.Argument(help="Folder for config.json and model.safetensors.")],
    heads: Annotated[
        int, typer.Option(min=0, help="Heads of attention, where the file's width is not an official one.")
    ] = 0,
    decoder_heads: Annotated[int, typer.Option(min=0, help="Likewise, of the decoder.")] = 0,
) -> None:
    """Convert official MAE or VisionTS++ weights; what is not a tensor in the file is refused, never run."""
    from tsfm.checkpoints import new_card, write
    from tsfm.errors import DataError
    from tsfm.models import visual_mae_files as files
    from tsfm.official import holding

    state = files.read_tensors(tensors_of(file))
    try:
        config = files.config_of(state, heads or None, decoder_heads or None)
        model = holding("visual-mae", config, state)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        raise DataError(f"{file} is no whole masked autoencoder of images: {error}; download it again") from None
    if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise DataError(f"{file} holds values that are not finite in {broken[0]}; download it again")
    stated = files.LICENCE if file.name.startswith("mae_") else "that of the weights' publisher"
    notice = f"weights of {file.name}: licence {stated}"
    about = {"licence": stated, "description": f"Converted from {file.name}.", "official": {"notice": notice}}
    write(model, {**new_card(model), **about}, out)
    count = sum(weight.numel() for weight in model.parameters())
    typer.echo(f"{config.drawing}, {count:,} numbers, in {out}; {notice}")


def tensors_of(file: Path) -> "dict[str, Tensor]":
    """The tensors by name that a file of `torch.save` holds; `DataError` where it holds anything else."""
    import pickle
    import re
    import warnings

    import torch

    from tsfm.errors import DataError

    if not file.is_file():
        raise DataError(f"{file} is no file; give a published .pth such as mae_visualize_vit_base.pth")
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch, on pickles that it did not write
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks for {asked[1].rstrip('.')}, and" if asked else "is not what torch.save writes, or"
        raise DataError(f"{file} {what} holds more than tensors; tsfm runs nothing that a file asks for") from None
    except Exception as error:  # what is no pickle fails to be read in any way
        kind = type(error).__name__
        raise DataError(f"{file} is not what torch.save writes ({kind}: {error}); download it again") from None
    for key in KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}, not tensors by name; give a published checkpoint")
    whole = ((name, value) for name, value in content.items() if isinstance(value, torch.Tensor))
    found = {name: value for name, value in whole if isinstance(name, str) and value.layout == torch.strided}
    if not found:
        raise DataError(f"{file} holds no tensors by name; give a published checkpoint")
    return found
