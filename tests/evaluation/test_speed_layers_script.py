"""`evaluation/speed_layers.py` compares what computes the same, against floors that the study derived by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from evaluation import speed_contenders, speed_limits
from evaluation.speed_limits import Shape
from tsfm.evaluation.results import read_csv

Load = Callable[[str], ModuleType]
CPU = torch.device("cpu")
SMALL = Shape(60, 32, 24, 5, 2)


@pytest.mark.parametrize(
    ("sizes", "forward", "both"),
    [((2048, 384, 192), 4, 13), ((32768, 384, 768), 165, 552), ((65536, 1024, 2048), 2187, 6466)],
)
def test_floors_are_those_of_the_study(sizes, forward, both):
    peak, shape = speed_limits.PEAKS["H200"], Shape(*sizes)
    assert speed_limits.layer_floor(shape, 2, "forward", peak) == pytest.approx(forward, abs=0.6)
    assert speed_limits.layer_floor(shape, 2, "forward+backward", peak) == pytest.approx(both, rel=0.03)


@pytest.mark.parametrize("routing", speed_contenders.ROUTINGS)
def test_a_token_goes_to_different_experts_under_every_routing(routing):
    recorded = torch.tensor([[0, 5], [9, 4], [3, 8]])
    index = speed_contenders.choices(SMALL, routing, torch.Generator().manual_seed(0), recorded)
    assert index.shape == (60, 2)
    assert index.min() >= 0 and index.max() < SMALL.experts
    assert (index[:, 0] != index[:, 1]).all()


def test_every_way_to_compute_a_layer_gives_the_same(script: Load) -> None:
    layer = speed_contenders.draw_layer(SMALL, "zipf", CPU, torch.float32)
    ways = speed_contenders.contenders(layer, compiled=False)
    assert {"ours", "loop", "padded bmm"} <= set(ways)
    assert all(script("speed_layers").error_of(compute, layer) < 1e-6 for compute in ways.values())


def test_a_wrong_way_is_told_and_not_timed(script: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    right = speed_contenders.loop
    monkeypatch.setattr(speed_contenders, "loop", lambda *layer: 1.1 * right(*layer))
    rows = script("speed_layers").measure(SMALL, torch.float32, "uniform", "forward", CPU, budget=0.01)
    told = {row["way"]: row for row in rows}
    assert "wrong by 1" in told["loop"]["error"] and told["loop"]["us"] == ""
    assert told["ours"]["us"] > 0 and told["ours"]["error"] == ""


def test_recorded_routes_are_what_the_embedded_model_chose(script: Load) -> None:
    index = script("speed_layers").recorded_choices()
    assert index.shape[1] == 2 and index.max() == 15
    load = index.flatten().bincount(minlength=16)
    assert load.max() > 1.3 * load.float().mean()


@pytest.mark.parametrize("mode", ["forward", "saving", "forward+backward"])
def test_rows_are_written_and_drawn(script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    module, out = script("speed_layers"), tmp_path / "layers.csv"
    monkeypatch.setattr(module, "CPU_SHAPES", [SMALL])
    options = ["--tokens", "60", "--dtype", "fp32", "--modes", mode, "--seconds", "0.01", "--force", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["speed_layers.py", *options, "--out", str(out)])
    if mode != "forward":
        monkeypatch.setattr(module, "CPU_SHAPES", [Shape(2048, 8, 192, 4, 2)])
        monkeypatch.setattr("sys.argv", ["speed_layers.py", *options[2:], "--out", str(out)])
        monkeypatch.setattr(module, "ROUTINGS", ("uniform",))
        monkeypatch.setattr(module, "EMBEDDED", SMALL)
    assert module.main() == 0
    rows = read_csv(out)
    assert {"ours", "loop", "dense"} <= {row["way"] for row in rows}
    assert all(row["error"] == "" and float(row["us"]) > 0 for row in rows)
    assert out.with_suffix(".png").is_file() == (mode == "forward")


def test_the_same_command_again_measures_only_what_is_left(
    script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = script("speed_layers"), tmp_path / "layers.csv"
    options = ["--tokens", "60", "--modes", "forward", "--seconds", "0.01", "--force", "--device", "cpu"]
    monkeypatch.setattr(module, "CPU_SHAPES", [SMALL])

    def run(*more: str) -> list[dict[str, str]]:
        monkeypatch.setattr("sys.argv", ["speed_layers.py", *options, *more, "--out", str(out)])
        capsys.readouterr()
        assert module.main() == 0
        return read_csv(out)

    first = run("--dtype", "fp32")
    assert "ours/dense" in capsys.readouterr().out
    both = run()
    assert both[: len(first)] == first and {row["dtype"] for row in both} == {"fp32", "bf16"}
    assert run() == both
    again = run("--again")
    assert len(again) == len(both) and again != both
    monkeypatch.setattr(module, "code_of", lambda *patterns: "other")
    other = run()
    assert len(other) == len(both) and {row["code"] for row in other} == {"other"}
