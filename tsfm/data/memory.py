"""Memory: what reading a table takes, estimated from the size of the file, against what the machine has left.

The factors were measured on files of 300 MB (long, wide and one series of 11 million stamps) with a tenth added; they
hold what the frame takes, what parsing needs beside it, and the arrays of the panel.
"""

import os
from itertools import zip_longest
from pathlib import Path

from tsfm.data.packed import unpacked_size
from tsfm.data.sniffing import Dialect, head_cells
from tsfm.errors import DataError

GIB = 2**30
SMALL = 64 * 2**20  # bytes of text that are read without a word
NUMBER = 35  # bytes that a number takes at the height of reading: parsed part, frame, arrays of the panel
WORD, FRESH = 27, 116  # the same for a word, and what a word adds that is new in its part of the file


def need(size: int, rows: list[list[str]], line: float) -> int:
    """Bytes that reading `size` bytes of text takes, from the rows of its head and the bytes of such a row.

    pandas parses a file in parts as long as the head, and holds equal words of one part once.
    """
    each = 0.0
    for column in zip_longest(*rows, fillvalue=""):
        words = [cell for cell in column if not _is_number(cell)]
        each += NUMBER if len(words) < len(column) / 2 else WORD + FRESH * len(set(words)) / len(words)
    return int(size / max(1.0, line) * each)


def _is_number(cell: str) -> bool:
    text = cell.strip().lstrip("+-")
    return not text or (text[0].isdigit() and not set(text) & set("-/:"))


def available() -> int | None:
    """Bytes of memory that this process may still take, None where the system does not tell."""
    found = [amount for amount in (_from_proc(), _from_group()) if amount is not None]
    if found:
        return min(found)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _from_proc() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _from_group() -> int | None:
    """What a container's limit leaves."""
    folder = Path("/sys/fs/cgroup")
    try:
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None


def refuse_too_large(file: Path, dialect: Dialect, left: int | None = None) -> None:
    """Raise before anything is read if the file would not fit in `left` bytes, by default what is free."""
    size = unpacked_size(file)
    if size < SMALL:
        return
    left = available() if left is None else left
    needed = need(size, *head_cells(file, dialect))
    if left is None or needed <= left:
        return
    raise DataError(
        f"{str(file)!r} is {size / GIB:.1f} GiB of text and needs about {needed / GIB:.1f} GiB of memory to read, "
        f"where {left / GIB:.1f} GiB are free; keep only the columns of series, time and target, save it as parquet, "
        "or split it by series and give the parts one by one"
    )
