"""Scores of a forecaster over configurations: one row each, and their geometric means.

The forecaster is a callable on arrays, so that a training run, a saved model and a baseline are measured by the same
lines. Ratios are to the seasonal naive forecast: the published row for the whole of the test windows, and our own
seasonal naive on the same windows for validation windows and for samples of the test windows.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm.data.datasets import load_series
from tsfm.errors import DataError
from tsfm.evaluation.metrics import LEVELS, coverage, crps, geometric_mean, mase, seasonal_error
from tsfm.evaluation.protocol import Configuration, seasonal_naive, windows

# N windows, C context steps, H horizon, Q quantile levels.

Array = NDArray[np.float64]
Predict = Callable[[list[Array], int, Sequence[float], list[int]], Sequence[Array]]
"""(contexts, each (C,) with NaN; horizon; levels; season of each in steps) -> quantiles, (H, Q) each."""

CHUNK = 256  # contexts handed over at once; bounds what a forecaster copies of long contexts


@dataclass(frozen=True)
class Row:
    """Errors of a forecaster on one configuration.

    windows       how many were forecast, of `available` with something observed before and after the cut
    coverage80    share of the observed values between the 0.1 and the 0.9 quantile
    naive_mase, naive_crps    of the seasonal naive forecast
    baseline      "published" or "computed" (on the same windows)
    mase_ratio, crps_ratio    to the seasonal naive; NaN where that cannot be had, with the reason in `note`
    seconds       spent forecasting
    """

    configuration: str
    dataset: str
    split: str
    windows: int
    available: int
    mase: float
    crps: float
    coverage80: float
    naive_mase: float
    naive_crps: float
    baseline: str
    mase_ratio: float
    crps_ratio: float
    seconds: float
    note: str


@dataclass(frozen=True)
class Summary:
    """Geometric means of the ratios over the rows that have them, and the plain mean of coverage80."""

    rows: int
    mase_ratio: float
    crps_ratio: float
    coverage80: float
    seconds: float


def score(
    predict: Predict,
    configurations: Iterable[Configuration],
    split: str = "validation",
    max_windows: int | None = None,
    progress: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Forecast the windows of every configuration and measure the errors, one configuration in memory at a time.

    split         "validation" for every choice, "test" for reporting
    max_windows   forecast only so many windows a configuration, evenly spaced: the same ones on every call
    progress      called with each row as it is ready
    """
    rows = []
    for configuration in configurations:
        rows.append(score_configuration(predict, configuration, split, max_windows))
        if progress is not None:
            progress(rows[-1])
    return rows


def score_configuration(
    predict: Predict, configuration: Configuration, split: str = "validation", max_windows: int | None = None
) -> Row:
    """Row of one configuration."""
    pairs = usable_windows(configuration, split)
    available = len(pairs)
    pairs = evenly_spaced(pairs, max_windows)
    if not pairs:
        return _empty_row(configuration, split)
    contexts = [context for context, _ in pairs]
    target = np.stack([later for _, later in pairs])  # (N, H)
    scale = np.array([seasonal_error(context, configuration.season) for context in contexts])  # (N,)
    started = time.perf_counter()
    quantiles = forecast(predict, contexts, configuration.horizon, configuration.season)  # (N, H, Q)
    seconds = time.perf_counter() - started
    error, weighted_loss = _errors(target, quantiles, scale)
    if split == "test" and len(pairs) == available:
        baseline = "published"
        naive_error, naive_loss = configuration.seasonal_naive_mase, configuration.seasonal_naive_crps
    else:
        baseline = "computed"
        naive = forecast(seasonal_naive_forecaster, contexts, configuration.horizon, configuration.season)
        naive_error, naive_loss = _errors(target, naive, scale)
    measured = (("MASE", error, naive_error), ("CRPS", weighted_loss, naive_loss))
    notes = [
        f"no {metric} ratio: {value:g} to the seasonal naive forecast's {naive_value:g}"
        for metric, value, naive_value in measured
        if np.isnan(_ratio(value, naive_value))
    ]
    return Row(
        configuration=configuration.name,
        dataset=configuration.dataset,
        split=split,
        windows=len(pairs),
        available=available,
        mase=error,
        crps=weighted_loss,
        coverage80=coverage(target, quantiles[..., 0], quantiles[..., -1]),
        naive_mase=naive_error,
        naive_crps=naive_loss,
        baseline=baseline,
        mase_ratio=_ratio(error, naive_error),
        crps_ratio=_ratio(weighted_loss, naive_loss),
        seconds=seconds,
        note="; ".join(notes),
    )


