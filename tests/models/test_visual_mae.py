"""The masked autoencoder and both published ways to draw say what the published code says."""

import json

import pytest
import torch
from parity import FIXTURES, Stored, close

from tsfm.errors import DataError
from tsfm.models import visual_mae_files as files
from tsfm.models.visual_mae import PRESETS, VisualMAE
from tsfm.models.visual_mae_images import (
    bands,
    drawn,
    in_order,
    left_columns,
    reconstruct,
    standardised,
    vision_ts,
    vision_ts_plus,
)
from tsfm.models.visual_mae_layers import masking, pixel_loss, position_table
from tsfm.nn.folding import Folding
from tsfm.official import holding_nothing

STORED, PLUS = Stored("visionts"), Stored("visionts", "pp_")
CASES, PLUS_CASES = ([*enumerate(stored.config["cases"])] for stored in (STORED, PLUS))


def model_of(stored):
    model = VisualMAE(files.read_config(stored.config))
    model.load_state_dict(files.read_tensors(stored.weights()))
    return model.eval().vision_model


@pytest.fixture(scope="module")
def arrays():
    return STORED.arrays()


@pytest.fixture(scope="module")
def mae():
    return model_of(STORED)


@pytest.fixture(scope="module")
def plus_arrays():
    return PLUS.arrays()


@pytest.fixture(scope="module")
def plus():
    return model_of(PLUS)


def by_variate(series):
    """(B, C, V) -> (B * V, C)."""
    return series.transpose(1, 2).flatten(0, 1)


def layout_of(case, context=None, **options):
    derived = case["derived"]
    align = case.get("align_const", 0.4)
    return Folding(
        context or case["context_len"], case["pred_len"], case["periodicity"], 64, 8, align, **options
    ), derived


@torch.no_grad()
def test_pretraining_hides_encodes_decodes_and_scores_as_published(mae, arrays):
    images = arrays["mae_imgs"]
    visible, restore, mask = masking(arrays["mae_noise"], 16)
    assert torch.equal(restore, arrays["mae_ids_restore"])
    assert torch.equal(mask, arrays["mae_mask"])
    close(mae.encode(images, visible), arrays["mae_latent"])
    patches, hidden = mae(images, arrays["mae_noise"], 16)
    assert torch.equal(hidden, mask)
    close(patches, arrays["mae_pred"])
    target = mae.patchify(images)
    assert torch.equal(target, arrays["mae_patchify"])
    assert torch.equal(mae.unpatchify(target), images)
    close(pixel_loss(patches, target, mask), arrays["mae_loss"])
    close(pixel_loss(patches, target, mask, normalised=True), arrays["mae_loss_norm_pix"])


def test_the_position_table_is_the_published_one(mae):
    close(position_table(32, 8), mae.pos_embed.detach())
    close(position_table(24, 8), mae.decoder_pos_embed.detach())


@pytest.mark.parametrize("number, case", CASES)
def test_a_context_is_laid_out_as_published(number, case):
    place, derived = layout_of(case)
    assert (place.padding, -place.horizon % place.period) == (derived["pad_left"], derived["pad_right"])
    assert (place.columns, place.side - place.columns) == (derived["num_patch_input"], derived["num_patch_output"])
    assert (place.image, place.shown) == tuple(derived["input_resize"])
    assert (place.period, place.width) == tuple(derived["output_resize"])
    assert place.periods / place.shown == derived["scale_x"]
    assert 1 - place.columns / place.side == derived["mask_ratio"]


@torch.no_grad()
@pytest.mark.parametrize("number, case", CASES)
def test_vision_ts_draws_reconstructs_and_forecasts_as_published(mae, arrays, number, case):
    place, _ = layout_of(case)
    series = by_variate(arrays[f"case{number}_x"])
    images = drawn(standardised(series, case["norm_const"]).values, place, case["interpolation"])
    close(images, arrays[f"case{number}_image_input"])
    assert torch.equal(left_columns(place, series.device), arrays[f"case{number}_mask"])
    if f"case{number}_mae_pred" in arrays:
        hidden, _ = reconstruct(mae, images.expand(-1, 3, -1, -1), place)
        close(mae.decoder_pred(hidden), arrays[f"case{number}_mae_pred"])
    options = {name: case[name] for name in ("norm_const", "align_const", "interpolation")}
    found = vision_ts(mae, series, case["pred_len"], case["periodicity"], **options)
    close(found, by_variate(arrays[f"case{number}_y"]))


