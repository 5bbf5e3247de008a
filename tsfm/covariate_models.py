"""What a covariate head has learned, as plain arrays: a linear rule or boosted trees, evaluated in numpy alone."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm.panel import Floats

# n windows, H horizon, F features of which the first are codes, G features with codes spelled out, S series, T trees,
# N nodes of all trees, R rows (= n * H).

Arrays = Mapping[str, NDArray[np.generic]]
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Linear:
    """A linear rule, of each series where it had enough rows, else of all.

    sizes          codes that each of the first features can take
    centre, width  (F - codes,) of the numbers; they are held to `low` and `high`, the range of the fit
    coefficients   (1 + S, G + 1) of all series and of each; the last is the intercept
    series         (S,) names
    """

    sizes: tuple[int, ...]
    centre: Floats
    width: Floats
    low: Floats
    high: Floats
    coefficients: Floats
    series: tuple[str, ...] = ()

    def spelled(self, features: Floats) -> Floats:
        """Numbers standardised, 0 where missing, and a column a code: (..., F) -> (..., G + 1) with a last one of 1."""
        codes = len(self.sizes)
        numbers = np.clip(features[..., codes:], self.low, self.high)
        numbers = np.nan_to_num((numbers - self.centre) / self.width)
        ones = [features[..., [i]] == np.arange(size) for i, size in enumerate(self.sizes)]
        return np.concatenate([*ones, numbers, np.ones_like(numbers[..., :1])], axis=-1, dtype=np.float64)

    def predict(self, features: Floats, ids: Sequence[Hashable]) -> Floats:
        """Residuals (n, H) of features (n, H, F)."""
        places = {name: row for row, name in enumerate(self.series, 1)}
        rows = [places.get(str(series_id), 0) for series_id in ids]
        return np.asarray((self.spelled(features) * self.coefficients[rows][:, None]).sum(-1), dtype=np.float64)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        found: dict[str, NDArray[np.generic]] = {name: getattr(self, name) for name in LINEAR}
        return found


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees; a leaf is its own child.

    start          (T,)    first node of each tree
    depth          (T,)    steps from it to the last leaf
    feature        (N,)    that a node asks for; rows with a value of at most `threshold` (N,) go left
    left, right    (N,)    children
    value          (N,)    of the leaves
    missing_left   (N,)    whether what is missing goes left
    asked          (N,)    row of `goes_left` where the feature is a code, else -1
    goes_left      (., K)  1 where a code goes left, 0 right, 2 the way of what is missing, as codes not met do
    baseline       (1,)    added to the sum
    """

    start: NDArray[np.int64]
    depth: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    missing_left: NDArray[np.bool_]
    asked: NDArray[np.int64]
    goes_left: NDArray[np.int8]
    baseline: Floats

    def predict(self, features: Floats, ids: Sequence[Hashable]) -> Floats:
        """Residuals (n, H) of features (n, H, F); all series share the trees."""
        rows = features.reshape(-1, features.shape[-1])
        parts = [self.sum_of_rows(rows[first : first + ROWS_AT_ONCE]) for first in range(0, len(rows), ROWS_AT_ONCE)]
        return np.concatenate(parts).reshape(features.shape[:-1])

    def sum_of_rows(self, rows: Floats) -> Floats:
        """The sum of all trees (R,) for rows (R, F)."""
        total = np.full(len(rows), float(self.baseline[0]))
        for start, depth in zip(self.start, self.depth, strict=True):
            node = np.full(len(rows), start)
            for _ in range(depth):
                node = np.where(self._turn_left(rows, node), self.left[node], self.right[node])
            total += self.value[node]
        return total

    def _turn_left(self, rows: Floats, node: NDArray[np.int64]) -> NDArray[np.bool_]:
        values = rows[np.arange(len(rows)), self.feature[node]]
        missing = np.isnan(values)
        left = values <= self.threshold[node]
        if len(self.goes_left):
            asked = self.asked[node]
            coded = (asked >= 0) & ~missing
            turns = self.goes_left[asked[coded], values[coded].astype(np.int64)]
            left[coded] = turns == 1
            missing[coded] = turns == 2
        return np.where(missing, self.missing_left[node], left)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        found: dict[str, NDArray[np.generic]] = {name: getattr(self, name) for name in TREES}
        return found


LINEAR = ("centre", "width", "low", "high", "coefficients")
TREES = tuple(Trees.__dataclass_fields__)
