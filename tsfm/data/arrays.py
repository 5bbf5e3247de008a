"""Numbers: any sequence a person has becomes one float64 array, NaN where missing, or a sentence on what is wrong.

Booleans, integers, decimals, nullable and masked kinds are numbers. Text that reads as numbers is parsed and reported;
other text, complex numbers, dates and infinities are errors that name the value.
"""

from collections.abc import Hashable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.panel import Floats

MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "<na>"})


class Column(NamedTuple):
    """What a column of anything became: the numbers, the rows read from text, and the rows that are no numbers."""

    values: Floats
    parsed: NDArray[np.int64]
    bad: NDArray[np.int64]


NO_ROWS = np.empty(0, dtype=np.int64)


def is_tensor(data: Any) -> bool:
    """True for a torch tensor, found without importing torch."""
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(data).__mro__)


def to_array(values: Any) -> Any:
    """One numpy array or pandas column of whatever holds numbers, without deciding what they mean yet."""
    if isinstance(values, np.ma.MaskedArray):
        plain = np.ma.getdata(values).astype(object)
        plain[np.ma.getmaskarray(values)] = None
        return plain
    if isinstance(values, np.ndarray):
        return values
    if is_tensor(values):
        plain = values.detach().cpu().resolve_conj()
        return plain.numpy() if plain.is_complex() else plain.double().numpy()
    if isinstance(values, pd.Series | pd.Index):
        return values.to_numpy() if isinstance(values.dtype, np.dtype) else values
    if hasattr(values, "__array__"):
        return np.asarray(values)
    return _listed(list(values))


def _listed(values: list[Any]) -> Any:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return _objects(values)
    return _objects(values) if array.ndim != 1 or array.dtype.kind not in "fiub" else array


def _objects(values: Sequence[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def to_floats(values: Any) -> Column:
    """Numbers of one column; rows that hold none are listed in `bad` and NaN in `values`."""
    array = to_array(values)
    if isinstance(array, np.ndarray):
        if array.dtype.kind in "fiub":
            with np.errstate(over="ignore"):
                return Column(np.array(array, dtype=np.float64), NO_ROWS, NO_ROWS)
        if array.dtype.kind not in "OUSTc":
            return Column(np.full(len(array), np.nan), NO_ROWS, np.arange(len(array)))
        return _objects_to_floats(array.astype(object))
    if pd.api.types.is_numeric_dtype(array.dtype):
        return Column(array.to_numpy(dtype=np.float64, na_value=np.nan), NO_ROWS, NO_ROWS)
    return _objects_to_floats(array.to_numpy(dtype=object))


def _objects_to_floats(array: NDArray[Any]) -> Column:
    kind = pd.api.types.infer_dtype(array, skipna=True)
    if kind in ("floating", "integer", "mixed-integer-float", "boolean", "decimal", "empty"):
        try:
            numbers = np.where(pd.isna(array), np.nan, array).astype(np.float64)
            return Column(numbers, NO_ROWS, NO_ROWS)
        except (TypeError, ValueError, OverflowError):
            pass
    if kind == "string":
        return _text_to_floats(array)
    numbers = np.empty(len(array))
    parsed, bad = [], []
    for row, value in enumerate(array):
        number = _number(value)
        numbers[row] = np.nan if number is None else number
        if number is None:
            bad.append(row)
        elif isinstance(value, str):
            parsed.append(row)
    return Column(numbers, np.array(parsed, dtype=np.int64), np.array(bad, dtype=np.int64))


def _text_to_floats(array: NDArray[Any]) -> Column:
    missing = np.asarray(pd.isna(array))
    numbers = np.array(pd.to_numeric(pd.Series(array), errors="coerce"), dtype=np.float64)
    unread = np.flatnonzero(np.isnan(numbers) & ~missing)
    words = np.array([str(array[row]).strip().lower() in MISSING_WORDS for row in unread], dtype=bool)
    return Column(numbers, np.flatnonzero(~missing), unread[~words] if len(unread) else NO_ROWS)


def _number(value: Any) -> float | None:
    """The number that one object is, NaN for the ways to write a missing one, None for anything else."""
    if value is None or value is pd.NA or value is pd.NaT:
        return np.nan
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in MISSING_WORDS:
            return np.nan
        try:
            return float(text)
        except ValueError:
            return None
    if is_tensor(value) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool | int | float | Decimal | Fraction | np.bool_ | np.integer | np.floating):
        try:
            return float(value)
        except OverflowError:
            return np.inf
    return None


def complaint(series_id: Hashable, raw: Any, values: Floats, bad: NDArray[np.int64], where: Any = None) -> str | None:
    """What keeps one series from being forecast, in one sentence, None when nothing does.

    where   a function from row to the words that say where the row is, "at position 3" by default
    """
    place = where or (lambda row: f"at position {row}")
    if len(values) == 0:
        return f"series {series_id!r} is empty; leave it out or give it at least one number"
    if len(bad):
        row = int(bad[0])
        value = raw.iloc[row] if hasattr(raw, "iloc") else raw[row]
        value = str(value) if isinstance(value, np.datetime64 | np.timedelta64) else value
        value = value.item() if isinstance(value, np.generic) else value
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return f"series {series_id!r} has {value!r} {place(row)}{more}, which is no real number; make it one or NaN"
    largest = np.fmax.reduce(np.abs(values))
    if np.isnan(largest):
        return f"series {series_id!r} has no value at all ({len(values)} missing); leave it out"
    if np.isinf(largest):
        rows = np.flatnonzero(np.isinf(values))
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        return f"series {series_id!r} has {values[rows[0]]} {place(int(rows[0]))}{more}; make it a finite number or NaN"
    return None