@torch.no_grad()
@pytest.mark.parametrize("number, case", PLUS_CASES)
def test_vision_ts_plus_draws_reconstructs_and_forecasts_as_published(plus, plus_arrays, number, case):
    series = plus_arrays[f"case{number}_x"].transpose(1, 2)
    place, derived = layout_of(case, case["derived"]["context_len_effective"], visible=case.get("num_patch_input"))
    assert (place.padding, place.columns) == (derived["pad_left"], derived["num_patch_input"])
    assert (64 // case["nvars"], place.shown) == tuple(derived["input_resize"])
    assert (place.period, place.width) == tuple(derived["output_resize"])
    colour = case.get("color_list")
    short = place.context - series.shape[-1]
    padded = torch.nn.functional.pad(standardised(series, 0.4).values, (short, 0))
    images = bands(padded, place, colour or [0, 1, 2][: case["nvars"]], 0)
    close(images, plus_arrays[f"case{number}_image_input"])
    hidden, _ = reconstruct(plus, images, place)
    close(in_order(plus, hidden)[4], plus_arrays[f"case{number}_mae_pred"])
    options = {"colour": colour, "visible": case.get("num_patch_input")}
    padding = case.get("padding_mode", "replicate")
    found = vision_ts_plus(plus, series, case["pred_len"], case["periodicity"], padding=padding, **options)
    close(found[..., 4].transpose(1, 2), plus_arrays[f"case{number}_y"])
    others = torch.cat([found[..., :4], found[..., 5:]], -1)
    close(others.permute(3, 0, 2, 1), plus_arrays[f"case{number}_quantiles"])


@pytest.mark.parametrize("size", ["base", "large", "huge"])
def test_official_sizes_have_the_official_tensors(size):
    layout = json.loads((FIXTURES / "visionts" / "official_layout.json").read_text())[f"mae_visualize_vit_{size}"]
    model = holding_nothing("visual-mae", PRESETS[size])
    found = files.write_tensors(model.state_dict())
    assert {name: list(tensor.shape) for name, tensor in found.items()} == layout["tensors"]
    assert sum(tensor.numel() for tensor in found.values()) == layout["num_parameters"]
    assert files.config_of(model.state_dict()) == PRESETS[size]


@pytest.mark.parametrize("stored", [STORED, PLUS], ids=["visionts", "visionts++"])
def test_sizes_and_tensors_go_to_the_published_layout_and_back(stored):
    config, published = stored.config, stored.weights()
    ours, state = files.read_config(config), files.read_tensors(published)
    back = files.write_config(ours)
    assert back == {name: config.get(name, value) for name, value in back.items()}
    assert files.read_config(back) == ours
    assert files.config_of(state, config["num_heads"], config["decoder_num_heads"]) == ours
    again = files.write_tensors(state)
    assert again.keys() == published.keys()
    assert all(torch.equal(again[name], published[name]) for name in published)


def test_heads_that_do_not_divide_the_width_are_refused():
    broken = {**STORED.config, "num_heads": 5}
    with pytest.raises(DataError, match=r"num_heads 5, which does not divide embed_dim \d+; convert the published"):
        files.read_config(broken)


def test_a_whole_vision_ts_and_the_old_name_of_the_median_are_read_too():
    published = PLUS.weights()
    whole = {f"vision_model.{name}".replace("decoder_pred.", "decoder_pred_1."): one for name, one in published.items()}
    whole["mask"] = torch.ones(1, 64)
    found, wanted = files.read_tensors(whole), files.read_tensors(published)
    assert found.keys() == wanted.keys()


@torch.no_grad()
@pytest.mark.parametrize("context, horizon, period", [(24, 336, 24), (5, 400, 1), (30, 1000, 7)])
def test_a_horizon_that_one_image_cannot_hold_is_forecast_in_parts(mae, plus, context, horizon, period):
    series = torch.sin(torch.arange(float(context)))[None]
    found = vision_ts(mae, series, horizon, period)
    assert found.shape == (1, horizon)
    assert torch.isfinite(found).all()
    first = Folding(context, horizon, period, 64, 8)
    assert first.reach < horizon
    curves = vision_ts_plus(plus, series[None], horizon, period)
    assert curves.shape == (1, 1, horizon, 9)
    assert torch.isfinite(curves).all()
