"""Measure sparse layers against their floor, a dense network of as many rows, and other ways to compute them.

    python evaluation/speed_layers.py
    python evaluation/speed_layers.py --tokens 2048 --ffn 192 --dtype bf16 --modes forward --force --out layers.csv

Every way is held against the plain truth (`tsfm.kernels.reference`); one that is wrong is not timed. Each layer's rows
are written as soon as they are there, and the same command again goes on where it stopped (`--again` measures anew what
this code measured on this device). On a processor it takes one thread, and forward passes alone 7 minutes. Recorded
routing is what the embedded model's routers chose on the bundled airport data. A row is one way to compute one layer;
`fraction_of_floor` is how near it comes to what the device's arithmetic and memory allow, `fraction_of_dense` to the
dense network, which needs no routing. `router` is the choice of experts alone, to be set beside "ours". The roofline is
drawn beside the results. How times are taken: `speed_limits.py`; what is compared: `speed_contenders.py`.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.speed_contenders import ROUTINGS, Layer, as_mode, contenders, dense, draw_layer
from evaluation.speed_limits import Shape, graphed_us, layer_floor, peak_megabytes, peak_of, times
from tsfm import kernels
from tsfm.errors import TsfmError
from tsfm.evaluation.results import ROOT, origin, read_csv, write_csv
from tsfm.kernels import reference

BUSY = 0.7  # processes that want to run, averaged over a minute
MODES = ("forward", "saving", "forward+backward")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}  # relative, root mean square
COMPARED = 2048  # tokens that are held against the truth

CPU_SHAPES = [Shape(tokens, 384, ffn) for ffn in (192, 768, 1536) for tokens in (64, 2048, 32768)]
GPU_SHAPES = [
    *(Shape(tokens, 384, ffn) for tokens in (64, 2048, 32768) for ffn in (192, 768)),
    Shape(32768, 768, 1536),
    Shape(65536, 1024, 2048),
]
EMBEDDED = Shape(2048, 256, 96, 16)  # the layers of moe-decoder-tiny


@cache
def recorded_choices() -> Tensor:
    """Experts (T, K) that the embedded model's third layer chose for the bundled hourly departures."""
    import numpy as np

    import tsfm
    from tsfm.demo import load_demo
    from tsfm.evaluation.routing import routing

    demo = load_demo()
    values = np.stack([part.departures.to_numpy(float) for _, part in demo.groupby("airport")])
    windows = np.concatenate([values[:, first : first + 512] for first in range(0, values.shape[1] - 512, 16)])
    with kernels.using("cpu"):
        return routing(tsfm.load("moe-decoder-tiny", device="cpu"), windows).index[2].flatten(0, 1)


def error_of(compute: Callable[..., Tensor], layer: Layer) -> float:
    """Relative error of a way's output against the truth in float32, on the first tokens; root mean square."""
    few = layer._replace(x=layer.x[:COMPARED], index=layer.index[:COMPARED], weight=layer.weight[:COMPARED])
    with torch.inference_mode():
        truth = reference.expert_mlp(few.x.float(), few.up.float(), few.down.float(), few.index, few.weight)
        return float((compute(*few).float() - truth).norm() / truth.norm())


def ways_of(layer: Layer, mode: str, compiled: bool) -> tuple[dict[str, Callable[[], object]], dict[str, Any]]:
    """Calls to time, and of every way its error, seconds of the first call, or why it is left out."""
    shape, dtype = layer.x.shape, layer.x.dtype
    calls: dict[str, Callable[[], object]] = {}
    about: dict[str, Any] = {}
    for name, compute in contenders(layer, compiled).items():
        about[name] = {"relative_error": "", "first_seconds": "", "error": ""}
        try:
            call, start = as_mode(compute, layer, mode), time.perf_counter()
            call()  # before anything else has compiled its kernels
            _wait(layer.x)
            about[name]["first_seconds"] = time.perf_counter() - start
            if not name.endswith("compiled"):  # those would compile again for the fewer tokens
                about[name]["relative_error"] = wrong = error_of(compute, layer)
                if not wrong <= TOLERANCE[dtype]:
                    raise ValueError(f"wrong by {wrong:.1e}, more than {TOLERANCE[dtype]:.0e}")
            calls[name] = call
        except Exception as error:  # one way that fails must not cost the others
            about[name]["error"] = _in_short(error)
    alone = layer._replace(x=layer.x.repeat_interleave(layer.index.shape[1], 0), up=layer.up[:1], down=layer.down[:1])
    calls["dense"] = as_mode(dense, alone, mode)
    if mode == "forward":
        calls["router"] = router_of(shape[1], layer)
    return calls, about


