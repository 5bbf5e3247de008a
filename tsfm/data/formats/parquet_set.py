"""Reader "parquet_set": the parquet files that `$TSFM_DATA` holds, a series a row.

Columns: item_id, start, freq, target (a list of numbers, NaN where missing). Needs pyarrow, the extra `data`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """Series of one parquet file, in file order; raise `DataError` where a column is missing or is wrong."""
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependency("reading parquet needs pyarrow: pip install 'tsfm-forecast[data]'") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read as parquet: {str(error).rstrip('.')}; fetch it again") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(f"{Path(path).name} has no column {', '.join(missing)}; a set has {', '.join(COLUMNS)}")
    columns = (frame[column].tolist() for column in COLUMNS)
    return [one_series(path, *row) for row in zip(*columns, strict=True)]


def one_series(path: str | Path, series_id: Any, start: Any, freq: Any, target: Any) -> Series:
    """Return the series of one row; raise `DataError` that names what is no time or no list of numbers."""
    where = f"{Path(path).name}: series {str(series_id)!r} has"
    try:
        first = pd.Timestamp(start)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} start = {start!r}, which is no time; write it as 2012-01-31 00:00:00") from error
    if pd.isna(first):
        raise DataError(f"{where} no start; give the time of its first value")
    try:
        values = np.asarray(target, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} a target that holds no plain numbers ({error}); give a list of numbers") from error
    if values.ndim != 1:
        raise DataError(f"{where} target = {target!r}, which is no list; give a list of numbers")
    return Series(str(series_id), first, str(freq), values)
