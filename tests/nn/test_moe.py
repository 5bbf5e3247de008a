"""A router learns from what its experts put out, however many a token goes to."""

import pytest
import torch

from tsfm.nn.moe import SparseExperts, recorded_routes


@pytest.fixture(params=[1, 2, 3])
def layer(request):
    torch.manual_seed(0)
    made = SparseExperts(width=8, shared_width=8, expert_width=4, experts=4, top_k=request.param)
    torch.nn.init.normal_(made.down)  # zero at the start
    return made


def test_the_gradient_of_the_output_reaches_the_router(layer):
    out, _, _ = layer(torch.randn(64, 8))
    out.square().sum().backward()
    assert layer.router.weight.grad.abs().max() > 1e-2


def test_one_expert_is_weighted_by_its_share_of_all_and_several_by_theirs_of_the_chosen(layer):
    x = torch.randn(64, 8)
    with recorded_routes() as routes:
        layer(x)
    logits = x @ layer.router.weight.T
    best = logits.topk(layer.top_k).values
    among = logits if layer.top_k == 1 else best
    expected = torch.exp(best - torch.logsumexp(among, dim=-1, keepdim=True))
    torch.testing.assert_close(routes[0].weight, expected)


def test_training_and_inference_agree(layer):
    x = torch.randn(64, 8)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], layer.infer(x))
