"""Adapter folders: what a fine-tuned model learned, in a small file that loads on top of its base.

    config.json        as of any checkpoint (tsfm/checkpoints.py), and
                       "adapter": the whole AdapterConfig,
                       "base": {"name": an embedded model, or a folder as seen from this one, "sha256": its weights}
    model.safetensors  the adapter's tensors alone, in float32
    base/              a copy of the base, in a folder saved with standalone=True or whose base lies nowhere else

The base may have an adapter itself. A forecaster with an adapter holds plain weights with the change folded in, and
shares with its base whatever the change leaves alone; so do many adapters of one base. Folding is the same computation
wherever it runs, so a loaded adapter forecasts what its saver did, to the last bit.
"""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tsfm import checkpoints
from tsfm.checkpoints import BASE, CONFIG, WEIGHTS, as_tuples, base_folders, fingerprint_file, identity, read_card
from tsfm.covariate_head import HEAD, head_files
from tsfm.errors import DataError
from tsfm.nn.adapters import AdapterConfig, fold
from tsfm.packing import pack

if TYPE_CHECKING:
    from tsfm.forecaster import Forecaster


@dataclass(frozen=True)
class Adapter:
    """A change, what was learned (float32, on the host), and the forecaster that it changes."""

    config: AdapterConfig
    tensors: dict[str, Tensor]
    base: "Forecaster"


def adapted(base: "Forecaster", config: AdapterConfig, tensors: Mapping[str, Tensor]) -> "Forecaster":
    """A forecaster of the base's weights with the change folded in; the base stays as it is."""
    if not isinstance(base.model, nn.Module):
        raise DataError(f"model {base.name!r} has no weights to adapt; take a pretrained one")
    kept = {key: part.detach().float().cpu().clone().contiguous() for key, part in tensors.items()}
    model = sharing_copy(base.model, config)
    fold(model, config, kept)
    if hasattr(model, "set_precision"):
        model.set_precision(getattr(torch, base.precision))  # and forget copies of other weights
    made = copy.copy(base)
    made.model, made.adapter, made.name = model, Adapter(config, kept, base), f"{base.name} + {config.kind}"
    made.card = {
        **base.card,
        "adapter": asdict(config),
        "base": {"name": base.name, "sha256": base.weight_hash or hash_unsaved(base.model)},
        "weights": {"dtype": "float32", "sha256": hashlib.sha256(save(kept)).hexdigest()},
    }
    return made


def sharing_copy(model: nn.Module, config: AdapterConfig) -> Any:
    """A copy that shares the tensors that `fold` does not replace."""
    changed = set(config.names)
    shared = [weight for name, weight in model.named_parameters() if name not in changed]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in [*shared, *model.buffers()]})


def hash_unsaved(model: nn.Module) -> str:
    """Hash of the file that the weights of a model would make, in float32."""
    return hashlib.sha256(save(pack(model.state_dict(), "float32"))).hexdigest()


def merge(forecaster: "Forecaster") -> "Forecaster":
    """The same weights as an ordinary forecaster, whose checkpoint needs no base."""
    made, layer = copy.copy(forecaster), forecaster
    while layer.adapter is not None:
        if layer.adapter.config.kind == "bottleneck":
            raise DataError(
                f"model {forecaster.name!r} has bottlenecks, which cannot be folded into weights; "
                "save(folder, standalone=True) writes a folder that needs no other"
            )
        layer = layer.adapter.base
    made.adapter = None
    kept = {key: value for key, value in forecaster.card.items() if key not in ("adapter", "base")}
    made.card = {**kept, "weights": {"dtype": "float32"}}
    return made


def unmerge(forecaster: "Forecaster") -> "Forecaster":
    """The base's forecaster."""
    if forecaster.adapter is None:
        raise DataError(f"model {forecaster.name!r} has no adapter to take off")
    return forecaster.adapter.base


def write(forecaster: "Forecaster", folder: Path, standalone: bool) -> Path:
    """Write the folder of a forecaster with an adapter; it appears complete or not at all."""
    with checkpoints.replacing(folder) as fresh:
        fill(forecaster, fresh, folder.resolve(), standalone)
    return folder


