"""Adapter folders of every registered model with weights: small, bound to their base, and exact wherever they load."""

import json
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from every_forecaster import forecaster_named, forecaster_names
from torch import nn

import tsfm
from tsfm import DataError, Forecaster
from tsfm.checkpoints import embedded
from tsfm.nn.adapters import AdapterConfig, adapter_state, attach, detach

MODELS = [name for name in forecaster_names() if isinstance(forecaster_named(name).model, nn.Module)]
KINDS = ("lora", "dora", "weights", "bottleneck")
RANDOM = "moe-decoder"


def tuned(base: Forecaster, kind: str = "lora", seed: int = 0) -> Forecaster:
    """A forecaster with an adapter of random content, put where fine-tuning puts it."""
    model = base.model
    wanted = model.PARTS["layers" if kind == "bottleneck" else "norms" if kind == "weights" else "matrices"]
    among = [name for name, _ in (model.named_modules() if kind == "bottleneck" else model.named_parameters())]
    names = tuple(name for name in among if re.search(wanted, name))
    config = AdapterConfig(kind, names, rank=2, width=4)
    attach(model, config)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        key: part + 0.02 * torch.randn(part.shape, generator=generator)
        for key, part in adapter_state(model, config).items()
    }
    detach(model, config)
    return base.with_adapter(config, tensors)


def forecast(forecaster: Forecaster) -> np.ndarray:
    time = np.arange(150.0)
    return np.stack(forecaster.predict_arrays([np.sin(time / 4), time % 12 + 0.1 * np.sqrt(time)], 40, clip=None))


def opened(folder) -> Forecaster:
    return tsfm.load(folder, device="cpu", precision="fp32")


@pytest.fixture
def saved(tmp_path) -> Forecaster:
    """A base in a folder of its own."""
    return opened(forecaster_named(RANDOM).save(tmp_path / "base"))


def size(folder) -> int:
    return (folder / "model.safetensors").stat().st_size