def usable_windows(configuration: Configuration, split: str) -> list[tuple[Array, Array]]:
    """Windows of all series in file order; those with nothing observed before or after the cut have no error to add."""
    return [
        (context, target)
        for series in load_series(configuration.dataset)
        for context, target in windows(series.values, configuration.horizon, configuration.windows, split)
        if not np.isnan(target).all() and not np.isnan(context).all()
    ]


def evenly_spaced(pairs: list[tuple[Array, Array]], most: int | None) -> list[tuple[Array, Array]]:
    """At most `most` windows, spread over all of them."""
    if most is None or most >= len(pairs):
        return pairs
    if most < 1:
        raise DataError(f"max_windows is {most}; forecast at least 1 window, or None for all")
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, most).round().astype(int)]


def forecast(predict: Predict, contexts: list[Array], horizon: int, season: int) -> Array:
    """Quantiles of every context, (N, H, Q), asked for in chunks; raise where the forecaster gives another shape."""
    parts: list[Array] = []
    for first in range(0, len(contexts), CHUNK):
        chunk = contexts[first : first + CHUNK]
        quantiles = np.asarray(predict(chunk, horizon, LEVELS, [season] * len(chunk)), dtype=np.float64)
        if quantiles.shape != (len(chunk), horizon, len(LEVELS)):
            expected = (len(chunk), horizon, len(LEVELS))
            raise DataError(f"the forecaster returned shape {quantiles.shape}; (series, steps, levels) is {expected}")
        parts.append(quantiles)
    return np.concatenate(parts)


def seasonal_naive_forecaster(
    contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]
) -> list[Array]:
    """Return `protocol.seasonal_naive` of every context, in the shape of `Predict`."""
    return [seasonal_naive(context, horizon, season, levels) for context, season in zip(contexts, seasons, strict=True)]


def summarise(rows: Sequence[Row], datasets: Iterable[str] | None = None, term: str | None = None) -> Summary:
    """Aggregate of the rows, or of those of the named parquet sets and term."""
    named = None if datasets is None else set(datasets)
    chosen = [
        row
        for row in rows
        if (named is None or row.dataset in named) and (term is None or row.configuration.endswith(f"/{term}"))
    ]
    covered = [row.coverage80 for row in chosen if not np.isnan(row.coverage80)]
    return Summary(
        rows=len(chosen),
        mase_ratio=geometric_mean(row.mase_ratio for row in chosen if not np.isnan(row.mase_ratio)),
        crps_ratio=geometric_mean(row.crps_ratio for row in chosen if not np.isnan(row.crps_ratio)),
        coverage80=float(np.mean(covered)) if covered else float("nan"),
        seconds=sum(row.seconds for row in chosen),
    )


def _errors(target: Array, quantiles: Array, scale: Array) -> tuple[float, float]:
    return mase(target, quantiles[..., LEVELS.index(0.5)], scale), crps(target, quantiles, LEVELS)


def _ratio(value: float, baseline: float) -> float:
    return value / baseline if value > 0 and baseline > 0 else float("nan")


def _empty_row(configuration: Configuration, split: str) -> Row:
    nan = float("nan")
    note = f"no {split} window has anything observed before and after its cut"
    return Row(
        configuration.name, configuration.dataset, split, 0, 0, nan, nan, nan, nan, nan, "none", nan, nan, 0.0, note
    )
