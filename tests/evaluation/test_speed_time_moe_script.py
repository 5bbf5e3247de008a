"""The measuring of Time-MoE: whole rows, evenly loaded experts, and seconds that are those of one thread."""

import importlib
import sys

import pytest
import torch

from tsfm.evaluation.results import read_csv


@pytest.fixture(scope="module")
def script(request):
    folder = str(request.config.rootpath / "evaluation")
    sys.path.insert(0, folder)
    yield importlib.import_module("speed_time_moe")
    sys.path.remove(folder)


def test_whitened_routers_use_every_expert(script):
    model = script.made_model("tiny")
    with torch.no_grad():
        routings = model(script.walks(4, 256, seed=5))[1]
    for routing in routings:
        assert torch.bincount(routing.expert.flatten(), minlength=model.config.experts).min() > 0
    assert script.busiest(model) < model.config.experts / 2


def test_a_case_becomes_a_row_with_its_origin(script, tmp_path, monkeypatch):
    out = ["--out", str(tmp_path / "rows.csv")]
    monkeypatch.setattr(
        sys, "argv", ["speed_time_moe.py", "--preset", "tiny", "--case", "b1", "--precision", "fp32", *out]
    )
    script.main()
    (row,) = read_csv(tmp_path / "rows.csv")
    assert float(row["cpu_seconds"]) > 0
    scaled = float(row["official_cpu_seconds"]) * float(row["matmul_gflops"]) / script.OFFICIAL_RATE
    assert scaled == pytest.approx(script.CASES["b1"].official_seconds, rel=0.01)
    assert row["commit"] and row["hardware"]


def test_a_training_step_moves_the_weights(script):
    model = script.made_model("tiny")
    before = model.lm_heads[0].out_layer.weight.detach().clone()
    step = script.training_step_of(model, script.Case(2, 64, 0, 1, 0, 0, 0))
    assert torch.isfinite(step())
    assert not torch.equal(model.lm_heads[0].out_layer.weight, before)
