"""Files: CSV (any usual separator, decimal comma), parquet and Monash's tsf become pandas frames as they stand."""

import csv
import re
from pathlib import Path

import pandas as pd

from tsfm.data.packed import PACKED as PACKED
from tsfm.data.packed import kind_of
from tsfm.errors import DataError, MissingDependency

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
TSF = (".tsf",)
SEPARATORS = ",;\t|"
DATE = re.compile(r"\d{4}-\d\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}")
NUMBER = re.compile(r"-?\d+([.,]\d+)*$")


def read_table(path: str | Path) -> pd.DataFrame:
    """The frame in a CSV, parquet or tsf file, packed or not; the kind is told by the name."""
    file = Path(path).expanduser()
    kind = kind_of(file)
    absent = not file.is_file()
    if kind not in TEXT + PARQUET + TSF and not (absent and file.suffix.lower() == ".zip"):
        known = ", ".join(TEXT + PARQUET + TSF)
        raise DataError(
            f"{str(path)!r} is no file that can be read; give a path that ends in {known}, or the data themselves"
        )
    if absent:
        where = "" if file.is_absolute() else f" (it is looked for in {Path.cwd()})"
        raise DataError(f"there is no file {str(path)!r}; check the path{where}")
    if kind in TSF:
        from tsfm.data.formats.tsf import tsf_frame

        return tsf_frame(file)
    return read_parquet(file) if kind in PARQUET else read_csv(file)


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


def read_csv(file: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """The frame in a CSV file; the separator is the mark most common in the header, a decimal comma is seen."""
    try:
        head = pd.read_csv(
            file,
            sep="\x01",
            header=None,
            nrows=50,
            dtype=str,
            engine="python",
            quoting=csv.QUOTE_NONE,
            encoding=encoding,
        )
        lines = head[0].fillna("").astype(str).tolist()
        separator = max(SEPARATORS, key=lambda mark: lines[0].count(mark))
        decimal = "," if separator != "," and _has_decimal_commas(lines[1:], separator) else "."
        # pandas' quicker parser may be wrong in the last bit, and parquet would tell another forecast.
        frame = pd.read_csv(file, sep=separator, decimal=decimal, encoding=encoding, float_precision="round_trip")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(file)!r} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8, or give "
            "pandas.read_csv(path, encoding='latin-1')"
        ) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{str(file)!r} cannot be read as CSV: {error}; save the table again") from error
    _refuse_nameless(file, list(frame.columns))
    first = frame.columns[0]
    numbered = str(first).startswith("Unnamed") and pd.api.types.is_integer_dtype(frame[first].dtype)
    if numbered and len(frame.columns) > 1 and (frame[first].diff().dropna() == 1).all():
        return frame.drop(columns=first)
    return frame


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


def _has_decimal_commas(lines: list[str], separator: str) -> bool:
    cells = [cell.strip().strip('"') for line in lines for cell in line.split(separator)]
    numbers = [cell for cell in cells if cell.replace(",", "", 1).lstrip("-").isdigit() and "," in cell]
    return len(numbers) > 0
