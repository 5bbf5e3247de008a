"""Quantile head that cannot cross: a median, and positive gaps accumulated outwards."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

# P steps, Q quantile levels (odd, symmetric around the middle one), D width.


class QuantileHead(nn.Module):
    """Non-decreasing quantiles of P steps from one token."""

    def __init__(self, width: int, steps: int, levels: int):
        super().__init__()
        self.steps, self.levels = steps, levels
        self.hidden = nn.Linear(width, width)
        self.project = nn.Linear(width, steps * levels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) float32 -> (..., P, Q) float32, non-decreasing along Q."""
        x = x + F.silu(self.hidden(x))
        with torch.autocast(x.device.type, enabled=False):
            raw = self.project(x.float()).unflatten(-1, (self.steps, self.levels))
        middle = self.levels // 2
        median = raw[..., middle : middle + 1]
        # softplus(-1) starts the gap between deciles at 0.31, about that of a unit normal.
        gaps = F.softplus(raw - 1.0)
        above = median + gaps[..., middle + 1 :].cumsum(-1)
        below = median - gaps[..., :middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, median, above], dim=-1)
