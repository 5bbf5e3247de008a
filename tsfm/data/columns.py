"""Which column of a frame is the id, which the time, which the target.

Columns that a person names are taken at their word. Others are recognised by the names that forecasting libraries use,
then by their kind; where two would do, the error names them and the argument that decides.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tsfm.errors import DataError

ID_NAMES = ("unique_id", "item_id", "series_id", "id")
TIME_NAMES = ("ds", "timestamp", "time", "date", "datetime")
TARGET_NAMES = ("y", "target", "value")


@dataclass(frozen=True)
class Roles:
    """Columns of a long frame, or of a wide one (`series` holds a column a series); None where there is none."""

    id: Any = None
    time: Any = None
    target: Any = None
    extra: list[Any] = field(default_factory=list)
    series: list[Any] | None = None


def find_roles(frame: pd.DataFrame, id: Any, time: Any, target: Any) -> Roles:
    """Roles of the columns of a pandas frame whose index, if it holds the time, stays an index."""
    several = isinstance(target, list | tuple) and not (isinstance(target, tuple) and target in frame.columns)
    wanted = list(target) if several else []
    _check_named(frame, [("id", id), ("time", time), *(("target", name) for name in wanted or [target])])
    repeated = frame.columns[frame.columns.duplicated()].unique()
    if len(repeated):
        raise DataError(f"the frame has several columns named {_names(repeated)}; give each its own name")
    left = [column for column in frame.columns if column not in (id, time, target) and column not in wanted]
    if time is None:
        time = _known(left, TIME_NAMES) if not _is_time_index(frame.index) else None
        time = time if time is not None or _is_time_index(frame.index) else _by_kind(frame, left)
        left = [column for column in left if column != time]
    if id is None and not wanted:
        id = _known(left, ID_NAMES)
        left = [column for column in left if column != id]
    if wanted:
        return Roles(None, time, None, [], wanted)
    if target is None and (time is not None or id is not None):
        target = _known(left, TARGET_NAMES)
        left = [column for column in left if column != target]
    numeric = [column for column in left if _is_numeric(frame[column])]
    if id is None:
        id = _text_id(frame, [column for column in left if column not in numeric], time, target, numeric)
    if target is not None:
        _refuse_text(frame, target, numeric)
        return Roles(id, time, target, [column for column in numeric if column != id])
    return _without_target(frame, id, time, numeric, [column for column in left if column != id])


def _check_named(frame: pd.DataFrame, named: list[tuple[str, Any]]) -> None:
    """Columns that a person names are there, one for each role."""
    taken: dict[Any, str] = {}
    for argument, name in named:
        if name is None:
            continue
        if not isinstance(name, Hashable):
            join = "; join several into one first: frame[new] = frame[one] + '/' + frame[other]"
            raise DataError(f"{argument}={name!r} is no name of a column; give one{join if argument == 'id' else ''}")
        if name not in frame.columns:
            raise DataError(f"{argument}={name!r} is no column of the frame; it has {_names(frame.columns)}")
        if name in taken:
            both = (
                f"{taken[name]}= and {argument}= both name" if taken[name] != argument else f"{argument}= names twice"
            )
            raise DataError(f"{both} the column {name!r}; give each a column of its own")
        taken[name] = argument


def _without_target(frame: pd.DataFrame, id: Any, time: Any, numeric: list[Any], left: list[Any]) -> Roles:
    """A wide frame, or a long one whose only column left is the target."""
    if id is None:
        repeats = time is not None and len(left) > 1 and bool(frame[time].duplicated().any())
        if repeats:
            raise DataError(
                f"column {time!r} repeats its times and no column names the series; say which of {_names(left)} does "
                "with id=, and which is to be forecast with target="
            )
        if time is not None and len(left) == 1 and len(frame.columns) == 2:
            return Roles(None, time, left[0])
        if not left:
            raise _nothing_to_forecast(frame)
        return Roles(None, time, None, [], left)
    candidates = numeric or left
    if len(candidates) == 1:
        return Roles(id, time, candidates[0])
    if not candidates:
        raise _nothing_to_forecast(frame)
    raise DataError(f"any of the columns {_names(candidates)} could be the one to forecast; name it with target=")


def _nothing_to_forecast(frame: pd.DataFrame) -> DataError:
    """What keeps each column of text from being forecast, where it holds some numbers."""
    text = f"the frame has columns {_names(frame.columns)} but none to forecast; name it with target="
    for column in frame.columns:
        words = _words(frame[column])
        numbers = pd.to_numeric(words, errors="coerce").notna()
        if 0 < numbers.sum() < len(words):
            at = int(numbers.to_numpy().argmin())
            more = f" and {int((~numbers).sum()) - 1} more" if (~numbers).sum() > 1 else ""
            text += (
                f"; column {column!r} holds numbers, and {words.iloc[at]!r} in row {words.index[at]}{more} besides: "
                "make them numbers, or leave them empty"
            )
        elif len(words) and not _reads_as_times(frame[column]):
            text += f"; column {column!r} holds text ({_examples(words)})"
    return DataError(text)


def _refuse_text(frame: pd.DataFrame, target: Any, numeric: list[Any]) -> None:
    """A target in which no cell is a number was meant to be another column."""
    words = _words(frame[target])
    if len(words) == 0 or pd.to_numeric(words, errors="coerce").notna().any():
        return
    others = [column for column in numeric if column != target]
    remedy = f"name one of {_names(others)} with target=" if others else "no column holds numbers, so add one"
    raise DataError(f"column {target!r} is to be forecast and holds text ({_examples(words)}); {remedy}")


def _words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The cells of a column of text, each with its row; none for a column of anything else."""
    if not _is_text(column):
        return column.iloc[:0]
    words = column.reset_index(drop=True).dropna().astype(object)
    return words if pd.api.types.infer_dtype(words) == "string" else words.iloc[:0]


