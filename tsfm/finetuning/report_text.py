"""The report of a fine-tuning run in words, made of its plain data: for the terminal, the notebook, and as Markdown."""

import html as markup
from collections.abc import Mapping
from textwrap import indent
from typing import Any

from tsfm.evaluation.backtest_scores import BASELINE
from tsfm.finetuning.settings import ZERO_SHOT
from tsfm.prediction import count
from tsfm.tabular import QUIET, as_scores, as_text

Report = Mapping[str, Any]

HEADS = ("model", "trained", "select", "report", "saves", "MASE", "CRPS", "in 80 %", "s")
LEGEND = (
    "trained: numbers changed. select, report: loss on the windows that chose the winner, and on those that had no "
    "part in anything: the mean pinball loss of the deciles, doubled, in units of the seasonal error of the history. "
    "The rest is of the report windows; saves: of the zero-shot loss; s: seconds of the training, of fitting the "
    "covariates, or else of forecasting. *: kept; blind: the same correction without covariates."
)


def row_of(report: Report, name: str) -> Mapping[str, Any]:
    """The table's row of a model."""
    return next(row for row in report["table"] if row["model"] == name)


def verdict(report: Report) -> str:
    """What was kept, and what the report windows say of it."""
    winner = report["winner"]
    if winner == ZERO_SHOT:
        rivals = [row["model"] for row in report["table"] if row["model"] not in (ZERO_SHOT, BASELINE)]
        why = f"{rivals[0]} was not clearly better" if len(rivals) == 1 else "no other was clearly better"
        return (
            f"Kept: {report['settings']['base']} as it came, because {why if rivals else 'nothing else was trained'}."
        )
    row, naive = row_of(report, winner), row_of(report, BASELINE)
    saved = row["saved"]
    told = f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'} loss than {ZERO_SHOT} ({row['evidence']})"
    beside = ""
    if winner != BASELINE and naive["report"] and row["report"]:
        beside = f" {BASELINE} has {naive['report'] / row['report']:.2f} times its loss."
    windows = count(report["split"]["report"], "window")
    return f"Kept: {winner}. On {windows} that had no part in making it, {told}.{beside}"


def cells(report: Report) -> list[list[str]]:
    """The table as text, headings first."""
    lines = [list(HEADS)]
    for row in report["table"]:
        lines.append(
            [
                f"* {row['model']}" if row["model"] == report["winner"] else row["model"],
                f"{row['trained']:,}" if row["trained"] else "-",
                *(number(row[block]) for block in ("selection", "report")),
                "-" if row["model"] == ZERO_SHOT else percent(row["saved"], "+.1f"),
                number(row["mase"]),
                number(row["crps"]),
                percent(row["coverage80"], ".0f"),
                f"{row['seconds']:.1f}",
            ]
        )
    return lines


def facts(report: Report) -> list[str]:
    """What was done with the data, in sentences."""
    data, cut, settings = report["data"], report["split"], report["settings"]
    found = [f"Data: {data['summary']}."]
    whose = "each block of other series" if cut["by_series"] else f"{cut['windows_of_a_series']} of a series in each"
    found.append(
        f"Split: {cut['stopping']:,} stopping, {cut['selection']:,} selection and {cut['report']:,} report windows of "
        f"{count(cut['horizon'], 'step')}, {whose}; "
        f"{cut['training_windows']:,} windows before them to train on."
    )
    if cut["by_series"]:
        found.append("The three blocks share their dates, so nothing here says how the gain holds at other times.")
    if cut["horizon"] < settings["horizon"]:
        steps = count(cut["horizon"], "step")
        found.append(f"The series are short, so windows have {steps} instead of {settings['horizon']}.")
    for name, course in report["courses"].items():
        found.append(f"{name}: {ending(course)}.")
    if report["covariates"]:
        found.append(brought(report))
    for name, reason in report["reasons"].items():
        found.append(f"{name} was not kept: {reason}.")
    return found + [f"{note[0].upper()}{note[1:]}." for note in report["notes"]]


