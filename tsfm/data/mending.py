"""Mending: what a table in text has that is no data, or numbers that are text, is put right; every change is told.

Columns without a name and a value, lines of names in the middle (files put together), totals and notes at the end are
left out; numbers as people write them become floats. A table without any of that passes untouched, after looks at its
first and last rows alone.
"""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.columns import ID_NAMES, TIME_NAMES
from tsfm.data.numerals import Reading, apart, is_absent, read_words
from tsfm.data.repairs import many
from tsfm.data.sniffing import STAMP
from tsfm.errors import DataError
from tsfm.panel import Repair

SAMPLE = 1000  # rows that tell whether text may be numbers
LAST = 10  # rows that may be totals or notes
MOST = 0.5  # share of the words of a column that must be numbers
TOTAL = re.compile(
    r"\W*(grand |sub)?-?(totals?|sum|summe|gesamt|gesamtsumme|insgesamt|somme|suma|soma|totale|totaal|average|avg|mean|"
    r"mittelwert|durchschnitt|moyenne|media|count|min|max|minimum|maximum|median)\b.{0,20}",
    re.IGNORECASE,
)

# What each kind of change asks of the person; `tsfm.check` shows it.
REMEDIES = {
    "encoding": "save the file as UTF-8 if a name looks wrong",
    "separator": "nothing, if the columns are right; else part them with commas",
    "decimal comma": "nothing, if the numbers are right",
    "preamble": "nothing, if those lines are no data",
    "empty columns": "nothing: separators at the ends of lines make such columns",
    "repeated names": "nothing: files put together have such lines",
    "footer": "nothing, if those lines are no data; else give them a time",
    "numerals": "nothing, if the numbers are right; else write them plainly, as 1234.5",
    "ambiguous numbers": "write the numbers without thousands separators, as 1234.5, if they were read wrongly",
    "missing words": "nothing, if those are missing; where they mean zero, write 0",
}


def mend(frame: pd.DataFrame, file: str, keep: Collection[Any], decimal: str) -> tuple[pd.DataFrame, list[Repair]]:
    """The table that is meant, and what was changed.

    keep      columns that a person named as id or time, whose words stay words
    decimal   the mark of decimals in the rest of the file
    """
    repairs: list[Repair] = []
    frame = _without_empty_columns(frame, file, repairs)
    rows = len(frame)
    frame = _without_names_inside(frame, file, repairs)
    frame = _without_footer(frame, file, repairs)
    kept = {*map(str.lower, map(str, keep)), *ID_NAMES, *TIME_NAMES}
    text = [name for name in _texts(frame) if str(name).lower() not in kept]
    return _with_numbers(frame, file, text, decimal, len(frame) < rows, repairs), repairs


def _texts(frame: pd.DataFrame) -> list[Any]:
    """The columns that hold words."""
    return [
        name
        for name, kind in frame.dtypes.items()
        if pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind)
    ]


def _without_empty_columns(frame: pd.DataFrame, file: str, repairs: list[Repair]) -> pd.DataFrame:
    nameless = [name for name in frame.columns if re.fullmatch(r"Unnamed: \d+|\s*", str(name))]
    empty = [name for name in nameless if frame[name].isna().all()]
    if not empty or len(empty) == len(frame.columns):
        return frame
    repairs.append(
        Repair(file, "empty columns", len(empty), f"{many(len(empty), 'empty column')} without a name left out")
    )
    return frame.drop(columns=empty)


def _without_names_inside(frame: pd.DataFrame, file: str, repairs: list[Repair]) -> pd.DataFrame:
    if len(_texts(frame)) < len(frame.columns):
        return frame
    again = np.ones(len(frame), dtype=bool)
    for name in frame.columns:
        again &= np.asarray(frame[name].astype(object) == str(name), dtype=bool)
    if not again.any() or again.all():
        return frame
    first = int(np.flatnonzero(again)[0])
    text = f"{many(int(again.sum()), 'line')} of names between the rows left out (first: row {first})"
    repairs.append(Repair(file, "repeated names", int(again.sum()), text))
    return frame[~again].reset_index(drop=True)


def _without_footer(frame: pd.DataFrame, file: str, repairs: list[Repair]) -> pd.DataFrame:
    """The rows above totals, averages and notes, which have no time and follow the last row that has one."""
    if len(frame) < 2:
        return frame
    time = next((name for name in _texts(frame) if _has_times(frame[name])), None)
    if time is None:
        last = frame.iloc[-1]
        labels = frame[frame.columns[0]]
        alone = _is_total(last.iloc[0]) and not (labels.iloc[:-1] == last.iloc[0]).any()
        end = len(frame) - 1 if alone else len(frame)
    else:
        end = len(frame)
        while end > max(1, len(frame) - LAST) and _ends(frame.iloc[end - 1], time):
            end -= 1
    if end == len(frame):
        return frame
    shown = "; ".join(
        ", ".join(str(cell) for cell in row if not pd.isna(cell)) for row in frame.iloc[end:].to_numpy()[:3]
    )
    text = f"{many(len(frame) - end, 'row')} after the data left out ({shown})"
    repairs.append(Repair(file, "footer", len(frame) - end, text))
    return frame.iloc[:end]


