"""Pictures of probes: a model between the seasonal naive forecast and the best possible one, and single series."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsfm.evaluation.contenders import Predict
from tsfm.evaluation.metrics import LEVELS
from tsfm.evaluation.probe import probe_windows
from tsfm.evaluation.tasks import Task
from tsfm.plotting import FORECAST, HISTORY, QUIET, ForecastFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# C context steps, H horizon, Q quantile levels.

OPTIMUM = "#009E73"
MIDDLE = LEVELS.index(0.5)
FARTHEST = 1.6  # times the seasonal naive forecast's loss; what lies beyond is drawn there, with its number


def plot_standing(rows: Sequence[Mapping[str, Any]], title: str = "") -> "Figure":
    """Draw one line a task: the model's CRPS and the optimum's, in units of the seasonal naive forecast's.

    rows    of one model on the suite `synthetic_probe`, as the runner makes them
    """
    figure = ForecastFigure(figsize=(9.0, 0.8 + 0.25 * len(rows)), layout="constrained", dpi=110)
    axis = figure.subplots()
    for place, row in enumerate(rows):
        loss, naive, best = (_number(row[name]) for name in ("crps", "naive_crps", "optimal_crps"))
        if not naive > 0:
            text = f"the seasonal naive forecast is exact; this one errs by {_number(row['mae']):.3f} on average"
            axis.text(0.02, place, text, va="center", fontsize=8, color=FORECAST)
            continue
        at = min(loss / naive, FARTHEST)
        axis.plot([best / naive, at], [place, place], color=FORECAST, alpha=0.35, linewidth=3, solid_capstyle="butt")
        axis.plot(best / naive, place, "|", color=OPTIMUM, markersize=12, markeredgewidth=2.5)
        axis.plot(at, place, "o", color=FORECAST, markersize=6)
        if loss / naive > FARTHEST:
            axis.annotate(f"{loss / naive:.2f} ", (at, place), ha="right", va="bottom", fontsize=8, color=FORECAST)
    axis.axvline(1.0, color=QUIET, linewidth=1)
    axis.set_yticks(range(len(rows)), [str(row["task"]) for row in rows], fontsize=8.5)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(-0.02, FARTHEST + 0.05)
    axis.set_xlabel(
        "CRPS over that of the seasonal naive forecast (grey line): green the best possible, blue the model"
    )
    axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.set_title(title, loc="left")
    return figure


def plot_probes(tasks: Sequence[Task], predict: Predict | None = None, series: int = 1, history: int = 144) -> "Figure":
    """Draw series of each task: the past, what came, the optimum's 80% interval, and a model's median and interval.

    predict   None draws no model
    series    how many of each task
    history   steps of the past, at most
    """
    columns = 1 if len(tasks) * series == 1 else 2
    lines = -(-len(tasks) * series // columns)
    figure = ForecastFigure(figsize=(6.5 * columns, 2.3 * lines), layout="constrained", dpi=100)
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for unused in axes[len(tasks) * series :]:
        unused.remove()
    for place, task in enumerate(tasks):
        shown = list(probe_windows(task))[:series]
        contexts = [context for _, context, _, _ in shown]
        made = predict(contexts, task.horizon, LEVELS, [task.season] * len(shown)) if predict else [None] * len(shown)
        for axis, window, forecast in zip(axes[place * series :], shown, made, strict=False):
            _draw(axis, window, forecast, history)
    axes[0].legend(loc="upper left", fontsize=7, frameon=False)
    return figure


def _draw(axis: "Axes", window: tuple[str, Any, Any, Any], forecast: Any, history: int) -> None:
    name, context, target, optimal = window
    past, ahead = np.arange(-min(history, len(context)), 0), np.arange(len(target))
    axis.plot(past, context[past], color=HISTORY, linewidth=0.9)
    axis.plot(ahead, target, ".", color=HISTORY, markersize=3)
    axis.fill_between(ahead, optimal[:, 0], optimal[:, -1], color=OPTIMUM, alpha=0.2, linewidth=0)
    axis.plot(ahead, optimal[:, MIDDLE], color=OPTIMUM, linewidth=1.4, label="best possible")
    if forecast is not None:
        axis.fill_between(ahead, forecast[:, 0], forecast[:, -1], color=FORECAST, alpha=0.18, linewidth=0)
        axis.plot(ahead, forecast[:, MIDDLE], color=FORECAST, linewidth=1.1, label="model")
    axis.set_title(name, loc="left", fontsize=9)
    axis.tick_params(labelsize=7)


def _number(cell: Any) -> float:
    return float(cell) if cell not in (None, "") else float("nan")
