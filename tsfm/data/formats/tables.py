"""Readers of tables: "wide_csv" (a column a series), "long_csv" and "long_parquet" (columns id, time, target).

Wide tables are taken as the file has them, row by row, because the literature counts the rows of ETT, weather,
electricity, traffic and exchange: a repeated stamp or a gap stays. A table without names and times (LSTNet's) gives
series 0, 1, 2... Long tables go through `to_panel`, so that gaps, duplicates and order are mended as for a person's
own data.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import to_floats
from tsfm.data.formats.anchors import anchored
from tsfm.data.packed import open_packed
from tsfm.data.readers import read_csv, read_table
from tsfm.data.series import Series
from tsfm.data.stamps import read_times
from tsfm.errors import DataError
from tsfm.registry import register

if TYPE_CHECKING:
    from datasets_registry import Card
    from tsfm.panel import Panel

# C steps of one series.


@register("wide_csv", kind="reader")
def read_wide_csv(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """A series a column; the first column is the time, or the one that the card names; `card.target` chooses.

    Of several files, the names of the files go before those of the columns.
    """
    found = [(path.name.split(".")[0], series) for path in paths for series in _wide(card, path)]
    if len(paths) == 1:
        return [series for _, series in found]
    return [replace(series, series_id=f"{stem}/{series.series_id}") for stem, series in found]


@register("long_csv", kind="reader")
@register("long_parquet", kind="reader")
def read_long(card: "Card", paths: Sequence[Path]) -> list[Series]:
    """A series an id; columns as the card names them, else found by name and kind."""
    return [series for path in paths for series in _long(card, read_table(path))]


def _wide(card: "Card", path: Path) -> list[Series]:
    frame = _nameless(path) if _has_no_names(path) else _named(path)
    time = card.time or (frame.columns[0] if isinstance(frame.columns[0], str) else None)
    if card.time and card.time not in frame.columns:
        raise DataError(f"{path.name} has no column {card.time!r}; it has {', '.join(map(str, frame.columns[:8]))}")
    first = None if time is None else _first_stamp(path, frame[time], time)
    start, freq = anchored(first, card.frequencies[0])
    named = {str(column): column for column in frame.columns if column != time}
    missing = [name for name in card.target if name not in named]
    if missing:
        raise DataError(f"{path.name} has no column {', '.join(missing)}; it has {', '.join(list(named)[:8])}")
    return [Series(name, start, freq, _numbers(path, frame[named[name]], name)) for name in card.target or named]


def _named(path: Path) -> pd.DataFrame:
    """A table with a line of names, in UTF-8 or Latin-1 (weather.csv has a degree sign)."""
    try:
        return read_csv(path)
    except DataError as error:
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        return read_csv(path, encoding="latin-1")


def _nameless(path: Path) -> pd.DataFrame:
    """A table of numbers alone; its columns are named by their positions."""
    try:
        return pd.read_csv(path, header=None, float_precision="round_trip")
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read as CSV: {error}; fetch it again") from error


def _has_no_names(path: Path) -> bool:
    """True where every cell of the first line is a number."""
    with open_packed(path) as stream:
        cells = next(iter(stream), b"").strip().split(b",")
    try:
        return all(np.isfinite(float(cell)) for cell in cells) and len(cells) > 1
    except ValueError:
        return False


def _first_stamp(path: Path, column: Any, name: str) -> pd.Timestamp:
    clock, ticks, _ = read_times(column, name, lambda row: path.name)
    if clock.kind != "datetime":
        raise DataError(
            f"{path.name}: the column {name!r} holds no dates; name the time column in the card: time = ..."
        )
    if len(ticks) > 1 and np.median(np.diff(ticks)) < 0:
        raise DataError(f"{path.name}: the times in {name!r} run backwards; sort the rows by time")
    return _stamp(clock.index(ticks[:1])[0])


def _numbers(path: Path, column: Any, name: str) -> Any:
    values, _, bad = to_floats(column)
    bad = bad if len(bad) else np.flatnonzero(np.isinf(values))
    if len(bad):
        row = int(bad[0])
        shown = column.iloc[row].item() if isinstance(column.iloc[row], np.generic) else column.iloc[row]
        raise DataError(
            f"{path.name}: column {name!r} has {shown!r} in row {row}, which is no finite number; "
            "make it one, or list the columns to read in the card: target = [...]"
        )
    return values


def _long(card: "Card", frame: pd.DataFrame) -> list[Series]:
    from tsfm.data.adapters import to_panel

    found = []
    for target in card.target or (None,):
        panel = to_panel(frame, id=card.id or None, time=card.time or None, target=target)
        series = series_of(panel, card.frequencies[0])
        if len(card.target) > 1 and panel.origin.id is not None:
            series = [replace(one, series_id=f"{one.series_id}/{target}") for one in series]
        found += series
    return found


def series_of(panel: "Panel", usual: str) -> list[Series]:
    """Series of a panel; where one's stamps tell no frequency, or it has none, it takes the usual one."""
    made = []
    for series_id, values, index in zip(panel.ids, panel.values, panel.index, strict=True):
        timed = index.clock.kind in ("datetime", "period")
        frequency = index.frequency if timed else None
        first = _stamp(index.past()[0]) if timed else None
        name = usual if frequency is None else frequency.name.split(",")[0]  # "M, day 15" counts from the first
        made.append(Series(str(series_id), *anchored(first, name), values))
    return made


def _stamp(stamp: Any) -> pd.Timestamp:
    """A stamp of the local wall clock, without a zone."""
    first: pd.Timestamp = stamp.start_time if isinstance(stamp, pd.Period) else stamp
    return first.tz_localize(None)
