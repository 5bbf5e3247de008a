"""Fit architectures on a data set from several seeds, by the long-horizon protocol, and keep a row of each.

    TSFM_DATA=../shared/data python evaluation/architectures.py --models dlinear cyclenet --data ETTh1 --horizons 96

A row has the errors on the test stretch beside those of the seasonal naive forecast and beside what others report
(published/architectures.toml), the settings of the fit, and what made it. It takes the place of an older one of the
same model, data, horizon, context, options and seed; others stay. `tsfm train` does one such fit and keeps the model.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from tsfm.cli.train import options_from
from tsfm.evaluation.results import ROOT, origin, put_rows
from tsfm.training.fit import fit_table, settings_of
from tsfm.training.fit_data import Table, read_table
from tsfm.training.fitted import Fitted

KEY = ("model", "data", "horizon", "context", "options", "seed")
SETTINGS = ("rate", "batch", "epochs", "patience", "schedule", "best")
PUBLISHED = Path(__file__).resolve().parent / "published" / "architectures.toml"
RESULTS = ROOT / "evaluation" / "results" / "architectures.csv"
STATES = Path.home() / ".cache" / "tsfm" / "fitting"


def published(model: str, data: str, horizon: int, context: int, options: str) -> dict[str, Any]:
    """What others report of the same model, data, horizon and context; nothing where nobody does."""
    with PUBLISHED.open("rb") as file:
        figures = tomllib.load(file)["figure"]
    for one in figures:
        same = (one["model"], one["data"], one["context"], one.get("option", "")) == (model, data, context, options)
        if same and str(horizon) in one["errors"]:
            mse, mae = one["errors"][str(horizon)]
            return {"published_mse": mse, "published_mae": mae, "certain": one["certain"], "source": one["source"]}
    return {"published_mse": "", "published_mae": "", "certain": "", "source": ""}


def row_of(fitted: Fitted, options: str, table: Table) -> dict[str, Any]:
    """The row of a fitted model."""
    config, scores = fitted.config, fitted.scores
    return {
        "model": fitted.name,
        "data": table.name,
        "horizon": config.horizon,
        "context": config.context,
        "options": options,
        "seed": fitted.fit["seed"],
        **{name: scores[name] for name in ("mse", "mae", "naive_mse", "naive_mae")},
        **published(fitted.name, table.name, config.horizon, config.context, options),
        "windows": scores["windows"],
        "validation_mse": scores["validation_mse"],
        **{name: fitted.fit[name] for name in SETTINGS},
        "epochs_run": len(fitted.fit["course"]),
        "parameters": fitted.parameters,
        "seconds": fitted.seconds,
        "data_sha256": table.source,
        **origin(),
    }


def asked_for(asked: argparse.Namespace) -> Iterator[tuple[str, str, int, int | None, int]]:
    """Data, model, horizon, context and seed of every fit."""
    return product(asked.data, asked.models, asked.horizons, asked.contexts or [None], asked.seeds)


def fitted_row(asked: argparse.Namespace, one: tuple[str, str, int, int | None, int]) -> dict[str, Any]:
    """Fit once and keep the row; a fit that was interrupted goes on where it stopped."""
    data, model, horizon, context, seed = one
    console = Console(highlight=False)
    table = read_table(data, asked.target)
    console.print(f"{model} on {table.name}, horizon {horizon}, seed {seed}")
    given = {name: getattr(asked, name) for name in ("rate", "batch", "epochs", "patience", "schedule")}
    named = [*asked.option, *([f"preset={asked.preset}"] if asked.preset else [])]
    state = STATES / f"{'-'.join(map(str, (model, table.name, horizon, context, *named, seed)))}.safetensors"
    fitted = fit_table(
        model,
        table,
        horizon,
        context,
        preset=asked.preset,
        options=options_from(asked.option),
        settings=settings_of(model, seed=seed, **given),
        state=state,
        report=lambda line: console.print(line, style="dim", markup=False, soft_wrap=True),
    )
    row = row_of(fitted, " ".join(named), table)
    put_rows(asked.out, [row], KEY)
    state.unlink()
    return row


def main() -> int:
    """Fit, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--data", nargs="+", default=["ETTh1"])
    parser.add_argument("--target", nargs="+", default=[], help="variates, such as OT; all by default")
    parser.add_argument("--horizons", nargs="+", type=int, default=[96])
    parser.add_argument("--contexts", nargs="+", type=int, help="by default each model's own")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--option", nargs="+", default=[], help="fields of the config, such as backbone=mlp")
    parser.add_argument("--preset")
    for name, kind in (("rate", float), ("batch", int), ("epochs", int), ("patience", int), ("schedule", str)):
        parser.add_argument(f"--{name}", type=kind, help="by default as published")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = [fitted_row(asked, one) for one in asked_for(asked)]
    groups = pd.DataFrame(rows).groupby(["model", "data", "horizon", "context"])
    for (model, data, horizon, context), part in groups:
        mse, mae = part["mse"].mean(), part["mae"].mean()
        text = f"{model} on {data}, horizon {horizon}, context {context}, {len(part)} seeds: {mse:.4f} / {mae:.4f}"
        told = part.iloc[0]
        if told["source"]:
            ratios = f"x {mse / told['published_mse']:.3f} / x {mae / told['published_mae']:.3f} of"
            sure = "" if told["certain"] else ", from memory"
            text += f", {ratios} {told['published_mse']} / {told['published_mae']} ({told['source']}{sure})"
        Console(highlight=False).print(text, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
