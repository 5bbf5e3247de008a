"""Fit the laws to the rows of the scaling study, and keep what they say: exponents, best splits, errors ahead.

    python evaluation/scaling_exponents.py

exponents.csv   every exponent, in and out of distribution, by the forms of tsfm/scaling/exponents.py: of decoders and
                encoders with and without the first milestones, with embedding and head counted, with the best of three
                rates, and of decoders at the sizes and points that encoders have
frontier.csv    exponents of the best size and data in compute, by Hoffmann et al. 2022's three ways
ahead.csv       how far off the largest sizes and the most points are, unseen, by the joint law, by a plane in logs
                without an irreducible loss, and by no change at all
rates.csv       the best peak rate as a power of size and points, at one batch and with the batch
repeats.csv     the constant R of repeated points, of checkpoints whose loss did not rise
datasets.csv    standard error of the joint exponents out of distribution from the choice of data sets (jackknife)

Rows are those of `scaling_study.py run`; no GPU and no data are needed, two minutes of one core are.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.results import ROOT, origin, write_csv
from tsfm.scaling.cost import cost_of
from tsfm.scaling.exponents import exponents, fit_rows, within_bounds
from tsfm.scaling.fitting import leave_largest_out
from tsfm.scaling.frontier import Frontier, envelope, frontier, isoflop
from tsfm.scaling.jackknife import leave_datasets_out
from tsfm.scaling.laws import JOINT, PLANE, REPEATED
from tsfm.scaling.plan import read_study
from tsfm.scaling.rates import REFERENCE, fit_rates
from tsfm.scaling.results import best_rates, read_rows, read_tasks

FOLDER = ROOT / "evaluation" / "results" / "scaling"
LOSSES = ("id_loss_synthetic", "id_loss", "id_loss_real", "ood_loss", "mase")
SETTLED = 37_748_736  # points of the first milestone that small and large sizes have not spent on warming up

Row = dict[str, Any]


class Rows(NamedTuple):
    """Rows of dense networks: of the two sweeps over sizes, and of the sweep over rates, decoders alone."""

    decoders: pd.DataFrame
    encoders: pd.DataFrame
    rated: pd.DataFrame


def rows_in(folder: Path) -> Rows:
    """What a folder has of them."""
    rated = read_rows(folder, "rates, every size")
    decoders = rated[rated["kind"] == "decoder"]
    return Rows(read_rows(folder, "decoder", "decoder, large"), read_rows(folder, "encoder"), decoders)


def headline(rows: Rows) -> pd.DataFrame:
    """The decoders that exponents are told of."""
    return rows.decoders[rows.decoders["milestone"] >= SETTLED]


def variants(rows: Rows, loss: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows by what they are fitted for, the headline first."""
    decoders, encoders, rated = rows
    settled = headline(rows)
    yield "decoder", settled
    yield "encoder", encoders[encoders["milestone"] >= SETTLED]
    shared = settled["size"].isin(encoders["size"]) & settled["milestone"].isin(encoders["milestone"])
    yield "decoder, sizes and points of the encoders", settled[shared]
    yield "decoder, embedding and head counted", settled.assign(active=settled["active"] + settled["ends"])
    yield "decoder, every milestone", decoders
    yield "decoder, without the first milestone", decoders[decoders["milestone"] > decoders["milestone"].min()]
    there = decoders["size"].isin(rated["size"]) & decoders["milestone"].isin(rated["milestone"])
    yield "decoder, every milestone where three rates were tried", decoders[there]
    yield "decoder, the best of three rates", best_rates(rated, loss)


def exponent_rows(rows: Rows, resamples: int) -> Iterator[Row]:
    """Every exponent of every variant and loss; a variant without rows enough is named and left out."""
    for loss in LOSSES:
        for name, own in variants(rows, loss):
            try:
                for found in exponents(own, loss, resamples=resamples):
                    yield {"networks": name, "loss": loss, **found._asdict(), "resamples": resamples}
            except DataError as error:
                print(f"{name}, {loss}: {error}", file=sys.stderr)


def frontier_rows(rows: Rows, resamples: int) -> Iterator[Row]:
    """The best split of compute by each way, of dense decoders."""
    dense = headline(rows)
    cost = cost_of(dense["active"], dense["points"], dense["flops"])
    columns = [dense[name] for name in ("flops", "active", "points")]
    budgets = np.geomspace(dense["flops"].quantile(0.1), dense["flops"].quantile(0.9), 12)
    for loss in LOSSES:
        ways: list[Frontier] = [
            way(*columns, dense[loss], dense["run"], resamples=resamples) for way in (envelope, isoflop)
        ]
        ways.append(frontier(fit_rows(JOINT, dense, loss, resamples=resamples), budgets, cost))
        for found in ways:
            sizes, data = found.intervals["size"], found.intervals["data"]
            row = {"loss": loss, "approach": found.approach, "size": found.size_exponent, "data": found.data_exponent}
            row |= dict(zip(("size_low", "size_high", "data_low", "data_high"), (*sizes, *data), strict=True))
            yield row | {"level": found.level, "resamples": resamples}


