"""What a picture of ViTime loses, column by column.

The published loss is a distance of the earth mover's kind, from the true row to every other weighted by probability,
with a divergence beside it. Alone it is least for a point at the median, and all quantiles would be the same. Half the
distribution's own spread is taken off it here: that is the energy form of the CRPS (Gneiting and Raftery 2007), least
for the true distribution. The divergence is the log likelihood of the true row.
"""

import torch
from torch import Tensor

# B series, S steps, T columns, h height.


def distances(height: int, power: float, device: torch.device | None = None) -> Tensor:
    """(h, h) distance of every two rows in pixels, to a power."""
    row = torch.arange(height, dtype=torch.float32, device=device)
    return (row[:, None] - row).abs() ** power


def column_loss(logits: Tensor, row: Tensor, limit: float, power: float = 1.0, weight: float = 1.0) -> Tensor:
    """What each column loses (B, T): `weight` times a CRPS in standard deviations, and the negative log likelihood.

    logits (B, T, h); row (B, T), the true one; limit: standard deviations from the middle of the picture to its edges
    """
    likelihood = torch.log_softmax(logits, -1)
    probability = likelihood.exp()
    table = distances(logits.shape[-1], power, logits.device) * (2 * limit / (logits.shape[-1] - 1)) ** power
    spread = ((probability @ table) * probability).sum(-1)
    distance = (probability * table[row]).sum(-1) - 0.5 * spread
    lost: Tensor = weight * distance - likelihood.gather(-1, row[..., None])[..., 0]
    return lost


def ends(observed: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) first observed step of each row (B, S), and the one after the last."""
    marks = observed.to(torch.uint8)
    return marks.argmax(1), observed.shape[1] - marks.flip(1).argmax(1)


def weighted_mean(each: Tensor, counted: Tensor) -> Tensor:
    """Mean over rows of the mean of what is counted in each, (B, T) both; 0 where nothing is."""
    count = counted.sum(1)
    rows = torch.where(counted, each, 0.0).sum(1) / count.clamp(min=1)
    return rows.sum() / (count > 0).sum().clamp(min=1)
