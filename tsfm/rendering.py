"""The card that a notebook shows for a forecast: one fan drawn in plain SVG, the facts, the first rows of the table.

No matplotlib, no scripts, no style sheet: inline styles only, because viewers of stored notebooks strip the rest. Text
and history take the colour of the page, so that the card reads on a dark one too.
"""

import html
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tsfm.prediction import count, ends

if TYPE_CHECKING:
    from tsfm.prediction import Forecast

# H horizon.

Floats = NDArray[np.float64]

BLUE = "#0072B2"
WIDTH, HEIGHT, MARGIN = 560.0, 130.0, 4.0
FANS = ((0.8, 0.22), (0.5, 0.32))
LEAST_HISTORY = 30
SHOWN_ROWS = 5
SHOWN_NAMES = 3
QUIET = "opacity:.65;font-size:12px"
CELL = "padding:2px 10px;text-align:right;border:none"


def card(forecast: "Forecast") -> str:
    """HTML of the whole card."""
    where = forecast.provenance
    head = (
        f"<b>Forecast</b> &nbsp;{count(len(forecast), 'series')} &middot; {count(forecast.horizon, 'step')} ahead "
        f"&middot; {html.escape(where.model)} &middot; {where.seconds:.2f} s"
    )
    parts = [f'<div style="margin-bottom:4px">{head}</div>']
    if len(forecast):
        parts += [sketch(forecast), _caption(forecast)]
    parts += [_notes(forecast), _table(forecast)]
    return f'<div style="font-family:system-ui,sans-serif;font-size:13px;max-width:640px">{"".join(parts)}</div>'


def sketch(forecast: "Forecast", position: int = 0) -> str:
    """SVG of one series: the last history, then, from its last value on, the 80 % and 50 % fans and the median."""
    steps = max(3 * forecast.horizon, LEAST_HISTORY)
    past = forecast.panel.values[position][-steps:]
    joint = past[-1:] if np.isfinite(past[-1]) else past[:0]

    def level(asked: float) -> Floats:
        return np.concatenate([joint, forecast.quantile_array(asked, [position])[0]])

    shown = () if forecast.panel.ids[position] in forecast.points else FANS
    fans = [[level(low), level(high)] for low, high in (ends(coverage) for coverage, _ in shown)]
    median = level(0.5)
    seen = np.concatenate([past[np.isfinite(past)], *(fans[0] if fans else ()), median])
    # Halves, because the span of very large values has no float.
    low, span = seen.min() / 2, seen.max() / 2 - seen.min() / 2

    def down(values: Floats) -> Floats:
        share = (values / 2 - low) / span if span > 0 else np.where(np.isfinite(values), 0.5, np.nan)
        placed: Floats = MARGIN + (1.0 - share) * (HEIGHT - 2 * MARGIN)
        return placed

    across: Floats = np.linspace(MARGIN, WIDTH - MARGIN, len(past) + forecast.horizon)
    ahead = across[len(past) - len(joint) :]
    shapes = []
    for (lower, upper), (_, opacity) in zip(fans, shown, strict=True):
        outline = _points(np.concatenate([ahead, ahead[::-1]]), np.concatenate([down(lower), down(upper)[::-1]]))
        shapes.append(f'<polygon points="{outline}" fill="{BLUE}" fill-opacity="{opacity}" stroke="none"/>')
    for run in np.split(np.arange(len(past)), np.flatnonzero(~np.isfinite(past))):
        drawn = run[np.isfinite(past[run])]
        if len(drawn):
            shapes.append(_line(across[drawn], down(past[drawn]), "currentColor", 1.2, 0.75))
    shapes.append(_line(ahead, down(median), BLUE, 1.8, 1.0))
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="history and forecast" '
        f'style="width:100%;height:auto;display:block">{"".join(shapes)}</svg>'
    )


def _line(across: Floats, down: Floats, colour: str, width: float, opacity: float) -> str:
    if len(across) == 1:
        return f'<circle cx="{across[0]:.1f}" cy="{down[0]:.1f}" r="2" fill="{colour}" fill-opacity="{opacity}"/>'
    return (
        f'<polyline points="{_points(across, down)}" fill="none" stroke="{colour}" stroke-width="{width}" '
        f'stroke-opacity="{opacity}" stroke-linejoin="round"/>'
    )


def _points(across: Floats, down: Floats) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))


def _caption(forecast: "Forecast") -> str:
    names = [html.escape(forecast.label(0)), "the first series" if len(forecast) > 1 else ""]
    what = ", ".join(name for name in names if name)
    fans = ", 50 % and 80 % intervals" if forecast.panel.ids[0] not in forecast.points else " alone"
    return f'<div style="{QUIET}">{what + ": " if what else ""}history, median{fans}</div>'


def _notes(forecast: "Forecast") -> str:
    """Defaults, then what needs attention."""
    where = forecast.provenance
    lines = []
    if where.defaults:
        chosen = ", ".join(f"{html.escape(name)} = {html.escape(str(value))}" for name, value in where.defaults.items())
        lines.append(f'<div style="{QUIET}">chosen for you: {chosen}</div>')
    warnings = [html.escape(warning) for warning in where.warnings]
    if forecast.skipped:
        names = ", ".join(html.escape(str(name)) for name in list(forecast.skipped)[:SHOWN_NAMES])
        more = ", ..." if len(forecast.skipped) > SHOWN_NAMES else ""
        warnings.append(f"{len(forecast.skipped):,} series skipped: {names}{more} (reasons in <code>.skipped</code>)")
    lines += [f'<div style="border-left:3px solid #D55E00;padding-left:8px;margin:3px 0">{w}</div>' for w in warnings]
    return "".join(lines)


def _table(forecast: "Forecast") -> str:
    """First rows of the long table."""
    from tsfm import layouts

    frame = layouts.long(forecast, rows=SHOWN_ROWS)
    total = len(forecast) * forecast.horizon
    if not total:
        return ""
    head = "".join(f'<th style="{CELL}">{html.escape(str(name))}</th>' for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{_cell(value)}</td>' for value in row) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    rest = f"first {len(frame)} of {total:,} rows of <code>.to_frame()</code>" if total > len(frame) else ""
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin-top:6px;font-size:12px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<div style="{QUIET}">{rest}</div>'
    )


def _cell(value: Any) -> str:
    return f"{value:,.5g}" if isinstance(value, float) else html.escape(str(value))
