"""Forecaster: a loaded model and everything between it and the user's series.

Whatever a person has becomes a `Panel` (data/adapters.py); each series is trimmed to its first observed value, cropped
to what the model reads, and forecast (inference.py); the quantiles become a `Forecast` with the user's own names, which
knows how it was made. Clipping at zero comes last.
"""

import os
import time as clock
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm import account, adapter_files, checkpoints, conformal, quantile_curve
from tsfm.batching import Context, crop
from tsfm.covariate_head import CovariateHead, check_ahead, head_files, headed, roles_of
from tsfm.data.adapters import to_panel
from tsfm.errors import DataError
from tsfm.inference import Model, knots_for, longest_context, quantiles
from tsfm.nn.adapters import AdapterConfig
from tsfm.options import (
    DECILES,
    check_choice,
    check_horizon,
    check_levels,
    check_optional,
    check_size,
    check_ways,
)
from tsfm.other_variates import past_names, reads_covariates, unread, with_others
from tsfm.panel import Panel
from tsfm.prediction import Forecast
from tsfm.views import averaged_quantiles

if TYPE_CHECKING:
    from tsfm.gluonts_predictor import GluonTSPredictor
    from tsfm.leaks import LeakReport
    from tsfm.streaming import Stream

# H horizon, Q quantile levels.

Floats = NDArray[np.float64]


