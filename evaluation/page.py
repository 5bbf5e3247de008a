"""The leaderboard as one HTML file: data, style and script inside, nothing fetched from anywhere.

The standings stand in the file as a plain table; with JavaScript they can be sorted, filtered and taken apart. What
the script computes is checked against standings.py by tests/evaluation/test_leaderboard.py.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from evaluation.rows import HERE, Model, Suite, half_checked
from evaluation.standings import METRICS, Comparison, Standing, compare, standings, values_of

SCRIPTS = ("standings.js", "page_tables.js", "page_figure.js", "page.js")
EXTRA = {"mse": "MSE", "mae": "MAE", "coverage80": "80 % interval holds", "optimal_crps": "best possible CRPS"}
HEADS = [
    *("Model", "CRPS skill", "MASE skill", "Rank", "(MASE)", "Wins", "Parameters", "s / 1,000", "Source", "Licence"),
    "Leak",
]
TITLES = {
    "zero_shot": "Zero-shot forecasts",
    "long_horizon": "Long-horizon forecasts",
    "classic": "Forecasting competitions",
    "synthetic_probe": "Synthetic series of known law",
    "quick": "The quick suite",
}
BASELINES = (
    "The seasonal naive forecast that errors are divided by is the published row on GIFT-Eval, elsewhere the same "
    "forecast made here (it agrees with that row to 1e-5); where a model is given less than two seasons, as on ETTm, "
    "weather and illness of the long-horizon suite, it reads two all the same. The row “seasonal-naive” is the "
    "package's own model: it keeps to the context, cuts at zero where the history is never negative, and fills gaps by "
    "the season with wider intervals, so its own skill need not be 0."
)
NOTES = (
    "Skill is 1 minus the geometric mean, over configurations, of a model's error divided by that of the seasonal "
    "naive forecast, as GIFT-Eval aggregates. CRPS is the mean weighted sum quantile loss at 0.1 to 0.9; MASE is of "
    "the median. A ratio below 0.01 counts as 0.01.",
    "Intervals: 1,000 resamples of data sets, all frequencies and terms of a set together, percentiles 2.5 and 97.5. "
    "Intervals of two models overlap because both move with the same data sets; for a comparison of two models see "
    "“Against every other model”.",
    BASELINES,
    "Rows of this project were measured with this repository; published rows were copied from the source named, with "
    "their authors' own statement on leaks, and were not run again.",
    "Leak: “yes” where test data were in training. For our rows this is a search of the training data for windows of "
    "the test series, for published rows the authors' declaration. “no, in part”: nothing was found, but some series "
    "are too short or too simple to be told from others (“One model” counts them). “not checked” means nobody looked.",
    "Seconds for 1,000 forecasts are over all windows of the suite, on the hardware named for each model under “One "
    "model”. Nobody published comparable seconds, so those cells are empty.",
)


def render(suites: Sequence[Suite]) -> str:
    """Return the page of these suites; the first one is shown until a reader chooses another."""
    first = suites[0]
    found = compare(first)
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    made = [
        f"<li>Source of the published rows of {escape(s.benchmark)}: {escape(s.source)}.</li>"
        for s in suites
        if s.source
    ]
    data = {"suites": [payload(suite) for suite in suites], "extra": EXTRA}
    return Template((HERE / "page_template.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"tsfm leaderboard: {title(first)}"),
        heading=escape(title(first)),
        standfirst=f"<strong>{warning(found)}</strong> {escape(counted(found))}",
        table=table(standings(found.models, found.tasks)),
        remarks=escape(" ".join(named(found))),
        notes="\n".join([*(f"<li>{escape(note)}</li>" for note in NOTES), *made]),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=script.replace("</", "<\\/"),
        data=json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c"),
    )


def title(suite: Suite) -> str:
    """Heading of a suite."""
    words = TITLES.get(suite.name, suite.name.replace("_", " "))
    return f"{words} on {suite.benchmark}" if suite.benchmark else words


def warning(found: Comparison) -> str:
    """Say that a part of a benchmark is compared, or nothing."""
    if len(found.tasks) == found.asked:
        return ""
    return f"{len(found.tasks)} of {found.asked} configurations: no rank on the whole benchmark follows."


def counted(found: Comparison) -> str:
    """Who is compared on what, in a sentence."""
    sets = len({task.group for task in found.tasks})
    parts = ((len(found.models), "model"), (len(found.tasks), "configuration"), (sets, "data set"))
    models, tasks, groups = (f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts)
    return f"{models} on {tasks} of {groups}."


def named(found: Comparison) -> list[str]:
    """Who and what had to be left out, a sentence each."""
    out = [f"{name} lacks {len(tasks)}: {shortened(tasks)}" for name, tasks in found.left_out]
    exact, everybody = "seasonal naive is exact there", len(found.models)
    reasons = {task: f"no result of {shortened(who)}" if len(who) < everybody else exact for task, who in found.dropped}
    dropped = [f"{task} ({reason})" for task, reason in reasons.items()]
    sentences = [f"Not compared, measured on too few configurations: {'; '.join(out)}."] if out else []
    return [*sentences, *([f"Left out for everybody: {'; '.join(dropped)}."] if dropped else [])]


def shortened(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table(lines: Sequence[Standing]) -> str:
    """Standings as a plain HTML table, which the script replaces by one that sorts."""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    body = "".join(
        f'<tr class="{"ours" if line.model.ours else ""}"><th scope="row" class="text">{escape(line.model.name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells(line)[1:])
        + "</tr>\n"
        for line in lines
    )
    return f'<table id="standings-table"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def cells(line: Standing) -> list[str]:
    """A line of the standings as text, for the plain table and the terminal."""
    model = line.model

    def skill(metric: str) -> str:
        ends = f" [{line.low[metric]:.2f}, {line.high[metric]:.2f}]" if math.isfinite(line.low[metric]) else ""
        return f"{line.skill[metric]:.3f}{ends}"

    seconds = model.seconds_per_thousand
    return [
        model.name,
        *(skill(metric) for metric in METRICS),
        *(f"{line.rank[metric]:.1f}" for metric in METRICS),
        f"{100 * line.wins:.0f} %" if math.isfinite(line.wins) else "",
        size(model.parameters),
        "" if seconds is None else f"{seconds:.2g}" if seconds < 100 else f"{seconds:.0f}",
        "ours" if model.ours else "published",
        model.licence,
        model.leak,
    ]


def size(parameters: float | None) -> str:
    """Write 4,140,000 as "4.14 M"; 0 where nothing is learned, nothing where nobody said."""
    if parameters is None:
        return ""
    for unit, letter in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{letter}"
    return f"{parameters:.0f}"


def payload(suite: Suite) -> dict[str, Any]:
    """What the script needs of a suite: errors by task as stored, ours first, null where there is none."""
    measured = set(suite.measured)
    tasks = sorted(suite.tasks, key=lambda task: task.name not in measured)
    order = [task.name for task in tasks]
    reference = next((model for model in suite.models if not model.ours), None)
    naive = {f"naive_{metric}": column(reference, order, f"naive_{metric}") for metric in METRICS} if reference else {}
    return {
        "name": suite.name,
        "title": title(suite),
        "benchmark": suite.benchmark,
        "measured": len(measured),
        "orders": {by: values_of(tasks, by) for by in ("domain", "frequency", "term", "group")},
        "tasks": [asdict(task) for task in tasks],
        "models": [entry(model, order) for model in suite.models],
        **naive,
    }


def entry(model: Model, order: Sequence[str]) -> dict[str, Any]:
    """A model as the script has it; ours carry their own seasonal naive errors, more measures, and what made them."""
    names = [*METRICS, *((f"naive_{metric}" for metric in METRICS) if model.ours else ())]
    facts = {key: getattr(model, key) for key in ("name", "ours", "parameters", "licence", "leak")}
    columns = {name: column(model, order, name) for name in names}
    extra = {name: [_stored(model, task, name) for task in order] for name in EXTRA if model.ours}
    there = {name: _cut(values) for name, values in extra.items() if any(value is not None for value in values)}
    seconds = {"seconds": model.seconds_per_thousand, "about": about(model)}
    return {**facts, **seconds, **columns, **({"extra": there} if there else {})}


def about(model: Model) -> str:
    """Where the numbers of a model come from, in a sentence or two."""
    if not model.ours:
        return "Published results, copied from the source named in the notes."
    rows = [score.row for score in model.scores.values()]
    made = {key: sorted({row.get(key, "") for row in rows} - {""}) for key in ("commit", "hardware", "seed", "weights")}
    parts = [
        f"Measured with commit {', '.join(short(commit) for commit in made['commit'])}"
        if made["commit"]
        else "Measured here",
        f"seed {', '.join(made['seed'])}" if made["seed"] else "",
        f"weights {', '.join(weights[:12] for weights in made['weights'])}" if made["weights"] else "",
        f"on {'; '.join(made['hardware'])}" if made["hardware"] else "",
    ]
    sampled = [task for task, score in model.scores.items() if _sampled(score.row)]
    sentences = [", ".join(part for part in parts if part) + "."]
    sentences += [f"On a sample of the windows only: {shortened(sampled)}."] if sampled else []
    sentences += [f"No result on {shortened(list(model.failed))}."] if model.failed else []
    left = {model.scores[task].row["dataset"]: said for task, said in half_checked(model.scores).items()}
    parts = [f"{said} of {name}" for name, said in left.items()]
    sentences += (
        [f"Series that the leak check could judge: {shortened(parts)}."]
        if model.leak != "not checked" and parts
        else []
    )
    return " ".join(sentences)


def short(commit: str) -> str:
    """Twelve digits of a commit, and what says that files had changed since."""
    digits, plus, changes = commit.partition("+")
    return digits[:12] + plus + changes


def column(model: Model, order: Sequence[str], name: str) -> list[float | None]:
    """One error of a model in the order of the tasks, as far as it has any."""
    found = [getattr(model.scores[task], name) if task in model.scores else None for task in order]
    return _cut([None if value is None or not math.isfinite(value) else value for value in found])


def write(path: Path, suites: Sequence[Suite]) -> None:
    """Write the page whole or not at all."""
    from tsfm.cli.files import write_atomically

    text = render(suites)
    write_atomically(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def _stored(model: Model, task: str, name: str) -> float | None:
    text = model.scores[task].row.get(name, "") if task in model.scores else ""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def _sampled(row: Mapping[str, str]) -> bool:
    return bool(row.get("available")) and row["windows"] != row["available"]


def _cut(values: list[float | None]) -> list[float | None]:
    while values and values[-1] is None:
        values = values[:-1]
    return values
