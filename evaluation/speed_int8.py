"""Measure whether experts with int8 weights would be faster on this processor, and what they would cost in accuracy.

    python evaluation/speed_int8.py

Speed: one expert's product by what torch offers, in microseconds of processor time, one thread. Accuracy: mean absolute
scaled error of the embedded model on the bundled airport data with its experts' weights rounded to int8, one scale a
row, over that without. Int8 would be worth its code where it is faster for as many rows as forecasts have (hundreds an
expert) at a loss below 0.5 %.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

import tsfm
from evaluation.speed_limits import times
from tsfm.demo import load_demo
from tsfm.evaluation.results import ROOT, origin, write_csv
from tsfm.evaluation.routing import sparse_decoder
from tsfm.forecaster import Forecaster

SIZES = ((4, 256, 192), (32, 256, 192), (512, 256, 192), (4, 384, 1536), (32, 384, 1536), (512, 384, 1536))


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 weight and the scale of every row."""
    scale = weight.abs().amax(-1, keepdim=True) / 127
    return torch.round(weight / scale).to(torch.int8), scale


def products(rows: int, width: int, columns: int) -> dict[str, Callable[[], object]]:
    """Ways to multiply bfloat16 rows (rows, width) by a weight (columns, width); int8 activations are made inside."""
    torch.manual_seed(0)
    x, weight = torch.randn(rows, width).bfloat16(), torch.randn(columns, width) * width**-0.5
    whole, scale = rounded(weight)
    half, packed_scale = weight.bfloat16(), scale.flatten().bfloat16()
    prepared, zero = torch.ops.onednn.qlinear_prepack(whole, [rows, width]), torch.zeros(columns, dtype=torch.int32)

    def dynamic() -> Tensor:
        size = float(x.abs().amax()) / 127
        bytes_ = (x.float() / size + 128).round_().clamp_(0, 255).to(torch.uint8)
        given = (bytes_, size, 128, prepared, scale.flatten(), zero, None, 1.0, 0, torch.bfloat16, "none", [], "")
        made: Tensor = torch.ops.onednn.qlinear_pointwise(*given)
        return made

    return {
        "bf16": lambda: torch.mm(x, half.t()),
        "int8 weights, _weight_int8pack_mm": lambda: torch.ops.aten._weight_int8pack_mm(x, whole, packed_scale),
        "int8 weights, made bf16 for every product": lambda: torch.mm(x, whole.bfloat16().t()) * packed_scale,
        "int8 weights and activations, oneDNN": dynamic,
    }


def scaled_error(model: Forecaster) -> float:
    """Mean absolute error over that of the naive forecast of a week before, on the last windows of three airports."""
    demo = load_demo()
    series = [part.departures.to_numpy(float) for _, part in demo.groupby("airport")]
    cuts = range(1024, len(series[0]) - 48, 24)
    contexts = [values[cut - 1024 : cut] for values in series for cut in cuts]
    actual = np.stack([values[cut : cut + 48] for values in series for cut in cuts])
    naive = np.stack([values[cut - 168 : cut - 120] for values in series for cut in cuts])
    median = np.asarray(tsfm.forecast(contexts, 48, model=model, progress=False).median)
    return float(np.abs(actual - median).mean() / np.abs(actual - naive).mean())


def main() -> int:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for every way")
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "int8_experts.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = tsfm.load("moe-decoder-tiny", device="cpu", precision="fp32")
    before = scaled_error(model)
    with torch.no_grad():
        for block in sparse_decoder(model).blocks:
            for weight in (block.experts.up, block.experts.down):
                whole, scale = rounded(weight)
                weight.copy_(whole * scale)
    loss = scaled_error(model) / before - 1
    rows = []
    for sizes in SIZES:
        timed = times(products(*sizes), torch.device("cpu"), options.seconds)
        for way, timing in timed.items():
            gain = timed["bf16"].us / timing.us
            about = dict(zip(("rows", "width", "columns"), sizes, strict=True))
            rows.append({"way": way, **about, "us": timing.us, "times_faster_than_bf16": gain, "mase_loss": loss})
            Console().print(f"{sizes} {way}: {timing.us:.1f} us, {gain:.2f} times as fast as bf16", soft_wrap=True)
    write_csv(options.out, [{**row, **origin()} for row in rows])
    Console().print(f"error with int8 weights: {100 * loss:+.3f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
