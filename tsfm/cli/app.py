"""The commands in one list, and how a failure looks: one red sentence and exit code 2, never a traceback.

Each command stands in a file of its own and imports what it computes with only when it runs, so `tsfm --help` is quick.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tsfm.cli import (
    backtest,
    check,
    convert,
    datasets,
    doctor,
    evaluate,
    finetune,
    forecast,
    impute,
    models,
    pretrain,
    synth,
    train,
)
from tsfm.errors import TsfmError

app = typer.Typer(
    name="tsfm",
    help="Forecast time series with small pretrained models, offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("forecast")(forecast.forecast)
app.command("impute")(impute.impute)
app.command("backtest")(backtest.backtest)
app.command("finetune")(finetune.finetune)
app.command("train")(train.train)
app.command("check")(check.check)
app.command("models")(models.models)
app.add_typer(datasets.app, name="datasets")
app.command("evaluate")(evaluate.evaluate)
app.command("convert")(convert.convert)
app.command("doctor")(doctor.doctor)
app.command("synth")(synth.synth)
app.command("pretrain")(pretrain.pretrain)


def show_version(wanted: bool) -> None:
    if wanted:
        from tsfm import __version__

        typer.echo(f"tsfm-forecast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Take the options that stand before every command; `run` has acted on `--debug` already."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments`, by default the process's own. `--debug` may stand anywhere."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([argument for argument in given if argument != "--debug"], prog_name="tsfm")
    except TsfmError as error:
        if debug:
            raise
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), (str(error), "red")))
        sys.exit(2)
