"""Series of the data sets at hand: one parquet file a set, found under the folder that `$TSFM_DATA` names.

    $TSFM_DATA/eval/<name>.parquet        sets that models are measured on, never trained on
    $TSFM_DATA/pretrain/<name>.parquet    sets that training may read

Columns: item_id, start, freq, target (a list of float32 a row, NaN where missing). Needs pyarrow, the extra `data`.
"""

import hashlib
import os
from pathlib import Path

from tsfm.data.formats.parquet_set import read_parquet as read_parquet
from tsfm.data.series import Series as Series
from tsfm.errors import DataError, UnknownName

SPLITS = ("eval", "pretrain")


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


def load_series(name: str, split: str = "eval") -> list[Series]:
    """Series of the set `name` under `$TSFM_DATA`."""
    return read_parquet(data_path(name, split))


def sha256(path: str | Path) -> str:
    """Hash of a file's bytes, as results and cards quote it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
