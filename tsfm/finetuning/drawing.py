"""Training windows of a person's own series: a pure function of the seed and the step, made when they are needed.

Nothing is laid out in advance, so a hundred thousand series take no more memory than the panel itself. A series is
drawn as the square root of the windows it has, a cutoff in it evenly; every step has one length of context, the full
one or a half or a quarter of it, so that short histories stay in practice.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.batch import Batch
from tsfm.batching import bucket_length
from tsfm.conditioning import condition, times_power_of_two
from tsfm.finetuning.split import LONGEST_CONTEXT, Split
from tsfm.panel import Floats, Panel

# B windows, C context steps, H horizon.

FEWEST, MOST = 8, 64  # windows of a step
STEPS_AT_ONCE = 32_768  # of context and horizon together


@dataclass(frozen=True)
class Lesson:
    """Windows of one step: what the model sees, and what came after it; target and counted are (B, H)."""

    batch: Batch
    target: Tensor
    counted: Tensor


@dataclass
class Drawing:
    """Where windows come from. `panel` and `split` belong together; `patch` and `reach` are the model's."""

    panel: Panel
    split: Split
    patch: int
    reach: int | None
    seed: int
    series: NDArray[np.int64] = field(init=False)
    share: Floats = field(init=False)
    longest: int = field(init=False, default=0)
    season: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """See which series have windows, and how long contexts can be."""
        self.series, self.season = self.split.trainable, np.array(self.panel.season)
        if not len(self.series):
            return
        cutoffs = np.sqrt(self.last[self.series] - self.first[self.series] + 1)
        self.share = np.cumsum(cutoffs) / cutoffs.sum()
        room = self.last[self.series] - self.split.begin[self.series]
        self.longest = min(int(np.quantile(room, 0.9)), self.reach or LONGEST_CONTEXT, LONGEST_CONTEXT)

    @property
    def first(self) -> NDArray[np.int64]:
        """First cutoff of each series: half a horizon of context, or what there is."""
        return self.split.begin + max(2, self.split.horizon // 2)

    @property
    def last(self) -> NDArray[np.int64]:
        """Last cutoff of each series: its target ends where the training part does."""
        return self.split.train_end - self.split.horizon

    def __len__(self) -> int:
        """Windows there are in all."""
        return int((self.last[self.series] - self.first[self.series] + 1).sum()) if len(self.series) else 0

    def draw(self, step: int, device: torch.device) -> Lesson:
        """The windows of a step."""
        generator = np.random.default_rng((self.seed, step))
        length = max(2, self.longest >> int(generator.integers(3)))
        horizon = self.split.horizon
        size = min(MOST, max(FEWEST, STEPS_AT_ONCE // (length + horizon)), max(FEWEST, len(self)))
        series = self.series[np.searchsorted(self.share, generator.random(size)).clip(max=len(self.series) - 1)]
        cutoff = generator.integers(self.first[series], self.last[series] + 1)
        padded = bucket_length(min(length, int((cutoff - self.split.begin[series]).max())), self.patch)
        contexts, targets = np.full((size, padded), np.nan), np.empty((size, horizon))
        for row, (position, at) in enumerate(zip(series, cutoff, strict=True)):
            begin = max(int(self.split.begin[position]), int(at) - length)
            contexts[row, padded - (at - begin) :] = self.panel.values[position][begin:at]
            targets[row] = self.panel.values[position][at : at + horizon]
        heard = ~np.isnan(contexts).all(1)
        return self._lesson(contexts[heard], targets[heard], self.season[series[heard]], generator, device)

    def _lesson(
        self,
        contexts: Floats,
        targets: Floats,
        season: NDArray[np.int64],
        generator: np.random.Generator,
        device: torch.device,
    ) -> Lesson:
        """Contexts and targets in the model's units, half of the rows with the other sign."""
        made = condition(contexts)
        after = times_power_of_two(times_power_of_two(targets, -made.coarse) - made.location, -made.fine)
        counted = ~np.isnan(after)
        sign = np.where(generator.random((len(contexts), 1)) < 0.5, -1.0, 1.0)
        values = torch.from_numpy(sign * made.values).float().to(device)
        target = torch.from_numpy(sign * np.where(counted, after, 0.0)).float().to(device)
        batch = Batch(values, torch.from_numpy(made.observed).to(device), torch.from_numpy(season).to(device))
        return Lesson(batch, target, torch.from_numpy(counted).to(device))
