"""A fitted MultivariateForecaster as a folder: config.json, adapter.safetensors, and base/ where it needs one.

A base of the package is named with the hash of its weights; any other travels along. Nothing is ever unpickled.
"""

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tsfm.checkpoints import CONFIG, embedded, sha256, weightless
from tsfm.errors import DataError
from tsfm.finetuning.multivariate_fit import Report
from tsfm.finetuning.multivariate_quantiles import Mixing
from tsfm.loading import load as load_base
from tsfm.nn.channel_adapters import ChannelAdapter, ChannelAdapterConfig

if TYPE_CHECKING:
    from tsfm.finetuning.multivariate import MultivariateForecaster

FORMAT = 1
TENSORS, BASE = "adapter.safetensors", "base"
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}  # as `load` calls what a forecaster has
ARRAYS = ("mean", "unit", "correlation", "spread", "share")


def save(fitted: "MultivariateForecaster", folder: Path) -> Path:
    """Write the folder, complete or not at all; one that this wrote before is replaced."""
    if not fitted.channels:
        raise DataError("nothing to save: call .fit(data, horizon) first")
    names = [name.item() if isinstance(name, np.generic) else name for name in fitted.channels]
    odd = [name for name in names if not isinstance(name, str | int | float)]
    if odd:
        raise DataError(f"channel {odd[0]!r} has a name that is neither text nor a number; rename it before .fit")
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or is_ours(folder))):
        raise DataError(f"{folder} exists and holds something else; give a new or an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = working / "new"
        fresh.mkdir()
        content = card(fitted, names)
        if fitted.base.name not in (*embedded(), *weightless()):
            content["base"] = {"folder": BASE, "precision": fitted.base.precision}
            fitted.base.save(fresh / BASE)
        if fitted.mixing is not None:
            save_file(tensors(fitted.mixing), fresh / TENSORS)
            (fresh / TENSORS).chmod(0o644)  # safetensors lets only its owner read
            content["tensors"] = sha256(fresh / TENSORS)
        (fresh / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
        if folder.exists():
            folder.rename(working / "old")
        fresh.rename(folder)
    finally:
        shutil.rmtree(working)
    return folder


def is_ours(folder: Path) -> bool:
    """Whether a folder was written by `save`."""
    try:
        return "multivariate" in json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return False


def card(fitted: "MultivariateForecaster", names: list[Any]) -> dict[str, Any]:
    """The content of config.json, for a base of the package."""
    return {
        "multivariate": FORMAT,
        "base": {"name": fitted.base.name, "sha256": fitted.base.weight_hash, "precision": fitted.base.precision},
        "adapter": fitted.adapter,
        "components": fitted.components,
        "samples": fitted.samples,
        "context": fitted.context,
        "seed": fitted.seed,
        "channels": names,
        "mixed": fitted.mixed,
        "horizon": fitted.horizon,
        "report": fitted.report.to_dict(),
        "layers": None if fitted.mixing is None else asdict(fitted.mixing.adapter.config),
        "tensors": None,
    }


def tensors(mixing: Mixing) -> dict[str, torch.Tensor]:
    """Everything fitted, by name."""
    layers = {f"adapter.{name}": value.contiguous() for name, value in mixing.adapter.state_dict().items()}
    return {**layers, **{name: torch.from_numpy(np.array(getattr(mixing, name))) for name in ARRAYS}}


def load(kind: "type[MultivariateForecaster]", folder: Path) -> "MultivariateForecaster":
    """Read a folder that `save` wrote."""
    try:
        content = json.loads((folder / CONFIG).read_text())
    except FileNotFoundError:
        raise DataError(f"folder {folder} has no {CONFIG}; give one that MultivariateForecaster.save wrote") from None
    except ValueError as error:
        raise DataError(f"{folder / CONFIG} is not valid JSON ({error}); save it again") from None
    if content.get("multivariate") != FORMAT:
        told = content.get("multivariate", "no")
        raise DataError(f"{folder / CONFIG} has multivariate format {told}, this tsfm reads {FORMAT}; save it again")
    options = {name: content[name] for name in ("components", "samples", "context", "seed")}
    made = kind(base_of(content["base"], folder), content["adapter"], **options)
    made.channels, made.mixed, made.horizon = content["channels"], content["mixed"], content["horizon"]
    report: dict[str, Any] = {
        name: float("nan") if value is None else value for name, value in content["report"].items()
    }
    made.report = Report(**report)
    if content["tensors"] is not None:
        made.mixing = mixing_of(content, folder / TENSORS)
    return made


def base_of(entry: dict[str, str], folder: Path) -> Any:
    """The base that was saved along, or the package's own of the same name and weights."""
    precision = PRECISIONS.get(entry["precision"], "auto")
    if "folder" in entry:
        return load_base(folder / entry["folder"], precision=precision)
    base = load_base(entry["name"], precision=precision)
    if base.weight_hash != entry["sha256"]:
        raise DataError(
            f"{folder} was fitted around {entry['name']!r} with weights {entry['sha256'][:12]}, and this tsfm has "
            f"{base.weight_hash[:12]}; fit it again, or use the tsfm that wrote it"
        )
    return base


def mixing_of(content: dict[str, Any], path: Path) -> Mixing:
    """The fitted adapter from its file."""
    if not path.is_file() or sha256(path) != content["tensors"]:
        raise DataError(f"{path} is missing or not the one that {CONFIG} names; copy the folder again")
    try:
        found = load_file(path)
        adapter = ChannelAdapter(ChannelAdapterConfig(**content["layers"])).double()
        adapter.load_state_dict(
            {name.removeprefix("adapter."): value for name, value in found.items() if name.startswith("adapter.")}
        )
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path} does not fit its {CONFIG}: {error}; copy the folder again") from None
    arrays = {name: found[name].numpy() for name in ARRAYS}
    return Mixing(adapter.eval(), **arrays, samples=content["samples"], seed=content["seed"])
