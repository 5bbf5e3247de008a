"""Covariate head: shifts the quantiles of a base forecaster by what covariates say of its residual.

    adjusted quantile = median + shift + spread * (quantile - median)

The shift is the predicted residual of the median in units of the series' own scale at the cutoff (how much it usually
changes over a season), times a strength; `strength` and `spread`, both at most 1, were measured on windows that the
rule had not been fitted to. A head is fitted in `tsfm.finetuning.covariates`; applying one takes numpy alone, and it is
kept as plain arrays in a safetensors file and an entry of config.json.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from tsfm import quantile_curve
from tsfm.covariate_features import (
    CovariateColumn,
    Surroundings,
    at_end,
    cardinalities,
    features,
    is_missing,
    own_scales,
)
from tsfm.covariate_models import LINEAR, TREES, Arrays, Linear, Trees
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

if TYPE_CHECKING:
    from tsfm.forecaster import Forecaster

# n series, H horizon, Q quantile levels.

KINDS = ("ridge", "boosting")
HEAD = "head.safetensors"


@dataclass(frozen=True)
class CovariateHead:
    """A fitted head.

    kind      "ridge" or "boosting"
    columns   what it needs
    horizon   steps that it was fitted for
    rule      from features to residuals, in units of the series
    reach     the largest shift, in the same units
    strength  share of the predicted residual that is believed
    spread    factor on the width of the forecast
    """

    kind: str
    columns: tuple[CovariateColumn, ...]
    horizon: int
    rule: Linear | Trees
    reach: float
    strength: float
    spread: float

    def names(self, role: str) -> list[str]:
        """Names of the columns that are "past", "future" or "static"."""
        return [column.name for column in self.columns if column.role == role]

    def adjust(self, quantiles: Floats, knots: Sequence[float], known: Surroundings) -> Floats:
        """Return the quantiles (n, H, Q) at the knots, shifted and narrowed; a constant series keeps its forecast."""
        medians = quantile_curve.evaluate(knots, quantiles, 0.5)  # (n, H)
        scale = own_scales(known)
        seen = features(self.columns, known, medians, scale, self.horizon)
        residual = np.clip(self.rule.predict(seen, known.ids), -self.reach, self.reach)
        shift = self.strength * residual * scale[:, None]
        adjusted = (medians + shift)[..., None] + self.spread * (quantiles - medians[..., None])
        return np.where(scale[:, None, None] > 0, adjusted, quantiles)

    def applied(self, panel: Panel, quantiles: Sequence[Floats], knots: Sequence[float]) -> list[Floats]:
        """Return the adjusted quantiles, (H, Q) each, of every series of a panel that `check` has passed."""
        stacked = np.stack(quantiles)
        return list(self.adjust(stacked, knots, at_end(panel, self.columns, stacked.shape[1])))

    def check(self, panel: Panel) -> None:
        """Refuse a panel that lacks what the head needs, or has it of another kind."""
        past, future, static = panel.past_covariates or {}, panel.future_covariates or {}, panel.static or {}
        for column in self.columns:
            name = column.name
            if column.role == "static":
                if name not in static:
                    raise DataError(
                        f"this model needs {name!r} of each series; give it as a column of the data, or "
                        f"static={{{name!r}: {{series: value}}}}"
                    )
                continue
            if name not in past:
                raise DataError(
                    f"this model needs the history of {name!r}; give a frame that has it as a column beside the target"
                )
            if column.role == "future" and name not in future:
                raise DataError(
                    f"this model needs {name!r} for the steps that are forecast; give future= with a column {name!r}, "
                    "or rows at the end of the data where it is known and the target is missing"
                )
            if (name in panel.categories) != (column.words is not None):
                was, now = ("words", "numbers") if column.words is not None else ("numbers", "words")
                filled = any((~np.isnan(values)).any() for values in past[name])
                if filled:
                    raise DataError(f"{name!r} held {was} when this model was fitted and holds {now} now; give {was}")
                panel.categories.setdefault(name, [])

    def notes(self, panel: Panel, horizon: int) -> list[str]:
        """Return what a person should know of a forecast: steps beyond the fit, and words that it has not met."""
        found = []
        if horizon > self.horizon:
            found.append(
                f"the covariates were fitted for {self.horizon} steps ahead; steps {self.horizon + 1} to {horizon} are "
                f"adjusted as step {self.horizon}"
            )
        for column in self.columns:
            if column.words is not None:
                held = (panel.static or {}).get(column.name, []) if column.role == "static" else None
                words = panel.categories.get(column.name, []) if held is None else held
                fresh = sorted({str(word) for word in words if not is_missing(word)} - set(column.words))
                if fresh:
                    shown = ", ".join(map(repr, fresh[:3])) + (f" and {len(fresh) - 3} more" if len(fresh) > 3 else "")
                    found.append(f"{column.name!r} holds {shown}, rare or absent in the fit; counted as unknown")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the entry "head" of config.json."""
        entry = {name: getattr(self, name) for name in ("kind", "horizon", "reach", "strength", "spread")}
        columns = [{**asdict(column), "words": column.words and list(column.words)} for column in self.columns]
        series = list(self.rule.series) if isinstance(self.rule, Linear) else []
        return {**entry, "columns": columns, "series": series}

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the content of head.safetensors."""
        return {name: np.ascontiguousarray(array) for name, array in self.rule.to_tensors().items()}

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], tensors: Arrays) -> "CovariateHead":
        """Return the head of what `to_json` and `to_tensors` gave; `DataError` where they do not belong together."""
        try:
            columns = tuple(
                CovariateColumn(one["name"], one["role"], None if one["words"] is None else tuple(one["words"]))
                for one in entry["columns"]
            )
            arrays: dict[str, Any] = {name: tensors[name] for name in (LINEAR if entry["kind"] == "ridge" else TREES)}
            rule: Linear | Trees = Trees(**arrays) if entry["kind"] == "boosting" else _linear(columns, entry, arrays)
            numbers = (float(entry[name]) for name in ("reach", "strength", "spread"))
            return cls(entry["kind"], columns, int(entry["horizon"]), rule, *numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the covariate head of the folder is incomplete ({error!r}); copy the folder again, or upgrade tsfm"
            ) from None


def headed(forecaster: "Forecaster", head: CovariateHead | None) -> "Forecaster":
    """Return a forecaster that shares all but the head, and says so in its config.json."""
    made = copy(forecaster)
    made.head = head
    made.name = forecaster.name if head is None else f"{forecaster.name} + {head.kind}"
    made.card = {key: value for key, value in forecaster.card.items() if key != "head"}
    made.card |= {} if head is None else {"head": head.to_json()}
    return made


def head_files(head: CovariateHead | None) -> dict[str, bytes]:
    """Return what a head adds to a checkpoint folder: files by name."""
    return {} if head is None else {HEAD: save(head.to_tensors())}


def read_head(card: Mapping[str, Any], folder: Path) -> CovariateHead | None:
    """Return the head that a config.json tells of, None where it does not."""
    if "head" not in card:
        return None
    try:
        return CovariateHead.from_parts(card["head"], load_file(folder / HEAD))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / HEAD} cannot be read ({error}); copy the folder again") from None


def roles_of(head: CovariateHead | None, future: Any, static: Any) -> dict[str, Any]:
    """Return the covariate arguments of `to_panel`: those given, and the columns that a head needs of the data."""
    if head is None:
        return {"future": future, "static": static}
    ahead = head.names("future")
    past = head.names("past") + (ahead if future is not None else [])
    return {
        "past": past,
        "future": (ahead or None) if future is None else future,
        "static": (head.names("static") or None) if static is None else static,
    }


def check_ahead(panel: Panel, horizon: int) -> None:
    """Refuse covariates known for fewer steps than are to be forecast, or missing in one of them."""
    for name, rows in (panel.future_covariates or {}).items():
        for i, (series_id, row) in enumerate(zip(panel.ids, rows, strict=True)):
            if len(row) < horizon:
                raise DataError(
                    f"future[{name!r}] of series {series_id!r} is known for {len(row)} steps and the horizon is "
                    f"{horizon}; give {horizon} values, or horizon={len(row)}"
                )
            missing = np.flatnonzero(np.isnan(row[:horizon]))
            if len(missing):
                stamp = panel.future_index(i, int(missing[0]) + 1)[-1]
                raise DataError(
                    f"{name!r} of series {series_id!r} is missing at {stamp}, which is to be forecast; give its value"
                )


def _linear(columns: Sequence[CovariateColumn], entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Linear:
    return Linear(cardinalities(columns), **arrays, series=tuple(entry["series"]))
