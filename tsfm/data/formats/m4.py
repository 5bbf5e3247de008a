"""Reader "m4_csv": the CSV files of the M4 competition (Makridakis et al. 2020), train and test joined.

    "V1","V2","V3",...
    "H1",605,586,586,,,          one series a line, its name first, padded with blanks to the longest

The files have no times: series begin at a placeholder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tsfm.data.formats.anchors import anchored
from tsfm.data.packed import open_packed
from tsfm.data.series import Series
from tsfm.errors import DataError
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card

# C steps of one series.

BLANKS = (b"", b"NA", b"NaN", b"nan")


@register("m4_csv", kind="reader")
def read_m4(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """Series in the order of the train file, each followed by its part of the test file."""
    is_test = [("test" in path.name.lower()) for path in paths]
    train = [path for path, test in zip(paths, is_test, strict=True) if not test]
    parts = {series_id: [values] for path in train for series_id, values in _rows(path)}
    for path in (path for path, test in zip(paths, is_test, strict=True) if test):
        for series_id, values in _rows(path):
            if series_id not in parts:
                raise DataError(f"{path.name} has the series {series_id!r}, which no train file has; give its pair")
            parts[series_id].append(values)
    start, freq = anchored(None, card.frequency)
    return [Series(series_id, start, freq, np.concatenate(values)) for series_id, values in parts.items()]


def _rows(path: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and values (C,) of every line below the header."""
    with open_packed(path) as stream:
        for number, line in enumerate(stream, start=1):
            name, _, body = line.replace(b'"', b"").strip().partition(b",")
            if number > 1 and name:
                yield name.decode(), _values(path, number, body)


def _values(path: Path, number: int, body: bytes) -> NDArray[np.float64]:
    cells = [cell.strip() for cell in body.rstrip(b", ").split(b",")]
    while cells and cells[-1] in BLANKS:
        cells.pop()
    try:
        values = np.array([np.nan if cell in BLANKS else float(cell) for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}, line {number}: {error}; fetch the file again") from error
    if not len(values) or np.isinf(values).any():
        raise DataError(f"{path.name}, line {number} has no value, or an infinite one; fetch the file again")
    return values
