"""What a forecast will cost: `tsfm.estimate` runs one small batch of the real data and scales it up."""

import os
import time as clock
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfm.batching import Context, stack
from tsfm.conformal import CUTOFFS
from tsfm.data.adapters import to_panel
from tsfm.forecaster import Forecaster, crop_panel
from tsfm.inference import bytes_per_series, knots_for, longest_context, plan_batches, predict
from tsfm.loading import DEFAULT_MODEL, forecaster_of
from tsfm.options import DECILES, check_horizon, check_optional

SAMPLE = 16


@dataclass(frozen=True)
class Estimate:
    """What forecasting will take.

    seconds    of wall-clock time, once the model is loaded
    megabytes  of memory on top of the data and the model: the largest batch and all the results
    series     to forecast
    batches    they go through the model in
    """

    seconds: float
    megabytes: float
    series: int
    batches: int

    def __str__(self) -> str:
        batches = "1 batch" if self.batches == 1 else f"{self.batches:,} batches"
        return f"{self.series:,} series in {batches}: about {self.seconds:.2g} s and {self.megabytes:,.0f} MB"


def estimate(
    data: Any,
    horizon: int | None = None,
    *,
    model: str | os.PathLike[str] | Forecaster = DEFAULT_MODEL,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    freq: str | None = None,
    context: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    errors: str = "raise",
) -> Estimate:
    """Say how long a forecast will take and how much memory, from timing up to 16 series of the longest bucket.

    The arguments are those of `tsfm.forecast`. Time is taken to grow with the number of padded steps. The intervals of
    a model of points take a backtest, which counts as `conformal.CUTOFFS` forecasts more.
    """
    forecaster = forecaster_of(model, device, precision)
    asked = None if horizon is None else check_horizon(horizon)
    context = check_optional(context, "context", "context=512")
    panel = to_panel(data, id=id, time=time, target=target, freq=freq, errors=errors)
    steps = panel.default_horizon() if asked is None else asked
    longest = longest_context(forecaster.model, context, steps)
    panel, contexts, _ = crop_panel(panel, longest, errors)
    moving = [position for position, one in enumerate(contexts) if one.constant is None]
    lengths = [len(contexts[position].values) for position in moving]
    plan = plan_batches(forecaster.model, forecaster.device, lengths, steps, batch_size)
    batches = plan.batches()
    results = 8 * steps * len(knots_for(forecaster.model, DECILES)) * len(panel)
    if not batches:
        return Estimate(0.0, results / 1e6, len(panel), 0)
    length, positions = batches[-1]
    chosen = [moving[row] for row in positions[:SAMPLE]]
    seconds = seconds_for(
        forecaster, [contexts[one] for one in chosen], length, [panel.season[one] for one in chosen], steps
    )
    per_step = seconds / (len(chosen) * length)
    largest = max(len(rows) * bytes_per_series(forecaster.model, padded, steps) for padded, rows in batches)
    times = 1 + CUTOFFS * bool(getattr(forecaster.model, "point_only", False))
    return Estimate(times * per_step * int(plan.lengths.sum()), (largest + results) / 1e6, len(panel), len(batches))


def seconds_for(forecaster: Forecaster, contexts: list[Context], length: int, season: list[int], horizon: int) -> float:
    """Return the time one batch takes, measured on the second of two runs: the first one warms up."""
    knots = knots_for(forecaster.model, DECILES)
    batch, seasons = stack(contexts, length), np.array(season, np.int64)
    for _ in range(2):
        began = clock.perf_counter()
        predict(forecaster.model, forecaster.device, batch, seasons, horizon, knots)
    return clock.perf_counter() - began
