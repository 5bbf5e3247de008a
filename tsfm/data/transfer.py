"""Transfers: the bytes of one address into a part file, gone on from where an earlier call stopped.

A part is gone on from only if the server says by its ETag or date (If-Range) that it still has the same file, or if the
hash of the whole is known; else it is begun again.
"""

import http.client
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsfm.errors import DataError
from tsfm.progress import Progress

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18
KILO = 1000
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Dropped(Exception):
    """A connection that ended before the file did."""


@dataclass(frozen=True)
class Job:
    """What to fetch, from where, to where."""

    url: str
    target: Path
    sha256: str | None

    @property
    def part(self) -> Path:
        """Where bytes wait until they are whole; every process has its own where files cannot be locked."""
        return beside(self.target, f".{os.getpid()}.part" if sys.platform == "win32" else ".part")

    @property
    def source(self) -> Path:
        return beside(self.part, ".from")

    def arrived(self) -> int:
        """Bytes in the part."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def kept(self) -> str:
        """What to say of the part when something fails."""
        size = self.arrived()
        return f"; {size} bytes are kept in {self.part.name}, and the next call goes on from there" if size else ""

    def fails(self, what: str) -> DataError:
        """An error with the way around it: to put the file there by hand."""
        by_hand = f"download it by hand and put it into {self.target.parent} as {self.target.name}"
        return DataError(f"{self.url} {what}; try again, or {by_hand}{self.kept()}")


def check_address(url: str) -> None:
    """Raise `DataError` for an address that is neither https nor on this machine."""
    address = urllib.parse.urlsplit(url)
    if address.scheme == "http" and address.hostname not in LOOPBACK:
        raise DataError(f"{url} is plain http, which anybody on the way may change; use its https address")
    if address.scheme not in ("https", "http", "file"):
        raise DataError(f"{url!r} is no address to fetch from; give one that starts with https:// or file://")


def beside(path: Path, ending: str) -> Path:
    """The path with something after its name."""
    return path.with_name(path.name + ending)


def receive(job: Job, progress: bool | None) -> None:
    """Fill the part until it is whole; a dropped connection is taken up again as long as bytes arrive."""
    while True:
        before = job.arrived()
        try:
            return _request(job, progress)
        except Dropped as error:
            if job.arrived() <= before:
                raise job.fails(f"stopped in the middle ({error})") from error


def _request(job: Job, progress: bool | None) -> None:
    """One request: for the rest of the part if the server still has that file, else for all of it."""
    answer, start, total = _open(job)
    with answer:
        if answer.status == 416:
            return  # nothing was missing
        with job.part.open("r+b" if job.part.exists() else "wb", buffering=0) as file:
            file.truncate(start)
            if start == 0:
                job.source.write_text(f"{job.url}\n{_validator(answer)}\n")
            file.seek(start)
            size = start + _copy(job, answer, file, None if total is None else total - start, progress)
            os.fsync(file.fileno())
    if total is not None and size != total:
        raise Dropped(f"{size} of {total} bytes")


def _open(job: Job) -> tuple[Any, int, int | None]:
    """The server's answer, the byte that it begins at, and the length of the whole file where it is told."""
    offset, validator = _resumable(job)
    answer = _ask(job, offset, validator)
    start, total = _extent(answer)
    other = validator and _validator(answer) not in ("", validator)
    if start and (start != offset or other):
        answer.close()
        answer = _ask(job, 0, "")
        start, total = _extent(answer)
        if start:
            raise job.fails(f"sends a part of the file from byte {start} on, which nobody asked for")
    return answer, start, total


def _resumable(job: Job) -> tuple[int, str]:
    """Bytes of the part that may be gone on from, and the validator of the file that they are of."""
    lines = job.source.read_text().split("\n") if job.source.is_file() else []
    if len(lines) < 2 or lines[0] != job.url or not (lines[1] or job.sha256):
        return 0, ""
    return job.arrived(), lines[1]


def _ask(job: Job, offset: int, validator: str) -> Any:
    headers = {"User-Agent": "tsfm", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        return OPENER.open(urllib.request.Request(job.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if offset and error.code == 416:
            return error
        error.close()
        raise job.fails(f"answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise job.fails(f"cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise job.fails(f"cannot be reached ({error or type(error).__name__})") from error


class Redirects(urllib.request.HTTPRedirectHandler):
    """Redirections that lead to no worse an address than a person may give."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER = urllib.request.build_opener(Redirects)


def _extent(answer: Any) -> tuple[int, int | None]:
    """First byte of the answer and length of the whole file; -1 where a partial answer does not say."""
    if answer.status not in (206, 416):
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if found is None or (found[1] is None and found[2] == "*"):
        return -1, None
    total = None if found[2] == "*" else int(found[2])
    return int(found[1] if found[1] is not None else found[2]), total


def _validator(answer: Any) -> str:
    """What tells one version of the file from another, as If-Range takes it: a strong ETag, else the date."""
    tag = str(answer.headers.get("ETag", "")).strip()
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", "")).strip()


def _copy(job: Job, answer: Any, file: Any, missing: int | None, progress: bool | None) -> int:
    """Append what arrives; returns how many bytes."""
    size = drawn = 0
    with Progress((missing or 0) // KILO, progress, f"download {job.target.name}", "kB") as bar:
        while True:
            try:
                chunk = memoryview(answer.read(CHUNK))
            except (OSError, http.client.HTTPException) as error:
                raise Dropped(str(error) or type(error).__name__) from error
            if not chunk:
                return size
            size += len(chunk)
            while chunk:
                chunk = chunk[file.write(chunk) :]
            if size // KILO > drawn:
                bar.advance(size // KILO - drawn)
                drawn = size // KILO
