"""`tsfm backtest`: a CSV or parquet file in, and how far a model can be trusted on it out."""

import time as clock
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsfm.cli.files import PICTURES, TABLES, check_target, write_atomically, write_table
from tsfm.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tsfm.evaluation.backtest_report import Backtest


def backtest(
    data: Annotated[Path | None, typer.Argument(help="CSV or parquet file, wide or long.", show_default=False)] = None,
    horizon: Annotated[int | None, typer.Option(help="Steps of a window; without it what is usual.")] = None,
    windows: Annotated[int | None, typer.Option(help="Windows a series; without it by length.")] = None,
    stride: Annotated[int | None, typer.Option(help="Steps between windows; without it the horizon.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Name (see `tsfm models`) or folder; may be given several times.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the bundled demo set instead of a file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the last windows and the skill into this picture.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the score of every window to this .csv or .parquet.")] = None,
    forecasts: Annotated[Path | None, typer.Option(help="Write every forecast beside what happened to this.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the values.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    errors: Annotated[str, typer.Option(help="What to do with bad series: raise or skip.")] = "raise",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Forecast the past of every series of a file, and compare with what happened and with seasonal naive."""
    started = clock.perf_counter()
    if (data is None) == (not demo):
        raise DataError("name one thing to backtest: a CSV or parquet file, or --demo")
    check_target(plot, "--plot", PICTURES, data)
    check_target(out, "--out", TABLES, data)
    check_target(forecasts, "--forecasts", TABLES, data)
    options: dict[str, Any] = {"models": model or None, "id": id, "time": time, "target": target, "freq": freq}

    from rich.console import Console

    import tsfm

    console = Console(highlight=False)
    say = partial(console.print, soft_wrap=True)
    source: Any = data
    if demo:
        from tsfm.demo import COLUMNS, load_demo

        source = load_demo()
        options |= COLUMNS
        say("Departures an hour from New York's airports, August to October 2013 (US DOT, public domain)")
    given = {name: value for name, value in options.items() if value is not None}
    found = tsfm.backtest(source, horizon, windows=windows, stride=stride, errors=errors, device=device, **given)
    show(found, console)
    if out is not None:
        write_table(found.windows, out)
        say(f"windows   {out}")
    if forecasts is not None:
        write_table(found.forecasts, forecasts)
        say(f"forecasts {forecasts}")
    if plot is not None:
        figure = found.plot()
        write_atomically(plot, lambda target: figure.savefig(target, dpi=150, bbox_inches="tight"))
        say(f"picture   {plot}")
    say(f"time      {clock.perf_counter() - started:.1f} s")


def show(found: "Backtest", console: "Console") -> None:
    """Print the table, what its columns are, the verdict and every doubt."""
    from tsfm.cli.tables import scores_table
    from tsfm.evaluation import backtest_text
    from tsfm.evaluation.backtest_text import LEGEND, chosen, counted, notes

    heads, *rows = backtest_text.table(found)
    say = partial(console.print, soft_wrap=True, markup=False)
    say(f"Backtest: {counted(found)}")
    console.print("", scores_table(heads, rows), "", sep="\n")
    console.print(LEGEND, style="dim")
    say(f"\n{found.verdict}\n", style="bold")
    if found.chosen:
        say(f"chosen    {chosen(found)}")
    for note in notes(found):
        say(f"note      {note}", style="yellow")
