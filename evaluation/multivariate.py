"""Measure what channel adapters around the embedded model bring, on windows that did not train, stop or choose.

    TSFM_DATA=../shared/data python evaluation/multivariate.py

The setting of AdaPTS: context 512, horizons 96 and 192, ETTh1, exchange rates and weather, whose last fifth, the test
stretch of their benchmarks, is never read. Of the rest the first four fifths are fitted on (with the stopping and the
selection block at their end), and windows of the last fifth are scored: MSE and MAE on data standardised by the part
fitted on, MASE, and the mean quantile loss. A row a variant of each adapter:

    published  the mixed forecast alone
    shared     averaged with each channel alone, by shares set on the stopping block
    guarded    what a person gets: `shared` where the selection block says so, else each channel alone

Rows of sets that are not asked for stay in the file.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from tsfm.data.datasets import data_hash, load_dataset
from tsfm.evaluation.metrics import quantile_loss, seasonal_error
from tsfm.evaluation.results import ROOT, origin, put_rows
from tsfm.finetuning.multivariate import MultivariateForecaster
from tsfm.finetuning.multivariate_fit import alone, block_of
from tsfm.finetuning.multivariate_learning import Block, Settings
from tsfm.finetuning.multivariate_maps import ADAPTERS
from tsfm.finetuning.multivariate_quantiles import blended
from tsfm.loading import load
from tsfm.options import DECILES
from tsfm.panel import Floats

SETS, HORIZONS, CONTEXT, WINDOWS = ("ETTh1", "exchange_rate", "weather"), (96, 192), 512, 16
TEST, HELD_OUT = 0.2, 0.2


def scores(block: Block, quantiles: Floats, deviation: Floats, scale: Floats) -> dict[str, float]:
    """Errors over all windows and channels; deviation (C,), scale (B, C), quantiles (B, C, H, 9)."""
    error = quantiles[..., DECILES.index(0.5)] - block.target
    inside = (quantiles[..., 0] <= block.target) & (block.target <= quantiles[..., -1])
    standard = error / deviation[:, None]
    return {
        "mse": float(np.nanmean(standard**2)),
        "mae": float(np.nanmean(np.abs(standard))),
        "mase": float(np.nanmean(np.abs(error) / scale[..., None])),
        "quantile_loss": float(
            np.nanmean(quantile_loss(block.target, quantiles, DECILES).mean(-1) / deviation[:, None])
        ),
        "coverage80": float(inside[~np.isnan(block.target)].mean()),
    }


def rows_of(name: str, horizon: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one set and horizon, every adapter on the same windows."""
    panel = load_dataset(name)
    values = np.stack(panel.values)
    values = values[:, : int((1 - TEST) * values.shape[1])]
    end = int((1 - HELD_OUT) * values.shape[1])
    history = dict(zip(map(str, panel.ids), values[:, :end], strict=True))
    frame = pd.DataFrame(history, panel.past_index(0)[:end])
    where = np.linspace(end, values.shape[1] - horizon, WINDOWS).astype(int)
    block = block_of(values, panel.ids, where.tolist(), horizon, CONTEXT)
    season, deviation = panel.season[0], np.nanstd(values[:, :end], axis=1)
    scale = np.array([[seasonal_error(channel[:cut], season) for channel in values] for cut in where])
    base = load("moe-decoder-tiny", device="cpu", precision="fp32")
    about = {"set": name, "horizon": horizon, "seed": options.seed, "windows": len(where), "data": data_hash(name)}
    asked = Settings("none", len(values), horizon, season, DECILES, CONTEXT, 200, options.seed, 0, 0.0)
    by_itself = alone(base, block, asked)
    made = [{**about, "adapter": "none", "variant": "alone", **scores(block, by_itself, deviation, scale)}]
    for adapter in options.adapters:
        fitted = MultivariateForecaster(base, adapter, context=CONTEXT, seed=options.seed)
        fitted.fit(frame, horizon, guard=False, time_budget=options.seconds)
        assert fitted.mixing is not None and len(fitted.mixed) == len(values)
        mixed = fitted.mixing.quantiles(base, block.contexts, horizon, season, DECILES)
        shared = blended(mixed, by_itself, fitted.mixing.share[:, None, None])
        variants = {"published": mixed, "shared": shared, "guarded": shared if fitted.report.kept else by_itself}
        fit = {"kept": fitted.report.kept, "share": fitted.report.share, "steps": fitted.report.steps}
        fit |= {"selection_alone": fitted.report.alone, "selection_mixed": fitted.report.mixed}
        fit |= {"seconds": fitted.report.seconds}
        for variant, quantiles in variants.items():
            told = {"adapter": adapter, "variant": variant, **scores(block, quantiles, deviation, scale), **fit}
            made.append({**about, **told})
        Console().print(f"{name} {horizon} {fitted.report.reason}", soft_wrap=True)
    return made


def main() -> int:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--adapters", nargs="+", default=[name for name in ADAPTERS if name != "none"])
    parser.add_argument("--seconds", type=float, default=15.0, help="of gradient training, an adapter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "multivariate.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    made_by = origin()
    for name in options.sets:
        for horizon in HORIZONS:
            found += rows_of(name, horizon, options)
            put_rows(options.out, [{**row, **made_by} for row in found], ["set"])
    table = pd.DataFrame(found)
    single = table[table.adapter == "none"].set_index(["set", "horizon"])
    for (adapter, variant), part in table[table.adapter != "none"].groupby(["adapter", "variant"]):
        part = part.set_index(["set", "horizon"])
        ratios = {name: np.exp(np.log(part[name] / single[name]).mean()) for name in ("mse", "mae", "quantile_loss")}
        Console().print(
            f"{adapter:12} {variant:10}" + "".join(f" {name} x {ratio:.4f}" for name, ratio in ratios.items())
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
