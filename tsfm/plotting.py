"""Plots of a forecast with matplotlib: history, median, and two fans that hold 80 % and 50 % of the outcomes.

Many series become small multiples, each with its own axes. Colours are from Okabe and Ito's set (2008, "Color universal
design"), which people with any kind of colour vision can tell apart; the fans differ in lightness too.
"""

import io
import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError, MissingDependency
from tsfm.prediction import count as counted
from tsfm.prediction import ends

try:
    from matplotlib.axes import Axes
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter
except ImportError as missing:
    raise MissingDependency("plots need matplotlib: pip install 'tsfm-forecast[plot]'") from missing

if TYPE_CHECKING:
    from tsfm.prediction import Forecast

# n series, H horizon.

Floats = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
FORECAST = COLOURS[0]
HISTORY = "#4d4d4d"
QUIET = "#8c8c8c"
# Coverage of each fan and its opacity; the narrow one lies on top of the wide one.
FANS = ((0.8, 0.18), (0.5, 0.26))
# Labels of years, months, days, hours, minutes, seconds; the second row where one of them begins anew, the third what
# stands below the axis once.
DATES = {
    "formats": ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
    "zero_formats": ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
    "offset_formats": ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y %H:%M"],
}
LEAST_HISTORY = 30
LONGEST_TITLE = 34
PANEL_SIZE = (4.3, 2.5)
SINGLE_SIZE = (9.0, 3.8)


