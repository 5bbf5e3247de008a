"""The front door: `tsfm.load` finds a model and keeps it, `tsfm.forecast` does everything in one call."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tsfm import adapter_files, kernels, registry
from tsfm.checkpoints import CONFIG, WEIGHTS, build, embedded, new_card, read, read_card, weightless
from tsfm.covariate_head import HEAD, read_head
from tsfm.errors import DataError, UnknownName
from tsfm.forecaster import Forecaster
from tsfm.official import architecture_of, fetch, find_official, official_models, read_official
from tsfm.options import DECILES, check_choice
from tsfm.prediction import Forecast

DEFAULT_MODEL = "moe-decoder-tiny"
PRECISIONS = ("auto", "fp32", "bf16")

_loaded: dict[tuple[object, ...], Forecaster] = {}
_lock = threading.RLock()  # an adapter loads its base while it holds it


def load(
    name_or_folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto", offline: bool = False
) -> Forecaster:
    """Return the forecaster of a name (see `tsfm.list_models()`) or of a local checkpoint or adapter folder.

    Folders may be our own or as the authors of a published model lay them out (tsfm/official.py).

    device     "auto" takes an accelerator where there is one; else as torch names devices: "cpu", "cuda:1"
    precision  "fp32", "bf16", or "auto": what measures faster on this device within the accuracy promised
    offline    fetch nothing; `TSFM_OFFLINE=1` says the same

    The same name on the same device in the same precision gives the same object; threads may share it. `UnknownName`
    lists the names that exist; `DataError` tells what is wrong with a folder. Only published models are downloaded,
    when they are first named.
    """
    check_choice(precision, "precision", PRECISIONS)
    where = kernels.choose_device(device)
    if not isinstance(name_or_folder, str | os.PathLike):
        raise DataError(f"model={name_or_folder!r} is neither a name nor a folder; give one such as {DEFAULT_MODEL!r}")
    name = os.fspath(name_or_folder)
    folder = find(name, offline)
    key = (name, None if folder is None else stamp(folder), str(where), precision)
    with _lock:
        if key not in _loaded:
            _loaded[key] = place(name, folder, where, precision)
        return _loaded[key]


def forecast(
    data: Any,
    horizon: int | None = None,
    *,
    model: str | os.PathLike[str] | Forecaster = DEFAULT_MODEL,
    quantile_levels: Iterable[float] = DECILES,
    past: str | list[str] | None = None,
    future: Any = None,
    static: Any = None,
    jointly: bool = False,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    freq: str | None = None,
    context: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    effort: str = "fast",
    clip: str | None = "auto",
    errors: str = "raise",
    seed: int = 0,
    progress: bool | None = None,
    offline: bool = False,
) -> Forecast:
    """Forecast whatever is given, one series or many, with quantiles.

    data             a list, array, tensor, ragged list, dictionary of arrays, pandas Series, wide or long frame
                     (pandas, polars, Arrow), GluonTS data set, path of a CSV, parquet or .tsf file; NaN where missing
    horizon          steps ahead; None chooses by frequency and says so in the provenance
    model            a name (`tsfm.list_models()`), a checkpoint folder, or what `tsfm.load` returned
    quantile_levels  inside (0, 1); `.quantile(any)` works afterwards too
    past, future, static  columns known up to now, values known ahead, constants: for models that use them
    jointly          True forecasts the series as variates of one, by models that do; each then depends on the others
    id, time, target names of the columns of a long frame, where they are not found by themselves
    freq             frequency as pandas names it, where stamps do not show it
    context          the most steps of history to read; None: as many as the model can
    batch_size       series at a time; None goes by memory. Never changes a forecast
    device, precision  "auto", or as torch names devices; "auto", "fp32" or "bf16"
    effort           "best" takes two to three times as long to average the forecasts of several views of each series
                     (tsfm/views.py); the provenance says where a model has nothing more to give than in "fast"
    clip             "auto": nothing below zero where all the history is >= 0; None: as the model says
    errors           "raise" lists every bad series; "skip" forecasts the rest and lists them in `.skipped`
    seed             of whatever a model draws at random; models that draw nothing ignore it
    progress         True or False force a bar; None shows one on long work where somebody watches
    offline          True forbids any download: published models are taken from where an earlier one lies

    Raises `DataError` or `UnknownName` (both `TsfmError`), naming the series, the value and the remedy.
    """
    check_choice(offline, "offline", (True, False))
    return forecaster_of(model, device, precision, offline).forecast(
        data,
        horizon,
        quantile_levels=quantile_levels,
        past=past,
        future=future,
        static=static,
        jointly=jointly,
        id=id,
        time=time,
        target=target,
        freq=freq,
        context=context,
        batch_size=batch_size,
        effort=effort,
        clip=clip,
        errors=errors,
        seed=seed,
        progress=progress,
    )


def forecaster_of(
    model: str | os.PathLike[str] | Forecaster, device: str, precision: str, offline: bool = False
) -> Forecaster:
    """Return what `model=` stands for: itself where it is loaded already."""
    if not isinstance(model, Forecaster):
        return load(model, device=device, precision=precision, offline=offline)
    if (device, precision) != ("auto", "auto"):
        raise DataError("a loaded model has its device and precision; give them to tsfm.load(name, device=...)")
    return model


def find(name: str, offline: bool = False) -> Path | None:
    """Return the checkpoint folder of a name or path, None for a baseline; a published one is fetched if need be."""
    if name in weightless():
        return None
    if name in embedded():
        return embedded()[name]
    if Path(name).is_dir():
        return Path(name).resolve()
    if (published := find_official(name)) is not None:
        return fetch(published, offline)
    known = ", ".join([*embedded(), *weightless(), *(one.name for one in official_models())])
    reason = "is an architecture without weights" if name in registry.names() else "is not known"
    raise UnknownName(f"model {name!r} {reason}; there are {known}, or give a folder with {CONFIG} and {WEIGHTS}")


def stamp(folder: Path) -> tuple[object, ...]:
    """Return what tells a folder's content from an earlier one under the same path."""
    times = [path.stat().st_mtime_ns for path in (folder / CONFIG, folder / WEIGHTS, folder / HEAD) if path.is_file()]
    return (str(folder), *times)


def place(name: str, folder: Path | None, device: torch.device, precision: str) -> Forecaster:
    """Read or build the model, and put it on its device in its precision; an adapter goes on top of its base."""
    published = find_official(name)
    others = folder is not None and architecture_of(folder) is not None
    if folder is not None and not others and "adapter" in read_card(folder):
        base = load(adapter_files.find_base(folder), device=str(device), precision=precision)
        return with_its_head(adapter_files.read(folder, base), folder)
    if folder is None:
        model = build(name, {})
        card = new_card(model)
    else:
        model, card = read_official(folder, published) if others else read(folder)
    if hasattr(model, "to"):
        model = model.to(device)
    dtype: torch.dtype = getattr(model, "input_dtype", torch.float32)
    if hasattr(model, "set_precision"):
        dtype = kernels.choose_precision(device, precision)
        model.set_precision(dtype)
    shown = published.name if published else name if folder is None or name in embedded() else str(folder)
    made = Forecaster(
        model, shown, device=device, precision=str(dtype).removeprefix("torch."), card=card, folder=folder
    )
    return with_its_head(made, folder)


def with_its_head(made: Forecaster, folder: Path | None) -> Forecaster:
    """The forecaster with the covariate head that its folder holds, if it does."""
    made.head = read_head(made.card, folder) if folder is not None else None
    return made
