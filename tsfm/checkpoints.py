"""Checkpoint folders: config.json and model.safetensors, and the models that travel in the package.

    config.json   {"architecture": registered name, "format": 1, "config": the model's whole config,
                   "weights": {"dtype": "int8" | "bfloat16" | "float32", "sha256": of model.safetensors}, ...}

Further keys (licence, description, what it was trained on) are kept as they are. A model without weights has
`"weights": null` and no weights file. Nothing is ever unpickled. `"fingerprints": {"file": ..., "sha256": ...}` names
the file by which training series are recognised (tsfm/leaks.py); it lies in the folder, or beside it, where models of
the same training data share it.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.errors import DataError, UnknownName
from tsfm.packing import pack, unpack

FORMAT = 1
CONFIG, WEIGHTS, BASE = "config.json", "model.safetensors", "base"
KEYS = {"architecture": str, "format": int | str | float, "config": dict, "weights": dict | None}
"""What every config.json has, and of which type."""


def embedded() -> dict[str, Path]:
    """Return the checkpoint folders that travel in the package, by name."""
    root = Path(str(files("tsfm") / "pretrained"))
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG).is_file()}


def weightless() -> list[str]:
    """Return the names of the registered forecasters that work without weights."""
    return [name for name in registry.names() if not hasattr(registry.get(name), "Config")]


def read_card(folder: Path) -> dict[str, Any]:
    """Return the content of config.json, checked as far as every checkpoint has it."""
    try:
        card = json.loads((folder / CONFIG).read_text())
    except FileNotFoundError:
        raise DataError(f"folder {folder} has no {CONFIG}; give one that `Forecaster.save` wrote") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / CONFIG} is not valid JSON ({error}); save the model again") from None
    card = card if isinstance(card, dict) else {}
    missing = [key for key, kind in KEYS.items() if not isinstance(card.get(key, ...), kind)]
    if "adapter" in card:
        base = card.get("base")
        missing += [f"base.{key}" for key in ("name", "sha256") if not isinstance(base, dict) or key not in base]
    if "format" not in card:
        raise DataError(
            f"{folder / CONFIG} is of no model that tsfm knows: it has no {', '.join(missing)}; give a folder that "
            "`Forecaster.save` wrote, or one that the authors of a model published that `tsfm models` lists"
        )
    if missing:
        raise DataError(f"{folder / CONFIG} has no {', '.join(missing)}; save the model again with `Forecaster.save`")
    if card["format"] != FORMAT:
        raise DataError(f"{folder / CONFIG} has format {card['format']!r}, this tsfm reads {FORMAT}; upgrade tsfm")
    return dict(card)


def build(architecture: str, values: Mapping[str, Any]) -> Any:
    """Return a new model of a registered architecture, from the content of its config."""
    entry = registry.get(architecture)
    if not hasattr(entry, "Config"):
        return entry()
    fields = {field.name for field in dataclasses.fields(entry.Config)}
    later: frozenset[str] = getattr(
        entry, "added_to_config", frozenset()
    )  # absent in older checkpoints, which mean the default
    unknown, missing = sorted(set(values) - fields), sorted(fields - set(values) - later)
    if unknown or missing:
        told = [f"does not know {', '.join(unknown)}"] * bool(unknown) + [f"lacks {', '.join(missing)}"] * bool(missing)
        raise DataError(
            f"the config of a {architecture!r} checkpoint {' and '.join(told)}; upgrade tsfm or save it again"
        )
    return entry(entry.Config(**{name: as_tuples(value) for name, value in values.items()}))


def as_tuples(value: Any) -> Any:
    """Return JSON's lists as the tuples they were."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value


