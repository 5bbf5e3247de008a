"""`tsfm.impute`: every gap of whatever data a person has, filled by a model that sees both of its sides.

A series is cut into stretches that an image of the visual MAE holds, which overlap by half, and every stretch with a
gap is conditioned (conditioning.py), padded on the left and reconstructed. What no model is needed for, or none can
tell, is filled without one: a constant series by its constant, and, which is told, by a straight line what has fewer
than three observed values in sight, at the ends of a series at the level of its nearest value.
"""

import os
import time as clock
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsfm.batching import Context, Plan, Positions, bucket_length, stack
from tsfm.checkpoints import embedded
from tsfm.conditioning import condition, restore
from tsfm.data.adapters import to_panel
from tsfm.data.filling import tangible
from tsfm.data.readers import read_told
from tsfm.data.repairs import many, series_name
from tsfm.errors import DataError, TsfmError, UnknownName
from tsfm.forecaster import Forecaster, never_negative
from tsfm.imputed import Imputed
from tsfm.inference import bytes_per_series
from tsfm.kernels import memory_for_batches
from tsfm.loading import forecaster_of
from tsfm.nn.sheets import stretches
from tsfm.options import check_choice, check_levels, check_optional
from tsfm.panel import Panel, Repair, told_once
from tsfm.prediction import Provenance
from tsfm.progress import Progress

# B stretches, C steps of a stretch, T steps of a series, G of them filled, Q quantile levels.

Floats = NDArray[np.float64]
DEFAULT_FILLER = "visual-mae-nano"
FEWEST = 3  # observed values in sight from which a model can tell anything


@dataclass
class Filling:
    """One series on its way: its quantiles (T, Q) where it has gaps, and the steps (T,) that lie on a straight line."""

    values: Floats
    gaps: NDArray[np.bool_]
    quantiles: Floats
    lined: NDArray[np.bool_]


@dataclass(frozen=True)
class Stretch:
    """A part of a series that the model sees at once, and the steps (low, high) of the series that are read from it."""

    series: int
    context: Context
    start: int
    low: int
    high: int


@dataclass
class Work:
    """All series on their way, the stretches that need the model, and what is to be told."""

    series: list[Filling] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    told: list[Repair] = field(default_factory=list)


def impute(
    data: Any,
    *,
    model: str | os.PathLike[str] | Forecaster = DEFAULT_FILLER,
    quantile_levels: Iterable[float] | None = None,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    freq: str | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    errors: str = "raise",
) -> Imputed:
    """Fill every gap of whatever is given: `.values` of the result is the same kind of thing, without a NaN.

    data             what `tsfm.forecast` takes. Steps that a regular time axis leaves out become rows; gaps before the
                     first value and after the last are filled too, from one side
    model            a name, a checkpoint folder or what `tsfm.load` returned, of a visual MAE of ours
    quantile_levels  inside (0, 1), columns of `.to_frame()`; None: the median alone. `.quantile(any)` works either way
    id, time, target, freq, batch_size, device, precision, errors   as in `tsfm.forecast`

    Observed values come back as they were, to the last bit. Nothing below zero is put where all that was observed is
    >= 0. Raises `DataError` or `UnknownName`, naming the series, the value and the remedy.
    """
    began = clock.perf_counter()
    levels = () if quantile_levels is None else check_levels(quantile_levels)
    check_choice(errors, "errors", ("raise", "skip"))
    size = check_optional(batch_size, "batch_size", "batch_size=64")
    forecaster = filler(model, device, precision)
    data, panel = read(data, id=id, time=time, target=target, freq=freq, errors=errors)
    network: Any = forecaster.model
    work = planned(panel, network.config.longest_gap_filled, len(network.levels))
    reconstruct(forecaster, work, size)
    provenance = account(forecaster, panel, work)
    curves, lined = [one.quantiles[one.gaps] for one in work.series], [one.lined[one.gaps] for one in work.series]
    provenance.seconds = clock.perf_counter() - began
    return Imputed(data, panel, network.levels, curves, lined, levels, provenance)


def filler(model: Any, device: str, precision: str) -> Forecaster:
    """The model that is to fill gaps, or why it cannot."""
    if model == DEFAULT_FILLER and DEFAULT_FILLER not in embedded() and not Path(DEFAULT_FILLER).is_dir():
        raise UnknownName(
            f"{DEFAULT_FILLER!r}, the model that fills gaps, is not in this installation; train one by "
            "`tsfm pretrain --model visual-mae --preset nano`, and give its folder: tsfm.impute(data, model=folder)"
        )
    found = forecaster_of(model, device, precision)
    if not hasattr(found.model, "reconstruct") or not getattr(found.model, "exact", False):
        raise DataError(f"model {found.name!r} cannot fill gaps; a visual MAE of ours does, such as {DEFAULT_FILLER!r}")
    return found


def read(data: Any, **given: Any) -> tuple[Any, Panel]:
    """What is to be given back, a file as its frame, and its panel."""
    if not isinstance(data, str | os.PathLike):
        data = tangible(data)
        return data, to_panel(data, **given)
    frame, repairs = read_told(Path(data), keep=[name for name in (given["id"], given["time"]) if name is not None])
    panel = to_panel(frame, **given)
    return frame, replace(panel, repairs=[*repairs, *panel.repairs])


