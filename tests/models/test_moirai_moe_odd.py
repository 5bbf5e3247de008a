"""Moirai-MoE where something is odd: configs of other models, broken weights, far-off means, paths that run away."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from models.moirai_published import FIXTURE, published_model

from tsfm import Forecaster, TsfmError
from tsfm.errors import DataError
from tsfm.models.moirai_moe import MoiraiMoE
from tsfm.models.moirai_moe_files import read_config

WAVES = 5 * np.sin(np.arange(96) / 4) + np.random.default_rng(0).normal(size=96)  # six whole patches


def changed(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Forecaster:
    """The fixture's model, each weight put through a function of its name and itself."""
    model = MoiraiMoE(published_model().config)
    model.load_state_dict({name: change(name, weight) for name, weight in published_model().state_dict().items()})
    return Forecaster(model.eval(), "changed")


def refuse(config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_config(config)


def test_a_config_that_is_not_this_model_is_refused_in_words():
    config = json.loads((FIXTURE / "config.json").read_text())
    refuse({**config, "distr_output": {}}, r"asks for the output components \[\]")
    refuse({key: value for key, value in config.items() if key != "d_ff"}, "has no 'd_ff'")
    refuse({**config, "scaling": False}, "scaling = False; tsfm reads what was published, True")
    config["distr_output"]["components"][1]["scale"] = 0.01
    refuse(config, "fixes the normal's scale at 0.01; tsfm reads what was published, 0.001")


def test_weights_that_are_no_numbers_are_an_error_and_no_forecast():
    with pytest.raises(TsfmError, match="not finite"):
        changed(lambda name, weight: weight * torch.nan if name.startswith("param_proj") else weight).predict_arrays(
            [WAVES], 40
        )


@pytest.mark.parametrize("offset", [1e4, 1e6, 1e8, 1e10])
def test_a_mean_far_off_takes_no_digits_from_what_moves(offset):
    forecaster = Forecaster(published_model(), "fixture")
    (near,) = forecaster.predict_arrays([WAVES], 40, clip=None)
    (far,) = forecaster.predict_arrays([WAVES + offset], 40, clip=None)
    np.testing.assert_allclose(far - offset, near, atol=1e-4 * WAVES.std())


def test_paths_that_run_away_end_in_finite_numbers():
    wild = changed(lambda name, weight: weight * 10 if name.startswith("param_proj") else weight)
    (found,) = wild.predict_arrays([WAVES], 200, clip=None)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) >= 0).all()
