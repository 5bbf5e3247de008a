"""How to spend compute: the size and the data of the least loss for a number of FLOP, by Hoffmann et al. 2022's ways.

    envelope   approach 1: the lowest loss over all runs at each FLOP, and which run has it
    isoflop    approach 2: at each FLOP a parabola of log loss in log size; its lowest point is the best size
    frontier   approach 3: from a fitted joint law, with the bootstrap's intervals

The third is a closed form where a parameter and a point cost the same at every size. In small networks they do not:
head, embedding and attention grow more slowly than the parameters of the blocks. `cost_of` (cost.py) finds from rows
what a point costs at each size; `frontier` then searches for the size of the least loss. Where cost is a power c of
size, the size's exponent is b / (a + c b), the larger the smaller c. But where c itself rises with size, as it does
here, the smallest budgets are best spent on larger networks than the closed form says, and the exponent falls again.

The first two interpolate each run's checkpoints in logs of FLOP and loss, so their FLOP need not meet. They resample
whole runs, as checkpoints of one share its noise. With some eight sizes they are checks on the third and not its equal:
the envelope goes in steps from one run to the next, and the least of noisy losses is low.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError
from tsfm.scaling.fitting import LEVEL, RESAMPLES, Fit, between, labels_of
from tsfm.scaling.laws import JOINT, Array, positive

# C budgets of FLOP, G runs, R resamples.

COST = 6.0  # FLOP a parameter and a point, where a point is a token
BUDGETS = 24
SIZES = (1.0, 1e18)  # that a best one is looked for between
STEP = 1.01  # in compute, over which an exponent of a budget is taken


@dataclass(frozen=True)
class Frontier:
    """What is best at each budget: size ~ flops^size_exponent, data ~ flops^data_exponent.

    flops, active, points, loss   (C,)
    exponents                     of the straight line of logs over the budgets, or at one; their sum is 1 only where
                                  cost is proportional to size
    intervals                     of both exponents, by name, at `level`; NaN where resamples had no frontier
    """

    approach: str
    flops: Array
    active: Array
    points: Array
    loss: Array
    size_exponent: float
    data_exponent: float
    intervals: dict[str, tuple[float, float]]
    level: float

    def __str__(self) -> str:
        shown = [f"{end:.3f}" for name in ("size", "data") for end in self.intervals[name]]
        return (
            f"{self.approach}: active ~ flops^{self.size_exponent:.3f} [{shown[0]}, {shown[1]}], "
            f"points ~ flops^{self.data_exponent:.3f} [{shown[2]}, {shown[3]}]"
        )


def best_split(values: Array, flops: Array, cost: float) -> tuple[Array, Array, Array]:
    """Best size and data, and their loss, (R, C) each, of joint laws' E, A, B, a, b (R, 5) at budgets (C,)."""
    E, A, B, a, b = (values[:, i, None] for i in range(5))
    pairs = flops / cost
    ratio = (a * A / (b * B)) ** (1 / (a + b))
    active, points = ratio * pairs ** (b / (a + b)), pairs ** (a / (a + b)) / ratio
    return active, points, E + A / active**a + B / points**b


