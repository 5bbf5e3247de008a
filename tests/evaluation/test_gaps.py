"""Gaps name the best small model of others in every part, and how far ours is from it."""

from dataclasses import replace

import pytest

from evaluation.gaps import gaps
from evaluation.rows import Model, Score, Suite, Task
from evaluation.standings import compare
from tsfm.errors import DataError

TASKS = tuple(
    Task(f"{group}/{term}", group, domain, "hour", term)
    for group, domain in (("a", "Energy"), ("b", "Sales"), ("c", "Sales"))
    for term in ("short", "long")
)


def model(name: str, ours: bool, parameters: float | None, **ratio: float) -> Model:
    """A model whose error is `ratio[domain]` of the baseline's."""
    scores = {task.name: Score(ratio[task.domain], 2 * ratio[task.domain], 1.0, 2.0) for task in TASKS}
    return Model(name, ours, parameters, "", "no", scores)


MINE = model("mine", True, 2e6, Energy=0.6, Sales=0.9)
SMALL = model("small", False, 1e6, Energy=0.5, Sales=0.99)
OTHER = model("other", False, 9e6, Energy=0.8, Sales=0.6)
LARGE = model("large", False, 2e8, Energy=0.1, Sales=0.1)
LEAKED = replace(model("leaked", False, 1e6, Energy=0.1, Sales=0.1), leak="yes")
UNKNOWN = model("unknown", False, None, Energy=0.1, Sales=0.1)


def found(*models: Model):
    return compare(Suite("made", TASKS, models), universe=[task.name for task in TASKS])


def test_every_part_has_its_own_best_rival_and_the_widest_gap_is_first():
    every = gaps(found(MINE, SMALL, OTHER, LARGE, LEAKED, UNKNOWN), "mine", "mase")
    domains = [(gap.part, gap.tasks, gap.rival, round(gap.ratio, 6)) for gap in every if gap.by == "domain"]
    assert domains == [("Sales", 4, "other", 1.5), ("Energy", 2, "small", 1.2)]


def test_only_the_worst_configurations_are_named():
    every = gaps(found(MINE, SMALL, OTHER), "mine", "crps", worst=3)
    worst = [gap for gap in every if gap.by == "configuration"]
    assert [gap.part.split("/")[0] for gap in worst] == ["b", "b", "c"]
    assert {gap.rival for gap in worst} == {"other"}


def test_a_smaller_bound_leaves_fewer_rivals():
    every = gaps(found(MINE, SMALL, OTHER), "mine", "mase", most=2e6)
    assert {gap.rival for gap in every} == {"small"}


def test_without_a_rival_or_without_the_model_it_says_so():
    with pytest.raises(DataError, match="no published model of at most 10M"):
        gaps(found(MINE, LARGE), "mine", "mase")
    with pytest.raises(DataError, match="--gaps nobody"):
        gaps(found(MINE, SMALL), "nobody", "mase")