def test_another_process_forecasts_what_the_saver_did_to_the_last_bit(tmp_path):
    for name in MODELS:
        for kind in KINDS:
            made = tuned(forecaster_named(name), kind)
            np.save(tmp_path / f"{name}-{kind}.npy", forecast(made))
            made.save(tmp_path / f"{name}-{kind}")
    code = """
import pathlib, sys
import numpy as np
import tsfm
time = np.arange(150.0)
series = [np.sin(time / 4), time % 12 + 0.1 * np.sqrt(time)]
for wanted in sorted(pathlib.Path(sys.argv[1]).glob("*.npy")):
    loaded = tsfm.load(wanted.with_suffix(""), device="cpu", precision="fp32")
    np.testing.assert_array_equal(np.stack(loaded.predict_arrays(series, 40, clip=None)), np.load(wanted))
    print(wanted.stem)
"""
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == len(MODELS) * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_pickled_forecaster_forecasts_and_unmerges_as_before(name, kind):
    made = tuned(forecaster_named(name), kind)
    back = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(forecast(back), forecast(made))
    np.testing.assert_array_equal(forecast(back.unmerge()), forecast(forecaster_named(name)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_unmerging_gives_the_base_bit_for_bit_also_after_loading(name, kind, tmp_path):
    base = forecaster_named(name)
    before = forecast(base)
    made = tuned(base, kind)
    assert np.abs(forecast(made) - before).max() > 1e-4
    assert made.unmerge() is base
    np.testing.assert_array_equal(forecast(base), before)
    np.testing.assert_array_equal(forecast(opened(made.save(tmp_path / "made")).unmerge()), before)


@pytest.mark.parametrize("kind", ["lora", "dora", "weights"])
@pytest.mark.parametrize("name", MODELS)
def test_a_merged_forecaster_saves_an_ordinary_checkpoint_of_the_same_forecasts(name, kind, tmp_path):
    made = tuned(forecaster_named(name), kind)
    whole = opened(made.merge().save(tmp_path / "whole"))
    assert not {"adapter", "base"} & json.loads((tmp_path / "whole" / "config.json").read_text()).keys()
    assert whole.adapter is None
    np.testing.assert_array_equal(forecast(whole), forecast(made))
    with pytest.raises(DataError, match="has no adapter to take off"):
        whole.unmerge()


def test_bottlenecks_are_not_merged_and_the_message_says_what_to_do_instead(saved):
    made = tuned(tuned(saved, "bottleneck"), "weights")
    with pytest.raises(DataError, match=r"cannot be folded into weights; save\(folder, standalone=True\)"):
        made.merge()


@pytest.mark.parametrize("name", MODELS)
def test_the_file_of_a_low_rank_adapter_is_under_a_tenth_of_the_bases(name, tmp_path):
    base = opened(forecaster_named(name).save(tmp_path / "base"))
    in_float32 = 4 * sum(weight.numel() for weight in base.model.parameters())  # as adapters are; bases may be in int8
    assert size(tuned(base).save(tmp_path / "made")) < 0.1 * in_float32


def test_what_an_adapter_leaves_alone_is_shared_with_the_base_and_with_its_other_adapters(saved):
    base, one, other = (forecaster.model for forecaster in (saved, tuned(saved), tuned(saved, "weights")))
    assert one.norm.weight is base.norm.weight
    assert one.blocks[0].attention.qkv.weight is not base.blocks[0].attention.qkv.weight
    assert other.blocks[0].attention.qkv.weight is base.blocks[0].attention.qkv.weight


def test_an_embedded_base_is_found_by_its_name_and_another_one_by_a_relative_folder(saved, tmp_path):
    def base_of(folder):
        return json.loads((folder / "config.json").read_text())["base"]

    name = next(iter(embedded()))
    assert base_of(tuned(forecaster_named(name)).save(tmp_path / "one")) == {
        "name": name,
        "sha256": forecaster_named(name).weight_hash,
    }
    found = base_of(tuned(saved).save(tmp_path / "deep" / "two"))
    assert found == {"name": "../../base", "sha256": saved.weight_hash}


def test_an_adapter_and_its_base_move_together(saved, tmp_path):
    made = tuned(saved)
    made.save(tmp_path / "made")
    shutil.copytree(tmp_path, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("elsewhere"))
    shutil.rmtree(tmp_path / "base")
    np.testing.assert_array_equal(forecast(opened(tmp_path / "elsewhere" / "made")), forecast(made))


@pytest.mark.parametrize("name", MODELS)
def test_a_standalone_folder_needs_no_other(name, tmp_path):
    base = opened(forecaster_named(name).save(tmp_path / "base"))
    made = tuned(base)
    folder = made.save(tmp_path / "made", standalone=True)
    shutil.rmtree(tmp_path / "base")
    loaded = opened(folder)
    np.testing.assert_array_equal(forecast(loaded), forecast(made))
    again = loaded.save(tmp_path / "again")
    loaded.save(folder)
    for place in (folder, again):
        np.testing.assert_array_equal(forecast(opened(place)), forecast(made))


def test_a_base_that_lies_nowhere_goes_into_the_folder(tmp_path):
    made = tuned(forecaster_named(RANDOM))
    loaded = opened(made.save(tmp_path / "made"))
    assert (tmp_path / "made" / "base" / "model.safetensors").is_file()
    np.testing.assert_array_equal(forecast(loaded), forecast(made))
    assert loaded.weight_hash == made.weight_hash


def test_saving_over_the_folder_of_the_base_keeps_the_base_inside(saved, tmp_path):
    made = tuned(saved)
    loaded = opened(made.save(tmp_path / "base"))
    np.testing.assert_array_equal(forecast(loaded), forecast(made))
    np.testing.assert_array_equal(forecast(loaded.unmerge()), forecast(saved))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_model_can_be_adapted_again(saved, kind, tmp_path):
    first = opened(tuned(saved, kind).save(tmp_path / "first"))
    second = tuned(first, "lora", seed=1)
    loaded = opened(second.save(tmp_path / "second"))
    np.testing.assert_array_equal(forecast(loaded), forecast(second))
    np.testing.assert_array_equal(forecast(loaded.unmerge()), forecast(first))
    np.testing.assert_array_equal(forecast(loaded.unmerge().unmerge()), forecast(saved))
    assert len({one.weight_hash for one in (saved, first, second)}) == 3
    second.save(tmp_path / "alone", standalone=True)
    for name in ("base", "first", "second"):
        shutil.rmtree(tmp_path / name)
    np.testing.assert_array_equal(forecast(opened(tmp_path / "alone")), forecast(second))


def test_two_adapters_that_were_never_saved_are_saved_one_inside_the_other(saved, tmp_path):
    made = tuned(tuned(saved), "dora", seed=1)
    folder = made.save(tmp_path / "made")
    np.testing.assert_array_equal(forecast(opened(folder)), forecast(made))
    assert json.loads((folder / "base" / "config.json").read_text())["base"]["name"] == "../../base"


def test_another_base_is_refused_with_the_places_looked_in_and_the_remedy(saved, tmp_path):
    folder = tuned(saved).save(tmp_path / "made")
    with torch.no_grad():
        saved.model.norm.weight.add_(1.0)
    other = opened(saved.save(tmp_path / "base"))
    message = (
        rf"trained on '../base' with weights of sha256 \w{{64}}, and that is not in {folder}/base \(no model there\), "
        rf"nor in {tmp_path}/base \(its weights have sha256 {other.weight_hash}\); copy the base to {folder}/base, "
        r"or .*standalone=True"
    )
    with pytest.raises(DataError, match=message):
        opened(folder)


def test_a_damaged_adapter_is_refused_in_words(saved, tmp_path):
    folder = tuned(saved).save(tmp_path / "made")
    card = json.loads((folder / "config.json").read_text())

    def rewrite(**changes: object) -> None:
        (folder / "config.json").write_text(json.dumps({**card, **changes}))

    rewrite(adapter={**card["adapter"], "wings": 2})
    with pytest.raises(DataError, match="an adapter with wings, unknown here; upgrade tsfm"):
        opened(folder)
    rewrite(adapter={**card["adapter"], "rank": 3})
    with pytest.raises(DataError, match=r"does not fit its config\.json: .* has .* of shape"):
        opened(folder)
    rewrite(base={"name": "../base"})
    with pytest.raises(DataError, match=r"has no base\.sha256; save the model again"):
        opened(folder)
    rewrite(weights={"dtype": "float32", "sha256": "0" * 64})
    with pytest.raises(DataError, match=r"is missing or not what config\.json says; copy the folder again"):
        opened(folder)


def test_in_bfloat16_an_adapter_is_folded_before_it_is_rounded(saved, tmp_path):
    made = tuned(saved)
    exact, folder = forecast(made), made.save(tmp_path / "made")
    rounded = tsfm.load(folder, device="cpu", precision="bf16")
    assert rounded.precision == rounded.unmerge().precision == "bfloat16"
    difference = np.abs(forecast(rounded) - exact).mean()
    assert 0 < difference < 0.01 * (exact[..., -1] - exact[..., 0]).mean()
    whole = tsfm.load(made.merge().save(tmp_path / "whole"), device="cpu", precision="bf16")
    np.testing.assert_array_equal(forecast(rounded), forecast(whole))


def test_an_adapter_knows_the_training_data_of_its_base(tmp_path):
    made = tuned(forecaster_named(next(iter(embedded()))))
    series = np.random.default_rng(0).normal(size=100)
    assert made.seen_in_training(series).series[0].verdict == "no"
    assert opened(made.save(tmp_path / "made")).seen_in_training(series).series[0].verdict == "no"


def test_a_model_without_weights_takes_no_adapter():
    with pytest.raises(DataError, match="model 'naive' has no weights to adapt"):
        tsfm.load("naive").with_adapter(AdapterConfig("lora", ("weight",)), {})