def fill(forecaster: "Forecaster", fresh: Path, final: Path, standalone: bool) -> None:
    """Write the files into `fresh`, a folder that will be called `final`."""
    adapter = forecaster.adapter
    assert adapter is not None
    base = None if standalone else reference(adapter.base, final)
    if base is None:
        (fresh / BASE).mkdir()
        put_base(adapter.base, fresh / BASE, final / BASE, standalone)
        base = {"name": embedded_name(adapter.base.folder) or BASE, "sha256": identity(read_card(fresh / BASE))}
    content = save(adapter.tensors)
    (fresh / WEIGHTS).write_bytes(content)
    weights = {"dtype": "float32", "sha256": hashlib.sha256(content).hexdigest()}
    card = {**checkpoints.whole(forecaster.card, forecaster.model), "base": base, "weights": weights}
    (fresh / CONFIG).write_text(json.dumps(card, indent=2) + "\n")
    for name, file in head_files(forecaster.head).items():
        (fresh / name).write_bytes(file)


def reference(base: "Forecaster", final: Path) -> dict[str, str] | None:
    """How a folder `final` names a base that lies elsewhere; None where the base must go with it."""
    there = intact(base)
    if there is None or final == there or final in there.parents:
        return None
    name = embedded_name(there)
    return {"name": name or relative(there, final), "sha256": base.weight_hash}


def intact(forecaster: "Forecaster") -> Path | None:
    """The folder that still holds what a forecaster was loaded from, if there is one."""
    folder = forecaster.folder
    if folder is None or not forecaster.weight_hash or hash_in(folder) != forecaster.weight_hash:
        return None
    stated = forecaster.card["weights"]["sha256"]
    return folder.resolve() if checkpoints.sha256(folder / WEIGHTS) == stated else None


def relative(folder: Path, start: Path) -> str:
    """A folder as seen from another; as it is where there is no way, as between two drives."""
    try:
        return Path(os.path.relpath(folder, start)).as_posix()
    except ValueError:
        return str(folder)


def embedded_name(folder: Path | None) -> str | None:
    """The name of a folder that travels in the package."""
    known = {path.resolve(): name for name, path in checkpoints.embedded().items()}
    return known.get(folder.resolve()) if folder is not None else None


def put_base(base: "Forecaster", to: Path, final: Path, standalone: bool) -> None:
    """Copy a base into an empty folder: its files where they are still there, else its weights in float32."""
    if base.adapter is not None:
        fill(base, to, final, standalone)
        return
    fingerprints, there = fingerprint_file(base.card, base.folder), intact(base)
    if there is None:
        card = {**checkpoints.whole(base.card, base.model), "weights": {"dtype": "float32"}}
        checkpoints.write(base.model, card, to, fingerprints, head_files(base.head))
        return
    for path in (there / CONFIG, there / WEIGHTS, there / HEAD, fingerprints):
        if path is not None and path.is_file():
            shutil.copyfile(path, to / path.name)


def find_base(folder: Path) -> str:
    """What to load below an adapter: a name, or a folder, whose weights are those that the adapter was trained on."""
    card, looked = read_card(folder), []
    wanted = card["base"]["sha256"]
    for place in base_folders(card, folder):
        found = hash_in(place)
        if found == wanted:
            return embedded_name(place) or str(place)
        looked.append(f"{place} ({f'its weights have sha256 {found}' if found else 'no model there'})")
    raise DataError(
        f"the adapter in {folder} was trained on {card['base']['name']!r} with weights of sha256 {wanted}, and that is "
        f"not in {', nor in '.join(looked)}; copy the base to {folder / BASE}, or save the adapter again where its "
        "base is, with save(folder, standalone=True)"
    )


def hash_in(folder: Path) -> str:
    """The hash that a checkpoint folder says its weights have, "" where there is no such folder."""
    try:
        return identity(read_card(folder))
    except DataError:
        return ""


def read(folder: Path, base: "Forecaster") -> "Forecaster":
    """The forecaster of an adapter folder, on top of its base."""
    card = read_card(folder)
    path, known = folder / WEIGHTS, {field.name for field in fields(AdapterConfig)}
    if not path.is_file() or checkpoints.sha256(path) != card["weights"]["sha256"]:
        raise DataError(f"{path} is missing or not what {CONFIG} says; copy the folder again")
    unknown = sorted(set(card["adapter"]) - known)
    if unknown:
        raise DataError(f"{folder / CONFIG} has an adapter with {', '.join(unknown)}, unknown here; upgrade tsfm")
    config = AdapterConfig(**{key: as_tuples(value) for key, value in card["adapter"].items()})
    try:
        made = adapted(base, config, load_file(path))
    except (SafetensorError, DataError) as error:
        raise DataError(f"{path} does not fit its {CONFIG}: {error}") from None
    made.name, made.folder, made.card = str(folder), folder, card
    return made
