"""One task, one contender, one row: windows come in, errors are summed up, the seasonal naive forecast beside them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tsfm.data.datasets import data_hash, load_series
from tsfm.errors import DataError
from tsfm.evaluation import probe, protocol
from tsfm.evaluation.contenders import Predict
from tsfm.evaluation.metrics import Array, relative, seasonal_error
from tsfm.evaluation.tally import ASKED, Tally
from tsfm.evaluation.tasks import Task
from tsfm.progress import Progress

# C context steps, H horizon, Q quantile levels.

CHUNK_WINDOWS, CHUNK_VALUES = 1024, 4_000_000  # what is handed to a forecaster at once; bounds the memory


class Window(NamedTuple):
    """What is forecast from what.

    context  (C,) NaN where missing
    target   (H,) NaN where missing
    scale    seasonal error of the history, for MASE
    optimal  (H, Q) at `ASKED`: the best possible forecast, where the law of the series is known
    history  what the seasonal naive forecast reads where the context is too short for a season; None: the context
    """

    series_id: str
    context: Array
    target: Array
    scale: float
    optimal: Array | None = None
    history: Array | None = None


@dataclass(frozen=True)
class Measured:
    """Errors of a contender on one task.

    windows      how many were forecast, of `available` with something observed before and after the cut
    calibration  mean distance between the share of outcomes below a quantile and its level
    naive_*      of the seasonal naive forecast; `baseline` says whether "published" or "computed" on the same windows
    *_ratio      to the seasonal naive; NaN where that cannot be had, with the reason in `note`
    optimal_*    of the best possible forecast; NaN where nobody knows it
    seconds      spent forecasting
    """

    series: int
    windows: int
    available: int
    mase: float
    crps: float
    smape: float
    mape: float
    mse: float
    mse_of_mean: float
    mae: float
    nd: float
    rmse: float
    msis: float
    coverage80: float
    calibration: float
    naive_mase: float
    naive_crps: float
    baseline: str
    mase_ratio: float
    crps_ratio: float
    optimal_mase: float
    optimal_crps: float
    seconds: float
    note: str


def measure(
    predict: Predict,
    task: Task,
    split: str = "test",
    max_windows: int | None = None,
    progress: bool | None = False,
) -> Measured:
    """Forecast the windows of a task and measure the errors.

    split         "validation" for every choice, "test" for reporting
    max_windows   forecast only so many windows, evenly spaced: the same ones on every call
    progress      show a bar: None as `tsfm.progress` decides
    """
    found = usable_windows(task, split)
    chosen = evenly_spaced(found, max_windows)
    if not chosen:
        raise DataError(f"task {task.name}: no {split} window has anything observed before and after its cut")
    ours, best = Tally(), Tally()
    seconds, crossing = 0.0, 0
    with Progress(len(chosen), progress, task.name, unit="windows") as bar:
        for chunk in chunks(chosen):
            began = time.perf_counter()
            quantiles = forecast(predict, chunk, task)
            seconds += time.perf_counter() - began
            crossing += int((np.diff(quantiles) < 0).any(-1).sum())
            count_in(ours, chunk, quantiles)
            known = [window.optimal for window in chunk if window.optimal is not None]
            if known:
                count_in(best, chunk, np.stack(known))
            bar.advance(len(chunk))
    whole = split == "test" and len(chosen) == len(found)
    naive = published(task) if whole else None
    measured = ours.errors()
    return finished(
        measured,
        naive or naive_errors(chosen, task),
        best.errors() if best.windows else {},
        series=len({window.series_id for window in chosen}),
        windows=len(chosen),
        available=len(found),
        baseline="computed" if naive is None else "published",
        seconds=seconds,
        crossing=crossing,
    )


def finished(
    ours: dict[str, Any], naive: dict[str, float], best: dict[str, float], crossing: int, **rest: Any
) -> Measured:
    """Put what was measured together, with the ratios to the baseline and a note where there is none."""
    notes = [
        f"no {name.upper()} ratio: {ours[name]:g} to the seasonal naive forecast's {naive[name]:g}"
        for name in ("mase", "crps")
        if np.isnan(relative(ours[name], naive[name]))
    ]
    if crossing:
        notes.append(f"quantiles cross at {crossing} steps")
    nan = float("nan")
    return Measured(
        **ours,
        **rest,
        naive_mase=naive["mase"],
        naive_crps=naive["crps"],
        mase_ratio=relative(ours["mase"], naive["mase"]),
        crps_ratio=relative(ours["crps"], naive["crps"]),
        optimal_mase=best.get("mase", nan),
        optimal_crps=best.get("crps", nan),
        note="; ".join(notes),
    )


def published(task: Task) -> dict[str, float] | None:
    """Return the seasonal naive forecast's published errors on the whole test split, where there are any."""
    if task.naive_mase is None or task.naive_crps is None:
        return None
    return {"mase": task.naive_mase, "crps": task.naive_crps}


