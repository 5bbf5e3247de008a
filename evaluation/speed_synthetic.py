"""Measure how fast the synthetic engine makes series: the default mix, transforms included, on one thread.

    python evaluation/speed_synthetic.py

Processor time is counted, not wall time, so a second process on the machine matters little. The first call of a process
also integrates the chaotic systems' pool; it is left out, and told.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from tsfm.data.synthetic import sample
from tsfm.evaluation.results import ROOT, origin, read_csv, write_csv

SHAPES = ((512, 2048), (512, 4096))


def points_per_second(count: int, length: int, repeats: int) -> float:
    """Median over seeds of points made in a second of processor time."""
    found = []
    for seed in range(repeats):
        start = time.process_time()
        sample(count, length, seed)
        found.append(count * length / (time.process_time() - start))
    return statistics.median(found)


def main() -> int:
    """Measure every shape, print, and add rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "speed_synthetic.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    sample(64, 256, 0)
    first = time.process_time() - start
    rows = [
        {
            "count": count,
            "length": length,
            "repeats": options.repeats,
            "points_per_second": points_per_second(count, length, options.repeats),
            "first_call_seconds": first,
            **origin(),
        }
        for count, length in SHAPES
    ]
    write_csv(options.out, [*read_csv(options.out), *rows])
    for row in rows:
        Console().print(
            f"{row['count']} x {row['length']}: {row['points_per_second'] / 1e6:.1f} million points a second"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
