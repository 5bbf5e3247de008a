"""Measure how well gaps are filled: spans of real series are hidden, and what is put there is held against them.

    TSFM_DATA=../shared/data python evaluation/imputation.py
    python evaluation/imputation.py --sets demo --model FOLDER --out rows.csv

Beside the model: the straight line between neighbours, the mean of the same phase one season before and after, and the
value before the gap. Gaps are single points, and spans of 8, 48 and 192 steps; a tenth or so of each piece is hidden,
the same for every method. Errors are in units of the seasonal naive error of what stays in sight. Three roles:

    demo      the bundled set, which no released model was trained on
    evaluate  the first half of evaluation sets, before all validation and test windows; no model was trained on them
    pretrain  sets that released models were trained on: read these as fit, not as proof

Rows of sets that are not asked for stay in the file.
"""

import argparse
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console

import tsfm
from tsfm.data.datasets import data_hash, load_card, load_series
from tsfm.demo import load_demo
from tsfm.evaluation.metrics import geometric_mean, quantile_loss, seasonal_error
from tsfm.evaluation.protocol import season_for
from tsfm.evaluation.results import ROOT, origin, put_rows
from tsfm.imputed import Imputed
from tsfm.imputing import DEFAULT_FILLER
from tsfm.options import DECILES

# L steps of a piece, G of them hidden.

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
SETS = (
    *("demo", "ett1_h", "jena_weather_h", "m_dense_h", "saugeen_d"),
    *("beijing_air", "pjm_hourly", "tides_aus", "pedestrians", "chicago_transit", "aus_halfhourly", "nab"),
)
GAPS, HIDDEN, LONGEST, SHORTEST = (1, 8, 48, 192), 0.12, 1024, 256
SOUND = 0.9  # share of a piece that must be observed


def pieces_of(name: str, most: int) -> tuple[list[Floats], int, str, str]:
    """The newest pieces of some series of a set, evenly chosen; their season, the role of the set, and its hash."""
    if name == "demo":
        demo = load_demo()
        return [rows.to_numpy(float)[-LONGEST:] for _, rows in demo.groupby("airport").departures], 24, "demo", ""
    card = load_card(name)
    series = load_series(name)
    freq = pd.Series([one.freq for one in series]).mode()[0]
    cut = 0.5 if card.role == "evaluate" else 1.0
    pieces = [one.values[: int(cut * len(one))][-LONGEST:] for one in series if one.freq == freq]
    sound = [one for one in pieces if len(one) >= SHORTEST and np.isfinite(one).mean() >= SOUND and np.nanstd(one) > 0]
    chosen = np.linspace(0, len(sound) - 1, min(most, len(sound))).astype(int)
    return [sound[place] for place in np.unique(chosen)], season_for(freq), card.role, data_hash(name)


def hidden(piece: Floats, gap: int, seed: int) -> Mask:
    """Observed steps to be hidden: spans of `gap` steps that do not touch, none at the ends of the piece."""
    random = np.random.default_rng(seed)
    mask = np.zeros(len(piece), dtype=bool)
    for start in random.permutation(np.arange(1, len(piece) - gap - 1)):
        if mask.sum() >= HIDDEN * len(piece):
            break
        if not mask[start - 1 : start + gap + 1].any():
            mask[start : start + gap] = True
    return mask & np.isfinite(piece)


def linear(values: Floats, season: int) -> Floats:
    """The straight line between the observed neighbours."""
    del season
    seen = np.flatnonzero(np.isfinite(values))
    line: Floats = np.interp(np.arange(len(values)), seen, values[seen]).astype(np.float64)
    return line


def last_value(values: Floats, season: int) -> Floats:
    """The value before the gap."""
    del season
    held: Floats = np.array(pd.Series(values).ffill().bfill(), dtype=np.float64)
    return held


def seasonal(values: Floats, season: int) -> Floats:
    """The mean of the nearest observed values of the same phase, before and after; a straight line where none is."""
    phases = np.arange(len(values)) % season
    before = pd.Series(values).groupby(phases).ffill()
    after = pd.Series(values).groupby(phases).bfill()
    found = pd.concat([before, after], axis=1).mean(axis=1).to_numpy()
    line = linear(values, season)
    return np.where(np.isfinite(found), found, line) if season > 1 else line


