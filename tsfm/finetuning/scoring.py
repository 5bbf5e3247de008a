"""Scores of forecasters on blocks of windows, and the guard that decides which of them is kept.

What decides is the scaled quantile loss: the mean of twice the pinball loss over the deciles, in units of the seasonal
error of the history (fev calls it SQL), averaged over windows. It judges the whole forecast and lets every series speak
alike.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tsfm.data.timeaxis import absolute_ticks
from tsfm.errors import TsfmError
from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_scores import scores, sums
from tsfm.evaluation.backtest_windows import Windows
from tsfm.finetuning.covariates import adjusted
from tsfm.forecaster import Forecaster, never_negative
from tsfm.panel import Floats, Panel
from tsfm.prediction import count

# N windows, H horizon, Q quantile levels.

LEVELS, POINT = metrics.LEVELS, (0.5,)
FEW = 8  # windows, or dates: below that, a mean tells little
MARGIN = 0.005  # of the loss that must be saved, to be worth a change
SURE, SURER = 2.0, 3.0  # standard errors of the difference between two models, over dates and over series alone


@dataclass(frozen=True)
class Scored:
    """How a forecaster did on a block.

    loss       (N,) scaled quantile loss of every window, NaN where the history has no seasonal error
    date       (N,) when each is forecast: windows of one date share what happened then
    quantiles  (N, H, Q) at the deciles
    seconds    that it took
    """

    loss: Floats
    date: NDArray[np.int64]
    mase: float
    crps: float
    coverage80: float
    quantiles: Floats
    seconds: float

    @property
    def mean(self) -> float:
        """The loss that decides: the mean over windows."""
        return float(np.nanmean(self.loss)) if not np.isnan(self.loss).all() else float("nan")


def forecast_windows(forecaster: Forecaster, panel: Panel, windows: Windows, intervals: bool = True) -> Floats:
    """Quantiles (N, H, Q) at the deciles of every window; without `intervals`, a model of points has its point there.

    That spares the backtest that its intervals come from, and the quantile loss is then its absolute error.
    """
    seasons = [panel.index[i].season for i in windows.series.tolist()]
    head = forecaster.head
    clip = "auto" if head is None else None
    alone = not intervals and getattr(forecaster.model, "point_only", False)
    levels = POINT if alone else LEVELS
    found = np.stack(forecaster.predict_arrays(windows.contexts, windows.horizon, levels, seasons, clip=clip))
    found = np.repeat(found, len(LEVELS), -1) if alone else found
    if head is not None:
        found = adjusted(head, panel, windows, found, LEVELS)
        floor = [0.0 if never_negative(context) else -np.inf for context in windows.contexts]
        found = np.maximum(found, np.array(floor)[:, None, None])
    if not np.isfinite(found).all():
        raise TsfmError(f"{forecaster.name} gave a forecast that is not finite; please report it with these data")
    return found


def score(forecaster: Forecaster, panel: Panel, windows: Windows, intervals: bool = True) -> Scored:
    """Forecast a block and compare with what happened; `intervals` as in `forecast_windows`."""
    began = time.perf_counter()
    quantiles = forecast_windows(forecaster, panel, windows, intervals)
    return scored(panel, windows, quantiles, time.perf_counter() - began)


def scored(panel: Panel, windows: Windows, quantiles: Floats, seconds: float) -> Scored:
    """The scores of forecasts (N, H, Q) at the deciles."""
    summed = sums(windows, quantiles, LEVELS, axis=1)
    found = scores(summed.sum().to_frame().T).iloc[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = summed["quantile_loss"].to_numpy() / summed["observed"].to_numpy() / windows.scale
    loss = np.where(windows.scale > 0, loss, np.nan)
    if np.isnan(loss).all():  # no series has a seasonal error: every history is constant or shorter than a season
        size = np.nanmean(np.abs(windows.target)) or 1.0
        loss = summed["quantile_loss"].to_numpy() / summed["observed"].to_numpy() / size
    return Scored(
        loss, dates(panel, windows), float(found.mase), float(found.crps), float(found.coverage80), quantiles, seconds
    )


def dates(panel: Panel, windows: Windows) -> NDArray[np.int64]:
    """When each window is forecast (N,): by the clock, or counted from the end of series that have none in common."""
    axes = [panel.index[i] for i in windows.series.tolist()]
    if len({axis.clock for axis in axes}) > 1 or axes[0].clock.kind == "none":
        return -windows.age
    return absolute_ticks(axes, windows.cutoff[:, None])[:, 0]


@dataclass(frozen=True)
class Gain:
    """What one forecaster saves of the loss of another on a block.

    saved    as a share of it
    errors   mean relative difference of a window, in standard errors: clustered by date where there are eight dates,
             else over windows. Relative, between -1 and 1, because a few wild windows would drown all others
    dates    on how many it was judged
    windows  how many it was judged on
    always   whether it is better in every window
    """

    saved: float
    errors: float
    dates: int
    windows: int
    always: bool

    @property
    def evidence(self) -> str:
        """The strength of it in words."""
        dates = count(self.dates, "date")
        over = f"over {dates}" if self.dates >= FEW else f"over the windows of {dates}"
        if self.windows < FEW:
            return "few windows"
        typical = "" if self.errors * self.saved >= 0 else "the typical window says the opposite, by "
        return f"{typical}{abs(self.errors):.1f} standard errors {over}"


def gain(candidate: Scored, champion: Scored) -> Gain:
    """Compare window by window. Windows of one date are one draw, because what happens then happens to many series."""
    told = ~np.isnan(champion.loss)
    before, after = champion.loss[told], candidate.loss[told]
    relative = np.divide(before - after, before + after, out=np.zeros_like(before), where=before + after > 0)
    owner = np.unique(champion.date[told], return_inverse=True)[1]
    mean, windows, dates = float(relative.mean()), len(relative), int(owner.max()) + 1
    if dates >= FEW:
        apart = np.bincount(owner, relative - mean)
        error = float(np.sqrt(dates / (dates - 1) * (apart**2).sum()) / windows)
    else:
        error = float(relative.std(ddof=1) / np.sqrt(windows)) if windows > 1 else 0.0
    errors = mean / error if error > 0 else float(np.sign(mean) * np.inf if mean else 0.0)
    saved = 1 - float(after.mean() / before.mean()) if before.mean() > 0 else 0.0
    return Gain(saved, errors, dates, windows, bool((before > after).all()))


@dataclass(frozen=True)
class Verdict:
    """Which forecaster is kept, and a sentence for each other that says why it was not."""

    winner: str
    reasons: Mapping[str, str]


def together(one: Scored, other: Scored) -> Scored:
    """Two blocks as one, as far as `gain` reads them."""
    return replace(one, loss=np.r_[one.loss, other.loss], date=np.r_[one.date, other.date])


def guard(
    stopping: Mapping[str, Scored],
    selection: Mapping[str, Scored],
    first: str,
    challengers: Sequence[str],
    heads: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Let each challenger in turn replace the champion if it is clearly better on windows that did not form it.

    first  who stands if nobody is better: the zero-shot model
    heads  covariate heads and whom they correct: no window of either block formed a head, so both speak of what it
           adds to him

    Clearly better saves half a per cent of the loss on the selection windows, and as much on the stopping ones. With
    eight dates that has to be two standard errors; with fewer dates three, because errors over series do not know what
    happened to all of them at once; with fewer windows than eight, every window of both blocks. So whoever is returned
    is never worse than `first` on the selection windows.
    """
    champion, reasons = first, {}
    for name in challengers:
        now, before = gain(selection[name], selection[champion]), gain(stopping[name], stopping[champion])
        if name in heads and heads[name] in (first, champion, heads.get(champion)) and now.saved > 0:
            both = [together(stopping[who], selection[who]) for who in (name, champion)]
            now = replace(gain(*both), saved=now.saved)
        enough = SURE if now.dates >= FEW else SURER
        sure = now.errors >= enough if now.windows >= FEW else now.always and before.always
        if min(now.saved, before.saved) >= MARGIN and sure:
            reasons[champion] = f"{name} is {now.saved:.1%} better on the selection windows"
            champion = name
        elif now.saved > 0:
            doubt = now.evidence if before.saved >= MARGIN else "not so on the stopping windows"
            reasons[name] = (
                f"{now.saved:.1%} better than {champion} on the selection windows, and not clearly ({doubt})"
            )
        elif now.saved < 0:
            reasons[name] = f"{-now.saved:.1%} worse than {champion} on the selection windows"
        else:
            reasons[name] = f"no different from {champion} on the selection windows"
    return Verdict(champion, reasons)
