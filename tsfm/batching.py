"""Batching: contexts of any lengths in, model-sized batches out, and no result lost on the way.

Contexts are grouped in length buckets and padded on the left to the bucket's length, a multiple of the model's patch: a
patch begins where the *end* of the series says, never where a neighbour does, and what is padded is not observed. So a
series gets the same forecast alone and in any company.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tsfm.errors import DataError, TsfmError

if TYPE_CHECKING:
    from tsfm.other_variates import Others

# B series, C context steps.

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

LARGEST_BATCH = 2048
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True)
class Context:
    """The part of one series that a model reads: it begins with an observed value.

    values    (C,) NaN where missing
    constant  the value of every observed step where they are all the same, else None
    others    variates beside it, for models that read them (tsfm/other_variates.py)
    """

    values: Floats
    constant: float | None
    others: "Others | None" = None


def crop(series: Floats, longest: int | None, name: object) -> Context:
    """Return the last `longest` steps of a series from the first observed one on; the series is not copied."""
    tail = series if longest is None else series[-longest:]
    observed = ~np.isnan(tail)
    first = int(observed.argmax()) if len(tail) else 0
    if not len(tail) or not observed[first]:
        remedy = "give it at least one value, or leave it out (errors='skip' does)"
        if len(tail) < len(series):
            remedy = "cut the missing values off its end, or give a longer context"
        raise DataError(f"series {name!r} has no value in its last {len(tail)} steps; {remedy}")
    values, observed = tail[first:], observed[first:]
    last = float(values[observed][-1])
    same = bool(((values == last) | ~observed).all())
    return Context(values, last if same else None)


def bucket_length(length: int, patch: int) -> int:
    """Return the padded length of a context: 1, 2, 3, 4, 6, 8, 12, 16 ... patches: at most a third is padding."""
    patches = -(-length // patch)
    power = 1 << (patches - 1).bit_length()
    three_quarters = power * 3 // 4
    return patch * (three_quarters if power >= 4 and patches <= three_quarters else power)


def stack(contexts: Sequence[Context], length: int) -> Floats:
    """Return the contexts as one array (B, length), NaN on the left of the shorter ones."""
    if all(len(context.values) == length for context in contexts):
        return np.stack([context.values for context in contexts])
    padded = np.full((len(contexts), length), np.nan)
    for row, context in zip(padded, contexts, strict=True):
        row[length - len(context.values) :] = context.values
    return padded


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; the processor's allocator says so in a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


@dataclass
class Plan:
    """Which series go through the model together.

    lengths   (B,) padded length of every series
    size      series in a batch as asked, None to go by memory
    memory    bytes a batch may take
    cost      bytes of one series of a given padded length
    """

    lengths: NDArray[np.int64]
    size: int | None
    memory: int
    cost: Callable[[int], int]
    halvings: int = 0

    def size_for(self, length: int) -> int:
        """Return how many series of this length go into one batch now."""
        size = self.size or min(LARGEST_BATCH, self.memory // max(1, self.cost(length)))
        return max(1, size >> self.halvings)

    def batches(self) -> list[tuple[int, Positions]]:
        """Return (padded length, positions) of every batch, the longest last: a stack to take from its end."""
        found = []
        for length in np.unique(self.lengths):
            positions = np.flatnonzero(self.lengths == length)
            size = self.size_for(int(length))
            found += [(int(length), positions[start : start + size]) for start in range(0, len(positions), size)]
        return found

    def run(self, work: Callable[[int, Positions], None], done: Callable[[int], None]) -> None:
        """Do `work(length, positions)` on every batch; where memory runs out, halve what is left and go on.

        `work` stores its results only when it has all of them, so a batch that failed is done again, none twice.
        """
        waiting = self.batches()
        while waiting:
            length, positions = waiting.pop()
            size = self.size_for(length)
            if len(positions) > size:
                waiting += [(length, positions[start : start + size]) for start in range(0, len(positions), size)]
            elif self._fits(work, length, positions):
                done(len(positions))
            else:
                waiting.append((length, positions))

    def _fits(self, work: Callable[[int, Positions], None], length: int, positions: Positions) -> bool:
        try:
            work(length, positions)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(positions) == 1:
                raise TsfmError(
                    f"one series of {length} steps does not fit in memory; give a shorter context=, "
                    "a shorter horizon or another device="
                ) from error
            while self.size_for(length) >= len(positions):
                self.halvings += 1
            return False
        return True
