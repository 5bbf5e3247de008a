"""Result files: CSV written whole or not at all, and what made each row (command, commit, hardware)."""

import csv
import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from tsfm.errors import DataError

ROOT = Path(__file__).resolve().parents[2]  # the checkout, where the package lies in one
CODE = ("tsfm", "datasets_registry", "evaluation/*.py")  # of the checkout: what numbers depend on
DIGITS = 6  # of the hash of changes


def origin(*used: str) -> dict[str, str]:
    """Columns that say what made a row: command, commit, hardware and versions.

    used   distributions that took part beside those that always do, such as "statsforecast"
    """
    return {"command": command(), "commit": commit(), "hardware": hardware(), "versions": versions(*used)}


def command() -> str:
    """Return the command line as a person would repeat it from the checkout, folders outside the checkout cut off."""
    program, *arguments = (_portable(argument) for argument in sys.argv)
    return shlex.join([program, *arguments] if program == "tsfm" else ["python", program, *arguments])


def commit(root: Path = ROOT) -> str:
    """What code ran: the checkout's commit, with "+" and a hash of the changes where tracked code differs from it.

    Outside a checkout of this package, or where git cannot tell, the version: "tsfm 0.1.0". A repository that the
    package was installed or copied into is none of its own.
    """
    try:
        if not is_checkout(root) or top_level(root) != root.resolve():
            return version()
        changed = git(root, "diff", "--no-ext-diff", "--no-textconv", "--full-index", "HEAD", "--", *CODE)
        mark = f"+{hashlib.sha256(changed).hexdigest()[:DIGITS]}" if changed else ""
        return git(root, "rev-parse", "HEAD").decode().strip() + mark
    except (OSError, subprocess.CalledProcessError):
        return version()


def version() -> str:
    """The package's version, "tsfm 0.1.0", read where the build reads it; a copied package has no other record."""
    text = (Path(__file__).resolve().parents[1] / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    return f"tsfm {found[1] if found else 'of unknown version'}"


def is_checkout(root: Path) -> bool:
    """Whether a folder is a checkout of this package, by the name in its pyproject.toml."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return bool(project.get("name") == "tsfm-forecast")


def top_level(root: Path) -> Path:
    """The folder of the repository that a folder lies in."""
    return Path(git(root, "rev-parse", "--show-toplevel").decode().strip()).resolve()


def git(root: Path, *arguments: str) -> bytes:
    """What git prints in a folder, whatever repository the environment names."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # asking changes nothing
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, env=environment).stdout


def hardware() -> str:
    """Processor, cores this process may use, torch threads and memory."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_processor(), f"{cores} cores", f"{torch.get_num_threads()} torch threads"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions(*used: str) -> str:
    """Versions that numbers depend on."""
    packages = (f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "pandas", *used))
    return ", ".join([version(), f"python {platform.python_version()}", *packages])


def check_folder(folder: Path) -> None:
    """Make a folder for results and write into it, or raise `DataError`, before hours of work go there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"nothing can be written into the folder {str(folder)!r} ({error.strerror}); name another as out"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to oneself among those that ask so, other processes too; without effect where nothing can lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same columns; a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Rows of a result file, all text; none where there is no file."""
    if not Path(path).is_file():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def put_rows(path: str | Path, rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> None:
    """Write rows in place of those in a file that agree with one of them in all columns of a key, the others after all.

    Several processes may do so to one file. Cells without a value are empty; columns are those of all rows.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    def alike(found: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
        parts: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for row in found:
            parts.setdefault(tuple(str(_cell(row[name])) for name in key), []).append(row)
        return parts

    with locked(path.parent):
        old = read_csv(path)
        every = [row for part in {**alike(old), **alike(rows)}.values() for row in part]
        columns = dict.fromkeys(name for row in [*rows, *old] for name in row)
        write_csv(path, [{name: row.get(name, "") for name in columns} for row in every])


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _portable(argument: str) -> str:
    path = Path(argument)
    if not path.is_absolute():
        return argument
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
