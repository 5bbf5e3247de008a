"""The three blocks: disjoint, at the end, after everything that training reads, and fair to short series."""

import numpy as np
import pytest
from finetuning.small import panel

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.split import BLOCKS, HELD_OUT, MOST_SERIES, split


def spans(parts, block):
    """(series, step) of every step that a block forecasts."""
    windows = getattr(parts, block)
    return {
        (int(series), int(cutoff) + ahead)
        for series, cutoff in zip(windows.series, windows.cutoff, strict=True)
        for ahead in range(windows.horizon)
    }


@pytest.mark.parametrize(("series", "steps", "horizon"), [(1, 100, 12), (6, 240, 24), (60, 50, 12), (3, 5000, 48)])
def test_blocks_share_no_step_with_each_other_or_with_training(series, steps, horizon):
    parts = split(panel(series, steps), horizon, None, None, None, 0)
    found = [spans(parts, block) for block in BLOCKS]
    assert all(found)
    assert len(set.union(*found)) == sum(map(len, found))
    trained = {(i, step) for i in range(series) for step in range(int(parts.train_end[i]))}
    assert not trained & set.union(*found)


def test_a_later_block_is_later_in_every_series():
    parts = split(panel(4, 600), 24, 2, None, None, 0)
    for series in range(4):
        ends = [getattr(parts, block).cutoff[getattr(parts, block).series == series] for block in BLOCKS]
        assert ends[0].max() < ends[1].min() and ends[1].max() < ends[2].min()


def test_many_short_series_give_blocks_of_different_series_and_keep_most_of_their_steps():
    parts = split(panel(90, 60), 12, None, None, None, 0)
    assert parts.by_series
    owners = [set(getattr(parts, block).series.tolist()) for block in BLOCKS]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 90
    assert (parts.train_end == 48).all()


def test_long_series_give_up_two_fifths_at_most():
    parts = split(panel(1, 3000), 24, None, None, None, 0)
    assert parts.train_end[0] >= (1 - HELD_OUT) * 3000 - 3 * 24


def test_a_short_series_is_tested_on_fewer_steps_than_asked():
    parts = split(panel(1, 60), 28, None, None, None, 0)
    assert parts.horizon == 12


def test_five_points_can_be_tested_on_one_step_and_four_cannot():
    assert split(to_panel([1.0, 2, 1, 2, 1]), 28, None, None, None, 0).horizon == 1
    with pytest.raises(DataError, match=r"longest and has 4 values; fine-tuning needs at least 5"):
        split(to_panel([1.0, 2, 1, 2]), 28, None, None, None, 0)


def test_missing_ends_are_no_windows():
    values = np.concatenate([np.sin(np.arange(200.0)), np.full(40, np.nan)])
    parts = split(to_panel(values), 10, 1, None, None, 0)
    assert parts.report.cutoff.tolist() == [190]


def test_a_panel_of_many_series_is_judged_on_a_sample_of_them():
    generator = np.random.default_rng(0)
    many = to_panel([generator.normal(size=40) for _ in range(MOST_SERIES + 500)])
    parts = split(many, 2, 1, None, None, 0)
    assert len(parts.report) == MOST_SERIES
    assert len(parts.trainable) == MOST_SERIES + 500


def test_training_windows_end_before_the_first_held_out_step_and_are_the_same_for_the_same_step():
    data = panel(5, 200)
    parts = split(data, 12, None, None, None, 0)
    for series in range(5):
        data.values[series][parts.train_end[series] :] = 1e9  # a window that reads this would show it
    drawing = Drawing(data, parts, 8, None, 3)
    for step in range(20):
        lesson, again = drawing.draw(step, "cpu"), drawing.draw(step, "cpu")
        assert lesson.batch.values.abs().max() <= 1 and lesson.target.abs().max() < 50
        assert np.array_equal(lesson.batch.values, again.batch.values)
        assert np.array_equal(lesson.target, again.target)


def test_windows_of_different_steps_differ():
    data = panel(5, 200)
    drawing = Drawing(data, split(data, 12, None, None, None, 0), 8, None, 3)
    assert not np.array_equal(drawing.draw(0, "cpu").target[:4], drawing.draw(1, "cpu").target[:4])
