"""Rules from features of covariates to residuals, fitted with scikit-learn and exported to plain arrays.

ridge     squared error of residuals held to their middle 98 %; a series with enough rows gets a correction of its
          own to what is fitted to all (the same penalty draws it to zero)
boosting  absolute error, one sum of trees for all series
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsfm.covariate_features import CovariateColumn, cardinalities
from tsfm.covariate_models import Linear, Trees
from tsfm.errors import MissingDependency, TsfmError
from tsfm.panel import Floats

# N windows, H horizon, Q quantile levels, F features, R rows with a residual.

PENALTIES = (1.0, 30.0, 1000.0)
ENOUGH_WINDOWS, ENOUGH_ROWS = 10, 10  # of a series for coefficients of its own; rows a coefficient
TREES = {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 15, "max_depth": 6, "l2_regularization": 1.0}
MIDDLE = (0.01, 0.99)
SAME = 1e-9  # how well exported trees must agree with those of scikit-learn


@dataclass(frozen=True)
class Rows:
    """What a rule is fitted to.

    features  (N, H, F)
    residual  (N, H)     of the median in units of the series, NaN where there is none
    around    (N, H, Q)  quantiles less the median, in the same units
    ids       N names of series
    cutoff    (N,)       steps from the end of the series, negative
    """

    features: Floats
    residual: Floats
    around: Floats
    ids: list[Hashable]
    cutoff: NDArray[np.int64]

    def take(self, at: NDArray[np.int64]) -> "Rows":
        """Return the rows of some windows."""
        ids = [self.ids[position] for position in at]
        return Rows(self.features[at], self.residual[at], self.around[at], ids, self.cutoff[at])


def candidates(kind: str, rows: Rows) -> list[dict[str, float]]:
    """Settings to be judged."""
    if kind == "boosting":
        return [{"min_samples_leaf": max(20.0, rows.residual.size // 500)}]
    several = len(set(rows.ids)) > 1
    return [{"penalty": penalty, "own": own} for penalty in PENALTIES for own in ((0.0, 1.0) if several else (0.0,))]


def fit_rule(
    rows: Rows, columns: Sequence[CovariateColumn], kind: str, setting: dict[str, float], seed: int
) -> Linear | Trees:
    """Return a rule fitted to all rows with a residual."""
    if kind == "ridge":
        return fit_linear(rows, cardinalities(columns), setting["penalty"], setting["own"] > 0)
    return fit_trees(rows, cardinalities(columns), int(setting["min_samples_leaf"]), seed)


def fit_linear(rows: Rows, sizes: tuple[int, ...], penalty: float, own: bool) -> Linear:
    """Return the linear rule of all series and, if `own`, corrections to it of each with enough rows."""
    there = ~np.isnan(rows.residual)
    numbers = rows.features[there][:, len(sizes) :]
    empty = np.isnan(numbers).all(0)
    numbers = np.where(empty, 0.0, numbers)
    centre, width = np.nanmean(numbers, 0), np.nanstd(numbers, 0)
    width = np.where(width > 1e-12 * np.abs(centre), width, 1.0)
    rule = Linear(sizes, centre, width, np.nanmin(numbers, 0), np.nanmax(numbers, 0), np.zeros((1, 1)))
    target = np.clip(rows.residual, *np.nanquantile(rows.residual, MIDDLE))
    spelled = rule.spelled(rows.features)
    pooled = ridge(spelled[there], target[there], penalty)
    coefficients, names = [pooled], []
    left = target - spelled @ pooled
    for name, at in windows_by_series(rows.ids).items() if own else ():
        mine = there[at]
        if len(at) >= ENOUGH_WINDOWS and mine.sum() >= ENOUGH_ROWS * len(pooled):
            coefficients.append(pooled + ridge(spelled[at][mine], left[at][mine], penalty))
            names.append(name)
    return Linear(sizes, centre, width, rule.low, rule.high, np.stack(coefficients), tuple(names))


def windows_by_series(ids: Sequence[Hashable]) -> dict[str, NDArray[np.int64]]:
    """Positions of the windows of every series by its name as text; names that read alike belong to none."""
    groups: dict[str, dict[Hashable, list[int]]] = {}
    for position, series_id in enumerate(ids):
        groups.setdefault(str(series_id), {}).setdefault(series_id, []).append(position)
    return {text: np.array(next(iter(same.values()))) for text, same in groups.items() if len(same) == 1}


def ridge(spelled: Floats, target: Floats, penalty: float) -> Floats:
    """Coefficients (G + 1,) of features whose last one is 1; the intercept is not penalised."""
    model = sklearn_part("linear_model").Ridge(alpha=penalty)
    model.fit(spelled[:, :-1], target)
    return np.append(model.coef_, model.intercept_)


def fit_trees(rows: Rows, sizes: tuple[int, ...], least: int, seed: int) -> Trees:
    """Return boosted trees; those exported are held against scikit-learn's own."""
    there = ~np.isnan(rows.residual)
    seen, target = rows.features[there], rows.residual[there]
    seen = np.where(np.isnan(seen).all(axis=0), 0.0, seen)  # scikit-learn finds no bins in nothing
    model = sklearn_part("ensemble").HistGradientBoostingRegressor(
        loss="absolute_error",
        categorical_features=list(range(len(sizes))) or None,
        min_samples_leaf=least,
        early_stopping=False,
        random_state=seed,
        **TREES,
    )
    model.fit(seen, target)
    trees = exported(model, seen, sizes)
    sample = seen[:1000]
    apart = np.abs(trees.sum_of_rows(sample) - model.predict(sample)).max()
    if apart > SAME * max(1.0, float(np.abs(target).max())):
        raise TsfmError(
            f"the trees of this scikit-learn cannot be exported: they differ by {apart:.3g}; use kind='ridge', and "
            "please report it with the version of scikit-learn"
        )
    return trees