class Forecaster:
    """A model ready to forecast; made by `tsfm.load`.

    name       what it was loaded as
    card       the content of its config.json
    folder     that it was loaded from, if any
    precision  of its large matrix products, as torch names it
    adapter    the change that its weights hold, and the base that it changes (tsfm/adapter_files.py)
    head       what covariates do to its forecasts of frames; `predict_arrays` has none (tsfm/covariate_head.py)
    """

    adapter: adapter_files.Adapter | None = None
    head: CovariateHead | None = None

    def __init__(
        self,
        model: Model,
        name: str,
        *,
        device: torch.device | str = "cpu",
        precision: str = "float32",
        card: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ):
        self.model, self.name, self.precision = model, name, precision
        self.device = torch.device(device)
        self.card, self.folder = dict(card or {}), folder

    def __repr__(self) -> str:
        return f"Forecaster({self.name!r}, device={str(self.device)!r}, precision={self.precision!r})"

    @property
    def weight_hash(self) -> str:
        """sha256 of the weights file, "" where the model has no weights or they were never saved."""
        return checkpoints.identity(self.card)

    def forecast(
        self,
        data: Any,
        horizon: int | None = None,
        *,
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
        effort: str = "fast",
        clip: str | None = "auto",
        errors: str = "raise",
        seed: int = 0,
        progress: bool | None = None,
    ) -> Forecast:
        """Forecast whatever is given; the arguments are those of `tsfm.forecast`."""
        began = clock.perf_counter()
        horizon = None if horizon is None else check_horizon(horizon)
        levels = check_levels(quantile_levels)
        check_ways(batch_size, effort, clip, errors, progress, jointly, seed)
        made_for = self.card.get("fine_tuned", {})
        context = made_for.get("context") if context is None else context
        context = check_optional(context, "context", "context=512")

        given = {"id": id, "time": time, "target": target, **roles_of(self.head, future, static)}
        reads = reads_covariates(self.model, self.head)
        given["past"] = past_names(given.get("past"), past)
        told = {"freq": freq, "errors": errors, "usual": made_for.get("columns")}
        panel = to_panel(data, **given, **told)
        if reads and (more := unread(data, panel, given["past"], future)):
            panel = to_panel(data, **{**given, "past": [*(given["past"] or ()), *more]}, **told)
        steps = made_for.get("horizon", panel.default_horizon()) if horizon is None else horizon
        if self.head is not None:
            self.head.check(panel)
        check_ahead(panel, steps)
        longest = longest_context(self.model, context, steps)
        panel, contexts, skipped = crop_panel(panel, longest, errors)
        if reads:
            contexts = with_others(panel, contexts, longest, steps, past, jointly, int(getattr(self.model, "patch", 1)))
        knots = knots_for(self.model, levels)
        check_size(len(contexts), steps, len(knots))
        options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        ask = averaged_quantiles if account.has_views(self, effort) else quantiles
        values, knots, evidence = conformal.curves(
            ask, self.model, self.device, contexts, steps, panel.season, knots, levels, panel.values, longest, **options
        )
        if self.head is not None and values:
            values = self.head.applied(panel, values, knots)
        clipped = [clip == "auto" and never_negative(series) for series in panel.values]
        asked = {"past": past, "future": future, "static": static, "jointly": jointly or None}
        provenance = account.provenance(
            self, panel, contexts, steps, horizon, longest, any(clipped), effort, context, asked, evidence
        )
        points = account.points(panel, steps, evidence)
        made = Forecast(panel, steps, knots, values, levels, clipped, provenance, skipped, points)
        provenance.seconds = clock.perf_counter() - began
        return made

    def predict_arrays(
        self,
        values: Sequence[Floats],
        horizon: int,
        quantile_levels: Iterable[float] = DECILES,
        season: Sequence[int] | None = None,
        *,
        context: int | None = None,
        batch_size: int | None = None,
        effort: str = "fast",
        clip: str | None = "auto",
        progress: bool | None = False,
    ) -> list[Floats]:
        """Return the quantiles of plain arrays, one (H, Q) float64 array a series, in the order given.

        values           1-D arrays, NaN where missing
        quantile_levels  inside (0, 1), in any order
        season           steps in the natural season of each series, 1 (the default) where there is none
        context          the most steps to read, None for as many as the model can
        effort           "best" averages the forecasts of several views of each series (tsfm/views.py)
        clip             "auto" cuts at 0 where all the history is >= 0; None leaves the forecast as it is

        A model of points measures its errors in a short backtest (tsfm/conformal.py), unless the level is 0.5 alone;
        a series too short for that has its point at every level.
        """
        horizon, levels = check_horizon(horizon), check_levels(quantile_levels)
        check_choice(clip, "clip", ("auto", None))
        check_choice(effort, "effort", ("fast", "best"))
        series = [np.asarray(one, dtype=np.float64) for one in values]
        longest = longest_context(self.model, check_optional(context, "context", "context=512"), horizon)
        contexts = [crop(one, longest, position) for position, one in enumerate(series)]
        if not contexts:
            return []
        knots = knots_for(self.model, levels)
        options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        ask = averaged_quantiles if account.has_views(self, effort) else quantiles
        made, knots, _ = conformal.curves(
            ask, self.model, self.device, contexts, horizon, season, knots, levels, series, longest, **options
        )
        curves = np.stack(made)
        found = np.stack([quantile_curve.evaluate(knots, curves, level) for level in levels], -1)  # (B, H, Q)
        if clip == "auto":
            floor = np.array([0.0 if never_negative(past) else -np.inf for past in series])
            found = np.maximum(found, floor[:, None, None])
        return list(found)

    def save(self, folder: str | os.PathLike[str], *, standalone: bool = False) -> Path:
        """Write config.json and model.safetensors, from which `tsfm.load(folder)` gives the same forecasts.

        The folder appears complete or not at all. A checkpoint folder that is there already is replaced; anything
        else in the way is a `DataError`. A forecaster with an adapter writes the adapter, and the base is found by its
        name or folder; `standalone` puts a copy of the base into it.
        """
        if not isinstance(folder, str | os.PathLike):
            raise DataError(f"folder={folder!r} is no path; give one such as 'my-model'")
        if self.adapter is not None:
            return adapter_files.write(self, Path(folder), standalone)
        card = checkpoints.whole(self.card, self.model)
        fingerprints = checkpoints.fingerprint_file(card, self.folder)
        return checkpoints.write(self.model, card, Path(folder), fingerprints, head_files(self.head))

    def with_head(self, head: CovariateHead | None) -> "Forecaster":
        """Return this forecaster with a covariate head, or without one."""
        return headed(self, head)

    def with_adapter(self, config: AdapterConfig, tensors: Mapping[str, Tensor]) -> "Forecaster":
        """Return this forecaster with a learned change folded into its weights, of which it shares the others."""
        return adapter_files.adapted(self, config, tensors)

    def merge(self) -> "Forecaster":
        """Return the same forecaster without a memory of its base: its checkpoint holds all the weights."""
        return adapter_files.merge(self)

    def unmerge(self) -> "Forecaster":
        """Return the forecaster that the adapter changed, as it was."""
        return adapter_files.unmerge(self)

    def seen_in_training(
        self,
        data: Any,
        *,
        id: str | None = None,
        time: str | None = None,
        target: str | list[str] | None = None,
        freq: str | None = None,
    ) -> "LeakReport":
        """Tell which series of `data` (anything that can be forecast) stood in the training data (tsfm/leaks.py)."""
        from tsfm.leaks import seen_in_training

        panel = to_panel(data, id=id, time=time, target=target, freq=freq, errors="skip")
        return seen_in_training(self, zip(panel.ids, panel.values, strict=True))

    def stream(self, history: Any, **columns: Any) -> "Stream":
        """Return a stream that begins with a history: `.update(new_points)`, `.forecast(horizon)` (tsfm/streaming.py).

        columns  id, time, target and freq, as in `forecast`
        """
        from tsfm.streaming import Stream

        return Stream(self, history, **columns)

    def as_gluonts(self, prediction_length: int) -> "GluonTSPredictor":
        """Return a predictor for GluonTS's own tools, such as `gluonts.model.evaluate_model`."""
        from tsfm.gluonts_predictor import GluonTSPredictor

        return GluonTSPredictor(self, prediction_length)


def crop_panel(panel: Panel, longest: int | None, errors: str) -> tuple[Panel, list[Context], dict[Hashable, str]]:
    """Return the panel of series that can be forecast, their contexts, and the reasons of those left out."""
    contexts, kept, bad = [], [], {}
    for position, (name, series) in enumerate(zip(panel.ids, panel.values, strict=True)):
        try:
            contexts.append(crop(series, longest, name))
            kept.append(position)
        except DataError as error:
            bad[name] = str(error)
    if bad and errors == "raise":
        raise DataError("\n".join(bad.values()))
    return panel.take(kept) if bad else panel, contexts, {**panel.skipped, **bad}


def never_negative(series: Floats) -> bool:
    """Tell whether all observed values are at least zero."""
    return bool(np.fmin.reduce(series) >= 0)
