"""A covariate head over a forecaster as it is, chosen on the last windows of the history and fitted to all of it.

The short way for who forecasts with `ForecastRegressor`: a few hundred windows, seconds, no report.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tsfm.covariate_head import CovariateHead
from tsfm.evaluation.backtest_windows import Windows, cut
from tsfm.finetuning.covariate_choice import choose_head
from tsfm.finetuning.covariates import FEWEST_WINDOWS, fit_head, training_windows
from tsfm.finetuning.split import observed_span
from tsfm.forecaster import Forecaster
from tsfm.panel import Panel
from tsfm.prediction import count

MOST_WINDOWS = 300  # that a head is fitted to
ENOUGH_FOR_TREES = 60
JUDGED, HELD_OUT = 5, 0.4  # windows of each series that choose, and the share of it that they may take


def quick_head(
    forecaster: Forecaster,
    panel: Panel,
    horizon: int,
    names: Sequence[str],
    kinds: Sequence[str],
    context: int | None,
    reach: int | None,
    seed: int,
) -> tuple[CovariateHead | None, str, bool]:
    """The head that reads these columns known ahead, what they bring in words, and whether that could be judged.

    kinds    "ridge", "boosting": the better is taken; trees are not tried on few windows beside a line
    context  the most steps that the forecaster is to read, None for all
    reach    the most that it reads in any case
    """
    begin, end = observed_span(panel)
    number = max(1, min(JUDGED, int(HELD_OUT * int((end - begin).min())) // horizon))
    judged = cut(panel, horizon, number, horizon, context, reach)
    windows = few_windows(panel, horizon, end - number * horizon, context, seed)
    if len(windows) < FEWEST_WINDOWS or not len(judged):
        needed = count((3 + number) * horizon + FEWEST_WINDOWS, "step")
        told = (
            f"the columns of X are not used: {count(int((end - begin).max()), 'step')} are too few to learn from them "
            f"at a horizon of {horizon}; give about {needed}, or a smaller horizon="
        )
        return None, told, False
    if "ridge" in kinds and len(windows) < ENOUGH_FOR_TREES:
        kinds = ("ridge",)
    choice = choose_head(forecaster, panel, windows, judged, future=names, kinds=kinds, seed=seed)
    if choice.head is None:
        return None, choice.sentence, True
    whole = few_windows(panel, horizon, end, context, seed)
    return fit_head(forecaster, panel, whole, horizon, choice.head.kind, future=names, seed=seed), choice.sentence, True


def few_windows(panel: Panel, horizon: int, ends: NDArray[np.int64], context: int | None, seed: int) -> Windows:
    """A few hundred training windows, as many of every series, in the length of context that will be read."""
    windows = training_windows(panel, horizon, ends, seed)
    if len(windows) > MOST_WINDOWS:
        windows = windows.take(np.linspace(0, len(windows) - 1, MOST_WINDOWS).astype(np.int64))
    return windows if context is None else replace(windows, contexts=[one[-context:] for one in windows.contexts])
