"""The leaderboard: our rows beside everyone's published rows, in the terminal and on one offline page.

    python evaluation/leaderboard.py                                             table, and evaluation/leaderboard.html
    python evaluation/leaderboard.py --by domain                                 CRPS skill domain by domain
    python evaluation/leaderboard.py --run --models moe-decoder-tiny             measure what is missing first
    python evaluation/leaderboard.py --against moe-decoder-tiny                  one model against every other
    python evaluation/leaderboard.py --gaps moe-decoder-tiny                     where it falls behind small models
    python evaluation/leaderboard.py --submit gift-eval --model moe-decoder-tiny --out submission

Reads evaluation/results/<suite>_*.csv and evaluation/published/*.csv. How standings are made: evaluation/standings.py.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evaluation import page, rows, submission
from evaluation.gaps import SMALL, gaps
from evaluation.rows import Suite
from evaluation.standings import METRICS, Comparison, Standing, compare, duels, place_of, slices, standings
from tsfm.errors import TsfmError


def measure(model: str, suite: str, folder: Path) -> None:
    """Measure a model on a suite; rows that stand in `folder` already are kept."""
    from tsfm.evaluation.runner import evaluate

    evaluate(model, suite, out=folder)


def standings_table(lines: Sequence[Standing], heading: str) -> Table:
    """Standings as a person reads them, rows of ours in bold."""
    table = _table(heading, page.HEADS)
    for line in lines:
        table.add_row(*page.cells(line), style="bold cyan" if line.model.ours else None)
    return table


def slices_table(found: Comparison, by: str) -> Table:
    """CRPS skill of every model in every part, the configurations of a part counted in its heading."""
    parts = slices(found.models, found.tasks, by)
    skill = {value: {id(line.model): line.skill["crps"] for line in lines} for value, lines in parts.items()}
    counts = {value: sum(getattr(task, by) == value for task in found.tasks) for value in parts}
    table = _table(f"CRPS skill by {by}", ["Model", *(f"{value or 'not stated'} ({counts[value]})" for value in parts)])
    for line in standings(found.models, found.tasks):
        cells = [f"{skill[value][id(line.model)]:.3f}" for value in parts]
        table.add_row(line.model.name, *cells, style="bold cyan" if line.model.ours else None)
    return table


def duels_table(found: Comparison, name: str) -> Table:
    """Errors of a model over those of every other one, with paired intervals, the strongest opponent first."""
    mine = found.models[place_of(found, name, "--against")]
    crps, mase = (duels(found.models, found.tasks, mine, metric) for metric in ("crps", "mase"))
    table = _table(f"Errors of {name} over those of", ["Other model", "CRPS ratio", "MASE ratio"])
    for pair in sorted(zip(crps, mase, strict=True), key=lambda pair: -pair[0].ratio):
        table.add_row(pair[0].other.name, *(_with_ends(one.ratio, one.low, one.high) for one in pair))
    return table


def gaps_table(found: Comparison, name: str, metric: str) -> Table:
    """Errors of a model over those of the best small published one, part by part, the widest gaps first."""
    heading = (
        f"{metric.upper()} of {name} over that of the best published model of at most {page.size(SMALL)} parameters"
    )
    table = _table(heading, ["By", "Part", "Configurations", "Ratio", "Best there"])
    for gap in gaps(found, name, metric):
        table.add_row(gap.by, gap.part, str(gap.tasks), f"{gap.ratio:.3f}", gap.rival)
    return table


def show(suite: Suite, options: argparse.Namespace, console: Console) -> None:
    """Print what was asked for, and what the numbers do not say."""
    found = compare(suite, complete=0.0 if options.models else 0.9)
    console.print(f"[bold]{page.title(suite)}[/]: {page.counted(found)}")
    if page.warning(found):
        console.print(f"[bold red]{page.warning(found)}[/]")
    console.print(
        standings_table(standings(found.models, found.tasks), "Standings (skill over the seasonal naive forecast)")
    )
    if options.by:
        console.print(slices_table(found, options.by))
    if options.against:
        console.print(duels_table(found, options.against))
    for metric in METRICS if options.gaps else ():
        console.print(gaps_table(found, options.gaps, metric))
    for sentence in page.named(found):
        console.print(sentence, soft_wrap=True, markup=False)
    for model in suite.models:
        if model.failed:
            first = next(iter(model.failed.values()))
            sentence = f"No result of {model.name} on {page.shortened(list(model.failed))}; the first says: {first}"
            console.print(sentence, soft_wrap=True, markup=False)
    if any(model.ours and model.name == "seasonal-naive" for model in suite.models):
        console.print(page.BASELINES, soft_wrap=True, markup=False)
    console.print(
        f"In brackets: 95 % intervals over data sets. Two models are compared by --against NAME. "
        f"Highlighted: measured here; the others are published{f' ({suite.source})' if suite.source else ''}.",
        soft_wrap=True,
        markup=False,
    )


def submit(suite: Suite, options: argparse.Namespace, console: Console) -> None:
    """Write the files that a benchmark takes."""
    details = submission.Details(options.org, options.model_link, options.code_link, options.dtype, options.leakage)
    for message in submission.write(options.submit, suite, options.model, Path(options.out), details):
        console.print(message, soft_wrap=True, markup=False)


def _with_ends(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.2f}, {high:.2f}]" if math.isfinite(low) else f"{value:.3f}"


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    for place, head in enumerate(heads):
        left = place == 0 or head in ("Source", "Licence", "Leak", "Part", "Best there")
        table.add_column(head, justify="left" if left else "right", no_wrap=True)
    return table


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="zero_shot", help="whose table is printed (default: zero_shot)")
    parser.add_argument(
        "--models", nargs="+", help="print only these, on the configurations that all of them have; no page"
    )
    parser.add_argument("--run", action="store_true", help="measure --models first (default: moe-decoder-tiny)")
    parser.add_argument("--by", choices=("domain", "frequency", "term", "group"), help="CRPS skill in parts, too")
    parser.add_argument("--against", metavar="MODEL", help="this model against every other, too")
    parser.add_argument("--gaps", metavar="MODEL", help="where this model falls behind small published ones, too")
    parser.add_argument("--results", type=Path, default=rows.RESULTS, help="folder of our rows")
    parser.add_argument("--page", type=Path, default=rows.HERE / "leaderboard.html", help="HTML file to write")
    parser.add_argument("--no-page", action="store_true", help="print only")
    group = parser.add_argument_group("submission")
    group.add_argument("--submit", choices=submission.FORMATS, help="write files for a benchmark instead")
    group.add_argument("--model", help="model to submit")
    group.add_argument("--out", help="folder for the files of a submission")
    group.add_argument("--org", default="The tsfm developers")
    group.add_argument("--model-link", default="", help="where the weights can be had")
    group.add_argument("--code-link", default="", help="where this repository can be had")
    group.add_argument("--dtype", default="float32", help="precision that the rows were measured in")
    group.add_argument("--leakage", choices=("Yes", "No"), help="your statement, where the rows have no leak check")
    options = parser.parse_args(given)
    if options.submit and not (options.model and options.out):
        parser.error("--submit needs --model NAME and --out FOLDER")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, write the page; or write a submission."""
    options, console = arguments(given), Console()
    console.width = max(console.width, 160)  # or a piped table is cut at 80 columns
    try:
        if options.run:
            for model in options.models or ["moe-decoder-tiny"]:
                measure(model, options.suite, options.results)
        if options.submit:
            submit(rows.load(options.suite, options.results), options, console)
            return 0
        show(rows.load(options.suite, options.results, names=options.models), options, console)
        if not (options.no_page or options.models):
            names = list(dict.fromkeys([options.suite, *rows.suites_with_rows(options.results)]))
            page.write(options.page, sorted_suites([rows.load(name, options.results) for name in names]))
            console.print(f"page: {options.page}", soft_wrap=True, markup=False)
    except TsfmError as error:
        console.print(f"{error}", style="red", soft_wrap=True, markup=False)
        return 1
    return 0


def sorted_suites(suites: list[Suite]) -> list[Suite]:
    """The headline suite first, whatever was printed."""
    return sorted(suites, key=lambda suite: suite.name != "zero_shot")


if __name__ == "__main__":
    sys.exit(main())
