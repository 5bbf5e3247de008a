"""What training a point costs in networks of different sizes, as a smooth function fitted to rows of a study.

The usual 6 FLOP a parameter and a token (Kaplan et al. 2020, section 2.1) leave out embedding, head and attention.
These grow with the width, so with the root of the parameters of the blocks, and are most of what small networks cost.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfm.errors import DataError, MissingDependency
from tsfm.scaling.laws import Array, positive

# n rows.


@dataclass(frozen=True)
class Cost:
    """FLOP of a point at a number of active parameters: fixed + root * sqrt(active) + each * active.

    error   the largest relative one of the rows it is fitted to
    """

    fixed: float
    root: float
    each: float
    error: float

    def __call__(self, active: Array) -> Array:
        found: Array = self.fixed + self.root * np.sqrt(active) + self.each * active
        return found

    def __str__(self) -> str:
        return (
            f"FLOP a point = {self.fixed:.4g} + {self.root:.4g} active^0.5 + {self.each:.4g} active, "
            f"within {100 * self.error:.1f} %"
        )


def cost_of(active: Any, points: Any, flops: Any) -> Cost:
    """What a point costs at each size, from columns (n,) of rows: no part negative, least squares of relative errors.

    So it rises with size, also beyond the sizes of the rows. Raise `DataError` where there are fewer than three.
    """
    try:
        from scipy.optimize import nnls
    except ImportError as missing:
        raise MissingDependency("fitting costs needs SciPy: pip install 'tsfm-forecast[scaling]'") from missing
    size, seen, spent = positive("active", active), positive("points", points), positive("flops", flops)
    sizes = len(np.unique(size))
    if sizes < 3:
        raise DataError(f"costs of {sizes} sizes tell no curve; give rows of three at least, or `cost` as a number")
    parts = np.stack([np.ones_like(size), np.sqrt(size), size], 1) / (spent / seen)[:, None]
    heights = parts.max(0)
    found, _ = nnls(parts / heights, np.ones(len(size)))
    error = np.abs(parts / heights @ found - 1).max()
    fixed, root, each = map(float, found / heights)
    return Cost(fixed, root, each, float(error))
