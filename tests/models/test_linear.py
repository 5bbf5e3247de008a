"""DLinear and CycleNet say what the published code says."""

import pytest
import torch
from parity import Stored, close

from tsfm.errors import DataError
from tsfm.models.cyclenet import CycleNet, CycleNetConfig
from tsfm.models.dlinear import DLinear, DLinearConfig, split_trend


def dlinear(name):
    stored = Stored("dlinear")
    given = stored.config[name]
    sizes = {"context": given["seq_len"], "horizon": given["pred_len"], "variates": given["enc_in"]}
    kind = {"moving_average": given["moving_avg"], "individual": given["individual"]}
    model = DLinear(DLinearConfig(**sizes, **kind))
    model.load_state_dict(stored.weights(f"{name}."))
    return model, stored.arrays(f"{name}_")


def cyclenet(name):
    stored = Stored("cyclenet")
    given = stored.config[name]
    sizes = {"context": given["seq_len"], "horizon": given["pred_len"], "variates": given["enc_in"]}
    kind = {"cycle": given["cycle"], "backbone": given["model_type"], "width": given["d_model"]}
    model = CycleNet(CycleNetConfig(**sizes, **kind, normalise=given["use_revin"]))
    model.load_state_dict(stored.weights(f"{name}."))
    return model, stored.arrays(f"{name}_")


@pytest.mark.parametrize("name", ["a", "b"])
def test_dlinear_forecasts_as_published(name):
    model, arrays = dlinear(name)
    close(model(arrays["x"]), arrays["y"])


@pytest.mark.parametrize("name", ["linear", "mlp", "mlp_norevin"])
def test_cyclenet_forecasts_as_published(name):
    model, arrays = cyclenet(name)
    close(model.cycleQueue(arrays["cycle_index"], model.config.context), arrays["cycle_in"])
    close(model(arrays["x"], arrays["cycle_index"]), arrays["y"])


def test_dlinear_begins_as_the_mean_of_its_context():
    model = DLinear(DLinearConfig(context=12, horizon=3, variates=2))
    assert all((weight == 1 / 12).all() for name, weight in model.state_dict().items() if name.endswith("weight"))


def test_trend_and_remainder_add_up_and_a_constant_is_all_trend():
    x = torch.arange(40.0).reshape(2, 20) ** 2
    for window in (1, 4, 25):
        trend, remainder = split_trend(x, window)
        torch.testing.assert_close(trend + remainder, x)
    torch.testing.assert_close(split_trend(torch.full((1, 9), 3.0), 4)[1], torch.zeros(1, 9))


def test_cyclenet_is_the_same_a_whole_cycle_later_and_another_between():
    model = CycleNet(CycleNetConfig(context=10, horizon=5, variates=2, cycle=4))
    torch.nn.init.normal_(model.cycleQueue.data, generator=torch.Generator().manual_seed(0))
    values = torch.randn(3, 10, 2, generator=torch.Generator().manual_seed(1))
    now = model(values, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(model(values, torch.tensor([4, 9, 2])), now)
    assert not torch.allclose(model(values, torch.tensor([1, 2, 3])), now)


def test_normalised_cyclenet_follows_scale_and_shift():
    model = CycleNet(CycleNetConfig(context=24, horizon=5, variates=2, cycle=4))
    values = torch.randn(3, 24, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(7 * values + 3), 7 * model(values) + 3, rtol=1e-4, atol=1e-4)


def test_an_unknown_backbone_is_named_with_those_that_exist():
    with pytest.raises(DataError, match=r"'cubic' is not known; give one of linear, mlp"):
        CycleNetConfig(backbone="cubic")
