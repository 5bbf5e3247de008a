"""Windows of a backtest: which steps of which series are forecast, from what, and what really happened.

    |---------------- context ----------------| window 1 | window 2 | window 3 |
                                              ^ cutoffs, `stride` steps apart

Windows lie at the end of each series, which is its last observed value: what nobody has measured cannot be compared. A
window counts where at least as many steps precede it as it forecasts and something was observed before and in it.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.data.timeaxis import TimeIndex
from tsfm.evaluation.metrics import seasonal_error
from tsfm.panel import Floats, Panel

# N windows, C context steps, H horizon.

Positions = NDArray[np.int64]

LEAST_CONTEXT = 2
MOST_WINDOWS, FEWEST_OF_MANY, ALL_WINDOWS = 20, 3, 1000


@dataclass(frozen=True)
class Windows:
    """N windows of the series of a panel, one series after the other, the oldest first.

    series    (N,)    position of the series in the panel
    cutoff    (N,)    steps of the series before the window
    age       (N,)    windows that follow it in its series, if all had counted
    target    (N, H)  what happened, NaN where missing
    scale     (N,)    seasonal error of all that precedes the cutoff
    contexts  N views (C,) of what a model may read, from an observed value on
    asked     windows asked of each series
    stride    steps between the cutoffs of a series
    without   reasons by id of the series that gave no window
    silent    windows left out because nothing was observed in them or right before them
    """

    series: Positions
    cutoff: Positions
    age: Positions
    target: Floats
    scale: Floats
    contexts: list[Floats]
    asked: int
    stride: int
    without: dict[Hashable, str] = field(default_factory=dict)
    silent: int = 0

    def __len__(self) -> int:
        return len(self.cutoff)

    @property
    def horizon(self) -> int:
        return int(self.target.shape[1])

    def take(self, at: Positions) -> "Windows":
        """Some of the windows, by position."""
        parts = {name: getattr(self, name)[at] for name in ("series", "cutoff", "age", "target", "scale")}
        contexts = [self.contexts[position] for position in at.tolist()]
        return replace(self, **parts, contexts=contexts, without={}, silent=0)


def usual_count(panel: Panel, horizon: int) -> int:
    """Windows a series for `windows=None`: as many as fit back to back into the newer half of the median series.

    20 at most; where there are more than 50 series fewer, 1,000 in all, but 3 at least.
    """
    length = int(np.median([len(values) for values in panel.values]))
    most = min(MOST_WINDOWS, max(FEWEST_OF_MANY, ALL_WINDOWS // len(panel)))
    return max(1, min(most, length // 2 // horizon))


def cut(panel: Panel, horizon: int, count: int, stride: int, context: int | None, reach: int | None) -> Windows:
    """The windows of every series of a panel.

    context   the most steps that a model may read, None for all
    reach     steps that every model reads: a window without an observed value in them could not be forecast by all
    """
    cuts: list[tuple[int, int, int]] = []
    contexts, targets, scales = [], [], []
    without: dict[Hashable, str] = {}
    silent = 0
    for position, values in enumerate(panel.values):
        observed = ~np.isnan(values)
        first, end = int(observed.argmax()), len(values) - int(observed[::-1].argmax())
        found = room = 0
        for age in range(count - 1, -1, -1):
            cutoff = end - horizon - age * stride
            if cutoff - first < max(horizon, LEAST_CONTEXT):
                continue
            room += 1
            begin = first if context is None else max(first, cutoff - context)
            heard = begin if reach is None else max(begin, cutoff - reach)
            if not observed[heard:cutoff].any() or not observed[cutoff : cutoff + horizon].any():
                continue
            found += 1
            cuts.append((position, cutoff, age))
            contexts.append(values[begin:cutoff])
            targets.append(values[cutoff : cutoff + horizon])
            scales.append(seasonal_error(values[first:cutoff], panel.index[position].season))
        silent += room - found
        if not found:
            without[panel.ids[position]] = reason(end - first, horizon, room)
    numbers = np.array(cuts, dtype=np.int64).reshape(-1, 3)
    return Windows(
        numbers[:, 0],
        numbers[:, 1],
        numbers[:, 2],
        np.array(targets, dtype=np.float64).reshape(-1, horizon),
        np.array(scales, dtype=np.float64),
        contexts,
        count,
        stride,
        without,
        silent,
    )


def reason(length: int, horizon: int, room: int) -> str:
    """Why a series of so many steps, with room for so many windows, gave none."""
    if room:
        return "nothing was observed in its windows or right before them"
    needed = horizon + max(horizon, LEAST_CONTEXT)
    return f"{length} steps are too few: a window of {horizon} steps needs {needed}, so that as many precede it"


def window_times(panel: Panel, windows: Windows) -> "pd.Index[Any]":
    """Time stamps of every step of every window, N * H entries in the user's own kind of index."""
    return _stamps(panel, windows.series, windows.cutoff, windows.horizon)


def cutoff_times(panel: Panel, windows: Windows) -> "pd.Index[Any]":
    """The last time stamp before each window, N entries."""
    return _stamps(panel, windows.series, windows.cutoff - 1, 1)


def _stamps(panel: Panel, series: Positions, start: Positions, steps: int) -> "pd.Index[Any]":
    """Stamps of `steps` steps of a series from `start` on, for every pair of the two."""
    pairs = list(zip(series.tolist(), start.tolist(), strict=True))
    if all(panel.index[i].stamps is None for i in set(series.tolist())):
        return TimeIndex.futures([replace(panel.index[i], length=first) for i, first in pairs], steps)
    # Uneven stamps follow no rule, so they are looked up.
    past = {i: pd.Series(panel.past_index(i)) for i in set(series.tolist())}
    joined: pd.Index[Any] = pd.Index(pd.concat([past[i].iloc[first : first + steps] for i, first in pairs]))
    return joined
