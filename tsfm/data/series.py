"""One series as a data set stores it: what readers make and the registry hands out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# C steps of one series.


@dataclass(frozen=True)
class Series:
    """One series as stored.

    values    (C,) float64, NaN where missing; steps are `freq` apart from `start` on
    freq      pandas frequency alias as the file has it, e.g. "15min", "MS", "W-THU"
    """

    series_id: str
    start: pd.Timestamp
    freq: str
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)
