"""`tsfm models`: every model that can be named, with its size and licence."""


def models() -> None:
    """List the models that `tsfm forecast --model` knows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import tsfm

    heading, *rows = tsfm.list_models().rows()
    table = Table(box=box.SIMPLE_HEAD)
    for title in heading:
        table.add_column(title, no_wrap=title != "description")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