def brought(report: Report) -> str:
    """What the covariates brought: the line of the ablation."""
    names = ", ".join(name for named in report["settings"]["covariates"].values() for name in named)
    heads = [
        f"{row['kind']} {percent(row['report'], '.1f')} ({percent(row['selection'], '.1f')} on the selection windows)"
        for row in report["covariates"]
    ]
    whose = report["covariates"][0]["over"]
    return (
        f"Covariates ({names}) save of the loss of {whose}, corrected without them, on the report windows: "
        f"{', '.join(heads)}."
    )


def ending(course: Mapping[str, Any]) -> str:
    """How a course went."""
    steps, best = course["looks"][-1]["step"], course["best_step"]
    why = {
        "steps": "all steps done",
        "patience": "the stopping windows no longer improved",
        "time": "out of time",
        "interrupted": "interrupted",
    }
    rate = f"rate {course['plan']['rate']:g}"
    lowered = f", lowered {count(course['lowered'], 'time')}" if course["lowered"] else ""
    if best == 0:
        return f"{count(steps, 'step')} ({why[course['ended']]}), none better than the start; {rate}{lowered}"
    part = "" if course["fraction"] == 1 else f", of which {course['fraction']:.0%} of the change is used"
    return f"{count(steps, 'step')} ({why[course['ended']]}), the best after {best}{part}; {rate}{lowered}"


def doubts(report: Report) -> list[str]:
    """What is odd in the data, worst first."""
    found = report["data"]["findings"]
    lines = [f"{one['kind']}: {one['message']} (series {one['where']}); fix: {one['remedy']}" for one in found]
    return lines + [f"left out {name}: {reason}" for name, reason in report["data"]["skipped"].items()]


def plain(report: Report) -> str:
    """The whole for a terminal."""
    heads, *rows = cells(report)
    lines = [report["verdict"], ""]
    lines.append(indent(as_text(heads, rows, range(1, len(heads))), "  "))
    lines += ["", *facts(report), *doubts(report)]
    return "\n".join(lines)


def markdown(report: Report, picture: str | None) -> str:
    """The whole as a page; `picture` is a file beside it."""
    heads, *lines = cells(report)
    table = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    table += ["| " + " | ".join(line) + " |" for line in lines]
    shown = {**report["settings"], "covariates": {k: v for k, v in report["settings"]["covariates"].items() if v}}
    settings = [f"- {name}: `{value}`" for name, value in shown.items() if value not in (None, {})]
    parts = [
        "# Fine-tuning report",
        f"**{report['verdict']}**",
        "\n".join(table),
        LEGEND,
        *([f"![Loss and forecasts]({picture})"] if picture else []),
        "## What was done",
        "\n".join(f"- {fact}" for fact in facts(report)),
        *(["## What is odd in the data", "\n".join(f"- {one}" for one in doubts(report))] if doubts(report) else []),
        "## Settings",
        "\n".join([*settings, f"- seconds in all: {report['seconds']}", f"- {report['versions']}"]),
        f"- {report['hardware']}",
    ]
    return "\n\n".join(parts[:-1]) + "\n" + parts[-1] + "\n"


def html(report: Report) -> str:
    """The whole for a notebook; inline styles only, because viewers of stored notebooks strip the rest."""
    heads, *rows = cells(report)
    parts = [
        f"<div><b>{markup.escape(report['verdict'])}</b></div>",
        as_scores(heads, rows),
        *(f"<div>{markup.escape(fact)}</div>" for fact in facts(report)),
        *(
            f'<div style="border-left:3px solid #D55E00;padding-left:8px;margin:3px 0">{markup.escape(one)}</div>'
            for one in doubts(report)
        ),
        f'<div style="{QUIET}">{LEGEND}</div>',
    ]
    return f'<div style="font-family:system-ui,sans-serif;font-size:13px;max-width:760px">{"".join(parts)}</div>'


def number(value: float | None) -> str:
    """Three digits that count, "-" for none."""
    return "-" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def percent(share: float | None, form: str) -> str:
    """A share in per cent, "-" for none."""
    return "-" if share is None else f"{100 * share:{form}} %"