def unchanged(seen: pd.DataFrame, loss: str, ahead: pd.DataFrame, by: str) -> np.ndarray:
    """Losses ahead as they were at the largest value seen, of the same run or at the same milestone."""
    key = "milestone" if by == "active" else "run"
    last = seen.sort_values(by).groupby(key)[loss].last()
    return np.asarray(last.reindex(ahead[key]), dtype=np.float64)


def ahead_rows(rows: Rows) -> Iterator[Row]:
    """What the smaller rows say of the largest quarter, by each form."""
    dense = headline(rows)
    for loss in LOSSES:
        for by in ("active", "points"):
            joint, plane = (leave_largest_out(law, dense, dense[loss], by, resamples=0) for law in (JOINT, PLANE))
            last = unchanged(dense[~joint.held], loss, dense[joint.held], by)
            said = {"joint": joint.predicted, "plane": plane.predicted, "no change": last}
            for form, predicted in said.items():
                wrong = np.log(predicted / joint.measured)
                wrong = wrong[np.isfinite(wrong)]  # a run that has no smaller row says nothing of no change
                row = {"loss": loss, "by": by, "form": form, "rows": len(wrong), "bias": wrong.mean()}
                yield row | {"mean_error": np.abs(wrong).mean(), "largest_error": np.abs(wrong).max()}


def rate_rows(folder: Path) -> Iterator[Row]:
    """The rule of the best rate, of decoders: at steps of 2,048 tokens, and of all steps with the batch in it."""
    tried = [group.name for group in read_study("study").groups if group.name.startswith(("rates", "batches"))]
    rows = read_rows(folder, *tried)
    dense = rows[(rows["kind"] == "decoder") & (rows["experts"] == 0)]
    at_one = dense[dense["batch"] == REFERENCE["batch"]]
    for loss in LOSSES:
        for own, variables in ((at_one, ("active", "points")), (dense, ("active", "points", "batch"))):
            try:
                rule = fit_rates(own, loss, variables)
            except DataError as error:
                print(f"rates, {loss}: {error}", file=sys.stderr)
                continue
            about = {"loss": loss, "level": rule.level, "width": rule.width, "curves": rule.curves, "rows": rule.rows}
            about["error"] = rule.error
            for name, value in {"centre": rule.centre, **rule.exponents}.items():
                low, high = rule.intervals[name]
                yield {"rule": " ".join(variables), "what": name, "value": value, "low": low, "high": high, **about}


def repeat_rows(rows: Rows, pools: pd.DataFrame, resamples: int) -> Iterator[Row]:
    """What repeated points are worth, of decoders: those that have read each point once, and pools.

    The law cannot follow a loss that rises again, so rows are left out whose synthetic exams did.
    """
    if pools.empty:
        return
    rises = pools.sort_values("points").groupby(["size", "pool"])["id_loss_synthetic"].diff() > 0
    every = pd.concat([rows.decoders, pools[~rises.reindex(pools.index)]])
    for since in (SETTLED, 0):
        own = every[every["milestone"] >= since]
        for loss in LOSSES[:-1]:
            found = fit_rows(REPEATED, own, loss, resamples=resamples)
            low, high = found.intervals["R"]
            row = {"loss": loss, "since": since, "R": found.parameters["R"], "low": low, "high": high}
            row |= {"level": found.level, "identified": within_bounds(found, "R")}
            yield row | {"rows": found.rows, "error": found.error, "resamples": resamples}


def family(task: str) -> str:
    """The data set of a task, whatever its frequency: ETTh1 and ETTm1 are one."""
    return task.split("/")[0]


def dataset_rows(rows: Rows, tasks: pd.DataFrame) -> Iterator[Row]:
    """How the joint law out of distribution hangs on the choice of data sets."""
    for name, own in variants(rows, "ood_loss"):
        if name not in ("decoder", "encoder") or own.empty:
            continue
        found = leave_datasets_out(JOINT, own, tasks, {task: family(task) for task in tasks["task"].unique()})
        for parameter, value in found.fit.parameters.items():
            low, high = found.spread(parameter)
            row = {"networks": name, "parameter": parameter, "value": value}
            row |= {"standard_error": found.error[parameter], "datasets": len(found.without)}
            yield row | {"least_without_one": low, "largest_without_one": high}


def main() -> int:
    """Fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--rows", type=Path, default=FOLDER, help="folder of runs.csv and tasks.csv")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args()
    made_by = origin("scipy")
    try:
        rows = rows_in(asked.rows)
        tables = {
            "exponents": exponent_rows(rows, asked.resamples),
            "frontier": frontier_rows(rows, asked.resamples),
            "ahead": ahead_rows(rows),
            "rates": rate_rows(asked.rows),
            "repeats": repeat_rows(rows, read_rows(asked.rows, "pools"), asked.resamples),
            "datasets": dataset_rows(rows, read_tasks(asked.rows)),
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
