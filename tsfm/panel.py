"""Panel: many series of any lengths, checked and cleaned, with the user's own names.

Adapters (`tsfm.data.adapters.to_panel`) make one from whatever a person has; everything after them sees only this. A
panel remembers where it came from (`Origin`), so that a forecast goes back in the same family, and every change made
to the data on the way in (`Repair`), so that nothing is repaired silently.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tsfm.data.timeaxis import TimeIndex

# n series, T_i steps of series i, H horizon.

Floats = NDArray[np.float64]

UNKNOWN_HORIZON = 64
FEW = 3  # series with the same repair that are told one by one


@dataclass(frozen=True)
class Repair:
    """One change made to one series on the way in: what (`kind`), to how many rows, and a sentence for people."""

    series_id: Hashable
    kind: str
    count: int
    message: str


@dataclass(frozen=True)
class Origin:
    """The family the data came in, and what is needed to give a result back in it.

    family      "list" "array" "tensor" (one series), "matrix", "ragged", "dict", "series", "wide", "long", "nested",
                "gluonts"
    id, time, target   the user's column names, None where there is no such column
    details     what one family alone needs (names, dtypes, the frame library)
    give_back   the adapter's function that puts (H,) arrays, one a series, back into the family
    """

    family: str
    id: Any = None
    time: Any = None
    target: Any = None
    backend: str = "pandas"
    details: dict[str, Any] = field(default_factory=dict)
    give_back: "Callable[[Panel, list[Floats]], Any] | None" = None


@dataclass
class Panel:
    """Ragged float64 series on regular time axes.

    ids                n names, the user's own
    values             n arrays (T_i,), NaN where missing; leading NaN are kept
    index              n time axes, one a series
    repairs, skipped   what was changed; which series were left out, and why
    past_covariates    name -> n arrays (T_i,)
    future_covariates  name -> n arrays (H,)
    static             name -> n values
    categories         covariate of words -> its words; its values are positions among them
    """

    ids: list[Hashable]
    values: list[Floats]
    index: list["TimeIndex"]
    origin: Origin
    repairs: list[Repair] = field(default_factory=list)
    skipped: dict[Hashable, str] = field(default_factory=dict)
    past_covariates: dict[str, list[Floats]] | None = None
    future_covariates: dict[str, list[Floats]] | None = None
    static: dict[str, list[Any]] | None = None
    categories: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def season(self) -> list[int]:
        """Steps in the natural season of each series' frequency, 1 where it is unknown."""
        return [index.season for index in self.index]

    def default_horizon(self) -> int:
        """A horizon for `horizon=None`: the one usual for the most common frequency, else min(64, T // 4), at least 1.

        T is the median length; a tie between frequencies goes to the one met first.
        """
        usual = Counter(index.usual_horizon for index in self.index).most_common(1)[0][0] if self.index else None
        if usual is not None:
            return usual
        length = int(np.median([len(values) for values in self.values])) if self.values else 1
        return max(1, min(UNKNOWN_HORIZON, length // 4))

    def future_index(self, i: int, horizon: int) -> "pd.Index[Any]":
        """The `horizon` time stamps that follow series `i`, in its own index type, unit and time zone."""
        return self.index[i].future(horizon)

    def past_index(self, i: int) -> "pd.Index[Any]":
        """The time stamps of series `i` as they stand after the repairs, one a value."""
        return self.index[i].past()

    def future_times(self, horizon: int) -> "pd.Index[Any]":
        """The stamps of `future_index` of all series, one series after the other: n * H entries, made together."""
        return self.index[0].futures(self.index, horizon) if self.index else pd.RangeIndex(0)

    def take(self, positions: Sequence[int]) -> "Panel":
        """A panel of some of the series, in the order of the positions; the arrays are shared."""

        def picked(columns: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
            return columns and {name: [column[i] for i in positions] for name, column in columns.items()}

        return replace(
            self,
            ids=[self.ids[i] for i in positions],
            values=[self.values[i] for i in positions],
            index=[self.index[i] for i in positions],
            past_covariates=picked(self.past_covariates),
            future_covariates=picked(self.future_covariates),
            static=picked(self.static),
        )

    def give_back(self, arrays: Sequence[Floats]) -> Any:
        """The (H,) arrays, one a series, in the family the data came in; a dict by id where no adapter made it."""
        if self.origin.give_back is None:
            return dict(zip(self.ids, arrays, strict=True))
        return self.origin.give_back(self, list(arrays))


def told_once(repairs: Sequence[Repair]) -> list[str]:
    """Messages of repairs; those of one kind that differ in the series alone, or in its counts, are told of the first.

    So that a thousand series read from text do not hide the one that has gaps.
    """
    groups: dict[str, list[Repair]] = {}
    for repair in repairs:
        groups.setdefault(repair.kind, []).append(repair)
    found = []
    for same in groups.values():
        others = len({repair.series_id for repair in same}) - 1
        messages = list(dict.fromkeys(repair.message for repair in same))
        if others < FEW:
            found += messages
        else:
            found.append(f"{messages[0]}; the like in {others:,} other series")
    return found
