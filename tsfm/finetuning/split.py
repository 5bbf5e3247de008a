"""The time split: what training may read of each series, and three blocks of windows that it may not.

    |------------- training -------------| stopping | selection | report |
                                                                         ^ the last observed value

A block is as many windows of the horizon, back to back, in every series that has room for them. `stopping` says when to
stop, `selection` which model wins, `report` what the winner is worth: no number of one decides for another. A window is
forecast from all that precedes it, as in real use; training sees nothing at or after the first held-out step of any
series, in its contexts, targets and scales alike.

Where many series are so short that three blocks would leave little to learn from, a third of the series gives each
block, one window at its end: so only one horizon is held out of each.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.evaluation.backtest_windows import LEAST_CONTEXT, Windows, cut
from tsfm.panel import Panel
from tsfm.prediction import count

# n series, N windows, H horizon.

BLOCKS = ("stopping", "selection", "report")
PARTS, PARTS_BY_SERIES = 5, 3  # of a series, a horizon long: its blocks, a context and a target to train on
MANY = 30  # series: enough for blocks of different series
WANTED, MOST_OF_ONE = 300, 20  # windows of a block: enough to tell models apart, within one series
GLANCED = 128  # windows of one look during training
HELD_OUT = 0.4  # share of a series that the three blocks may take
LONGEST_CONTEXT = 2048  # steps that training and its looks read
MOST_SERIES = 2000  # that are forecast in a block; the others are still trained on


@dataclass(frozen=True)
class Split:
    """Blocks of windows, and the steps of each series that training may read.

    horizon    steps of a window; fewer than asked where the series are short
    windows    of one series in a block
    by_series  whether blocks are made of different series instead of different times
    glanced    some of the stopping windows, spread over the series, with shorter contexts: for looks during training
    begin      (n,)  first observed step of each series
    train_end  (n,)  steps of each series before its first stopping window
    """

    horizon: int
    windows: int
    by_series: bool
    begin: NDArray[np.int64]
    train_end: NDArray[np.int64]
    stopping: Windows
    selection: Windows
    report: Windows
    glanced: Windows

    @property
    def trainable(self) -> NDArray[np.int64]:
        """Positions of the series with room for a target and something to forecast it from."""
        return np.flatnonzero(self.train_end - self.begin >= self.horizon + max(self.horizon // 2, LEAST_CONTEXT))


def split(panel: Panel, horizon: int, windows: int | None, context: int | None, reach: int | None, seed: int) -> Split:
    """Cut the ends of all series into the three blocks.

    windows  of one series in a block; None: as many as fit into two fifths of the median series, within reason
    context  the most steps that a model may read, None for all
    reach    steps that every model reads
    """
    begin, end = observed_span(panel)
    lengths = end - begin
    longest, median = int(lengths.max()), int(np.median(lengths))
    by_series = len(panel) >= MANY and 3 * horizon > HELD_OUT * median
    steps = min(horizon, max(median, longest // 2) // (PARTS_BY_SERIES if by_series else PARTS))
    if steps < 1:
        name = panel.ids[int(lengths.argmax())]
        raise DataError(
            f"series {name!r} is the longest and has {count(longest, 'value')}; fine-tuning needs at least {PARTS}, "
            f"and {PARTS * horizon} to test a horizon of {horizon}; tsfm.forecast(data, horizon={horizon}) forecasts "
            "such series without training"
        )
    number = 1 if by_series else windows or usual_windows(len(panel), median, steps)
    generator = np.random.default_rng(seed)
    chosen = np.arange(len(panel))
    if len(chosen) > MOST_SERIES:
        chosen = np.sort(generator.choice(chosen, MOST_SERIES, replace=False))
    while True:
        held_out = steps * number * (1 if by_series else 3)
        cuts = cut(panel.take(chosen.tolist()), steps, held_out // steps, steps, context, reach)
        owner = generator.permutation(len(cuts)) % 3 if by_series else 2 - cuts.age // number
        cuts = replace(cuts, series=chosen[cuts.series], asked=number)
        blocks = [cuts.take(np.flatnonzero(owner == place)) for place in range(3)]
        if all(map(len, blocks)):
            break
        if number == 1 or windows:
            raise DataError(
                f"no series has room for three blocks of {count(number, 'window')} of {count(steps, 'step')} and a "
                f"context before them, among them observed values; the longest has {longest} values; give a shorter "
                "horizon or more history"
            )
        number //= 2  # long gaps may leave a block without a value
    stopping, selection, report = blocks
    few = np.unique(np.linspace(0, len(stopping) - 1, min(GLANCED, len(stopping))).astype(int))
    glanced = stopping.take(few)
    glanced = replace(glanced, contexts=[context[-LONGEST_CONTEXT:] for context in glanced.contexts])
    return Split(steps, number, by_series, begin, end - held_out, stopping, selection, report, glanced)


def observed_span(panel: Panel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First observed step of each series, and the step after its last one; both (n,), equal where nothing is."""
    begin, end = np.zeros(len(panel), np.int64), np.zeros(len(panel), np.int64)
    for position, values in enumerate(panel.values):
        seen = np.flatnonzero(~np.isnan(values))
        if len(seen):
            begin[position], end[position] = seen[0], seen[-1] + 1
    return begin, end


def usual_windows(series: int, median: int, steps: int) -> int:
    """Windows of one series in a block."""
    fitting = int(HELD_OUT * median) // (3 * steps)
    return max(1, min(MOST_OF_ONE, -(-WANTED // series), fitting))