def _has_times(column: "pd.Series[Any]") -> bool:
    words = column.iloc[:20].dropna().astype(str)
    return len(words) > 0 and bool(words.str.match(STAMP.pattern).mean() > 0.5)


def _is_total(cell: Any) -> bool:
    return isinstance(cell, str) and TOTAL.fullmatch(cell.strip()) is not None


def _ends(row: "pd.Series[Any]", time: Any) -> bool:
    """True for a row without a time that is a total, a note in one cell, or empty."""
    when = row[time]
    others = [cell for name, cell in row.items() if name != time and not pd.isna(cell)]
    if pd.isna(when):
        return not others or len(row) == 2 or any(_is_total(cell) for cell in others)
    return isinstance(when, str) and STAMP.match(when) is None and (_is_total(when) or not others)


def _with_numbers(
    frame: pd.DataFrame, file: str, text: list[Any], decimal: str, changed: bool, repairs: list[Repair]
) -> pd.DataFrame:
    """The frame with numbers where text holds them; columns that show their mark decide for those that do not."""
    found: dict[Any, tuple[Any, list[str]]] = {}
    for name in text:
        sample = pd.unique(frame[name].iloc[:SAMPLE].dropna())
        if any(isinstance(word, str) and (is_absent(word) or apart(word.strip())) for word in sample):
            codes, words = pd.factorize(frame[name].astype(object))
            found[name] = (codes, [str(word) for word in words])
    readings = {name: _reading(frame, file, name, words, decimal) for name, (_, words) in found.items()}
    shown = {one.decimal for one in readings.values() if one and not one.unsure and _shows(one)}
    usual = shown.pop() if len(shown) == 1 else decimal
    columns = {}
    for name, (codes, words) in found.items():
        reading = readings[name]
        if reading and reading.unsure and usual != decimal:
            reading = _reading(frame, file, name, words, usual)
        if reading and (changed or reading.absent or reading.dropped or reading.unsure or reading.decimal != decimal):
            columns[name] = _numbers(codes, words, reading)
            _tell(name, codes, words, reading, repairs)
    return pd.DataFrame({name: columns.get(name, frame[name]) for name in frame.columns}) if columns else frame


def _shows(reading: Reading) -> bool:
    return any(reading.decimal in word for word in reading.numbers)


def _reading(frame: pd.DataFrame, file: str, name: Any, words: list[str], decimal: str) -> Reading | None:
    """The numbers in a column, None where most of its words are none."""
    reading = read_words(words, decimal)
    if isinstance(reading, tuple):
        one, two = (f"{word!r} in row {int(np.flatnonzero(frame[name] == word)[0])}" for word in reading)
        raise DataError(
            f"column {name!r} of {file!r} mixes decimal commas ({one}) and decimal points ({two}); write all of its "
            "numbers one way"
        )
    share = len(reading.numbers) / max(1, len(reading.numbers) + len(reading.bad))
    return reading if share > MOST else None


def _numbers(codes: Any, words: list[str], reading: Reading) -> Any:
    """The column as numbers, whole ones as integers if none is missing; words that are none stay as they are."""
    values = [reading.numbers.get(word, np.nan) for word in words]
    if reading.bad:
        bad = set(reading.bad)
        mixed = np.array([*(w if w in bad else v for w, v in zip(words, values, strict=True)), np.nan], dtype=object)
        return mixed[codes]
    numbers = np.array([*values, np.nan])[codes]
    whole = all(re.fullmatch(r"[+-]?\d{1,15}", word.strip()) for word in words) and (codes >= 0).all()
    return numbers.astype(np.int64) if whole else numbers


def _tell(name: Any, codes: Any, words: list[str], reading: Reading, repairs: list[Repair]) -> None:
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    of = dict(zip(words, counts.tolist(), strict=True))

    def note(kind: str, which: Collection[str], text: str) -> None:
        repairs.append(Repair(name, kind, sum(of[word] for word in which), f"column {name!r}: {text}"))

    what = {
        "currency": "signs of currency",
        "percent": "percent signs",
        "thousands": "marks between thousands",
        "sign": "unusual signs of minus",
    }
    told = [
        f"{what[kind]} were {'read' if kind == 'sign' else 'taken out'} ({word!r} is {reading.numbers[word]:.12g})"
        for kind, word in sorted(reading.dropped.items())
    ]
    if reading.decimal == "," and _shows(reading):
        word = next(word for word in reading.numbers if "," in word)
        told.append(f"commas are decimal commas ({word!r} is {reading.numbers[word]:.12g})")
    if told:
        note("numerals", list(reading.numbers), " and ".join(told))
    if reading.unsure:
        mark = "," if "," in reading.unsure else "."
        role = "decimal marks" if mark == reading.decimal else "marks between thousands"
        value = reading.numbers[reading.unsure]
        text = f"{reading.unsure!r} can be read two ways and was read as {value:.12g}"
        note("ambiguous numbers", list(reading.numbers), f"{text}: no cell tells, so all {mark!r} are {role}")
    if reading.absent:
        shown = ", ".join(repr(word) for word in reading.absent[:4])
        note("missing words", reading.absent, f"{shown} {'counts' if len(reading.absent) == 1 else 'count'} as missing")