def planned(panel: Panel, longest: int, levels: int) -> Work:
    """What is filled without a model is filled, and the rest is cut into stretches of at most `longest` steps."""
    work = Work()
    for place, (name, values) in enumerate(zip(panel.ids, panel.values, strict=True)):
        gaps = np.isnan(values)
        one = Filling(values, gaps, np.empty((len(values), levels)), np.zeros(len(values), dtype=bool))
        work.series.append(one)
        if not gaps.any():
            continue
        seen = np.flatnonzero(~gaps)
        unit = 4.0 if np.abs(values[seen]).max() > 1e307 else 1.0  # lest the slope of a line be infinite
        line = unit * np.interp(np.arange(len(values)), seen, values[seen] / unit)
        one.quantiles[:] = line[:, None]
        for start, stop, low, high in stretches(len(values), longest):
            if gaps[low:high].any():
                _plan_stretch(work, place, start, stop, low, high)
        work.told += told(name, one, seen, longest)
    return work


def _plan_stretch(work: Work, place: int, start: int, stop: int, low: int, high: int) -> None:
    one = work.series[place]
    part = one.values[start:stop]
    seen = part[~np.isnan(part)]
    whole = one.values[~one.gaps]
    if (whole == whole[0]).all():
        return
    if len(seen) < FEWEST:
        one.lined[low:high] = one.gaps[low:high]
    elif (seen == seen[0]).all():
        one.quantiles[low:high] = seen[0]
    else:
        work.stretches.append(Stretch(place, Context(part, None), start, low, high))


def told(name: Any, one: Filling, seen: Positions, longest: int) -> list[Repair]:
    """What the user should know of the gaps of one series."""
    before, after, lined = int(seen[0]), len(one.values) - int(seen[-1]) - 1, int(one.lined.sum())
    found = []
    if before:
        text = f"{series_name(name)}: {many(before, 'step')} before its first value filled too, from what follows alone"
        found.append(Repair(name, "before", before, text))
    if after:
        text = f"{series_name(name)}: {many(after, 'step')} after its last value filled too, as a forecast would be"
        found.append(Repair(name, "after", after, text))
    if lined:
        reason = f"the gap leaves too few values in the {longest:,} steps that the model sees at once"
        if len(seen) < FEWEST:
            reason = f"the series has {many(len(seen), 'value')} and the model needs {FEWEST}"
        text = f"{series_name(name)}: {many(lined, 'step')} filled by a straight line, without levels: {reason}"
        found.append(Repair(name, "line", lined, text))
    return found


def reconstruct(forecaster: Forecaster, work: Work, size: int | None) -> None:
    """Fill the stretches that need the model: each padded to a length of its own, whatever its neighbours."""
    network: Any = forecaster.model
    longest = network.config.longest_gap_filled
    lengths = [min(longest, bucket_length(len(one.context.values), 1)) for one in work.stretches]

    def run(length: int, chosen: Positions) -> None:
        parts = [work.stretches[row] for row in chosen]
        found = quantiles(network, forecaster.device, stack([part.context for part in parts], length))
        for part, made in zip(parts, found, strict=True):
            own = made[length - len(part.context.values) :]
            work.series[part.series].quantiles[part.low : part.high] = own[
                part.low - part.start : part.high - part.start
            ]

    plan = Plan(
        np.array(lengths, np.int64),
        size,
        memory_for_batches(forecaster.device),
        lambda length: bytes_per_series(network, length, length),
    )
    with Progress(len(lengths), None, "impute") as bar:
        plan.run(run, bar.advance)


def quantiles(network: Any, device: torch.device, rows: Floats) -> Floats:
    """Quantiles (B, C, Q) of stretches (B, C), NaN in their gaps, in the user's units."""
    conditioned = condition(rows)
    found = network.reconstruct(
        torch.from_numpy(conditioned.values).to(device, torch.float32),
        torch.from_numpy(conditioned.observed).to(device),
    )
    made: Floats = found.double().cpu().numpy()
    if not np.isfinite(made).all():
        row = rows[np.flatnonzero(~np.isfinite(made).all((1, 2)))[0]]
        raise TsfmError(
            f"{type(network).__name__} gave a value that is not finite for {len(row)} steps that end in "
            f"{row[-3:].tolist()}; try precision='fp32', and please report it with this series"
        )
    return restore(made, conditioned)


def account(forecaster: Forecaster, panel: Panel, work: Work) -> Provenance:
    """Where the numbers come from; the time is still to be told."""
    repairs = [
        replace(repair, message=repair.message.replace("filled with NaN", "inserted"))
        for repair in panel.repairs
        if repair.kind != "covariates"  # other columns are given back
    ]
    done = {
        "location subtracted and a power of two divided out in float64": bool(work.stretches),
        "nothing below 0 where all that was observed is >= 0": any(never_negative(one.values) for one in work.series),
    }
    return Provenance(
        model=forecaster.name,
        weight_hash=forecaster.weight_hash,
        context=max((len(one.context.values) for one in work.stretches), default=0),
        transforms=[text for text, applied in done.items() if applied],
        warnings=told_once([*repairs, *work.told]),
        precision=forecaster.precision,
        device=str(forecaster.device),
    )
