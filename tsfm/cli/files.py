"""Files that the commands write: the ending decides the kind, and a file appears whole or not at all."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tsfm.errors import DataError, MissingDependency

TABLES = (".csv", ".parquet")
PICTURES = (".png", ".pdf", ".svg", ".jpg")


def check_target(path: Path | None, option: str, endings: Sequence[str], source: Path | None = None) -> None:
    """Raise `DataError` before any work is done if `path` could not be written in the end."""
    if path is None:
        return
    if path.suffix.lower() not in endings:
        raise DataError(f"{option} {path}: the ending {path.suffix!r} is not known; use {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise DataError(f"{option} {path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{option} {path}: nothing may be written in {path.parent}; name another folder")
    if path.is_dir():
        raise DataError(f"{option} {path} is a folder; name a file")
    if source is not None and path.resolve() == source.resolve():
        raise DataError(f"{option} {path} is the input file; choose another name")


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then move it into place, so that no reader ever sees half a file."""
    unfinished = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_table(frame: Any, path: Path) -> None:
    """Write a pandas frame as CSV or parquet, by the ending of `path`."""
    if path.suffix.lower() == ".csv":
        write_atomically(path, lambda target: frame.to_csv(target, index=False))
        return
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingDependency(f'{path}: parquet needs pyarrow; pip install "tsfm-forecast[data]"') from None
    write_atomically(path, lambda target: frame.to_parquet(target, index=False))
