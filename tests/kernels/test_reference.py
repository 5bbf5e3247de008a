"""The reference against definitions written out by hand, and its gradients against finite differences."""

import pytest
import torch

from tsfm.kernels import reference


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random float64 numbers that want a gradient."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


ROUTERS = [("softmax", True), ("softmax", False), ("sigmoid", True), ("sigmoid", False)]


@pytest.mark.parametrize(("scoring", "renormalise"), ROUTERS)
def test_gradients_of_the_weights_are_those_of_finite_differences(scoring, renormalise):
    logits, bias = draw(6, 5), draw(5).detach()

    def weights(values):
        return reference.route(values, 3, scoring=scoring, bias=bias, renormalise=renormalise)[1]

    assert torch.autograd.gradcheck(weights, logits)


@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_gradients_of_the_experts_are_those_of_finite_differences(activation):
    rows = 6 if activation == "swiglu" else 3
    x, up, down = draw(5, 4), draw(3, rows, 4), draw(3, 4, 3)
    index = torch.tensor([[0, 2], [2, 1], [0, 1], [2, 0], [0, 2]])
    weight = draw(5, 2)
    assert torch.autograd.gradcheck(
        lambda *given: reference.expert_mlp(*given[:3], index, given[3], activation), (x, up, down, weight)
    )


@pytest.mark.parametrize("gated", [False, True])
def test_gradients_of_the_shared_expert_are_those_of_finite_differences(gated):
    given = (draw(5, 4), draw(6, 4), draw(4, 3), *([draw(1, 4, seed=1)] if gated else []))
    assert torch.autograd.gradcheck(reference.shared_expert, given)


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize(("scoring", "renormalise"), ROUTERS)
def test_ties_go_to_the_lowest_index(scoring, renormalise, top_k):
    index, weight = reference.route(torch.ones(4, 7), top_k, scoring=scoring, renormalise=renormalise)
    assert index.tolist() == [list(range(top_k))] * 4
    assert (weight == weight[0, 0]).all()


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_renormalised_weights_sum_to_one(scoring):
    weight = reference.route(draw(9, 6), 3, scoring=scoring)[1]
    torch.testing.assert_close(weight.sum(-1), torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize(("scoring", "renormalise"), ROUTERS)
def test_a_bias_moves_the_choice_and_not_the_weights(scoring, renormalise):
    logits = draw(9, 6).detach()
    bias = torch.zeros(6, dtype=torch.float64)
    bias[4] = 100
    index, weight = reference.route(logits, 6, scoring=scoring, bias=bias, renormalise=renormalise)
    assert (index[:, 0] == 4).all()
    plain, expected = reference.route(logits, 6, scoring=scoring, renormalise=renormalise)
    torch.testing.assert_close(
        weight.gather(1, index.argsort(-1)), expected.gather(1, plain.argsort(-1)), rtol=1e-12, atol=0
    )


def test_weights_that_are_not_renormalised_are_probabilities_among_all_experts():
    logits = draw(9, 6)
    index, weight = reference.route(logits, 2, renormalise=False)
    for token in range(9):
        odds = logits[token].exp()
        torch.testing.assert_close(weight[token], odds[index[token]] / odds.sum())


def test_sigmoids_that_underflow_give_no_nan():
    weight = reference.route(torch.full((1, 3), -1000.0), 2, scoring="sigmoid")[1]
    assert weight.isfinite().all()


@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_all_experts_with_equal_weights_are_a_dense_mixture(activation):
    rows = 6 if activation == "swiglu" else 3
    x, up, down = draw(5, 4), draw(3, rows, 4), draw(3, 4, 3)
    index = torch.arange(3).expand(5, 3)
    mixed = reference.expert_mlp(x, up, down, index, torch.full((5, 3), 1 / 3, dtype=torch.float64), activation)
    dense = torch.stack([reference.mlp(x, up[e], down[e], activation) for e in range(3)]).mean(0)
    torch.testing.assert_close(mixed, dense)
