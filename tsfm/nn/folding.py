"""A series as an image and back: each column is one period, each row a phase (VisionTS, Chen et al. 2024, section 3).

`Folding` says where context and horizon lie in an image of square patches, as published; `fold`, `resized` and
`unfolded` are the steps between.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# B series, C context steps, H horizon, P steps of a period, K periods, S pixels a side.


@dataclass(frozen=True)
class Folding:
    """Where a context of C steps and the H after it lie, as VisionTS lays them out.

    align    share of the columns that the context may take, beside its share of the steps
    visible  columns of patches that show the context; None: by these shares
    """

    context: int
    horizon: int
    period: int
    image: int
    patch: int
    align: float = 0.4
    visible: int | None = None

    @property
    def padding(self) -> int:
        """Steps put before the context to make whole periods."""
        return -self.context % self.period

    @property
    def side(self) -> int:
        """Patches a side."""
        return self.image // self.patch

    @property
    def columns(self) -> int:
        """Columns of patches that show the context, one at least."""
        if self.visible is not None:
            return self.visible
        past, after = self.context + self.padding, self.horizon + -self.horizon % self.period
        return max(1, int(past / (past + after) * self.side * self.align))

    @property
    def shown(self) -> int:
        """Pixels across that show the context."""
        return int(self.image * (self.columns / self.side))

    @property
    def periods(self) -> int:
        """Periods of the context."""
        return (self.context + self.padding) // self.period

    @property
    def width(self) -> int:
        """Periods that the whole image stands for."""
        return round(self.image * (self.periods / self.shown))

    @property
    def reach(self) -> int:
        """Steps after the context that the image stands for: a longer horizon takes a further image."""
        return (self.width - self.periods) * self.period


def fold(values: Tensor, period: int) -> Tensor:
    """Values (..., C) -> (..., P, K): a column a period, the first value repeated before an incomplete one."""
    short = -values.shape[-1] % period
    padded = torch.cat([values[..., :1].expand(*values.shape[:-1], short), values], -1)
    columns: Tensor = padded.unflatten(-1, (-1, period)).transpose(-1, -2)
    return columns


def unfolded(columns: Tensor) -> Tensor:
    """Columns (..., P, K) one after the other: (..., P * K)."""
    return columns.transpose(-1, -2).flatten(-2)


def resized(images: Tensor, height: int, width: int, interpolation: str = "bilinear") -> Tensor:
    """Images (B, M, h, w) in another size, between the centres of pixels and without antialiasing."""
    if images.shape[-2:] == (height, width):
        return images
    corners = None if interpolation == "nearest" else False
    return F.interpolate(images, (height, width), mode=interpolation, align_corners=corners)
