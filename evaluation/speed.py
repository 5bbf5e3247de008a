"""Measure how fast `tsfm.forecast` is: many series in one call, and one series from a cold Python.

    python evaluation/speed.py --model moe-decoder-tiny
    python evaluation/speed.py --model seasonal-naive --series 100 --data walks --force --out speed.csv

Throughput is the median over repeats after one untimed call. The share outside the model is what the call spends
before, between and after `model.predict`: adapters, conditioning, batching, building the forecast. Cold numbers are of
new processes whose files the system has read before. A busy machine gives numbers about its load, so it is refused.
Sparse layers have a benchmark of their own, `speed_layers.py`, and all that needs a GPU another, `gpu.py`.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import tsfm
from tsfm.data.datasets import data_folder, load_series
from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.results import ROOT, origin, read_csv, write_csv

Array = NDArray[np.float64]

BUSY = 0.7  # processes that want to run, averaged over a minute
HOURLY_SETS = ("m_dense_h", "jena_weather_h", "ett1_h", "m4_hourly")
COLD_IMPORT = "import time; start = time.perf_counter(); import tsfm; print(time.perf_counter() - start)"
COLD_FORECAST = """
import math, tsfm
series = [10 + math.sin(step / 24 * 2 * math.pi) + step % 7 / 10 for step in range({context})]
print(tsfm.forecast(series, {horizon}, model={model!r}).median[0])
"""


@dataclass
class Stopwatch:
    """Seconds of each call of a function."""

    seconds: list[float] = field(default_factory=list)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds.append(time.perf_counter() - start)

        return timed


@contextmanager
def predictions_timed(model: Any) -> Iterator[Stopwatch]:
    """Time every call of the model's ways to predict inside the block."""
    watch = Stopwatch()
    ways = [name for name in ("predict", "predict_both_signs") if hasattr(model, name)]
    for name in ways:
        setattr(model, name, watch.wrap(getattr(model, name)))
    try:
        yield watch
    finally:
        for name in ways:
            delattr(model, name)  # the instance's; the class keeps its own


def hourly_slices(count: int, context: int) -> list[Array]:
    """Cut the hourly evaluation sets into slices that do not overlap and take `count` of them, evenly spaced."""
    slices = [
        series.values[first : first + context]
        for name in HOURLY_SETS
        for series in load_series(name)
        for first in range(0, len(series) - context + 1, context)
    ]
    slices = [values for values in slices if np.isfinite(values).any()]
    if len(slices) < count:
        raise DataError(f"the hourly sets have {len(slices)} slices of {context} steps, not {count}; use --data walks")
    return [slices[i] for i in np.linspace(0, len(slices) - 1, count).round().astype(int)]


def random_walks(count: int, context: int, seed: int) -> list[Array]:
    """Return random walks with a daily season."""
    random = np.random.default_rng(seed)
    season = 5 * np.sin(2 * np.pi * np.arange(context) / 24)
    return list(np.cumsum(random.normal(size=(count, context)), axis=1) + season)


def made_ready(options: argparse.Namespace) -> tuple[list[Array], str]:
    """Return the series to forecast, and what they are."""
    kind = options.data or ("eval" if data_folder() is not None else "walks")
    if kind == "eval":
        return hourly_slices(options.series, options.context), f"slices of {' '.join(HOURLY_SETS)}"
    return random_walks(options.series, options.context, options.seed), "random walks with a season of 24"


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """Time whole calls of `tsfm.forecast` and the model inside them."""
    forecaster = tsfm.load(options.model)
    series, description = made_ready(options)
    totals, shares = [], []
    for repeat in range(options.repeats + 1):
        with predictions_timed(forecaster.model) as watch:
            start = time.perf_counter()
            tsfm.forecast(series, options.horizon, model=forecaster, batch_size=options.batch_size, progress=False)
            total = time.perf_counter() - start
        if repeat:  # the first call warms caches and picks kernels
            totals.append(total)
            shares.append(1 - sum(watch.seconds) / total)
    seconds = statistics.median(totals)
    return {
        "weights": forecaster.weight_hash or "none",
        "precision": forecaster.precision,
        "data": description,
        "seconds": seconds,
        "seconds_low": min(totals),
        "seconds_high": max(totals),
        "series_per_second": options.series / seconds,
        "share_outside_model": statistics.median(shares),
        "peak_rss_mb": peak_memory(),
    }


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def cold_start(options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of `import tsfm`, and of a whole process that forecasts one series."""
    imports = [float(new_process(COLD_IMPORT)) for _ in range(options.cold_repeats)]
    model = str(Path(options.model).resolve()) if Path(options.model).is_dir() else options.model
    code = COLD_FORECAST.format(context=options.context, horizon=options.horizon, model=model)
    firsts = []
    for _ in range(options.cold_repeats):
        start = time.perf_counter()
        new_process(code)
        firsts.append(time.perf_counter() - start)
    return {
        "cold_import_seconds": statistics.median(imports) if imports else "",
        "cold_forecast_seconds": statistics.median(firsts) if firsts else "",
    }


def new_process(code: str) -> str:
    """Return what a new Python prints; raise with its last line where it fails."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise TsfmError(f"a new Python could not forecast: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moe-decoder-tiny", help="name or folder, as tsfm.load takes it")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--horizon", type=int, default=48)
    parser.add_argument("--batch-size", type=int, help="as tsfm.forecast chooses it if not given")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold-repeats", type=int, default=5, help="0 leaves the cold start out")
    parser.add_argument("--data", choices=("eval", "walks"), help="eval where $TSFM_DATA is set, else walks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="measure on a busy machine all the same")
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "speed_forecast.csv")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and add a row to the results."""
    options, console = arguments(), Console()
    load = os.getloadavg()[0]
    if load > BUSY and not options.force:
        console.print(f"[red]the load average is {load:.2f}, above {BUSY}: wait until it is idle, or pass --force")
        return 1
    try:
        row = {
            "model": Path(options.model).name,
            **{name: getattr(options, name) for name in ("series", "context", "horizon", "repeats", "seed")},
            **cold_start(options),
            **throughput(options),
            "load_average": load,
            **origin(),
        }
    except TsfmError as error:
        console.print(f"[red]{error}")
        return 1
    write_csv(options.out, [*read_csv(options.out), row])
    for name, value in row.items():
        console.print(f"{name:24}{f'{value:.4g}' if isinstance(value, float) else value}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
