"""Covariate columns: columns of the data that a person names, read as numbers or as codes of words.

past     known up to now
future   known ahead: their history stands in the data, what comes next in the last rows or in `future=`
static   one value a series
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.arrays import to_array, to_floats
from tsfm.data.clocks import Ticks
from tsfm.errors import DataError
from tsfm.panel import Floats

# R rows of the frame.

ROLES = ("past", "future", "static")


@dataclass(frozen=True)
class Named:
    """Names of columns, as a person gave them."""

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        return [*self.past, *self.future, *self.static]

    def role(self, name: str) -> str:
        """The argument that names a column."""
        return next(role for role in ROLES if name in getattr(self, role))

    @property
    def moving(self) -> list[str]:
        """Names of columns with a value a step."""
        return [*self.past, *self.future]


@dataclass
class ReadColumns:
    """Named columns of a frame.

    moving      name -> (R,) numbers, or codes of words, NaN where missing
    categories  name -> words; a code is a position in them
    static      name -> id -> value
    """

    named: Named
    moving: dict[str, Floats] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    static: dict[str, dict[Hashable, Any]] = field(default_factory=dict)


def are_names(given: Any) -> bool:
    """Whether covariates are given as names of columns rather than as values."""
    return isinstance(given, str) or (isinstance(given, list | tuple) and all(isinstance(name, str) for name in given))


def name_columns(past: Any, future: Any, static: Any) -> Named:
    """The names among what was given; `DataError` where one stands twice, or past= is something else."""
    if past is not None and not are_names(past):
        raise DataError(f"past={past!r} does not name columns; give a list of names such as past=['temperature']")
    taken: dict[str, str] = {}
    found = []
    for role, given in zip(ROLES, (past, future, static), strict=True):
        names = (given,) if isinstance(given, str) else tuple(given) if are_names(given) else ()
        for name in names:
            if name in taken:
                both = f"both {taken[name]}= and {role}=" if taken[name] != role else f"{role}= twice"
                raise DataError(f"{both} name the column {name!r}; give it one role")
            taken[name] = role
        found.append(names)
    return Named(*found)


def without(frame: pd.DataFrame, named: Named, roles: dict[str, Any]) -> pd.DataFrame:
    """The frame without the named columns, which must be there and be neither id, time nor target."""
    targets = roles["target"] if isinstance(roles["target"], list) else [roles["target"]]
    for name in named.all:
        if name not in frame.columns:
            shown = ", ".join(repr(column) for column in list(frame.columns)[:12])
            raise DataError(f"{named.role(name)}= names {name!r}, which is no column of the data; they have {shown}")
        if name in (roles["id"], roles["time"], *targets):
            raise DataError(f"{named.role(name)}= names {name!r}, which is id, time or target already; leave it out")
    return frame.drop(columns=named.all)


def read_columns(frame: pd.DataFrame, named: Named, ids: Sequence[Hashable], codes: Ticks) -> ReadColumns:
    """Values of the named columns; `codes` (R,) is the position in `ids` of the series of each row."""
    read = ReadColumns(named)
    for name in named.moving:
        values, words = read_values(frame[name], name, lambda row: f"series {ids[int(codes[row])]!r}")
        read.moving[name] = values
        if words is not None:
            read.categories[name] = words
    for name in named.static:
        read.static[name] = _constants(name, frame[name], ids, codes)
    return read


def read_values(column: Any, name: str, owner: Any = None) -> tuple[Floats, list[str] | None]:
    """Numbers, and None; or codes of words, and the words in order: NaN is missing in both.

    owner   row -> the series it belongs to, as messages call it
    """
    kind = getattr(column, "dtype", None)
    if isinstance(kind, pd.PeriodDtype) or getattr(kind, "kind", "") in "mM":
        raise DataError(
            f"column {name!r} holds times, which are no covariate; give numbers made of them, such as "
            f"frame[{name!r}].dt.dayofweek"
        )
    raw = to_array(column)
    numbers = to_floats(raw)
    worded = kind == "category" and len(numbers.parsed) > 0
    if not len(numbers.bad) and not worded:
        _refuse_infinite(numbers.values, name, owner)
        return numbers.values, None
    missing = np.asarray(pd.isna(pd.Series(column)))
    if not worded and np.count_nonzero(~np.isnan(numbers.values)) > 0.5 * np.count_nonzero(~missing):
        row = int(numbers.bad[0])
        value = pd.Series(column).iloc[row]
        who = f"{owner(row)} has" if owner else "it has"
        raise DataError(
            f"column {name!r} holds numbers, but {who} {value!r} in row {row}; make it a number or leave it empty"
        )
    texts = pd.Series(column).astype(object).where(~missing).map(str, na_action="ignore")
    words = sorted(set(texts[~missing]))
    return code_words(texts, words), words


def code_words(texts: Any, words: list[str]) -> Floats:
    """Positions of texts among the words, NaN where missing; a word that is not there is added to the list."""
    known = {word: code for code, word in enumerate(words)}
    found = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        if not pd.isna(text):
            found[row] = known.setdefault(str(text), len(known))
    words[:] = list(known)
    return found


def _refuse_infinite(values: Floats, name: str, owner: Any) -> None:
    rows = np.flatnonzero(np.isinf(values))
    if len(rows):
        who = f" of {owner(int(rows[0]))}" if owner else ""
        raise DataError(
            f"column {name!r}{who} has {values[rows[0]]} in row {rows[0]}; make it a finite number or leave it empty"
        )


def _constants(name: str, column: "pd.Series[Any]", ids: Sequence[Hashable], codes: Ticks) -> dict[Hashable, Any]:
    """The one value of every series; NaN where it has none."""
    rows = pd.DataFrame({"series": codes, "value": column.to_numpy(dtype=object)}).dropna(subset=["value"])
    rows = rows.drop_duplicates()
    twice = rows[rows["series"].duplicated(keep=False)]
    if len(twice):
        series = int(twice["series"].iloc[0])
        one, two = twice.loc[twice["series"] == series, "value"].iloc[:2]
        raise DataError(
            f"static= names {name!r}, which is both {one!r} and {two!r} in series {ids[series]!r}; make it the same in "
            "all its rows, or name it in past= or future="
        )
    found = dict(zip(rows["series"], rows["value"], strict=True))
    return {series_id: found.get(position, np.nan) for position, series_id in enumerate(ids)}
