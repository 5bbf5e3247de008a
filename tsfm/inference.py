"""From contexts to quantiles: every step between float64 arrays and a model, the same for every model.

Contexts are batched by length (batching.py), conditioned in float64 (conditioning.py), forecast, averaged over both
signs where the model asks for it, and brought back to the user's units. Constant series forecast themselves.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.batch import Batch, Covariates
from tsfm.batching import Context, Plan, Positions, bucket_length, stack
from tsfm.conditioning import condition, condition_rarely, restore
from tsfm.errors import DataError, TsfmError
from tsfm.kernels import memory_for_batches
from tsfm.options import check_optional
from tsfm.other_variates import are_joint, as_covariates, as_one
from tsfm.progress import Progress

# B series, C context steps, H horizon, Q quantile levels.

Floats = NDArray[np.float64]


class Model(Protocol):
    """What a registered forecaster is asked for. Optional attributes, with what their absence means:

    patch             contexts are padded to a multiple of it (1)
    any_level         any quantile level can be asked of `predict`, not only `levels` (False)
    sign_symmetric    the forecasts of x and of -x are to be averaged (False)
    gains_from_views  effort="best" pays: see views.py (False)
    input_dtype       of a batch's values (float32)
    own_scaling       it is to see the user's own values wherever it can: see conditioning.py (False)
    uses_covariates   a batch may hold other variates of its series: see batch.py (False)
    fills_gaps        it puts straight lines where steps inside were not observed (False)
    point_only        its one level is a point forecast: intervals come from conformal.py (False)
    context_for       method of (horizon): steps it reads before such a horizon, where fewer than max_context
    bytes_per_series  method of (context, horizon): memory one series takes on its way through the model; also of
                      `levels`, how many are asked, with any_level, and of `variates` with uses_covariates
    predict_jointly   method as `predict`: quantiles (B, 1 + V, H, Q) of each series and of its V companions
    predict_both_signs  method of (batch, horizon): what `predict` says of x and of -x at `levels`, at less cost
    """

    levels: tuple[float, ...]
    max_context: int | None

    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float]) -> Tensor:
        """Return quantiles (B, H, Q) in the batch's units, non-decreasing in the level."""
        ...


def knots_for(model: Model, levels: Sequence[float]) -> tuple[float, ...]:
    """Return the levels to ask the model for, increasing: its own, and those asked if it can give any."""
    own = set(model.levels)
    return tuple(sorted(own | set(levels) if getattr(model, "any_level", False) else own))


def longest_context(model: Model, asked: int | None, horizon: int = 1) -> int | None:
    """Return the most steps to read: what was asked for, within what the model can before such a horizon."""
    own = model.context_for(horizon) if hasattr(model, "context_for") else model.max_context
    limits = [limit for limit in (asked, own) if limit is not None]
    return min(limits, default=None)


def bytes_per_series(model: Model, context: int, horizon: int, levels: int | None = None, variates: int = 1) -> int:
    """Return the memory one series takes on its way through the model: as the model says, else a rough bound.

    levels    asked for, the model's own by default
    variates  the series itself and what the model reads beside it
    """
    levels = len(model.levels) if levels is None else levels
    if not hasattr(model, "bytes_per_series"):
        return variates * (256 * context + 32 * horizon * levels)
    more = {"levels": levels} if getattr(model, "any_level", False) else {}
    more |= {"variates": variates} if getattr(model, "uses_covariates", False) else {}
    return int(model.bytes_per_series(context, horizon, **more))


def plan_batches(
    model: Model,
    device: torch.device,
    lengths: Sequence[int],
    horizon: int,
    batch_size: int | None,
    levels: int | None = None,
    variates: int = 1,
) -> Plan:
    """Return how contexts of these lengths go through the model."""
    patch = int(getattr(model, "patch", 1))
    size = check_optional(batch_size, "batch_size", "batch_size=64")
    padded = np.array([bucket_length(length, patch) for length in lengths], np.int64)
    memory = memory_for_batches(device)
    return Plan(padded, size, memory, lambda length: bytes_per_series(model, length, horizon, levels, variates))


