"""Picture of a backtest: the last windows over what happened, a panel a series, and under them the skill of each model.

The style is that of tsfm/plotting.py. The seasonal naive forecast is a line without a fan, so that the fans that matter
can be told apart.
"""

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfm import plotting
from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.backtest_scores import BASELINE
from tsfm.evaluation.backtest_text import percent
from tsfm.options import whole_number
from tsfm.panel import Floats
from tsfm.plotting import COLOURS, HISTORY, LEAST_HISTORY, PANEL_SIZE, QUIET, ForecastFigure
from tsfm.prediction import count, ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tsfm.evaluation.backtest_report import Backtest

# Okabe and Ito's colours (2008), the first for the seasonal naive forecast.
BASELINE_COLOUR = "#E69F00"
FAN, FAN_OF_MANY = 0.18, 0.1
FEW_MODELS = 3
ROOM = 0.6  # how far fans are shown beyond everything else, in heights of that
LEAST_STEPS = 48
FEWEST_WINDOWS = 4
LOWEST_SKILL = -0.5  # a bar below ends here, with its number beside it
BAR_HEIGHT = 0.3
ONE_COLUMN = 3
WIDTH, WIDE = 9.0, 12.0


def plot(
    backtest: "Backtest",
    ids: Hashable | Sequence[Hashable] | None,
    models: str | Sequence[str] | None,
    last: int | None,
    max_series: int,
    title: str | None,
) -> "Figure":
    """Draw a backtest; `Backtest.plot` documents the arguments."""
    series = chosen_series(backtest, ids, max_series)
    colours = {
        name: colour for name, colour in all_colours(backtest).items() if name in chosen_models(backtest, models)
    }
    usual = max(FEWEST_WINDOWS, math.ceil(LEAST_STEPS / backtest.horizon))
    newest = usual if last is None else whole_number(last, "last", 1, "last=4")
    skills = backtest.table["mase_skill"].dropna()
    bars = skills[[name for name in skills.index if name in colours]]
    figure, axes, bar_axis = lay_out(len(series), len(bars))
    for axis, position in zip(axes, series, strict=True):
        draw_series(backtest, position, axis, colours, newest)
    if bar_axis is not None:
        draw_skill(backtest, bars, bar_axis, colours)
    dress(figure, axes, backtest, title, len(series))
    return figure


def chosen_series(backtest: "Backtest", ids: Any, most: int) -> list[int]:
    """Positions of the series to draw."""
    if ids is None:
        return [int(position) for position in np.unique(backtest.cut.series)[:most]]
    names = [ids] if isinstance(ids, str | bytes | tuple) or not isinstance(ids, Sequence) else list(ids)
    return backtest.names.positions(names)


def chosen_models(backtest: "Backtest", models: str | Sequence[str] | None) -> list[str]:
    """Names of the models to draw; the ones that failed have nothing to draw."""
    there = list(all_colours(backtest))
    asked = there if models is None else [models] if isinstance(models, str) else list(models)
    for name in asked:
        if name not in backtest.results:
            raise UnknownName(f"no model {name!r} in this backtest; there are {', '.join(backtest.models)}")
        if name not in there:
            raise DataError(f"model {name!r} failed and has nothing to draw: {backtest.results[name].error}")
    return asked


def all_colours(backtest: "Backtest") -> dict[str, str]:
    """A colour for every model that did not fail."""
    others = [name for name, result in backtest.results.items() if name != BASELINE and not result.error]
    found = {name: COLOURS[position % len(COLOURS)] for position, name in enumerate(others)}
    return {BASELINE: BASELINE_COLOUR, **found}


