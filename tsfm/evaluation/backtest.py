"""Backtest: forecast the past of a person's own data, so that they can decide whether to trust a model on it.

Rolling cutoffs at the end of every series (backtest_windows.py); every model forecasts the same windows from the same
history, the seasonal naive forecast always among them; what comes out is a `Backtest` (backtest_report.py).
"""

import time as clock
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.backtest_report import Backtest, Notes, Result, nameless, user_columns
from tsfm.evaluation.backtest_scores import BASELINE
from tsfm.evaluation.backtest_text import UNSCALED
from tsfm.evaluation.backtest_windows import Windows, cut, usual_count
from tsfm.evaluation.contenders import Contender, contender
from tsfm.evaluation.metrics import LEVELS
from tsfm.forecaster import Forecaster
from tsfm.inference import longest_context
from tsfm.leaks import tuned_on
from tsfm.loading import DEFAULT_MODEL
from tsfm.options import (
    DECILES,
    check_choice,
    check_horizon,
    check_levels,
    check_optional,
    check_size,
    whole_number,
)
from tsfm.panel import Floats, Panel, told_once
from tsfm.prediction import count
from tsfm.progress import Progress

# N windows, H horizon, Q quantile levels.

SHOWN = 10
CHUNK = 1024  # windows that one of our models forecasts at a time; it cuts them into batches itself
SLOW_CHUNK = 32  # windows of any other, so that the bar moves


def backtest(
    data: Any,
    horizon: int | None = None,
    *,
    models: Any = (DEFAULT_MODEL,),
    windows: int | None = None,
    stride: int | None = None,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    freq: str | None = None,
    quantile_levels: Iterable[float] = DECILES,
    context: int | None = None,
    errors: str = "raise",
    batch_size: int | None = None,
    device: str = "auto",
    progress: bool | None = None,
    seed: int = 0,
) -> Backtest:
    """Forecast the end of every series from what came before it, and compare with what happened.

    data             whatever `tsfm.forecast` takes; id, time, target, freq and errors mean the same as there
    horizon          steps of a window; None chooses by frequency
    models           names (`tsfm.list_models()`), folders, what `tsfm.load` returned, "auto-ets", "auto-theta" and
                     "auto-arima" (extra `bench`), or functions of (contexts, horizon, levels, seasons) that return a
                     (horizon, levels) array a context. "seasonal-naive" is always there, first
    windows          a series; None: as many as fit into the newer half of the median series, within reason
    stride           steps between cutoffs; None: `horizon`, so that windows lie back to back
    quantile_levels  inside (0, 1), columns of `.forecasts`; the scores always use the deciles
    context          the most steps of history to read; None: as many as each model can
    batch_size       series at a time; None goes by memory. Never changes a score
    device           of models given by name
    progress         True or False force a bar; None shows one on long work where somebody watches
    seed             of the bootstrap behind the intervals

    A window counts where at least as many steps precede it as it forecasts; a series too short for all windows gives
    as many as it can, and the result says so. A model that fails has its reason in the table, and the others stay.
    The result's frames are pandas, whatever kind of table came in.
    """
    horizon = None if horizon is None else check_horizon(horizon)
    levels = check_levels(quantile_levels)
    asked = check_optional(windows, "windows", "windows=5")
    stride = check_optional(stride, "stride", "stride=24")
    context = check_optional(context, "context", "context=512")
    check_optional(batch_size, "batch_size", "batch_size=64")
    check_choice(errors, "errors", ("raise", "skip"))
    check_choice(progress, "progress", (True, False, None))
    whole_number(seed, "seed", 0, "seed=0")
    entrants = resolve(models, batch_size, device)
    panel = to_panel(data, id=id, time=time, target=target, freq=freq, errors=errors)
    user_columns(nameless(panel), levels)
    steps = panel.default_horizon() if horizon is None else horizon
    number = usual_count(panel, steps) if asked is None else asked
    cuts = cut(panel, steps, number, stride or steps, context, reach(entrants))
    if not len(cuts):
        raise DataError(none_left(panel, cuts))
    every = tuple(sorted({*LEVELS, *levels}))
    check_size(len(cuts) * len(entrants), steps, len(every))
    with Progress(len(cuts) * len(entrants), progress, "backtest") as bar:
        results = {name: run(entrant, panel, cuts, every, bar.advance) for name, entrant in entrants.items()}
    if results[BASELINE].error:
        raise TsfmError(f"there is nothing to compare with, because {BASELINE} failed: {results[BASELINE].error}")
    options = {"horizon": (horizon, steps), "windows": (asked, number)}
    chosen = {name: used for name, (given, used) in options.items() if given is None}
    told = [f"{name}: {told}" for name, one in entrants.items() if (told := taught(one))]
    notes = Notes(chosen, [*told, *warnings(panel, cuts)], {**panel.skipped, **cuts.without})
    return Backtest(panel, cuts, every, levels, results, notes, seed)


