"""Whether fits of scaling laws find known exponents again, and whether their intervals hold what they say.

    python evaluation/scaling_recovery.py

Studies are made by `tsfm.scaling.simulate` (8 sizes, 6 milestones, 0.3 to 1 % of noise that trunks share in part) and
fitted as a real one is, at a level of 90 %. A row is a study: the truth, the estimate, the interval of E and of each
exponent, and whether the truth is inside. Rows that are there are not made again, unless asked `--again`.

Noise may be common to a milestone, too: half of its variance where a row says milestone = 0.5. Such studies are fitted
with milestones crossed, as they should be, and without, which shows what is missed. Studies whose milestones share
nothing are fitted with them crossed as well, which shows what it costs to be careful.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tsfm.evaluation.results import ROOT, origin, put_rows, read_csv
from tsfm.scaling.fitting import fit
from tsfm.scaling.laws import JOINT, Law
from tsfm.scaling.simulate import SINGLE, simulate

RESULTS = ROOT / "evaluation" / "results" / "scaling" / "recovery.csv"
SHOWN = ("E", "a", "b")


class Kind(NamedTuple):
    """Studies that are alike, and how they are fitted.

    milestone   the part of the noise's variance that a milestone has in common
    crossed     whether the fit is told of milestones
    """

    law: Law
    milestone: float = 0.0
    crossed: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """The same as it stands in a row."""
        return self.law.name, f"{self.milestone:g}", str(int(self.crossed))

    def __str__(self) -> str:
        shared = f", {100 * self.milestone:.0f} % of noise common to a milestone" if self.milestone else ""
        return f"{self.law.name}{shared}{', milestones crossed' if self.crossed else ''}"


def key_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The kind of a row."""
    return row["law"], f"{float(row['milestone']):g}", str(row["crossed"])


def row_of(kind: Kind, seed: int, made_by: dict[str, str]) -> dict[str, Any]:
    """The row of a study."""
    study = simulate(seed, kind.law, kind.milestone)
    crossed = study.milestones if kind.crossed else None
    begun = time.perf_counter()
    found = fit(kind.law, study.inputs, study.loss, groups=study.groups, crossed=crossed, seed=seed)
    row: dict[str, Any] = {"law": kind.law.name, "milestone": kind.milestone, "crossed": int(kind.crossed)}
    row |= {"study": seed, "rows": found.rows, "level": found.level}
    row |= {"noise": study.noise, "shared": study.shared, "error": found.error}
    for name in SHOWN:
        there = name in study.truth
        low, high = found.intervals[name] if there else ("", "")
        row |= {
            f"{name}_true": study.truth[name] if there else "",
            name: found.parameters[name] if there else "",
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_inside": int(low <= study.truth[name] <= high) if there else "",
        }
    return row | {"seconds": time.perf_counter() - begun, **made_by}


def summary(kind: Kind, rows: list[dict[str, str]]) -> list[str]:
    """A line a parameter: how often its interval holds the truth, how wide it is, how far off the estimate."""
    lines = []
    for name in SHOWN:
        own = [row for row in rows if key_of(row) == kind.key and row[f"{name}_inside"]]
        if own:
            true, value, low, high = (
                np.array([float(row[key]) for row in own])
                for key in (f"{name}_true", name, f"{name}_low", f"{name}_high")
            )
            inside = np.mean([int(row[f"{name}_inside"]) for row in own])
            lines.append(
                f"{kind}, {name}: {100 * inside:.1f} % of {len(own)} intervals hold the truth; median width "
                f"{np.median(high - low):.3g} ({100 * np.median((high - low) / true):.0f} % of the truth), "
                f"median absolute error {np.median(np.abs(value - true)):.3g}"
            )
    return lines


def main() -> int:
    """Make and fit the studies that have no row yet, and say what was covered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="of the joint law")
    parser.add_argument("--shared", type=int, default=100, help="of the joint law for each way with milestones")
    parser.add_argument("--single", type=int, default=40, help="of each law of one variable")
    parser.add_argument("--again", action="store_true", help="replace rows that are there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    kinds = {Kind(JOINT): asked.studies}
    kinds |= dict.fromkeys([Kind(JOINT, 0.5, True), Kind(JOINT, 0.5), Kind(JOINT, 0.0, True)], asked.shared)
    kinds |= dict.fromkeys(map(Kind, SINGLE), asked.single)
    made_by = origin("scipy")
    there = set() if asked.again else {(key_of(row), int(row["study"])) for row in read_csv(asked.out)}
    for kind, count in kinds.items():
        left = [seed for seed in range(count) if (kind.key, seed) not in there]
        for first in range(0, len(left), 10):
            rows = [row_of(kind, seed, made_by) for seed in left[first : first + 10]]
            put_rows(asked.out, rows, ["law", "milestone", "crossed", "study"])
            print(f"{kind}: {min(first + 10, len(left))} of {len(left)} studies", flush=True)
    rows = read_csv(asked.out)
    for kind in kinds:
        print(*summary(kind, rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
