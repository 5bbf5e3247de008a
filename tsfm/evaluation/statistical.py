"""Classical methods as baselines: AutoETS, AutoTheta and AutoARIMA of statsforecast (extra `bench`).

They are run as GIFT-Eval runs them (Aksu et al. 2024): gaps filled with the value before them, one model a series with
the benchmark's season, quantiles from central intervals (the median is the interval of 0%), and the seasonal naive
forecast where a method cannot be fitted, which is counted and warned about. Three things differ. Leading gaps are
trimmed. The last steps of a long series are used, as many as `METHODS` says: AutoARIMA would need hours for one task.
And the quantiles of AutoTheta are moved so that their median is its point forecast, from which the median of the 200
paths that statsforecast simulates drifts away: a MASE of 1.46 instead of 1.94 on ett2/D, where 1.85 is published.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfm.errors import DataError, MissingDependency, UnknownName
from tsfm.evaluation.metrics import Array
from tsfm.evaluation.protocol import fill_forward, seasonal_naive

# C context steps, H horizon, Q quantile levels.


@dataclass(frozen=True)
class Method:
    """How a method of statsforecast is run.

    kind      its class there
    longest   steps of a series that are used, the last ones
    centred   whether its quantiles are moved so that their median is the point forecast
    """

    kind: str
    longest: int
    centred: bool = False


METHODS = {
    "auto-ets": Method("AutoETS", longest=4000),
    "auto-theta": Method("AutoTheta", longest=1000, centred=True),
    "auto-arima": Method("AutoARIMA", longest=1000),
}
STATISTICAL = tuple(METHODS)

USUAL = (1e-6, 1e9)  # largest absolute value of a series that is fitted as it is: the searches have absolute tolerances


def statistical(name: str) -> "Statistical":
    """Return the method, one of `STATISTICAL`, as a forecaster of arrays in the shape `Predict`."""
    if name not in METHODS:
        raise UnknownName(f"no statistical method {name!r}; there are {', '.join(STATISTICAL)}")
    try:
        from statsforecast import models
    except ImportError as missing:
        raise MissingDependency(f"{name} needs statsforecast: pip install 'tsfm-forecast[bench]'") from missing
    return Statistical(name, METHODS[name], getattr(models, METHODS[name].kind))


class Statistical:
    """A method of statsforecast, fitted to each series when it is asked for a forecast.

    failed  series so far that it could not be fitted to, which got the seasonal naive forecast
    """

    def __init__(self, name: str, method: Method, kind: Callable[..., Any]):
        self.__name__ = name
        self.method = method
        self.kind = kind
        self.failed = 0

    def __call__(self, contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        """Quantiles of every series, (H, Q) each.

        contexts  (C,) each, NaN where missing
        levels    strictly inside (0, 1)
        seasons   steps, one a series; 1 is used where the series is shorter
        """
        made: list[Array] = []
        reasons: list[str] = []
        for context, season in zip(contexts, seasons, strict=True):
            observed = trimmed(context, self.method.longest)
            unit = unit_of(observed)
            if season > len(observed):
                season = 1
            try:
                quantiles = self._fitted(observed / unit, horizon, levels, season)
            except Exception as reason:  # statsforecast raises plain exceptions for series it cannot be fitted to
                quantiles = seasonal_naive(observed / unit, horizon, season, levels)
                reasons.append(str(reason) or type(reason).__name__)
            made.append(quantiles * unit)
        if reasons:
            self.failed += len(reasons)
            warnings.warn(
                f"{self.__name__} could not be fitted to {len(reasons)} of {len(contexts)} series, which get the "
                f"seasonal naive forecast; the first reason: {reasons[0]}",
                stacklevel=2,
            )
        return made

    def _fitted(self, observed: Array, horizon: int, levels: Sequence[float], season: int) -> Array:
        intervals = sorted({0.0, *(central_interval(level) for level in levels)})
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of the search, where models that do not converge are not chosen
            made = self.kind(season_length=season).forecast(observed, horizon, level=intervals)
        sides = ((("lo" if level <= 0.5 else "hi"), central_interval(level)) for level in levels)
        quantiles = np.stack([made[f"{side}-{interval}"] for side, interval in sides], axis=-1)  # (H, Q)
        if self.method.centred:
            quantiles = quantiles + (made["mean"] - made["lo-0.0"])[:, None]
        if not np.isfinite(quantiles).all():
            raise DataError("its forecast is not finite")
        return np.asarray(quantiles, dtype=np.float64)


def unit_of(observed: Array) -> float:
    """A power of two that brings the largest value near 1 where its size is not `USUAL`, else 1."""
    size = float(np.abs(observed).max())
    return 1.0 if size == 0 or USUAL[0] <= size <= USUAL[1] else float(2.0 ** np.floor(np.log2(size)))


def central_interval(level: float) -> float:
    """Per cent in the central interval that ends at the quantile: 80 for 0.1 and for 0.9, 0 for the median."""
    return round(100 * abs(1 - 2 * level), 8)


def trimmed(context: Array, longest: int) -> Array:
    """At most `longest` steps up to the end of a series (C,), from an observed one on, gaps filled from before them."""
    seen = np.flatnonzero(~np.isnan(context))
    if not len(seen):
        raise DataError(f"a context of {len(context)} steps has no observed value; leave its window out")
    filled = fill_forward(context[seen[0] :])
    return filled[-longest:]