def router_of(width: int, layer: Layer) -> Callable[[], object]:
    """The router of this device as inference calls it, on float32 tokens."""
    x, experts = layer.x.float(), layer.up.shape[0]
    weight, bias = torch.randn(experts, width, device=x.device), torch.zeros(experts, device=x.device)
    top_k = layer.index.shape[1]

    def choose() -> object:
        with torch.inference_mode():
            return kernels.route(x, weight, top_k, bias=bias)

    return choose


def measure(
    shape: Shape,
    dtype: torch.dtype,
    routing: str,
    mode: str,
    device: torch.device,
    compiled: bool = False,
    budget: float = 0.5,
) -> list[dict[str, Any]]:
    """Rows of one layer in one mode: every way to compute it, right or wrong."""
    recorded = recorded_choices() if routing == "recorded" else None
    layer = draw_layer(shape, routing, device, dtype, recorded)
    calls, about = ways_of(layer, mode, compiled)
    timed = times(calls, device, budget)
    floor, flop = layer_floor(shape, dtype.itemsize, mode, peak_of(device, dtype)), shape.flop(mode == MODES[2])
    rows = []
    for name in [*about, *(name for name in calls if name not in about)]:
        known = about.get(name, {"relative_error": "", "first_seconds": "", "error": ""})
        row: dict[str, Any] = {**shape._asdict(), "dtype": _name(dtype), "routing": routing, "mode": mode, "way": name}
        us, low, high = timed.get(name, ("", "", ""))
        row |= {"us": us, "us_low": low, "us_high": high, "graph_us": "", "peak_mb": ""}
        if name in calls:
            graphed = name == "ours" or (shape.tokens <= 4096 and name in ("router", "grouped_mm"))
            row["graph_us"] = graph = graphed_us(calls[name], device) if graphed else ""
            row["peak_mb"] = peak_megabytes(calls[name], device)
        work = us != "" and name != "router"
        row["tflops"] = flop / us / 1e6 if work else ""
        row["floor_us"] = floor if name != "router" else ""
        row["fraction_of_floor"] = floor / us if work else ""
        row["graph_fraction"] = floor / float(graph) if work and graph != "" else ""
        row["fraction_of_dense"] = timed["dense"].us / us if us != "" else ""
        rows.append({**row, **known})
    return rows


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


def _name(dtype: torch.dtype) -> str:
    return next(name for name, known in DTYPES.items() if known == dtype)


