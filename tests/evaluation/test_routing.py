"""Routing: what is recorded is what the routers did, and a silenced part speaks again afterwards."""

import numpy as np
import pytest
import torch

import tsfm
from tsfm.errors import DataError
from tsfm.evaluation.routing import routing, silenced
from tsfm.forecaster import Forecaster


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return tsfm.load("moe-decoder-tiny", precision="fp32")


@pytest.fixture(scope="module")
def contexts() -> np.ndarray:
    steps = np.arange(6 * 32)
    noise = np.random.default_rng(0).normal(size=(3, len(steps)))
    return np.sin(2 * np.pi * steps / 24) + 0.3 * noise


def test_every_token_of_every_layer_has_its_experts(forecaster: Forecaster, contexts: np.ndarray):
    found = routing(forecaster, contexts, ahead=2)
    assert found.index.shape == found.weight.shape == (4, 3, 8, 2)
    assert found.observed.tolist() == [[True] * 6 + [False] * 2] * 3
    torch.testing.assert_close(found.weight.sum(-1), torch.ones(4, 3, 8))


def test_the_shares_of_a_layer_sum_to_one(forecaster: Forecaster, contexts: np.ndarray):
    found = routing(forecaster, contexts, ahead=2)
    for tokens in (None, ~found.observed):
        torch.testing.assert_close(found.shares(tokens).sum(1), torch.ones(4))


def test_the_weights_of_a_token_are_the_softmax_of_its_own_router(forecaster: Forecaster, contexts: np.ndarray):
    layer = forecaster.model.blocks[0].experts
    heard = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    found = routing(forecaster, contexts)
    handle.remove()
    logits = heard[0] @ layer.router.weight.T
    chosen = found.index[0].reshape(-1, 2)
    torch.testing.assert_close(found.weight[0].reshape(-1, 2), logits.gather(1, chosen).softmax(-1))
    assert chosen.equal((logits + layer.balance).topk(2).indices)


def test_a_patch_without_a_value_is_not_counted(forecaster: Forecaster, contexts: np.ndarray):
    gappy = contexts.copy()
    gappy[0, 32:64] = np.nan
    assert not routing(forecaster, gappy).observed[0, 1]


def test_routing_leaves_forecasts_as_they_are(forecaster: Forecaster, contexts: np.ndarray):
    before = forecaster.predict_arrays(contexts, 40)
    routing(forecaster, contexts)
    np.testing.assert_array_equal(before, forecaster.predict_arrays(contexts, 40))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_silenced_part_changes_the_forecast_until_it_speaks_again(contexts: np.ndarray, precision: str):
    forecaster = tsfm.load("moe-decoder-tiny", precision=precision)
    whole = forecaster.predict_arrays(contexts, 40)
    with silenced(forecaster, forecaster.model.blocks[3].experts.shared_down.weight):
        without = forecaster.predict_arrays(contexts, 40)
    assert not np.allclose(whole, without)
    np.testing.assert_array_equal(whole, forecaster.predict_arrays(contexts, 40))


def test_a_part_is_restored_after_an_error(forecaster: Forecaster, contexts: np.ndarray):
    weight = forecaster.model.blocks[0].experts.down
    before = weight.detach().clone()
    with pytest.raises(KeyError), silenced(forecaster, weight):
        raise KeyError
    assert weight.equal(before)


def test_a_model_without_experts_is_named(contexts: np.ndarray):
    with pytest.raises(DataError, match="'seasonal-naive' has no experts"):
        routing(tsfm.load("seasonal-naive"), contexts)


def test_a_context_shorter_than_a_patch_is_refused(forecaster: Forecaster, contexts: np.ndarray):
    with pytest.raises(DataError, match="contexts of 20 steps"):
        routing(forecaster, contexts[:, :20])
