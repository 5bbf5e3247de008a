"""Files: CSV (any usual separator, decimal comma) and parquet become pandas frames, wide or long as they stand."""

import csv
from pathlib import Path

import pandas as pd

from tsfm.errors import DataError, MissingDependency

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
SEPARATORS = ",;\t|"


def read_table(path: str | Path) -> pd.DataFrame:
    """The frame in a CSV or parquet file; the kind is told by the name."""
    file = Path(path).expanduser()
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix not in PACKED), "")
    if kind not in TEXT + PARQUET:
        known = ", ".join(TEXT + PARQUET)
        raise DataError(
            f"{str(path)!r} is no file that can be read; give a path that ends in {known}, or the data themselves"
        )
    if not file.is_file():
        raise DataError(f"there is no file {str(path)!r}; check the path (it is looked for in {Path.cwd()})")
    return read_parquet(file) if kind in PARQUET else read_csv(file)


def read_parquet(file: Path) -> pd.DataFrame:
    """The frame in a parquet file; needs pyarrow."""
    try:
        return pd.read_parquet(file)
    except ImportError as error:
        raise MissingDependency("reading parquet needs pyarrow: pip install 'tsfm-forecast[data]'") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{str(file)!r} cannot be read as parquet: {error}") from error


def read_csv(file: Path) -> pd.DataFrame:
    """The frame in a CSV file; the separator is the mark most common in the header, a decimal comma is seen."""
    try:
        head = pd.read_csv(file, sep="\x01", header=None, nrows=50, dtype=str, engine="python", quoting=csv.QUOTE_NONE)
        lines = head[0].fillna("").astype(str).tolist()
        separator = max(SEPARATORS, key=lambda mark: lines[0].count(mark))
        decimal = "," if separator != "," and _has_decimal_commas(lines[1:], separator) else "."
        frame = pd.read_csv(file, sep=separator, decimal=decimal)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{str(file)!r} cannot be read as CSV: {error}") from error
    first = frame.columns[0]
    numbered = str(first).startswith("Unnamed") and pd.api.types.is_integer_dtype(frame[first].dtype)
    if numbered and len(frame.columns) > 1 and (frame[first].diff().dropna() == 1).all():
        return frame.drop(columns=first)
    return frame


def _has_decimal_commas(lines: list[str], separator: str) -> bool:
    cells = [cell.strip().strip('"') for line in lines for cell in line.split(separator)]
    numbers = [cell for cell in cells if cell.replace(",", "", 1).lstrip("-").isdigit() and "," in cell]
    return len(numbers) > 0
