"""Folders as the authors of published models lay them out: load, forecast, save, and what is said of their licence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tsfm
from tsfm import DataError, MissingDependency, UnknownName, official
from tsfm.models.time_moe import PRESETS, TimeMoE
from tsfm.models.time_moe_files import read_config
from tsfm.nn.adapters import AdapterConfig

FIXTURES = Path(__file__).parent / "fixtures"
WALK = np.random.default_rng(0).normal(size=120).cumsum()


@pytest.fixture
def folder(tmp_path):
    """A small random model in the published layout, alone in its folder."""
    made = tmp_path / "published"
    made.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(FIXTURES / "time_moe" / name, made / name)
    return made


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_published_folder_forecasts_as_the_published_code_does(folder):
    with np.load(FIXTURES / "time_moe" / "io.npz") as arrays:
        raw, wanted = arrays["raw"].astype(np.float64), arrays["gen.h96.forecast"]
    found = tsfm.load(folder, device="cpu", precision="fp32").predict_arrays(list(raw), 96, 0.5, clip=None)
    np.testing.assert_allclose(np.stack(found)[..., 0], wanted, rtol=1e-5, atol=1e-4)


def test_one_call_takes_a_published_folder(folder):
    made = tsfm.forecast(list(WALK), 8, model=folder)
    assert (made.quantile(0.1) < made.quantile(0.9)).all()


def test_weights_in_bfloat16_load_and_keep_their_type(folder, tmp_path):
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    loaded = tsfm.load(folder, device="cpu", precision="fp32")
    assert loaded.card["weights"]["dtype"] == "bfloat16"
    assert all(weight.dtype == torch.float32 for weight in loaded.model.parameters())
    again = tsfm.load(loaded.save(tmp_path / "ours"), device="cpu", precision="fp32")
    np.testing.assert_array_equal(again.predict_arrays([WALK], 9)[0], loaded.predict_arrays([WALK], 9)[0])


def test_what_was_saved_as_ours_goes_back_to_the_published_layout_bit_for_bit(folder, tmp_path):
    ours = tsfm.load(tsfm.load(folder).save(tmp_path / "ours"))
    back = official.write_official(ours.model, tmp_path / "back")
    wanted, found = (load_file(one / "model.safetensors") for one in (folder, back))
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    config, written = (json.loads((one / "config.json").read_text()) for one in (folder, back))
    assert written == {key: config[key] for key in written}
    np.testing.assert_array_equal(
        tsfm.load(back).predict_arrays([WALK], 9)[0], tsfm.load(folder).predict_arrays([WALK], 9)[0]
    )


def test_the_licence_is_told_when_weights_are_first_loaded_and_stays_in_the_account(folder, capsys, monkeypatch):
    monkeypatch.setattr(official, "_told", set())
    made = tsfm.load(folder, device="cpu", precision="fp32").forecast(list(WALK), 4)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Maple728/TimeMoE-50M" in told and "Apache-2.0" in told
    assert any("Apache-2.0" in note for note in made.provenance.notes)
    official.read_official(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "head, stated",
    [
        ("license: cc-by-nc-4.0\nlanguage: en", "cc-by-nc-4.0"),
        ("license: other\nlicense_name: 'special'", "special"),
        ("language: en", None),
    ],
)
def test_the_licence_is_the_one_that_the_hub_card_beside_the_weights_states(folder, head, stated):
    (folder / "README.md").write_text(f"---\n{head}\n---\n# Model\n")
    assert official.stated_licence(folder) == stated
    card = official.read_official(folder, official.find_official("moirai-moe-small"))[1]
    told = f"licence {stated}, as its hub card states it" if stated else "licence see its hub card"
    assert told in card["official"]["notice"]
    assert card["licence"] == stated or stated is None
    (folder / "README.md").write_text("# A table\n\n|---|\nlicense: mit\n|---|\n")
    assert official.stated_licence(folder) is None


def in_the_cache(folder, root, hub):
    """Put a folder where the hub's client keeps what it has downloaded."""
    place = root / f"models--{hub.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0")
    return Path(shutil.copytree(folder, place / "snapshots" / "0"))


