"""Forecaster: a loaded model and everything between it and the user's series.

Each series is trimmed to its first observed value, cropped to what the model reads, conditioned in float64
(conditioning.py), batched by length (batching.py), forecast, and brought back. Done here, once, for every model: sign
symmetrisation, constant series, clipping, devices.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm import quantile_curve
from tsfm.batch import Batch
from tsfm.batching import Context, Plan, Positions, bucket_length, crop, memory_for_batches, stack
from tsfm.conditioning import condition, restore
from tsfm.errors import DataError, TsfmError
from tsfm.options import DECILES, check_choice, check_horizon, check_levels, check_optional
from tsfm.progress import Progress

# B series, C context steps, H horizon, Q quantile levels.

Floats = NDArray[np.float64]


class Model(Protocol):
    """What a registered forecaster is asked for. Optional attributes, with what their absence means:

    patch             contexts are padded to a multiple of it (1)
    any_level         any quantile level can be asked of `predict`, not only `levels` (False)
    sign_symmetric    the forecast of x and of -x are to be averaged (False)
    input_dtype       of a batch's values (float32)
    bytes_per_series  method of (context, horizon): memory one series takes inside `predict`
    """

    levels: tuple[float, ...]
    max_context: int | None

    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float]) -> Tensor:
        """Return quantiles (B, H, Q) in the batch's units, non-decreasing in the level."""
        ...


