"""Multivariate forecasts by a univariate model: channels are mixed, each mixture is forecast alone, and mixed back.

    latent = adapter(channels);  forecast = adapter^-1(base(latent))

After AdaPTS (Benechehab et al. 2025). `MultivariateForecaster` fits the adapter (multivariate_maps.py without,
multivariate_learning.py with gradients), keeps it only where it beats each channel alone on windows that decided
nothing else (multivariate_fit.py), and makes quantiles of samples of it (multivariate_quantiles.py).
"""

import os
import time as clock
from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError
from tsfm.finetuning import multivariate_files, multivariate_fit
from tsfm.finetuning.multivariate_fit import Report
from tsfm.finetuning.multivariate_learning import Settings
from tsfm.finetuning.multivariate_maps import ADAPTERS, LEARNED, check_components
from tsfm.finetuning.multivariate_quantiles import Mixing, blended, filled
from tsfm.forecaster import Forecaster, never_negative
from tsfm.inference import knots_for, longest_context
from tsfm.loading import DEFAULT_MODEL, forecaster_of
from tsfm.options import DECILES, check_choice, check_horizon, check_levels, check_optional, whole_number
from tsfm.panel import Floats, Panel, told_once
from tsfm.prediction import Forecast, count, listed

# C channels, T steps, H horizon, Q levels.


class MultivariateForecaster:
    """A univariate forecaster with an adapter around it.

    base        a name, a folder or what `tsfm.load` returned; its weights stay as they are
    adapter     "none": each channel alone. Fitted by scikit-learn: "pca", "svd", "random" (projection), "linear" (slow
                components). Learned through the base: "linear-ae", "dropout-ae" (dropout stays on in forecasts, as a
                sample of what else could have been learned), "vae", "linear-vae"
    components  latent channels; None: as many as channels change
    samples     of the joint forecast, from which the quantiles of the channels are read
    context     the most steps that the base reads; None: as many as it can

    After `fit`, `report` says what was kept and why; `adapter_kept` is the adapter in use.
    """

    def __init__(
        self,
        base: str | os.PathLike[str] | Forecaster = DEFAULT_MODEL,
        adapter: str = "linear",
        components: int | None = None,
        *,
        samples: int = 200,
        context: int | None = None,
        seed: int = 0,
    ):
        self.base = forecaster_of(base, "auto", "auto")
        self.adapter = str(check_choice(adapter, "adapter", ADAPTERS))
        self.components = check_optional(components, "components", "components=3")
        self.samples = whole_number(samples, "samples", 20, "samples=200")
        self.context = check_optional(context, "context", "context=512")
        self.seed = whole_number(seed, "seed", 0, "seed=0")
        self.channels: list[Hashable] = []
        self.mixed: list[int] = []
        self.horizon = 0
        self.mixing: Mixing | None = None
        self.report = Report(self.adapter, False, "not fitted yet")
        if self.adapter in LEARNED and not hasattr(self.base.model, "quantiles"):
            raise DataError(
                f"adapter={adapter!r} is trained through the base, and {self.base.name!r} has no gradients to give; "
                "take adapter='pca', 'svd', 'random' or 'linear', or another base"
            )

    def __repr__(self) -> str:
        return f"MultivariateForecaster({self.base.name!r}, {self.adapter!r}): {self.report.reason}"

    @property
    def adapter_kept(self) -> str:
        """The adapter that forecasts: the one asked for, or "none"."""
        return "none" if self.mixing is None else self.adapter

    def fit(
        self,
        data: Any,
        horizon: int,
        *,
        time: str | None = None,
        freq: str | None = None,
        steps: int = 200,
        time_budget: float = 120.0,
        guard: bool = True,
    ) -> "MultivariateForecaster":
        """Fit the adapter on channels that share one time axis, and keep it only if it helps; returns itself.

        data         a wide frame (a column a channel), a dictionary, or a matrix (a row a channel); NaN where missing
        horizon      steps ahead for which it is fitted and judged
        steps        of gradient training at most; time_budget is its seconds. Offline adapters take neither
        guard        False forecasts with the adapter whatever the selection block says of it
        """
        self.horizon = check_horizon(horizon)
        if not time_budget > 0:
            raise DataError(f"time_budget={time_budget!r} leaves no time; give seconds, such as time_budget=60")
        panel = channels_of(data, time, freq)
        self.channels, self.mixing = list(panel.ids), None
        values = np.stack(panel.values)
        changing = training_part_changes(values, self.horizon)
        self.mixed = np.flatnonzero(changing).tolist()
        if self.adapter == "none":
            self.report = Report("none", False, "each channel alone, as asked")
            return self
        if len(self.mixed) < 2:
            told = "one channel" if len(values) == 1 else f"{count(len(self.mixed), 'channel')} that changes"
            self.report = Report(self.adapter, False, f"each channel alone: with {told} there is nothing to mix")
            return self
        settings = Settings(
            self.adapter,
            check_components(self.components, len(self.mixed)),
            self.horizon,
            panel.season[0],
            knots_for(self.base.model, DECILES),
            longest_context(self.base.model, self.context),
            self.samples,
            self.seed,
            whole_number(steps, "steps", 1, "steps=200"),
            time_budget,
        )
        names = [self.channels[i] for i in self.mixed]
        mixing, self.report = multivariate_fit.fit(self.base, values[self.mixed], names, settings)
        self.mixing = mixing if self.report.kept or not guard else None
        self.report.notes += notes_on(panel, values, changing)
        return self

    def forecast(
        self,
        data: Any,
        horizon: int | None = None,
        *,
        quantile_levels: Iterable[float] = DECILES,
        time: str | None = None,
        freq: str | None = None,
        clip: str | None = "auto",
    ) -> Forecast:
        """Forecast the channels that were fitted, in the family of `data`; `horizon=None` is that of the fit."""
        began = clock.perf_counter()
        if not self.channels:
            raise DataError("this MultivariateForecaster is not fitted; call .fit(data, horizon) first")
        steps = self.horizon if horizon is None else check_horizon(horizon)
        levels, panel = check_levels(quantile_levels), channels_of(data, time, freq)
        order = self._positions(panel)
        by_itself = self.base.forecast(panel, steps, quantile_levels=levels, context=self.context, clip=clip)
        if self.mixing is None:
            by_itself.provenance.warnings.append(self.report.reason)
            return by_itself
        knots = knots_for(self.base.model, DECILES)
        values = np.stack([by_itself.quantile_array(level) for level in knots], -1)  # (C, H, Q)
        values = self._mixed(panel, order, values, knots)
        clipped = [clip == "auto" and never_negative(series) for series in panel.values]
        provenance = replace(
            by_itself.provenance,
            model=f"{self.base.name} in a {self.adapter} adapter",
            transforms=[*by_itself.provenance.transforms, *self._told()],
            warnings=[*by_itself.provenance.warnings, *notes_on(panel, np.stack(panel.values), None)],
        )
        made = Forecast(panel, steps, knots, values, levels, clipped, provenance)
        provenance.seconds = clock.perf_counter() - began
        return made

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and adapter.safetensors, and the base beside them if it is not one of the package's own."""
        return multivariate_files.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "MultivariateForecaster":
        """What was saved, with the same forecasts."""
        return multivariate_files.load(cls, Path(folder))

    def _positions(self, panel: Panel) -> list[int]:
        """Where each fitted channel stands in a panel; exactly those are needed."""
        missing = [name for name in self.channels if name not in panel.ids]
        extra = [name for name in panel.ids if name not in self.channels]
        if missing or extra:
            told = [f"lack {listed(missing)}"] * bool(missing) + [f"have {listed(extra)} beside them"] * bool(extra)
            raise DataError(f"the data {' and '.join(told)}; give the channels of the fit: {listed(self.channels)}")
        return [panel.ids.index(name) for name in self.channels]

    def _mixed(self, panel: Panel, order: list[int], values: Floats, knots: tuple[float, ...]) -> Floats:
        """Quantiles (C, H, Q) of the panel: its own, with each mixed channel's share of the mixed forecast."""
        assert self.mixing is not None
        rows = [order[i] for i in self.mixed]
        reach = longest_context(self.base.model, self.context) or len(panel.values[0])
        history = np.stack([panel.values[i][-reach:] for i in rows])
        contexts = filled(history[None], [panel.ids[i] for i in rows])
        found = self.mixing.quantiles(self.base, contexts, values.shape[1], panel.season[0], knots)[0]
        # What stands still goes on so, whatever moves beside it.
        share = np.where(np.ptp(contexts[0], axis=1) > 0, self.mixing.share, 0.0)
        made = values.copy()
        made[rows] = blended(found, values[rows], share[:, None, None])
        return made

    def _told(self) -> list[str]:
        assert self.mixing is not None
        into = self.mixing.adapter.config.components
        return [
            f"{count(len(self.mixed), 'channel')} mixed to {into} by the {self.adapter} adapter, each forecast alone",
            f"mixed back from {self.samples} samples",
            f"averaged with each channel alone; the mixed forecast's mean share is {self.mixing.share.mean():.2f}",
        ]


