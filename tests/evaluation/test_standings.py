"""Standings are what they say: geometric means over shared tasks, shared ranks, intervals by data set."""

import numpy as np
import pytest

from evaluation.rows import Model, Score, Suite, Task
from evaluation.standings import compare, draws, duels, interval, logs, ranks, slices, standings, win_rates
from tsfm.evaluation.metrics import FLOOR

TASKS = tuple(
    Task(f"{group}/{frequency}", group, "odd" if group in "ac" else "even", frequency, "short")
    for group in "abcde"
    for frequency in ("hour", "day")
)


def model(
    name: str, ratio: float | None = None, seed: int = 0, tasks: tuple[Task, ...] = TASKS, naive: float = 2.0
) -> Model:
    """A model whose errors are `ratio` of the baseline's, or drawn where it is None."""
    rng = np.random.default_rng(seed)
    drawn = {task.name: rng.uniform(0.3, 1.3, 2) if ratio is None else (ratio, ratio) for task in tasks}
    scores = {task: Score(mase * naive, crps * naive, naive, naive) for task, (mase, crps) in drawn.items()}
    return Model(name, True, None, "", "no", scores)


def suite(*models: Model) -> Suite:
    return Suite("made", TASKS, models)


def test_skill_is_one_minus_the_geometric_mean_of_the_ratios():
    mixed = Model(
        "mixed", True, None, "", "no", {t.name: Score(1, r, 1, 1) for t, r in zip(TASKS, [0.25, 1] * 5, strict=True)}
    )
    line = standings([mixed, model("naive", 1.0)], TASKS)[0]
    assert line.skill["crps"] == pytest.approx(0.5) and line.skill["mase"] == pytest.approx(0)


def test_the_unit_of_an_error_changes_nothing():
    small, large = model("m", seed=1, naive=1e-3), model("m", seed=1, naive=1e6)
    assert standings([small], TASKS)[0].skill == pytest.approx(standings([large], TASKS)[0].skill)


def test_standings_do_not_depend_on_the_order_of_the_models():
    models = [model(name, seed=seed) for seed, name in enumerate("pqr")]
    forward, backward = standings(models, TASKS), standings(models[::-1], TASKS)
    assert [line.model.name for line in forward] == [line.model.name for line in backward]
    assert [line.rank for line in forward] == [line.rank for line in backward]


def test_ties_share_the_mean_of_their_places():
    assert ranks(np.array([[0.5, 0.2, 0.5, 0.9]])).tolist() == [[2.5, 1.0, 2.5, 4.0]]


def test_wins_and_losses_of_a_pair_add_up_to_one():
    table = np.random.default_rng(3).integers(1, 4, (12, 5)).astype(float)
    wins = win_rates(table)
    np.testing.assert_allclose(wins + wins.T, 1)
    np.testing.assert_allclose((wins.sum(axis=1) - 0.5) / 4, (5 - ranks(table).mean(axis=0)) / 4)


def test_a_data_set_of_many_configurations_is_no_more_certain():
    table = logs(np.random.default_rng(0).uniform(0.2, 1, (5, 3)))
    np.testing.assert_allclose(
        interval(table, list("abcde")), interval(np.repeat(table, 4, axis=0), [c for c in "abcde" for _ in range(4)])
    )


def test_the_interval_holds_the_mean_and_is_the_same_every_time():
    lines = [standings([model("m", seed=4)], TASKS)[0] for _ in range(2)]
    assert lines[0].low["crps"] < lines[0].skill["crps"] < lines[0].high["crps"]
    assert lines[0] == lines[1]


def test_two_data_sets_make_no_interval():
    line = standings([model("m", seed=4)], TASKS[:4])[0]
    assert np.isnan(line.low["crps"]) and np.isfinite(line.skill["crps"])


def test_every_data_set_is_drawn_about_as_often_and_independently():
    drawn = draws(1000, 10)
    assert drawn.min() == 0 and drawn.max() == 9
    assert np.abs(np.bincount(drawn.ravel(), minlength=10) / 1e4 - 0.1).max() < 0.012
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(10, 1)]).max() < 0.12


def test_an_error_of_zero_counts_as_the_floor_and_not_as_perfection():
    scores = {task.name: Score(1, 0 if at == 0 else 1, 1, 1) for at, task in enumerate(TASKS)}
    line = standings([Model("lucky", True, None, "", "no", scores)], TASKS)[0]
    assert line.skill["crps"] == pytest.approx(1 - FLOOR ** (1 / len(TASKS)))


def test_a_task_without_a_baseline_is_left_out_for_everybody_and_named():
    broken = model("broken", 0.5)
    scores = dict(broken.scores) | {TASKS[0].name: Score(1, 1, 0, 0)}
    found = compare(suite(model("whole", 0.7), Model("broken", True, None, "", "no", scores)))
    assert len(found.tasks) == len(TASKS) - 1
    assert found.dropped == ((TASKS[0].name, ["broken"]),) and not found.left_out


def test_a_missing_value_is_not_a_value():
    scores = dict(model("m", 0.5).scores) | {TASKS[2].name: Score(float("nan"), 0.1, 1, 1)}
    found = compare(suite(model("whole", 0.7), Model("gap", True, None, "", "no", scores)))
    assert [name for name, _ in found.dropped] == [TASKS[2].name]


def test_a_model_with_few_tasks_is_left_out_and_named_rather_than_narrowing_the_table():
    found = compare(suite(model("whole", 0.7), model("part", 0.5, tasks=TASKS[:3])))
    assert [one.name for one in found.models] == ["whole"] and len(found.tasks) == len(TASKS)
    assert found.left_out == (("part", [task.name for task in TASKS[3:]]),)


def test_models_asked_for_by_name_are_compared_on_what_they_share():
    found = compare(suite(model("whole", 0.7), model("part", 0.5, tasks=TASKS[:3])), complete=0.0)
    assert len(found.models) == 2 and found.tasks == TASKS[:3]


def test_slices_are_standings_of_their_tasks_alone_and_in_the_order_of_length():
    models = [model("p", seed=1), model("q", seed=2)]
    parts = slices(models, TASKS, "frequency")
    assert list(parts) == ["hour", "day"]
    assert parts["day"] == standings(models, [task for task in TASKS if task.frequency == "day"])


def test_a_duel_is_paired():
    mine, same, worse = model("mine", seed=6), model("same", seed=6), model("worse", seed=6, naive=2.0)
    worse = Model(
        "worse", True, None, "", "no", {t: Score(s.mase, s.crps * 1.1, 2, 2) for t, s in worse.scores.items()}
    )
    first, second = duels([mine, same, worse], TASKS, mine)
    assert first[1:] == (1, 1, 1)
    np.testing.assert_allclose(second[1:], 1 / 1.1)


def test_nothing_to_compare_makes_an_empty_table():
    assert standings([], TASKS) == [] and standings([model("m", 0.5)], []) == []
    assert compare(Suite("made", TASKS, ())).models == ()
