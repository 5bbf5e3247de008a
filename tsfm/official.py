"""Published checkpoints of other projects: where they are, under which licence, and how their folders are read.

A folder holds config.json and model.safetensors as its authors publish them. `tsfm.load` takes such a folder, or a name
of the table below, and then fetches these two files and the hub card from the hub, never code and nothing that must be
unpickled. What a published folder says is brought into our config and state dictionary by the `<model>_files.py` of its
model, and back. The licence is the one that the hub card beside the weights states, where it is there.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.checkpoints import CONFIG, WEIGHTS, new_card, replacing, sha256
from tsfm.data.shelf import is_offline
from tsfm.errors import DataError, MissingDependency


@dataclass(frozen=True)
class Official:
    """A published checkpoint.

    name          what it is called here
    hub           its id on the hub
    architecture  our registered model
    licence       of the weights, as the hub card states it, or as believed; told where the card is not at hand
    parameters    numbers learned; size: bytes of its file
    """

    name: str
    hub: str
    architecture: str
    licence: str
    parameters: int
    size: int
    description: str


CARD = "README.md"  # as the hub keeps it: YAML between two lines of ---, then Markdown
BELIEVED = "see its hub card; believed CC-BY-NC-4.0"  # the card could not be read where this was written

TABLE = (
    Official(
        "time-moe-50m",
        "Maple728/TimeMoE-50M",
        "time-moe",
        "Apache-2.0",
        113_352_192,
        227_000_000,
        "Time-MoE (Shi et al. 2024): a point-wise sparse decoder, 50 million parameters active a step; a point model.",
    ),
    Official(
        "time-moe-200m",
        "Maple728/TimeMoE-200M",
        "time-moe",
        "Apache-2.0",
        453_196_800,
        906_500_000,
        "Time-MoE (Shi et al. 2024): the larger one, 200 million parameters active a step; a point model.",
    ),
    Official(
        "moirai-moe-small",
        "Salesforce/moirai-moe-1.0-R-small",
        "moirai-moe",
        BELIEVED,
        117_025_800,
        468_700_000,
        "Moirai-MoE (Liu et al. 2024): quantiles, any number of variates, 11 million parameters active a step.",
    ),
    Official(
        "moirai-moe-base",
        "Salesforce/moirai-moe-1.0-R-base",
        "moirai-moe",
        BELIEVED,
        935_066_592,
        3_742_600_000,
        "Moirai-MoE (Liu et al. 2024): the larger one, 86 million parameters active a step.",
    ),
)

FILES = {
    "time-moe": "tsfm.models.time_moe_files",
    "moirai-moe": "tsfm.models.moirai_moe_files",
    "visual-mae": "tsfm.models.visual_mae_files",  # published as pickles alone, so in no table: see `tsfm convert`
    "vitime": "tsfm.models.vitime_files",  # likewise, of another kind
}
"""Architecture -> its module with read_config, write_config, read_tensors, write_tensors."""
MARKS = {
    "time-moe": ("model_type", "time_moe"),
    "moirai-moe": ("distr_output", None),
    "visual-mae": ("decoder_embed_dim", None),
    "vitime": ("maxScal", None),
}
"""Architecture -> the key of a published config.json that tells it, and its value where that matters."""

_told: set[str] = set()


def official_models() -> tuple[Official, ...]:
    """The published checkpoints whose architecture is registered."""
    return tuple(one for one in TABLE if one.architecture in registry.names())


def find_official(name: str) -> Official | None:
    """The published checkpoint of a name or hub id in any case, None where it is no such."""
    return next((one for one in official_models() if name.lower() in (one.name, one.hub.lower())), None)


def architecture_of(folder: Path) -> str | None:
    """The architecture of a folder in a published layout, None where it is none that is known."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or "format" in config:
        return None
    for architecture, (key, value) in MARKS.items():
        if key in config and value in (None, config[key]) and architecture in registry.names():
            return architecture
    return None


