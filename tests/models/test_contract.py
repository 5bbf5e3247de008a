"""What every registered forecaster keeps, whoever wrote it: a new entry is tested here without a test of its own."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from every_forecaster import forecaster_named, forecaster_names

import tsfm
from tsfm import Forecaster
from tsfm.batch import Batch


@pytest.fixture(params=forecaster_names())
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return forecaster_named(request.param)


@pytest.fixture
def batch(forecaster: Forecaster) -> Batch:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 96, generator=generator).cumsum(1) / 10
    observed = torch.rand(5, 96, generator=generator) < 0.8
    observed[:, -1] = True
    observed[2, :64] = False
    dtype = getattr(forecaster.model, "input_dtype", torch.float32)
    return Batch(torch.where(observed, values, 0.0).to(dtype), observed, torch.tensor([1, 7, 24, 12, 500]))


def test_levels_are_increasing_inside_zero_and_one_and_symmetric(forecaster):
    levels = np.array(forecaster.model.levels)
    assert (np.diff(levels) > 0).all()
    assert levels[0] > 0 and levels[-1] < 1
    np.testing.assert_allclose(levels, 1 - levels[::-1])


@pytest.mark.parametrize("horizon", [1, 33, 200])
def test_predict_gives_finite_ordered_quantiles_of_any_horizon(forecaster, batch, horizon):
    levels = forecaster.model.levels
    found = forecaster.model.predict(batch, horizon, levels)
    assert found.shape == (5, horizon, len(levels))
    assert torch.isfinite(found).all()
    assert (found.diff(dim=-1) >= 0).all()


def test_predict_leaves_its_batch_as_it_was(forecaster, batch):
    before = batch.values.clone(), batch.observed.clone()
    forecaster.model.predict(batch, 8, forecaster.model.levels)
    assert torch.equal(batch.values, before[0])
    assert torch.equal(batch.observed, before[1])


def test_values_that_are_not_observed_are_never_read(forecaster, batch):
    other = Batch(torch.where(batch.observed, batch.values, 1e6), batch.observed, batch.season)
    levels = forecaster.model.levels
    hidden = forecaster.model.predict(other, 8, levels)
    torch.testing.assert_close(hidden, forecaster.model.predict(batch, 8, levels))


def test_a_forecast_again_is_the_same_forecast(forecaster, batch):
    levels = forecaster.model.levels
    assert torch.equal(forecaster.model.predict(batch, 8, levels), forecaster.model.predict(batch, 8, levels))


def test_a_saved_forecaster_loads_with_the_same_forecasts(forecaster, tmp_path):
    many = [np.random.default_rng(seed).normal(size=40 + seed).cumsum() for seed in range(3)]
    forecaster.save(tmp_path / "saved")
    loaded = tsfm.load(tmp_path / "saved", device="cpu", precision="fp32")
    for found, wanted in zip(loaded.predict_arrays(many, 10), forecaster.predict_arrays(many, 10), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_threads_may_share_a_forecaster(forecaster):
    many = [np.random.default_rng(seed).normal(size=60).cumsum() for seed in range(8)]
    wanted = [forecaster.predict_arrays([one], 10)[0] for one in many]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: forecaster.predict_arrays([one], 10)[0], many))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_any_kind_of_model_names_what_it_is(forecaster):
    assert type(forecaster.model).__doc__
    assert forecaster.model.max_context is None or forecaster.model.max_context >= 512


def test_in_bf16_a_series_gets_the_same_forecast_in_any_batch(forecaster):
    if not hasattr(forecaster.model, "set_precision"):
        pytest.skip("computes in one precision only")
    model = copy.deepcopy(forecaster.model)
    model.set_precision(torch.bfloat16)
    coarse = Forecaster(model, "bf16", precision="bfloat16")
    many = [np.random.default_rng(seed).normal(size=150 + 9 * seed).cumsum() for seed in range(6)]
    for found, one in zip(coarse.predict_arrays(many, 10, clip=None), many, strict=True):
        (alone,) = coarse.predict_arrays([one], 10, clip=None)
        point = len(model.levels) == 1
        width = one.std() if point else (alone[:, -1] - alone[:, 0]).mean()
        assert np.abs(found - alone).max() <= 0.01 * width
