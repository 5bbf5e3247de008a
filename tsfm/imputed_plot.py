"""The picture of filled gaps: what was observed, the medians between, and the two fans that hold 80 % and 50 %."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tsfm.imputed import nameless
from tsfm.plotting import (
    FANS,
    FORECAST,
    HISTORY,
    PANEL_SIZE,
    SINGLE_SIZE,
    ForecastFigure,
    alone_points,
    entitle,
    style,
    time_positions,
)
from tsfm.prediction import ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tsfm.imputed import Imputed

AROUND, LEAST = 8, 60  # steps drawn: times the longest gap, and at least


def plot(imputed: "Imputed", history: int | None, max_series: int) -> "Figure":
    """Draw the series with most steps filled; `Imputed.plot` documents the arguments."""
    counts = [imputed.counts[name] for name in imputed.ids]
    filled = [place for place in range(len(imputed)) if counts[place]] or [0]
    chosen = sorted(filled, key=lambda place: -counts[place])[:max_series]
    columns = 1 if len(chosen) == 1 else 2 if len(chosen) in (2, 4) else 3
    lines = math.ceil(len(chosen) / columns)
    size = SINGLE_SIZE if len(chosen) == 1 else (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * lines + 0.6)
    figure = ForecastFigure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for unused in axes[len(chosen) :]:
        unused.remove()
    for axis, place in zip(axes, chosen, strict=False):
        draw(imputed, place, axis, history)
    figure.suptitle(repr(imputed).splitlines()[0], x=0.01, ha="left", fontsize=11, color=HISTORY, parse_math=False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5, labelcolor=HISTORY)
    return figure


def draw(imputed: "Imputed", place: int, axis: "Axes", history: int | None) -> None:
    """One series around its longest gap."""
    values = imputed.panel.values[place]
    window = around(np.isnan(values), history)
    index = imputed.panel.past_index(place)[window]
    at, seen = time_positions(index), values[window]
    gaps = np.isnan(seen)
    beside = gaps | np.append(gaps[1:], False) | np.insert(gaps[:-1], 0, False)  # fans and medians join what was seen
    for coverage, opacity in FANS:
        low, high = (imputed.array(place, level)[window] for level in ends(coverage))
        axis.fill_between(
            at, low, high, where=beside, color=FORECAST, alpha=opacity, lw=0, label=f"{coverage:.0%} interval"
        )
    axis.plot(at, seen, color=HISTORY, lw=1.1, label="observed", zorder=2.5)
    alone = alone_points(seen)
    axis.plot(at[alone], seen[alone], ".", color=HISTORY, ms=4, zorder=2.5)
    median = np.where(beside, imputed.array(place)[window], np.nan)
    axis.plot(at, median, color=FORECAST, lw=1.7, label="filled", zorder=3)
    style(axis, index)
    entitle(axis, nameless(imputed.panel).label(place))


def around(gaps: NDArray[np.bool_], history: int | None) -> slice:
    """The steps to draw: the longest gap in their middle, as far as the series goes."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], gaps, [False]])))
    start, stop = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0], default=(0, 0))
    steps = max(AROUND * (stop - start), LEAST) if history is None else max(history, stop - start, 2)
    first = max(0, min((start + stop - steps) // 2, len(gaps) - steps))
    return slice(first, first + steps)