def fetch(one: Official, offline: bool = False) -> Path:
    """The folder of a published checkpoint: from the hub, or from where an earlier download lies."""
    remedy = f"copy {CONFIG} and {WEIGHTS} from the hub page of {one.hub} into a folder and give that folder"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingDependency(
            f"model {one.name!r} is fetched by huggingface_hub: pip install 'tsfm-forecast[hub]', or {remedy}"
        ) from None
    alone = is_offline(offline)
    try:
        folder = Path(snapshot_download(one.hub, allow_patterns=[CONFIG, WEIGHTS, CARD], local_files_only=alone))
    except Exception as error:  # the hub's client has several families of its own
        reason = "offline=True or TSFM_OFFLINE forbids downloads, and it is not here yet"
        reason = (
            reason if alone else f"the download failed ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        )
        raise DataError(f"model {one.name!r} cannot be had: {reason}; {remedy}") from error
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        reason = (
            f"{folder} has no {' and no '.join(missing)}, as when a download breaks off; load it with a network again"
        )
        raise DataError(f"model {one.name!r} cannot be had: {reason}, or {remedy}")
    return folder


def read_official(folder: Path, one: Official | None = None) -> tuple[Any, dict[str, Any]]:
    """The model of a folder in a published layout, in float32 and ready to predict, and a card as of our own.

    one  the published checkpoint that the folder is known to hold
    """
    architecture = architecture_of(folder)
    if architecture is None:
        known = ", ".join(name for name in FILES if name in registry.names())
        raise DataError(f"{folder / CONFIG} is not as one of the published models writes it; tsfm reads {known}")
    path, files = folder / WEIGHTS, import_module(FILES[architecture])
    if not path.is_file():
        raise DataError(f"folder {folder} has no {WEIGHTS}; tsfm reads safetensors only, copy that file there")
    try:
        config = files.read_config(json.loads((folder / CONFIG).read_text()))
        model = holding(architecture, config, files.read_tensors(load_file(path)))
    except DataError:
        raise
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path} does not fit its {CONFIG}: {error}; copy the folder again") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CONFIG} holds what no published one does ({error}); copy it again") from None
    stated = stated_licence(folder)
    notice = licence_notice(architecture, one, stated)
    tell(notice)
    licence = stated or (one.licence if one else "that of the weights' publisher")
    about = {"hub": one.hub if one else None, "notice": notice}
    weights = {"dtype": stored_type(path), "sha256": sha256(path)}
    return model, {**new_card(model), "weights": weights, "licence": licence, "official": about}


def holding(architecture: str, config: Any, state: Mapping[str, Tensor]) -> Any:
    """The model with these weights, which are not drawn at random first where all of it is among them."""
    model = holding_nothing(architecture, config)
    held = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
    if held <= state.keys():
        model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True, assign=True)
    else:
        model = registry.get(architecture)(config)
        model.load_state_dict(state, strict=True)
    return model.requires_grad_(True).eval()


def holding_nothing(architecture: str, config: Any) -> Any:
    """The model in shape alone: its weights take no memory and have no values."""
    with torch.device("meta"):
        return registry.get(architecture)(config)


def stored_type(path: Path) -> str:
    """The type that most numbers of a weights file have, as our cards name it."""
    with safe_open(path, framework="pt") as file:
        kinds = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118
    return "bfloat16" if kinds and max(set(kinds), key=kinds.count) == "BF16" else "float32"


def stated_licence(folder: Path) -> str | None:
    """The licence that the hub card in a folder states, None where it states none or is not there."""
    try:
        before, head, _ = (folder / CARD).read_text("utf-8").split("---", 2)
    except (OSError, ValueError):
        return None
    if before.strip():
        return None
    found = {key: value.strip().strip("'\"") for key, _, value in (line.partition(":") for line in head.splitlines())}
    return (found.get("license") == "other" and found.get("license_name")) or found.get("license") or None


def licence_notice(architecture: str, one: Official | None, stated: str | None = None) -> str:
    """What is told of the licence when weights of others are loaded; `stated` is what the card beside them says."""
    if one is not None:
        known = stated or (None if one.licence == BELIEVED else one.licence)
        return f"weights of {one.hub}: licence {f'{known}, as its hub card states it' if known else one.licence}"
    if stated is not None:
        return f"weights of others: licence {stated}, as the card beside them states it"
    published = [other for other in TABLE if other.architecture == architecture]
    stated = ", ".join(sorted({other.licence for other in published})) or "theirs"
    hubs = " and ".join(other.hub for other in published) or architecture
    return f"weights of others, in the layout of {hubs} (licence: {stated}): see the card of yours"


def tell(notice: str) -> None:
    """Say a notice on standard error, once a process."""
    if notice not in _told:
        _told.add(notice)
        print(f"tsfm: {notice}", file=sys.stderr)


def write_official(model: Any, folder: Path) -> Path:
    """Write a model into a folder as its authors publish theirs, in float32; what it must not replace is an error."""
    name = new_card(model)["architecture"]
    if name not in FILES:
        raise DataError(f"{name!r} has no published layout; there are {', '.join(FILES)}")
    files = import_module(FILES[name])
    with replacing(folder) as fresh:
        tensors = {key: tensor.contiguous() for key, tensor in files.write_tensors(model.state_dict()).items()}
        save_file(tensors, fresh / WEIGHTS, {"format": "pt"})
        (fresh / WEIGHTS).chmod(0o644)
        (fresh / CONFIG).write_text(json.dumps(files.write_config(model.config), indent=2) + "\n")
    return folder
