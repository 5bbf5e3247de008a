"""Training windows: reproducible, mixed as asked, and honest about what is observed."""

from dataclasses import replace

import numpy as np
import torch

from tsfm.data.windows import (
    TrainingWindows,
    WindowConfig,
    bend,
    coarseness,
    gather_real,
    mix,
    punch_holes,
    stretched,
    stretches,
)

CONFIG = WindowConfig(
    patch=16, contexts=(64, 256), context_shares=(0.5, 0.5), tokens=512, chunk_series=32, chunk_steps=4
)
REAL = gather_real(
    [
        [np.cumsum(np.random.default_rng(seed).normal(size=400)) for seed in range(5)],
        [np.arange(40.0), np.full(100, 3.0), np.full(100, np.nan)],
    ]
)


def test_a_step_gives_the_same_windows_whatever_was_drawn_before():
    one, other = TrainingWindows(CONFIG, REAL, seed=1), TrainingWindows(CONFIG, REAL, seed=1)
    for step in range(6):
        one.draw(step)
    for left, right in zip(one.draw(5), other.draw(5), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(one.draw(4)[0][:4, :4], TrainingWindows(CONFIG, REAL, seed=2).draw(4)[0][:4, :4])


def test_windows_have_the_tokens_asked_for_and_a_patch_more():
    windows = TrainingWindows(CONFIG, REAL, seed=0)
    shapes = {tuple(windows.draw(step)[0].shape) for step in range(12)}
    assert shapes == {(128, 5, 16), (32, 17, 16)}


def test_windows_are_finite_and_zero_where_not_observed():
    windows = TrainingWindows(CONFIG, REAL, seed=0)
    for step in range(8):
        values, observed = windows.draw(step)
        assert values.isfinite().all()
        assert (values[~observed] == 0).all()
        assert 0.3 < observed.float().mean() < 1


def test_constant_and_empty_series_are_not_trained_on():
    assert len(REAL.share) == 6
    assert REAL.share[-1] == 1


def test_a_short_series_ends_somewhere_in_the_last_patch():
    short = gather_real([[np.random.default_rng(0).normal(size=30) for _ in range(3)]])
    windows = TrainingWindows(replace(CONFIG, real_share=1.0, mix_share=0, hole_share=0, short_share=0), short, seed=0)
    _, observed = windows.draw(0)
    flat = observed.flatten(1)
    assert set(flat.sum(1).tolist()) == {30}
    assert len({int(row.nonzero().max()) for row in flat}) > 5


def test_coarser_sampling_leaves_at_least_sixty_four_points():
    assert coarseness(100, 0.0) == 1
    assert {coarseness(10_000, draw / 100) for draw in range(100)} == {1, 2, 3, 4, 6, 7, 12, 24}
    assert max(coarseness(300, draw / 100) for draw in range(100)) == 4


def test_mixing_keeps_only_what_both_parts_have_observed():
    generator = torch.Generator().manual_seed(0)
    observed = torch.rand(50, 20, generator=generator) < 0.8
    values, seen = mix(torch.randn(50, 20, generator=generator), observed, 1.0, generator)
    assert (seen <= observed).all()
    assert values.shape == (50, 20)


def test_holes_only_hide():
    generator = torch.Generator().manual_seed(0)
    observed = torch.ones(200, 64, dtype=torch.bool)
    holed = punch_holes(observed, 0.5, generator)
    assert 0.3 < (~holed).any(1).float().mean() < 0.6


def test_a_stretched_series_keeps_its_shape_at_another_speed():
    wave = np.sin(2 * np.pi * np.arange(200) / 24).astype(np.float32)
    for factor in (0.5, 0.8, 1.0, 1.7, 2.0):
        slow = stretched(wave, factor)
        expected = np.sin(2 * np.pi * np.arange(len(slow)) * factor / 24)
        assert abs(len(slow) - 200 / factor) <= 1
        np.testing.assert_allclose(slow, expected, atol=0.02)


def test_stretching_makes_up_no_missing_value():
    gappy = np.arange(10, dtype=np.float32)
    gappy[4] = np.nan
    assert np.isnan(stretched(gappy, 0.5)[7:10]).all()
    assert np.isfinite(stretched(gappy, 0.5)[:7]).all()


def test_a_share_of_real_windows_is_stretched():
    factors = stretches(2000, 0.4, torch.Generator().manual_seed(0))
    assert 0.35 < (factors != 1).mean() < 0.45
    assert factors.min() >= 0.5
    assert factors.max() <= 2


def test_bending_keeps_the_order_of_a_row_and_what_is_missing():
    generator = torch.Generator().manual_seed(0)
    values, observed = torch.randn(50, 64, generator=generator), torch.rand(50, 64, generator=generator) < 0.9
    bent = bend(values, observed, 0.5, torch.Generator().manual_seed(1))
    changed = (bent != values).any(1)
    assert 10 < changed.sum() < 40
    for row in torch.nonzero(changed).flatten():
        seen = observed[row]
        assert bent[row, seen].argsort().equal(values[row, seen].argsort())
    torch.testing.assert_close(bent[~observed], values[~observed])


def test_augmented_windows_are_finite_and_as_long_as_any():
    series = [[np.random.default_rng(0).normal(size=400).cumsum(), np.arange(60.0)]]
    config = WindowConfig(
        contexts=(256,), context_shares=(1.0,), tokens=256, real_share=1.0, stretch_share=1.0, bend_share=1.0
    )
    values, observed = TrainingWindows(config, gather_real(series), 0).draw(3)
    assert values.shape == (32, 9, 32)
    assert values.isfinite().all()
    assert observed.any((1, 2)).all()
