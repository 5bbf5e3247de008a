"""`tsfm forecast`: a CSV, parquet or tsf file in, a table in the terminal, a picture and a file out."""

import time as clock
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsfm.cli.files import PICTURES, TABLES, check_target, write_atomically, write_table
from tsfm.cli.fitted import forecast_fitted, is_fitted
from tsfm.errors import DataError

LAYOUTS = ("long", "wide", "nixtla")

if TYPE_CHECKING:
    from rich.console import Console

    from tsfm.prediction import Forecast


def forecast(
    data: Annotated[
        Path | None,
        typer.Argument(help="CSV or parquet file, wide or long, or a Monash .tsf file.", show_default=False),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps ahead; without it what is usual for the frequency.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Forecast the bundled demo set instead of a file.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw history and forecast into this picture.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the forecast to this .csv or .parquet file.")] = None,
    model: Annotated[str | None, typer.Option(help="Name (see `tsfm models`) or folder of a model.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the values.")] = None,
    levels: Annotated[str | None, typer.Option(help="Quantile levels, such as 0.1,0.5,0.9; the deciles.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of --out: long, wide or nixtla.")] = "long",
    errors: Annotated[str, typer.Option(help="What to do with bad series: raise or skip.")] = "raise",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing, as TSFM_OFFLINE=1 does.")] = False,
) -> None:
    """Forecast every series of a file, with uncertainty."""
    started = clock.perf_counter()
    if (data is None) == (not demo):
        raise DataError("name one thing to forecast: a CSV, parquet or tsf file, or --demo")
    check_target(plot, "--plot", PICTURES, data)
    check_target(out, "--out", TABLES, data)
    if layout not in LAYOUTS:
        raise DataError(f"--layout {layout} is not known; there are {', '.join(LAYOUTS)}")
    options: dict[str, Any] = {"model": model, "id": id, "time": time, "target": target, "freq": freq}
    options["quantile_levels"] = None if levels is None else parse_levels(levels)

    from rich.console import Console

    import tsfm
    from tsfm.layouts import flat

    console = Console(highlight=False)
    if model is not None and is_fitted(model):
        if plot is not None or levels is not None:
            raise DataError(f"{model} forecasts points of fitted variates; --plot and --levels are for forecasters")
        columns = {name: options[name] for name in ("id", "time", "target", "freq")}
        forecast_fitted(data, horizon, model, out, columns, console)
        return
    say = partial(console.print, soft_wrap=True)
    source: Any = data
    if demo:
        from tsfm.demo import COLUMNS, load_demo

        source = load_demo()
        options |= COLUMNS
        say("Departures an hour from New York's airports, August to October 2013 (US DOT, public domain)")
    given = {name: value for name, value in options.items() if value is not None}
    options = {**given, "errors": errors, "device": device, "precision": precision, "offline": offline}
    result = tsfm.forecast(source, horizon, **options)
    show(result, console)
    if out is not None:
        frame = result.to_frame(layout=layout)
        write_table(flat(frame) if layout == "wide" else frame, out)
        say(f"table    {out}")
    if plot is not None:
        figure = result.plot()
        write_atomically(plot, lambda target: figure.savefig(target, dpi=150, bbox_inches="tight"))
        say(f"picture  {plot}")
    console.print(
        f"time     {clock.perf_counter() - started:.1f} s in all, {result.provenance.seconds:.1f} s forecasting"
    )


def parse_levels(text: str) -> tuple[float, ...]:
    """Quantile levels from "0.1,0.5,0.9"; `DataError` names what is not a number."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise DataError(f"--levels: {part.strip()!r} is not a number; write for instance 0.1,0.5,0.9") from None
    return tuple(found)


def show(result: "Forecast", console: "Console") -> None:
    """Print the forecast as a table, and under it everything the user should know about it."""
    from tsfm.cli.tables import forecast_table

    if len(result):
        console.print(forecast_table(result.to_frame(), result.levels))
    say = partial(console.print, soft_wrap=True)
    provenance = result.provenance
    chosen = ", ".join(f"{name} = {value}" for name, value in provenance.defaults.items())
    say(f"model    {provenance.model}, context {provenance.context:,}, {provenance.precision}")
    if chosen:
        say(f"chosen   {chosen}")
    for note in provenance.notes:
        say(f"note     {note}")
    for warning in provenance.warnings:
        say(f"warning  {warning}", style="yellow")
    for series_id, reason in result.skipped.items():
        say(f"skipped  {series_id}: {reason}", style="yellow")