SIMPLE: dict[str, Callable[[Floats, int], Floats]] = {
    "linear": linear,
    "seasonal": seasonal,
    "last value": last_value,
}


def rows_of(name: str, gap: int, model: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each method on one set with gaps of one length."""
    pieces, season, role, data = pieces_of(name, options.series)
    seeds = [zlib.crc32(f"{options.seed} {name} {place} {gap}".encode()) for place in range(len(pieces))]
    masks = [hidden(piece, gap, seed) for piece, seed in zip(pieces, seeds, strict=True)]
    known = [np.where(mask, np.nan, piece) for piece, mask in zip(pieces, masks, strict=True)]
    kept = [i for i, one in enumerate(known) if np.nanstd(one) > 0 and masks[i].any()]
    if not kept:
        return []
    scale = {i: seasonal_error(known[i], season) for i in kept}
    scale = {i: error if np.isfinite(error) and error > 0 else float(np.nanstd(known[i])) for i, error in scale.items()}
    made = tsfm.impute([known[i] for i in kept], model=model, precision=options.precision)
    about = {"set": name, "role": role, "gap": gap, "season": season, "series": len(kept), "seed": options.seed}
    about |= {
        "hidden": int(sum(masks[i].sum() for i in kept)),
        "weights": made.provenance.weight_hash[:12],
        "data": data,
    }
    filled = {method: [fill(known[i], season) for i in kept] for method, fill in SIMPLE.items()}
    filled["visual-mae"] = [made.array(place) for place in range(len(kept))]
    rows = []
    for method, arrays in filled.items():
        errors = [
            np.abs(one[masks[i]] - pieces[i][masks[i]]).mean() / scale[i] for i, one in zip(kept, arrays, strict=True)
        ]
        rows.append({**about, "method": method, "mae": float(np.mean(errors))})
    targets = [pieces[i][masks[i]] / scale[i] for i in kept]
    rows[-1] |= calibration(made, [masks[i] for i in kept], targets, [scale[i] for i in kept])
    return rows


def calibration(made: Imputed, masks: list[Mask], targets: list[Floats], scales: list[float]) -> dict[str, float]:
    """Mean quantile loss, and the share of hidden values in the 80 % interval."""
    losses, inside = [], []
    for place, (mask, target, scale) in enumerate(zip(masks, targets, scales, strict=True)):
        levels = np.stack([made.array(place, level)[mask] for level in DECILES], -1) / scale
        losses.append(np.nanmean(quantile_loss(target, levels, DECILES)))
        inside.append(np.mean((levels[:, 0] <= target) & (target <= levels[:, -1])))
    return {"quantile_loss": float(np.mean(losses)), "coverage80": float(np.mean(inside))}


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Ratios of the model's error to that of each simple method: geometric means over sets, by role and gap."""
    table = pd.DataFrame(rows).pivot_table(index=["role", "gap", "set"], columns="method", values="mae")
    lines = []
    for (role, gap), part in table.groupby(level=[0, 1]):
        ratios = {name: geometric_mean((part["visual-mae"] / part[name]).tolist()) for name in SIMPLE}
        shown = "  ".join(f"{name} x {ratio:.3f}" for name, ratio in ratios.items())
        lines.append(f"{role:9} gaps of {gap:3}, {len(part)} sets: model against {shown}")
    return lines


def main() -> int:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--gaps", nargs="+", type=int, default=GAPS)
    parser.add_argument("--series", type=int, default=16, help="most series of a set")
    parser.add_argument("--model", default=DEFAULT_FILLER)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "imputation.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made_by = origin()
    found: list[dict[str, Any]] = []
    for name in options.sets:
        for gap in options.gaps:
            found += [{**row, **made_by} for row in rows_of(name, gap, options.model, options)]
    put_rows(options.out, found, ["set"])
    for line in summary(found):
        Console().print(line, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
