"""Files: CSV (however it is written), parquet and Monash's tsf become pandas frames, with what had to be put right."""

import re
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tsfm.data.memory import refuse_too_large
from tsfm.data.mending import mend
from tsfm.data.packed import PACKED as PACKED
from tsfm.data.packed import kind_of
from tsfm.data.repairs import many
from tsfm.data.sniffing import Dialect, sniff, western
from tsfm.errors import DataError, MissingDependency
from tsfm.panel import Repair

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
TSF = (".tsf",)
KNOWN = TEXT + PARQUET + TSF
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
# pandas' quicker parser, the default up to 3.0, may be wrong in the last bit, and parquet would tell another forecast.
EXACT = {"float_precision": "round_trip"} if [*map(int, pd.__version__.split(".")[:2])] < [3, 1] else {}
DATE = re.compile(r"\d{4}-\d\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}")
NUMBER = re.compile(r"-?\d+([.,]\d+)*$")


def read_table(path: str | Path) -> pd.DataFrame:
    """The frame in a CSV, parquet or tsf file, packed or not; the kind is told by the name."""
    return read_told(path)[0]


def read_told(path: str | Path, keep: Collection[Any] = ()) -> tuple[pd.DataFrame, list[Repair]]:
    """The frame in a file, and every repair that reading it took; `keep` names columns of ids and times."""
    file = Path(path).expanduser()
    if file.is_dir():
        inside = sorted(one.name for one in file.iterdir() if kind_of(one) in KNOWN)
        remedy = f"give the path of one file in it, such as {inside[0]!r}" if inside else "give the path of a file"
        raise DataError(f"{str(path)!r} is a folder; {remedy}")
    kind = kind_of(file)
    absent = not file.is_file()
    if kind not in KNOWN and not (absent and file.suffix.lower() == ".zip"):
        excel = "; of a workbook, save the sheet as CSV (in Excel: 'CSV UTF-8')" if kind in WORKBOOKS else ""
        raise DataError(
            f"{str(path)!r} is no file that can be read; give a path that ends in {', '.join(KNOWN)}, or the data "
            f"themselves{excel}"
        )
    if absent:
        where = "" if file.is_absolute() else f" (it is looked for in {Path.cwd()})"
        raise DataError(f"there is no file {str(path)!r}; check the path{where}")
    if kind in TSF:
        from tsfm.data.formats.tsf import tsf_frame

        return tsf_frame(file), []
    return (read_parquet(file), []) if kind in PARQUET else read_csv_told(file, keep)


def read_parquet(file: Path) -> pd.DataFrame:
    """The frame in a parquet file; needs pyarrow."""
    try:
        return pd.read_parquet(file)
    except ImportError as error:
        raise MissingDependency("reading parquet needs pyarrow: pip install 'tsfm-forecast[data]'") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{str(file)!r} cannot be read as parquet: {str(error).rstrip('.')}; save the table again"
        ) from error


def read_csv(file: Path, encoding: str | None = None) -> pd.DataFrame:
    """The frame in a CSV file, however it is written; see `read_csv_told`."""
    return read_csv_told(file, encoding=encoding)[0]


def read_csv_told(
    file: Path, keep: Collection[Any] = (), encoding: str | None = None
) -> tuple[pd.DataFrame, list[Repair]]:
    """The frame in a CSV file, and what had to be found out or put right to read it.

    keep   columns that hold ids or times, whose words stay words
    """
    dialect = sniff(file, encoding)
    refuse_too_large(file, dialect)
    try:
        frame = _parsed(file, dialect)
    except UnicodeDecodeError as error:
        found, told = western(file, error)
        dialect = replace(sniff(file, found), encoding=found)
        dialect.told.append(("encoding", told))
        frame = _parsed(file, dialect)
    _refuse_nameless(file, list(map(str, frame.columns)))
    if frame.empty:
        names = ", ".join(map(str, frame.columns[:6]))
        raise DataError(f"{str(file)!r} holds a line of names ({names}) and no rows; add the data below it")
    repairs = [Repair(file.name, kind, 1, f"file {file.name!r}: {text}") for kind, text in dialect.told]
    frame, mended = mend(frame, file.name, keep, "," if dialect.grouped else dialect.decimal)
    repairs += mended + _absent(frame, dialect)
    first = frame.columns[0]
    numbered = str(first).startswith("Unnamed") and pd.api.types.is_integer_dtype(frame[first].dtype)
    if numbered and len(frame.columns) > 1 and (frame[first].diff().dropna() == 1).all():
        return frame.drop(columns=first), repairs
    return frame, repairs


def _parsed(file: Path, dialect: Dialect) -> pd.DataFrame:
    """The cells as pandas reads them."""
    regex = dialect.separator == r"\s{2,}"
    how: dict[str, Any] = {"engine": "python"} if regex else {"engine": "c", **EXACT}
    how |= {
        "sep": dialect.separator,
        "decimal": dialect.decimal,
        "encoding": dialect.encoding,
        "skiprows": dialect.skip,
    }
    try:
        if dialect.longer:
            columns = list(pd.read_csv(file, nrows=0, **how).columns)
            how |= {"names": [*columns, f"Unnamed: {len(columns)}"], "header": 0}
        if dialect.grouped:
            how["dtype"] = dict.fromkeys(dialect.grouped, str)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", pd.errors.DtypeWarning)
            frame: pd.DataFrame = pd.read_csv(file, **how)
        if caught:
            _as_words(file, frame, how)
        return frame
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(
            f"{str(file)!r} cannot be read as CSV: {_plain(error)}; correct it and save the table again"
        ) from error


def _as_words(file: Path, frame: pd.DataFrame, how: dict[str, Any]) -> None:
    """Read columns again as words where pandas took some parts for numbers and others for words."""
    for name in frame.columns:
        if frame[name].dtype == object and pd.api.types.infer_dtype(frame[name], skipna=True) != "string":
            frame[name] = pd.read_csv(file, **{**how, "usecols": [name], "dtype": str})[name].to_numpy()


def _plain(error: Exception) -> str:
    """What pandas says of a broken line, in words that name the line."""
    text = str(error).strip().removeprefix("Error tokenizing data. C error: ")
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
    if found:
        return f"line {found[2]} has {found[3]} fields and the lines above it have {found[1]}"
    found = re.search(r"EOF inside string starting at row (\d+)", text)
    return f"a quotation mark in row {found[1]} is never closed" if found else text.rstrip(".")


def _absent(frame: pd.DataFrame, dialect: Dialect) -> list[Repair]:
    """Words that pandas takes for missing numbers, told as the others are."""
    found = []
    for name, word in dialect.words.items():
        if name in frame.columns and pd.api.types.is_numeric_dtype(frame[name].dtype):
            missing = int(frame[name].isna().sum())
            text = f"column {name!r}: {word!r} counts as missing ({many(missing, 'cell')} without a number in all)"
            found.append(Repair(name, "missing words", missing, text))
    return found


def _refuse_nameless(file: Path, names: list[str]) -> None:
    """A first line of values is a row that would be lost as names; 0, 1, 2 or 2021, 2022 may be names."""
    values = [name for name in names if DATE.match(name) or NUMBER.match(name)]
    whole = [int(name) for name in names if name.isdigit()]
    counting = len(whole) == len(names) and whole == list(range(whole[0], whole[0] + len(whole)))
    if len(values) == len(names) and not (counting and (len(names) > 1 or whole == [0])):
        raise DataError(
            f"the first line of {str(file)!r} holds values and no names ({', '.join(names[:3])}); write a line of "
            "names on top of it, such as ds,y"
        )
