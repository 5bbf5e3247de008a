"""Reader "tsf": text files of the Monash archive (Godahewa et al. 2021), plain, gzipped or in a zip as Zenodo has them.

    # a comment
    @attribute series_name string
    @attribute start_timestamp date
    @frequency half_hourly
    @horizon 336
    @missing true
    @equallength false
    @data
    T1:2012-01-01 00-00-00:1.5,?,3

Attributes stand in the order of their lines, whatever it is; the values come last, `?` is a missing one. A file without
a date begins at a placeholder, one without a frequency takes the card's.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.data.formats.anchors import anchored
from tsfm.data.packed import open_packed
from tsfm.data.series import Series
from tsfm.errors import DataError
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card

# C steps of one series.

TYPES = ("string", "date", "numeric")
UNITS = {
    **{"second": "s", "minute": "min", "hour": "h", "day": "D", "week": "W", "month": "MS", "quarter": "QS"},
    **{"year": "YS", "minutely": "min", "hourly": "h", "daily": "D", "weekly": "W", "monthly": "MS"},
    **{"quarterly": "QS", "yearly": "YS", "annual": "YS"},
}


@dataclass
class Header:
    """What stands above `@data`.

    attributes    names and types ("string", "date" or "numeric") in the order of the lines
    frequency     alias of pandas, "" where the file names none
    horizon       what the archive forecasts, None where the file does not say
    """

    attributes: dict[str, str] = field(default_factory=dict)
    relation: str = ""
    frequency: str = ""
    horizon: int | None = None
    missing: bool | None = None
    equal_length: bool | None = None


@dataclass(frozen=True)
class Place:
    """A line of a file, for messages."""

    file: Path
    line: int

    def fails(self, what: str) -> DataError:
        """The error that says what is wrong here."""
        return DataError(f"{self.file.name}, line {self.line}: {what}")


@dataclass(frozen=True)
class Row:
    """One series as the file has it: `start` None where it has no date."""

    series_id: str
    start: pd.Timestamp | None
    values: NDArray[np.float64]


@register("tsf", kind="reader")
def read_tsf(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """Series of every file, in file order."""
    found = []
    for path in paths:
        header, rows = parse(path)
        frequency = header.frequency or card.frequency.split("|")[0]
        found += [Series(row.series_id, *anchored(row.start, frequency), row.values) for row in rows]
    return found


def tsf_frame(path: Path) -> pd.DataFrame:
    """A frame of one series a row (item_id, start, freq, target): what `tsfm.forecast("file.tsf")` reads."""
    header, rows = parse(path)
    if all(np.isnan(row.values).all() for row in rows):
        raise DataError(
            f"{path.name} has no value at all: all that stands in its {len(rows)} series is a question mark; fetch it "
            "again, or write the values that are known"
        )
    records = []
    for row in rows:
        known = header.frequency and row.start is not None
        start, freq = anchored(row.start, header.frequency) if known else (row.start, header.frequency or None)
        records.append((row.series_id, start, freq, row.values))
    return pd.DataFrame(records, columns=["item_id", "start", "freq", "target"])


def parse(path: str | Path) -> tuple[Header, list[Row]]:
    """The header and every series of one file; the file is read once, line by line."""
    file = Path(path)
    with open_packed(file) as stream:
        lines = _lines(file, stream)
        header = _header(file, lines)
        rows = list(_rows(header, lines))
    if not rows:
        raise DataError(f"{file.name} has no series below @data; fetch it again")
    return header, rows


def _lines(file: Path, stream: Iterable[bytes]) -> Iterator[tuple[Place, bytes]]:
    """Lines that say something, and where they stand."""
    for number, line in enumerate(stream, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if text and not text.startswith(b"#"):
            yield Place(file, number), text


def _header(file: Path, lines: Iterator[tuple[Place, bytes]]) -> Header:
    """Read up to `@data`; tags that are not known are left alone."""
    header = Header()
    for place, line in lines:
        if not line.startswith(b"@"):
            raise place.fails(f"{_shown(line)} comes before @data; write a line @data above the first series")
        tag, *words = _text(line).split()
        if tag.lower() == "@data":
            return header
        _take_tag(header, place, tag.lower(), words)
    raise DataError(f"{file.name} has no line @data, so it is no tsf file or was cut short; fetch it again")


def _take_tag(header: Header, place: Place, tag: str, words: list[str]) -> None:
    if tag == "@attribute":
        if len(words) != 2 or words[1].lower() not in TYPES:
            said = " ".join([tag, *words])
            raise place.fails(f"{said!r} is no attribute; write @attribute NAME TYPE, where TYPE is {', '.join(TYPES)}")
        header.attributes[words[0]] = words[1].lower()
    elif tag == "@relation":
        header.relation = " ".join(words)
    elif tag == "@frequency" and words:
        header.frequency = _frequency(place, words[0])
    elif tag == "@horizon" and words:
        if not words[0].isdigit():
            raise place.fails(f"@horizon {words[0]} is no number of steps; write a whole one or drop the line")
        header.horizon = int(words[0])
    elif tag in ("@missing", "@equallength") and words:
        if words[0].lower() not in ("true", "false"):
            raise place.fails(f"{tag} {words[0]} is neither true nor false; write one of them")
        setattr(header, "missing" if tag == "@missing" else "equal_length", words[0].lower() == "true")


def _frequency(place: Place, name: str) -> str:
    """The alias of pandas: "4_seconds" is "4s", "half_hourly" "30min", "weekly" "W"."""
    found = re.fullmatch(r"(?:(\d+|half)_)?([a-z]+?)s?", name.lower())
    unit = UNITS.get(found[2]) if found else None
    if found is None or unit is None or (found[1] == "half" and unit != "h") or found[1] == "0":
        known = "4_seconds, 10_minutes, half_hourly, hourly, daily, weekly, monthly, quarterly, yearly"
        raise place.fails(f"@frequency {name} is not known; write one such as {known}")
    return "30min" if found[1] == "half" else f"{found[1]}{unit}" if (found[1] or "1") != "1" else unit


def _rows(header: Header, lines: Iterator[tuple[Place, bytes]]) -> Iterator[Row]:
    names = list(header.attributes)
    texts = [names.index(name) for name in names if header.attributes[name] == "string"]
    identity = names.index("series_name") if "series_name" in names else texts[0] if texts else None
    date = next((names.index(name) for name in names if header.attributes[name] == "date"), None)
    seen: set[str] = set()
    # An older numpy warns of what a newer one refuses: text among the numbers.
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for number, (place, line) in enumerate(lines, start=1):
            *cells, body = line.split(b":")
            if len(cells) != len(names):
                raise place.fails(
                    f"{_shown(line)} has {len(cells)} attributes and the header {len(names)} ({', '.join(names)}); "
                    "separate them by colons, and write times as 00-00-00"
                )
            series_id = f"T{number}" if identity is None else _text(cells[identity]).strip()
            if series_id in seen:
                raise place.fails(f"a second series is named {series_id!r}; give each a name of its own")
            seen.add(series_id)
            start = None if date is None else _start(place, _text(cells[date]))
            yield Row(series_id, start, _values(place, series_id, body))


def _start(place: Place, text: str) -> pd.Timestamp:
    day, _, clock = text.strip().partition(" ")
    try:
        return pd.Timestamp(datetime.fromisoformat(f"{day} {clock.strip().replace('-', ':')}".strip()))
    except ValueError as error:
        raise place.fails(f"{text!r} is no time; write it as 2012-01-31 00-00-00") from error


def _values(place: Place, series_id: str, body: bytes) -> NDArray[np.float64]:
    """Numbers (C,) between commas, NaN for a question mark."""
    text = body.replace(b"?", b"nan") if b"?" in body else body
    try:
        values = np.fromstring(text, dtype=np.float64, sep=",")
    except (ValueError, DeprecationWarning):
        values = np.empty(0)
    if len(values) != body.count(b",") + 1 or np.isinf(values).any():
        raise place.fails(f"series {series_id!r} {_bad_cell(body)}")
    return values


def _bad_cell(body: bytes) -> str:
    """What is wrong with the first cell that is no number."""
    cells = body.split(b",")
    for number, cell in enumerate(cells, start=1):
        text = _text(cell).strip()
        if text == "?":
            continue
        try:
            if np.isfinite(float(text)) or text.lower() == "nan":
                continue
        except ValueError:
            pass
        where = f"value {number} of {len(cells)}"
        return f"has {text!r} for {where}, which is no finite number; write ? where one is missing"
    return "has values that are no plain numbers; write them as 1.5, separated by commas"


def _text(line: bytes) -> str:
    """Text in UTF-8, or in Latin-1 as some files of the archive are."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _shown(line: bytes) -> str:
    text = _text(line)
    return repr(text if len(text) <= 40 else text[:37] + "...")
