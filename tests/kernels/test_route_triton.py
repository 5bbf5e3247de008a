"""The Triton router and the order of rows against the reference and torch's stable sort."""

import pytest
import torch

from tsfm.kernels import reference

pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")

from tsfm.kernels import moe_op, route_triton

ROUTERS = [(37, 40, 5, 2), (64, 32, 8, 2), (1, 16, 8, 1), (300, 24, 6, 3), (0, 16, 4, 2)]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(
    ("scoring", "renormalise"), [("softmax", True), ("softmax", False), ("sigmoid", True), ("sigmoid", False)]
)
@pytest.mark.parametrize(("tokens", "width", "experts", "top_k"), ROUTERS)
def test_routes_are_those_of_the_reference(tokens, width, experts, top_k, scoring, renormalise, with_bias, device):
    draw = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, width, generator=draw).to(device).requires_grad_()
    router = (torch.randn(experts, width, generator=draw) * width**-0.5).to(device).requires_grad_()
    bias = torch.randn(experts, generator=draw).to(device) if with_bias else None
    options = {"scoring": scoring, "bias": bias, "renormalise": renormalise}
    index, weight, logits, counts = moe_op.route(x, router, top_k, **options)
    torch.testing.assert_close(logits, x @ router.T)
    want, expected = reference.route(logits, top_k, **options)
    assert torch.equal(index, want)
    assert torch.equal(counts.sum(0).long(), index.flatten().bincount(minlength=experts))
    with torch.no_grad():
        torch.testing.assert_close(moe_op.route(x, router, top_k, **options)[1], expected.detach())
    pull = torch.randn(tokens, top_k, generator=draw).to(device)
    got = torch.autograd.grad((weight * pull).sum() + logits.square().sum(), (x, router))
    plain = x @ router.T
    again = reference.scores(plain, index, scoring=scoring, renormalise=renormalise)
    for one, right in zip(
        got, torch.autograd.grad((again * pull).sum() + plain.square().sum(), (x, router)), strict=True
    ):
        torch.testing.assert_close(one, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_ties_go_to_the_lowest_index(scoring, device):
    x, router = torch.ones(3, 16, device=device), torch.ones(6, 16, device=device)
    router[0] = 0
    index, weight, _, _ = moe_op.route(x, router, 3, scoring=scoring)
    assert index.tolist() == [[1, 2, 3]] * 3
    torch.testing.assert_close(weight, torch.full_like(weight, 1 / 3))


def test_large_logits_rank_by_themselves_and_not_by_sigmoids_that_round_to_one(device):
    router = torch.tensor([20.0, 21, 30, 25, 18, 19], device=device)[:, None] * torch.eye(1, 16, device=device)
    index = moe_op.route(torch.ones(3, 16, device=device), router, 2, scoring="sigmoid")[0]
    assert index.tolist() == [[2, 3]] * 3


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_forbidden_experts_are_taken_last_and_once(scoring, device):
    bias = torch.tensor([-torch.inf, -torch.inf, -torch.inf, 0, -torch.inf], device=device)
    x, router = torch.ones(3, 16, device=device), torch.arange(5.0, device=device)[:, None].expand(5, 16) / 16
    index, _, logits, counts = moe_op.route(x, router, 4, scoring=scoring, bias=bias)
    assert index.tolist() == [[3, 0, 1, 2]] * 3
    assert counts.sum(0).tolist() == [3, 3, 3, 3, 0]
    assert torch.equal(index, reference.route(logits, 4, scoring=scoring, bias=bias)[0])


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.usefixtures("poisoned")
def test_nan_logits_choose_experts_that_exist(device):
    x = torch.full((3, 16), torch.nan, device=device)
    index = moe_op.route(x, torch.ones(5, 16, device=device), 2)[0]
    assert (index >= 0).all()
    assert (index < 5).all()


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(
    ("tokens", "experts", "top_k"), [(37, 5, 2), (300, 8, 2), (700, 100, 3), (1, 8, 1), (0, 4, 2), (50, 300, 2)]
)
def test_rows_are_placed_as_a_stable_sort_would(tokens, experts, top_k, device):
    draw = torch.Generator().manual_seed(tokens)
    index = torch.randn(tokens, experts, generator=draw).topk(top_k).indices.to(device)
    order, position, start = route_triton.sort_rows(index, experts)
    want = torch.argsort(index.flatten(), stable=True)
    assert torch.equal(order.long(), want)
    assert torch.equal(want[position.long()], torch.arange(tokens * top_k, device=device))
    assert start.tolist() == [0, *index.flatten().bincount(minlength=experts).cumsum(0).tolist()]


def test_counts_of_the_router_sort_rows_as_counting_anew_does(device):
    draw = torch.Generator().manual_seed(0)
    x, router = (torch.randn(size, 16, generator=draw).to(device) for size in (300, 6))
    index, _, _, counts = moe_op.route(x, router, 2)
    for ours, anew in zip(route_triton.sort_rows(index, 6, counts), route_triton.sort_rows(index, 6), strict=True):
        assert torch.equal(ours, anew)


def test_counts_of_another_router_are_counted_anew(device):
    draw = torch.Generator().manual_seed(0)
    index = torch.randn(300, 6, generator=draw).topk(2).indices.to(device)
    whole = index.flatten().bincount(minlength=6)[None].int()  # as `kernels.route` counts without Triton: one block
    for ours, anew in zip(route_triton.sort_rows(index, 6, whole), route_triton.sort_rows(index, 6), strict=True):
        assert torch.equal(ours, anew)


def test_the_operation_keeps_its_promises_to_torch(device):
    draw = torch.Generator().manual_seed(0)
    x, router = (torch.randn(size, 32, generator=draw).to(device).requires_grad_() for size in (20, 5))
    torch.library.opcheck(moe_op.route_forward, (x, router, None, 2, False, True))


def test_more_experts_than_the_kernel_takes_are_refused_by_it(device):
    many = route_triton.EXPERTS + 1
    with pytest.raises(AssertionError, match=f"not {many}"):
        moe_op.route(torch.ones(3, 16, device=device), torch.ones(many, 16, device=device), 2)
