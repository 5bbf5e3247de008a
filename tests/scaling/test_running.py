"""A study goes on past a run that fails, shares its runs among processes, and asks kept weights anew."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tsfm.errors import DataError
from tsfm.scaling.corpus import CorpusConfig, make_corpus
from tsfm.scaling.plan import Group, Plan, Study
from tsfm.scaling.study import alone, measure_again, run_study, weights_path

CONFIG = CorpusConfig(windows=128, context=128, patch=16, shard=64, exam=32, real_share=0.0)
PLAN = Plan("test", "w16", width=16, depth=1, heads=2, batch=64, milestones=(8192,))
HOLD = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), CONFIG, report=lambda line: None)


def study_of(*plans, reference=""):
    return Study("own", CONFIG, (Group("test", "p", list(plans)),), reference)


def test_a_run_that_fails_is_reported_and_those_after_it_are_run(corpus, tmp_path):
    choosy = replace(PLAN, keep="random", share=0.99)
    broken = replace(PLAN, size="odd", heads=3)
    told, rows = [], []
    with pytest.raises(DataError, match=f"{choosy.name}, {broken.name}; the lines above say why"):
        for row in run_study(study_of(choosy, broken, PLAN), corpus, tmp_path, report=told.append):
            rows.append(row["run"])
    assert rows == [PLAN.name]
    failures = [line for line in told if " failed: " in line]
    assert failures[0].startswith(f"run {choosy.name} failed: run {choosy.name}: 127 of 128 windows are to be kept")
    assert f"run {broken.name} failed: " in failures[1]
    assert ".py, line " in failures[1]


def test_two_processes_do_not_train_one_run_and_a_dead_one_holds_nothing(corpus, tmp_path):
    pytest.importorskip("fcntl", reason="without it nothing can lock")
    folder = tmp_path / PLAN.name
    folder.mkdir()
    other = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    told = []
    try:
        other.stdout.readline()
        assert not list(run_study(study_of(PLAN), corpus, tmp_path, report=told.append))
        assert told == [f"run {PLAN.name}: another process trains it; skipped"]
    finally:
        other.kill()
        other.communicate()
    assert len(list(run_study(study_of(PLAN), corpus, tmp_path, report=told.append))) == 1
    with alone(folder) as free:
        assert free


def test_rows_that_another_process_adds_are_not_made_again(corpus, tmp_path):
    later = replace(PLAN, seed=1)
    done = []
    rows = []
    for row in run_study(study_of(PLAN, later), corpus, tmp_path, done=lambda: done, report=lambda line: None):
        rows.append(row["run"])
        done.append((later.name, 8192))
    assert rows == [PLAN.name]


def test_a_reference_without_weights_is_trained_again_though_it_has_rows(corpus, tmp_path):
    hard = replace(PLAN, keep="hardest", share=0.25, difficulty="reference")
    study = study_of(hard, PLAN, reference=PLAN.name)
    done = [(PLAN.name, 8192)]
    rows = list(run_study(study, corpus, tmp_path, done=lambda: done, plans=[hard], report=lambda line: None))
    assert [row["run"] for row in rows] == [PLAN.name, hard.name]
    assert rows[1]["unique"] == 32 * 128
    again = list(run_study(study, corpus, tmp_path, done=lambda: done, report=lambda line: None))
    assert [row["run"] for row in again] == [hard.name]
    assert again[0]["id_loss"] == rows[1]["id_loss"]
    nothing = [*done, (hard.name, 8192)]
    weights_path(tmp_path, PLAN.name, 8192).unlink()
    assert not list(run_study(study, corpus, tmp_path, done=lambda: nothing, report=lambda line: None))


def test_kept_weights_are_measured_as_their_rows_were(corpus, tmp_path):
    plans = [PLAN, replace(PLAN, kind="encoder", experts=4, top_k=1)]
    rows = list(run_study(study_of(*plans), corpus, tmp_path, report=lambda line: None))
    again = {row["run"]: row for row in measure_again(corpus, tmp_path)}
    assert len(again) == 2
    for row in rows:
        measured = again[row["run"]]
        for name in ("id_loss", "id_loss_near", "id_loss_synthetic"):
            assert measured[name] == row[name]
        assert measured["id_loss"] > 0
    with pytest.raises(DataError, match="keeps no weights"):
        next(measure_again(corpus, tmp_path / "empty"))
