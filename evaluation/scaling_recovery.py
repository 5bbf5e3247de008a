"""Whether fits of scaling laws find known exponents again, and whether their intervals hold what they say.

    python evaluation/scaling_recovery.py

Studies are made by `tsfm.scaling.simulate` (8 sizes, 6 milestones, 0.3 to 1 % of noise that trunks share in part) and
fitted as a real one is, at a level of 90 %. A row is a study: the truth, the estimate, the interval of E and of each
exponent, and whether the truth is inside. Rows that are there are not made again, unless asked `--again`.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tsfm.evaluation.results import ROOT, locked, origin, read_csv, write_csv
from tsfm.scaling.fitting import fit
from tsfm.scaling.laws import JOINT, Law
from tsfm.scaling.simulate import SINGLE, simulate

RESULTS = ROOT / "evaluation" / "results" / "scaling" / "recovery.csv"
SHOWN = ("E", "a", "b")


def row_of(law: Law, seed: int, made_by: dict[str, str]) -> dict[str, Any]:
    """The row of a study."""
    study = simulate(seed, law)
    begun = time.perf_counter()
    found = fit(law, study.inputs, study.loss, groups=study.groups, seed=seed)
    row: dict[str, Any] = {"law": law.name, "study": seed, "rows": found.rows, "level": found.level}
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


def keep(rows: list[dict[str, Any]], out: Path) -> None:
    """Put rows into the file, in place of older ones of the same law and study."""
    out.parent.mkdir(parents=True, exist_ok=True)
    new = {(row["law"], str(row["study"])) for row in rows}
    with locked(out.parent):
        others = [one for one in read_csv(out) if (one["law"], one["study"]) not in new]
        write_csv(out, sorted([*others, *rows], key=lambda row: (row["law"], int(row["study"]))))


def summary(law: str, rows: list[dict[str, str]]) -> list[str]:
    """A line a parameter: how often its interval holds the truth, how wide it is, how far off the estimate."""
    lines = []
    for name in SHOWN:
        own = [row for row in rows if row["law"] == law and row[f"{name}_inside"]]
        if own:
            true, value, low, high = (
                np.array([float(row[key]) for row in own])
                for key in (f"{name}_true", name, f"{name}_low", f"{name}_high")
            )
            inside = np.mean([int(row[f"{name}_inside"]) for row in own])
            lines.append(
                f"{law}, {name}: {100 * inside:.1f} % of {len(own)} intervals hold the truth; median width "
                f"{np.median(high - low):.3g} ({100 * np.median((high - low) / true):.0f} % of the truth), "
                f"median absolute error {np.median(np.abs(value - true)):.3g}"
            )
    return lines


def main() -> int:
    """Make and fit the studies that have no row yet, and say what was covered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="of the joint law")
    parser.add_argument("--single", type=int, default=40, help="of each law of one variable")
    parser.add_argument("--again", action="store_true", help="replace rows that are there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    laws = {JOINT: asked.studies} | dict.fromkeys(SINGLE, asked.single)
    made_by = origin("scipy")
    there = set() if asked.again else {(row["law"], int(row["study"])) for row in read_csv(asked.out)}
    for law, count in laws.items():
        left = [seed for seed in range(count) if (law.name, seed) not in there]
        for first in range(0, len(left), 10):
            keep([row_of(law, seed, made_by) for seed in left[first : first + 10]], asked.out)
            print(f"{law.name}: {min(first + 10, len(left))} of {len(left)} studies", flush=True)
    rows = read_csv(asked.out)
    for law in laws:
        print(*summary(law.name, rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
