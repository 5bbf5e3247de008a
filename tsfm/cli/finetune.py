"""`tsfm finetune`: a CSV or parquet file in, a model that forecasts it better out, or the word that none does."""

import time as clock
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsfm.data.packed import PACKED
from tsfm.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tsfm.finetuning.result import FineTuned


def finetune(
    data: Annotated[Path, typer.Argument(help="CSV or parquet file, wide or long, or a Monash .tsf file.")],
    horizon: Annotated[int, typer.Option(help="Steps ahead that matter to you.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the model and its report; <file>-model.")] = None,
    base: Annotated[str | None, typer.Option(help="Name (see `tsfm models`) or folder to begin with.")] = None,
    method: Annotated[
        str, typer.Option(help="auto, full, head, lora, dora, experts, router, adapters or none.")
    ] = "auto",
    time_budget: Annotated[str, typer.Option(help="Time for all of it, such as 90s, 10m or 1h.")] = "5m",
    past: Annotated[list[str] | None, typer.Option(help="Column known up to now; may be given several times.")] = None,
    future: Annotated[list[str] | None, typer.Option(help="Column known ahead; may be given several times.")] = None,
    static: Annotated[list[str] | None, typer.Option(help="Column that is constant within a series.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the values.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    windows: Annotated[
        int | None, typer.Option(help="Windows of a series in each block; without it by length.")
    ] = None,
    errors: Annotated[str, typer.Option(help="What to do with bad series: raise or skip.")] = "raise",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    context: Annotated[int | None, typer.Option(help="The most steps of history to read.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the windows drawn.")] = 0,
) -> None:
    """Fine-tune on the series of a file, and keep the result only where it forecasts them better."""
    started = clock.perf_counter()
    folder = data.with_name(f"{stem(data)}-model") if out is None else out
    if folder.resolve() == data.resolve():
        raise DataError(f"--out {folder} is the input file; choose another name")
    named: dict[str, Any] = {"base": base, "past": past, "future": future, "static": static, "id": id, "time": time}
    named |= {"target": target, "freq": freq, "windows": windows, "context": context}
    options = {name: value for name, value in named.items() if value is not None}

    from rich.console import Console

    import tsfm

    console = Console(highlight=False)
    say = partial(console.print, soft_wrap=True, markup=False)
    if (folder / "config.json").exists():
        say(f"the model in {folder} is replaced when this one is done", style="yellow")
    found = tsfm.finetune(
        data,
        horizon,
        method=method,
        time_budget=time_budget,
        out=folder,
        errors=errors,
        device=device,
        precision=precision,
        seed=seed,
        progress=lambda line: say(line, style="dim"),
        **options,
    )
    show(found, console)
    say(f"model     {folder}")
    say(f"forecast  {how_to_forecast(found, data, folder)}")
    say(f"report    {folder / 'report.md'}")
    say(f"time      {clock.perf_counter() - started:.1f} s")


def stem(file: Path) -> str:
    """The name of a file without the endings that say its kind."""
    from tsfm.data.readers import KNOWN

    name = file.name
    while Path(name).suffix.lower() in (*PACKED, *KNOWN):
        name = Path(name).stem
    return name


def how_to_forecast(found: "FineTuned", data: Path, folder: Path) -> str:
    """The command that uses the model, and what its data need."""
    command = f"tsfm forecast {data} --model {folder}"
    head = found.forecaster.head
    ahead = head.names("future") if head is not None else []
    if not ahead:
        return command
    return f"{command}, once {data.name} ends in rows where {', '.join(ahead)} stand and the target is empty"


def show(found: "FineTuned", console: "Console") -> None:
    """Print the verdict, the table, what was done, and every doubt."""
    from tsfm.cli.tables import scores_table
    from tsfm.finetuning import report_text

    heads, *rows = report_text.cells(found.report)
    say = partial(console.print, soft_wrap=True, markup=False)
    console.print("", scores_table(heads, rows), "", sep="\n")
    console.print(report_text.LEGEND, style="dim")
    say(f"\n{found.report['verdict']}\n", style="bold")
    for fact in report_text.facts(found.report):
        say(fact)
    for doubt in report_text.doubts(found.report):
        say(f"note      {doubt}", style="yellow")
