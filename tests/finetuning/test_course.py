"""A course of fine-tuning learns, stops, can be killed, and gives back the base where nothing helped."""

import numpy as np
import pytest
import torch
from every_forecaster import forecaster_named
from finetuning.small import panel, small_base

from tsfm.conformal import CUTOFFS
from tsfm.errors import DataError
from tsfm.finetuning import course as courses
from tsfm.finetuning.course import Plan, Tuning
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.methods import METHODS, adapter_for
from tsfm.finetuning.scoring import score
from tsfm.finetuning.split import split


def tuning(method="full", steps=40, rate=3e-3, seed=0):
    base, data = small_base(), panel(4, 160)
    parts = split(data, 8, 2, None, None, seed)
    drawing = Drawing(data, parts, base.model.patch, base.model.max_context, seed)
    adapter = adapter_for(method, base.model, drawing.draw(0, base.device))
    return Tuning(base, data, drawing, parts.stopping, Plan(method, adapter, rate, steps, seed))


def run(one, state=None, until=float("inf")):
    one.run(until, lambda line: None, state, lambda step: None)
    return one


def numbers(one):
    return [weight.clone() for weight in one.at(one.course.fraction)], one.course.looks


def test_a_course_learns_what_a_random_model_does_not_know():
    one = run(tuning(steps=80, rate=6e-3))
    first, best = one.course.looks[0].stopping, one.course.best
    assert best < 0.8 * first
    found = score(one.forecaster(), one.panel, one.stopping).mean
    assert found == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_the_base_as_it_was(method):
    one = tuning(method, steps=3)
    before = {name: value.clone() for name, value in one.base.model.state_dict().items()}
    forecast = one.base.predict_arrays(one.stopping.contexts[:2], 8)
    run(one)
    assert all(torch.equal(value, before[name]) for name, value in one.base.model.state_dict().items())
    np.testing.assert_array_equal(one.base.predict_arrays(one.stopping.contexts[:2], 8), forecast)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_changes_forecasts_by_fewer_numbers_than_the_model_has(method):
    one = tuning(method, steps=20, rate=1e-2)
    total = sum(weight.numel() for weight in one.base.model.parameters())
    assert one.course.trained == total if method == "full" else 0 < one.course.trained < total
    for _ in range(20):
        one.train_step()
    made = one.forecaster(one.mean).predict_arrays(one.stopping.contexts[:2], 8)
    assert np.abs(np.array(made) - np.array(one.base.predict_arrays(one.stopping.contexts[:2], 8))).max() > 1e-3


def test_a_killed_course_goes_on_to_the_same_numbers_bit_for_bit(tmp_path):
    whole = run(tuning(steps=60))
    killed = tuning(steps=60)
    killed.look()
    for _ in range(20):
        killed.train_step()
    killed.look()
    killed.save(tmp_path / "state.safetensors")
    for _ in range(7):  # lost with the kill
        killed.train_step()
    resumed = run(tuning(steps=60), tmp_path / "state.safetensors")
    assert [look.stopping for look in resumed.course.looks] == [look.stopping for look in whole.course.looks]
    for one, other in zip(numbers(whole)[0], numbers(resumed)[0], strict=True):
        assert torch.equal(one, other)


def test_a_finished_course_is_not_run_again(tmp_path):
    state = tmp_path / "state.safetensors"
    first = run(tuning(steps=20), state)
    again = run(tuning(steps=20), state)
    assert again.step == first.step and again.course.best == first.course.best
    assert again.course.fraction == first.course.fraction


def test_the_state_of_another_plan_is_refused(tmp_path):
    state = tmp_path / "state.safetensors"
    run(tuning(steps=20), state)
    with pytest.raises(DataError, match="other settings"):
        run(tuning(steps=20, rate=1e-4), state)


def test_a_rate_that_is_too_high_is_lowered_and_never_ends_worse_than_the_base():
    one = run(tuning("head", steps=400, rate=3.0))
    assert one.course.lowered == courses.LOWERINGS
    assert one.course.best <= one.course.looks[0].stopping
    assert score(one.forecaster(), one.panel, one.stopping).mean <= one.course.looks[0].stopping


def test_a_look_at_a_model_of_points_takes_one_forecast_a_window_and_weighs_its_absolute_errors():
    points, data = forecaster_named("time-moe"), panel(3, 160)
    windows = split(data, 8, 2, None, None, 0).stopping
    rows: list[int] = []
    handles = [
        head.register_forward_hook(lambda _, given, made: rows.append(len(made))) for head in points.model.lm_heads
    ]
    found = score(points, data, windows, intervals=False)
    whole = score(points, data, windows)
    for handle in handles:
        handle.remove()
    assert sum(rows) == len(windows.contexts) * (1 + 1 + CUTOFFS)
    errors = np.abs(windows.target - whole.quantiles[..., 4]).mean(1)
    np.testing.assert_allclose(found.loss, errors / windows.scale, rtol=1e-6)


def test_an_interrupt_keeps_the_best_so_far():
    one = tuning(steps=400)

    def interrupt(step):
        if step == 45:
            raise KeyboardInterrupt

    one.run(float("inf"), lambda line: None, None, interrupt)
    assert one.course.ended == "interrupted" and one.step == 45
    assert one.course.best_step == 40
    assert score(one.forecaster(), one.panel, one.stopping).mean < one.course.looks[0].stopping


def test_without_time_the_base_comes_back():
    one = run(tuning(), until=0.0)
    assert one.course.ended == "time" and one.step <= 1
    np.testing.assert_array_equal(
        one.forecaster().predict_arrays(one.stopping.contexts, 8), one.base.predict_arrays(one.stopping.contexts, 8)
    )
