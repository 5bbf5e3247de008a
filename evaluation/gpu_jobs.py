"""What `gpu.py` measures: every job is a name, the table its row goes to, and a function that returns the numbers.

Jobs come in the order of their importance: correctness of every tile in the type that only a GPU can test, of routers
and scans, layers, kernels one by one, other routings, the scan, the training step, forecasts, tile sizes, compiled
baselines.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import torch
from torch import Tensor

from evaluation.gpu_model import forecasts, training
from evaluation.gpu_scan import Rows, relative, scan_gate, scan_rows
from evaluation.speed_contenders import Layer, draw_layer
from evaluation.speed_layers import EMBEDDED, MODES, TOLERANCE, measure
from evaluation.speed_limits import Shape, graphed_us, kernel_limits, least_us, peak_megabytes, peak_of, times
from tsfm import kernels
from tsfm.kernels import reference, tiles
from tsfm.kernels.tiles import Tile, Tiles

# T tokens, D width, F expert width, E experts, K experts a token, R = T * K routed rows.

GRADIENTS = ("output", "x", "up", "down", "weight")
SINGLE = ("rows_matmul down", "rows_matmul dx", "weight_grad up", "weight_grad down")  # one accumulator
DOUBLE = ("up_swiglu", "act_backward")  # two, or one and both halves of z
WIDE = Tile(128, 256, 64, 8, 3)  # for one accumulator only: two do not fit


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
        if number == 0:
            yield Job("gate", "recompute", partial(gate, bench, made, shape, recompute=True))
    scorings: tuple[reference.Scoring, ...] = ("softmax", "sigmoid")
    for scoring, biased in product(scorings, (True, False)):
        name = f"route {scoring}, {'with a bias' if biased else 'no bias'}"
        yield Job("gate", name, partial(route_gate, bench, scoring, biased))
    for kind in dict.fromkeys((torch.float32, bench.dtype)):
        yield Job(
            "gate", f"scan {kind}", partial(scan_gate, bench.device, kind, (1, 5, 67) if bench.dry else (3, 200, 333))
        )


def gate(bench: Bench, made: Tiles, shape: Shape, recompute: bool = False) -> Rows:
    """Relative errors against the reference in float32, and whether they and two runs pass."""
    layer = draw_layer(shape, "zipf", bench.device, bench.dtype)
    pull = torch.randn(shape.tokens, shape.width, device=bench.device).to(bench.dtype)
    compute = partial(kernels.expert_mlp, recompute=recompute)
    with kernels.using("triton"), tiles.using(made):
        ours, again = (gradients(compute, layer, pull) for _ in range(2))
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


def route_gate(bench: Bench, scoring: reference.Scoring, biased: bool) -> Rows:
    """The fused router's choices against the reference's on its own logits; logits, weights and gradients exactly."""
    shape = bench.shape(1000, 384, 192)
    layer = draw_layer(shape, "uniform", bench.device, torch.float32)
    x, router = layer.x, torch.randn(shape.experts, shape.width, device=bench.device) * shape.width**-0.5
    bias = torch.randn(shape.experts, device=bench.device) if biased else None
    leaves, pull = [x.requires_grad_(), router.requires_grad_()], torch.randn_like(layer.weight)
    with kernels.using("triton"):
        index, weight, logits, _ = kernels.route(x, router, shape.top_k, scoring=scoring, bias=bias)
        ours = [logits, weight, *torch.autograd.grad(weight, leaves, pull)]
    same = torch.equal(index, reference.route(logits.detach(), shape.top_k, scoring=scoring, bias=bias)[0])
    exact = x @ router.t()
    scores = (torch.sigmoid(exact) if scoring == "sigmoid" else torch.softmax(exact, -1)).gather(1, index)
    right = scores / scores.sum(-1, keepdim=True)
    truth = [exact, right, *torch.autograd.grad(right, leaves, pull)]
    errors = [relative(got.detach(), made.detach()) for got, made in zip(ours, truth, strict=True)]
    names = ("output", "weight", "x", "router")
    return [dict(**dict(zip(names, errors, strict=True)), bit_equal=same, passed=same and max(errors) < 1e-5)]


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


@lru_cache(maxsize=1)
def drawn(shape: Shape, device: torch.device, dtype: torch.dtype) -> Layer:
    """An evenly routed layer, kept for the next job: drawing it takes longer than timing a kernel."""
    return draw_layer(shape, "uniform", device, dtype)


def kernel_calls(bench: Bench, shape: Shape) -> dict[str, Callable[..., object]]:
    """A call of every kernel of a layer, by the names of `kernel_limits`, and of dense products as large.

    Products take another tile by the name `tile`.
    """
    from tsfm.kernels import moe_op, moe_triton, route_triton

    x, up, down, index, weight = drawn(shape, bench.device, bench.dtype)
    grad, experts = torch.randn_like(x), shape.experts
    wide_x, bias = x.float(), torch.randn(experts, device=x.device)  # as models route: in float32, with a bias
    router = torch.randn(experts, shape.width, device=x.device)
    order, position, start = route_triton.sort_rows(index, experts)
    made = moe_op._tiles(x, shape.rows, experts, shape.ffn)
    hidden, z = moe_triton.up_swiglu(x, up, order, start, made.up)
    rows = moe_triton.rows_matmul(hidden, down, start, made.rows)
    back = partial(moe_triton.act_backward, grad, down, z, weight, order, start, tile=made.back)
    grad_z, scaled, _ = back()
    wide = moe_triton.rows_matmul(grad_z, up, start, made.rows, matrix_first=True)
    outer = partial(moe_triton.weight_grad, order=order, start=start, top_k=shape.top_k, tile=made.grad)
    same = x.repeat_interleave(shape.top_k, 0)
    route = partial(route_triton.route, wide_x, router, bias, shape.top_k, sigmoid=False, renormalise=True)
    return {
        "up_swiglu": partial(moe_triton.up_swiglu, x, up, order, start, tile=made.up),
        "up_swiglu dense twin": lambda: same @ up[0].t(),
        "rows_matmul down": partial(moe_triton.rows_matmul, hidden, down, start, tile=made.rows),
        "rows_matmul down dense twin": lambda: hidden @ down[0].t(),
        "combine": partial(moe_triton.combine, rows, position, shape.tokens, weight),
        "act_backward": back,
        "rows_matmul dx": partial(moe_triton.rows_matmul, grad_z, up, start, tile=made.rows, matrix_first=True),
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
    sizes += [(128, 128, 128, 8, 2), (64, 256, 64, 8, 3), (64, 64, 128, 4, 3), tuple(WIDE)]
    for one in [(32768, 384, 768), (2048, 384, 768), (32768, 768, 1536)][: 1 if bench.dry else None]:
        for tile in [Tile(16, 32, 16)] if bench.dry else [Tile(*size) for size in sizes]:
            shape = bench.shape(*one)
            yield Job("tiles", f"{tuple(shape)} {tuple(tile)}", partial(tile_rows, bench, shape, tile))


def tile_rows(bench: Bench, shape: Shape, tile: Tile) -> Rows:
    """Time of each product with this tile; products that it does not fit are told as errors."""
    from triton import OutOfResources

    calls, rows = kernel_calls(bench, shape), []
    for name in SINGLE if tile == WIDE else (*SINGLE, *DOUBLE):
        try:
            timing = times({name: partial(calls[name], tile=tile)}, bench.device, bench.budget)[name]
            us, error = timing.us, ""
        except OutOfResources as problem:  # all else may have broken the device, and fails the job
            us, error = "", f"{type(problem).__name__}: {problem}"[:160]
        rows.append(dict(**shape._asdict(), kernel=name, tile=str(tuple(tile)), us=us, error=error))
    return rows


def scans(bench: Bench) -> Iterator[Job]:
    """The selective scan at two lengths, both directions."""
    for sizes in [(2, 8, 20)] if bench.dry else [(16, 768, 512), (16, 768, 4096)]:
        for backward in (False, True):
            name = f"{sizes} {'forward+backward' if backward else 'forward'}"
            yield Job("scan", name, partial(scan_rows, bench.device, bench.dtype, sizes, backward, bench.budget))
