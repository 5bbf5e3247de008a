"""Choice of a covariate head: none, ridge or boosting, by what each does on windows that none was fitted to.

The quick way, for the estimator; `tsfm.finetune` asks for more evidence, and against heads that read nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tsfm.covariate_head import KINDS, CovariateHead
from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_windows import Windows
from tsfm.finetuning.covariates import LEVELS, adjusted, base_quantiles, bounded, fit_head
from tsfm.finetuning.scoring import MARGIN
from tsfm.forecaster import Forecaster
from tsfm.panel import Floats, Panel

# N windows, H horizon.


@dataclass(frozen=True)
class Choice:
    """What a choice among heads found.

    head      the best, None where the covariates brought nothing
    table     a row a candidate: sql, mase, what it saves of the SQL, seconds of the fit
    sentence  what the covariates brought
    """

    head: CovariateHead | None
    table: pd.DataFrame
    sentence: str


def choose_head(
    forecaster: Forecaster,
    panel: Panel,
    windows: Windows,
    judged: Windows,
    *,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
) -> Choice:
    """Fit every kind of head to `windows` and return what does best on `judged`: a head, or none."""
    horizon = judged.horizon
    base = base_quantiles(forecaster, panel, windows, horizon) if len(windows) <= bounded(horizon) else None
    plain = base_quantiles(forecaster, panel, judged, horizon)
    heads: dict[str, CovariateHead | None] = {"none": None}
    rows = [(*scored(judged, plain), 0.0)]
    for kind in kinds:
        began = time.perf_counter()
        head = fit_head(
            forecaster,
            panel,
            windows,
            horizon,
            kind,
            past=past,
            future=future,
            static=static,
            quantiles=base,
            seed=seed,
        )
        heads[kind] = head
        seconds = time.perf_counter() - began
        rows.append((*scored(judged, adjusted(head, panel, judged, plain, LEVELS)), seconds))
    table = pd.DataFrame(rows, index=pd.Index(list(heads), name="head"), columns=["sql", "mase", "seconds"])
    losses = dict(zip(heads, (float(sql) for sql, _, _ in rows), strict=True))
    table.insert(2, "saved", [1.0 - loss / losses["none"] for loss in losses.values()])
    best = min(losses, key=lambda kind: losses[kind])
    if losses[best] > (1 - MARGIN) * losses["none"]:
        best = "none"
    return Choice(heads[best], table, told(losses, best, [*past, *future, *static], len(judged)))


def scored(windows: Windows, quantiles: Floats) -> tuple[float, float]:
    """Scaled quantile loss and MASE of deciles (N, H, 9)."""
    sql = metrics.scaled_quantile_loss(windows.target, quantiles, windows.scale, LEVELS)
    return sql, metrics.mase(windows.target, quantiles[..., LEVELS.index(0.5)], windows.scale)


def told(losses: Mapping[str, float], best: str, names: Sequence[str], windows: int) -> str:
    """What the covariates brought, in one sentence."""
    shown = ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    before, after = losses["none"], losses[best]
    if best == "none":
        tried = "; ".join(f"{kind} {loss:.4g}" for kind, loss in losses.items() if kind != "none")
        return (
            f"The covariates {shown} brought nothing on {windows} windows that no head was fitted to (scaled quantile "
            f"loss {before:.4g} without them; {tried}), so the forecast does without."
        )
    return (
        f"The covariates {shown} save {1 - after / before:.1%} of the scaled quantile loss ({before:.4g} without, "
        f"{after:.4g} with a {best} head) on {windows} windows that it was not fitted to."
    )