def test_an_earlier_download_is_taken_by_its_name_in_any_case(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(pytest.importorskip("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    place = in_the_cache(folder, tmp_path, "Maple728/TimeMoE-50M")
    assert tsfm.load("maple728/timemoe-50m", offline=True).name == "time-moe-50m"
    (place / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no model.safetensors, as when a download breaks off; .*copy config.json"):
        tsfm.load("Time-MoE-50M", offline=True)


@pytest.mark.parametrize("name", ["time-moe-50m", "Maple728/TimeMoE-200M"])
def test_a_published_name_offline_says_which_files_to_copy(name, monkeypatch, tmp_path):
    monkeypatch.setattr(pytest.importorskip("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"offline=True .*forbids .*copy config.json and model.safetensors .*Maple728"):
        tsfm.load(name, offline=True)
    monkeypatch.setenv("TSFM_OFFLINE", "1")
    with pytest.raises(DataError, match="TSFM_OFFLINE forbids downloads"):
        tsfm.load(name)


def test_without_the_hub_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tsfm-forecast\[hub\]', or copy config.json"):
        tsfm.load("time-moe-50m")


def test_published_models_are_listed_as_on_demand():
    listed = {one.name: one for one in tsfm.list_models() if one.kind == "on demand"}
    assert listed["time-moe-50m"].parameters == sum(
        weight.numel() for weight in official.holding_nothing("time-moe", PRESETS["50m"]).parameters()
    )
    assert listed["time-moe-200m"].licence == "Apache-2.0"
    with pytest.raises(UnknownName, match="time-moe-50m"):
        tsfm.load("prophet")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hidden_act": "gelu"}, "config.json has hidden_act = 'gelu'; tsfm reads what was published, 'silu'"),
        ({"num_hidden_layers": 5}, r"does not fit its config\.json"),
        ({"hidden_size": "wide"}, r"config\.json holds what no published one does .*'wide'"),
        ({"num_attention_heads": 0}, r"config\.json holds what no published one does"),
        ({"model_type": "llama"}, "has no architecture, format, config, weights"),
    ],
)
def test_a_folder_that_asks_for_another_model_is_refused_in_words(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(DataError, match=message):
        tsfm.load(folder)


def test_what_a_published_config_may_leave_open_means_what_it_does_there(folder):
    rewrite(folder, num_key_value_heads=None, num_hidden_layers=3.0, rope_theta="10000")
    model, _ = official.read_official(folder)
    assert (model.config.kv_heads, model.config.depth, model.config.rotary_base) == (4, 3, 10000.0)
    config = json.loads((folder / "config.json").read_text())
    assert read_config({**config, "horizon_lengths": 8}).horizons == (8,)


def test_a_folder_without_all_its_files_or_tensors_is_refused_in_words(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.ffn_layer.experts.3.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"layers.1.ffn_layer.experts has an expert without all of gate_proj"):
        tsfm.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no model.safetensors; tsfm reads safetensors only"):
        tsfm.load(folder)


def test_a_model_without_a_published_layout_cannot_be_written_in_one(tmp_path):
    with pytest.raises(DataError, match="'naive' has no published layout; there are time-moe"):
        official.write_official(tsfm.load("naive").model, tmp_path / "out")


def test_a_published_folder_of_vitime_is_known_by_its_arguments_and_goes_back_as_it_was(tmp_path):
    folder = FIXTURES / "vitime"
    ours = tsfm.load(folder, device="cpu", precision="fp32")
    assert official.architecture_of(folder) == "vitime"
    wanted = ours.predict_arrays([WALK], 9)[0]
    assert np.isfinite(wanted).all()
    back = official.write_official(ours.model, tmp_path / "back")
    before, after = (load_file(one / "model.safetensors") for one in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(tsfm.load(back, device="cpu", precision="fp32").predict_arrays([WALK], 9)[0], wanted)


def test_what_was_learned_on_a_published_model_loads_without_it(folder, tmp_path):
    base = tsfm.load(folder, device="cpu", precision="fp32")
    config = AdapterConfig("weights", ("model.norm.weight",))
    adapted = base.with_adapter(config, {"model.norm.weight.value": base.model.model.norm.weight.detach() * 1.5})
    adapted.save(tmp_path / "mine")
    wanted = adapted.predict_arrays([WALK], 9)[0]
    shutil.rmtree(folder)
    loaded = tsfm.load(tmp_path / "mine", device="cpu", precision="fp32")
    np.testing.assert_array_equal(loaded.predict_arrays([WALK], 9)[0], wanted)
    assert not np.array_equal(base.predict_arrays([WALK], 9)[0], wanted)


def test_weights_are_held_and_not_drawn_first(folder):
    before = torch.random.get_rng_state()
    model, _ = official.read_official(folder)
    assert isinstance(model, TimeMoE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_filled_gaps_and_the_steps_that_a_horizon_takes_from_the_context_are_told(folder):
    loaded, series = tsfm.load(folder, device="cpu", precision="fp32"), np.random.default_rng(1).normal(size=4200)
    told = loaded.forecast(list(series), 96, quantile_levels=0.5).provenance
    assert told.context == 4000
    assert "history cut to its last 4000 steps" in told.transforms
    assert not any("straight lines" in transform for transform in told.transforms)
    series[-10] = np.nan
    told = loaded.forecast(list(series[-50:]), 4, quantile_levels=0.5).provenance
    assert "missing steps inside filled by straight lines" in told.transforms
