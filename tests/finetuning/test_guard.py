"""The guard: nobody replaces the zero-shot model without being better beyond doubt on windows that did not form it."""

import numpy as np
import pytest

from tsfm.finetuning.scoring import FEW, Scored, gain, guard


def scored(loss, date=None):
    """A block of these losses, each of a date of its own unless told."""
    loss = np.asarray(loss, dtype=float)
    date = np.arange(len(loss)) if date is None else np.asarray(date)
    return Scored(loss, date, 1.0, 1.0, 0.8, np.zeros((len(loss), 1, 9)), 0.0)


def judged(stopping, selection, date=None):
    """The verdict over losses by name."""
    names = [name for name in selection if name != "zero-shot"]
    blocks = [{name: scored(loss, date) for name, loss in block.items()} for block in (stopping, selection)]
    return guard(*blocks, "zero-shot", names)


ONES = np.ones(40)


def test_a_clear_gain_wins():
    noise = 0.01 * np.random.default_rng(0).normal(size=40)
    block = {"zero-shot": ONES, "lora": 0.9 * ONES + noise}
    verdict = judged(block, block)
    assert verdict.winner == "lora"
    assert "better on the selection windows" in verdict.reasons["zero-shot"]


def test_a_gain_within_luck_does_not_win():
    noise = np.random.default_rng(0).normal(size=40)
    noise -= noise.mean()
    verdict = judged({"zero-shot": ONES, "lora": 0.9 * ONES}, {"zero-shot": ONES, "lora": ONES - 0.001 + 0.1 * noise})
    assert verdict.winner == "zero-shot"
    assert "not clearly" in verdict.reasons["lora"]


@pytest.mark.parametrize("share", [1.0, 1.01, 1.5])
def test_nobody_who_is_not_better_on_the_selection_windows_wins(share):
    verdict = judged({"zero-shot": ONES, "lora": 0.5 * ONES}, {"zero-shot": ONES, "lora": share * ONES})
    assert verdict.winner == "zero-shot"


def test_with_few_windows_every_window_of_both_blocks_must_be_better():
    few = np.ones(FEW - 1)
    selection = {"zero-shot": few, "lora": 0.9 * few}
    assert judged({"zero-shot": few, "lora": 0.9 * few}, selection).winner == "lora"
    once_worse = np.where(np.arange(FEW - 1) == 3, 1.01, 0.5)
    assert judged({"zero-shot": few, "lora": once_worse}, selection).winner == "zero-shot"
    assert judged(selection, {"zero-shot": few, "lora": once_worse}).winner == "zero-shot"


def test_the_best_of_several_wins_and_each_other_has_its_reason():
    noise = 0.01 * np.random.default_rng(0).normal(size=40)
    block = {"zero-shot": ONES, "naive": 1.3 * ONES, "lora": 0.95 * ONES + noise, "full": 0.9 * ONES - noise}
    verdict = judged(block, block)
    assert verdict.winner == "full"
    assert set(verdict.reasons) == {"zero-shot", "naive", "lora"}


def test_windows_without_a_seasonal_error_take_no_part():
    mute = np.where(np.arange(40) < 20, np.nan, 1.0)
    block = {"zero-shot": mute, "lora": 0.8 * mute + np.where(np.arange(40) % 2, 0.01, -0.01)}
    assert judged(block, block).winner == "lora"


def test_a_gain_that_is_too_small_to_matter_does_not_win():
    block = {"zero-shot": ONES, "lora": 0.998 * ONES}
    assert judged(block, block).winner == "zero-shot"


def test_who_is_worse_on_the_stopping_windows_does_not_win():
    assert (
        judged({"zero-shot": ONES, "naive": 1.1 * ONES}, {"zero-shot": ONES, "naive": 0.8 * ONES}).winner == "zero-shot"
    )


def test_what_happens_to_all_series_at_once_counts_as_one_draw():
    date = np.arange(400) // 40
    shock = np.random.default_rng(0).normal(size=10)[date]
    shock -= shock.mean()
    apart = {"zero-shot": np.ones(400), "lora": 0.95 + 0.2 * shock}
    found = gain(scored(apart["lora"], date), scored(apart["zero-shot"], date))
    alone = gain(scored(apart["lora"]), scored(apart["zero-shot"]))
    assert found.dates == 10
    assert found.errors < 1.5 < 4 < alone.errors


def test_a_few_wild_windows_neither_make_a_winner_nor_hide_one():
    generator = np.random.default_rng(0)
    wild = np.where(np.arange(200) % 40 == 0, 1000.0, 1.0) * (1 + 0.01 * generator.random(200))
    wins_the_wild_alone = {"zero-shot": wild, "lora": np.where(wild > 10, 0.5 * wild, 1.01 * wild)}
    assert judged(wins_the_wild_alone, wins_the_wild_alone).winner == "zero-shot"
    wins_the_tame_too = {"zero-shot": wild, "lora": wild * (0.9 + 0.05 * generator.random(200))}
    assert judged(wins_the_tame_too, wins_the_tame_too).winner == "lora"


def test_dates_of_one_shock_do_not_make_a_winner():
    date = np.arange(400) // 40
    shock = np.random.default_rng(0).normal(size=10)[date]
    apart = {"zero-shot": np.ones(400), "lora": 0.95 + 0.2 * (shock - shock.mean())}
    assert judged(apart, apart, date).winner == "zero-shot"


def test_with_few_dates_it_takes_more():
    date = np.arange(40) // 20
    noise = np.random.default_rng(0).normal(size=40)
    noise -= noise.mean()
    selection = {"zero-shot": ONES, "lora": 0.96 + 0.13 * noise}
    assert 2 < gain(scored(selection["lora"], date), scored(ONES, date)).errors < 3
    assert judged(selection, selection, date).winner == "zero-shot"
    assert judged(selection, selection).winner == "lora"


def test_both_blocks_speak_of_who_was_formed_on_neither():
    noise = np.random.default_rng(0).normal(size=40)
    noise -= noise.mean()
    block = {"zero-shot": ONES, "head": 0.95 + 0.29 * noise}
    assert 1.4 < gain(scored(block["head"]), scored(ONES)).errors < 2
    assert judged(block, block).winner == "zero-shot"
    blocks = [{name: scored(loss, start + np.arange(40)) for name, loss in block.items()} for start in (0, 40)]
    assert guard(*blocks, "zero-shot", ["head"], {"head": "zero-shot"}).winner == "head"
