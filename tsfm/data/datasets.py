"""Series of the data sets at hand: one parquet file a set, found under the folder that `$TSFM_DATA` names.

    $TSFM_DATA/eval/<name>.parquet        sets that models are measured on, never trained on
    $TSFM_DATA/pretrain/<name>.parquet    sets that training may read

Columns: item_id, start, freq, target (a list of float32 a row, NaN where missing). Needs pyarrow, the extra `data`.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError, MissingDependency, UnknownName

# C steps of one series.

SPLITS = ("eval", "pretrain")
COLUMNS = ("item_id", "start", "freq", "target")


@dataclass(frozen=True)
class Series:
    """One series as stored.

    values    (C,) float64, NaN where missing; steps are `freq` apart from `start` on
    freq      pandas frequency alias as the file has it, e.g. "15min", "MS", "W-THU"
    """

    series_id: str
    start: pd.Timestamp
    freq: str
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


def data_folder() -> Path | None:
    """Folder that `$TSFM_DATA` names, or None where the variable is not set."""
    name = os.environ.get("TSFM_DATA", "").strip()
    return Path(name).expanduser() if name else None


def data_path(name: str, split: str = "eval") -> Path:
    """Path of a set's parquet file; raise where `$TSFM_DATA` is not set or the set is not in it."""
    if split not in SPLITS:
        raise UnknownName(f"no split {split!r}; splits are {', '.join(SPLITS)}")
    root = data_folder()
    if root is None:
        raise DataError(
            f"data set {name!r} cannot be read: set TSFM_DATA to the folder that has {split}/{name}.parquet"
        )
    path = root / split / f"{name}.parquet"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.parquet"))) or "none"
        raise UnknownName(f"no data set {name!r} in $TSFM_DATA/{split}; there are {there}")
    return path


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


def load_series(name: str, split: str = "eval") -> list[Series]:
    """Series of the set `name` under `$TSFM_DATA`."""
    return read_parquet(data_path(name, split))


def sha256(path: str | Path) -> str:
    """Hash of a file's bytes, as results and cards quote it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
