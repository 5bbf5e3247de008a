"""A forecaster is measured on the windows it should be, against the seasonal naive forecast on the same ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tsfm.errors import DataError
from tsfm.evaluation.measuring import (
    Window,
    all_windows,
    chunks,
    evenly_spaced,
    measure,
    seasonal_naive_forecaster,
    usable_windows,
)
from tsfm.evaluation.metrics import Array, seasonal_error
from tsfm.evaluation.tally import ASKED
from tsfm.evaluation.tasks import Task


@pytest.fixture
def task(made_set: str) -> Task:
    return Task("made/H/short", made_set, 24, 24, term="short", windows=2, naive_mase=0.5, naive_crps=0.25)


@pytest.fixture
def sliding(made_set: str) -> Task:
    return Task("made/24", made_set, 24, 24, protocol="sliding", context=48, train=120, validation=40, test=60)


def zeros(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
    return [np.zeros((horizon, len(levels))) for _ in contexts]


def test_the_seasonal_naive_forecast_has_ratio_one_to_itself(task: Task):
    found = measure(seasonal_naive_forecaster, task, "validation")
    assert (found.windows, found.available, found.series, found.baseline) == (6, 6, 3, "computed")
    assert found.mase_ratio == found.crps_ratio == 1.0
    assert 0.6 < found.coverage80 <= 1.0


def test_the_whole_test_split_is_compared_with_the_published_row(task: Task):
    found = measure(zeros, task, "test")
    assert (found.windows, found.baseline, found.naive_mase, found.naive_crps) == (4, "published", 0.5, 0.25)
    assert found.mase_ratio == found.mase / 0.5
    assert found.crps == pytest.approx(1.0)  # twice the level times the target, and the levels average to a half


def test_a_sample_of_test_windows_is_compared_on_the_same_windows(task: Task):
    found = measure(seasonal_naive_forecaster, task, "test", max_windows=3)
    assert (found.windows, found.available, found.baseline, found.mase_ratio) == (3, 4, "computed", 1.0)


def test_windows_without_a_target_or_a_context_are_left_out(task: Task):
    assert len(list(all_windows(task, "test"))) == 6
    found = usable_windows(task, "test")
    assert len(found) == 4  # the third series is missing where it would be tested
    assert all(np.isfinite(window.target).any() for window in found)


@pytest.mark.parametrize(("context", "lengths"), [(None, [144, 168]), (100, [100])])
def test_a_forecaster_sees_nothing_after_the_cut_and_no_more_than_the_task_gives(
    task: Task, context: int | None, lengths: list[int]
):
    seen: list[int] = []

    def remember(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        seen.extend(map(len, contexts))
        assert (horizon, seasons) == (24, [24] * len(contexts))
        return zeros(contexts, horizon, levels, seasons)

    measure(remember, replace(task, context=context), "validation")
    assert sorted(set(seen)) == lengths


def test_a_shorter_context_does_not_change_the_unit_of_mase(task: Task):
    whole, short = (measure(zeros, replace(task, context=context)) for context in (None, 30))
    assert whole.mase == short.mase


def test_every_window_of_a_stretch_counts_one_step_apart(sliding: Task):
    found = [window for window in all_windows(sliding, "test") if window.series_id == "a"]
    assert len(found) == 60 - 24 + 1
    assert all(len(window.context) == 48 for window in found)
    np.testing.assert_array_equal(found[0].target[1:], found[1].target[:-1])
    np.testing.assert_array_equal(found[1].context[-1], found[0].target[0])


def test_sliding_values_are_in_units_of_the_training_stretch(sliding: Task):
    from tsfm.data.datasets import load_series

    values = load_series(sliding.dataset)[0].values
    first = next(all_windows(sliding, "test"))
    expected = (values[160:184] - values[:120].mean()) / values[:120].std()
    np.testing.assert_allclose(first.target, expected, rtol=1e-12)
    assert first.scale == pytest.approx(seasonal_error(values[:120], 24) / values[:120].std())


def test_sliding_validation_ends_where_the_test_begins(sliding: Task):
    validation = [window for window in all_windows(sliding, "validation") if window.series_id == "a"]
    test = next(all_windows(sliding, "test"))
    assert len(validation) == 40 - 24 + 1
    np.testing.assert_array_equal(validation[-1].target, test.context[-24:])


def test_a_series_too_short_for_its_stretches_is_refused(sliding: Task):
    with pytest.raises(DataError, match=r"240 steps has no 120 \+ 40 \+ 600 steps"):
        measure(zeros, replace(sliding, test=600))


def test_samples_are_spread_and_the_same_every_time():
    windows = [Window(str(i), np.zeros(1), np.zeros(1), 1.0) for i in range(100)]
    first = [window.series_id for window in evenly_spaced(windows, 5)]
    assert first == [window.series_id for window in evenly_spaced(windows, 5)] == ["0", "25", "50", "74", "99"]
    assert len(evenly_spaced(windows, 100)) == len(evenly_spaced(windows, None)) == 100
    with pytest.raises(DataError, match="max_windows is 0"):
        evenly_spaced(windows, 0)


def test_chunks_hold_every_window_once_in_order_and_bound_what_is_held(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tsfm.evaluation.measuring.CHUNK_VALUES", 1000)
    windows = [Window(str(i), np.zeros(size), np.zeros(5), 1.0) for i, size in enumerate([10, 900, 900, 5, 2000, 1])]
    cut = list(chunks(windows))
    assert [window.series_id for chunk in cut for window in chunk] == list("012345")
    for chunk in cut:
        assert len(chunk) == 1 or sum(len(window.context) + 5 * len(ASKED) for window in chunk) <= 1000


def test_how_windows_are_cut_into_chunks_changes_no_digit(task: Task, monkeypatch: pytest.MonkeyPatch):
    once = measure(seasonal_naive_forecaster, task, "validation")
    monkeypatch.setattr("tsfm.evaluation.measuring.CHUNK_WINDOWS", 1)
    found = replace(measure(seasonal_naive_forecaster, task, "validation"), seconds=once.seconds)
    assert repr(found) == repr(once)


@pytest.mark.parametrize("kind", ["task", "sliding"])
def test_the_baseline_reads_two_seasons_where_a_model_is_given_less(kind: str, request: pytest.FixtureRequest):
    asked: Task = request.getfixturevalue(kind)
    whole, short = (measure(zeros, replace(asked, context=context), "validation") for context in (48, 12))
    assert (short.naive_mase, short.naive_crps) == (whole.naive_mase, whole.naive_crps)
    naive = measure(seasonal_naive_forecaster, replace(asked, context=12), "validation")
    assert naive.mase_ratio > 1.0, "the model itself sees too little to repeat a season"


def test_windows_hold_what_a_model_is_given_and_the_history_of_the_baseline(sliding: Task):
    for window in usable_windows(replace(sliding, context=12), "test"):
        assert window.history is not None and (len(window.context), len(window.history)) == (12, 48)
        np.testing.assert_array_equal(window.context, window.history[-12:])
    assert all(window.history is None for window in usable_windows(sliding, "test"))


def test_a_ratio_that_cannot_be_had_is_noted(task: Task):
    found = measure(zeros, replace(task, naive_mase=0.0))
    assert np.isnan(found.mase_ratio) and "no MASE ratio" in found.note


def test_a_task_without_room_for_validation_is_refused(task: Task):
    with pytest.raises(DataError, match="made/H/short: no validation window"):
        measure(zeros, replace(task, windows=9), "validation")


def test_a_forecaster_that_gives_another_shape_is_refused(task: Task):
    with pytest.raises(DataError, match=r"shape \(4, 24, 1\)"):
        measure(lambda contexts, horizon, levels, seasons: [np.zeros((horizon, 1))] * len(contexts), task)


def test_a_forecaster_may_write_into_its_context(task: Task):
    def vandal(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        made = seasonal_naive_forecaster(contexts, horizon, levels, seasons)
        for context in contexts:
            context[:] = 0
        return made

    assert measure(vandal, task, "validation").mase_ratio == 1.0


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_forecast_that_is_not_finite_is_refused(task: Task, value: float):
    with pytest.raises(DataError, match="quantiles are not finite"):
        measure(lambda contexts, horizon, levels, seasons: [np.full((horizon, len(levels)), value)] * 4, task)


def test_quantiles_that_cross_are_told(task: Task):
    def reversed_levels(
        contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]
    ) -> list[Array]:
        return [np.tile(np.arange(len(levels))[::-1], (horizon, 1)).astype(float) for _ in contexts]

    assert "quantiles cross at 96 steps" in measure(reversed_levels, task).note
