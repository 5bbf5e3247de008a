"""ViTime says what the published code says, picture by picture, and its quantiles are those of its pixels."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from parity import Stored, close

from tsfm.batch import Batch
from tsfm.cli.pretrain import begun
from tsfm.errors import DataError
from tsfm.forecaster import Forecaster
from tsfm.models import vitime_files as files
from tsfm.models.vitime import PRESETS, ViTime
from tsfm.models.vitime_losses import column_loss, distances
from tsfm.models.vitime_pixels import (
    Scene,
    between,
    blurred,
    decoded,
    draw,
    kernel,
    quantiles_of,
    rows_of,
    scene_of,
    value_of,
)
from tsfm.training.config import read_config
from tsfm.training.trainer import Trainer

STORED = Stored("vitime")
CONFIG = STORED.config
CASES = [(number, case["context"], case["horizon"]) for number, case in enumerate(CONFIG["cases"])]
TINY = PRESETS["tiny"]
assert_close = torch.testing.assert_close


@pytest.fixture(scope="module")
def arrays():
    return STORED.arrays()


@pytest.fixture(scope="module")
def published():
    model = ViTime(files.read_config(CONFIG))
    model.load_state_dict(files.read_tensors(STORED.weights()))
    return model.eval()


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return ViTime(TINY).eval()


def scene(context: int, horizon: int) -> Scene:
    return scene_of(torch.tensor([0]), torch.tensor([context]), torch.tensor([horizon]))


def batch_of(values: torch.Tensor) -> Batch:
    return Batch(values.double(), values.isfinite(), torch.ones(len(values), dtype=torch.int64))


def test_the_blur_and_the_distances_are_the_published_ones(published, arrays):
    close(torch.tensor(kernel(31)), arrays["gauss_kernel_31"].float())
    close(distances(32, published.config.distance_power)[5], arrays["D_row5"].float())


def test_tables_of_positions_are_those_of_the_published_files():
    stored, model = STORED.weights(), ViTime(files.read_config(CONFIG))
    for name in ("model.pos_embed", "model.decoder_pos_embed"):
        assert_close(model.state_dict()[name], stored[name], rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("number, context, horizon", CASES)
def test_the_picture_its_logits_and_every_decoding_are_the_published_ones(published, arrays, number, context, horizon):
    wanted = {name: arrays[f"case{number}_{name}"] for name in ("x", "image_input", "logits", "prob", "full", "y")}
    values = wanted["x"][None]
    picture = published.draw(values, scene(context, horizon))
    logits = published(picture.image)
    close(picture.image[0], wanted["image_input"])
    close(logits[0], wanted["logits"])
    close(torch.softmax(logits, -1)[0], wanted["prob"])
    mean_row = decoded(logits, "expectation")
    close(value_of(mean_row, 32, published.config.limit)[0], arrays[f"case{number}_expectation_norm"].double())
    full, ahead = published.published_forecast(values, horizon)
    flipped = (full[0] - wanted["full"]).abs() > 1e-5 * wanted["full"].abs().max()
    assert flipped.float().mean() < 0.02  # a near tie of the most probable rows may fall otherwise
    assert torch.equal(ahead, full[:, context:])


@torch.no_grad()
def test_the_forecaster_shows_the_published_pictures_of_a_users_own_values(published, arrays):
    """The signed root mean square moves with the level: what is seen must not be conditioned."""
    seen = []
    hook = published.model.register_forward_hook(lambda module, given, made: seen.append(given[0].mT))
    Forecaster(published, "published").predict_arrays([arrays["case0_x"].numpy()], 96)
    hook.remove()
    close(seen[0][0], arrays["case0_image_input"])


def test_published_files_are_read_and_written(published):
    state = published.state_dict()
    prefixed = {f"module.{name}": tensor for name, tensor in files.write_tensors(state).items()}
    assert files.read_tensors(prefixed).keys() == state.keys() == STORED.weights().keys()
    for config in (published.config, PRESETS["base"], PRESETS["nano"]):
        again = asdict(files.read_config(files.write_config(config)))
        ours = {"max_horizon", "least_share", "distance_weight", "past_weight"}
        assert {key: value for key, value in again.items() if key not in ours} == {
            key: value for key, value in asdict(config).items() if key not in ours
        }


def test_sizes_follow_from_the_published_model_size_where_they_are_not_stated():
    config = files.read_config({**CONFIG, "actual": {}, "upscal": True, "size": [512, 0, 720], "modelSize": 0.5})
    assert (config.width, config.depth, config.heads, config.decoder_width) == (512, 6, 8, 256)
    assert (config.columns, config.max_horizon) == (2464, 720)


@pytest.mark.parametrize("change", [{"out_channels": 3}, {"ks": [31, 5]}])
def test_arguments_of_another_model_are_refused(change):
    with pytest.raises(DataError, match=next(iter(change))):
        files.read_config({**CONFIG, **change})
    with pytest.raises(DataError, match="no maxScal"):
        files.read_config({key: value for key, value in CONFIG.items() if key != "maxScal"})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"height": 33}, "patch_rows=8 must divide height=33"),
        ({"columns": 200}, "patch_columns=16 must divide columns=200"),
        ({"heads": 3}, "heads=3 must divide width=32"),
        ({"blur": 4}, "blur=4 must be odd"),
        ({"blur": 65}, "blur=65 must be odd, and less than twice"),
        ({"limit": 0.0}, "limit=0.0 must be a number above 0"),
        ({"max_context": 0}, "shows 0 and 1024 steps"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        replace(TINY, **change)


def test_a_pixel_is_lit_from_its_lower_edge_on_and_edges_of_the_picture_hold_what_lies_beyond():
    rows = torch.arange(64)
    edges = value_of(rows, 64, 3.5)
    assert torch.equal(rows_of(edges + 1e-6, 64, 3.5), rows)
    assert rows_of(torch.tensor([-99.0, 99.0]), 64, 3.5).tolist() == [0, 63]


def test_a_blur_keeps_the_light_of_a_spot_and_spreads_it_over_both_axes():
    image = torch.zeros(1, 80, 64)
    image[0, 40, 32] = 1.0
    found = blurred(image, 31)
    assert_close(found.sum(), torch.tensor(31.0))
    assert found[0, 40 - 15, 32] > 0 and found[0, 40, 32 + 15] > 0 and found[0, 40 - 16, 32] == 0


def test_quantiles_of_a_pixel_lie_within_it_and_those_of_two_between_them():
    logits = torch.full((1, 1, 64), -1e4)
    logits[0, 0, 10] = 0.0
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert_close(quantiles_of(logits, levels, 3.5)[0, 0], value_of(10 + levels, 64, 3.5))
    logits[0, 0, 30] = 0.0
    assert_close(quantiles_of(logits, levels, 3.5)[0, 0, ::2], value_of(torch.tensor([10.2, 30.8]).double(), 64, 3.5))


def test_quantiles_have_their_share_of_the_probability_below_them():
    generator = torch.Generator().manual_seed(0)
    logits, levels = torch.randn(2, 5, 64, generator=generator), torch.linspace(0.01, 0.99, 9).double()
    place = (quantiles_of(logits, levels, 3.5) + 3.5) * 63 / 7  # in rows
    row = torch.arange(64)
    below = (place[..., None] - row).clamp(0, 1) * torch.softmax(logits.double(), -1)[:, :, None]
    assert_close(below.sum(-1), levels.expand(2, 5, -1))


def test_straight_lines_join_what_stands_between_steps():
    values = torch.tensor([[0.0, 2.0, 6.0]]).double()
    assert between(values, torch.tensor([[0.0, 0.5, 1.25, 2.0]])).tolist() == [[0.0, 1.0, 3.0, 6.0]]


def test_a_line_drawn_is_read_back_to_half_a_pixel():
    """Of a picture that shows history and future both: the past of a longer series, decoded from its own light."""
    time = torch.arange(192).double()
    values = (torch.sin(time / 9) + 0.01 * time)[None]
    picture = draw(values, scene(191, 1), 192, 64, 3.5, 1, "mean")
    row = picture.image.argmax(-1)[0, :191] + 0.5
    found = value_of(row, 64, 3.5) * picture.deviation[0] + picture.reference[0]
    assert (found - values[0, :191]).abs().max() <= (0.5 + 1e-6) * 7 / 63 * picture.deviation[0, 0]


def test_what_lies_before_a_history_or_after_it_is_not_drawn(tiny):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(1, 90, generator=generator).double()
    part = Scene(torch.tensor([20]), torch.tensor([70]), torch.tensor([20]))
    other = torch.cat([values[:, :20] + 9, values[:, 20:70], values[:, 70:] - 9], 1)
    assert torch.equal(tiny.draw(values, part).image, tiny.draw(other, part).image)


@torch.no_grad()
def test_a_short_history_is_rolled_out_and_others_in_its_batch_are_not(tiny):
    steps = torch.full((2, 64), torch.nan)
    steps[0, -4:], steps[1] = torch.tensor([1.0, 2.0, 1.5, 3.0]), torch.arange(64.0).sin()
    batch = Batch(steps.nan_to_num().double(), steps.isfinite(), torch.ones(2, dtype=torch.int64))
    passes = []
    hook = tiny.register_forward_hook(lambda module, given, made: passes.append(len(given[0])))
    together = tiny.predict(batch, 100)
    hook.remove()
    assert passes == [2, 1, 1]  # 4 steps reach 12 further, 16 then 48, 64 then the rest
    alone = tiny.predict(batch_of(steps[1:]), 100)
    assert_close(together[1:], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_rollout_draws_its_own_median_as_history(tiny):
    known = torch.tensor([[1.0, 2.0, 1.5, 3.0]])
    first = tiny.predict(batch_of(known), 12, (0.5,))
    both = tiny.predict(batch_of(known), 20, (0.5,))
    assert_close(both[:, :12], first)
    assert_close(both[:, 12:], tiny.predict(batch_of(torch.cat([known.double(), first[..., 0]], 1)), 8, (0.5,)))


def test_levels_come_in_the_order_asked(tiny):
    batch = batch_of(torch.arange(50.0)[None].sin())
    assert_close(tiny.predict(batch, 7, (0.9, 0.1)), tiny.predict(batch, 7, (0.1, 0.9)).flip(-1))


def test_the_loss_of_a_column_is_least_for_the_true_distribution():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(64, generator=generator)
    rows = torch.arange(64)[None]

    def expected(logits: torch.Tensor) -> torch.Tensor:
        each = column_loss(logits.expand(1, 64, 64), rows, 3.5, weight=5.0)
        return (each[0] * truth.softmax(0)).sum()

    moved = truth.clone().requires_grad_()
    expected(moved).backward()
    assert moved.grad.abs().max() < 1e-5
    assert expected(truth) < expected(truth * 3) and expected(truth) < expected(truth * 0)


def test_the_loss_does_not_know_the_unit_or_what_is_not_observed(tiny):
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(6, 160, generator=generator).cumsum(1)
    observed = torch.rand(6, 160, generator=generator) < 0.9
    observed[0, :100] = False
    with torch.no_grad():
        wanted = tiny.window_loss(values, observed)
        assert_close(tiny.window_loss(8 * values, observed), wanted)
        assert torch.equal(tiny.window_loss(torch.where(observed, values, 1e6), observed), wanted)
        flat = torch.cat([values, torch.full((2, 160), 3.0)])
        assert tiny.window_loss(flat, torch.cat([observed, torch.ones(2, 160, dtype=torch.bool)])).isfinite()


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_windows_with_next_to_nothing_in_them_have_a_finite_loss_and_gradient(columns):
    torch.manual_seed(0)
    model = ViTime(TINY)
    observed = torch.zeros(3, 40, dtype=torch.bool)
    observed[:, 7 : 7 + columns] = True
    loss = model.window_loss(torch.randn(3, 40), observed)
    loss.backward()
    assert loss.isfinite() and all(weight.grad.isfinite().all() for weight in model.parameters())


def test_training_on_waves_lowers_the_loss_and_reaches_every_parameter():
    torch.manual_seed(0)
    model = ViTime(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(25):
        time = torch.arange(160) + 7 * torch.arange(8)[:, None] + 13 * step
        values = torch.sin(time / torch.linspace(4, 9, 8)[:, None])
        loss = model.window_loss(values, torch.ones_like(values, dtype=torch.bool))
        loss.backward()
        assert step or all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.93 * losses[0]


def test_every_size_can_be_begun_from_the_command_line():
    for preset in ("nano", "base"):
        config = begun("vitime", preset)
        assert config.model == PRESETS[preset]
        assert config.windows.families["realts"] > 0


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    begin = begun("vitime", "tiny")
    small = replace(begin.windows, contexts=(64, 128), context_shares=(0.5, 0.5), tokens=8, chunk_series=8)
    config = replace(begin, windows=small, warmup=2).with_steps(4)
    Trainer(tmp_path / "whole", config).run(report=lambda line: None)
    cut = Trainer(tmp_path / "cut", config)
    cut.resume()
    cut.losses += [cut.train_step() for _ in range(2)]
    cut.save()
    assert read_config(tmp_path / "cut") == config
    assert Trainer(tmp_path / "cut", config).run(report=lambda line: None)
    assert (tmp_path / "cut" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()
