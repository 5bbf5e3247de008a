"""The Triton kernels against the reference in float64: under the interpreter on a CPU, compiled on a GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tsfm.kernels import reference, tiles

pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")

from tsfm.kernels import moe_op, moe_triton
from tsfm.nn.moe import SparseExperts

# tokens, width, expert width, experts, experts a token
SHAPES = [
    (37, 40, 24, 4, 2),
    (1, 32, 16, 8, 2),
    (33, 32, 32, 5, 1),
    (20, 33, 35, 3, 3),
    (0, 32, 16, 4, 2),
    (45, 48, 40, 6, 2),
    (9, 32, 16, 1, 1),
]
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}
Layer = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def layer(
    shape: tuple[int, int, int, int, int], device: torch.device, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Layer:
    """Tokens, up, down, index and weight of a layer, ready for gradients."""
    tokens, width, ffn, experts, top_k = shape
    draw = torch.Generator().manual_seed(1000 * seed + tokens)
    x = torch.randn(tokens, width, generator=draw)
    up = torch.randn(experts, 2 * ffn, width, generator=draw) * width**-0.5
    down = torch.randn(experts, width, ffn, generator=draw) * ffn**-0.5
    index, weight = reference.route(torch.randn(tokens, experts, generator=draw), top_k)
    x, up, down = (one.to(device, dtype).requires_grad_() for one in (x, up, down))
    return x, up, down, index.to(device), weight.to(device).requires_grad_()


class Made(TorchDispatchMode):
    """What the backward operation returns inside."""

    def __init__(self):
        super().__init__()
        self.by_backward: list[tuple[Tensor, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.tsfm.moe_backward.default:
            self.by_backward.append(made)
        return made


def pull_of(x: Tensor) -> Tensor:
    """A gradient for the mixture of x."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(7)).to(x)


def with_gradients(compute: Callable[..., Tensor], given: Layer, pull: Tensor) -> list[Tensor]:
    """The mixture and the gradients of x, up, down and weight."""
    x, up, down, index, weight = given
    out = compute(x, up, down, index, weight)
    return [out, *torch.autograd.grad(out, (x, up, down, weight), pull)]


def truth(given: Layer, pull: Tensor) -> list[Tensor]:
    """What `with_gradients` should be, in float64."""
    wide = [one.detach().double().requires_grad_() if one.is_floating_point() else one for one in given]
    return with_gradients(reference.expert_mlp, (wide[0], wide[1], wide[2], wide[3], wide[4]), pull.double())


