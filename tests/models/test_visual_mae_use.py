"""Series drawn exactly: folds and what is read back, gaps, any period, and what pretraining lowers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tsfm
from tsfm import Forecaster, official
from tsfm.batch import Batch, Covariates
from tsfm.cli.pretrain import begun
from tsfm.data.windows import WindowConfig
from tsfm.models.visual_mae import PRESETS, VisualMAE
from tsfm.models.visual_mae_sheets import sheet_of
from tsfm.models.visual_mae_training import lesson_of, patch_of
from tsfm.nn.periods import choose_period
from tsfm.nn.sheets import copies_of, draw, fold_of, neighbours, read, resampling, stretches
from tsfm.training.config import RunConfig
from tsfm.training.trainer import Trainer

FIXTURES = Path(__file__).parent.parent / "fixtures" / "visionts"
TINY = PRESETS["tiny"]
assert_close = torch.testing.assert_close


def all_of(values):
    return torch.ones(values.shape, dtype=torch.bool)


def ones(rows):
    return torch.ones(rows, dtype=torch.int64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = VisualMAE(TINY)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.02 * torch.randn(weight.shape)
    return made.eval()


def waves(period, steps, rows=4, noise=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(rows, period, generator=generator)
    place = torch.arange(steps)
    return shape[:, place % period] + 0.002 * place + noise * torch.randn(rows, steps, generator=generator)


@pytest.mark.parametrize("fold", [1, 7, 24, 32])
def test_a_fold_of_no_more_steps_than_rows_is_read_back_as_it_was_drawn(fold):
    values = torch.sin(torch.arange(8.0 * fold) / 9)[None]
    down, up = resampling(torch.tensor([fold]), 32 * fold, fold)
    image = draw(values[:, None], all_of(values), torch.tensor([fold]), 8, down)
    found = read(image[:, :1], up, torch.tensor([fold]), 8, torch.arange(-8 * fold, 0))
    assert_close(found[:, 0], values, rtol=0, atol=0.03)


def test_every_series_of_a_batch_is_drawn_in_its_own_fold():
    values, folds = waves(6, 120, rows=3), torch.tensor([6, 10, 40])
    observed = torch.rand(3, 120, generator=torch.Generator().manual_seed(1)) < 0.8
    values = torch.where(observed, values, 0.0)
    together = draw(values[:, None], observed, folds, 12, resampling(folds, 32, 40)[0])
    for row, fold in enumerate(folds.tolist()):
        alone = slice(row, row + 1)
        down, _ = resampling(folds[alone], 32, fold)
        assert_close(together[alone], draw(values[alone, None], observed[alone], folds[alone], 12, down))


def test_weights_of_drawing_and_reading_are_positive_and_sum_to_one():
    for weights in resampling(torch.tensor([1, 5, 32, 100]), 32, 100):
        assert (weights >= 0).all()
        assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_a_fold_is_whole_periods_and_no_longer_than_the_rows():
    period, length = torch.tensor([1, 7, 24, 100]), torch.tensor([1000, 1000, 30, 1000])
    fold = fold_of(period, length, 48, 40, 24, 64)
    assert fold.tolist() == [25, 28, 24, 100]
    assert fold_of(period, length, 10_000, 40, 24, 64).tolist() == [64, 63, 48, 100]


def test_copies_of_a_season_that_repeats_are_what_comes_next():
    values = waves(12, 144, noise=0.0)[:, :120] - 0.002 * torch.arange(120)
    wanted = waves(12, 144, noise=0.0)[:, 120:] - 0.002 * torch.arange(120, 144)
    copies = copies_of(values, all_of(values), torch.full((4,), 12), 24)
    assert_close(copies.anchor[:, 120:], values[:, -1:].expand(-1, 24))
    for copy in range(2):
        assert_close(copies.anchor[:, 120:] + copies.others[:, 120:, copy], wanted)
    assert_close(copies.others[:, 120:, 2], torch.zeros(4, 24), rtol=0, atol=1e-6)


def test_anchors_of_a_gap_lie_on_the_line_between_its_ends_and_level_beyond_them():
    observed = torch.tensor([[False, True, False, False, True, False]])
    values = torch.tensor([[0.0, 3.0, 0.0, 0.0, 9.0, 0.0]])
    before, after, _ = neighbours(observed, 1)
    assert before.tolist() == [[1, 1, 1, 1, 4, 4, 4]]
    assert after.tolist() == [[1, 1, 4, 4, 4, 4, 4]]
    assert_close(copies_of(values, observed, ones(1), 1).anchor, torch.tensor([[3.0, 3, 5, 7, 9, 9, 9]]))


@pytest.mark.parametrize("period", [4, 7, 12, 24, 96])
def test_the_period_is_found_with_a_trend_noise_and_missing_values(period):
    values = waves(period, 6 * period + 200, rows=6, noise=0.3)
    observed = torch.rand(values.shape, generator=torch.Generator().manual_seed(2)) < 0.9
    found, strength = choose_period(torch.where(observed, values, 1e6), observed, ones(6), 320)
    assert (found == period).sum() >= 5
    assert (strength[found == period] > 0.3).all()


def test_noise_has_no_period_unless_the_calendar_knows_one_too_long_to_be_seen():
    noise = torch.randn(40, 200, generator=torch.Generator().manual_seed(3))
    assert (choose_period(noise, all_of(noise), ones(40), 320)[0] == 1).float().mean() > 0.8
    short = noise[:, :20]
    assert (choose_period(short, all_of(short), torch.full((40,), 12), 320)[0] == 12).float().mean() > 0.8


@pytest.mark.parametrize("length", [10, 544, 545, 2000])
def test_stretches_cover_a_series_once(length):
    parts = stretches(length, 544)
    assert [low for _, _, low, _ in parts[1:]] == [high for *_, high in parts[:-1]]
    assert (parts[0][2], parts[-1][3]) == (0, length)
    assert all(0 <= start <= low < high <= stop <= length and stop - start <= 544 for start, stop, low, high in parts)


@pytest.mark.parametrize("steps", [3, 200, 1300])
def test_a_reconstruction_keeps_what_was_observed_and_orders_the_quantiles_of_the_rest(model, steps):
    values = waves(12, steps)
    observed = torch.rand(4, steps, generator=torch.Generator().manual_seed(4)) < 0.7
    observed[:, steps // 2] = True
    hidden = torch.where(observed, values, 1e9)
    found = model.reconstruct(hidden, observed, 12)
    assert found.shape == (4, steps, 9)
    assert_close(found[observed], values[observed][:, None].expand(-1, 9), rtol=0, atol=0)
    assert torch.isfinite(found).all()
    assert (found.diff(dim=-1) >= 0).all()
    assert_close(model.reconstruct(values, observed, torch.full((4,), 12)), found, rtol=1e-5, atol=1e-5)


def test_a_reconstruction_finds_the_period_by_itself(model):
    values = waves(12, 240)
    observed = torch.rand(4, 240, generator=torch.Generator().manual_seed(5)) < 0.8
    assert_close(model.reconstruct(values, observed), model.reconstruct(values, observed, 12), rtol=1e-3, atol=1e-2)


def test_long_horizons_are_rolled_out_on_the_median(model):
    values = waves(12, 200)
    batch = Batch(values, all_of(values), ones(4))
    steps = TINY.one_pass
    whole = model.predict(batch, steps + 50)
    longer = torch.cat([values, model.predict(batch, steps)[..., 4]], 1)
    sheet = sheet_of(
        TINY, longer, all_of(longer), ones(4), 50, chosen=sheet_of(TINY, values, all_of(values), ones(4), steps).chosen
    )
    when, columns = torch.arange(50), TINY.shown_columns * TINY.patch_size
    rest = sheet.unsquashed(model.sheet_quantiles(sheet, columns, None, when)).cummax(-1).values
    assert_close(whole[:, steps:], rest, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_weight_that_learns(model):
    values = waves(12, 300, rows=8)
    model.zero_grad()
    total = sum(model.window_loss(values[:, cut:], all_of(values[:, cut:])) for cut in range(3))
    total.backward()
    still = {"vision_model.pos_embed", "vision_model.decoder_pos_embed"}
    without = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert without == still


def test_the_loss_of_a_window_knows_neither_its_unit_nor_what_is_not_observed(model):
    values = waves(24, 300, rows=8)
    observed = torch.rand(values.shape, generator=torch.Generator().manual_seed(6)) < 0.9
    with torch.no_grad():
        wanted = model.window_loss(values, observed)
        assert_close(model.window_loss(8 * values + 16, observed), wanted, rtol=1e-4, atol=1e-5)
        found = [lesson_of(TINY, values, observed).counted for _ in range(2)]
    assert torch.equal(*found)


def test_lessons_hide_what_they_ask_for_and_hold_both_kinds():
    kinds = set()
    for seed in range(12):
        values = waves(12, 400, rows=6, seed=seed)
        lesson = lesson_of(TINY, values, all_of(values))
        kinds.add((bool((lesson.when >= 0).all()), lesson.visible is None))
        if not (lesson.when >= 0).all():
            assert not (lesson.counted & lesson.sheet.observed).any()
            if lesson.visible is not None:
                shown = torch.zeros(6, TINY.side**2, dtype=torch.bool).scatter_(1, lesson.visible, True)
                steps = lesson.sheet.observed.shape[1]
                assert not (lesson.sheet.observed & ~shown.gather(1, patch_of(lesson.sheet.fold, steps, TINY))).any()
        assert lesson.counted.any()
    assert kinds == {(True, True), (False, True), (False, False)}


SMALL = WindowConfig(contexts=(64,), context_shares=(1.0,), tokens=16, chunk_series=16, chunk_steps=4)


def test_training_lowers_the_loss_on_windows_that_it_has_not_seen(tmp_path):
    real = [[np.sin(np.arange(600) / pace) for pace in (2.0, 3.0, 4.0)]]
    windows = replace(SMALL, real_share=1.0, mix_share=0.0)
    config = RunConfig(TINY, windows, seed=3, steps=24, warmup=3, decay_start=16, architecture="visual-mae")
    trainer = Trainer(tmp_path, config, real)
    others = [trainer.prepare(step) for step in range(1000, 1006)]

    def score():
        with torch.no_grad():
            return float(np.mean([float(trainer.model.window_loss(*one)) for one in others]))

    before = score()
    trainer.run(report=lambda line: None)
    assert score() < 0.85 * before


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    config = RunConfig(TINY, SMALL, seed=3, steps=5, warmup=2, architecture="visual-mae")
    Trainer(tmp_path / "whole", config).run(report=lambda line: None)
    cut = Trainer(tmp_path / "cut", config)
    cut.resume()
    for _ in range(3):
        cut.losses.append(cut.train_step())
    cut.save()
    Trainer(tmp_path / "cut", config).run(report=lambda line: None)
    assert (tmp_path / "cut" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def test_the_small_preset_can_be_begun_from_the_command_line_and_is_small():
    config = begun("visual-mae", "nano")
    assert config.model == PRESETS["nano"]
    assert official.holding_nothing("visual-mae", config.model).active_parameters <= 1.9e6


@pytest.fixture(params=["", "pp_"])
def published(request, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((FIXTURES / f"{request.param}{name}").read_bytes())
    return tsfm.load(tmp_path, device="cpu", precision="fp32")


def test_published_weights_forecast_any_series_and_say_whose_they_are(published):
    many = [np.arange(5.0) ** 2, np.array([1.0, np.nan, 3.0]), np.sin(np.arange(200) / 24 * 2 * np.pi)]
    for horizon in (1, 30, 500):
        for found in published.predict_arrays(many, horizon):
            assert found.shape == (horizon, 9)
            assert np.isfinite(found).all()
            assert (np.diff(found, axis=1) >= 0).all()
    alone = published.predict_arrays(many[2:], 30)[0]
    np.testing.assert_allclose(published.predict_arrays(many, 30)[2], alone, rtol=1e-5, atol=1e-6)
    assert any("weights of others" in note for note in published.forecast(many[2], 3).provenance.notes)


def test_published_weights_can_be_trained_on_drawn_windows(published):
    values = waves(12, 160, rows=3)
    losses = [published.model.window_loss(values[:, cut:], all_of(values[:, cut:])) for cut in range(4)]
    sum(losses).backward()
    assert all(torch.isfinite(one) for one in losses)
    assert published.model.vision_model.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    batch = Batch(values.double(), all_of(values), ones(3))
    assert torch.isfinite(published.model.loss(batch, values[:, :9].double(), all_of(values[:, :9])))


def test_companions_are_drawn_beside_a_series_by_vision_ts_plus_alone(tmp_path):
    torch.manual_seed(0)
    plus = VisualMAE(replace(TINY, drawing="visionts++")).eval()
    values = waves(12, 100, rows=3).double()
    none, seen = torch.zeros(3, 0, 100), torch.zeros(3, 0, 100, dtype=torch.bool)
    companions = values.flip(0)[:, None]
    given = Covariates(none, seen, none, seen, companions, all_of(companions))
    alone, beside = Batch(values, all_of(values), ones(3)), Batch(values, all_of(values), ones(3), given)
    assert not torch.allclose(plus.predict(alone, 8), plus.predict(beside, 8))
    assert plus.uses_covariates and not VisualMAE(TINY).uses_covariates


def test_what_is_ours_alone_has_no_published_layout(model, tmp_path):
    with pytest.raises(tsfm.DataError, match="draws exactly is ours alone"):
        official.write_official(model, tmp_path / "out")
    folder = Forecaster(model, "tiny").save(tmp_path / "ours")
    assert json.loads((folder / "config.json").read_text())["architecture"] == "visual-mae"
