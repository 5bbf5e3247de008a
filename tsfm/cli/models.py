"""`tsfm models`: every model that can be named, with its size and licence."""


def models() -> None:
    """List the models that `tsfm forecast --model` knows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import tsfm

    table = Table("name", "parameters", "size", "description", box=box.SIMPLE_HEAD)
    for one in tsfm.list_models():
        size = [f"{one.parameters:,}", f"{one.size / 1e6:.1f} MB"] if one.parameters else ["", ""]
        table.add_row(one.name, *size, f"{one.description} ({one.licence})" if one.parameters else one.description)
    table.columns[0].no_wrap = True
    Console(highlight=False).print(table)
