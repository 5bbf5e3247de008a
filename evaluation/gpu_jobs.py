"""What `gpu.py` measures: every job is a name, the table its row goes to, and a function that returns the numbers.

Jobs come in the order of their importance: correctness of every tile in the type that only a GPU can test, layers,
kernels one by one, other routings, the scan, the training step, forecasts, tile sizes, compiled baselines.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evaluation.gpu_model import forecasts, training
from evaluation.speed_contenders import Layer, draw_layer
from evaluation.speed_layers import EMBEDDED, MODES, TOLERANCE, measure
from evaluation.speed_limits import Shape, graphed_us, kernel_limits, least_us, peak_megabytes, peak_of, times
from tsfm import kernels
from tsfm.kernels import reference, tiles
from tsfm.kernels.tiles import Tile, Tiles

# T tokens, D width, F expert width, E experts, K experts a token, R = T * K routed rows.

Rows = list[dict[str, Any]]
GRADIENTS = ("output", "x", "up", "down", "weight")


@dataclass(frozen=True)
class Job:
    """A measurement: the rows it returns go to `<table>.csv` under its name."""

    table: str
    name: str
    run: Callable[[], Rows]


@dataclass(frozen=True)
class Bench:
    """Where and how large: real sizes on a GPU, tiny ones to try every path on a processor."""

    device: torch.device
    dry: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The type the tables are about; the interpreter of the dry run gets bfloat16 wrong."""
        return torch.float32 if self.dry else torch.bfloat16

    @property
    def budget(self) -> float:
        """Seconds a function may take on a processor."""
        return 0.01

    def shape(self, *sizes: int) -> Shape:
        """A shape, made tiny in a dry run."""
        return Shape(33, 32, 16, 4, 2) if self.dry else Shape(*sizes)


def jobs(bench: Bench) -> Iterator[Job]:
    """Every job, the most important first."""
    yield from gates(bench)
    yield from layers(bench)
    yield from kernel_jobs(bench)
    for routing in ("zipf", "one", "recorded"):
        for mode in MODES[::2][bench.dry :]:
            yield layer_job(bench, bench.shape(32768, 384, 768), routing, mode)
    yield layer_job(bench, bench.shape(*EMBEDDED), "recorded", "forward+backward")
    yield from scans(bench)
    for compiled in (False,) if bench.dry else (False, True):
        name = f"tiny, {'compiled' if compiled else 'eager'}"
        yield Job("training", name, partial(training, bench.device, compiled, bench.dry))
    yield Job("forecast", "moe-decoder-tiny", partial(forecasts, bench.device, bench.dry))
    yield from tile_jobs(bench)
    for mode in () if bench.dry else MODES[::2]:
        yield layer_job(bench, bench.shape(32768, 384, 768), "uniform", mode, compiled=True)


def all_tiles(dtype: torch.dtype) -> list[Tiles]:
    """Every entry of the tables that layers of this type may get."""
    started = [made for (_, size), made in tiles.START.items() if size == dtype.itemsize]
    measured = [made for (*_, kind), made in tiles.MEASURED.items() if kind == dtype]
    return list(dict.fromkeys(started + measured))


def gates(bench: Bench) -> Iterator[Job]:
    """Outputs and all gradients of every tile, on sizes that no tile divides, and of the router."""
    small = Tile(16, 32, 16)
    chosen = [Tiles(small, small, small, small)] if bench.dry else all_tiles(bench.dtype)
    for number, made in enumerate(chosen):
        for sizes in ((1000, 384, 200, 8, 2), (777, 96, 768, 5, 3)):
            shape = bench.shape(*sizes)
            yield Job("gate", f"tiles {number} {tuple(sizes)}", partial(gate, bench, made, shape))
    for scoring in ("softmax", "sigmoid"):
        yield Job("gate", f"route {scoring}", partial(route_gate, bench, scoring))


def gate(bench: Bench, made: Tiles, shape: Shape) -> Rows:
    """Relative errors against the reference in float32, and whether they and two runs pass."""
    layer = draw_layer(shape, "zipf", bench.device, bench.dtype)
    pull = torch.randn(shape.tokens, shape.width, device=bench.device).to(bench.dtype)
    with kernels.using("triton"), tiles.using(made):
        ours, again = (gradients(kernels.expert_mlp, layer, pull) for _ in range(2))
    wide = Layer(*(part.float() for part in layer[:3]), layer.index, layer.weight)
    truth = gradients(reference.expert_mlp, wide, pull.float())
    errors = [relative(got, right) for got, right in zip(ours, truth, strict=True)]
    same = all(torch.equal(one, two) for one, two in zip(ours, again, strict=True))
    passed = same and all(error <= TOLERANCE[bench.dtype] for error in errors)
    return [dict(**dict(zip(GRADIENTS, errors, strict=True)), bit_equal=same, passed=passed, tiles=str(made))]


