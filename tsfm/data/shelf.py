"""Where the files of a data set lie on this machine, and what brings them here.

    $TSFM_DATA/eval/<name>.parquet, $TSFM_DATA/pretrain/<name>.parquet   prepared sets
    $TSFM_CACHE/datasets/<name>/   (or ~/.cache/tsfm/datasets/<name>/)    files as their publishers have them

A file is checked against the hash on its card whenever it is opened; one that nobody had read when the card was
written is recorded at its first download (<file>.sha256 beside it) and checked against that ever after.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from datasets_registry import Card, File
from tsfm.data.packed import kind_of
from tsfm.errors import DataError

TEXT, TSF = (".csv", ".tsv", ".txt"), (".tsf",)
DEMO = Path(__file__).resolve().parents[1] / "demo"
PARQUET_READER = "parquet_set"


def data_folder() -> Path | None:
    """Folder that `$TSFM_DATA` names, or None where the variable is not set."""
    name = os.environ.get("TSFM_DATA", "").strip()
    return Path(name).expanduser() if name else None


def cache_folder(name: str) -> Path:
    """Folder that downloads of one set are kept in."""
    root = os.environ.get("TSFM_CACHE", "").strip() or "~/.cache/tsfm"
    return Path(root).expanduser() / "datasets" / name


def is_offline(asked: bool = False) -> bool:
    """Whether nothing may be fetched: asked for, or `TSFM_OFFLINE=1`."""
    return asked or os.environ.get("TSFM_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def whereabouts(card: Card, folder: Path | None = None) -> str:
    """Where a set is, in two words for a table: "here", "to download" or "by hand"."""
    if found(card, folder) is not None:
        return "here"
    return "to download" if card.raw and all(file.url for file in card.raw) else "by hand"


def found(card: Card, folder: Path | None = None) -> tuple[str, dict[Path, File]] | None:
    """Reader and files of a set that is on this machine, unchecked; None where it is not."""
    roots = [root for root in (folder, data_folder()) if root is not None]
    raw = None if folder is None else raw_files(card, folder)
    if raw:
        return card.reader, raw
    for root in roots if card.prepared else []:
        path = root / card.prepared.path if card.prepared else root
        if path.is_file():
            return PARQUET_READER, {path: card.prepared or File("")}
    for place in places(card):
        raw = raw_files(card, place)
        if raw:
            return card.reader, raw
    return None


def places(card: Card) -> list[Path]:
    """Folders that may hold the raw files: beside a person's own card, in the package, in the cache."""
    if card.home:
        return [Path(card.home)]
    return [DEMO] if card.role == "demo" else [cache_folder(card.name)]


def raw_files(card: Card, folder: Path) -> dict[Path, File] | None:
    """The raw files of a set in a folder, if all of them are there."""
    paths = {folder / file.path: file for file in card.raw}
    if paths and all(path.is_file() for path in paths):
        return paths
    other = repacked(card.raw[0], folder) if len(card.raw) == 1 else None
    return {other: File(other.name)} if other is not None else None


def repacked(file: File, folder: Path) -> Path | None:
    """The same file unpacked, or packed otherwise: a.tsf or a.csv in place of a.zip; none where its hash is known."""
    wanted = folder / file.path
    stem = wanted.name.split(".")[0]
    if file.sha256:
        return None
    beside = sorted(wanted.parent.glob(f"{stem}.*"))
    return next((path for path in beside if path.is_file() and kind_of(path) in {*TEXT, *TSF}), None)


def files_of(card: Card, folder: Path | None = None, offline: bool = False) -> tuple[str, list[Path]]:
    """Reader and checked files of a set, fetched where they are not here and may be."""
    here = found(card, folder)
    if here is None:
        fetch_files(card, folder, offline)
        here = found(card, folder)
    if here is None:
        raise DataError(f"data set {card.name!r} is not here; {remedy(card, folder)}")
    reader, files = here
    for path, file in files.items():
        check_file(card, path, file)
    return reader, list(files)


def fetch_files(
    card: Card, folder: Path | None = None, offline: bool = False, progress: bool | None = None
) -> list[Path]:
    """Download the raw files of a set, those left out that are here already; the paths of all."""
    if is_offline(offline) or not card.raw or not all(file.url for file in card.raw):
        reason = "is not here and nothing is fetched offline" if is_offline(offline) else "is not here"
        raise DataError(f"data set {card.name!r} {reason}; {remedy(card, folder)}")
    from tsfm.data.download import fetch

    target = folder or places(card)[-1]
    paths = []
    for file in card.raw:
        path = target / file.path
        if not path.is_file():
            fetch(file.url, path, sha256=file.sha256 or None, progress=progress)
        paths.append(path)
    return paths


def remedy(card: Card, folder: Path | None = None) -> str:
    """What a person can do to have the files of a set."""
    target = folder or places(card)[-1]
    by_hand = []
    for file in card.raw:
        source = f"fetch {file.url}" if file.url else f"get {file.path} ({card.url or card.source})"
        by_hand.append(f"{source} and put it into {target} as {file.path}")
    prepared = f"set TSFM_DATA to the folder that has {card.prepared.path}" if card.prepared else ""
    return ", or ".join(way for way in (prepared, "; ".join(by_hand)) if way)


def check_file(card: Card, path: Path, file: File) -> None:
    """Raise `DataError` where a file is not the one that the card, or its first download, names."""
    note = path.with_name(path.name + ".sha256")
    stated = file.sha256 or (note.read_text().split()[0] if note.is_file() else "")
    if not stated:
        return
    measured = sha256(path)
    if measured != stated:
        source = f"the card {card.name!r}" if file.sha256 else f"its first download ({note.name})"
        if card.home:
            advice = f"if the file is right, remove the card and write a new one: tsfm datasets describe {path.name}"
        else:
            advice = "remove it and get it again, or read it under another name: tsfm.load_dataset(path)"
        raise DataError(f"{path} has sha256 {measured} and {source} says {stated}; {advice}")


def sha256(path: str | Path) -> str:
    """Hash of a file's bytes, as results and cards quote it; a file is read again only when it changed."""
    status = Path(path).stat()
    return _hash(str(Path(path).resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=512)
def _hash(path: str, size: int, changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