def searched_split(values: Array, flops: Array, cost: Callable[[Array], Array]) -> tuple[Array, Array, Array]:
    """The same where a point costs `cost(active)` FLOP, by golden sections of the log of size."""
    E, A, B, a, b = (values[:, i, None] for i in range(5))

    def loss(log_size: Array) -> Array:
        size = np.exp(log_size)
        found: Array = A / size**a + B / (flops / cost(size)) ** b
        return found

    golden = (np.sqrt(5) - 1) / 2
    low, high = (np.full(np.broadcast(a, flops).shape, np.log(end)) for end in SIZES)
    for _ in range(80):
        left, right = high - golden * (high - low), low + golden * (high - low)
        lower = loss(left) < loss(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    active = np.exp((low + high) / 2)
    return active, flops / cost(active), E + loss(np.log(active))


def frontier(fit: Fit, flops: Any, cost: float | Callable[[Array], Array] = COST) -> Frontier:
    """Approach 3: the split of each budget (C,) that a fitted JOINT law finds best.

    cost   FLOP for a parameter and a point: 6 where a point is a token, 6 / 32 where a token is a patch of 32 points;
           or what a point costs at each size, such as `cost_of(...)`, which has to rise with size
    """
    if fit.law.names != JOINT.names:
        raise DataError(f"the frontier is that of a joint law, and this fit is of {fit.law.name!r}; fit JOINT")
    budgets, values = positive("flops", flops), fit.law.values(fit.theta)[None]

    def exponents(laws: Array) -> Array:
        return searched_exponents(laws, budgets, cost) if callable(cost) else split_exponents(laws)

    if callable(cost):
        approach, split = "least loss of the joint law", searched_split(values, budgets, cost)
    else:
        approach, split = "closed form of the joint law", best_split(values, budgets, cost)
    active, points, loss = (found[0] for found in split)
    size, data = map(float, exponents(values)[:, 0])
    ends = exponents(fit.law.values(fit.resamples)) if len(fit.resamples) else np.full((2, 1), np.nan)
    intervals = {name: pair(found, fit.level) for name, found in zip(("size", "data"), ends, strict=True)}
    return Frontier(approach, budgets, active, points, loss, size, data, intervals, fit.level)


def split_exponents(values: Array) -> Array:
    """Exponents (2, R) of the best size and of the best data in compute."""
    a, b = values[:, 3], values[:, 4]
    return np.stack([b / (a + b), a / (a + b)])


def searched_exponents(values: Array, flops: Array, cost: Callable[[Array], Array]) -> Array:
    """The same as slopes of straight lines through what is best at budgets (C,), each a little lowered and raised."""
    around = np.concatenate([flops / STEP, flops * STEP])
    active, points, _ = searched_split(values, around, cost)
    x = np.log(around) - np.log(around).mean()
    slopes: Array = np.stack([np.log(active) @ x, np.log(points) @ x]) / (x @ x)
    return slopes


def pair(values: Array, level: float) -> tuple[float, float]:
    """The interval of what is finite; NaN where nothing is."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = between(finite, level)
    return float(low), float(high)


@dataclass(frozen=True)
class Curves:
    """Runs at common budgets, by interpolation between their checkpoints; NaN outside a run's span.

    flops (C,), loss and points (G, C) as logs, active (G,) as logs
    """

    flops: Array
    active: Array
    points: Array
    loss: Array


def curves(flops: Any, active: Any, points: Any, loss: Any, groups: Any, budgets: Any = None) -> Curves:
    """Interpolate every run; `groups` (n,) says whose a checkpoint is, by default one run a size."""
    columns = {"flops": flops, "active": active, "points": points, "loss": loss}
    logs = {name: np.log(positive(name, column)) for name, column in columns.items()}
    sizes = {name: len(column) for name, column in logs.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"columns differ in length: {sizes}; give one value of each for every row")
    labels = labels_of(np.asarray(active) if groups is None else groups, len(logs["loss"]))
    spans = np.array([[logs["flops"][labels == g].min(), logs["flops"][labels == g].max()] for g in np.unique(labels)])
    at = common_budgets(spans) if budgets is None else np.log(positive("budgets", budgets))
    rows: dict[str, list[Array]] = {"points": [], "loss": []}
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        own = own[np.argsort(logs["flops"][own], kind="stable")]
        for name, found in rows.items():
            found.append(np.interp(at, logs["flops"][own], logs[name][own], np.nan, np.nan))
    sizes_of = np.array([logs["active"][labels == label][0] for label in np.unique(labels)])
    return Curves(at, sizes_of, np.array(rows["points"]), np.array(rows["loss"]))


def common_budgets(spans: Array) -> Array:
    """Budgets, as logs, where at least two runs of different spans (G, 2) are known."""
    if len(spans) < 2:
        raise DataError("a frontier compares runs, and there is one; give `groups`, or runs of more sizes")
    low, high = np.sort(spans[:, 0])[1], np.sort(spans[:, 1])[-2]
    if low >= high:
        raise DataError("no two runs have FLOP in common; add checkpoints between, or runs of sizes nearer each other")
    return np.linspace(low, high, BUDGETS)


def slope(x: Array, y: Array) -> float:
    """Of the straight line of least squares; NaN where there is none."""
    there = np.isfinite(x) & np.isfinite(y)
    if there.sum() < 2 or np.ptp(x[there]) == 0:
        return float("nan")
    return float(np.polyfit(x[there], y[there], 1)[0])


def lowest(runs: Curves, chosen: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Logs (C,) of size, data and loss of the run of the lowest loss, of runs chosen."""
    loss = np.where(np.isnan(runs.loss[chosen]), np.inf, runs.loss[chosen])
    best = chosen[loss.argmin(0)]
    known = np.isfinite(loss.min(0))
    at = np.arange(len(runs.flops))
    size, data = (np.where(known, found, np.nan) for found in (runs.active[best], runs.points[best, at]))
    return size, data, np.where(known, loss.min(0), np.nan)


def bottoms(runs: Curves, chosen: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Logs (C,) of size, data and loss at the lowest point of a parabola in log size through the runs chosen.

    NaN where fewer than four sizes are known, the parabola opens downwards, or its lowest point is outside the sizes.
    """
    found = np.full((3, len(runs.flops)), np.nan)
    for i in range(len(runs.flops)):
        own = chosen[np.isfinite(runs.loss[chosen, i])]
        size, loss = runs.active[own], runs.loss[own, i]
        if len(np.unique(size)) < 4:
            continue
        middle = size.mean()
        bend, tilt, level = np.polyfit(size - middle, loss, 2)
        best = middle - tilt / (2 * bend) if bend > 0 else np.inf
        if size.min() <= best <= size.max():
            # Data of that size: along a budget they fall in a straight line of logs.
            line = np.polyfit(size - middle, runs.points[own, i], 1)
            found[:, i] = best, np.polyval(line, best - middle), level - tilt**2 / (4 * bend)
    return found[0], found[1], found[2]


def envelope(flops: Any, active: Any, points: Any, loss: Any, groups: Any = None, **options: Any) -> Frontier:
    """Approach 1, of columns (n,) of checkpoints; options as of `isoflop`."""
    return traced(
        "lower envelope", lowest, curves(flops, active, points, loss, groups, options.pop("budgets", None)), **options
    )


def isoflop(flops: Any, active: Any, points: Any, loss: Any, groups: Any = None, **options: Any) -> Frontier:
    """Approach 2, of columns (n,) of checkpoints.

    groups      (n,) the run of a checkpoint; by default runs are told by their size
    options     budgets (C,) of FLOP, by default 24 over what at least two runs share; resamples, level, seed
    """
    return traced(
        "IsoFLOP parabolas",
        bottoms,
        curves(flops, active, points, loss, groups, options.pop("budgets", None)),
        **options,
    )


def traced(
    approach: str, way: Any, runs: Curves, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Frontier:
    """The frontier that a way finds, and intervals from whole runs drawn with replacement."""
    everyone = np.arange(len(runs.active))
    size, data, loss = way(runs, everyone)
    known = np.isfinite(size)
    if known.sum() < 2:
        raise DataError(
            f"{approach}: fewer than two budgets have a best size inside those measured; add sizes or budgets"
        )
    random = np.random.default_rng(seed)
    drawn = [way(runs, random.choice(everyone, len(everyone)))[:2] for _ in range(resamples)]
    intervals = {
        name: pair(np.array([slope(runs.flops, one[i]) for one in drawn]), level)
        for i, name in enumerate(("size", "data"))
    }
    best = [np.exp(found[known]) for found in (runs.flops, size, data, loss)]
    exponents = slope(runs.flops, size), slope(runs.flops, data)
    return Frontier(approach, best[0], best[1], best[2], best[3], *exponents, intervals, level)
