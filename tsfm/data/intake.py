"""Intake: where adapters put series one by one, and the list of what is wrong with them.

Every bad series is collected before anything is said, so that one message names them all.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsfm.data.arrays import complaint, to_array, to_floats
from tsfm.data.timeaxis import TimeIndex
from tsfm.errors import DataError
from tsfm.panel import Floats, Origin, Panel, Repair

LISTED = 10


@dataclass
class Intake:
    """Series read so far, repairs made, and problems by series."""

    ids: list[Hashable] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    index: list[TimeIndex] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    problems: dict[Hashable, str] = field(default_factory=dict)
    past: dict[str, list[Floats]] = field(default_factory=dict)

    def add(self, series_id: Hashable, values: Floats, index: TimeIndex) -> None:
        """File one clean series."""
        self.ids.append(series_id)
        self.values.append(values)
        self.index.append(index)

    def add_raw(self, series_id: Hashable, raw: Any, index: TimeIndex) -> None:
        """File the numbers of a series that needs no work on its time axis, or what is wrong with them."""
        array = to_array(raw)
        values, parsed, bad = to_floats(array)
        problem = complaint(series_id, array, values, bad)
        if problem:
            self.problems[series_id] = problem
        else:
            self.note_parsed(series_id, parsed)
            self.add(series_id, values, index)

    def note_parsed(self, series_id: Hashable, parsed: NDArray[np.int64]) -> None:
        """Record that numbers were read from text."""
        if len(parsed):
            many = "1 value was" if len(parsed) == 1 else f"{len(parsed)} values were"
            message = f"series {series_id!r}: {many} text and read as numbers"
            self.repairs.append(Repair(series_id, "text", len(parsed), message))

    def panel(self, origin: Origin, errors: str) -> Panel:
        """The finished panel; raises with every bad series in one message unless `errors` is "skip"."""
        if self.problems and (errors == "raise" or not self.ids):
            raise DataError(listed(list(self.problems.values()), len(self.ids)))
        if not self.ids:
            raise DataError("there is no series in the data; give at least one")
        return Panel(self.ids, self.values, self.index, origin, self.repairs, self.problems, self.past or None)


def listed(problems: list[str], good: int) -> str:
    """One message of many problems."""
    if len(problems) == 1 and not good:
        return problems[0]
    lines = [f"{len(problems)} of {len(problems) + good} series cannot be forecast:"]
    lines += [f"  - {problem}" for problem in problems[:LISTED]]
    if len(problems) > LISTED:
        lines.append(f"  and {len(problems) - LISTED} more")
    if good:
        lines.append("mend them, or pass errors='skip' to forecast the others")
    return "\n".join(lines)