class Forecaster:
    """A model ready to forecast; made by `tsfm.load`.

    name         what it was loaded as
    weight_hash  sha256 of the weights file, "" where the model has no weights
    """

    def __init__(
        self,
        model: Model,
        name: str,
        *,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        weight_hash: str = "",
    ):
        self.model, self.name, self.weight_hash = model, name, weight_hash
        self.device, self.precision = torch.device(device), precision

    def __repr__(self) -> str:
        return f"Forecaster({self.name!r}, device={str(self.device)!r}, precision={self.precision!r})"

    def predict_arrays(
        self,
        values: Sequence[Floats],
        horizon: int,
        quantile_levels: Sequence[float] = DECILES,
        season: Sequence[int] | None = None,
        *,
        context: int | None = None,
        batch_size: int | None = None,
        clip: str | None = "auto",
        progress: bool | None = False,
    ) -> list[Floats]:
        """Return the quantiles of plain arrays, one (H, Q) float64 array a series, in the order given.

        values           1-D arrays, NaN where missing
        quantile_levels  inside (0, 1), in any order
        season           steps in the natural season of each series, 1 (the default) where there is none
        context          the most steps to read, None for as many as the model can
        clip             "auto" cuts at 0 where all the history is >= 0; None leaves the forecast as it is
        """
        horizon, levels = check_horizon(horizon), check_levels(quantile_levels)
        check_choice(clip, "clip", ("auto", None))
        series = [np.asarray(one, dtype=np.float64) for one in values]
        longest = self.longest_context(check_optional(context, "context", "context=512"))
        contexts = [crop(one, longest, position) for position, one in enumerate(series)]
        knots = self.knots_for(levels)
        curves = self.quantiles(contexts, horizon, season, knots, batch_size, progress)
        if not curves:
            return []
        together = np.stack(curves)  # (B, H, knots)
        found = np.stack([quantile_curve.evaluate(knots, together, level) for level in levels], -1)  # (B, H, Q)
        if clip == "auto":
            floor = np.array([0.0 if never_negative(past) else -np.inf for past in series])
            found = np.maximum(found, floor[:, None, None])
        return list(found)

    def longest_context(self, asked: int | None) -> int | None:
        """Return the most steps to read: what was asked for, within what the model can."""
        limits = [limit for limit in (asked, self.model.max_context) if limit is not None]
        return min(limits, default=None)

    def knots_for(self, levels: Sequence[float]) -> tuple[float, ...]:
        """Return the levels to ask the model for, increasing: its own, and those asked if it can give any."""
        own = set(self.model.levels)
        return tuple(sorted(own | set(levels) if getattr(self.model, "any_level", False) else own))

    def quantiles(
        self,
        contexts: Sequence[Context],
        horizon: int,
        season: Sequence[int] | None,
        knots: tuple[float, ...],
        batch_size: int | None,
        progress: bool | None,
    ) -> list[Floats]:
        """Return the quantiles (H, Q) of every context at the knots, in the user's units, not clipped."""
        seasons = np.ones(len(contexts), np.int64) if season is None else np.asarray(season, np.int64)
        if len(seasons) != len(contexts):
            raise DataError(f"season has {len(seasons)} entries for {len(contexts)} series; give one a series")
        found = [
            np.empty(0) if one.constant is None else np.full((horizon, len(knots)), one.constant) for one in contexts
        ]
        moving = [position for position, one in enumerate(contexts) if one.constant is None]

        def work(length: int, chosen: Positions) -> None:
            positions = [moving[row] for row in chosen]
            batch = stack([contexts[position] for position in positions], length)
            for position, result in zip(
                positions, self.predict(batch, seasons[positions], horizon, knots), strict=True
            ):
                found[position] = result

        with Progress(len(moving), progress) as bar:
            self.plan([len(contexts[position].values) for position in moving], horizon, batch_size).run(
                work, bar.advance
            )
        return found

    def plan(self, lengths: Sequence[int], horizon: int, batch_size: int | None) -> Plan:
        """Return how series of these lengths go through the model."""
        patch = int(getattr(self.model, "patch", 1))
        size = check_optional(batch_size, "batch_size", "batch_size=64")
        padded = np.array([bucket_length(length, patch) for length in lengths], np.int64)
        return Plan(
            padded, size, memory_for_batches(self.device), lambda length: self.bytes_per_series(length, horizon)
        )

    def bytes_per_series(self, context: int, horizon: int) -> int:
        """Return the memory one series takes on its way through the model, as the model says or a rough bound."""
        if hasattr(self.model, "bytes_per_series"):
            return int(self.model.bytes_per_series(context, horizon))
        return 256 * context + 32 * horizon * len(self.model.levels)

    def predict(self, contexts: Floats, season: NDArray[np.int64], horizon: int, knots: tuple[float, ...]) -> Floats:
        """Return quantiles (B, H, Q) of one batch of padded contexts (B, C), in the user's units."""
        dtype: torch.dtype = getattr(self.model, "input_dtype", torch.float32)
        conditioned = condition(contexts, centre=dtype != torch.float64)
        batch = Batch(
            torch.from_numpy(conditioned.values).to(self.device, dtype),
            torch.from_numpy(conditioned.observed).to(self.device),
            torch.from_numpy(season).to(self.device),
        )
        with torch.inference_mode():
            predicted = self._both_signs(batch, horizon, knots).double().cpu().numpy()
        if not np.isfinite(predicted).all():
            row = int(np.flatnonzero(~np.isfinite(predicted).all((1, 2)))[0])
            raise TsfmError(
                f"model {self.name!r} gave a value that is not finite for a context of {contexts.shape[1]} steps "
                f"ending in {contexts[row, -3:].tolist()}; please report it with these values, and try precision='fp32'"
            )
        return restore(predicted, conditioned)

    def _both_signs(self, batch: Batch, horizon: int, knots: tuple[float, ...]) -> Tensor:
        """Average f(x) with what f(-x) says of x, for a model that asks for it: an odd function comes out."""
        predicted = self.model.predict(batch, horizon, knots)
        if not getattr(self.model, "sign_symmetric", False):
            return predicted
        mirrored = [round(1.0 - level, 12) for level in reversed(knots)]
        opposite = self.model.predict(Batch(-batch.values, batch.observed, batch.season), horizon, mirrored)
        return 0.5 * (predicted - opposite.flip(-1))


def never_negative(series: Floats) -> bool:
    """Tell whether all observed values are at least zero."""
    return bool(np.fmin.reduce(series) >= 0)
