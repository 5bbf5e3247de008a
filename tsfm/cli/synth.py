"""`tsfm synth`: a page of the synthetic series that models are trained on, for a person to look at."""

from pathlib import Path
from typing import Annotated

import typer

from tsfm.cli.files import PICTURES, check_target, write_atomically


def synth(
    plot: Annotated[Path, typer.Option(help="Picture to draw the page into.")] = Path("synth.png"),
    seed: Annotated[int, typer.Option(help="The same seed draws the same page.")] = 0,
    families: Annotated[
        str, typer.Option(help="Comma-separated names, such as realts,calendar; by default the whole mixture.")
    ] = "",
) -> None:
    """Draw a page of synthetic series."""
    check_target(plot, "--plot", PICTURES)
    from tsfm.data.synthetic import FAMILIES
    from tsfm.data.synthetic.page import draw_page

    names = [name.strip() for name in families.split(",")] if families else list(FAMILIES)
    write_atomically(plot, lambda target: draw_page(seed, target, families=names))
    typer.echo(f"picture  {plot}")
