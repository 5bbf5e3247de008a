"""A page of synthetic series, some of every family, to judge by eye what a model is trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tsfm.data.synthetic.mix import FAMILIES, only, sample
from tsfm.errors import MissingDependency


def draw_page(
    seed: int,
    path: str | Path,
    per_family: int = 4,
    length: int = 1024,
    transforms: bool = False,
    families: Sequence[str] = tuple(FAMILIES),
) -> Path:
    """Write a PNG with `per_family` series of `length` steps from every family, a row of axes each; return its path.

    Raises UnknownName for a family that does not exist, MissingDependency without matplotlib.
    """
    batches = [sample(per_family, length, seed, families=only(name), transforms=transforms) for name in families]
    figure = _figure(len(batches), per_family)
    grid = figure.subplots(len(batches), per_family, squeeze=False)
    for row, (name, batch) in enumerate(zip(families, batches, strict=True)):
        shown = torch.where(batch.observed, batch.values, torch.nan).numpy()
        for column, axes in enumerate(grid[row]):
            axes.plot(shown[column], linewidth=0.5)
            period = float(batch.period[column])
            axes.set_title(f"{name}, season {period:g}" if period else name, fontsize=7, loc="left", pad=2)
            axes.tick_params(labelsize=5, length=2)
    target = Path(path)
    figure.savefig(target, dpi=90)
    return target


def _figure(rows: int, columns: int) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("drawing needs matplotlib: pip install 'tsfm-forecast[plot]'") from error
    figure = Figure(figsize=(4.2 * columns, 1.25 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
