"""Scaling laws as data: a law is a sum of power terms with positive coefficients, `fitting.fit` fits any of them.

    power(variable)    L = E + A / x^a, with or without E
    broken(variable)   L = E + A x^-a (1 + (x / d)^(1 / f))^(-c f)          Caballero et al. 2022, one break
    PLANE              L = A / (N^a D^b), a plane in logs: what is fitted where nobody thinks of an end
    JOINT              L = E + A / N^a + B / D^b                            Hoffmann et al. 2022, approach 3
    OVERTRAINED        L = E + (A M^h + B M^-h) C^-h, M = D / N             Gadre et al. 2024, section 3
    REPEATED           JOINT in D' = U + U R (1 - exp(-(epochs - 1) / R))   Muennighoff et al. 2023, section 3
    SPARSE             JOINT with r^-d N^-(a + g ln r) and the like of D    Ludziejewski et al. 2025

N are active parameters, D points seen, C FLOP, U distinct points seen. Columns have the names that rows of a study
have: active, points, flops, unique, total.

REPEATED leaves out the paper's second half, the decay of excess parameters: it needs the best size for U distinct
points from a law fitted before, and costs a constant that eight sizes cannot tell from a.
SPARSE takes r = total / active, one for a dense model, where the paper has the number of experts; both say how many
times more is stored than used, and r holds for any top-k. Of the published forms it is the one that is JOINT at r = 1
and lets both exponents move with sparsity. Its two constants that bend r at both ends are left out: they are for 1 to
thousands of experts, and a study of 1 to 16 cannot tell them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.errors import DataError

# R resamples, n rows, P parameters: E and shapes that may be negative as they are, all others as logs.

Array = NDArray[np.float64]
Columns = Mapping[str, Any] | pd.DataFrame  # by name, (n,) each
TINY = 1e-300
Term = tuple[Array, dict[int, Array]]  # log of a term without its coefficient (R, n), its derivative by each shape


@dataclass(frozen=True)
class Shape:
    """A parameter inside a term: an exponent, a break.

    starts     where fits begin
    low, high  what it is kept between
    signed     whether it may be negative; otherwise it is fitted as its log
    placed     whether it is a place on the first driver: starts are then shares of that driver's span in logs
    """

    name: str
    starts: tuple[float, ...]
    low: float = 0.01
    high: float = 5.0
    signed: bool = False
    placed: bool = False


@dataclass(frozen=True)
class Law:
    """A form of a loss.

    columns       what it is a function of, as the user names it
    drivers       the same as its terms read them, from the columns
    coefficients  names, E first where there is an irreducible loss
    terms         logs of the terms and their derivatives, from shapes (R, S) and the logs of the drivers
    """

    name: str
    columns: tuple[str, ...]
    coefficients: tuple[str, ...]
    shapes: tuple[Shape, ...]
    terms: Callable[[Array, list[Array]], list[Term]]
    formula: str
    drivers: Callable[[dict[str, Array]], dict[str, Array]] = dict

    @property
    def offset(self) -> bool:
        """Whether there is an irreducible loss."""
        return self.coefficients[0] == "E"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters in their order."""
        return (*self.coefficients, *(shape.name for shape in self.shapes))

    @cached_property
    def signed(self) -> NDArray[np.bool_]:
        """Which parameters are fitted as they are (P,); the others as their logs."""
        return np.array([name == "E" for name in self.coefficients] + [shape.signed for shape in self.shapes])

    def values(self, theta: Array) -> Array:
        """Parameters (..., P) as they stand in the formula."""
        with np.errstate(over="ignore"):
            return np.where(self.signed, theta, np.exp(np.where(self.signed, 0.0, theta)))

    def theta(self, values: Mapping[str, float]) -> Array:
        """The fitted form (P,) of parameters by name."""
        if set(values) != set(self.names):
            raise DataError(
                f"the law {self.name!r} has the parameters {', '.join(self.names)}; got {', '.join(values)}"
            )
        plain = np.array([float(values[name]) for name in self.names])
        return np.where(self.signed, plain, np.log(np.where(self.signed, 1.0, plain)))

    def rescaled(self, theta: Array, log_scale: float) -> Array:
        """Parameters (..., P) of a loss that is e^log_scale times as large."""
        scaled, count = theta.copy(), len(self.coefficients)
        scaled[..., :count] += np.where(self.signed[:count], 0.0, log_scale)
        if self.offset:
            scaled[..., 0] *= np.exp(log_scale)
        return scaled

    def read(self, inputs: Columns) -> dict[str, Array]:
        """The drivers (n,) from columns, all finite and positive; raise `DataError` where one is not."""
        columns: dict[str, Array] = {}
        for name in self.columns:
            if name not in inputs:
                raise DataError(
                    f"the law {self.name!r} needs the column {name!r}; there are {', '.join(map(str, inputs))}"
                )
            columns[name] = positive(name, inputs[name])
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"columns differ in length: {sizes}; give one value of each for every row")
        return self.drivers(columns)

    def evaluate(self, theta: Array, logs: list[Array], slopes: bool = True) -> tuple[Array, Array | None]:
        """Log of the loss (R, n) at parameters (R, P) and logs of drivers (n,) each, and its derivatives (R, n, P)."""
        count = len(self.coefficients)
        shapes = self.values(theta)[:, count:]
        terms = self.terms(shapes, logs)
        first = int(self.offset)
        logarithms = np.stack([theta[:, first + i, None] + log for i, (log, _) in enumerate(terms)])  # (T, R, n)
        # Sums are of what is at most one: fits try parameters whose terms overflow.
        top, least = logarithms.max(0), theta[:, :1] if self.offset else np.zeros((len(theta), 1))
        top = np.maximum(top, np.log(np.maximum(least, TINY)))
        found = top + np.log(np.exp(logarithms - top).sum(0) + least * np.exp(-top))
        if not slopes:
            return found, None
        derivatives = np.zeros((*found.shape, theta.shape[1]))
        if self.offset:
            derivatives[:, :, 0] = np.exp(np.minimum(-found, 600.0))
        for i, (_, by_shape) in enumerate(terms):
            share = derivatives[:, :, first + i] = np.exp(logarithms[i] - found)
            for s, slope in by_shape.items():
                inner = 1.0 if self.shapes[s].signed else shapes[:, s, None]
                derivatives[:, :, count + s] += share * slope * inner
        return found, derivatives

    def predict(self, values: Mapping[str, float], inputs: Columns) -> Array:
        """The loss (n,) of parameters by name at columns."""
        logs = [np.log(driver) for driver in self.read(inputs).values()]
        found: Array = np.exp(self.evaluate(self.theta(values)[None], logs, slopes=False)[0][0])
        return found