def read(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model of a folder, in float32 and ready to predict, and its config.json."""
    card = read_card(folder)
    if "adapter" in card:
        raise DataError(f"folder {folder} holds an adapter, a change of another model; tsfm.load reads both")
    try:
        model = build(card["architecture"], card["config"])
    except UnknownName as error:
        raise UnknownName(f"{folder / CONFIG}: {error}; upgrade tsfm or register it first") from None
    if card["weights"] is None:
        return model, card
    path = folder / WEIGHTS
    if not path.is_file():
        raise DataError(f"folder {folder} has no {WEIGHTS}; tsfm reads safetensors only, copy that file there")
    found, stated = sha256(path), card["weights"].get("sha256")
    if found != stated:
        raise DataError(f"{path} has sha256 {found} but {CONFIG} says {stated}; copy the folder again")
    try:
        model.load_state_dict(unpack(load_file(path)), strict=True)
    except (SafetensorError, RuntimeError) as error:
        remedy = "copy the folder again, or use the tsfm that wrote it"
        raise DataError(f"{path} does not fit its {CONFIG}: {error}; {remedy}") from None
    return model.eval(), card


def fingerprint_file(card: Mapping[str, Any], folder: Path | None) -> Path | None:
    """Return the fingerprints that a card names: in its folder, beside it, or in the package; None if not there."""
    entry = card.get("fingerprints")
    if not entry:
        return None
    places = [*([folder, folder.parent] if folder else []), Path(str(files("tsfm") / "pretrained"))]
    if folder and "base" in card:
        places += [place for base in base_folders(card, folder) for place in (base, base.parent)]
    paths = [place / Path(entry["file"]).name for place in places]
    return next((path for path in paths if path.is_file() and sha256(path) == entry["sha256"]), None)


def write(
    model: Any,
    card: Mapping[str, Any],
    folder: Path,
    fingerprints: Path | None = None,
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a checkpoint folder that appears complete or not at all; one that is there already is replaced.

    A copy of the file `fingerprints` goes with it, unless the same file lies beside the folder; `beside` are further
    files by name.
    """
    with replacing(folder) as fresh:
        content = {**card, "weights": write_weights(model, card, fresh / WEIGHTS)}
        (fresh / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
        for name, file in beside.items():
            (fresh / name).write_bytes(file)
        if fingerprints is not None and not same_content(fingerprints, folder.parent / fingerprints.name):
            shutil.copyfile(fingerprints, fresh / fingerprints.name)
    return folder


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of a new or an older checkpoint folder once the block has filled it."""
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))):
        raise DataError(f"{folder} exists and is not a checkpoint folder; give a new or an empty one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}; name another folder") from error
    try:
        fresh = working / "new"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(working / "old")
        fresh.rename(folder)
    finally:
        shutil.rmtree(working)


def write_weights(model: Any, card: Mapping[str, Any], path: Path) -> dict[str, str] | None:
    """Write the weights in the type that the card names (tsfm/packing.py), and return their entry of config.json."""
    if not isinstance(model, nn.Module):
        return None
    name = (card.get("weights") or {}).get("dtype", "float32")
    save_file(pack(model.state_dict(), name), path)
    path.chmod(0o644)  # safetensors lets only its owner read
    return {"dtype": name, "sha256": sha256(path)}


def new_card(model: Any) -> dict[str, Any]:
    """Return the config.json of a model that was not loaded from a folder."""
    names = [name for name in registry.names() if registry.get(name) is type(model)]
    if not names:
        raise UnknownName(f"{type(model).__name__} is not registered; decorate it with @tsfm.register(name) to save it")
    config = dataclasses.asdict(model.config) if hasattr(model, "config") else {}
    return {"architecture": names[0], "format": FORMAT, "config": config, "weights": None}


def whole(card: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return a card with what every checkpoint has, where the model was not loaded from one."""
    return dict(card) if "architecture" in card else {**new_card(model), **card}


def identity(card: Mapping[str, Any]) -> str:
    """Return what tells the weights of a checkpoint from all others: the hash of its file.

    Of an adapter, a hash of what it does, to which base, and of its file. "" where the weights were never saved.
    """
    found = str((card.get("weights") or {}).get("sha256", ""))
    if "adapter" not in card or not found:
        return found
    return hashlib.sha256(json.dumps([card["adapter"], card["base"]["sha256"], found]).encode()).hexdigest()


def base_folders(card: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return where the base of an adapter may lie, the first place to look first."""
    name = card["base"]["name"]
    return list(dict.fromkeys([folder / BASE, embedded().get(name, (folder / name).resolve())]))


def same_content(path: Path, other: Path) -> bool:
    """Tell whether `other` is a file of the same bytes."""
    return other.is_file() and sha256(path) == sha256(other)


def sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
