"""`tsfm check`: what is odd in a file, which series and rows, and the one-line fix.

With `--model` also which series that model was trained on, so that its forecasts of them prove nothing (tsfm/leaks.py).
It leaves with exit code 1 where something cannot be forecast.
"""

from pathlib import Path
from typing import Annotated

import typer


def check(
    data: Annotated[Path, typer.Argument(help="CSV or parquet file, wide or long, or a Monash .tsf file.")],
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the values.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Also say which series stood in the training data of this model.")
    ] = None,
) -> None:
    """Say what is odd in a file and how to mend it."""
    import tsfm

    report = tsfm.check(data, id=id, time=time, target=target, freq=freq)
    typer.echo(str(report))
    if model is not None and not any(finding.kind == "unreadable" for finding in report.findings):
        seen = tsfm.load(model).seen_in_training(data, id=id, time=time, target=target, freq=freq)
        typer.echo(f"\n{seen}")
    if any(finding.weight == "error" for finding in report.findings):
        raise typer.Exit(1)
