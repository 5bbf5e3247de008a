"""Data sets by name: a card says what a set is (`datasets_registry`), a reader turns its files into series.

    tsfm.load_dataset("ETTh1")         a set of the registry, wherever it lies (tsfm.data.shelf)
    tsfm.load_dataset("sales.toml")    a person's own file with a card: `tsfm datasets describe sales.csv`
    tsfm.load_dataset("sales.csv")     a person's own file as it stands
    tsfm.load_dataset("data/m4/")      a folder that GluonTS's repository wrote

A parquet file in $TSFM_DATA/eval or $TSFM_DATA/pretrain needs no card: its columns say all (item_id, start, freq,
target). Reading parquet needs pyarrow, the extra `data`.
"""

import hashlib
from os import PathLike, fspath
from pathlib import Path

from datasets_registry import FOLDERS, Card, CardError
from datasets_registry import load_card as card_of
from tsfm import registry
from tsfm.data.formats.parquet_set import read_parquet as read_parquet
from tsfm.data.series import Series as Series
from tsfm.data.shelf import PARQUET_READER, data_folder, files_of
from tsfm.data.shelf import sha256 as sha256
from tsfm.errors import DataError, UnknownName
from tsfm.panel import Panel

SPLITS = ("eval", "pretrain")
Named = str | PathLike[str] | Card


def load_dataset(name: Named, folder: str | Path | None = None, offline: bool = False) -> Panel:
    """A panel of every series of a set, on its true time axis.

    name      a name that `tsfm.list_datasets` shows, a card (or the path of its TOML file), or the path of any file
              that `tsfm.forecast` reads
    folder    where the files of the set lie, or are put; by default $TSFM_DATA, then the cache
    offline   fetch nothing; `TSFM_OFFLINE=1` says the same
    """
    from tsfm.data.adapters import to_panel

    file = own_file(name)
    return to_panel(file) if file is not None else panel_of(load_series(name, folder, offline))


def load_series(name: Named, folder: str | Path | None = None, offline: bool = False) -> list[Series]:
    """Series of a set, as its files store them; the arguments are those of `load_dataset`."""
    reader, paths, card = located(name, folder, offline)
    import tsfm.data.formats  # noqa: F401  (fills the registry of readers)

    read = registry.get(reader, kind="reader")
    series: list[Series] = read(card, paths)
    return series


def data_hash(name: Named, folder: str | Path | None = None, offline: bool = False) -> str:
    """Hash of the files that `load_series` reads: of one file its sha256, of several that of their hashes."""
    _, paths, _ = located(name, folder, offline)
    if len(paths) == 1:
        return sha256(paths[0])
    return hashlib.sha256("\n".join(sha256(path) for path in paths).encode()).hexdigest()


def load_card(name: Named) -> Card:
    """The card of a set; an unknown name and a wrong card are errors of tsfm."""
    if isinstance(name, Card):
        return name
    file = own_file(name)
    if file is not None:
        from tsfm.data.describing import describe

        return describe(file)
    try:
        return card_of(str(name))
    except CardError as error:
        raise (DataError if str(name).lower().endswith(".toml") else UnknownName)(str(error)) from error


def located(name: Named, folder: str | Path | None, offline: bool) -> tuple[str, list[Path], Card | None]:
    """Reader, checked files and card of a set; a prepared set without a card has none."""
    where = Path(folder).expanduser() if folder is not None else None
    check_name(name)
    stray = None if isinstance(name, Card) else without_card(str(name))
    if stray is not None:
        return PARQUET_READER, [stray], None
    repository = None if isinstance(name, Card) else gluonts_files(Path(name).expanduser())
    if repository:
        return "gluonts", repository, None
    card = load_card(name)
    reader, paths = files_of(card, where, offline)
    return reader, paths, card


def without_card(name: str) -> Path | None:
    """A parquet file in $TSFM_DATA that no card describes, None where there is none."""
    root = data_folder()
    if root is None or not name or Path(name).name != name:
        return None
    try:
        card_of(name)
    except CardError:
        paths = [root / split / f"{name}.parquet" for split in SPLITS]
        return next((path for path in paths if path.is_file()), None)
    return None


def gluonts_files(folder: Path) -> list[Path]:
    """The files of a folder that GluonTS's repository wrote, none where it is no such folder."""
    from tsfm.data.formats.gluonts_repository import is_repository

    if not folder.is_dir() or not is_repository(folder):
        return []
    return sorted(path for path in folder.rglob("*.json*") if path.is_file())


def check_name(name: object) -> None:
    """Raise `DataError` for what names no data set, such as None."""
    named = isinstance(name, str | Card) or (isinstance(name, PathLike) and isinstance(fspath(name), str))
    if not named:
        raise DataError(f"{name!r} is no data set; give a name that tsfm.list_datasets() shows, a card, or a path")


def own_file(name: Named) -> Path | None:
    """The path of a person's own table, None for names and cards."""
    from tsfm.data.packed import PACKED
    from tsfm.data.readers import PARQUET, TEXT, TSF

    if isinstance(name, Card):
        return None
    check_name(name)
    endings = [suffix.lower() for suffix in Path(name).suffixes]
    table = endings[-1:] != [".toml"] and {*endings} & {*TEXT, *PARQUET, *TSF, *PACKED}
    return Path(name).expanduser() if table else None


def panel_of(series: list[Series]) -> Panel:
    """A panel of stored series; one without a single value is left out, in `.skipped`."""
    from tsfm.data.adapters import give_back
    from tsfm.data.intake import Intake
    from tsfm.data.rows import take_rows
    from tsfm.panel import Origin

    if not series:
        raise DataError("the data set has no series; fetch its files again")
    intake = Intake()
    rows = [{"item_id": one.series_id, "start": one.start, "freq": one.freq, "target": one.values} for one in series]
    take_rows(rows, {"id": None, "time": None, "target": None}, None, intake, family="dict")
    return intake.panel(Origin("dict", details={"names": {}}, give_back=give_back), errors="skip")


def data_path(name: str, split: str | None = None) -> Path:
    """Path of a prepared set below $TSFM_DATA; raise where the variable is not set or the set is not there.

    split   "eval" or "pretrain"; by default what the card says, and "eval" where there is no card
    """
    if split is None:
        split = split_of(name)
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


def split_of(name: str) -> str:
    """The folder below $TSFM_DATA that a set belongs to: "pretrain" or "eval"."""
    try:
        return FOLDERS.get(card_of(name).role, "eval")
    except CardError:
        return "eval"
