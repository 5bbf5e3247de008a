"""Packed files: what kind of file a name promises inside its packing, and the bytes of it, line by line."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tsfm.errors import DataError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
DAMAGED = (zipfile.BadZipFile, lzma.LZMAError, EOFError, OSError)


def kind_of(file: Path) -> str:
    """The ending that tells the kind, in small letters: ".csv" of a.csv.gz; of a.zip, that of the file inside."""
    kind = next((suffix for suffix in map(str.lower, reversed(file.suffixes)) if suffix not in PACKED), "")
    if file.suffix.lower() == ".zip" and file.is_file():
        return Path(_member(file)).suffix.lower()
    return kind


@contextmanager
def open_packed(file: Path) -> Iterator[Any]:
    """The bytes of a file as a stream of lines, unpacked where its name says so; damage is a `DataError`."""
    member = _member(file) if file.suffix.lower() == ".zip" else ""
    try:
        if member:
            with zipfile.ZipFile(file) as archive, archive.open(member) as stream:
                yield stream
        else:
            with OPENERS.get(file.suffix.lower(), open)(file, "rb") as stream:
                yield stream
    except FileNotFoundError as error:
        raise DataError(f"there is no file {str(file)!r}; check the path") from error
    except DAMAGED as error:
        raise DataError(f"{str(file)!r} cannot be unpacked: {error}; fetch it again") from error


def _member(file: Path) -> str:
    """The one file in a zip archive, leaving out what a Mac puts beside it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    except FileNotFoundError as error:
        raise DataError(f"there is no file {str(file)!r}; check the path") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{str(file)!r} is no zip archive: {error}; fetch it again") from error
    if len(names) != 1:
        shown = ", ".join(names[:5]) or "none"
        raise DataError(f"{str(file)!r} holds {len(names)} files ({shown}); unpack it and name one of them")
    return names[0]
