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
    """Convert official MAE, VisionTS++ or ViTime weights; anything else in the file is refused, never run."""
    from tsfm.checkpoints import new_card, write
    from tsfm.errors import DataError

    content = content_of(file)
    arguments = arguments_in(content)
    of_vitime = "modelSize" in arguments
    try:
        if of_vitime:
            model, stated = vitime(arguments, tensors_of(file, content)), "that of the weights' publisher"
        else:
            model, stated = autoencoder(file, tensors_of(file, content), heads or None, decoder_heads or None)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        kind = "ViTime" if of_vitime else "masked autoencoder of images"
        raise DataError(f"{file} is no whole {kind}: {error}; download it again") from None
    if broken := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
        raise DataError(f"{file} holds values that are not finite in {broken[0]}; download it again")
    notice = f"weights of {file.name}: licence {stated}"
    about = {"licence": stated, "description": f"Converted from {file.name}.", "official": {"notice": notice}}
    write(model, {**new_card(model), **about}, out)
    count = sum(weight.numel() for weight in model.parameters())
    typer.echo(f"{count:,} numbers, in {out}; {notice}")


def autoencoder(file: Path, tensors: "dict[str, Tensor]", heads: int | None, decoder_heads: int | None) -> Any:
    """The masked autoencoder of a file, and the licence of its weights."""
    from tsfm.models import visual_mae_files as files
    from tsfm.official import holding

    state = files.read_tensors(tensors)
    licence = files.LICENCE if file.name.startswith("mae_") else "that of the weights' publisher"
    return holding("visual-mae", files.config_of(state, heads, decoder_heads), state), licence


def arguments_in(content: Any) -> dict[str, Any]:
    """What the programme was started with that saved a file, as far as the file holds it."""
    import argparse

    found = content.get("args", {}) if isinstance(content, dict) else {}
    if isinstance(found, argparse.Namespace):
        return {**vars(found)}
    return found if isinstance(found, dict) else {}


def vitime(arguments: dict[str, Any], tensors: "dict[str, Tensor]") -> Any:
    """ViTime as its arguments describe it."""
    from tsfm.models import vitime_files as files
    from tsfm.official import holding

    return holding("vitime", files.read_config(arguments), files.read_tensors(tensors))


def content_of(file: Path) -> Any:
    """What a file of `torch.save` holds: tensors, numbers, text and namespaces of them; `DataError` for all else."""
    import argparse
    import pickle
    import re
    import warnings

    import torch

    from tsfm.errors import DataError

    if not file.is_file():
        raise DataError(f"{file} is no file; give a published .pth such as mae_visualize_vit_base.pth")
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of torch, on pickles that it did not write
            torch.serialization.safe_globals([argparse.Namespace]),  # holds values and does nothing
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks for {asked[1].rstrip('.')}, and" if asked else "is not what torch.save writes, or"
        raise DataError(f"{file} {what} holds more than tensors; tsfm runs nothing that a file asks for") from None
    except Exception as error:  # what is no pickle fails to be read in any way
        kind = type(error).__name__
        raise DataError(f"{file} is not what torch.save writes ({kind}: {error}); download it again") from None


def tensors_of(file: Path, content: Any) -> "dict[str, Tensor]":
    """The tensors by name in what a file holds; `DataError` where there are none."""
    import torch

    from tsfm.errors import DataError

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