def exported(model: Any, seen: Floats, sizes: tuple[int, ...]) -> Trees:
    """Return the trees of a fitted HistGradientBoostingRegressor as plain arrays.

    Its own codes of a category are positions among the values it met, which are in order; `goes_left` is by our codes.
    """
    met = [np.unique(column[~np.isnan(column)]).astype(np.int64) for column in seen.T[: len(sizes)]]
    parts: dict[str, list[Any]] = {name: [] for name in Trees.__dataclass_fields__}
    turns: list[NDArray[np.int8]] = []
    first = 0
    for (tree,) in model._predictors:
        nodes = tree.nodes
        own = np.arange(first, first + len(nodes))
        leaf = nodes["is_leaf"].astype(bool)
        asked = np.full(len(nodes), -1)
        for at in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
            asked[at] = len(turns)
            feature = int(nodes["feature_idx"][at])
            turns.append(turn_of_codes(tree.raw_left_cat_bitsets[nodes["bitset_idx"][at]], met[feature], max(sizes)))
        parts["start"].append([first])
        parts["depth"].append([int(nodes["depth"].max())])
        parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
        parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
        parts["left"].append(np.where(leaf, own, nodes["left"].astype(np.int64) + first))
        parts["right"].append(np.where(leaf, own, nodes["right"].astype(np.int64) + first))
        parts["value"].append(nodes["value"])
        parts["missing_left"].append(nodes["missing_go_to_left"].astype(bool))
        parts["asked"].append(asked)
        first += len(nodes)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
    width = max(sizes, default=1)
    left = np.array(turns, dtype=np.int8).reshape(-1, width)
    return Trees(**joined, goes_left=left, baseline=np.array(model._baseline_prediction, dtype=np.float64).reshape(1))


def turn_of_codes(bits: NDArray[np.uint32], met: NDArray[np.int64], width: int) -> NDArray[np.int8]:
    """Where a node sends each of our codes: 1 left, 0 right, 2 as what is missing."""
    turns = np.full(width, 2, dtype=np.int8)
    for place, code in enumerate(met.tolist()):
        turns[code] = bits[place // 32] >> np.uint32(place % 32) & np.uint32(1)
    return turns


def sklearn_part(name: str) -> Any:
    """Return a module of scikit-learn."""
    try:
        return import_module(f"sklearn.{name}")
    except ImportError:
        raise MissingDependency("fitting covariates needs scikit-learn: pip install 'tsfm-forecast[sklearn]'") from None
