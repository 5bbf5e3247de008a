"""Batch: what a model sees. Tensors only, no names, no time stamps, no NaN.

Series are right-aligned: the last column is the last step before the forecast, and shorter series are padded on the
left with `observed = False`. A missing value inside a series is `observed = False` too; its `values` entry is 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# B series, C context steps.


@dataclass(frozen=True)
class Batch:
    """Right-aligned series of one length bucket.

    values    (B, C) float  conditioned by the forecaster (location and scale removed); 0 where not observed
    observed  (B, C) bool   True where a value was measured
    season    (B,) int64    steps in the natural season of the series' frequency, 1 where there is none or it is unknown
    """

    values: Tensor
    observed: Tensor
    season: Tensor

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        return Batch(self.values.to(device), self.observed.to(device), self.season.to(device))
