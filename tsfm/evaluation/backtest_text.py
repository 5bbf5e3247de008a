"""What a backtest says in words: a sentence to decide by, a table for the terminal, a card for the notebook."""

import html as markup
from typing import TYPE_CHECKING

import numpy as np

from tsfm.evaluation.backtest_scores import BASELINE, Evidence
from tsfm.evaluation.backtest_windows import Windows
from tsfm.prediction import count, listed

if TYPE_CHECKING:
    from tsfm.evaluation.backtest_report import Backtest

FEW_UNITS = 8
SHOWN_SKIPPED = 3
HEADS = ("model", "MASE", "skill", "wins", "CRPS", "skill", "bias", "in 80 %", "seconds")
LEGEND = (
    "MASE: error of the median, in units of the seasonal error of the history; CRPS: error of all quantiles; skill: "
    "share of the seasonal naive forecast's error saved; wins: series with a lower MASE; bias: above 0 forecasts are "
    "too high; in 80 %: share of the values inside the 80 % interval, 80 % at best"
)
QUIET = "opacity:.65;font-size:12px"
CELL = "padding:2px 10px;text-align:right;border:none"


def verdict(backtest: "Backtest") -> str:
    """Whether the best model beats the seasonal naive forecast, by how much, and how strong the evidence is."""
    others = backtest.table.drop(index=BASELINE)
    usable = others[others["mase_skill"].notna()]
    if others.empty:
        return "Only seasonal naive was run: name models= to compare with it."
    if (others["error"] != "").all():
        return f"Nothing to compare: {', '.join(others.index)} failed."
    if usable.empty:
        return "MASE tells no model from seasonal naive: its error is 0 on every window, or no window has a MASE."
    best = str(usable["mase"].idxmin())
    won, of = backtest.wins(best)
    evidence = backtest.evidence
    low, high = evidence.interval[best]
    name = best if len(usable) == 1 else f"{best}, the best of {len(usable)} models,"
    shown = f"MASE skill {percent(float(usable['mase_skill'][best]))} {interval(low, high, evidence)}"
    if np.isnan(low) or low <= 0 <= high:
        said = f"{name} cannot be told from seasonal naive here: {shown}, better on {won} of {of} series."
    elif low > 0:
        said = f"{name} beats seasonal naive on {won} of {of} series: {shown}."
    else:
        said = f"{name} is worse than seasonal naive, which wins on {of - won} of {of} series: {shown}."
    return f"{said} {doubt(backtest.cut, evidence)}".rstrip()


def interval(low: float, high: float, evidence: Evidence) -> str:
    """The interval of a skill in brackets."""
    drawn = count(evidence.units, evidence.unit)
    if np.isnan(low):
        return f"(no interval: {drawn})"
    return f"(95 % interval {100 * low:.0f} to {percent(high)}, bootstrap over {drawn})"


def doubt(cut: Windows, evidence: Evidence) -> str:
    """A second sentence where the evidence is weak, else nothing."""
    if evidence.units >= FEW_UNITS:
        return ""
    series = len(np.unique(cut.series))
    return (
        f"Weak evidence: {count(series, 'series')} with {count(len(cut), 'window')} in all; "
        "give more windows=, a longer history or more series."
    )


def counted(backtest: "Backtest") -> str:
    """How many windows of how many series were forecast, of how many asked."""
    cut, series = backtest.cut, len(backtest.panel)
    given = len(np.unique(cut.series))
    asked = series * cut.asked
    every = f"all {count(asked, 'window')}" if len(cut) == asked else f"{len(cut):,} of {count(asked, 'window')}"
    of = f"{count(series, 'series')}" if given == series else f"{given:,} of {count(series, 'series')}"
    return f"{every} of {of}, {count(cut.horizon, 'step')} each"


def rows(backtest: "Backtest") -> list[list[str]]:
    """Cells of the table, a row a model, under `HEADS`."""
    found = []
    for name, row in backtest.table.iterrows():
        if row["error"]:
            found.append([str(name), "failed", *[""] * (len(HEADS) - 3), f"{row['seconds']:.1f}"])
            continue
        won, of = backtest.wins(str(name))
        found.append(
            [
                str(name),
                number(row["mase"]),
                percent(row["mase_skill"]),
                "-" if name == BASELINE else f"{won:,}/{of:,}",
                number(row["crps"]),
                percent(row["crps_skill"]),
                percent(row["bias"], "+"),
                percent(row["coverage80"]),
                f"{row['seconds']:.1f}",
            ]
        )
    return found


def notes(backtest: "Backtest") -> list[str]:
    """Lines under the table: failures, doubts, series left out."""
    found = [f"{name} failed: {result.error}" for name, result in backtest.results.items() if result.error]
    found += backtest.warnings
    for name, reason in list(backtest.skipped.items())[:SHOWN_SKIPPED]:
        found.append(f"no window of series {name!r}: {reason}")
    if len(backtest.skipped) > SHOWN_SKIPPED:
        more = list(backtest.skipped)[SHOWN_SKIPPED:]
        found.append(f"no window of {len(more):,} more series: {listed(more)}; see .skipped")
    return found


def chosen(backtest: "Backtest") -> str:
    """Options left open, with the values chosen."""
    return ", ".join(f"{name} = {value}" for name, value in backtest.chosen.items())


def plain(backtest: "Backtest") -> str:
    """The whole for a terminal."""
    table = [list(HEADS), *rows(backtest)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADS))]
    lines = [f"Backtest: {counted(backtest)}"]
    for line in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"  {line[0]:<{widths[0]}}", *cells]).rstrip())
    lines.append(verdict(backtest))
    lines += [f"  note: {note}" for note in notes(backtest)]
    if backtest.chosen:
        lines.append(f"  chosen for you: {chosen(backtest)}")
    return "\n".join(lines)


def html(backtest: "Backtest") -> str:
    """The whole for a notebook; inline styles only, because viewers of stored notebooks strip the rest."""
    left = CELL.replace("right", "left")
    head = "".join(f'<th style="{CELL if i else left}">{name}</th>' for i, name in enumerate(HEADS))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{CELL if i else left}">{markup.escape(cell)}</td>' for i, cell in enumerate(line))
        + "</tr>"
        for line in rows(backtest)
    )
    parts = [
        f"<div><b>Backtest</b> &nbsp;{counted(backtest)}</div>",
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:6px 0;font-size:12px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        f'<div style="margin-bottom:4px">{markup.escape(verdict(backtest))}</div>',
    ]
    parts += [
        f'<div style="border-left:3px solid #D55E00;padding-left:8px;margin:3px 0">{markup.escape(note)}</div>'
        for note in notes(backtest)
    ]
    if backtest.chosen:
        parts.append(f'<div style="{QUIET}">chosen for you: {markup.escape(chosen(backtest))}</div>')
    parts.append(f'<div style="{QUIET}">{LEGEND}</div>')
    return f'<div style="font-family:system-ui,sans-serif;font-size:13px;max-width:760px">{"".join(parts)}</div>'


def number(value: float) -> str:
    """Three digits that count, "-" for none."""
    return "-" if np.isnan(value) else f"{value:.3f}" if value < 100 else f"{value:,.0f}"


def percent(share: float, sign: str = "") -> str:
    """A share in per cent, "-" for none."""
    return "-" if np.isnan(share) else f"{round(100 * share) + 0:{sign}d} %"
