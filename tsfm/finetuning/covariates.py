"""Fit a covariate head: learn what covariates say of the residuals of a base forecaster, and what that is worth.

The base forecasts training windows; a rule is fitted to the residuals of its medians, in units of each series. Which
settings are taken, how much of the predicted residual is believed and how much narrower the forecast becomes is judged
forward in time: windows are parted into four blocks by their distance from the end of their series, and each block but
the oldest is predicted from windows whose steps all lie before it. The last rule is fitted to all windows.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.covariate_features import CovariateColumn, at_cutoffs, features, is_missing, own_scales
from tsfm.covariate_head import KINDS, CovariateHead
from tsfm.data.arrays import to_floats
from tsfm.errors import DataError
from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_windows import LEAST_CONTEXT, Windows
from tsfm.finetuning.covariate_rules import Rows, candidates, fit_rule
from tsfm.forecaster import Forecaster
from tsfm.options import check_choice
from tsfm.panel import Floats, Panel

# N windows, H horizon, Q quantile levels, F features.

LEVELS = metrics.LEVELS
MOST_WINDOWS, MOST_STEPS = 4000, 400_000
FEWEST_WINDOWS, BLOCKS = 12, 4
MOST_WORDS = 50
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SPREADS = tuple(round(0.4 + 0.05 * step, 2) for step in range(13))


def training_windows(
    panel: Panel, horizon: int, ends: NDArray[np.int64], seed: int = 0, most: int = MOST_WINDOWS
) -> Windows:
    """Windows drawn from all cutoffs whose steps lie before `ends` (n,), at most `most`: as many of every series."""
    generator = np.random.default_rng(seed)
    most = min(most, bounded(horizon))
    ranges = []
    for values, end in zip(panel.values, ends.tolist(), strict=True):
        seen = np.flatnonzero(~np.isnan(values[:end]))
        first = int(seen[0]) if len(seen) else end
        ranges.append(np.arange(first + max(horizon, LEAST_CONTEXT), end - horizon + 1))
    share = -(-most // max(1, sum(len(one) > 0 for one in ranges)))
    pairs = []
    for i, one in enumerate(ranges):
        drawn = one if len(one) <= share else np.sort(generator.choice(one, share, replace=False))
        pairs += [(i, int(cutoff)) for cutoff in drawn if heard(panel.values[i], int(cutoff), horizon)]
    if len(pairs) > most:
        pairs = [pairs[row] for row in np.sort(generator.choice(len(pairs), most, replace=False))]
    numbers = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Windows(
        numbers[:, 0],
        numbers[:, 1],
        np.zeros(len(pairs), dtype=np.int64),
        np.array([panel.values[i][cutoff : cutoff + horizon] for i, cutoff in pairs]).reshape(-1, horizon),
        np.array([metrics.seasonal_error(panel.values[i][:cutoff], panel.index[i].season) for i, cutoff in pairs]),
        [panel.values[i][int(np.isnan(panel.values[i]).argmin()) : cutoff] for i, cutoff in pairs],
        len(pairs),
        1,
    )


def heard(values: Floats, cutoff: int, horizon: int) -> bool:
    """Whether something was observed right before a cutoff and after it."""
    near = slice(max(0, cutoff - max(4 * horizon, 64)), cutoff)
    return not (np.isnan(values[near]).all() or np.isnan(values[cutoff : cutoff + horizon]).all())


def bounded(horizon: int) -> int:
    """The most windows of a fit."""
    return max(FEWEST_WINDOWS, min(MOST_WINDOWS, MOST_STEPS // horizon))


def columns_of(
    panel: Panel, past: Sequence[str], future: Sequence[str], static: Sequence[str]
) -> tuple[CovariateColumn, ...]:
    """The named covariates of a panel: which are words, and which words (the 50 most common)."""
    found = []
    for role, names in (("past", past), ("future", future), ("static", static)):
        for name in names:
            there = (panel.static if role == "static" else panel.past_covariates) or {}
            if name not in there:
                shown = ", ".join(map(repr, there)) or "none"
                raise DataError(f"{role}= names {name!r}, which the panel does not hold; it holds {shown}")
            found.append(CovariateColumn(name, role, words_of(panel, name, role)))
    return tuple(found)


def words_of(panel: Panel, name: str, role: str) -> tuple[str, ...] | None:
    """The most common words of a covariate, None where it holds numbers."""
    if role == "static":
        values = [value for value in (panel.static or {})[name] if not is_missing(value)]
        if not len(to_floats(values).bad):
            return None
        counted = pd.Series([str(value) for value in values]).value_counts()
        return tuple(sorted(counted.index[:MOST_WORDS]))
    if name not in panel.categories:
        return None
    words = panel.categories[name]
    columns = (panel.past_covariates or {})[name]
    counts = sum(
        np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=len(words)) for column in columns
    ) + np.zeros(len(words))
    common = np.argsort(-counts, kind="stable")[:MOST_WORDS]
    return tuple(words[code] for code in sorted(common) if counts[code] > 0)


def base_quantiles(forecaster: Forecaster, panel: Panel, windows: Windows, horizon: int) -> Floats:
    """Deciles (N, H, 9) that the base gives the windows, not clipped."""
    season = [panel.index[i].season for i in windows.series.tolist()]
    return np.stack(forecaster.predict_arrays(windows.contexts, horizon, LEVELS, season, clip=None))


def rows_of(
    panel: Panel, windows: Windows, quantiles: Floats, columns: tuple[CovariateColumn, ...], horizon: int
) -> Rows:
    """Features and residuals of windows; a residual is NaN where the target is, or its series has no unit."""
    known = at_cutoffs(panel, columns, windows.series, windows.cutoff, horizon)
    scale = own_scales(known)
    medians = quantiles[..., LEVELS.index(0.5)]
    unit = np.where(scale > 0, scale, np.nan)[:, None]
    lengths = np.array([len(values) for values in panel.values])
    return Rows(
        features(columns, known, medians, scale, horizon),
        (windows.target - medians) / unit,
        (quantiles - medians[..., None]) / unit[..., None],
        known.ids,
        windows.cutoff - lengths[windows.series],
    )


def fit_head(
    forecaster: Forecaster,
    panel: Panel,
    windows: Windows,
    horizon: int,
    kind: str = "ridge",
    *,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    quantiles: Floats | None = None,
    seed: int = 0,
) -> CovariateHead:
    """Return the head that fits training windows best, judged forward in time.

    Without covariates it corrects what the base gets wrong anyhow: how much of the gain of others is theirs.
    windows    as `training_windows` draws them: nothing else of the panel is learned from
    quantiles  (N, H, 9) what the base says of them at the deciles, where that is known already
    """
    check_choice(kind, "kind", KINDS)
    columns = columns_of(panel, past, future, static)
    if windows.horizon != horizon or len(windows) < FEWEST_WINDOWS:
        raise DataError(
            f"a covariate head of {horizon} steps needs {FEWEST_WINDOWS} training windows of as many, and there are "
            f"{len(windows)} of {windows.horizon}; give more history, or a shorter horizon"
        )
    if len(windows) > bounded(horizon):
        generator = np.random.default_rng(seed)
        drawn = np.sort(generator.choice(len(windows), bounded(horizon), replace=False))
        windows = windows.take(drawn)
        quantiles = None if quantiles is None else quantiles[drawn]
    base = base_quantiles(forecaster, panel, windows, horizon) if quantiles is None else quantiles
    rows = rows_of(panel, windows, base, columns, horizon)
    if np.isnan(rows.residual).all():
        raise DataError("every training window is of a series that never changes; there is no residual to learn from")
    judged = [
        (setting, unseen_predictions(rows, columns, kind, setting, horizon, seed)) for setting in candidates(kind, rows)
    ]
    errors = [float(np.nanmean(np.abs(rows.residual - found))) for _, found in judged]
    setting, found = judged[int(np.argmin(errors))]
    strength = best_strength(rows.residual, found)
    rule = fit_rule(rows, columns, kind, setting, seed)
    reach = float(np.nanquantile(np.abs(rows.residual), 0.999))
    spread = best_spread(rows, strength * np.clip(found, -reach, reach))
    return CovariateHead(kind, columns, horizon, rule, reach, strength, spread)


def unseen_predictions(
    rows: Rows, columns: tuple[CovariateColumn, ...], kind: str, setting: dict[str, float], horizon: int, seed: int
) -> Floats:
    """Residuals (N, H) that a rule predicts of windows later than all it was fitted to; NaN for the oldest block."""
    found = np.full(rows.residual.shape, np.nan)
    edges = np.quantile(rows.cutoff, np.arange(1, BLOCKS + 1) / BLOCKS)
    for low, high in pairwise(edges.tolist()):
        train, test = rows.cutoff + horizon <= low, (rows.cutoff > low) & (rows.cutoff <= high)
        if test.any() and not np.isnan(rows.residual[train]).all():
            part = rows.take(np.flatnonzero(test))
            rule = fit_rule(rows.take(np.flatnonzero(train)), columns, kind, setting, seed)
            found[test] = rule.predict(part.features, part.ids)
    if np.isnan(found).all():  # all windows overlap: nothing can be judged, so nothing is believed
        return np.zeros_like(found)
    return found


def best_strength(residual: Floats, found: Floats) -> float:
    """The share of predicted residuals that leaves the least absolute error on windows not fitted to."""
    errors = [float(np.nanmean(np.abs(residual - strength * found))) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmin(errors))]


def best_spread(rows: Rows, shift: Floats) -> float:
    """The factor on the width that leaves the least quantile loss on windows not fitted to; 1 if none is better."""
    judged = ~np.isnan(shift) & ~np.isnan(rows.residual)
    target, offset, around = rows.residual[judged], shift[judged], rows.around[judged]
    losses = [
        float(metrics.quantile_loss(target, offset[:, None] + factor * around, LEVELS).mean()) for factor in SPREADS
    ]
    return SPREADS[int(np.argmin(losses))] if min(losses) < losses[-1] else 1.0


def adjusted(head: CovariateHead, panel: Panel, windows: Windows, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles (N, H, Q) of windows of a panel after the head, as it would have known the covariates then."""
    known = at_cutoffs(panel, head.columns, windows.series, windows.cutoff, windows.horizon)
    return head.adjust(quantiles, levels, known)
