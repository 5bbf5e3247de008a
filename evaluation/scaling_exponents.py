"""Fit the laws to the rows of the scaling study, and keep what they say: exponents, best splits, errors ahead.

    python evaluation/scaling_exponents.py

exponents.csv   every exponent, of dense decoders and encoders, in and out of distribution, by the forms of
                tsfm/scaling/exponents.py; of decoders also without the first milestone, with embedding and head
                counted, and at the sizes and points that encoders have
frontier.csv    exponents of the best size and data in compute, by Hoffmann et al. 2022's three ways
ahead.csv       how far off the joint law is about the largest sizes, the most points and the most FLOP, unseen
datasets.csv    standard error of the joint exponents out of distribution from the choice of data sets (jackknife)

Rows are those of `scaling_study.py run`; no GPU and no data are needed, a minute of one core is.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfm.errors import TsfmError
from tsfm.evaluation.results import ROOT, origin, write_csv
from tsfm.evaluation.tasks import load_suite
from tsfm.scaling.cost import cost_of
from tsfm.scaling.exponents import exponents, fit_joint
from tsfm.scaling.fitting import leave_largest_out
from tsfm.scaling.frontier import Frontier, envelope, frontier, isoflop
from tsfm.scaling.jackknife import leave_datasets_out
from tsfm.scaling.laws import JOINT
from tsfm.scaling.results import SUITE, grid, read_rows, read_tasks

FOLDER = ROOT / "evaluation" / "results" / "scaling"
LOSSES = ("id_loss_synthetic", "id_loss", "id_loss_real", "ood_loss", "mase")
KINDS = ("decoder", "encoder")

Row = dict[str, Any]


def variants(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of dense networks by kind, and those of decoders seen otherwise."""
    for kind in KINDS:
        yield kind, grid(rows, kind)
    dense = grid(rows, "decoder")
    yield "decoder, without the first milestone", dense[dense["milestone"] > dense["milestone"].min()]
    yield "decoder, embedding and head counted", dense.assign(active=dense["active"] + dense["ends"])
    most = dense[dense["milestone"] <= grid(rows, "encoder")["milestone"].max()]
    sizes = grid(rows, "encoder")["size"]
    yield "decoder, sizes and points of the encoders", most[most["size"].isin(sizes)]


def exponent_rows(rows: pd.DataFrame, resamples: int) -> Iterator[Row]:
    """Every exponent of every variant and loss."""
    for name, own in variants(rows):
        for loss in LOSSES:
            for found in exponents(own, loss, resamples=resamples):
                yield {"networks": name, "loss": loss, **found._asdict()}


def frontier_rows(rows: pd.DataFrame, resamples: int) -> Iterator[Row]:
    """The best split of compute by each way, of dense decoders."""
    dense = grid(rows, "decoder")
    cost = cost_of(dense["active"], dense["points"], dense["flops"])
    columns = [dense[name] for name in ("flops", "active", "points")]
    for loss in LOSSES:
        budgets = np.geomspace(dense["flops"].quantile(0.1), dense["flops"].quantile(0.9), 12)
        ways: list[Frontier] = [
            way(*columns, dense[loss], dense["run"], resamples=resamples) for way in (envelope, isoflop)
        ]
        ways.append(frontier(fit_joint(dense, loss, resamples=resamples), budgets, cost))
        for found in ways:
            sizes, data = found.intervals["size"], found.intervals["data"]
            row = {"loss": loss, "approach": found.approach, "size": found.size_exponent, "data": found.data_exponent}
            yield row | dict(zip(("size_low", "size_high", "data_low", "data_high"), (*sizes, *data), strict=True))


def ahead_rows(rows: pd.DataFrame, resamples: int) -> Iterator[Row]:
    """What the joint law of the smaller rows says of the largest quarter."""
    dense = grid(rows, "decoder")
    for loss in LOSSES:
        for by in ("active", "points", "flops"):
            noise = {"groups": dense["run"], "crossed": dense["milestone"], "resamples": resamples}
            found = leave_largest_out(JOINT, dense, dense[loss], by, **noise)
            inside = (found.low <= found.measured) & (found.measured <= found.high)
            yield {
                "loss": loss,
                "by": by,
                "rows": int(found.held.sum()),
                "mean_relative_error": found.error,
                "largest_relative_error": float(np.abs(found.relative).max()),
                "inside_interval": int(inside.sum()),
            }


def dataset_rows(rows: pd.DataFrame, tasks: pd.DataFrame) -> Iterator[Row]:
    """How the joint law out of distribution hangs on the choice of data sets."""
    dataset_of = {task.name: task.dataset for task in load_suite(SUITE)}
    for kind in KINDS:
        found = leave_datasets_out(JOINT, grid(rows, kind), tasks, dataset_of)
        for name, value in found.fit.parameters.items():
            low, high = found.spread(name)
            yield {"networks": kind, "parameter": name, "value": value, "standard_error": found.error[name]} | {
                "least": low,
                "largest": high,
                "datasets": len(found.without),
            }


def main() -> int:
    """Fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--rows", type=Path, default=FOLDER, help="folder of runs.csv and tasks.csv")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args()
    made_by = origin("scipy")
    try:
        rows, tasks = read_rows(asked.rows), read_tasks(asked.rows)
        tables = {
            "exponents": exponent_rows(rows, asked.resamples),
            "frontier": frontier_rows(rows, asked.resamples),
            "ahead": ahead_rows(rows, asked.resamples),
            "datasets": dataset_rows(rows, tasks),
        }
        for name, found in tables.items():
            table = list(found)
            print(f"{name}\n{pd.DataFrame(table).round(4).to_string(index=False)}\n")
            write_csv(asked.out / f"{name}.csv", [{**row, **made_by} for row in table])
    except TsfmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
