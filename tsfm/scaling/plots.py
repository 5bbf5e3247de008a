"""Pictures of scaling on log axes: losses of runs, fitted laws with their intervals, exponents side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfm.plotting import COLOURS, FORECAST, HISTORY, QUIET, ForecastFigure
from tsfm.scaling.fitting import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS = COLOURS[1]
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
WORDS = {"active": "active parameters", "points": "points read", "flops": "FLOP of training", "total": "parameters"}
DARKEST, LIGHTEST = 0.0, 0.86  # of the colour map: its yellow is not seen on white
SMOOTH = 60  # points of a drawn law


def short(number: float) -> str:
    """A number in three digits at most: 11664 is 12k."""
    for unit, letter in UNITS:
        if abs(number) >= 0.9995 * unit:
            scaled = number / unit
            return f"{scaled:.2g}{letter}" if scaled < 99.5 else f"{scaled:.0f}{letter}"
    return f"{number:.3g}"


def panels(count: int = 1, width: float = 4.6, height: float = 3.7, **options: Any) -> tuple["Figure", list["Axes"]]:
    """A figure that a notebook shows by itself, with so many panels in a row; options of `Figure.subplots`."""
    figure = ForecastFigure(figsize=(width * count, height), layout="constrained", dpi=110)
    axes = list(figure.subplots(1, count, squeeze=False, **options).ravel())
    for axis in axes:
        axis.set_prop_cycle(color=COLOURS)
    return figure, axes


def log_axes(axis: "Axes", along: str, loss: str = "loss", title: str = "") -> None:
    """Both axes in logs, with few numbers; called after what is drawn, as ticks depend on what the axes span.

    along, loss   labels, or columns that have one: "active", "points", "flops", "total"
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis.set_xscale("log")
    axis.set_yscale("log")
    for line, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        decades = np.log10(high / low)
        if decades < 0.5:
            line.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        else:
            line.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)))
        line.set_minor_locator(NullLocator())
        line.set_minor_formatter(NullFormatter())
        line.set_major_formatter(FuncFormatter(lambda at, _: short(at)))
    if along == "flops":  # nobody says a trillion FLOP, and 10T would be read as parameters
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"$10^{{{round(np.log10(at))}}}$"))
    bare(axis, along, loss, title)


def bare(axis: "Axes", along: str = "", value: str = "", title: str = "") -> None:
    """Take away frames, make ticks quiet, and write labels."""
    axis.set_xlabel(WORDS.get(along, along), fontsize=9, color=HISTORY)
    axis.set_ylabel(WORDS.get(value, value), fontsize=9, color=HISTORY)
    axis.set_title(title, loc="left", fontsize=10, color=HISTORY)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(QUIET)
    axis.tick_params(which="both", colors=QUIET, labelcolor=HISTORY, labelsize=8.5, length=3)
    axis.grid(axis="y", color="#e9e9e9", lw=0.7)
    axis.set_axisbelow(True)


def shades(values: Sequence[float]) -> dict[float, Any]:
    """A colour for each value, from dark to light in the order of their logs."""
    from matplotlib import colormaps

    each = sorted(set(values))
    logs = np.log(each)
    span = (logs - logs[0]) / max(logs[-1] - logs[0], 1e-9)
    colours = colormaps["viridis"](DARKEST + (LIGHTEST - DARKEST) * span)
    return dict(zip(each, map(tuple, colours), strict=True))


def draw_rows(
    axis: "Axes",
    rows: pd.DataFrame,
    along: str,
    loss: str,
    by: str,
    fit: Fit | None = None,
    beyond: float = 1.0,
    colours: Mapping[float, Any] | None = None,
) -> None:
    """Dots of rows, joined by straight lines or by a fitted law, one colour for each value of `by`.

    along, by   columns: "active", "points" or "flops"
    fit         of a law of `along` and `by`
    beyond      how many times farther than the largest row the law is drawn, dashed, with the interval of the least
                and of the largest value
    colours     of `shades`, where several panels have to agree
    """
    colours = colours or shades(rows[by].tolist())
    for value in sorted(set(rows[by].tolist())):
        own, colour = rows[rows[by] == value].sort_values(along), colours[value]
        axis.plot(own[along], own[loss], "o", ms=4.2, mew=0, color=colour, label=short(value), zorder=3)
        if fit is None:
            axis.plot(own[along], own[loss], lw=1, color=colour, alpha=0.7)
            continue
        low, high = own[along].min(), own[along].max()
        for start, end, dash in ((low, high, "-"), (high, high * beyond, "--")):
            at = np.geomspace(start, end, SMOOTH)
            inputs = {along: at, by: np.full(SMOOTH, value)}
            axis.plot(at, fit.predict(inputs), dash, lw=1.1, color=colour)
            if dash == "--" and beyond > 1 and len(fit.resamples) and value in (min(colours), max(colours)):
                axis.fill_between(at, *fit.interval(inputs), color=colour, alpha=0.13, lw=0)
    axis.legend(
        title=WORDS.get(by, by),
        loc="upper right",
        fontsize=7.5,
        title_fontsize=7.5,
        frameon=False,
        labelcolor=HISTORY,
        handletextpad=0.1,
        labelspacing=0.25,
    )


def draw_exponents(
    axis: "Axes",
    ours: Mapping[str, tuple[float, float, float]],
    theirs: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """One line an exponent: its value and both ends of its interval, and beside it another value.

    ours    name to (value, low, high), from the top down
    theirs  name to value, drawn as a small mark
    """
    places = range(len(ours))
    for place, (value, low, high) in zip(places, ours.values(), strict=True):
        axis.plot([low, high], [place, place], color=FORECAST, lw=3, alpha=0.35, solid_capstyle="butt")
        axis.plot(value, place, "o", ms=5, color=FORECAST)
    for place, name in zip(places, ours, strict=True):
        if theirs and name in theirs:
            axis.plot(theirs[name], place, "|", ms=13, mew=2.2, color=OTHERS)
    axis.set_yticks(places, list(ours), fontsize=8.5)
    axis.set_ylim(len(ours) - 0.5, -0.5)
    bare(axis, title=title)
    axis.grid(axis="y", lw=0)
    axis.grid(axis="x", color="#e9e9e9", lw=0.7)


def draw_residuals(axis: "Axes", rows: pd.DataFrame, fit: Fit, loss: str, title: str = "") -> None:
    """How far each row is from a fitted law, in percent, by size and milestone: what is not noise has a pattern."""
    wrong = 100 * np.log(rows[loss] / fit.predict(rows))
    table = rows.assign(wrong=wrong).pivot_table(index="active", columns="milestone", values="wrong")
    most = float(np.nanmax(np.abs(table.to_numpy())))
    axis.imshow(table, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", origin="lower")
    for line, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.6 * most else HISTORY
                axis.text(column, line, f"{value:+.1f}", ha="center", va="center", fontsize=7.5, color=ink)
    axis.set_xticks(range(len(table.columns)), [short(float(points)) for points in table.columns.to_numpy()])
    axis.set_yticks(range(len(table)), [short(float(size)) for size in table.index.to_numpy()])
    bare(axis, "points", "active", title)
    axis.grid(visible=False)
