"""Reader "fev": data sets as fev and Hugging Face's `datasets` keep them (Shchur et al. 2025), one row a series.

    id          timestamp                 target            further columns
    "store_7"   [2024-01-01, ...]         [1.0, nan, ...]   lists: covariates, plain values: static; neither is read

Parquet files, Arrow files (streams, as `Dataset.save_to_disk` writes them, or files), or a folder of either. Each row
is mended as a person's own would be; with several targets, a row gives a series each, named "id/target".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tsfm.data.adapters import to_panel
from tsfm.data.columns import ID_NAMES, TARGET_NAMES, TIME_NAMES
from tsfm.data.formats.tables import series_of
from tsfm.data.series import Series
from tsfm.errors import DataError, MissingDependency
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card

ENDINGS = (".parquet", ".arrow")


@register("fev", kind="reader")
def read_fev(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """Series of every file; columns as the card names them, else by their usual names."""
    found = []
    for file in (file for path in paths for file in _files(path)):
        frame = _frame(file)
        id = _column(file, frame, "id", card.id, ID_NAMES)
        time = _column(file, frame, "time", card.time, TIME_NAMES)
        for target in card.target or ("",):
            values = _column(file, frame, "target", target, TARGET_NAMES)
            rows = zip(frame[id], frame[time], frame[values], strict=True)
            suffix = f"/{target}" if len(card.target) > 1 else ""
            records = [{"id": f"{key}{suffix}", "timestamp": times, "target": row} for key, times, row in rows]
            found += series_of(to_panel(records), card.frequencies[0])
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for ending in ENDINGS for file in path.rglob(f"*{ending}"))
    if not files:
        raise DataError(f"the folder {str(path)!r} has no {' or '.join(ENDINGS)} file; name the folder that has them")
    return files


def _frame(file: Path) -> pd.DataFrame:
    try:
        from pyarrow import ArrowInvalid, ipc, parquet
    except ImportError as error:
        raise MissingDependency("reading parquet and Arrow needs pyarrow: pip install 'tsfm-forecast[data]'") from error
    try:
        if file.suffix.lower() == ".parquet":
            return pd.DataFrame(parquet.read_table(file).to_pandas())
        with file.open("rb") as stream:
            magic = stream.read(6)
            stream.seek(0)
            reader: Any = ipc.open_file(stream) if magic == b"ARROW1" else ipc.open_stream(stream)
            return pd.DataFrame(reader.read_all().to_pandas())
    except (ArrowInvalid, OSError) as error:
        raise DataError(f"{str(file)!r} cannot be read: {error}; fetch it again") from error


def _column(file: Path, frame: pd.DataFrame, role: str, named: str, usual: tuple[str, ...]) -> str:
    found = next((name for name in ([named] if named else usual) if name in frame.columns), None)
    if found is None:
        there = ", ".join(map(str, frame.columns))
        missing = f"no column {named!r}" if named else f"none of {', '.join(usual)}"
        raise DataError(f"{file.name} has {missing}; it has {there}: name the {role} column in the card")
    return found
