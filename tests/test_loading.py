"""Names, folders and checkpoint files: what loads, and what the error says where it does not."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from every_forecaster import forecaster_named

import tsfm
from tsfm import DataError, Forecaster, UnknownName
from tsfm.checkpoints import embedded


@pytest.fixture
def folder(tmp_path):
    return forecaster_named("moe-decoder").save(tmp_path / "model")


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_name_gives_the_same_object_again():
    assert tsfm.load("naive") is tsfm.load("naive")
    assert tsfm.load("naive") is not tsfm.load("naive", precision="fp32")


def test_an_unknown_name_lists_the_names_there_are():
    with pytest.raises(UnknownName, match=r"model 'prophet' is not known; there are .*naive, .*or give a folder"):
        tsfm.load("prophet")


def test_an_architecture_without_weights_is_no_model():
    with pytest.raises(UnknownName, match=r"'moe-decoder' is an architecture without weights"):
        tsfm.load("moe-decoder")


@pytest.mark.parametrize("name", [7, None, ["naive"]])
def test_a_model_must_be_a_name_or_a_folder(name):
    with pytest.raises(DataError, match="neither a name nor a folder"):
        tsfm.load(name)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"device='cuda:99' cannot be used here .* give 'auto' or 'cpu'"):
        tsfm.load("naive", device="cuda:99")
    with pytest.raises(DataError, match="device='gpu' cannot be used here"):
        tsfm.load("naive", device="gpu")


def test_a_precision_that_is_not_known_lists_those_that_are():
    with pytest.raises(UnknownName, match=r"precision='int8' is not known; give one of 'auto', 'fp32', 'bf16'"):
        tsfm.load("naive", precision="int8")


def test_a_folder_says_where_its_weights_differ_from_what_was_saved(folder):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    stated = json.loads((folder / "config.json").read_text())["weights"]["sha256"]
    with pytest.raises(DataError, match=rf"has sha256 \w{{64}} but config.json says {stated}"):
        tsfm.load(folder)


def test_a_config_with_a_key_unknown_or_missing_is_an_error_that_names_it(folder):
    config = json.loads((folder / "config.json").read_text())["config"]
    config.pop("width")
    rewrite(folder, config={**config, "rings": 3})
    with pytest.raises(DataError, match="does not know rings and lacks width"):
        tsfm.load(folder)


def test_weights_of_another_size_are_an_error(folder):
    config = json.loads((folder / "config.json").read_text())["config"]
    rewrite(folder, config={**config, "depth": config["depth"] + 1})
    with pytest.raises(DataError, match=r"does not fit its config\.json"):
        tsfm.load(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 99}, "has format 99, this tsfm reads 1"),
        ({"architecture": "oracle"}, "no forecaster named 'oracle'"),
    ],
)
def test_a_checkpoint_this_version_cannot_read_says_so(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(tsfm.TsfmError, match=message):
        tsfm.load(folder)


def test_broken_folders_are_named(tmp_path, folder):
    with pytest.raises(DataError, match=r"has no config.json"):
        tsfm.load(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no model.safetensors; tsfm reads safetensors only"):
        tsfm.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        tsfm.load(folder)


@pytest.mark.parametrize(
    "content, said",
    [
        ("3", "is of no model that tsfm knows: it has no architecture, format, config, weights"),
        ('{"model_type": "llama"}', r"it has no .*; give a folder that .* or one that the authors"),
        ('{"architecture": "naive", "format": 1, "config": 3, "weights": null}', "has no config; save the model again"),
        (
            '{"architecture": "naive", "format": 1, "config": {}, "weights": null, "adapter": {}, "base": 3}',
            "has no base.name, base.sha256; save the model again",
        ),
    ],
)
def test_a_config_that_is_of_no_model_is_refused_with_a_remedy_that_helps(folder, content, said):
    (folder / "config.json").write_text(content)
    with pytest.raises(DataError, match=said):
        tsfm.load(folder)


def test_saving_again_replaces_a_checkpoint_and_loading_sees_the_new_one(tmp_path):
    folder = tsfm.load("naive").save(tmp_path / "model")
    assert type(tsfm.load(folder).model).__name__ == "Naive"
    forecaster_named("moe-decoder").save(folder)
    assert type(tsfm.load(folder).model).__name__ == "MoEDecoder"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_never_overwrites_what_is_no_checkpoint(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="is not a checkpoint folder"):
        tsfm.load("naive").save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("folder", ["file.txt/model", None, 3])
def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("taken")
    with pytest.raises(DataError, match=str(folder)):
        tsfm.load("naive").save(folder)


def test_a_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("tsfm.checkpoints.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        forecaster_named("moe-decoder").save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_bf16_weights_survive_loading_and_saving_to_the_last_bit(tmp_path, folder):
    forecaster = tsfm.load(folder, precision="fp32")
    forecaster.card["weights"]["dtype"] = "bfloat16"
    once = tsfm.load(forecaster.save(tmp_path / "once"), precision="fp32")
    twice = tsfm.load(once.save(tmp_path / "twice"), precision="fp32")
    assert once.weight_hash == twice.weight_hash != ""
    many = [np.arange(50.0) % 7]
    np.testing.assert_array_equal(once.predict_arrays(many, 9)[0], twice.predict_arrays(many, 9)[0])


def test_a_model_that_is_not_registered_cannot_be_saved(tmp_path):
    class Mine:
        levels, max_context = (0.5,), None

    with pytest.raises(UnknownName, match=r"Mine is not registered; decorate it with @tsfm.register"):
        Forecaster(Mine(), "mine").save(tmp_path / "mine")


@pytest.mark.parametrize("name", sorted(embedded()))
def test_an_embedded_model_is_named_so_even_where_its_folder_was_loaded_first(name):
    tsfm.load(embedded()[name])
    assert tsfm.load(name).name == name


def test_every_model_that_is_listed_can_be_loaded():
    listed = tsfm.list_models()
    here = [one for one in listed if one.kind != "on demand"]  # the others need a network
    assert {"naive", "seasonal-naive", "drift", *embedded()} == {one.name for one in here}
    for one in here:
        assert tsfm.load(one.name).name == one.name
        assert one.description
    assert re.search(r"seasonal-naive +baseline", repr(listed))
    assert list(listed.to_frame()["name"]) == [one.name for one in listed]


def test_parameters_are_counted_from_the_header_alone(tmp_path):
    from tsfm.catalogue import parameters

    header = json.dumps({"__metadata__": {"a": "b"}, "w": {"shape": [3, 4]}, "b": {"shape": [5]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert parameters(tmp_path / "model.safetensors") == 17
