"""Other variates of a series, for models that read them: covariates, and series that are forecast together with it.

Which there are is said by the user: past= and future= name covariates, jointly=True makes all series of the data
variates of one. They end where the history of their series ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsfm.batch import Covariates
from tsfm.batching import Context
from tsfm.conditioning import condition_rarely
from tsfm.data.covariate_columns import are_names
from tsfm.errors import DataError
from tsfm.panel import Panel

# B series, C context steps, H horizon, V variates of a kind.

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Others:
    """Variates beside one series, NaN where missing; the last of C steps is the last before the forecast.

    past      (V, C)      known up to now
    future    (V, C + H)  known ahead
    together  (V, C)      all that are forecast jointly, the series itself at `place`; none where it is alone
    """

    past: Floats
    future: Floats
    together: Floats
    place: int = 0

    @property
    def companions(self) -> Floats:
        """(V, C) to be forecast with the series."""
        return np.delete(self.together, self.place, 0) if len(self.together) else self.together

    @property
    def count(self) -> int:
        """How many variates there are with the series itself."""
        return len(self.past) + len(self.future) + max(1, len(self.together))


def reads_covariates(model: Any, head: Any) -> bool:
    """Whether covariates go to the model; where a head reads them, it was fitted to forecasts made without them."""
    return head is None and bool(getattr(model, "uses_covariates", False))


def past_names(needed: Sequence[str] | None, past: Any) -> Any:
    """The columns needed and those that past= names; what is no name comes back, to be refused where all roles are."""
    if past is not None and not are_names(past):
        return past
    return list(dict.fromkeys([*(needed or ()), *([past] if isinstance(past, str) else past or ())])) or None


def unread(data: Any, panel: Panel, past: Sequence[str] | None, future: Any) -> list[str]:
    """Columns of the data that hold the history of what is known ahead, and that nobody named: they are to be read.

    A long frame is read with all its columns, of which those that nobody named are said to be of no use.
    """
    if future is None or are_names(future):
        return []
    there = [*getattr(data, "columns", ()), *(panel.past_covariates or {})]
    return [name for name in panel.future_covariates or {} if name in there and name not in (past or ())]


def covariate_names(panel: Panel, past: Sequence[str] | str | None) -> tuple[list[str], list[str]]:
    """Names of the covariates known up to now and known ahead; words are no numbers to a model."""
    ahead = [name for name in panel.future_covariates or {} if name not in panel.categories]
    named = [past] if isinstance(past, str) else list(past or ())
    return [name for name in named if name not in ahead and name not in panel.categories], ahead


def with_others(
    panel: Panel,
    contexts: Sequence[Context],
    longest: int | None,
    horizon: int,
    past: Sequence[str] | str | None,
    jointly: bool,
    patch: int = 1,
) -> list[Context]:
    """The contexts with what stands beside each series; those of joint series begin where the first of them does.

    Covariates are read from the beginning of the patch in which the series begins, as far as they are there.
    """
    names, ahead = covariate_names(panel, past)
    jointly = jointly and len(panel) > 1
    if not names and not ahead and not jointly:
        return list(contexts)
    together = stacked([], 0)
    if jointly:
        check_joint(panel)
        begun, there = max(len(one.values) for one in contexts), max(map(len, panel.values))
        steps = steps_read(begun, there, longest, patch)
        together = stacked([tail(one, steps) for one in panel.values], steps)
    history, later = panel.past_covariates or {}, panel.future_covariates or {}
    nothing = [np.empty(0)] * len(panel)
    found = []
    for i, context in enumerate(contexts):
        if not jointly:
            steps = steps_read(len(context.values), len(panel.values[i]), longest, patch)
        known = [
            np.concatenate([tail(history.get(name, nothing)[i], steps), later[name][i][:horizon]]) for name in ahead
        ]
        past_rows = stacked([tail(history[name][i], steps) for name in names], steps)
        others = Others(past_rows, stacked(known, steps + horizon), together, i)
        found.append(replace(context, values=tail(panel.values[i], steps), others=others))
    return found


def steps_read(begun: int, there: int, longest: int | None, patch: int) -> int:
    """How many steps to read: back to the beginning of the patch in which a series begins, as far as they are there."""
    return min(there if longest is None else min(longest, there), -(-begun // patch) * patch)


def are_joint(contexts: Sequence[Context]) -> bool:
    """Whether contexts are variates of one another."""
    return all(one.others is not None and len(one.others.together) == len(contexts) for one in contexts)


def as_one(contexts: Sequence[Context]) -> Context:
    """The first of contexts that are forecast jointly, with the covariates of all of them, each once."""
    every = [one.others for one in contexts if one.others is not None]
    past, future = (distinct([row for one in every for row in getattr(one, name)]) for name in ("past", "future"))
    first = every[0]
    rows = stacked(past, first.past.shape[1]), stacked(future, first.future.shape[1])
    return replace(contexts[0], others=Others(*rows, first.together))


def distinct(rows: Sequence[Floats]) -> list[Floats]:
    """The rows without those that stand before; NaN are alike."""
    return list({row.tobytes(): row for row in rows}.values())


def check_joint(panel: Panel) -> None:
    """Refuse to forecast series jointly that do not end together."""
    ends = [panel.future_index(i, 1)[0] for i in range(len(panel))]
    for name, end in zip(panel.ids, ends, strict=True):
        if end != ends[0]:
            raise DataError(
                f"jointly=True takes series that end together; the step after {panel.ids[0]!r} is {ends[0]} and that "
                f"after {name!r} is {end}; cut the longer one, or forecast them apart"
            )


def tail(values: Floats, steps: int) -> Floats:
    """The last steps, NaN before the first there is."""
    last = values[-steps:]
    return np.concatenate([np.full(steps - len(last), np.nan), last])


def stacked(rows: list[Floats], steps: int) -> Floats:
    """(V, steps), of no rows too."""
    return np.stack(rows) if rows else np.empty((0, steps))


def as_covariates(contexts: Sequence[Context], length: int, horizon: int, dtype: torch.dtype) -> Covariates | None:
    """What a batch of contexts padded to `length` has beside its series; None where there is nothing."""
    if contexts[0].others is None:
        return None
    parts: list[torch.Tensor] = []
    for name, steps in (("past", length), ("future", length + horizon), ("companions", length)):
        rows = [getattr(context.others, name) for context in contexts]
        filled = np.full((len(rows), len(rows[0]), steps), np.nan)
        for row, one in zip(filled, rows, strict=True):
            row[:, steps - one.shape[1] :] = one
        parts += scaled(filled, dtype)
    return Covariates(*parts)


def scaled(values: Floats, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (B, V, C) in a model's range and where they are observed: each variate has units of its own."""
    flat = values.reshape(-1, values.shape[-1])
    observed = ~np.isnan(flat)
    empty = ~observed.any(1, keepdims=True)
    made = condition_rarely(np.where(empty, 0.0, flat)) if len(flat) else None
    kept = np.zeros_like(flat) if made is None else np.where(observed, made.values, 0.0)
    return torch.from_numpy(kept.reshape(values.shape)).to(dtype), torch.from_numpy(observed.reshape(values.shape))
