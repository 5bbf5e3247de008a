"""`tsfm evaluate`: models on a suite, a table each in the terminal, a CSV each in a folder."""

from pathlib import Path
from typing import Annotated

import typer

from tsfm.errors import DataError

SPLITS = ("test", "validation")


def evaluate(
    suite: Annotated[
        str,
        typer.Option(
            help="quick, zero_shot, long_horizon, classic, synthetic_probe, or a TOML file of your own tasks."
        ),
    ] = "quick",
    model: Annotated[
        list[str] | None,
        typer.Option(help="Name or folder of a model, auto-ets, auto-theta or auto-arima; may be repeated."),
    ] = None,
    split: Annotated[str, typer.Option(help="test to report, validation to choose.")] = "test",
    task: Annotated[list[str] | None, typer.Option(help="Only this task or data set; may be repeated.")] = None,
    context: Annotated[int | None, typer.Option(help="Steps given to the model, instead of the task's own.")] = None,
    max_windows: Annotated[int | None, typer.Option(help="Only so many windows a task, evenly spaced.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Series at once; without it what memory allows.")] = None,
    effort: Annotated[str, typer.Option(help="fast, or best: average several views of every series.")] = "fast",
    seed: Annotated[int, typer.Option(help="Seed of what is random.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the CSV files.")] = Path("tsfm-results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what the CSV has already.")] = False,
) -> None:
    """Measure models on a benchmark; what is measured already is not measured again."""
    if split not in SPLITS:
        raise DataError(f"--split {split} is not known; there are {' and '.join(SPLITS)}")

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from tsfm.evaluation.contenders import contender
    from tsfm.evaluation.runner import evaluate as measure
    from tsfm.evaluation.runner import file_name, own_name
    from tsfm.evaluation.scoreboard import HEADINGS

    console = Console(highlight=False)
    console.width = max(console.width, 110)  # or a piped table is cut at 80 columns
    entrants = [contender(name, batch_size, effort=effort) for name in model or ["moe-decoder-tiny"]]
    empty = False
    for entrant in entrants:
        board = measure(
            entrant,
            suite,
            split=split,
            tasks=task,
            context=context,
            max_windows=max_windows,
            seed=seed,
            out=out,
            fresh=fresh,
        )
        headings, *rows = board.cells()
        table = Table(*headings, title=f"{entrant.name} on {suite}, {split} windows", box=box.SIMPLE_HEAD)
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", column.header == HEADINGS["mase_ratio"]  # or "MAE 0.86" is cut
        for row in rows:
            table.add_row(*row)
        console.print(table)
        for name, reason in board.failures().items():
            console.print(f"{name}: {reason}", style="yellow", soft_wrap=True)
        for term in dict.fromkeys(row["term"] for row in board.rows if row["term"]):
            console.print(f"{term}: {board.summary(term)}", soft_wrap=True)
        console.print(f"all: {board.summary()}", style="bold", soft_wrap=True)
        empty = empty or not board.summary().tasks
        path = out / file_name(own_name(suite), split, entrant.name, context, max_windows)
        console.print(f"rows: {path}", style="dim", soft_wrap=True)
    if empty:
        raise typer.Exit(1)