def quantiles(
    model: Model,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    season: Sequence[int] | None,
    knots: tuple[float, ...],
    *,
    batch_size: int | None = None,
    progress: bool | None = False,
) -> list[Floats]:
    """Return the quantiles (H, Q) of every context at the knots, in the user's units, not clipped."""
    seasons = np.ones(len(contexts), np.int64) if season is None else np.asarray(season, np.int64)
    if len(seasons) != len(contexts):
        raise DataError(f"season has {len(seasons)} entries for {len(contexts)} series; give one a series")
    shape = (horizon, len(knots))
    found = [np.empty(0) if one.constant is None else np.full(shape, one.constant) for one in contexts]
    moving = [position for position, one in enumerate(contexts) if one.constant is None]

    if moving and hasattr(model, "predict_jointly") and are_joint(contexts):
        made = together(model, device, contexts, horizon, seasons, knots)
        return [made[i] if one.constant is None else found[i] for i, one in enumerate(contexts)]
    variates = max((one.others.count for one in contexts if one.others is not None), default=1)
    lengths = [len(contexts[position].values) for position in moving]
    plan = plan_batches(model, device, lengths, horizon, batch_size, len(knots), variates)

    def work(length: int, chosen: Positions) -> None:
        positions = [moving[row] for row in chosen]
        chosen_contexts = [contexts[position] for position in positions]
        covariates = as_covariates(chosen_contexts, length, horizon, getattr(model, "input_dtype", torch.float32))
        batch = stack(chosen_contexts, length)
        results = predict(model, device, batch, seasons[positions], horizon, knots, covariates)
        for position, result in zip(positions, results, strict=True):
            found[position] = result

    with Progress(len(moving), progress) as bar:
        plan.run(work, bar.advance)
    return found


def together(
    model: Any,
    device: torch.device,
    contexts: Sequence[Context],
    horizon: int,
    season: NDArray[np.int64],
    knots: tuple[float, ...],
) -> Floats:
    """Return the quantiles (B, H, Q) of series that are variates of one another, from one pass over all of them."""
    whole, patch = as_one(contexts), int(getattr(model, "patch", 1))
    padded = -(-len(whole.values) // patch) * patch
    made: list[Floats] = []

    def work(length: int, chosen: Positions) -> None:
        covariates = as_covariates([whole], length, horizon, getattr(model, "input_dtype", torch.float32))
        made.append(predict(model, device, stack(contexts, length), season, horizon, knots, covariates, jointly=True))

    Plan(np.array([padded]), 1, 0, lambda length: 0).run(work, lambda series: None)
    return made[0]


def predict(
    model: Any,
    device: torch.device,
    contexts: Floats,
    season: NDArray[np.int64],
    horizon: int,
    knots: tuple[float, ...],
    covariates: Covariates | None = None,
    jointly: bool = False,
) -> Floats:
    """Return quantiles (B, H, Q) of one batch of padded contexts (B, C), in the user's units.

    jointly  all rows are variates of the first, whose companions in `covariates` are the others
    """
    dtype: torch.dtype = getattr(model, "input_dtype", torch.float32)
    if getattr(model, "own_scaling", False):
        conditioned = condition_rarely(contexts)
    else:
        conditioned = condition(contexts, centre=dtype != torch.float64)
    rows = slice(1 if jointly else None)
    batch = Batch(
        torch.from_numpy(conditioned.values[rows]).to(device, dtype),
        torch.from_numpy(conditioned.observed[rows]).to(device),
        torch.from_numpy(season[rows]).to(device),
        None if covariates is None else covariates.to(device),
    )
    with torch.inference_mode():
        made = model.predict_jointly(batch, horizon, knots)[0] if jointly else both_signs(model, batch, horizon, knots)
    predicted = made.double().cpu().numpy()
    if not np.isfinite(predicted).all():
        row = int(np.flatnonzero(~np.isfinite(predicted).all((1, 2)))[0])
        raise TsfmError(
            f"{type(model).__name__} gave a value that is not finite for a context of {contexts.shape[1]} steps ending "
            f"in {contexts[row, -3:].tolist()}; try precision='fp32', and please report it with this series"
        )
    return restore(predicted, conditioned)


def both_signs(model: Model, batch: Batch, horizon: int, knots: tuple[float, ...]) -> Tensor:
    """Average f(x) with what f(-x) says of x, for a model that asks for it: an odd function of x comes out."""
    if not getattr(model, "sign_symmetric", False):
        return model.predict(batch, horizon, knots)
    predicted: Tensor
    opposite: Tensor
    if knots == model.levels and hasattr(model, "predict_both_signs"):
        predicted, opposite = model.predict_both_signs(batch, horizon)
    else:
        predicted = model.predict(batch, horizon, knots)
        mirrored = [round(1.0 - level, 12) for level in reversed(knots)]
        opposite = model.predict(Batch(-batch.values, batch.observed, batch.season), horizon, mirrored)
    return 0.5 * (predicted - opposite.flip(-1))
