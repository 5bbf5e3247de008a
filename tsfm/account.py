"""How a forecast was made, in words: what its provenance says of transforms, and what the user should know."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tsfm.batching import Context
from tsfm.conformal import Evidence, fewest_steps
from tsfm.other_variates import reads_covariates
from tsfm.panel import Panel, told_once
from tsfm.prediction import Provenance
from tsfm.views import NAMES

if TYPE_CHECKING:
    from tsfm.forecaster import Forecaster

SHOWN = 10


def provenance(
    forecaster: "Forecaster",
    panel: Panel,
    contexts: Sequence[Context],
    steps: int,
    horizon: int | None,
    longest: int | None,
    clipped: bool,
    effort: str,
    context: int | None,
    asked: Mapping[str, Any],
    evidence: Evidence | None,
) -> Provenance:
    """Where a forecast comes from; its time is still to be told.

    horizon, context, effort, asked   as the user gave them, `asked` the covariates; steps, longest  as they were taken
    """
    return Provenance(
        model=forecaster.name,
        weight_hash=forecaster.weight_hash,
        context=max((len(one.values) for one in contexts), default=0),
        transforms=transforms(forecaster, panel, longest, clipped, effort),
        defaults={} if horizon is not None else {"horizon": steps},
        warnings=warnings(forecaster, panel, steps, asked, effort, context),
        notes=notes(forecaster, evidence),
        precision=forecaster.precision,
        device=str(forecaster.device),
    )


def has_views(forecaster: "Forecaster", effort: str) -> bool:
    """Whether several views of each series are averaged."""
    return effort == "best" and bool(getattr(forecaster.model, "gains_from_views", False))


def transforms(forecaster: "Forecaster", panel: Panel, longest: int | None, clipped: bool, effort: str) -> list[str]:
    """What was done to the values before and after the model, in order."""
    model = forecaster.model
    cut = longest is not None and any(len(series) > longest for series in panel.values)
    begun = any(len(series) and np.isnan(series[0]) for series in panel.values)
    own = bool(getattr(model, "own_scaling", False))
    double = getattr(model, "input_dtype", torch.float32) == torch.float64
    filled = bool(getattr(model, "fills_gaps", False)) and any(has_gaps(series) for series in panel.values)
    done = {
        f"history cut to its last {longest} steps": cut,
        "missing steps before the first value left out": begun,
        "missing steps inside filled by straight lines": filled,
        "a power of two divided out where the deviation lies outside 1e-4 to 1e6": own,
        "location subtracted and a power of two divided out in float64": not double and not own,
        "a power of two divided out": double and not own,
        NAMES: has_views(forecaster, effort),
        "shifted by what the covariates say": forecaster.head is not None,
        "averaged over both signs": bool(getattr(model, "sign_symmetric", False)),
        "nothing below 0 where all the history is >= 0": clipped,
    }
    return [text for text, applied in done.items() if applied]


def has_gaps(series: "np.typing.NDArray[np.float64]") -> bool:
    """Whether a value is missing after the first observed one."""
    observed = ~np.isnan(series)
    return bool(observed.any()) and not bool(observed[observed.argmax() :].all())


def warnings(
    forecaster: "Forecaster",
    panel: Panel,
    steps: int,
    covariates: Mapping[str, Any],
    effort: str,
    context: int | None,
) -> list[str]:
    """What the user should know before trusting the numbers."""
    model, name, head = forecaster.model, forecaster.name, forecaster.head
    reads = reads_covariates(model, head)
    found = told_once(panel.repairs)
    if len(found) > SHOWN:
        found[SHOWN:] = [f"{len(found) - SHOWN} more kinds of repairs of the data; tsfm.check(data) lists them"]
    for role, given in covariates.items():
        read = reads and role in ("past", "future", "jointly")
        if given is not None and not read and not (head and head.names(role)):
            found.append(f"model {name!r} does not use {role}=; the forecast is the same without it")
    for word in panel.categories if reads else ():
        if word in (panel.future_covariates or {}) or word in (covariates["past"] or ()):
            found.append(f"{word!r} holds words, which model {name!r} cannot read; the forecast is the same without it")
    found += head.notes(panel, steps) if head else []
    longest = model.max_context
    if context is not None and longest is not None and context > longest:
        found.append(f"model {name!r} reads {longest} steps at most, fewer than context={context}")
    if effort == "best" and not has_views(forecaster, effort):
        found.append(f"model {name!r} has nothing more to give with effort='best' than with 'fast'")
    return found


def notes(forecaster: "Forecaster", evidence: Evidence | None) -> list[str]:
    """Where intervals come from that the model does not give itself, and the licence of weights of others."""
    found = []
    if evidence is not None and evidence.forecasts:
        found.append(str(evidence))
    if evidence is not None and evidence.wanted and evidence.without:
        found.append(
            f"{len(evidence.without)} series with a point forecast alone, too short or too full of gaps to measure the "
            "model's errors so far ahead; .points says what it takes"
        )
    if "official" in forecaster.card:
        found.append(str(forecaster.card["official"]["notice"]))
    return found


def points(panel: Panel, steps: int, evidence: Evidence | None) -> dict[Any, str]:
    """The series of which there is a point forecast alone, with the reason and the remedy."""
    if evidence is None:
        return {}
    if not evidence.wanted:
        asked = "was asked for the level 0.5 alone, for which no errors were measured; give quantile_levels=(0.1, 0.9)"
        return {panel.ids[position]: asked for position in evidence.without}
    least = fewest_steps(steps)
    return {
        panel.ids[position]: f"has {len(panel.values[position])} steps, of which too few are observed to measure the "
        f"model's errors {steps} steps ahead: that takes {least} steps; read .median, or ask for a shorter horizon"
        for position in evidence.without
    }
