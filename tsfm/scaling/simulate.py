"""Made studies with known laws, as large and as noisy as a real one: what a fitter is tried on.

Eight sizes of 10 thousand to 4 million parameters are trained to a billion points and measured at six milestones. The
irreducible loss is 50 to 90 % of the loss in the middle of the study, the rest is split between size and data, and the
exponents are from 0.1 to 0.6. Noise of the log loss is 0.3 to 1 %. A part of its variance may be common to a milestone,
as where all runs read the same windows in the same order; of the rest up to 80 % is common to a trunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tsfm.scaling.laws import JOINT, Array, Law, power

SIZES = np.geomspace(1e4, 4e6, 8)
MILESTONES = np.geomspace(4e6, 1e9, 6)
MIDDLE = 0.3  # the loss in the middle of the study


@dataclass(frozen=True)
class Study:
    """Rows of a study that was not run.

    inputs     columns (n,) of the law; `groups` (n,) the trunk of each row, `milestones` (n,) its milestone
    truth      parameters by name; `clean` (n,) the loss without noise
    noise      standard deviation of the log loss
    milestone  the part of its variance that a milestone has in common, `shared` the part of the rest that a trunk has
    """

    law: Law
    truth: Mapping[str, float]
    inputs: dict[str, Array]
    groups: NDArray[np.intp]
    milestones: NDArray[np.intp]
    clean: Array
    loss: Array
    noise: float
    milestone: float
    shared: float


def simulate(seed: int, law: Law = JOINT, milestone: float = 0.0) -> Study:
    """A study of the joint law, or of E + A / x^a of `active` (eight sizes) or `points` (eight runs of their own).

    milestone   the part of the noise's variance that a milestone of the joint law has in common
    """
    random = np.random.default_rng([8, seed])
    if law.columns == JOINT.columns:
        active, points = (column.ravel() for column in np.meshgrid(SIZES, MILESTONES, indexing="ij"))
        inputs, groups = {"active": active, "points": points}, np.repeat(np.arange(len(SIZES)), len(MILESTONES))
        milestones = np.tile(np.arange(len(MILESTONES)), len(SIZES))
    else:
        (name,) = law.columns
        inputs = {name: SIZES if name == "active" else np.geomspace(MILESTONES[0], MILESTONES[-1], len(SIZES))}
        groups = milestones = np.arange(len(SIZES))
    truth = drawn_truth(law, inputs, random)
    noise = float(np.exp(random.uniform(np.log(0.003), np.log(0.01))))
    shared = float(random.uniform(0.0, 0.8)) if len(np.unique(groups)) < len(groups) else 0.0
    common = random.normal(size=groups.max() + 1)[groups]
    own = random.normal(size=len(groups))
    of_milestone = random.normal(size=milestones.max() + 1)[milestones]
    clean = law.predict(truth, inputs)
    shocks = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    loss = clean * np.exp(noise * (np.sqrt(milestone) * of_milestone + np.sqrt(1 - milestone) * shocks))
    return Study(law, truth, inputs, groups, milestones, clean, loss, noise, milestone, shared)


def drawn_truth(law: Law, inputs: dict[str, Array], random: Generator) -> dict[str, float]:
    """Parameters by name: the loss in the middle of the inputs is `MIDDLE`."""
    exponents = random.uniform(0.1, 0.6, len(inputs))
    least = random.uniform(0.5, 0.9)
    split = random.uniform(0.3, 0.7)
    parts = (split, 1 - split) if len(inputs) == 2 else (1.0,)
    truth = {"E": float(least * MIDDLE)}
    for coefficient, part, exponent, column in zip("AB", parts, exponents, inputs.values(), strict=False):
        middle = np.exp(np.log(column).mean())
        truth[coefficient] = float((1 - least) * MIDDLE * part * middle**exponent)
    return truth | {name: float(exponent) for name, exponent in zip("ab", exponents, strict=False)}


SINGLE = (power("active"), power("points"))
"""The laws of one variable that studies are made of beside JOINT."""