def naive_errors(windows: Sequence[Window], task: Task) -> dict[str, float]:
    """Return the errors of the seasonal naive forecast on the same windows, with two seasons of history at least."""
    tally = Tally()
    windows = [one if one.history is None else one._replace(context=one.history) for one in windows]
    for chunk in chunks(windows):
        count_in(tally, chunk, forecast(seasonal_naive_forecaster, chunk, task))
    return tally.errors()


def count_in(tally: Tally, chunk: Sequence[Window], quantiles: Array) -> None:
    """Add the errors of a chunk's forecasts, (n, H, Q)."""
    tally.add(np.stack([window.target for window in chunk]), quantiles, np.array([window.scale for window in chunk]))


def all_windows(task: Task, split: str) -> Iterator[Window]:
    """Yield the windows of all series in file order."""
    if task.protocol == "generated":
        for series_id, past, target, optimal in probe.probe_windows(replace(task, context=None), split, ASKED):
            yield window(task, series_id, past, target, seasonal_error(past, task.season), optimal)
        return
    for series in load_series(task.dataset):
        if task.protocol == "rolling":
            for past, target in protocol.windows(series.values, task.horizon, task.windows, split):
                yield window(task, series.series_id, past, target, seasonal_error(past, task.season))
            continue
        stretches = (task.train, task.validation, task.test)
        reach = protocol.baseline_context(task.context, task.season)
        cut = protocol.sliding_windows(series.values, task.horizon, reach, *stretches, split)
        deviation = float(np.nanstd(series.values[: task.train]))
        scale = seasonal_error(series.values[: task.train], task.season) / (deviation if deviation > 0 else 1.0)
        for past, target in cut:
            yield window(task, series.series_id, past, target, scale)


def window(
    task: Task, series_id: str, past: Array, target: Array, scale: float, optimal: Array | None = None
) -> Window:
    """A window whose context is what the task gives of the past."""
    reach = protocol.baseline_context(task.context, task.season)
    if task.context is None or reach is None:
        return Window(series_id, past, target, scale, optimal)
    history = past[-reach:] if reach > task.context else None
    return Window(series_id, past[-task.context :], target, scale, optimal, history)


def usable_windows(task: Task, split: str) -> list[Window]:
    """Windows of all series; those with nothing observed before or after the cut have no error to add."""
    return [
        window
        for window in all_windows(task, split)
        if not np.isnan(window.target).all() and not np.isnan(window.context).all()
    ]


def evenly_spaced(windows: Sequence[Window], most: int | None) -> Sequence[Window]:
    """At most `most` windows, spread over all of them."""
    if most is None or most >= len(windows):
        return windows
    if most < 1:
        raise DataError(f"max_windows is {most}; forecast at least 1 window, or None for all")
    return [windows[i] for i in np.linspace(0, len(windows) - 1, most).round().astype(int)]


def chunks(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Cut the windows into runs that are forecast at once."""
    first, values = 0, 0
    for position, window in enumerate(windows):
        size = len(window.context) + len(window.target) * len(ASKED)
        if position > first and (position - first == CHUNK_WINDOWS or values + size > CHUNK_VALUES):
            yield windows[first:position]
            first, values = position, 0
        values += size
    yield windows[first:]


def forecast(predict: Predict, windows: Sequence[Window], task: Task) -> Array:
    """Quantiles of every window at the levels `ASKED`, (n, H, Q); raise where the forecaster gives another shape."""
    contexts = [window.context.copy() for window in windows]  # theirs to write into; the target is in the same array
    made = predict(contexts, task.horizon, ASKED, [task.season] * len(contexts))
    quantiles = np.asarray(made, dtype=np.float64)
    expected = (len(contexts), task.horizon, len(ASKED))
    if quantiles.shape != expected:
        raise DataError(f"the forecaster returned shape {quantiles.shape}; (series, steps, levels) is {expected}")
    if not np.isfinite(quantiles).all():
        wrong = int((~np.isfinite(quantiles)).sum())
        raise DataError(f"{wrong} of {quantiles.size} quantiles are not finite; a model must forecast every step")
    return quantiles


def seasonal_naive_forecaster(
    contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]
) -> list[Array]:
    """Return `protocol.seasonal_naive` of every context, in the shape of `Predict`."""
    return [
        protocol.seasonal_naive(context, horizon, season, levels)
        for context, season in zip(contexts, seasons, strict=True)
    ]


def task_hash(task: Task) -> str:
    """Hash of the data that the task reads, as rows quote it."""
    if task.protocol == "generated":
        return probe.probe_hash(task)
    return data_hash(task.dataset)
