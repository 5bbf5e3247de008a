"""Scores of forecasters on blocks of windows, and the guard that decides which of them is kept.

What decides is the scaled quantile loss: the mean of twice the pinball loss over the deciles, in units of the seasonal
error of the history (fev calls it SQL), averaged over windows. It judges the whole forecast and lets every series speak
alike.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsfm.errors import TsfmError
from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_scores import scores, sums
from tsfm.evaluation.backtest_windows import Windows
from tsfm.finetuning.covariates import adjusted
from tsfm.forecaster import Forecaster, never_negative
from tsfm.panel import Floats, Panel

# N windows, H horizon, Q quantile levels.

LEVELS = metrics.LEVELS
FEW = 8  # windows: below that, a mean tells little
MARGIN = 0.01  # of the loss that must be saved where there are few windows
SURE = 2.0  # standard errors of the difference between two models, where there are more


@dataclass(frozen=True)
class Scored:
    """How a forecaster did on a block.

    loss       (N,) scaled quantile loss of every window, NaN where the history has no seasonal error
    quantiles  (N, H, Q) at the deciles
    seconds    that it took
    """

    loss: Floats
    mase: float
    crps: float
    coverage80: float
    quantiles: Floats
    seconds: float

    @property
    def mean(self) -> float:
        """The loss that decides: the mean over windows."""
        return float(np.nanmean(self.loss)) if not np.isnan(self.loss).all() else float("nan")


def forecast_windows(forecaster: Forecaster, panel: Panel, windows: Windows) -> Floats:
    """Quantiles (N, H, Q) at the deciles of every window."""
    seasons = np.array(panel.season)[windows.series].tolist()
    head = forecaster.head
    clip = "auto" if head is None else None
    found = np.stack(forecaster.predict_arrays(windows.contexts, windows.horizon, LEVELS, seasons, clip=clip))
    if head is not None:
        found = adjusted(head, panel, windows, found, LEVELS)
        floor = [0.0 if never_negative(context) else -np.inf for context in windows.contexts]
        found = np.maximum(found, np.array(floor)[:, None, None])
    if not np.isfinite(found).all():
        raise TsfmError(f"{forecaster.name} gave a forecast that is not finite; please report it with these data")
    return found


def score(forecaster: Forecaster, panel: Panel, windows: Windows) -> Scored:
    """Forecast a block and compare with what happened."""
    began = time.perf_counter()
    quantiles = forecast_windows(forecaster, panel, windows)
    return scored(windows, quantiles, time.perf_counter() - began)


def scored(windows: Windows, quantiles: Floats, seconds: float) -> Scored:
    """The scores of forecasts (N, H, Q) at the deciles."""
    summed = sums(windows, quantiles, LEVELS, axis=1)
    found = scores(summed.sum().to_frame().T).iloc[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = summed["quantile_loss"].to_numpy() / summed["observed"].to_numpy() / windows.scale
    loss = np.where(windows.scale > 0, loss, np.nan)
    if np.isnan(loss).all():  # no series has a seasonal error: every history is constant or shorter than a season
        size = np.nanmean(np.abs(windows.target)) or 1.0
        loss = summed["quantile_loss"].to_numpy() / summed["observed"].to_numpy() / size
    return Scored(loss, float(found.mase), float(found.crps), float(found.coverage80), quantiles, seconds)


def better(candidate: Scored, champion: Scored) -> tuple[float, float]:
    """What the candidate saves of the champion's loss, as a share, and how many standard errors that is."""
    told = ~np.isnan(champion.loss)
    difference = (champion.loss - candidate.loss)[told]
    saved = float(difference.mean() / champion.loss[told].mean()) if champion.loss[told].mean() > 0 else 0.0
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return saved, float(difference.mean() / error) if error > 0 else (np.inf if saved > 0 else 0.0)


def wins_always(candidate: Scored, champion: Scored) -> bool:
    """Whether the candidate has the lower loss in every window that has one."""
    told = ~np.isnan(champion.loss)
    return bool((candidate.loss < champion.loss)[told].all())


@dataclass(frozen=True)
class Verdict:
    """Which forecaster is kept, and a sentence for each other that says why it was not."""

    winner: str
    reasons: Mapping[str, str]


def guard(
    stopping: Mapping[str, Scored], selection: Mapping[str, Scored], first: str, challengers: Sequence[str]
) -> Verdict:
    """Let each challenger in turn replace the champion if it is better beyond doubt on windows that did not form it.

    first  who stands if nobody is better: the zero-shot model

    With enough windows, better means by two standard errors of the difference; with few, in every window of both blocks
    and by 1 %. So whoever is returned is never worse than `first` on the selection windows.
    """
    champion, reasons = first, {}
    for name in challengers:
        saved, errors = better(selection[name], selection[champion])
        told = int((~np.isnan(selection[champion].loss)).sum())
        always = all(wins_always(block[name], block[champion]) for block in (stopping, selection))
        enough = errors >= SURE if told >= FEW else saved >= MARGIN and always
        if saved > 0 and enough:
            reasons[champion] = f"{name} is {saved:.1%} better on the selection windows"
            champion = name
        elif saved > 0:
            doubt = f"{errors:.1f} standard errors" if told >= FEW else "few windows, and not better in each"
            reasons[name] = f"{saved:.1%} better than {champion} on the selection windows, which may be luck ({doubt})"
        elif saved < 0:
            reasons[name] = f"{-saved:.1%} worse than {champion} on the selection windows"
        else:
            reasons[name] = f"no different from {champion} on the selection windows"
    return Verdict(champion, reasons)
