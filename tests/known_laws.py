"""Every form of a scaling law with parameters of a usual size, and columns to have them at."""

import numpy as np

from tsfm.scaling.laws import JOINT, OVERTRAINED, PLANE, REPEATED, SPARSE, broken, power

RANDOM = np.random.default_rng(3)
COLUMNS = {
    "active": np.exp(RANDOM.uniform(np.log(1e4), np.log(4e6), 40)),
    "points": np.exp(RANDOM.uniform(np.log(4e6), np.log(1e9), 40)),
}
COLUMNS["total"] = COLUMNS["active"] * RANDOM.choice([1.0, 2.0, 4.0, 8.0], 40)
COLUMNS["unique"] = COLUMNS["points"] / RANDOM.choice([0.5, 1.0, 3.0, 30.0], 40)
COLUMNS["flops"] = 6 * COLUMNS["active"] * COLUMNS["points"]

TRUTH = {
    power("active"): {"E": 0.2, "A": 2.0, "a": 0.3},
    power("points", offset=False): {"A": 3.0, "a": 0.12},
    broken("flops"): {"A": 9.0, "a": 0.1, "c": 0.15, "d": 1e13, "f": 0.5},
    broken("active", offset=True): {"E": 0.1, "A": 9.0, "a": 0.3, "c": -0.2, "d": 3e5, "f": 0.3},
    PLANE: {"A": 3.0, "a": 0.02, "b": 0.05},
    JOINT: {"E": 0.2, "A": 2.0, "B": 90.0, "a": 0.25, "b": 0.4},
    OVERTRAINED: {"E": 0.2, "A": 20.0, "B": 90.0, "h": 0.17},
    REPEATED: {"E": 0.2, "A": 2.0, "B": 90.0, "a": 0.25, "b": 0.4, "R": 6.0},
    SPARSE: {"E": 0.2, "A": 2.0, "B": 90.0, "a": 0.25, "b": 0.4, "d": 0.1, "w": -0.05, "g": 0.01, "z": 0.005},
}