def taught(entrant: Contender) -> str:
    """What to know of a model that was fine-tuned, perhaps on these data."""
    told = tuned_on(entrant.forecaster) if entrant.forecaster is not None else ""
    return f"{told}; if these are the same series, windows before that time are no test of it" if told else ""


def resolve(models: Any, batch_size: int | None, device: str) -> dict[str, Contender]:
    """Whoever forecasts, by name, the seasonal naive forecast first; two of one name are told apart by a number."""
    found = {BASELINE: contender(BASELINE, batch_size, device)}
    for model in models if isinstance(models, list | tuple) else [models]:
        one = contender(model, batch_size, "auto" if isinstance(model, Forecaster) else device)
        if any(one.forecaster is not None and one.forecaster is other.forecaster for other in found.values()):
            continue
        alike = sum(other.name == one.name for other in found.values())
        found[f"{one.name} ({alike + 1})" if alike else one.name] = one
    return found


def reach(entrants: dict[str, Contender]) -> int | None:
    """Steps before a cutoff that all of the models read, None where none has a limit."""
    limits = [longest_context(one.forecaster.model, None) for one in entrants.values() if one.forecaster is not None]
    return min((limit for limit in limits if limit is not None), default=None)


def run(
    entrant: Contender, panel: Panel, cuts: Windows, levels: Sequence[float], advance: Callable[[int], None]
) -> Result:
    """What one model makes of all windows, or why it failed; `advance` hears of windows that are done."""
    size = SLOW_CHUNK if entrant.forecaster is None else CHUNK
    seasons = np.array(panel.season)[cuts.series]
    parts: list[Floats] = []
    began = clock.perf_counter()
    for first in range(0, len(cuts), size):
        contexts = cuts.contexts[first : first + size]
        if entrant.forecaster is None:
            # A function of the user's may write into what it is given, which are the data.
            contexts = [context.copy() for context in contexts]
        try:
            made = entrant.predict(contexts, cuts.horizon, levels, seasons[first : first + size].tolist())
            parts.append(checked(made, (len(contexts), cuts.horizon, len(levels))))
        except Exception as error:
            advance(len(cuts) - first)
            said = str(error) if isinstance(error, TsfmError) else f"{type(error).__name__}: {error}"
            return Result(None, clock.perf_counter() - began, said)
        advance(len(contexts))
    return Result(np.concatenate(parts), clock.perf_counter() - began)


def checked(made: Any, shape: tuple[int, int, int]) -> Floats:
    """A model's forecasts as an array, or a `DataError` where they are no finite numbers of this shape."""
    found = np.asarray(made, dtype=np.float64)
    if found.shape != shape:
        raise DataError(f"the forecasts have shape {found.shape}; (windows, steps, levels) is {shape}")
    if not np.isfinite(found).all():
        raise DataError(f"{int((~np.isfinite(found)).sum())} of the {found.size} forecasts are not finite")
    return found


def none_left(panel: Panel, cuts: Windows) -> str:
    """Why there is nothing to forecast, and what to do."""
    name, reason = next(iter(cuts.without.items()))
    others = f", and none of the {len(panel) - 1:,} others gives one" if len(panel) > 1 else ""
    return f"series {name!r} gives no window{others}: {reason}; give a longer history or a shorter horizon="


def warnings(panel: Panel, cuts: Windows) -> list[str]:
    """What to know before trusting the numbers."""
    found = told_once(panel.repairs)
    if len(found) > SHOWN:
        found[SHOWN:] = [f"{len(found) - SHOWN} more kinds of repairs of the data; tsfm.check(data) lists them"]
    flat = sum(season == 1 for season in panel.season)
    if flat:
        whose = "the data have" if flat == len(panel) else f"{flat:,} of {len(panel):,} series have"
        found.append(f"{whose} no known season, so {BASELINE} is the naive forecast there; freq= can give one")
    given = np.bincount(cuts.series, minlength=len(panel))
    fewer = int(((given > 0) & (given < cuts.asked)).sum())
    if fewer:
        found.append(f"{count(fewer, 'series')} gave fewer than {count(cuts.asked, 'window')}; .by_series counts them")
    if cuts.silent:
        found.append(f"{count(cuts.silent, 'window')} left out: nothing was observed in them or right before them")
    found += unscaled(cuts)
    if cuts.stride < cuts.horizon:
        found.append(f"windows overlap: stride={cuts.stride} is less than the horizon, {cuts.horizon}")
    return found


def unscaled(cuts: Windows) -> list[str]:
    """How many series have no MASE, and how many windows of others, and why."""
    mute = ~(cuts.scale > 0)
    if not mute.any():
        return []
    whole = np.setdiff1d(cuts.series, cuts.series[~mute])
    windows = int((mute & ~np.isin(cuts.series, whole)).sum())
    others = f"{count(windows, 'window')}{' of others' if len(whole) else ''}"
    who = " and ".join([count(len(whole), "series")] * bool(len(whole)) + [others] * bool(windows))
    return [f"no MASE for {who}, which take no part in its skill and in wins: {UNSCALED}"]