def positive(name: str, given: Any) -> Array:
    """A column as float64 (n,); raise `DataError` where a value is not finite and above zero."""
    column = np.atleast_1d(np.asarray(given, dtype=np.float64))
    wrong = ~(np.isfinite(column) & (column > 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{name!r} has {int(wrong.sum())} values that are not above zero and finite, the first {column[first]} in "
            f"row {first}; a law is fitted to logarithms: drop these rows"
        )
    return column


def power_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """A / x^a for each driver in turn."""
    return [(-shapes[:, i, None] * log, {i: -log}) for i, log in enumerate(logs)]


def plane_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """A / x^a for each driver, multiplied."""
    return [(-shapes @ np.stack(logs), {i: -log for i, log in enumerate(logs)})]


def broken_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """The slope goes from a to a + c around d, the faster the smaller f."""
    a, c, d, f = (shapes[:, i, None] for i in range(4))
    u = (logs[0] - np.log(d)) / f
    soft, after = np.logaddexp(0.0, u), 1 / (1 + np.exp(-u.clip(-500, 500)))
    slopes = {0: -logs[0] + 0 * u, 1: -f * soft, 2: c * after / d, 3: -c * (soft - after * u)}
    return [(-a * logs[0] - c * f * soft, slopes)]


def overtrained_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """A (M / C)^h and B / (M C)^h."""
    flops, ratio = logs
    return [
        (shapes[:, :1] * (ratio - flops), {0: ratio - flops}),
        (-shapes[:, :1] * (ratio + flops), {0: -ratio - flops}),
    ]


def repeated_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """JOINT where a repeated point is worth less each time."""
    size, points, epochs = logs
    a, b, half = (shapes[:, i, None] for i in range(3))
    repeats = np.exp(epochs) - 1
    left = np.exp(-repeats / half)
    worth = half * (1 - left)  # in epochs beside the first
    effective = points - epochs + np.log1p(worth)
    by_half = (1 - left - repeats / half * left) / (1 + worth)
    return [(-a * size, {0: -size}), (-b * effective, {1: -effective, 2: -b * by_half})]


def sparse_terms(shapes: Array, logs: list[Array]) -> list[Term]:
    """JOINT with coefficients and exponents that move with r."""
    size, points, r = logs
    a, b, d, w, g, z = (shapes[:, i, None] for i in range(6))
    return [
        (-d * r - (a + g * r) * size, {0: -size, 2: -r, 4: -r * size}),
        (-w * r - (b + z * r) * points, {1: -points, 3: -r, 5: -r * points}),
    ]


EXPONENTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4, 2.0)
FEW = (0.1, 0.2, 0.35, 0.6, 1.0)


