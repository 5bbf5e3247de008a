"""xLSTMTime says what the published code says, with sLSTM blocks alone and with an mLSTM among them."""

import pytest
import torch
from parity import Stored, close

from tsfm.errors import DataError
from tsfm.models.dlinear import split_trend
from tsfm.models.xlstm_time import PRESETS, XLSTMTime, XLSTMTimeConfig, read_tensors

STORED = Stored("xlstm_time")


@pytest.fixture(params=["time_default", "time_mixed"])
def variant(request):
    return request.param


@pytest.fixture
def model(variant):
    told = STORED.config[variant]
    # In the authors' block map 1 is an sLSTM.
    mlstm_at = tuple(at for at, kind in enumerate(told["block_map"]) if kind == 0)
    config = XLSTMTimeConfig(
        told["context_points"], told["target_points"], told["enc_in"], told["n2"], told["num_blocks"], mlstm_at=mlstm_at
    )
    model = XLSTMTime(config)
    model.load_state_dict(read_tensors(STORED.weights(f"{variant}.")))
    return model.eval()


@pytest.fixture
def arrays(variant):
    return STORED.arrays(f"{variant}_")


@torch.no_grad()
def test_every_stage_gives_the_published_values(model, arrays):
    mean, deviation = model.level(arrays["x"])
    close((arrays["x"] - mean) / deviation, arrays["u"])
    close(split_trend(arrays["u"].mT, 25)[0].mT, arrays["trend"])
    close(model.standardised(arrays["u"]), arrays["y_norm"])
    close(model(arrays["x"]), arrays["y"])


def test_its_loss_is_the_mean_absolute_error(model, arrays):
    target = torch.full_like(arrays["y"], 0.5)
    close(model.objective(arrays["x"], target), (arrays["y"] - 0.5).abs().mean())


@torch.no_grad()
def test_a_variate_is_mended_in_sight_of_those_before_it_alone(model, arrays):
    other = arrays["x"].clone()
    other[..., 2] = other[..., 2].flip(1).square()
    moved = (model(other) - arrays["y"]).abs().amax((0, 1)) > 1e-4 * arrays["y"].abs().max()
    assert moved.tolist() == [False, False, True, True, True]


def test_sizes_that_do_not_fit_are_refused_by_name():
    with pytest.raises(DataError, match="heads=3 must divide width=256"):
        XLSTMTimeConfig(heads=3)
    with pytest.raises(DataError, match="mlstm_at names block 3; there are 3, counted from 0"):
        XLSTMTimeConfig(mlstm_at=(0, 3))


def test_every_weight_learns_from_the_first_step_on():
    torch.manual_seed(0)
    model = XLSTMTime(PRESETS["tiny"])
    generator = torch.Generator().manual_seed(0)
    values, target = (torch.randn(2, steps, 7, generator=generator) for steps in (512, 96))
    model.objective(values, target).backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
