"""Streams: series that go on, forecast from a state instead of from their history.

    stream = tsfm.load("state-space-nano").stream(history)
    stream.update(new_points)
    stream.forecast(24)

A model with a state of fixed size reads every point once. Patches of a context end at its last step, so every new step
moves all of them; a stream therefore keeps one state for each of the P places where a patch can end, and a new step
advances one of them by one patch. Beside the states it keeps the last `max_context` points, from which seasonal copies
and running statistics are taken. A forecast equals that of `forecast` on the points that were read: the same channels
from the same numbers, and states in the place of the tokens that made them.

A model reads `max_context` steps at most, and a level of years ago should not weigh on today's. So a second reading
begins half a context after the first, and takes its place when the first is full: between a half and a whole context is
always read, whatever the length of the stream and however its points arrived. Memory is constant, and so is the time of
an update.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.conditioning import condition, restore
from tsfm.data.adapters import to_panel
from tsfm.data.arrivals import arrivals
from tsfm.data.timeaxis import TimeIndex, grid
from tsfm.errors import DataError
from tsfm.models.decoder_inputs import with_mirror_image
from tsfm.options import DECILES, check_choice, check_horizon, check_levels
from tsfm.prediction import Forecast, Provenance

if TYPE_CHECKING:
    from tsfm.forecaster import Forecaster

# P patch length, R phases that are advanced together, N patches, H horizon, Q quantile levels.

Floats = NDArray[np.float64]


class Reading:
    """What a model has read of one series: the points, and its state after all but the newest patch of every phase.

    A phase is the place of a patch's end, modulo P. Rows of the states are the phases, then those of the negative.
    """

    def __init__(self, model: Any, device: torch.device):
        self.model, self.device = model, device
        self.points: Floats = np.empty(0)
        with torch.inference_mode():
            empty = torch.zeros(1, 1, model.config.layout.channels, device=device)
            _, states, _ = model.advance(empty, torch.zeros(1, 1, dtype=torch.bool, device=device))
        rows = 2 * model.patch
        self.state = [[part.new_zeros(rows, *part.shape[1:]) for part in layer] for layer in states]

    def extend(self, points: Floats) -> None:
        """Read more points, NaN where missing; those before the first observed one are left out."""
        if not len(self.points):
            seen = ~np.isnan(points)
            points = points[seen.argmax() :] if seen.any() else points[:0]
        patch, read = self.model.patch, len(self.points)
        self.points = np.concatenate([self.points, points])
        end, last = max(1, read - patch + 1), len(self.points) - patch  # of patches to feed now
        rounds, rest = divmod(max(0, last - end + 1), patch)
        if rounds:
            self._feed(end, patch, rounds)
        if rest:
            self._feed(end + rounds * patch, rest, 1)

    @torch.inference_mode()
    def _feed(self, end: int, phases: int, tokens: int) -> None:
        """Advance `phases` neighbouring phases by `tokens` patches each; the first patch of the first ends at `end`."""
        patch = self.model.patch
        ends = end + np.arange(phases) + (tokens - 1) * patch
        steps = ends[:, None] + np.arange(-(-int(ends[-1]) // patch) * -patch, 0)  # (R, N * P)
        values = condition(self.points[None, : ends[-1]], centre=False).values[0]
        there = steps >= 0
        picked = np.where(there, values[np.maximum(steps, 0)], 0.0)
        observed = there & ~np.isnan(self.points)[np.maximum(steps, 0)]
        made = self.model.inputs(*self._patches(picked, observed), first=steps.shape[1] // patch - tokens)
        made = with_mirror_image(made, made.channels.new_tensor(self.model.config.layout.parity))
        at = torch.from_numpy(np.concatenate([ends % patch, ends % patch + patch])).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.model.precision == torch.bfloat16):
            before = [tuple(part[at] for part in layer) for layer in self.state]
            _, after, _ = self.model.advance(made.channels, made.bias, before)
        for kept, new in zip(self.state, after, strict=True):
            for part, value in zip(kept, new, strict=True):
                part[at] = value

    def _patches(self, values: Floats, observed: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """(R, N * P) -> values and mask (R, N, P)."""
        shape = (len(values), -1, self.model.patch)
        return torch.from_numpy(values).to(self.device).view(shape), torch.from_numpy(observed).to(self.device).view(
            shape
        )

    @torch.inference_mode()
    def quantiles(self, horizon: int) -> Floats:
        """Quantiles (H, Q) of the next steps at the trained levels, in the units of the points."""
        patch = self.model.patch
        spare = -len(self.points) % patch
        made = condition(np.pad(self.points, (spare, 0), constant_values=np.nan)[None], centre=False)
        phase = len(self.points) % patch
        state = [tuple(part[[phase, phase + patch]] for part in layer) for layer in self.state]
        values, observed = self._patches(made.values, made.observed)
        both = self.model.roll_out(values, observed, horizon, True, state, values.shape[1] - 1)
        same, opposite = both.double().cpu().numpy()
        found: Floats = restore(0.5 * (same - opposite[:, ::-1])[None], made)[0]
        return found


class Series:
    """One series of a stream: its readings, and what is remembered of all of it."""

    def __init__(self, model: Any, device: torch.device, steps: int):
        self.model, self.device, self.half = model, device, model.max_context // 2
        # With `steps` to come at once, those that only readings long since replaced would have read are not read.
        self.steps: int = max(0, -(-steps // self.half) - 2) * self.half
        self.older, self.younger = Reading(model, device), Reading(model, device)
        self.begun = self.steps  # step where the older reading begins
        self.lowest = np.inf

    def extend(self, points: Floats) -> None:
        """Read more points, NaN where missing."""
        self.lowest = min(self.lowest, float(np.fmin.reduce(points, initial=np.inf)))
        while len(points):
            room = self.begun + 2 * self.half - self.steps
            if not room:
                self.older, self.younger = self.younger, Reading(self.model, self.device)
                self.begun += self.half
                continue
            middle = self.begun + self.half - self.steps
            piece, points = np.split(points, [min(room, middle) if middle > 0 else room])
            self.older.extend(piece)
            if middle <= 0:
                self.younger.extend(piece)
            self.steps += len(piece)

    def quantiles(self, horizon: int) -> Floats:
        """Quantiles (H, Q) of the next steps; a series that has been constant forecasts itself."""
        seen = self.older.points[~np.isnan(self.older.points)]
        if (seen == seen[-1]).all():
            return np.full((horizon, len(self.model.levels)), seen[-1])
        return self.older.quantiles(horizon)


class Stream:
    """Series that go on; made by `Forecaster.stream`."""

    def __init__(self, forecaster: "Forecaster", history: Any, **columns: Any):
        model = forecaster.model
        if not getattr(model, "streams", False):
            raise DataError(
                f"model {forecaster.name!r} keeps no state, so it cannot go on from one; take a state-space model, or "
                "call forecast on the whole history"
            )
        self.forecaster, self.panel = forecaster, to_panel(history, **columns)
        self.series: list[Series] = []
        for name, values in zip(self.panel.ids, self.panel.values, strict=True):
            one = Series(model, forecaster.device, len(values))
            one.lowest = float(np.fmin.reduce(values, initial=np.inf))
            one.extend(values[one.steps :])
            check_seen(name, one)
            self.series.append(one)
        self.panel.past_covariates = self.panel.future_covariates = None

    def __repr__(self) -> str:
        return f"Stream({self.forecaster.name!r}, {len(self.series)} series, {self.context} steps read)"

    @property
    def context(self) -> int:
        """Steps that forecasts rest on now, of the series that has most; `forecast(..., context=)` reads as many."""
        return max((one.steps - one.begun for one in self.series), default=0)

    def update(self, points: Any) -> "Stream":
        """Read the points that follow, NaN where missing, and return the stream.

        points  of one series: a number, an array or a Series; of several: a mapping from id, a sequence of them in
                order, or a frame as the history was. Numbers are the next steps; where they have time stamps each goes
                to its step, steps left out are missing, and a stamp that was read already is an error
        """
        limit = 2 * self.series[0].half if self.series else 0
        made = arrivals(points, self.panel, [one.steps for one in self.series], limit)
        for one, new in zip(self.series, made, strict=True):
            one.extend(new)
        return self

    def forecast(
        self, horizon: int, *, quantile_levels: Iterable[float] = DECILES, clip: str | None = "auto"
    ) -> Forecast:
        """Forecast what follows; `forecast(everything, horizon, context=stream.context)` without reading it again."""
        horizon, levels = check_horizon(horizon), check_levels(quantile_levels)
        check_choice(clip, "clip", ("auto", None))
        for name, one in zip(self.panel.ids, self.series, strict=True):
            check_seen(name, one)
        values = [one.quantiles(horizon) for one in self.series]
        clipped = [clip == "auto" and one.lowest >= 0 for one in self.series]
        provenance = Provenance(
            model=self.forecaster.name,
            weight_hash=self.forecaster.weight_hash,
            context=self.context,
            transforms=["read as a stream", "averaged over both signs"],
            precision=self.forecaster.precision,
            device=str(self.forecaster.device),
        )
        return Forecast(self._now(), horizon, self.forecaster.model.levels, values, levels, clipped, provenance)

    def _now(self) -> Any:
        """The panel as it stands: what is remembered of every series, on the axis that goes on."""
        values = [one.older.points for one in self.series]
        index = [
            moved(axis, one.steps - len(one.older.points), len(one.older.points))
            for axis, one in zip(self.panel.index, self.series, strict=True)
        ]
        return replace(self.panel, values=values, index=index)


def check_seen(name: object, one: Series) -> None:
    """Raise where nothing observed was read."""
    if not len(one.older.points):
        raise DataError(f"series {name!r} has no value in the steps that were read; update it with at least one")


def moved(axis: TimeIndex, steps: int, length: int) -> TimeIndex:
    """The axis that begins `steps` later, of another length."""
    start = int(grid(axis.clock, axis.frequency, axis.stride, np.asarray(axis.grid_start), np.asarray(steps)))
    return replace(axis, start=start, length=length, stamps=None)
