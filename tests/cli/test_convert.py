"""`tsfm convert`: published pickles become folders that load; nothing in them is ever run."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tsfm
from tsfm.cli.app import run

FIXTURES = Path(__file__).parent.parent / "fixtures" / "visionts"
VITIME = Path(__file__).parent.parent / "fixtures" / "vitime"
HEADS = ["--heads", "4", "--decoder-heads", "3"]
WAVE = np.sin(np.arange(200) / 24 * 2 * np.pi)


@pytest.fixture
def tensors():
    return load_file(FIXTURES / "model.safetensors")


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that must fail says."""
    with pytest.raises(SystemExit) as stopped:
        run(["convert", *map(str, arguments)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def convert(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["convert", *map(str, arguments)])
    assert not stopped.value.code


def test_a_converted_file_forecasts_as_the_published_folder(tensors, tmp_path, capsys):
    torch.save({"model": tensors}, tmp_path / "mae_visualize_vit_small.pth")
    convert(tmp_path / "mae_visualize_vit_small.pth", tmp_path / "out", *HEADS)
    assert "CC-BY-NC-4.0" in capsys.readouterr().out
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((FIXTURES / name).read_bytes())
    converted, published = (
        tsfm.load(folder, device="cpu", precision="fp32") for folder in (tmp_path / "out", tmp_path)
    )
    np.testing.assert_array_equal(converted.predict_arrays([WAVE], 30)[0], published.predict_arrays([WAVE], 30)[0])
    assert converted.card["licence"] == "CC-BY-NC-4.0"
    assert any("CC-BY-NC-4.0" in note for note in converted.forecast(WAVE, 3).provenance.notes)


def test_heads_of_quantiles_make_it_vision_ts_plus(tmp_path):
    torch.save(load_file(FIXTURES / "pp_model.safetensors"), tmp_path / "plus.ckpt")
    convert(tmp_path / "plus.ckpt", tmp_path / "out", *HEADS)
    assert tsfm.load(tmp_path / "out").model.config.drawing == "visionts++"


def test_the_arguments_in_a_checkpoint_of_vitime_become_its_config(tmp_path, capsys):
    weights, args = load_file(VITIME / "model.safetensors"), json.loads((VITIME / "config.json").read_text())
    content = {"args": argparse.Namespace(**args), "model": weights}
    torch.save(content, tmp_path / "vitime.pth")
    convert(tmp_path / "vitime.pth", tmp_path / "out")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((VITIME / name).read_bytes())
    converted, published = (
        tsfm.load(folder, device="cpu", precision="fp32") for folder in (tmp_path / "out", tmp_path)
    )
    np.testing.assert_array_equal(converted.predict_arrays([WAVE], 30)[0], published.predict_arrays([WAVE], 30)[0])
    del content["args"].maxScal
    torch.save(content, tmp_path / "vitime.pth")
    assert "has no maxScal" in failure(capsys, tmp_path / "vitime.pth", tmp_path / "again")


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_what_a_pickle_would_run_is_refused_and_not_run(tensors, tmp_path, capsys):
    torch.save({"model": tensors, "more": Evil(tmp_path / "made")}, tmp_path / "evil.pth")
    told = failure(capsys, tmp_path / "evil.pth", tmp_path / "out")
    assert "mkdir, and holds more than tensors; tsfm runs nothing that a file asks for" in told
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_autoencoder_are_refused_in_words(tensors, tmp_path, capsys):
    def told(content):
        torch.save(content, tmp_path / "file.pth")
        return failure(capsys, tmp_path / "file.pth", tmp_path / "out", *HEADS)

    encoder = {name: tensor for name, tensor in tensors.items() if not name.startswith(("decoder", "mask_token"))}
    assert "has no decoder, so it cannot draw" in told({"model": encoder})
    assert "it is no masked autoencoder of images" in told({"weight": torch.ones(2)})
    assert "holds no tensors by name" in told({"epoch": 3})
    assert "holds a list, not tensors by name" in told([torch.ones(2)])
    del tensors["decoder_pred.bias"]
    assert "no whole masked autoencoder of images" in told(tensors)
    torch.save(load_file(FIXTURES / "model.safetensors"), tmp_path / "file.pth")
    assert "say how many heads it has with --heads" in failure(capsys, tmp_path / "file.pth", tmp_path / "out")
    (tmp_path / "file.pth").write_bytes(b"no such thing")
    assert "is not what torch.save writes" in failure(capsys, tmp_path / "file.pth", tmp_path / "out")
    assert "is no file" in failure(capsys, tmp_path / "none.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_files_and_impossible_heads_are_refused_in_words(tensors, tmp_path, capsys):
    def told(*options):
        return failure(capsys, tmp_path / "file.pth", tmp_path / "out", *options)

    torch.save(tensors, tmp_path / "file.pth")
    assert "--heads 7 does not divide a width of" in told("--heads", "7")
    assert "--decoder-heads 7 does not divide" in told("--heads", "4", "--decoder-heads", "7")
    assert "than or equal to 0" in told("--heads", "-4")
    torch.save({**tensors, "norm.weight": tensors["norm.weight"] * np.nan}, tmp_path / "file.pth")
    assert "holds values that are not finite in vision_model.norm.weight" in told(*HEADS)
    torch.save({**tensors, "norm.weight": tensors["norm.weight"].to_sparse()}, tmp_path / "file.pth")
    assert "no whole masked autoencoder of images" in told(*HEADS)
    (tmp_path / "file.pth").write_text("hello")
    assert "is not what torch.save writes" in told(*HEADS)
    assert not (tmp_path / "out").exists()
