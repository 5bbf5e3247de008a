"""Reader "gluonts": a folder that GluonTS's repository writes (Alexandrov et al. 2020), read without gluonts.

    metadata.json or metadata/metadata.json     {"freq": "H", "prediction_length": 24, ...}
    train/*.json[.gz]   test/*.json[.gz]        {"start": "2014-09-07", "target": [...], "item_id": "a", ...}

The test split is read, which holds whole series; train where there is no test. A target of several dimensions gives a
series each. In a rolling test split, which repeats an item with more and more of its end, the longest is kept.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.data.formats.anchors import anchored
from tsfm.data.series import Series
from tsfm.data.timeaxis import parse_frequency
from tsfm.errors import DataError
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card

# C steps of one series, D dimensions of a target.

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")


@register("gluonts", kind="reader")
def read_gluonts(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """Series of a repository, named by its folder or by the files in it."""
    folders = dict.fromkeys(path if path.is_dir() else _folder_of(path) for path in paths)
    return [series for folder in folders for series in read_repository(folder)]


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is laid out as GluonTS does it."""
    return _metadata_path(folder) is not None and any((folder / split).is_dir() for split in ("train", "test"))


def read_repository(folder: Path, split: str = "test") -> list[Series]:
    """Series of one split of the repository in a folder."""
    path = _metadata_path(folder)
    if path is None:
        raise DataError(f"{str(folder)!r} has no metadata.json, so it is no GluonTS repository; name the folder above")
    metadata = _loads(path.read_bytes(), path, 1)
    freq = metadata.get("freq")
    if not isinstance(freq, str):
        raise DataError(f'{path} names no frequency; add one such as "freq": "h"')
    parse_frequency(freq)
    series: dict[str, Series] = {}
    for file in _data_files(folder, split):
        for place, entry in _entries(file):
            for one in _series(place, entry, freq, str(len(series))):
                if one.series_id not in series or len(one) > len(series[one.series_id]):
                    series[one.series_id] = one
    return list(series.values())


def _folder_of(path: Path) -> Path:
    """The repository that a file belongs to."""
    found = next((folder for folder in path.parents[:3] if is_repository(folder)), None)
    if found is None:
        raise DataError(f"{str(path)!r} lies in no GluonTS repository (a folder with metadata.json and test/)")
    return found


def _metadata_path(folder: Path) -> Path | None:
    places = (folder / "metadata.json", folder / "metadata" / "metadata.json")
    return next((path for path in places if path.is_file()), None)


def _data_files(folder: Path, split: str) -> list[Path]:
    asked = folder / split
    where = asked if asked.is_dir() else folder / "train"
    files = sorted(file for file in where.glob("*") if file.name.endswith(ENDINGS) and not file.name.startswith("."))
    if not files:
        raise DataError(f"{str(where)!r} has no {' or '.join(ENDINGS)}; write it with GluonTS's JsonLinesWriter")
    return files


def _entries(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry of a file of JSON lines, and where it stands."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield f"{file.name}, line {number}", _loads(line, file, number)
    except (OSError, EOFError) as error:
        raise DataError(f"{str(file)!r} cannot be read: {error}; fetch it again") from error


def _loads(text: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file.name}, line {number}: {error}; write one JSON object a line") from error
    if not isinstance(found, dict):
        raise DataError(f"{file.name}, line {number} holds no JSON object; write one a line")
    return found


def _series(place: str, entry: dict[str, Any], freq: str, number: str) -> Iterator[Series]:
    """The series of one entry: one, or one a dimension."""
    if "target" not in entry or "start" not in entry:
        raise DataError(f"{place} has {', '.join(entry)}; an entry needs start and target")
    series_id = str(entry.get("item_id", number))
    target = _target(place, series_id, entry["target"])
    start, alias = anchored(_start(place, entry["start"], freq), freq)
    if target.ndim == 1:
        yield Series(series_id, start, alias, target)
        return
    for dimension, values in enumerate(target):  # (D, C)
        yield Series(f"{series_id}/{dimension}", start, alias, values)


def _target(place: str, series_id: str, numbers: Any) -> NDArray[np.float64]:
    """Values (C,) or (D, C); GluonTS writes a missing one as "Nan" or "NaN"."""
    try:
        target = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: the target of series {series_id!r} holds no plain numbers ({error})") from error
    if target.ndim not in (1, 2) or target.shape[-1] == 0 or np.isinf(target).any():
        what = "an infinite value" if np.isinf(target).any() else f"the shape {target.shape}"
        raise DataError(f"{place}: the target of series {series_id!r} has {what}; give finite numbers or NaN")
    return target


def _start(place: str, text: Any, freq: str) -> pd.Timestamp:
    """A stamp, or the period that GluonTS wrote: "2014-09", "2014Q3", "2014-09-01/2014-09-07" (its last day)."""
    try:
        return pd.Timestamp(str(text).split("/")[-1]).tz_localize(None)
    except ValueError:
        pass
    try:
        return pd.Period(str(text), freq=parse_frequency(freq).period).start_time
    except ValueError as error:
        raise DataError(f"{place}: the start {text!r} is no time; write it as 2014-09-07 00:00:00") from error