def _examples(words: "pd.Series[Any]") -> str:
    return ", ".join(repr(word[:40]) for word in words.drop_duplicates().iloc[:3])


def _text_id(frame: pd.DataFrame, text: list[Any], time: Any, target: Any, numeric: list[Any]) -> Any:
    """The one column of words that can name the series; columns of words that are numbers are no names."""
    names = [column for column in text if not _reads_as_numbers(frame[column])]
    if not names or (time is None and not _is_time_index(frame.index) and target is None and not numeric):
        return None
    if len(names) > 1:
        raise DataError(
            f"any of the columns {_names(names)} could name the series; say which with id=, or, if it takes several, "
            "join them into one first: frame['id'] = frame[one] + '/' + frame[other]"
        )
    if time is None and target is None and not frame[names[0]].duplicated().any() and len(frame) > 1:
        return None
    return names[0]


def _known(columns: list[Any], names: tuple[str, ...]) -> Any:
    """The column whose name is the first of the known ones, whatever its case."""
    lower = {str(column).lower(): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), None)


def _by_kind(frame: pd.DataFrame, columns: list[Any]) -> Any:
    """The one column that holds times."""
    found = [column for column in columns if _is_time(frame[column])]
    if not found:
        found = [column for column in columns if _is_text(frame[column]) and _reads_as_times(frame[column])]
    if len(found) > 1:
        raise DataError(f"any of the columns {_names(found)} could be the time; say which with time=")
    return found[0] if found else None


def _is_time(column: "pd.Series[Any]") -> bool:
    if isinstance(column.dtype, pd.PeriodDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    return _is_text(column) and pd.api.types.infer_dtype(column.iloc[:100], skipna=True) in (
        "datetime",
        "date",
        "period",
    )


def _is_time_index(index: Any) -> bool:
    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        return True
    return _is_text(index) and len(index) > 0 and (_is_time(index.to_series()) or _reads_as_times(index))


def _is_numeric(column: "pd.Series[Any]") -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True
    if not _is_text(column):
        return False
    kinds = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")
    return pd.api.types.infer_dtype(column, skipna=True) in kinds or _reads_as_numbers(column)


def _is_text(column: Any) -> bool:
    return column.dtype == object or pd.api.types.is_string_dtype(column.dtype) or column.dtype == "category"


def _reads_as_numbers(column: Any) -> bool:
    sample = pd.Series(column).dropna().iloc[:20].astype(str)
    return len(sample) > 0 and bool(pd.to_numeric(sample, errors="coerce").notna().all())


def _reads_as_times(column: Any) -> bool:
    sample = pd.Series(column).dropna().iloc[:20].astype(str)
    return len(sample) > 0 and bool(
        sample.str.match(r"^\s*(\d{4}-?\d\d(-?\d\d)?|\d{4}[ -]?[Qq][1-4]|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})(\D|$)").all()
    )


def _names(columns: Any) -> str:
    shown: list[Hashable] = list(columns)
    return ", ".join(repr(column) for column in shown[:12]) + (
        f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    )
