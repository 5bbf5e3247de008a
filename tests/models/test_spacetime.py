"""SpaceTime says what the published code says, and its recurrences say what powers of the companion matrix say."""

import pytest
import torch
from parity import Stored, close
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.models.spacetime import PRESETS, SpaceTime, SpaceTimeConfig, read_tensors
from tsfm.models.spacetime_layers import Residual
from tsfm.nn.companion import Recurrence, closed_loop_rows, convolve

STORED = Stored("spacetime")
SIZES = {"variates": 1, "kernels": 4, "heads": 4, "state": 8, "depth": 2, "longest_average": 12}
CONFIGS = {
    "companion": SpaceTimeConfig(context=48, horizon=24, **SIZES),
    "shift": SpaceTimeConfig(context=40, horizon=17, matrix="shift", embedding="linear", level="standardize", **SIZES),
}
K, S, L = 3, 5, 17


@pytest.fixture(params=CONFIGS)
def variant(request):
    return request.param


@pytest.fixture
def model(variant):
    model = SpaceTime(CONFIGS[variant])
    model.load_state_dict(read_tensors(STORED.weights(f"{variant}.")))
    return model.eval()


@pytest.fixture
def arrays(variant):
    return STORED.arrays(f"{variant}_")


@torch.no_grad()
def test_every_layer_gives_the_published_values(model, arrays):
    series, _ = model._levelled(arrays["x"])
    close(series[..., None], arrays["u"])
    embedded = model.embedding(series)
    first, second = model.encoder.blocks
    close(first.pre(embedded).mT, arrays["pre"])
    close(first(embedded).mT, arrays["block0"])
    close(second(arrays["block0"].mT).mT, arrays["block1"])
    views = model.decoder.views(arrays["block1"].mT, model.config.horizon)
    close(model.output(views.ahead).mT, arrays["y_closed_norm"])
    close(model.output(views.next_output).mT, arrays["y_open_norm"])
    close(views.next_input.mT, arrays["z_pred"])


@torch.no_grad()
def test_the_forecast_is_the_published_one_at_the_horizon_and_at_three_times_it(model, arrays):
    close(model(arrays["x"]), arrays["y"])
    close(model(arrays["x"], horizon=3 * model.config.horizon), arrays["y_3h"])


def test_the_loss_adds_the_errors_of_the_forecast_and_of_both_outlooks(model, arrays):
    steps = model.config.context
    whole = torch.cat(
        [arrays["x"], torch.randn(3, model.config.horizon, 1, generator=torch.Generator().manual_seed(0))], 1
    )
    scale, place = torch.ones(3, 1, 1), arrays["x"].mean(1, keepdim=True)
    if model.config.level == "standardize":
        scale = arrays["x"].std(1, keepdim=True)
    pairs = [
        (arrays["y"], whole[:, steps:]),
        ((arrays["y_open_norm"] * scale + place)[:, 7:], whole[:, 8 : steps + 1]),
        (arrays["z_pred"][:, 7:-1], arrays["block1"][:, 8:]),
    ]
    wanted = sum((found - true).square().mean().sqrt() for found, true in pairs)
    close(model.objective(whole[:, :steps], whole[:, steps:]), wanted)


def test_variates_are_forecast_each_by_itself(model, arrays):
    both = torch.cat([arrays["x"], arrays["x"].flip(0)], dim=-1)
    close(model(both).detach(), torch.cat([arrays["y"], arrays["y"].flip(0)], dim=-1))


def test_of_a_constant_only_the_difference_of_order_zero_leaves_anything_but_its_start():
    torch.manual_seed(0)
    settled = Residual(PRESETS["tiny"])(torch.ones(1, 1, 20))[0, :, 12:]
    order_zero = torch.arange(16) % 8 == 0
    close(settled, order_zero[:, None].float().expand(16, 8))


def test_settings_that_do_not_exist_are_refused_by_name():
    with pytest.raises(DataError, match="matrix='diagonal' is not known; give one of companion, shift"):
        SpaceTimeConfig(matrix="diagonal")
    with pytest.raises(DataError, match=r"filters=5 must .* divide kernels \* heads = 128"):
        SpaceTimeConfig(filters=5)


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(K, S, dtype=torch.float64, generator=generator) for _ in range(4))
    return [F.normalize(one, p=1, dim=-1).requires_grad_() for one in drawn]


def companion(a):
    """The matrix itself, (K, S, S)."""
    shift = torch.diag(torch.ones(S - 1, dtype=a.dtype), -1)
    return shift + a[..., None] * torch.eye(S, dtype=a.dtype)[-1]


def powers(matrix, count):
    """(K, count, S, S)."""
    return torch.stack([torch.linalg.matrix_power(matrix, power) for power in range(count)], dim=1)


def assert_same_with_gradients(found, wanted, vectors):
    torch.testing.assert_close(found, wanted)
    asked = {"inputs": vectors, "allow_unused": True, "materialize_grads": True}
    torch.testing.assert_close(
        torch.autograd.grad(found.cos().sum(), **asked, retain_graph=True),
        torch.autograd.grad(wanted.cos().sum(), **asked, retain_graph=True),
    )


def test_a_kernel_is_made_of_powers_of_the_companion_matrix(vectors):
    a, b, c, _ = vectors
    wanted = torch.einsum("ks,klst,kt->kl", c, powers(companion(a), L), b)
    assert_same_with_gradients(Recurrence(a, L).kernel(c, b), wanted, vectors)


@pytest.mark.parametrize("steps", [2, L])
def test_the_last_state_has_gone_through_every_step(vectors, steps):
    a, b, _, _ = vectors
    u = torch.randn(2, K, steps, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.einsum("klst,kt,bkl->bks", powers(companion(a), steps), b, u.flip(-1))
    assert_same_with_gradients(Recurrence(a, L).last_state(u, b), wanted, vectors)


def test_the_closed_loop_feeds_its_own_prediction_back(vectors):
    a, b, c, k = vectors
    loop = companion(a) + b[..., None] * k[:, None]
    wanted = torch.einsum("ks,khst->kht", c, powers(loop, 11))
    assert_same_with_gradients(closed_loop_rows(Recurrence(a, L), b, c, k, 11), wanted, vectors)


@pytest.mark.parametrize("channels", [1, 4])
def test_convolution_by_parts_of_the_batch_is_convolution_with_gradients(monkeypatch, channels):
    monkeypatch.setattr("tsfm.nn.companion.AT_ONCE", 100)  # a part is two series
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(5, channels, 12, dtype=torch.float64, generator=generator, requires_grad=True)
    kernels = torch.randn(2, 4, 12, dtype=torch.float64, generator=generator, requires_grad=True)
    wanted = torch.stack(
        [F.conv1d(F.pad(u.expand(5, 4, 12), (11, 0)), one.flip(-1)[:, None], groups=4) for one in kernels]
    )
    assert_same_with_gradients(convolve(u, kernels), wanted, [u, kernels])
