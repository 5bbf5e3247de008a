"""S-Mamba says what the authors' code says, reads their checkpoints, and sees variates from both sides."""

import pytest
import torch
from parity import Stored, apart

from tsfm.models.s_mamba import PRESETS, SMamba, SMambaConfig

STORED = Stored("s_mamba")


@pytest.fixture(params=["base", "relu_nonorm"])
def name(request):
    return request.param


@pytest.fixture
def arrays(name):
    return STORED.arrays(f"{name}_")


@pytest.fixture
def model(name):
    config = STORED.config[name]
    made = SMamba(
        SMambaConfig(
            context=config["seq_len"],
            horizon=config["pred_len"],
            variates=config["enc_in"],
            width=config["d_model"],
            inner_width=config["d_ff"],
            depth=config["e_layers"],
            states=config["d_state"],
            activation=config["activation"],
            dropout=config["dropout"],
            normalise=bool(config["use_norm"]),
        )
    )
    made.load_state_dict(STORED.weights(f"{name}."))
    return made.eval()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return SMamba(SMambaConfig(context=24, horizon=6, variates=4, width=8, inner_width=8)).eval()


@torch.no_grad()
def test_it_equals_the_published_model_in_forecasts_and_layers(model, arrays):
    heard = {}
    parts = {"layer0": model.encoder.attn_layers[0], "encoder": model.encoder}
    for name, part in parts.items():
        part.register_forward_hook(lambda module, x, made, name=name: heard.update({name: made}))
    assert apart(model(arrays["x"]), arrays["y"]) < 1e-5
    for name in parts:
        assert apart(heard[name], arrays[name]) < 1e-5, name
    assert apart(model(arrays["x"], marks=arrays["x_mark"]), arrays["y_with_mark"]) < 1e-5


def test_parts_that_the_published_layers_never_call_are_passed_over(model, name):
    stored = STORED.weights(f"{name}.")
    assert any(".man2." in key for key in stored)
    before = set(stored)
    assert model.load_state_dict(stored) == ([], [])
    assert set(stored) == before
    assert not any(".man." in key or ".man2." in key or ".a." in key for key in model.state_dict())


def test_any_other_part_is_not_passed_over(model, name):
    stored = STORED.weights(f"{name}.")
    stored["encoder.attn_layers.0.man3.D"] = torch.ones(1)
    with pytest.raises(RuntimeError, match="man3"):
        model.load_state_dict(stored)


@torch.no_grad()
def test_a_variate_sees_those_before_and_behind_it(small):
    small, x = small.double(), torch.randn(1, 24, 4, dtype=torch.float64)
    for changed in (0, 3):
        other = x.clone()
        other[:, :12, changed] += 1.0
        assert (small(other) - small(x)).abs().amax((0, 1)).min() > 1e-9


@torch.no_grad()
def test_forecasts_follow_the_units_of_every_variate(small):
    x, factor, shift = torch.randn(2, 24, 4), torch.tensor([1.0, 10.0, 100.0, 0.1]), torch.tensor([0.0, 5.0, -9.0, 1.0])
    moved = small(x * factor + shift)
    torch.testing.assert_close((moved - shift) / factor, small(x), rtol=1e-3, atol=1e-3)


def test_the_published_size_reads_one_block_each_way_in_every_layer():
    with torch.device("meta"):
        model = SMamba(PRESETS["ett"])
    assert len(model.encoder.attn_layers) == 2
    assert model.encoder.attn_layers[0].attention_r.x_proj.weight.shape == (16 + 2 * 2, 256)