def lay_out(series: int, bars: int) -> "tuple[Figure, list[Axes], Axes | None]":
    """A figure with one axes a series, up to three below each other, and one for the skill where there is any."""
    columns = 1 if series <= ONE_COLUMN else 2
    rows = math.ceil(series / columns)
    panel = 2.9 if series == 1 else PANEL_SIZE[1]
    low = 0.5 + BAR_HEIGHT * bars if bars else 0.0
    size = (WIDTH if columns == 1 else WIDE, panel * rows + low + 0.7)
    figure: Figure = ForecastFigure(figsize=size, layout="constrained", dpi=110)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    heights = [panel] * rows + ([low] if bars else [])
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = [figure.add_subplot(grid[place // columns, place % columns]) for place in range(series)]
    return figure, axes, figure.add_subplot(grid[rows, :]) if bars else None


def draw_series(backtest: "Backtest", position: int, axis: "Axes", colours: dict[str, str], newest: int) -> None:
    """One series: what happened, and over it the newest windows of every model."""
    rows = np.flatnonzero(backtest.cut.series == position)[-newest:]
    index, horizon = backtest.panel.past_index(position), backtest.horizon
    at, values = plotting.time_positions(index), backtest.panel.values[position]
    first, end = (int(backtest.cut.cutoff[row]) for row in (rows[0], rows[-1]))
    begin, end = max(0, first - max(2 * horizon, LEAST_HISTORY)), end + horizon
    shown = values[begin:end]
    alone = plotting.alone_points(shown)
    axis.plot(at[begin:end], shown, color=HISTORY, lw=1.2, label="actual", zorder=2.6)
    axis.plot(at[begin:end][alone], shown[alone], ".", color=HISTORY, ms=4, zorder=2.6)
    # The best is drawn last, on top of the others.
    order = sorted(colours, key=lambda name: -backtest.table["mase"][name])
    for row in rows:
        start = int(backtest.cut.cutoff[row])
        axis.axvline(at[start - 1], color=QUIET, lw=0.6, ls=(0, (1, 3)), zorder=1)
        for name in order:
            opacity = 0.0 if name == BASELINE else FAN if len(colours) <= FEW_MODELS else FAN_OF_MANY
            style = {"color": colours[name], "label": name if row == rows[0] else None}
            draw_window(backtest, name, int(row), axis, at[start : start + horizon], opacity, style)
    plotting.style(axis, index)
    medians = [backtest.quantile(name, 0.5)[rows].ravel() for name in colours]
    limit(axis, np.concatenate([shown[np.isfinite(shown)], *medians]))
    plotting.entitle(axis, backtest.names.label(position))


def limit(axis: "Axes", values: Floats) -> None:
    """Keep a fan that is far wider than all else from making all else flat."""
    low, high = float(values.min()), float(values.max())
    room = ROOM * (high - low)
    bottom, top = axis.get_ylim()
    if room > 0:
        axis.set_ylim(max(bottom, low - room), min(top, high + room))


def draw_window(
    backtest: "Backtest", name: str, row: int, axis: "Axes", at: Any, opacity: float, style: dict[str, Any]
) -> None:
    """Median and, unless that is invisible, 80 % interval of one window by one model."""
    low, high = (backtest.quantile(name, level)[row] for level in ends(0.8))
    median = backtest.quantile(name, 0.5)[row]
    dot = "o" if len(at) == 1 else None
    if not opacity:
        axis.plot(at, median, marker=dot, ms=3, lw=1.0, ls=(0, (4, 2)), zorder=2.7, **style)
        return
    if dot:
        axis.vlines(at, low, high, color=style["color"], alpha=2 * opacity, lw=6)
    else:
        axis.fill_between(at, low, high, color=style["color"], alpha=opacity, lw=0)
    axis.plot(at, median, marker=dot, ms=3, lw=1.7, zorder=3, **style)


def draw_skill(backtest: "Backtest", skills: "pd.Series[Any]", axis: "Axes", colours: dict[str, str]) -> None:
    """A bar a model from 0, which is the seasonal naive forecast, with the 95 % interval."""
    from matplotlib.ticker import PercentFormatter

    down = np.arange(len(skills))[::-1]
    axis.axvline(0, color=BASELINE_COLOUR, lw=1.4, ls=(0, (4, 2)), zorder=3)
    for name, place in zip(skills.index, down, strict=True):
        value = float(skills[name])
        low, high = backtest.evidence.interval[name]
        axis.barh(place, max(value, LOWEST_SKILL), height=0.62, color=colours[name], alpha=0.75, zorder=2)
        if high > LOWEST_SKILL:
            axis.plot([max(low, LOWEST_SKILL), high], [place, place], color=HISTORY, lw=1.4, zorder=4)
        edge = max(0.0, value, high if high == high else value)
        axis.annotate(
            percent(value) + (" (bar cut)" if value < LOWEST_SKILL else ""),
            (edge, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=HISTORY,
        )
    axis.set_yticks(down, [plotting.shortened(name) for name in skills.index])
    axis.set_xlim(
        min(-0.05, max(LOWEST_SKILL, float(skills.min()) - 0.1)), min(1.0, max(0.3, float(skills.max()) + 0.25))
    )
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(QUIET)
    axis.tick_params(colors=QUIET, labelcolor=HISTORY, labelsize=8.5, length=3)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(skills) - 0.4)
    title = "MASE skill: share of the seasonal naive forecast's error saved"
    title += ", with its 95 % interval" if backtest.evidence.enough else "; too few windows for an interval"
    axis.set_title(title, loc="left", fontsize=10, color=HISTORY)


def dress(figure: "Figure", axes: "Sequence[Axes]", backtest: "Backtest", title: str | None, shown: int) -> None:
    """Title and one legend for the whole figure."""
    given = len(np.unique(backtest.cut.series))
    if title is None:
        title = f"Backtest: {count(len(backtest.cut), 'window')} of {count(backtest.horizon, 'step')}, the newest shown"
        title += " with 80 % intervals"
        if shown < given:
            title += f", {shown} of {given:,} series"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=HISTORY, parse_math=False)
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    labels = [name for name in ("actual", *backtest.models) if name in handles]
    figure.legend(
        [handles[name] for name in labels],
        labels,
        loc="outside lower center",
        ncols=min(4, len(labels)),
        frameon=False,
        fontsize=8.5,
        labelcolor=HISTORY,
    )