def power(variable: str, offset: bool = True) -> Law:
    """E + A / x^a of one column; without E the straight line in logs that Yao et al. 2025 fit."""
    coefficients, start = (("E", "A"), "{E} + ") if offset else (("A",), "")
    formula = f"loss = {start}{{A}} / {variable}^{{a}}"
    shape = Shape("a", EXPONENTS, low=0.01 if offset else 0.001)  # without E, exponents of 0.02 are usual
    return Law(f"power of {variable}", (variable,), coefficients, (shape,), power_terms, formula)


def broken(variable: str, offset: bool = False) -> Law:
    """A power law whose exponent changes once, from a to a + c, around x = d."""
    coefficients, start = (("E", "A"), "{E} + ") if offset else (("A",), "")
    shapes = (
        Shape("a", FEW),
        Shape("c", (-0.3, -0.1, 0.1, 0.3), -5, 5, signed=True),
        Shape("d", (0.25, 0.5, 0.75), 0, 1, placed=True),
        Shape("f", (0.2, 0.7), 0.05, 3),
    )
    formula = f"loss = {start}{{A}} {variable}^-{{a}} (1 + ({variable} / {{d}})^(1 / {{f}}))^(-{{c}} * {{f}})"
    return Law(f"broken power of {variable}", (variable,), coefficients, shapes, broken_terms, formula)


JOINT = Law(
    "joint",
    ("active", "points"),
    ("E", "A", "B"),
    (Shape("a", EXPONENTS), Shape("b", EXPONENTS)),
    power_terms,
    "loss = {E} + {A} / active^{a} + {B} / points^{b}",
)
PLANE = Law(
    "plane",
    ("active", "points"),
    ("A",),
    (Shape("a", EXPONENTS, low=0.001), Shape("b", EXPONENTS, low=0.001)),
    plane_terms,
    "loss = {A} / (active^{a} points^{b})",
)
OVERTRAINED = Law(
    "over-trained",
    ("flops", "active", "points"),
    ("E", "A", "B"),
    (Shape("h", EXPONENTS),),
    overtrained_terms,
    "loss = {E} + ({A} M^{h} + {B} M^-{h}) / flops^{h}, M = points / active",
    lambda given: {"flops": given["flops"], "points / active": given["points"] / given["active"]},
)
REPEATED = Law(
    "repeated",
    ("active", "points", "unique"),
    ("E", "A", "B"),
    (Shape("a", FEW), Shape("b", FEW), Shape("R", (1, 4, 15, 60), 0.05, 1000)),
    repeated_terms,
    "loss = {E} + {A} / active^{a} + {B} / (U + U {R} (1 - exp(-(points / U - 1) / {R})))^{b}, U = unique points seen",
    lambda given: {
        "active": given["active"],
        "points": given["points"],
        "epochs": np.maximum(given["points"] / given["unique"], 1.0),
    },
)
SPARSE = Law(
    "sparse",
    ("active", "points", "total"),
    ("E", "A", "B"),
    (
        *(Shape(name, FEW) for name in ("a", "b")),
        *(Shape(name, (-0.1, 0.2), -5, 5, signed=True) for name in ("d", "w")),
        *(Shape(name, (0.0,), -2, 2, signed=True) for name in ("g", "z")),
    ),
    sparse_terms,
    "loss = {E} + {A} / r^{d} / active^({a} + {g} ln r) + {B} / r^{w} / points^({b} + {z} ln r), r = total / active",
    lambda given: {
        "active": given["active"],
        "points": given["points"],
        "total / active": np.maximum(given["total"] / given["active"], 1.0),
    },
)
