"""Stored weights come back: exactly in float32, within half a step in int8, and unchanged by a second round."""

import pytest
import torch

from tsfm.packing import FORMATS, pack, unpack

STATE = {
    "embed.weight": torch.randn(8, 4, generator=torch.Generator().manual_seed(0)),
    "blocks.0.up": torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1)),
    "blocks.0.router.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(2)),
    "blocks.0.norm.weight": torch.rand(4, generator=torch.Generator().manual_seed(3)),
}


@pytest.mark.parametrize("stored", FORMATS)
def test_storing_twice_changes_nothing_more(stored):
    once = unpack(pack(STATE, stored))
    twice = unpack(pack(once, stored))
    assert once.keys() == STATE.keys()
    assert all(torch.equal(once[key], twice[key]) for key in once)


def test_float32_is_exact_and_routers_and_norms_always_are():
    assert all(torch.equal(value, unpack(pack(STATE, "float32"))[key]) for key, value in STATE.items())
    for key in ("blocks.0.router.weight", "blocks.0.norm.weight"):
        assert torch.equal(unpack(pack(STATE, "int8"))[key], STATE[key])


def test_int8_is_within_half_a_step_of_each_row():
    error = (unpack(pack(STATE, "int8"))["blocks.0.up"] - STATE["blocks.0.up"]).abs()
    step = STATE["blocks.0.up"].abs().amax(-1, keepdim=True) / 127
    assert (error <= 0.501 * step).all()


def test_a_row_of_zeros_stays_zero():
    assert unpack(pack({"blocks.0.w": torch.zeros(2, 4)}, "int8"))["blocks.0.w"].abs().max() == 0
