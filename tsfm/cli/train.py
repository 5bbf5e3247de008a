"""`tsfm train`: an architecture fitted on one data set and scored by the protocol of the long-horizon papers."""

import ast
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsfm.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tsfm.training.fitted import Fitted


def train(
    model: Annotated[str, typer.Option(help="Name of an architecture, such as dlinear; a wrong one lists them.")],
    data: Annotated[str, typer.Option(help="A data set (ETTh1, weather, ...), or a CSV or parquet file of your own.")],
    horizon: Annotated[int, typer.Option(min=1, help="Steps ahead.")],
    context: Annotated[int | None, typer.Option(min=1, help="Steps that are read; what was published.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="The most passes over the windows; as published.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; as published.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Windows a step; as published.")] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Epochs without a gain before it ends.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, type1, type3, cosine or one-cycle; as published.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="A column or series that is a variate; repeatable; all.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A config of the architecture's own to begin from.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="A field of its config, as cycle=168; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="Where torch computes, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Part of the run: sums depend on it.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for the model; <model>-<data>-<horizon>.")] = None,
) -> None:
    """Fit an architecture on a data set, and score it on the test stretch; the same command goes on after a kill."""
    import torch
    from rich.console import Console

    from tsfm.training.fit import fit_table, settings_of
    from tsfm.training.fit_data import read_table

    torch.set_num_threads(threads)
    asked = {"rate": rate, "batch": batch, "epochs": epochs, "patience": patience, "schedule": schedule, "seed": seed}
    settings = settings_of(model, **asked)
    folder = Path(f"{model}-{Path(data).stem}-{horizon}") if out is None else out
    check_folder(folder, data)
    state = folder.with_name(f"{folder.name}.fitting.safetensors")
    console = Console(highlight=False)
    fitted = fit_table(
        model,
        read_table(data, target or ()),
        horizon,
        context,
        preset=preset,
        options=options_from(option or []),
        settings=settings,
        state=state,
        device=device,
        report=partial(console.print, soft_wrap=True, markup=False, style="dim"),
        progress=None,
    )
    fitted.save(folder)
    state.unlink()
    show(fitted, console)
    console.print(f"model    {folder}", soft_wrap=True, markup=False)


def options_from(texts: list[str]) -> dict[str, Any]:
    """Fields by name from texts such as "cycle=168" or "backbone=mlp": Python's literals, else words."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise DataError(f"--option {text}: write a field and its value, such as cycle=168")
        try:
            found[name.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name.strip()] = value
    return found


def check_folder(folder: Path, data: str) -> None:
    """Refuse, before the work, a folder that cannot take the model."""
    from tsfm.checkpoints import CONFIG

    if folder.resolve() == Path(data).resolve():
        raise DataError(f"--out {folder} is the input file; choose another name")
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))):
        raise DataError(f"{folder} exists and is no model's folder; give --out a new or an empty one")


def show(fitted: "Fitted", console: "Console") -> None:
    """Print the test errors beside those of the seasonal naive forecast, and what they are of."""
    from rich.table import Table

    scores, config = fitted.scores, fitted.config
    table = Table("", "MSE", "MAE", title=f"{fitted.data['name']}, horizon {config.horizon}, test stretch")
    table.add_row(fitted.name, f"{scores['mse']:.4f}", f"{scores['mae']:.4f}", style="bold")
    table.add_row("seasonal naive", f"{scores['naive_mse']:.4f}", f"{scores['naive_mae']:.4f}")
    console.print("", table)
    console.print(
        f"{int(scores['windows']):,} windows of {len(fitted.variates)} variates, standardised by the training stretch; "
        f"context {config.context}, {fitted.parameters:,} parameters, epoch {fitted.fit['best']} of "
        f"{len(fitted.fit['course'])} was best on validation ({scores['validation_mse']:.4f}); {fitted.seconds:.1f} s",
        soft_wrap=True,
        markup=False,
    )