def assert_close(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    """Root mean square errors relative to the root mean square of what is wanted."""
    for name, one, right in zip(("out", "x", "up", "down", "weight"), got, want, strict=True):
        assert one.shape == right.shape
        assert one.isfinite().all(), name
        error = (one.double() - right).square().sum().sqrt() / right.square().sum().sqrt().clamp_min(1e-30)
        assert error <= tolerance, f"{name}: {error:.1e}"


@pytest.mark.usefixtures("small_tiles", "poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_all_gradients_are_those_of_the_reference(shape, dtype, device):
    given = layer(shape, device, dtype)
    pull = pull_of(given[0])
    assert_close(with_gradients(moe_op.expert_mlp, given, pull), truth(given, pull), TOLERANCE[dtype])


@pytest.mark.usefixtures("poisoned")
def test_the_tiles_of_the_table_give_the_same(device):
    given = layer((70, 48, 56, 6, 2), device)
    pull = pull_of(given[0])
    assert_close(with_gradients(moe_op.expert_mlp, given, pull), truth(given, pull), 1e-6)


@pytest.mark.usefixtures("small_tiles", "poisoned")
@pytest.mark.parametrize("choice", [[2], [2, 0]], ids=["one expert", "two of four"])
def test_experts_without_tokens_do_no_harm_and_get_no_gradient(choice, device):
    x, up, down, _, weight = layer((37, 40, 24, 4, len(choice)), device)
    given = (x, up, down, torch.tensor(choice, device=device).expand(37, -1), weight)
    pull = pull_of(x)
    got = with_gradients(moe_op.expert_mlp, given, pull)
    assert_close(got, truth(given, pull), 1e-6)
    idle = [expert for expert in range(4) if expert not in choice]
    assert not got[2][idle].any()
    assert not got[3][idle].any()


@pytest.mark.usefixtures("small_tiles", "poisoned")
def test_two_runs_are_equal_to_the_last_bit(device):
    given = layer((37, 40, 24, 4, 2), device)
    pull = pull_of(given[0])
    first, second = (with_gradients(moe_op.expert_mlp, given, pull) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.mark.usefixtures("small_tiles", "poisoned")
def test_keeping_nothing_for_the_backward_changes_no_bit(device):
    given = layer((37, 40, 24, 4, 2), device)
    pull = pull_of(given[0])
    kept = with_gradients(moe_op.expert_mlp, given, pull)
    again = with_gradients(lambda *layer: moe_op.expert_mlp(*layer, recompute=True), given, pull)
    assert all(torch.equal(one, two) for one, two in zip(kept, again, strict=True))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("recompute", [False, True])
def test_nothing_is_saved_but_inputs_z_and_the_index_arrays(recompute, device):
    x, up, down, index, weight = layer((37, 40, 24, 4, 2), device)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: saved.append(one) or one, lambda one: one):
        moe_op.expert_mlp(x, up, down, index, weight, recompute=recompute)
    inputs = {one.data_ptr() for one in (x, up, down, weight)}
    beside = sorted(one.numel() for one in saved if one.data_ptr() not in inputs and one.numel())
    assert beside == [5, 74, 74, *([] if recompute else [74 * 48])]


@pytest.mark.usefixtures("small_tiles", "poisoned")
def test_permuting_tokens_permutes_outputs_exactly(device):
    x, up, down, index, weight = (one.detach() for one in layer((37, 40, 24, 4, 2), device))
    shuffle = torch.randperm(37, generator=torch.Generator().manual_seed(0)).to(device)
    whole = moe_op.expert_mlp(x, up, down, index, weight)
    assert torch.equal(moe_op.expert_mlp(x[shuffle], up, down, index[shuffle], weight[shuffle]), whole[shuffle])


@pytest.mark.usefixtures("small_tiles", "poisoned")
def test_all_experts_with_equal_weights_are_a_dense_mixture(device):
    x, up, down, _, _ = (one.detach() for one in layer((20, 32, 24, 3, 1), device))
    everyone = torch.arange(3, device=device).expand(20, 3)
    mixed = moe_op.expert_mlp(x, up, down, everyone, torch.full((20, 3), 1 / 3, device=device))
    dense = torch.stack([reference.mlp(x, up[expert], down[expert]) for expert in range(3)]).mean(0)
    torch.testing.assert_close(mixed, dense)


@pytest.mark.usefixtures("poisoned")
def test_the_weight_gradient_of_many_rows_is_summed_from_parts(device):
    rows = 2 * moe_triton.LONG + 5
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(rows, size, generator=draw).to(device) for size in (20, 18))
    order = torch.arange(rows, dtype=torch.int32, device=device)
    start = torch.tensor([0, rows], dtype=torch.int32, device=device)
    tile = tiles.Tile(32, 32, 64)
    made = moe_triton.weight_grad(left, right, order, start, 1, tile, left_by_token=True)
    want = (left.double().T @ right.double())[None]
    assert (made - want).square().mean().sqrt() < 1e-6 * want.square().mean().sqrt()


@pytest.mark.usefixtures("small_tiles", "poisoned")
def test_strided_inputs_and_an_expanded_gradient_are_taken(device):
    x, up, down, index, weight = layer((20, 32, 24, 3, 2), device)
    across = up.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    turned = index.T.contiguous().T
    out = moe_op.expert_mlp(x, across, down, turned, weight)
    got = torch.autograd.grad(out.sum(), (x, across, down, weight))
    want = truth((x, up, down, index, weight), torch.ones_like(x))
    assert_close([out, *got], want, 1e-6)


@pytest.mark.usefixtures("small_tiles")
def test_mixed_types_are_refused(device):
    x, up, down, index, weight = layer((4, 32, 16, 3, 2), device)
    with pytest.raises(TypeError, match="multiply one type"):
        moe_op.expert_mlp(x.half(), up, down, index, weight)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU multiplies bfloat16 rightly")
def test_the_interpreter_refuses_bfloat16_instead_of_being_wrong(device):
    with pytest.raises(NotImplementedError, match="bfloat16"):
        moe_op.expert_mlp(*layer((4, 32, 16, 3, 2), device, torch.bfloat16))


@pytest.mark.usefixtures("small_tiles")
def test_the_operations_keep_their_promises_to_torch(device):
    given = layer((20, 32, 24, 3, 2), device)
    torch.library.opcheck(moe_op.moe_forward, (*given, None, True))
    x, up, down, index, weight = (one.detach() for one in given)
    kept = moe_op.moe_forward(x, up, down, index, weight, None, True)[1:]
    for asked in ((True, True, True), (False, True, False)):
        torch.library.opcheck(moe_op.moe_backward, (pull_of(x), x, up, down, weight, *kept, *asked))


@pytest.mark.usefixtures("small_tiles", "poisoned")
@pytest.mark.parametrize("frozen", [{1, 2}, {0, 2}, {0, 1}], ids=["experts", "x and down", "x and up"])
def test_what_is_frozen_costs_no_gradient_and_changes_no_other(frozen, device):
    given = layer((20, 32, 24, 3, 2), device)
    pull = pull_of(given[0])
    whole = with_gradients(moe_op.expert_mlp, given, pull)[1:4]
    held = [one.detach() if place in frozen else one for place, one in enumerate(given)]
    wanted = [place for place in range(3) if place not in frozen]
    with Made() as made:
        found = torch.autograd.grad(moe_op.expert_mlp(*held), [held[place] for place in wanted], pull)
    assert all(torch.equal(one, whole[place]) for one, place in zip(found, wanted, strict=True))
    (gradients,) = made.by_backward
    assert [place for place in range(3) if gradients[place].numel()] == wanted


@pytest.mark.usefixtures("small_tiles")
def test_the_compiler_takes_the_layer_whole(device):
    given = layer((20, 32, 24, 3, 2), device)
    pull = pull_of(given[0])
    compiled = torch.compile(moe_op.expert_mlp, fullgraph=True, backend="aot_eager")
    plain, ours = (with_gradients(compute, given, pull) for compute in (moe_op.expert_mlp, compiled))
    assert all(torch.equal(one, two) for one, two in zip(plain, ours, strict=True))


def every_tile() -> list[tiles.Tiles]:
    """All two-byte entries of the tables."""
    started = [made for (_, size), made in tiles.START.items() if size == 2]
    return started + [made for (*_, dtype), made in tiles.MEASURED.items() if dtype.itemsize == 2]


@pytest.mark.gpu
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", [(1000, 384, 200, 8, 2), (777, 96, 768, 5, 3)])
@pytest.mark.parametrize("chosen", every_tile())
def test_every_tile_of_the_table_is_right_in_bfloat16(chosen, shape, recompute, device):
    given = layer(shape, device, torch.bfloat16)
    pull = pull_of(given[0])
    with tiles.using(chosen):
        got = with_gradients(lambda *layer: moe_op.expert_mlp(*layer, recompute=recompute), given, pull)
    assert_close(got, truth(given, pull), TOLERANCE[torch.bfloat16])


@pytest.mark.gpu
def test_a_cuda_graph_replays_a_training_step_with_new_routing(device):
    shape = (256, 64, 48, 8, 2)
    still, later = layer(shape, device), layer(shape, device, seed=1)
    pull = pull_of(still[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        with_gradients(moe_op.expert_mlp, still, pull)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = with_gradients(moe_op.expert_mlp, still, pull)
    with torch.no_grad():
        for one, new in zip(still, later, strict=True):
            one.copy_(new)
    graph.replay()
    for one, right in zip(made, with_gradients(moe_op.expert_mlp, later, pull), strict=True):
        assert torch.equal(one, right)


@pytest.mark.gpu
def test_a_compiled_layer_of_a_model_trains_on_a_gpu_as_an_eager_one(device):
    torch.manual_seed(0)
    moe = SparseExperts(width=64, shared_width=32, expert_width=32, experts=8, top_k=2).to(device)
    torch.nn.init.normal_(moe.down, std=0.1)
    x, wanted = torch.randn(300, 64, device=device), tuple(moe.parameters())
    pull = pull_of(x)
    eager, compiled = moe(x)[0], torch.compile(moe, fullgraph=True)(x)[0]
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)
    plain, ours = (torch.autograd.grad(out, wanted, pull) for out in (eager, compiled))
    for one, right in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-3, atol=1e-3)
