"""`tsfm impute`: a CSV, parquet or tsf file in, the same table without gaps out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tsfm.cli.files import PICTURES, TABLES, check_target, write_atomically, write_table
from tsfm.cli.forecast import parse_levels


def impute(
    data: Annotated[Path, typer.Argument(help="CSV or parquet file, wide or long, or a Monash .tsf file.")],
    out: Annotated[Path, typer.Option(help="Write the table without gaps to this .csv or .parquet file.")],
    plot: Annotated[Path | None, typer.Option(help="Draw what was filled into this picture.")] = None,
    model: Annotated[str | None, typer.Option(help="Name or folder of a visual MAE.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column with the values; repeatable, as in a wide file.")
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(help="Quantile levels, such as 0.1,0.9: a row a step, with `filled` and these columns."),
    ] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    errors: Annotated[str, typer.Option(help="What to do with bad series: raise or skip.")] = "raise",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Fill every gap of a file, and insert the rows that its time axis leaves out."""
    check_target(out, "--out", TABLES, data)
    check_target(plot, "--plot", PICTURES, data)
    values = target[0] if target and len(target) == 1 else target or None
    options: dict[str, Any] = {"model": model, "id": id, "time": time, "target": values, "freq": freq}
    options["quantile_levels"] = None if levels is None else parse_levels(levels)

    from rich.console import Console

    import tsfm

    given = {name: value for name, value in options.items() if value is not None}
    result = tsfm.impute(data, errors=errors, device=device, precision=precision, **given)
    say = partial(Console(highlight=False).print, soft_wrap=True)
    say(repr(result).splitlines()[0])
    for warning in result.provenance.warnings:
        say(f"note     {warning}")
    for series_id, reason in result.skipped.items():
        say(f"skipped  {series_id}: {reason}", style="yellow")
    a_row_a_step = levels is not None or result.panel.origin.family == "nested"
    write_table(result.to_frame() if a_row_a_step else result.values, out)
    say(f"table    {out}")
    if plot is not None:
        figure = result.plot()
        write_atomically(plot, lambda path: figure.savefig(path, dpi=150, bbox_inches="tight"))
        say(f"picture  {plot}")
