"""What a backtest says in words: a sentence to decide by, a table for the terminal, a card for the notebook."""

import html as markup
from textwrap import indent
from typing import TYPE_CHECKING, Any

import numpy as np

from tsfm.evaluation.backtest_scores import BASELINE, FEWEST_UNITS, Evidence
from tsfm.prediction import count, listed
from tsfm.tabular import QUIET, as_scores, as_text

if TYPE_CHECKING:
    import pandas as pd

    from tsfm.evaluation.backtest_report import Backtest, Wins

SHOWN_SKIPPED = 3
HEADS = ("model", "MASE", "skill", "wins", "ties", "CRPS", "skill", "bias", "in 80 %", "s")
TIES = HEADS.index("ties")
LEGEND = (
    "MASE: error of the median, in units of the seasonal error of the history; CRPS: error of all quantiles; skill: "
    "share of the seasonal naive forecast's error saved; wins: series with a MASE below its, ties: with the same; "
    "bias: above 0 forecasts are too high; in 80 %: share of the values inside the 80 % interval, 80 % at best; "
    "s: seconds"
)
REMEDY = (
    f"Give windows={FEWEST_UNITS} or more that do not overlap, with a history long enough for them, or at least "
    f"{FEWEST_UNITS} series."
)
UNSCALED = "the history before them is constant, repeats itself exactly or has no two values a season apart"


def verdict(backtest: "Backtest") -> str:
    """Whether the best model beats the seasonal naive forecast, by how much, and how strong the evidence is."""
    others = backtest.table.drop(index=BASELINE)
    usable = others[others["mase_skill"].notna()]
    if others.empty:
        return "Only seasonal naive was run: name models= to compare with it."
    if (others["error"] != "").all():
        return f"Nothing to compare: {', '.join(others.index)} failed."
    if usable.empty:
        return undefined(others)
    best = str(usable["mase"].idxmin())
    wins, evidence = backtest.wins(best), backtest.evidence
    low, high = evidence.interval[best]
    name = best if len(usable) == 1 else f"{best}, the best of {len(usable)} models,"
    skill = f"MASE skill {percent(float(usable['mase_skill'][best]))}"
    if not evidence.enough:
        return f"{too_few(evidence)} So far {name} has {skill}, {better(wins)}. {REMEDY}"
    shown = f"{skill} {interval(low, high, evidence)}"
    if np.isnan(low) or low <= 0 <= high:
        return f"{name} cannot be told from seasonal naive here: {shown}, {better(wins)}."
    if low > 0:
        return f"{name} beats seasonal naive {better(wins).removeprefix('better ')}: {shown}."
    lost = f"{wins.of - wins.won - wins.tied} of {wins.of} series{equal(wins)}"
    return f"{name} is worse than seasonal naive, which wins on {lost}: {shown}."


def undefined(others: "pd.DataFrame") -> str:
    """Why there is no skill: no window has a MASE, or the seasonal naive forecast errs nowhere."""
    errors = others["mase"].dropna()
    if errors.empty:
        return f"No verdict, because no window has a MASE: {UNSCALED}."
    best, error = str(errors.idxmin()), float(errors.min())
    told = f"{best} is exact as well" if error == 0 else f"{best} has a MASE of {number(error)}"
    return f"Nothing to save: seasonal naive is exact on every window with a MASE, so there is no skill; {told}."


def too_few(evidence: Evidence) -> str:
    """A sentence that takes the place of a verdict."""
    return f"Too few windows for a verdict: {count(evidence.units, evidence.unit)}, and it takes {FEWEST_UNITS}."


def better(wins: "Wins") -> str:
    """On how many series a model has the lower MASE."""
    return f"better on {wins.won} of {wins.of} series{equal(wins)}"


def equal(wins: "Wins") -> str:
    """On how many series it has the same, where there are any."""
    return f", equal on {wins.tied}" if wins.tied else ""


def interval(low: float, high: float, evidence: Evidence) -> str:
    """The interval of a skill in brackets."""
    drawn = count(evidence.units, evidence.unit)
    if np.isnan(low):
        return f"(no interval: {drawn})"
    return f"(95 % interval {100 * low:.0f} to {percent(high)}, bootstrap over {drawn})"


def counted(backtest: "Backtest") -> str:
    """How many windows of how many series were forecast, of how many asked."""
    cut, series = backtest.cut, len(backtest.panel)
    given = len(np.unique(cut.series))
    asked = series * cut.asked
    every = f"all {count(asked, 'window')}" if len(cut) == asked else f"{len(cut):,} of {count(asked, 'window')}"
    of = f"{count(series, 'series')}" if given == series else f"{given:,} of {count(series, 'series')}"
    return f"{every} of {of}, {count(cut.horizon, 'step')} each"


def table(backtest: "Backtest") -> list[list[str]]:
    """Cells of the table, the headings first, then a row a model; ties have a column where there are any."""
    lines = [list(HEADS), *(cells(backtest, str(name), row) for name, row in backtest.table.iterrows())]
    if not any(backtest.wins(name).tied for name in backtest.models if name != BASELINE):
        lines = [line[:TIES] + line[TIES + 1 :] for line in lines]
    return lines


def cells(backtest: "Backtest", name: str, row: "pd.Series[Any]") -> list[str]:
    """A row of the table under `HEADS`."""
    seconds = f"{row['seconds']:.1f}"
    if row["error"]:
        return [name, "failed", *[""] * (len(HEADS) - 3), seconds]
    wins = backtest.wins(name)
    won, tied = ("-", "-") if name == BASELINE else (f"{wins.won:,}/{wins.of:,}", f"{wins.tied:,}")
    return [
        name,
        number(row["mase"]),
        percent(row["mase_skill"]),
        won,
        tied,
        number(row["crps"]),
        percent(row["crps_skill"]),
        percent(row["bias"], "+"),
        percent(row["coverage80"]),
        seconds,
    ]


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
    heads, *rows = table(backtest)
    lines = [f"Backtest: {counted(backtest)}"]
    lines.append(indent(as_text(heads, rows, range(1, len(heads))), "  "))
    lines.append(verdict(backtest))
    lines += [f"  note: {note}" for note in notes(backtest)]
    if backtest.chosen:
        lines.append(f"  chosen for you: {chosen(backtest)}")
    return "\n".join(lines)


def html(backtest: "Backtest") -> str:
    """The whole for a notebook; inline styles only, because viewers of stored notebooks strip the rest."""
    heads, *rows = table(backtest)
    parts = [
        f"<div><b>Backtest</b> &nbsp;{counted(backtest)}</div>",
        as_scores(heads, rows),
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