def code_of(*patterns: str) -> str:
    """A hash of the files of these patterns below the checkout: numbers of other code are measured again."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def made_by(device: torch.device) -> dict[str, str]:
    """Columns on device, threads, code, torch and Triton beside those of every result file."""
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = ""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    code = code_of("tsfm/kernels/*.py", "evaluation/speed_*.py")
    return {"device": name, "code": code, "torch": torch.__version__, "triton": triton, **origin()}


def asked(options: argparse.Namespace, device: torch.device) -> Iterator[tuple[Shape, str, str, str]]:
    """Shape, type, routing and mode of every case: all shapes routed evenly, other routings at one size."""
    shapes = CPU_SHAPES if device.type == "cpu" else GPU_SHAPES
    shapes = [one for one in shapes if options.tokens in (None, one.tokens) and options.ffn in (None, one.ffn)]
    for dtype in options.dtype:
        for mode in options.modes:
            for shape in shapes:
                if device.type == "cuda" or mode == "forward" or (shape.tokens, shape.ffn) == (2048, 192):
                    yield shape, dtype, "uniform", mode
            if options.tokens in (None, 2048):
                for routing in ROUTINGS[1:]:
                    yield Shape(2048, 384, options.ffn or 192), dtype, routing, mode
                yield EMBEDDED, dtype, "recorded", mode


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="as kernels.choose_device takes it")
    parser.add_argument("--dtype", nargs="+", choices=tuple(DTYPES), default=["bf16", "fp32"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--tokens", type=int, help="only shapes of so many tokens")
    parser.add_argument("--ffn", type=int, help="only shapes of this expert width")
    parser.add_argument("--compiled", action="store_true", help="also compiled baselines (half a minute each)")
    parser.add_argument("--seconds", type=float, default=1.0, help="for every way, on a processor")
    parser.add_argument("--threads", type=int, default=1, help="on a processor")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no layer after this")
    parser.add_argument("--again", action="store_true", help="measure also what the results hold already")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine all the same")
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation" / "results" / "speed_layers.csv")
    return parser.parse_args(given)


def same_layer(row: Mapping[str, Any], case: tuple[Shape, str, str, str], device: str) -> bool:
    """Whether a row of the results is about this layer, as `asked` tells it, on this device."""
    shape, *kind = case
    known = [str(row.get(name)) for name in (*Shape._fields, "dtype", "routing", "mode", "device")]
    return known == [*map(str, shape), *kind, device]


def measured(rows: Sequence[Mapping[str, Any]], code: str, compiled: bool) -> bool:
    """Whether these rows of one layer need not be measured again: right, by this code, compiled ones if asked for."""
    ours = [row for row in rows if row["way"] == "ours" and not row["error"] and row.get("code") == code]
    return bool(ours) and (not compiled or any(row["way"] == "ours, compiled" for row in rows))


def main() -> int:
    """Measure, print, add rows to the results and draw them."""
    from rich.console import Console

    options, console = arguments(), Console()
    device, load = kernels.choose_device(options.device), os.getloadavg()[0]
    if load > BUSY and device.type == "cpu" and not options.force:
        console.print(f"[red]the load average is {load:.2f}, above {BUSY}: wait until it is idle, or pass --force")
        return 1
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    cases, about, until = list(asked(options, device)), made_by(device), time.time() + 60 * options.minutes
    try:
        for case in cases:
            shape, dtype, routing, mode = case
            rows = read_csv(options.out)
            mine = [row for row in rows if same_layer(row, case, about["device"])]
            if not options.again and measured(mine, about["code"], options.compiled):
                continue
            if time.time() > until:
                console.print("the time is up; the same command goes on from here")
                break
            found = measure(shape, DTYPES[dtype], routing, mode, device, options.compiled, options.seconds)
            made = [{**row, "load_average": load, **about} for row in found]
            write_csv(options.out, alike([*(row for row in rows if row not in mine), *made]))
            console.print(
                f"{tuple(shape)} {dtype} {routing} {mode}: " + ", ".join(map(in_words, found)), soft_wrap=True
            )
    except TsfmError as error:
        console.print(f"[red]{error}")
        return 1
    from evaluation.speed_roofline import draw, table

    rows = read_csv(options.out)
    layers = [[row for row in rows if same_layer(row, case, about["device"])] for case in cases]
    console.print("\n".join(table(layers)), soft_wrap=True, highlight=False)
    draw(rows, options.out.with_suffix(".png"))
    return 0


def alike(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the columns of all of them, empty where one has none."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in columns} for row in rows]


def in_words(row: dict[str, Any]) -> str:
    """A way with its time and its share of the dense network's, or why it has none."""
    if row["error"]:
        return f"{row['way']} failed ({row['error']})"
    return f"{row['way']} {row['us']:.0f} us (x{1 / row['fraction_of_dense']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
