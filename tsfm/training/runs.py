"""Folders of runs: open one with its data, branch one off another, write the model that it gave."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from datasets_registry import load_card, names
from tsfm.checkpoints import new_card, write
from tsfm.data.datasets import read_parquet
from tsfm.errors import DataError
from tsfm.leaks import carry
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.training.checkpoint import load_state, save_state, write_text
from tsfm.training.config import RunConfig, as_json, read_config, tokens_of
from tsfm.training.trainer import Trainer

DESCRIPTION = (
    "Small zero-shot forecaster: a causal patch decoder with sparse experts, trained from nothing by this project."
)


def open_run(folder: Path, config: RunConfig) -> Trainer:
    """The run of a folder: as it was begun where it exists, else a new one with `config`."""
    if (folder / "run.json").exists():
        config = read_config(folder)
    return Trainer(folder, config, list(real_sets(config).values()))


def real_sets(config: RunConfig) -> dict[str, list[NDArray[np.float64]]]:
    """Series of every parquet file in the run's folders, by set; the word "synthetic" names none."""
    return {path.stem: series_of(path, config.withhold) for path in real_files(config.data)}


def real_files(data: tuple[str, ...]) -> list[Path]:
    """The parquet files in the folders named."""
    found: list[Path] = []
    for name in data:
        if name == "synthetic":
            continue
        files = sorted(Path(name).expanduser().glob("*.parquet"))
        if not files:
            raise DataError(f"--data {name}: no parquet file there; name a folder of sets, or 'synthetic'")
        found += files
    return found


def series_of(path: Path, withhold: bool) -> list[NDArray[np.float64]]:
    """Values of the series of a parquet file, without those that its card withholds."""
    left_out = withheld(path) if withhold else ()
    return [series.values for series in read_parquet(path) if series.series_id not in left_out]


def withheld(path: Path) -> tuple[str, ...]:
    """Names of the series of a parquet file that stand in an evaluation set too, as its card says."""
    return load_card(path.stem).withheld if path.stem in names() else ()


def start_branch(
    source: Path, target: Path, steps: int, decay: float = 1.0, rate: float = 1.0, real: float | None = None
) -> None:
    """Make `target` a run that begins at the state of `source` and takes `steps` more steps; nothing where it exists.

    decay  share of these steps over which the rate falls to zero, the last ones
    rate   peak rates of these steps, times those of `source`
    real   share of windows that are cut from real series, if another than that of `source`
    """
    if (target / "run.json").exists():
        return
    if steps < 1:
        raise DataError(f"--steps {steps} with --branch: say how many steps it should take")
    state = source / "state.safetensors"
    if not state.exists():
        raise DataError(f"{source} has no state.safetensors; branch off a run that has saved one")
    config = read_config(source).at_rate(rate).with_real(real)  # complains before anything is written
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(state, target / "state.safetensors")
    step = int(load_state(target / "state.safetensors")[1]["step"])
    falls = step + round(steps * (1 - decay)) if decay else None
    config = replace(config, steps=step + steps, decay_start=falls)
    if (source / "log.csv").exists():
        lines = (source / "log.csv").read_text().splitlines(keepends=True)[: step + 1]
        write_text(target / "log.csv", "".join(lines))
    write_text(target / "run.json", as_json(config))


def back_up(run: Path, target: Path) -> Path:
    """Write what a repository can carry of a run: weights in bfloat16, step and configuration, without folders' names.

    The optimiser's moments are left out; a run restored from a backup warms up again.
    """
    tensors, metadata = load_state(run / "state.safetensors")
    weights = {name: value.bfloat16() for name, value in tensors.items() if name.startswith("model.")}
    config = replace(read_config(run), data=tuple(Path(name).name for name in read_config(run).data))
    target.mkdir(parents=True, exist_ok=True)
    save_state(target / "state.safetensors", weights, metadata)
    write_text(target / "run.json", as_json(config))
    return target


def restore(backup: Path, target: Path, data: tuple[str, ...], device: str = "cpu") -> None:
    """Make `target` a run that goes on from a backup, on `data` and a device; does nothing where the run exists.

    The schedule starts again with a warm-up at the step of the backup, so the data are those that come next.
    """
    if (target / "run.json").exists():
        return
    tensors, metadata = load_state(backup / "state.safetensors")
    target.mkdir(parents=True, exist_ok=True)
    config = replace(read_config(backup), data=data, device=device, warmup_from=int(metadata["step"]))
    weights = {name: value.float() for name, value in tensors.items()}
    save_state(target / "state.safetensors", weights, metadata)
    write_text(target / "run.json", as_json(config))


def write_model(model: Any, folder: Path, run: Path) -> Path:
    """Write a model folder that `tsfm.load` reads, and the run's facts.

    Weights are in the type that the model names as `stored_in`, else in bfloat16.
    With it goes a file by which users recognise its training series (tsfm/leaks.py).
    """
    config, (step, seconds) = read_config(run), progress_of(run)
    card = new_card(model) | {
        "weights": {"dtype": getattr(model, "stored_in", "bfloat16")},
        "licence": "Apache-2.0",
        "description": DESCRIPTION if isinstance(model, MoEDecoder) else described(model),
        "training": {
            "steps": step,
            "tokens_per_step": tokens_of(config),
            "tokens": step * tokens_of(config),
            "active_parameters": active_parameters(model),
            "hours": round(seconds / 3600, 2),
            "hardware": hardware(config),
            "real_share": config.windows.real_share if any(name != "synthetic" for name in config.data) else 0.0,
            "seed": config.seed,
            "withheld": config.withhold,
            "sets": licences(config.data),
        },
    }
    with tempfile.TemporaryDirectory() as scratch:
        path, entry = carry(real_sets(config), Path(scratch))
        return write(model.eval(), card | {"fingerprints": entry}, folder, path)


def hardware(config: RunConfig) -> str:
    """What a run is computed on, in words."""
    if config.device.startswith("cuda"):
        return torch.cuda.get_device_name(config.device)
    return f"{config.threads} CPU thread" + "s" * (config.threads > 1)


def progress_of(run: Path) -> tuple[int, float]:
    """Steps done and seconds spent, all sessions of the run together."""
    metadata = load_state(run / "state.safetensors")[1]
    return int(metadata["step"]), float(metadata.get("seconds", 0.0))


def described(model: Any) -> str:
    """A sentence on a model that was trained from nothing."""
    first = (type(model).__doc__ or "").strip().partition("\n")[0].partition(";")[0].rstrip(".")
    return f"{first}, trained from nothing with this package."


def active_parameters(model: Any) -> int:
    """Parameters that one token meets: all but the routed experts it is not sent to."""
    if not isinstance(model, MoEDecoder):
        return int(model.active_parameters)
    config = model.config
    total = sum(parameter.numel() for parameter in model.parameters())
    routed = config.depth * config.experts * 3 * config.expert_width * config.width
    return total - (routed * (config.experts - config.top_k) // config.experts if config.experts else 0)


def licences(data: tuple[str, ...]) -> list[dict[str, str]]:
    """Name and licence of every real set, from the CATALOG.csv beside the folder that it lies in."""
    found = []
    for name in data:
        folder = Path(name).expanduser()
        catalog = folder.parent / "CATALOG.csv"
        stated = pd.read_csv(catalog).set_index("name")["licence"].to_dict() if catalog.exists() else {}
        files = [] if name == "synthetic" else sorted(folder.glob("*.parquet"))
        found += [{"name": path.stem, "licence": str(stated.get(path.stem, "not stated"))} for path in files]
    return found
