"""Downloads: one file from one address, whole and checked, or nothing under its name.

    <name>            appears only when length and hash are right
    <name>.part       what has arrived so far; the next call goes on from there
    <name>.part.from  the address and the validator (ETag or date) that the part belongs to
    <name>.sha256     the hash of a first download that nobody had vouched for, compared ever after

Only https is fetched, and http from this machine; a `file://` address is copied. Processes that want the same file wait
for one another.
"""

import hashlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tsfm.data.transfer import Job, beside, check_address, receive
from tsfm.errors import DataError

if sys.platform != "win32":
    import fcntl


def fetch(url: str, target: Path, sha256: str | None = None, progress: bool | None = None) -> Path:
    """Path of the file, downloaded unless it is there; raise `DataError` if it cannot be had or is not the right one.

    sha256     of the right file; None compares with what the first download recorded in <target>.sha256
    progress   True or False show or hide a bar, None shows it where somebody watches
    """
    check_address(url)
    job = Job(url, Path(target).expanduser().absolute(), sha256.lower() if sha256 else None)
    try:
        if job.target.exists():
            return verified(job)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with alone(job):
            if job.target.exists():
                return verified(job)
            receive(job, progress)
            _settle(job)
            return job.target
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{job.target} cannot be read or written: {reason}; make room or choose another folder{job.kept()}"
        ) from error


def verified(job: Job) -> Path:
    """The file that is there already, checked against its hash; the first hash is recorded."""
    known = job.sha256 or recorded(job.target)
    measured = hash_of(job.target)
    if known is None:
        record(job, measured)
    elif measured != known:
        note = "" if job.sha256 else f", or remove {job.target.name}.sha256 if the file is right"
        raise DataError(
            f"{job.target} has sha256 {measured} instead of {known}; remove it to have it fetched again{note}"
        )
    return job.target


def recorded(target: Path) -> str | None:
    """The hash that the first download wrote down, None where there was none."""
    note = beside(target, ".sha256")
    words = note.read_text().split() if note.is_file() else []
    return words[0].lower() if words else None


def record(job: Job, measured: str) -> None:
    """Write a hash down in the format of `sha256sum`, and say so."""
    note = beside(job.target, ".sha256")
    unfinished = beside(note, f".{os.getpid()}")
    unfinished.write_text(f"{measured}  {job.target.name}\n")
    unfinished.replace(note)
    warnings.warn(
        f"nobody had recorded the hash of {job.url}, so {job.target.name} was not checked against one; its sha256 "
        f"{measured} is recorded in {note} and compared from now on",
        UserWarning,
        stacklevel=4,
    )


def hash_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(job: Job) -> Iterator[None]:
    """Keep other processes from the part; an empty part is removed at the end."""
    if sys.platform == "win32":
        yield
        return
    while True:
        with job.part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock may have moved or removed the file that was locked.
            if _is_at(file, job.part):
                try:
                    yield
                finally:
                    if _is_at(file, job.part) and not job.arrived():
                        _forget(job)
                return


def _is_at(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _settle(job: Job) -> None:
    """Give the part its name if its hash is right, else delete it."""
    known = job.sha256 or recorded(job.target)
    measured = hash_of(job.part)
    if known is not None and measured != known:
        _forget(job)
        raise DataError(
            f"{job.url} gave a file with sha256 {measured} instead of {known}, which was deleted; try again, and if it "
            "stays so, the publisher has changed the file: look at it before you change the hash"
        )
    job.part.replace(job.target)
    job.source.unlink(missing_ok=True)
    if known is None:
        record(job, measured)


def _forget(job: Job) -> None:
    """Remove the part and what is known of it."""
    job.part.unlink(missing_ok=True)
    job.source.unlink(missing_ok=True)