def channels_of(data: Any, time: str | None, freq: str | None) -> Panel:
    """The channels as a panel; `DataError` unless they share one time axis."""
    panel = to_panel(data, time=time, freq=freq)
    first = panel.index[0]
    for name, values, index in zip(panel.ids, panel.values, panel.index, strict=True):
        if len(values) != len(panel.values[0]):
            raise DataError(
                f"channel {name!r} has {len(values)} steps and {panel.ids[0]!r} has {len(panel.values[0])}; channels "
                "must share one time axis: put NaN where a channel has no value"
            )
        if not index.past().equals(first.past()):
            raise DataError(
                f"channel {name!r} begins or steps at other times than {panel.ids[0]!r}; channels must share one time "
                "axis: join them by time and put NaN where one has no value"
            )
        if np.isnan(values).all():
            raise DataError(f"channel {name!r} has no value; give it at least one, or leave it out")
    return panel


def training_part_changes(values: Floats, horizon: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which channels (C, T) take more than one value in the part that an adapter is fitted to."""
    places = multivariate_fit.cutoffs(values.shape[1], horizon)
    train = values if places is None else values[:, : places[0]]
    lowest = np.where(np.isnan(train), np.inf, train).min(1)
    highest = np.where(np.isnan(train), -np.inf, train).max(1)
    return np.asarray(lowest < highest)


def notes_on(panel: Panel, values: Floats, changing: Any) -> list[str]:
    """What was done to the data for the adapter's sake."""
    found = told_once(panel.repairs) if changing is not None else []
    gaps = np.isnan(values).sum(1)
    if gaps.any():
        names = listed([panel.ids[i] for i in np.flatnonzero(gaps)])
        found.append(f"{count(int(gaps.sum()), 'missing value')} of {names} filled by straight lines for the adapter")
    if changing is not None and not changing.all():
        still = listed([panel.ids[i] for i in np.flatnonzero(~changing)])
        found.append(f"left out of the mixture, because nothing changes in the training part: {still}")
    return found
