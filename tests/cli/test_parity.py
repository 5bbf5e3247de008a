"""The self-test of `tsfm doctor` passes on the model that stored the answer and fails on one that answers otherwise."""

import json
from pathlib import Path

import pytest

import tsfm
from tsfm.checkpoints import embedded
from tsfm.cli import doctor, parity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that carries its own answer."""
    tsfm.load("seasonal-naive").save(tmp_path / "model")
    parity.record(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_gives_the_answer_it_stored(folder: Path):
    results = parity.compare(folder)
    assert results and all(one.passed for one in results)


def test_another_answer_fails(folder: Path):
    stored = json.loads((folder / parity.PARITY).read_text())
    stored["quantiles"][3][1] += 1.0
    (folder / parity.PARITY).write_text(json.dumps(stored))
    assert not any(one.passed for one in parity.compare(folder))


def test_an_answer_that_is_not_a_number_fails():
    assert not parity.Parity("model", "float32 on cpu", float("nan"), 1e-3).passed


def test_doctor_leaves_with_1_where_an_answer_differs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    stored = json.loads((folder / parity.PARITY).read_text())
    stored["values"] = [value * 2 + 5 for value in stored["values"]]
    (folder / parity.PARITY).write_text(json.dumps(stored))
    monkeypatch.setattr("tsfm.checkpoints.embedded", lambda: {"model": folder})
    with pytest.raises(doctor.typer.Exit) as stopped:
        doctor.doctor()
    assert stopped.value.exit_code == 1


@pytest.mark.parametrize("name", sorted(embedded()))
def test_an_embedded_model_answers_as_stored(name: str):
    results = parity.compare(embedded()[name])
    assert results, f"store it: python -m tsfm.cli.parity {embedded()[name]}"
    assert all(one.passed for one in results), results
