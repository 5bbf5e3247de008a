"""Reader "parquet_set": the parquet files that `$TSFM_DATA` holds, a series a row.

Columns: item_id, start, freq, target (a list of numbers, NaN where missing). Needs pyarrow, the extra `data`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tsfm.data.series import Series
from tsfm.errors import DataError, MissingDependency
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card

COLUMNS = ("item_id", "start", "freq", "target")


@register("parquet_set", kind="reader")
def read_parquet_set(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """Series of every file, in file order."""
    return [series for path in paths for series in read_parquet(path)]


def read_parquet(path: str | Path) -> list[Series]:
    """Series of one parquet file, in file order; raise `DataError` where a column is missing."""
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependency("reading parquet needs pyarrow: pip install 'tsfm-forecast[data]'") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(f"{Path(path).name} has no column {', '.join(missing)}; a set has {', '.join(COLUMNS)}")
    columns = (frame[column].tolist() for column in COLUMNS)
    return [
        Series(str(series_id), pd.Timestamp(start), str(freq), np.asarray(target, dtype=np.float64))
        for series_id, start, freq, target in zip(*columns, strict=True)
    ]