def gradients(compute: Callable[..., Tensor], layer: Layer, pull: Tensor) -> list[Tensor]:
    """The output and the gradients of x, up, down and weight."""
    x, up, down, weight = (
        part.detach().clone().requires_grad_() for part in (layer.x, layer.up, layer.down, layer.weight)
    )
    out = compute(x, up, down, layer.index, weight)
    return [out.detach(), *torch.autograd.grad(out, (x, up, down, weight), pull)]


def relative(got: Tensor, right: Tensor) -> float:
    """Root mean square of the error over that of the truth."""
    return float((got.float() - right).norm() / right.norm())


def route_gate(bench: Bench, scoring: reference.Scoring) -> Rows:
    """Weights of the fused router against those of the reference on the fused router's own logits."""
    shape = bench.shape(1000, 384, 192)
    layer = draw_layer(shape, "uniform", bench.device, torch.float32)
    router = torch.randn(shape.experts, shape.width, device=bench.device) * shape.width**-0.5
    with kernels.using("triton"):
        index, weight, logits, _ = kernels.route(layer.x, router, shape.top_k, scoring=scoring)
    right = reference.route(logits, shape.top_k, scoring=scoring)
    errors = {"output": relative(logits, layer.x @ router.t()), "weight": relative(weight, right[1])}
    same = torch.equal(index, right[0])
    return [dict(**errors, bit_equal=same, passed=same and max(errors.values()) < 1e-5)]


def layers(bench: Bench) -> Iterator[Job]:
    """The layer table: every shape of the study, evenly routed."""
    sizes = [(32768, 384, 768), (2048, 384, 768), (32768, 768, 1536), (65536, 1024, 2048)]
    sizes += [(2048, 384, 192), (32768, 384, 192), (64, 384, 768)]
    for mode in MODES[::2]:
        for one in sizes[: 1 if bench.dry else None]:
            yield layer_job(bench, bench.shape(*one), "uniform", mode)


def layer_job(bench: Bench, shape: Shape, routing: str, mode: str, compiled: bool = False) -> Job:
    """All ways to compute one layer."""

    def run() -> Rows:
        with kernels.using("triton"):
            return measure(shape, bench.dtype, routing, mode, bench.device, compiled, bench.budget)

    return Job("layers", f"{tuple(shape)} {routing} {mode}{' compiled' if compiled else ''}", run)


def kernel_jobs(bench: Bench) -> Iterator[Job]:
    """Every kernel alone, beside its floor."""
    sizes = [(32768, 384, 768), (2048, 384, 768), (32768, 768, 1536), (2048, 384, 192), (32768, 384, 192)]
    for one in sizes[: 1 if bench.dry else None]:
        shape = bench.shape(*one)
        yield Job("kernels", str(tuple(shape)), partial(kernel_rows, bench, shape))


def kernel_calls(bench: Bench, shape: Shape, made: Tiles | None = None) -> dict[str, Callable[[], object]]:
    """A call of every kernel of a layer, by the names of `kernel_limits`, and of dense products as large."""
    from tsfm.kernels import moe_op, moe_triton, route_triton

    layer = draw_layer(shape, "uniform", bench.device, bench.dtype)
    x, up, down, index, weight = layer
    grad, experts = torch.randn_like(x), shape.experts
    router = torch.randn(experts, shape.width, device=x.device)
    order, position, start = route_triton.sort_rows(index, experts)
    made = made or moe_op._tiles(x, shape.rows, experts, shape.ffn)
    hidden, z = moe_triton.up_swiglu(x, up, order, start, made.up)
    rows = moe_triton.rows_matmul(hidden, down, start, made.rows)
    back = partial(moe_triton.act_backward, grad, down, z, weight, order, start, made.back)
    grad_z, scaled, _ = back()
    wide = moe_triton.rows_matmul(grad_z, up, start, made.rows, matrix_first=True)
    outer = partial(moe_triton.weight_grad, order=order, start=start, top_k=shape.top_k, tile=made.grad)
    same = x.repeat_interleave(shape.top_k, 0)
    route = partial(route_triton.route, x, router, None, shape.top_k, sigmoid=False, renormalise=True)
    return {
        "up_swiglu": partial(moe_triton.up_swiglu, x, up, order, start, made.up),
        "up_swiglu dense twin": lambda: same @ up[0].t(),
        "rows_matmul down": partial(moe_triton.rows_matmul, hidden, down, start, made.rows),
        "rows_matmul down dense twin": lambda: hidden @ down[0].t(),
        "combine": partial(moe_triton.combine, rows, position, shape.tokens, weight),
        "act_backward": back,
        "rows_matmul dx": partial(moe_triton.rows_matmul, grad_z, up, start, made.rows, matrix_first=True),
        "combine dx": partial(moe_triton.combine, wide, position, shape.tokens),
        "weight_grad up": partial(outer, grad_z, x, left_by_token=False),
        "weight_grad down": partial(outer, grad, scaled, left_by_token=True),
        "route": route,
        "sort_rows": partial(route_triton.sort_rows, index, experts),
        "route + scan + place": lambda: route_triton.sort_rows((found := route())[0], experts, found[3]),
    }


