"""`tsfm doctor`: what is installed, which path runs here and why, and whether the embedded models answer as stored."""

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

PACKAGES = ("tsfm-forecast", "torch", "numpy", "pandas", "safetensors", "narwhals")
OPTIONAL = {
    **{"triton": "triton", "pyarrow": "data", "polars": "data", "matplotlib": "plot", "gluonts": "gluonts"},
    **{"huggingface_hub": "hub", "scikit-learn": "sklearn"},
    **dict.fromkeys(("statsforecast", "utilsforecast", "fev"), "bench"),
}
"""Package -> the extra that brings it."""


def doctor() -> None:
    """Show versions, device, kernel path and precision, and test the embedded models."""
    from rich.console import Console
    from rich.table import Table

    from tsfm import kernels

    console = Console(highlight=False)
    table = Table.grid("what", "value", "why", padding=(0, 2))
    for what, value, why in [*versions(), *kernels.describe()]:
        table.add_row(what, value, why)
    console.print(table)

    from tsfm.checkpoints import embedded
    from tsfm.cli.parity import compare

    failed = False
    for name, folder in embedded().items():
        results = compare(folder)
        if not results:
            console.print(f"{name:<18}[yellow]untested[/yellow]  no stored answer beside its weights")
        for one in results:
            word = "[green]passed[/green]" if one.passed else "[bold red]FAILED[/bold red]"
            limits = f"differs by {one.difference:.1e} of the input's deviation, at most {one.tolerance:.0e} allowed"
            console.print(f"{name:<18}{word}  {one.path}: {limits}", soft_wrap=True)
            failed |= not one.passed
    if failed:
        console.print("This machine does not reproduce a stored answer: report it with the output above.", style="red")
        raise typer.Exit(1)


def versions() -> list[tuple[str, str, str]]:
    """Rows (what, version, remark) on Python and on the packages used, the optional ones last."""
    rows = [("python", platform.python_version(), platform.platform())]
    for name in (*PACKAGES, *OPTIONAL):
        try:
            rows.append((name, version(name), ""))
        except PackageNotFoundError:
            rows.append((name, "-", f"not installed: pip install 'tsfm-forecast[{OPTIONAL.get(name, 'all')}]'"))
    return rows
