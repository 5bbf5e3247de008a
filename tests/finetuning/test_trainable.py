"""What every trainable forecaster of the registry keeps, so that fine-tuning works on it: a newcomer is tested here."""

import copy

import numpy as np
import pytest
import torch
from every_forecaster import forecaster_named, forecaster_names
from finetuning.small import panel

from tsfm.batch import Batch
from tsfm.errors import DataError, UnknownName
from tsfm.finetuning.course import Plan, Tuning
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.methods import METHODS, RATES, adapter_for, check_trainable, methods_of
from tsfm.finetuning.split import split
from tsfm.loading import load

TRAINABLE = [name for name in forecaster_names() if hasattr(forecaster_named(name).model, "loss")]


@pytest.fixture(params=TRAINABLE)
def base(request):
    return forecaster_named(request.param)


@pytest.fixture
def model(base):
    return copy.deepcopy(base.model).requires_grad_(True)


@pytest.fixture
def lesson(base):
    data = panel(3, 400)
    parts = split(data, 20, 2, None, None, 0)
    return Drawing(data, parts, getattr(base.model, "patch", 1), base.model.max_context, 0).draw(0, base.device)


def test_there_is_something_to_test():
    assert TRAINABLE


def test_the_loss_is_finite_and_reaches_the_head(model, lesson):
    loss = model.loss(lesson.batch, lesson.target, lesson.counted)
    assert loss.shape == () and torch.isfinite(loss)
    loss.backward()
    named = dict(model.named_parameters())
    assert any(named[name].grad is not None and named[name].grad.abs().sum() > 0 for name in named)


def test_what_is_not_counted_has_no_part_in_the_loss(model, lesson):
    counted = lesson.counted.clone()
    counted[:, ::3] = False
    wild = torch.where(counted, lesson.target, 1e6)
    with torch.no_grad():
        assert model.loss(lesson.batch, wild, counted) == model.loss(
            lesson.batch, torch.where(counted, lesson.target, 0.0), counted
        )


def test_the_loss_does_not_depend_on_the_scale_of_the_series(model, lesson):
    batch = Batch(lesson.batch.values * 0.25, lesson.batch.observed, lesson.batch.season)
    with torch.no_grad():
        torch.testing.assert_close(
            model.loss(batch, lesson.target * 0.25, lesson.counted),
            model.loss(lesson.batch, lesson.target, lesson.counted),
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_few_steps_on_one_lesson_lower_its_loss(model, lesson):
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES["full"])
    losses = []
    for _ in range(6):
        loss = model.loss(lesson.batch, lesson.target, lesson.counted)
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]


def test_quantiles_with_a_gradient_are_those_of_predict(base, model, lesson):
    found = model.quantiles(lesson.batch, 20)
    torch.testing.assert_close(found.detach(), model.predict(lesson.batch, 20, base.model.levels), rtol=1e-3, atol=1e-4)
    values = lesson.batch.values.clone().requires_grad_()
    model.quantiles(Batch(values, lesson.batch.observed, lesson.batch.season), 20).sum().backward()
    assert torch.isfinite(values.grad).all() and values.grad.abs().sum() > 0


def test_methods_are_known_and_full_is_one(base):
    assert set(methods_of(base.model)) <= set(METHODS)
    assert {"full", "head"} <= set(methods_of(base.model))


def test_every_method_gives_a_plan_that_runs_and_forecasts(base, lesson):
    data = panel(3, 200)
    parts = split(data, 8, 1, None, None, 0)
    drawing = Drawing(data, parts, getattr(base.model, "patch", 1), base.model.max_context, 0)
    for method in methods_of(base.model):
        plan = Plan(method, adapter_for(method, base.model, lesson), RATES[method], 2, 0)
        tuning = Tuning(base, data, drawing, parts.stopping, plan)
        tuning.run(float("inf"), lambda line: None, None, lambda step: None)
        made = tuning.forecaster().predict_arrays(parts.report.contexts, 8)
        assert np.isfinite(made).all(), method


def test_experts_that_are_chosen_take_half_of_the_tokens_and_the_same_ones_of_both_stacks(base, lesson):
    if "experts" not in methods_of(base.model):
        pytest.skip("has no experts")
    rows = dict(adapter_for("experts", base.model, lesson).rows)
    assert all(rows[name] == rows[name.replace("down", "up")] for name in rows if name.endswith("down"))
    stacks = dict(base.model.named_parameters())
    assert all(0 < len(chosen) < stacks[name].shape[0] for name, chosen in rows.items())


def test_a_method_that_a_model_has_no_parts_for_is_refused_by_name(base, lesson):
    with pytest.raises(UnknownName, match="there are auto, full"):
        adapter_for("distil", base.model, lesson)


def test_a_model_without_weights_is_refused():
    with pytest.raises(DataError, match="cannot be fine-tuned"):
        check_trainable(load("seasonal-naive").model, "seasonal-naive")
