"""Batch: what a model sees. Tensors only, no names, no time stamps, no NaN.

Series are right-aligned: the last column is the last step before the forecast, and shorter series are padded on the
left with `observed = False`. A missing value inside a series is `observed = False` too; its `values` entry is 0.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# B series, C context steps, H steps known ahead, V variates of a kind, which may be none.


@dataclass(frozen=True)
class Covariates:
    """Other variates of each series, for models that read them; 0 where not observed.

    past        (B, V, C)      known up to now
    future      (B, V, C + H)  known ahead
    companions  (B, V, C)      to be forecast together with the series, as far as a model does so
    Each has its mask, `<name>_observed`, of the same shape.
    """

    past: Tensor
    past_observed: Tensor
    future: Tensor
    future_observed: Tensor
    companions: Tensor
    companions_observed: Tensor

    def to(self, device: torch.device | str) -> "Covariates":
        """Return the same covariates on another device."""
        return Covariates(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Batch:
    """Right-aligned series of one length bucket.

    values    (B, C) float  conditioned by the forecaster (location and scale removed); 0 where not observed
    observed  (B, C) bool   True where a value was measured
    season    (B,) int64    steps in the natural season of the series' frequency, 1 where there is none or it is unknown
    covariates        other variates of each series, None where there are none or the model reads none
    """

    values: Tensor
    observed: Tensor
    season: Tensor
    covariates: Covariates | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        others = None if self.covariates is None else self.covariates.to(device)
        return Batch(self.values.to(device), self.observed.to(device), self.season.to(device), others)