class ForecastFigure(Figure):
    """A figure that a notebook shows by itself, without pyplot knowing it, so that nothing stays open."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png")
        return written.getvalue()


def plot(
    forecast: "Forecast",
    ax: Axes | Sequence[Axes] | None = None,
    *,
    history: int | None = None,
    ids: Hashable | Sequence[Hashable] | None = None,
    max_series: int = 12,
    title: str | None = None,
) -> Figure:
    """Draw a forecast; `Forecast.plot` documents the arguments."""
    chosen = _chosen(forecast, ids, 1 if isinstance(ax, Axes) else max_series)
    if ax is None:
        figure, axes = _small_multiples(len(chosen))
    else:
        axes = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
        if len(axes) < len(chosen):
            raise DataError(f"{len(axes)} axes were given for {len(chosen)} series; give one a series, or ids=")
        figure = cast(Figure, axes[0].get_figure(root=True))
    steps = max(3 * forecast.horizon, LEAST_HISTORY) if history is None else history
    for axis, position in zip(axes, chosen, strict=False):
        _draw(forecast, position, axis, steps)
    if ax is None:
        _dress(figure, axes, forecast, len(chosen), title)
    elif title is not None:
        entitle(axes[0], title)
    return figure


def _chosen(forecast: "Forecast", ids: Any, most: int) -> list[int]:
    """Positions of the series to draw."""
    if len(forecast) == 0:
        raise DataError("there is no series to plot: all were skipped; see .skipped")
    if ids is None:
        return list(range(min(len(forecast), most)))
    names = [ids] if isinstance(ids, (str, bytes, tuple)) or not isinstance(ids, Sequence) else list(ids)
    return forecast.positions(names)[:most] if most == 1 else forecast.positions(names)


def _small_multiples(count: int) -> tuple[Figure, list[Axes]]:
    """A new figure with one axes a series, in rows of at most three."""
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    rows = math.ceil(count / columns)
    size = SINGLE_SIZE if count == 1 else (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.6)
    figure = ForecastFigure(figsize=size, layout="constrained", dpi=110)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.remove()
    return figure, list(grid[:count])


def _draw(forecast: "Forecast", position: int, axis: Axes, steps: int) -> None:
    """One series: its last `steps` values, then the fans and the median, joined to the last value seen."""
    index = forecast.panel.future_index(position, forecast.horizon)
    past = forecast.panel.values[position][-steps:] if steps > 0 else np.zeros(0)
    past_at = time_positions(forecast.panel.past_index(position)[-steps:] if steps > 0 else index[:0])
    ahead_at = time_positions(index)
    joined = len(past) > 0 and bool(np.isfinite(past[-1]))
    at = np.concatenate([past_at[-1:], ahead_at]) if joined else ahead_at

    def level(asked: float) -> Floats:
        ahead = forecast.quantile_array(asked, [position])[0]
        return np.concatenate([past[-1:], ahead]) if joined else ahead

    for coverage, opacity in () if forecast.panel.ids[position] in forecast.points else FANS:
        low, high = ends(coverage)
        label = f"{coverage:.0%} interval"
        if len(at) == 1:
            axis.vlines(at, level(low), level(high), color=FORECAST, alpha=opacity * 2, lw=8, label=label)
        else:
            axis.fill_between(at, level(low), level(high), color=FORECAST, alpha=opacity, lw=0, label=label)
    if len(past):
        axis.plot(past_at, past, color=HISTORY, lw=1.1, label="history", zorder=2.5)
        alone = alone_points(past)
        axis.plot(past_at[alone], past[alone], ".", color=HISTORY, ms=4, zorder=2.5)
    dot = "o" if len(at) == 1 else None
    axis.plot(at, level(0.5), color=FORECAST, lw=1.7, marker=dot, label="median", zorder=3)
    style(axis, index)
    entitle(axis, forecast.label(position))


def alone_points(values: Floats) -> NDArray[np.bool_]:
    """Values between two missing ones: a line does not show them."""
    seen = np.isfinite(values)
    before = np.concatenate([[False], seen[:-1]]) if len(seen) else seen
    after = np.concatenate([seen[1:], [False]]) if len(seen) else seen
    found: NDArray[np.bool_] = seen & ~before & ~after
    return found


def time_positions(index: "pd.Index[Any]") -> NDArray[Any]:
    """Where the steps stand on the axis: local clock time for dates (matplotlib knows no periods), else numbers."""
    if isinstance(index, pd.TimedeltaIndex):
        return index.to_numpy() / np.timedelta64(1, "h")
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp().to_numpy()
    if isinstance(index, pd.DatetimeIndex):
        return index.tz_localize(None).to_numpy()
    return index.to_numpy()


def entitle(axis: Axes, name: str) -> None:
    """The name as it is: a dollar sign in it begins no formula."""
    axis.set_title(shortened(name), loc="left", fontsize=10, color=HISTORY, parse_math=False)


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST_TITLE else name[: LONGEST_TITLE - 1] + "…"


def style(axis: Axes, index: "pd.Index[Any]") -> None:
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(QUIET)
    axis.tick_params(colors=QUIET, labelcolor=HISTORY, labelsize=8.5, length=3)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", color="#e6e6e6", lw=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.01, y=0.08)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    plain = ScalarFormatter()
    plain.set_powerlimits((-4, 7))
    axis.yaxis.set_major_formatter(plain)
    for side in (axis.xaxis, axis.yaxis):
        side.get_offset_text().set(fontsize=8.5, color=HISTORY)
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, **DATES))  # type: ignore[no-untyped-call]
        return
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if isinstance(index, pd.TimedeltaIndex):
        axis.set_xlabel("hours", fontsize=8.5, color=HISTORY)


def _dress(figure: Figure, axes: Sequence[Axes], forecast: "Forecast", shown: int, title: str | None) -> None:
    """Title and one legend for the whole figure."""
    from matplotlib.legend_handler import HandlerTuple

    if title is None:
        title = f"{counted(forecast.horizon, 'step')} ahead by {forecast.provenance.model}"
        if shown < len(forecast):
            title += f", {shown} of {len(forecast):,} series"
        if shown == 1 and axes[0].get_title(loc="left"):
            title = f"{axes[0].get_title(loc='left')}: {title}"
    if shown == 1:
        entitle(axes[0], "")
    handles: dict[str, Any] = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    order = [name for name in ("history", "median", "50% interval", "80% interval") if name in handles]
    if {"50% interval", "80% interval"} <= handles.keys():
        # The inner fan is drawn over the outer one, so its key is both.
        handles["50% interval"] = (handles["80% interval"], handles["50% interval"])
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=HISTORY, parse_math=False)
    figure.legend(
        [handles[name] for name in order],
        order,
        handler_map={tuple: HandlerTuple(ndivide=1, pad=0)},
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
        labelcolor=HISTORY,
    )
