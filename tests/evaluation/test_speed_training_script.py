"""`evaluation/speed_training.py` changes one thing a row, and measures each in a process of its own."""

import json
import subprocess
from dataclasses import astuple
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from tsfm.evaluation.results import read_csv


def test_every_stage_differs_from_the_one_before_in_one_thing(script):
    stages = [astuple(stage)[1:] for stage in script("speed_training").STAGES]
    for before, after in pairwise(stages):
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
        assert after.count(True) == before.count(True) + 1


def test_rows_are_medians_over_rounds_of_processes_of_their_own(script, tmp_path, monkeypatch, capsys):
    module, asked = script("speed_training"), []

    def ran(told, **options):
        asked.append(int(told[told.index("--stage") + 1]))
        return SimpleNamespace(stdout=json.dumps(1000.0 * (asked[-1] + 1) + len(asked)))

    monkeypatch.setattr(module, "origin", lambda: {"commit": "c"})  # it asks git, in a process too
    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.setattr("sys.argv", ["x", "--rounds", "3", "--out", str(tmp_path / "rows.csv")])
    assert module.main() == 0
    count = len(module.STAGES)
    assert asked == [*range(count)] * 3
    rows = read_csv(tmp_path / "rows.csv")
    assert [row["change"] for row in rows] == [stage.what for stage in module.STAGES]
    assert float(rows[1]["tokens_per_second"]) == 2000 + count + 2
    assert float(rows[-1]["times_the_first"]) == pytest.approx(
        (1000 * count + 2 * count) / (1000 + count + 1), rel=1e-4
    )


@pytest.mark.slow
def test_a_stage_trains_and_counts_tokens(script, monkeypatch):
    module = script("speed_training")
    monkeypatch.setattr(module, "WARM", 0)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: True)  # it would stay with the tests
    before = torch.get_num_threads()
    try:
        assert 100 < module.tokens_per_second(module.STAGES[2], "nano", 1) < 1e6
    finally:
        torch.set_num_threads(before)
