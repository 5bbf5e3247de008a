"""Picture of a fine-tuning run: the stopping loss of every course, and a few report windows as the winner sees them."""

import math
from typing import TYPE_CHECKING

import pandas as pd

from tsfm.finetuning.scoring import LEVELS
from tsfm.finetuning.settings import ZERO_SHOT
from tsfm.plotting import COLOURS, HISTORY, QUIET, ForecastFigure, entitle, style, time_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tsfm.finetuning.result import FineTuned, Picture

WIDTH, HEIGHT = 9.0, 2.6
LOW, MEDIAN, HIGH = LEVELS.index(0.1), LEVELS.index(0.5), LEVELS.index(0.9)


def plot(result: "FineTuned") -> "Figure":
    """Draw the courses on top, where there are any, and the pictured windows under them, two in a row."""
    courses = result.report["courses"]
    rows = math.ceil(len(result.pictures) / 2) + bool(courses)
    figure = ForecastFigure(figsize=(WIDTH, HEIGHT * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    if courses:
        draw_courses(result, figure.add_subplot(grid[0, :]))
    axis = None
    for place, picture in enumerate(result.pictures):
        row, column = divmod(place, 2)
        axis = figure.add_subplot(grid[row + bool(courses), column])
        draw_window(picture, result.winner, axis)
    if axis is not None:
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5, labelcolor=HISTORY
        )
    return figure


def draw_courses(result: "FineTuned", axis: "Axes") -> None:
    """Stopping loss by step; the zero-shot loss is where every course begins."""
    courses = result.report["courses"]
    beside = axis.twinx()
    for colour, (name, course) in zip(COLOURS * 2, courses.items(), strict=False):
        looks = course["looks"]
        steps, losses = [look["step"] for look in looks], [look["stopping"] for look in looks]
        axis.plot(steps, losses, color=colour, marker=".", ms=4, lw=1.2, label=name)
        axis.plot(course["best_step"], course["best"], "o", color=colour, ms=8, fillstyle="none")
        training = [(look["step"], look["training"]) for look in looks if look["training"] is not None]
        if training:
            beside.plot(*zip(*training, strict=True), color=colour, lw=0.8, ls="--", alpha=0.6)
    first = next(iter(courses.values()))["looks"][0]["stopping"]
    axis.axhline(first, color=QUIET, lw=1, ls=":", label=ZERO_SHOT)
    style(axis, pd.RangeIndex(1))
    beside.spines[["top", "left", "right"]].set_visible(False)
    beside.tick_params(colors=QUIET, labelcolor=QUIET, labelsize=8.5, length=0)
    entitle(axis, "Stopping loss (dashed: training)")
    axis.set_xlabel("step; circles: what each method gives", fontsize=8.5, color=HISTORY)
    axis.legend(fontsize=8.5, frameon=False, ncols=4, labelcolor=HISTORY)


def draw_window(picture: "Picture", winner: str, axis: "Axes") -> None:
    """History, what happened, and the medians of the zero-shot model and of the winner with its 80 % interval."""
    horizon = len(next(iter(picture.quantiles.values())))
    times = time_positions(picture.times)
    axis.plot(times, picture.values, color=HISTORY, lw=1.1, label="what happened")
    ahead = times[-horizon:]
    for name, quantiles in picture.quantiles.items():
        kept = name == winner
        colour = COLOURS[0] if kept else COLOURS[1]
        axis.plot(ahead, quantiles[:, MEDIAN], color=colour, lw=1.7 if kept else 1.1, label=name)
        if kept:
            band = "its 80% interval"
            axis.fill_between(ahead, quantiles[:, LOW], quantiles[:, HIGH], color=colour, alpha=0.18, lw=0, label=band)
    axis.axvline(ahead[0], color=QUIET, lw=0.8, ls=":")
    style(axis, picture.times)
    entitle(axis, picture.title)
