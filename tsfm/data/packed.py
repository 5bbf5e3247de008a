"""Packed files: what kind of file a name promises inside its packing, and the bytes of it, line by line."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tsfm.errors import DataError, MissingDependency

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED_TO = 5  # times that packing usually makes a table of numbers smaller
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
            with _opener(file.suffix.lower())(file, "rb") as stream:
                yield stream
    except FileNotFoundError as error:
        raise DataError(f"there is no file {str(file)!r}; check the path") from error
    except PermissionError as error:
        raise DataError(f"{str(file)!r} may not be read by you; change its permissions") from error
    except DAMAGED as error:
        raise DataError(f"{str(file)!r} cannot be unpacked: {error}; fetch it again") from error


def _opener(suffix: str) -> Callable[..., Any]:
    if suffix != ".zst":
        return OPENERS.get(suffix, open)
    try:
        opener: Callable[..., Any] = import_module("zstandard").open
    except ImportError:
        raise MissingDependency("reading .zst needs zstandard: pip install zstandard, or unpack the file") from None
    return opener


def unpacked_size(file: Path) -> int:
    """Bytes of the text in a file, a guess where its packing does not tell."""
    size, suffix = file.stat().st_size, file.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            return archive.getinfo(_member(file)).file_size
    if suffix == ".gz" and size > 20:
        with file.open("rb") as stream:
            stream.seek(-4, 2)
            stated = int.from_bytes(stream.read(4), "little")
        return stated if stated > size else size * PACKED_TO
    return size * PACKED_TO if suffix in PACKED else size


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