def kernel_rows(bench: Bench, shape: Shape) -> Rows:
    """A row for every kernel."""
    size, peak, rows = bench.dtype.itemsize, peak_of(bench.device, bench.dtype), []
    limits = kernel_limits(shape, size)
    for name, call in kernel_calls(bench, shape).items():
        timing = times({name: call}, bench.device, bench.budget)[name]
        floor = least_us(*limits[name], peak) if name in limits else ""
        kind = {"kernel": name, "floor_us": floor, "fraction_of_floor": floor / timing.us if floor else ""}
        memory = {"graph_us": graphed_us(call, bench.device), "peak_mb": peak_megabytes(call, bench.device)}
        rows.append(dict(**shape._asdict(), **timing._asdict(), **kind, **memory))
    return rows


def tile_jobs(bench: Bench) -> Iterator[Job]:
    """Other tiles for the two largest shapes of width 384 and the widest one: what could stand in tiles.MEASURED."""
    sizes = [(64, 128, 64, 4, 3), (64, 128, 64, 4, 4), (128, 64, 64, 4, 4), (128, 128, 32, 8, 4), (128, 128, 64, 8, 3)]
    sizes += [(128, 256, 64, 8, 3), (128, 128, 128, 8, 2), (64, 256, 64, 8, 3), (64, 64, 128, 4, 3)]
    for one in [(32768, 384, 768), (2048, 384, 768), (32768, 768, 1536)][: 1 if bench.dry else None]:
        for tile in [Tile(16, 32, 16)] if bench.dry else [Tile(*size) for size in sizes]:
            shape = bench.shape(*one)
            yield Job("tiles", f"{tuple(shape)} {tuple(tile)}", partial(tile_rows, bench, shape, tile))


def tile_rows(bench: Bench, shape: Shape, tile: Tile) -> Rows:
    """Time of each product with this tile; products that it does not fit are told as errors."""
    rows = []
    for field, names in (("up", "up_swiglu"), ("rows", "rows_matmul down"), ("back", "act_backward")):
        try:
            usual = tiles.tile_for(shape.rows // shape.experts, shape.width, shape.ffn, bench.dtype)
            call = kernel_calls(bench, shape, usual._replace(**{field: tile}))[names]
            us, error = times({names: call}, bench.device, bench.budget)[names].us, ""
        except Exception as problem:  # too much shared memory, too many registers
            us, error = "", f"{type(problem).__name__}: {problem}"[:160]
        rows.append(dict(**shape._asdict(), kernel=names, tile=str(tuple(tile)), us=us, error=error))
    return rows


def scans(bench: Bench) -> Iterator[Job]:
    """The selective scan at two lengths, both directions."""
    for series, width, length in [(16, 768, 512), (16, 768, 4096)][: 1 if bench.dry else None]:
        for backward in (False, True):
            name = f"({series}, {width}, {length}) {'forward+backward' if backward else 'forward'}"
            yield Job("scan", name, partial(scan_rows, bench, (series, width, length), backward))


def scan_rows(bench: Bench, sizes: tuple[int, int, int], backward: bool) -> Rows:
    """Time of the fused scan and of the plain one, and the traffic of u, delta, z, y, B and C over the device's."""
    series, width, length = (2, 8, 20) if bench.dry else sizes
    states, kind = 16, bench.dtype
    u, delta, z, pull = (torch.randn(series, width, length, device=bench.device).to(kind) for _ in range(4))
    into, out_of = (torch.randn(series, states, length, device=bench.device).to(kind) for _ in range(2))
    rates = -torch.rand(width, states, device=bench.device) - 0.1
    leaves = [part.requires_grad_(backward) for part in (u, delta, rates, into, out_of, z)]

    def call(path: kernels.Path) -> Callable[[], object]:
        def run() -> object:
            with kernels.using(path):
                made = kernels.selective_scan(*leaves[:5], z=leaves[5], delta_softplus=True)[0]
                return torch.autograd.grad(made, leaves, pull) if backward else made

        return run

    def found(path: kernels.Path) -> Tensor:
        with kernels.using(path), torch.no_grad():
            return kernels.selective_scan(*leaves[:5], z=leaves[5], delta_softplus=True)[0].float()

    wrong = relative(found("triton"), found("cpu"))
    timed = times({"triton": call("triton")}, bench.device, bench.budget)["triton"]
    start = time.perf_counter()
    call("cpu")()  # once: a loop over steps
    if bench.device.type == "cuda":
        torch.cuda.synchronize()
    plain = 1e6 * (time.perf_counter() - start)
    traffic = kind.itemsize * series * length * ((4 * width + 2 * states) * (3 if backward else 1))
    floor = 1e6 * traffic / peak_of(bench.device, kind).bytes
    shape = {"series": series, "width": width, "length": length, "states": states, "backward": backward}
    numbers = {"relative_error": wrong, "plain_us": plain, "floor_us": floor, "fraction_of_floor": floor / timed.us}
    return [dict(**shape, **timed._asdict(), **numbers)]
