"""The CPU path of sparse layers against the plain truth, in outputs and all gradients."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tsfm import kernels
from tsfm.kernels import reference
from tsfm.kernels.moe import BLOCK, GRAIN, LARGEST, blocks, plain_route, plan_blocks, weight_grad
from tsfm.nn.moe import SparseExperts, rebalance

SHAPES = [
    (37, 40, 24, 4, 2),
    (1, 32, 16, 8, 2),
    (33, 32, 32, 5, 1),
    (20, 16, 8, 3, 3),
    (1300, 16, 8, 2, 1),
    (0, 16, 8, 4, 2),
]


class Calls(TorchDispatchMode):
    """Names of the operations that run inside."""

    def __init__(self):
        super().__init__()
        self.made: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.made.append(str(func))
        return func(*args, **(kwargs or {}))


def layer(tokens: int, width: int, ffn: int, experts: int, top_k: int) -> tuple[torch.Tensor, ...]:
    """Inputs and weights of a layer in float64, ready for gradients."""
    draw = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, width, generator=draw, dtype=torch.float64, requires_grad=True)
    up = torch.randn(experts, 2 * ffn, width, generator=draw, dtype=torch.float64, requires_grad=True)
    down = torch.randn(experts, width, ffn, generator=draw, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(tokens, experts, generator=draw, dtype=torch.float64)
    index, weight = reference.route(logits, top_k)
    return x, up, down, index, weight.requires_grad_()


@pytest.mark.parametrize(("tokens", "width", "ffn", "experts", "top_k"), SHAPES)
def test_expert_layer_matches_the_reference_with_gradients(tokens, width, ffn, experts, top_k):
    x, up, down, index, weight = layer(tokens, width, ffn, experts, top_k)
    ours = kernels.expert_mlp(x, up, down, index, weight)
    truth = reference.expert_mlp(x, up, down, index, weight)
    torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)
    pull = torch.randn_like(truth)
    wanted = torch.autograd.grad(truth, (x, up, down, weight), pull)
    for got, want in zip(torch.autograd.grad(ours, (x, up, down, weight), pull), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("tokens", "width", "ffn", "experts", "top_k"), [*SHAPES, (600, 64, 200, 4, 2)])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_a_forecast_s_layer_matches_the_reference(tokens, width, ffn, experts, top_k, dtype, near):
    x, up, down, index, weight = layer(tokens, width, ffn, experts, top_k)
    x, up, down = x.to(dtype), up.to(dtype), down.to(dtype)
    with torch.inference_mode():
        ours = kernels.expert_mlp(x, up, down, index, weight.to(torch.promote_types(dtype, torch.float32)))
        truth = reference.expert_mlp(x.double(), up.double(), down.double(), index, weight)
    assert ours.dtype == dtype
    assert (ours - truth).norm() <= near * truth.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_forecast_s_layer_bears_every_token_on_one_expert(dtype):
    x, up, down, _, weight = layer(3000, 16, 8, 4, 1)
    index = torch.full((3000, 1), 2)
    with torch.inference_mode():
        ours = kernels.expert_mlp(x.to(dtype), up.to(dtype), down.to(dtype), index, weight.float())
        truth = reference.expert_mlp(x, up, down, index, weight)
    assert (ours - truth).norm() <= 1e-2 * truth.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "counts", [[0, 0], [1, 0, 40, 3], [400, 0, 400, 0, 0, 390], [5000, 2, 2, 0, 2000], [130, 110, 125, 140] * 4]
)
def test_planned_blocks_hold_every_row_and_little_more(counts, dtype):
    plan = plan_blocks(counts, 256, 96, dtype)
    seats = [(block.first + i, block.rows * block.times) for block in plan for i in range(block.experts)]
    room = dict(seats)
    assert len(room) == len(seats), "an expert stands in two blocks"
    assert all(room.get(expert, 0) >= count for expert, count in enumerate(counts))
    assert all(block.experts * block.rows <= 2 * LARGEST for block in plan)
    if dtype == torch.float32:
        assert sum(room.values()) <= sum(counts) + LARGEST // 64
    else:
        assert all(block.rows % GRAIN == 0 for block in plan)


@pytest.mark.parametrize("seed", range(8))
def test_a_forecast_s_layer_bears_experts_without_tokens_anywhere(seed):
    x, up, down, _, weight = layer(400, 256, 96, 16, 2)
    generator = torch.Generator().manual_seed(seed)
    popularity = torch.rand(16, generator=generator) ** 8
    popularity[torch.randperm(16, generator=generator)[: 2 + seed]] = 0
    index = torch.multinomial(popularity.expand(400, -1), 2, generator=generator)
    with torch.inference_mode():
        ours = kernels.expert_mlp(x.bfloat16(), up.bfloat16(), down.bfloat16(), index, weight.float())
        truth = reference.expert_mlp(x, up, down, index, weight)
    assert (ours - truth).norm() <= 1e-2 * truth.norm()


def test_an_expert_without_tokens_gets_no_gradient_and_does_no_harm():
    x, up, down, _, weight = layer(12, 16, 8, 4, 1)
    index = torch.full((12, 1), 2)
    kernels.expert_mlp(x, up, down, index, weight).sum().backward()
    assert up.grad is not None
    assert up.grad[2].abs().max() > 0
    assert up.grad[[0, 1, 3]].abs().max() == 0


def test_permuting_tokens_permutes_the_output_but_for_rounding():
    x, up, down, index, weight = layer(64, 16, 8, 4, 2)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    whole = kernels.expert_mlp(x, up, down, index, weight)
    shuffled = kernels.expert_mlp(x[order], up, down, index[order], weight[order])
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-12, atol=1e-12)


def test_frozen_experts_cost_no_gradient():
    x, up, down, index, weight = layer(12, 16, 8, 4, 2)
    with Calls() as calls:
        kernels.expert_mlp(x, up.detach(), down, index, weight).sum().backward()
    assert calls.made.count("tsfm.weight_grad.default") == 1
    assert down.grad is not None


@pytest.mark.parametrize("rows", [0, 1, 2, 15, 16, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_cover_every_row_with_few_sizes(rows):
    covered = {row for first, last in blocks(7, 7 + rows) for row in range(first, last)}
    assert covered == set(range(7, 7 + rows))
    assert all((last - first) & (last - first - 1) == 0 for first, last in blocks(7, 7 + rows))


def test_weight_gradient_of_float16_rows_is_summed_in_float32():
    rows = torch.full((4096, 1), 1.0, dtype=torch.float16)
    total = weight_grad(rows, rows, torch.tensor([0, 4096]))
    assert total.item() == 4096  # float16 stops counting ones at 2048


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(50, 8, 2), (1, 5, 3), (0, 4, 2), (7, 4, 4)])
def test_routes_are_those_of_the_reference_with_gradients(tokens, experts, top_k, scoring, renormalise, biased):
    draw = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    router = torch.randint(-1, 2, (experts, 6), generator=draw).double().requires_grad_()  # few numbers, so many ties
    bias = torch.randn(experts, generator=draw, dtype=torch.float64) if biased else None
    index, weight, logits = plain_route(x, router, top_k, scoring, bias, renormalise)
    truth = x @ router.T
    expected, mixing = reference.route(logits.detach(), top_k, scoring=scoring, bias=bias, renormalise=renormalise)
    assert index.equal(expected)
    torch.testing.assert_close(logits, truth)
    torch.testing.assert_close(weight, mixing)
    wanted = torch.autograd.grad(
        reference.scores(truth, index, scoring=scoring, renormalise=renormalise).square().sum(), (x, router)
    )
    for got, want in zip(torch.autograd.grad(weight.square().sum(), (x, router)), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_equal_experts_are_taken_in_order():
    index, _, _ = plain_route(torch.ones(3, 2), torch.ones(6, 2), 3, "softmax", None, True)
    assert index.tolist() == [[0, 1, 2]] * 3


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_forbidden_experts_are_taken_last_and_once(scoring):
    bias = torch.tensor([-torch.inf, -torch.inf, -torch.inf, 0, -torch.inf])
    index, _, _ = plain_route(torch.ones(2, 1), torch.arange(5.0)[:, None], 4, scoring, bias, True)
    assert index.tolist() == [[3, 0, 1, 2]] * 2


def test_rebalancing_pulls_tokens_away_from_a_busy_expert():
    torch.manual_seed(0)
    moe = SparseExperts(width=16, shared_width=8, expert_width=8, experts=4, top_k=1)
    with torch.no_grad():
        moe.router.weight.mul_(0.2)
        moe.router.weight[0] += 0.5
    x = torch.randn(512, 16).abs()
    before = moe(x)[1]
    for _ in range(400):
        rebalance(moe, moe(x)[1], 0.02)
    after = moe(x)[1]
    assert before[0] == 512
    assert after.max() < 250


def test_the_layer_compiles_whole():
    torch.manual_seed(0)
    moe = SparseExperts(width=16, shared_width=8, expert_width=8, experts=4, top_k=2)
    x = torch.randn(40, 16)
    torch.library.opcheck(
        torch.ops.tsfm.rows_matmul.default, (x, torch.randn(4, 8, 16), torch.tensor([0, 5, 5, 30, 40]))
    )
    explained = torch._dynamo.explain(moe)(x)
    assert explained.graph_break_count == 0
