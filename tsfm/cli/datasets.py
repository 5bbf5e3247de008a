"""`tsfm datasets`: the sets that have a name, what is known of each, and a card for a file of one's own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from datasets_registry import Card

app = typer.Typer(help="Data sets: list them, show one, fetch one, describe your own file.", add_completion=False)

WIDE = 140  # columns of a terminal that has room for everything; below it titles have a line of their own
NAME = 22  # columns for a name there; a longer one shifts its line

Role = Annotated[str | None, typer.Option(help="pretrain, evaluate or demo.")]
Folder = Annotated[Path | None, typer.Option(help="Folder for the files, instead of the cache.")]


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context,
    role: Role = None,
    domain: Annotated[str | None, typer.Option(help="Part of the domain, such as energy.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, such as h, hourly, D or MS, in any case.")] = None,
    here: Annotated[
        bool | None, typer.Option("--here/--away", help="Only those on this machine, or only others.")
    ] = None,
) -> None:
    """List the data sets that can be loaded by name."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    import tsfm

    found = tsfm.list_datasets(role=role, domain=domain, frequency=freq, here=here)
    console = Console(highlight=False)
    if not found:
        asked = {"--role": role, "--domain": domain, "--freq": freq, "--here" if here else "--away": here}
        given = " ".join(
            name if isinstance(value, bool) else f"{name} {value}" for name, value in asked.items() if value is not None
        )
        console.print(f"no set is all of this: {given}; leave an option out", style="yellow", soft_wrap=True)
        return
    if console.width >= WIDE:
        console.print(table_of(found.rows()))
    else:
        for line in lines_of(found.rows()):
            console.print(line, no_wrap=True, overflow="ellipsis")
    console.print(f"{len(found)} sets; `tsfm datasets show NAME` says more of one", style="dim")


def table_of(rows: Sequence[tuple[str, ...]]) -> "Table":
    """The list as a table, for a wide terminal."""
    from rich import box
    from rich.table import Table

    from tsfm.data.listing import HEADING, NUMBERS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column, name in enumerate(HEADING):
        justify: Literal["right", "left"] = "right" if column in NUMBERS else "left"
        table.add_column(name, justify=justify, no_wrap=name != "title")
    for row in rows:
        table.add_row(*row)
    return table


def lines_of(rows: Sequence[tuple[str, ...]]) -> Iterator["Text"]:
    """The list in two lines a set, for a narrow terminal: name, frequency, whereabouts and size, then the title."""
    from rich.text import Text

    for name, title, frequency, series, _, _, where in rows:
        first, *others = frequency.split(", ")
        shown = f"{first}, …" if others else first
        size = f"{series} series" if series else ""
        yield Text(f"{name:<{NAME}}  {shown:<8}  {where:<11}  {size}".rstrip())
        yield Text(f"  {title}", style="dim")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name from the list, or the card of your own file (.toml).")],
) -> None:
    """Say what is known of one data set, and where its files are."""
    from rich.console import Console
    from rich.table import Table

    from tsfm.data.datasets import load_card

    card = load_card(name)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in facts(card):
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(card.name, style="bold")
    console.print(table)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A name from the list.")],
    folder: Folder = None,
) -> None:
    """Download the files of a data set, each checked against its hash."""
    from tsfm.data.datasets import load_card
    from tsfm.data.shelf import fetch_files, found

    card = load_card(name)
    here = found(card, folder)
    if here is not None:
        typer.echo(f"{card.name} is here already: {', '.join(map(str, here[1]))}")
        return
    for path in fetch_files(card, folder):
        typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command("describe")
def describe(
    data: Annotated[Path, typer.Argument(help="CSV, parquet or tsf file.")],
    out: Annotated[Path | None, typer.Option(help="Where the card goes; by default beside the file.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the series.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time stamps.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the values.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency, if it cannot be read from the time stamps.")] = None,
    title: Annotated[str, typer.Option(help="What the data are, in words.")] = "",
) -> None:
    """Write a card for your own file, so that it can be loaded, evaluated and trained on as a data set."""
    from datasets_registry import as_toml
    from tsfm.cli.files import check_target, write_atomically
    from tsfm.data.describing import describe as card_of
    from tsfm.errors import DataError

    target_file = out or data.with_name(data.name.split(".")[0] + ".toml")
    check_target(target_file, "--out", (".toml",), data)
    if target_file.exists():
        raise DataError(f"{target_file} exists already; remove it, or name another card with --out")
    if target_file.resolve().parent != data.resolve().parent:
        raise DataError(f"--out {target_file}: a card lies beside its file; name one in {data.resolve().parent}")
    card = card_of(data, id=id, time=time, target=target, freq=freq, title=title)
    write_atomically(target_file, lambda path: path.write_text(as_toml(card), encoding="utf-8"))
    typer.echo(as_toml(card).rstrip())
    typer.echo(f'\nwritten to {target_file}; read it with tsfm.load_dataset("{target_file}")')


def facts(card: "Card") -> list[tuple[str, str]]:
    """What a card says, in lines of a name and a text; what it does not say is left out."""
    from tsfm.data.shelf import found, remedy

    here = found(card)
    count = f"{card.series:,} series, {card.points:,} points" if card.points else f"{card.series:,} series"
    missing = f", {card.missing:,} of them missing" if card.missing else ""
    splits = (
        card.splits and f"{card.splits.train:,} train, {card.splits.validation:,} validation, {card.splits.test:,} test"
    )
    lines = [
        ("title", card.title),
        ("domain", card.domain),
        ("frequency", f"{', '.join(card.frequencies)}; season {card.season}, usual horizon {card.horizon}"),
        ("size", count + missing if card.series else ""),
        ("splits", f"{splits} steps" if splits else ""),
        ("GIFT-Eval", ", ".join(card.gift_eval)),
        ("role", card.role),
        ("training", f"{card.training}. {card.why}"),
        ("licence", card.licence),
        ("source", card.source),
        ("page", card.url),
        ("note", card.note),
        ("files", "\n".join(map(str, here[1])) if here else remedy(card)),
    ]
    return [(name, text) for name, text in lines if text]
