"""Keys and values of the steps already seen, in memory taken once and filled from the left over a rollout.

Series of several lengths share a cache: each begins in column 0, so that the causal mask alone hides the padding behind
the shorter ones in the first pass, and what is appended stands in the same columns for all of them, after the longest.
"""

import torch
from torch import Tensor

# B series, A heads of keys, C columns, N new steps, W width of a head, L layers.


class KVCache:
    """Keys and values (L, B, A, C, W), and which columns hold steps of which series.

    lengths  (B,) steps of each series in the first pass, None where all fill it
    """

    def __init__(self, shape: tuple[int, int, int, int, int], dtype: torch.dtype, device: torch.device):
        self.capacity = shape[3]
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.filled, self.first = 0, 0
        self.lengths: Tensor | None = None

    def begin(self, steps: int, lengths: Tensor | None) -> None:
        """Say how long the series of the first pass are; what the cache held is forgotten."""
        self.filled, self.first, self.lengths = 0, steps, lengths

    def positions(self, steps: int) -> Tensor:
        """Places in their series of the next `steps`: (N,), or (B, N) where series differ in length."""
        ahead = torch.arange(self.filled, self.filled + steps, device=self.keys.device)
        if self.lengths is None or not self.filled:
            return ahead
        return ahead + (self.lengths - self.first)[:, None]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the new steps of a layer, (B, N, A, W) each, and return all there are, (B, A, C, W) each.

        Steps are counted by `advance`, once all layers have theirs; a cache without layers keeps nothing.
        """
        if not len(self.keys):
            return key.transpose(1, 2), value.transpose(1, 2)
        end = self.filled + key.shape[1]
        self.keys[layer, :, :, self.filled : end] = key.transpose(1, 2)
        self.values[layer, :, :, self.filled : end] = value.transpose(1, 2)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def visible(self, steps: int) -> Tensor | None:
        """Which columns the next `steps` may look at, (B or 1, 1, N, C); None where causality says it all."""
        if not self.filled:
            return None
        column = torch.arange(self.filled + steps, device=self.keys.device)
        seen = (column <= column[self.filled :, None])[None, None]
        if self.lengths is None:
            return seen
        return seen & ((column < self.lengths[:, None]) | (column >= self.first))[:, None, None]

    def advance(self, steps: int) -> None:
        """Count the steps that every layer has appended."""
        self.filled += steps
