"""`evaluation/gpu.py` keeps every row and every failure, goes on where it stopped, and survives a job that does not."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tsfm.evaluation.results import read_csv

Load = Callable[[str], ModuleType]


def test_a_job_that_failed_is_kept_as_a_row_and_tried_again(script: Load, tmp_path: Path) -> None:
    gpu = script("gpu")
    gpu.failure(tmp_path, "scan", "long", "out of memory", {"code": "a"})
    gpu.add_rows(tmp_path, "scan", "short", [{"us": 2.0, "failed": "", "code": "a"}])
    assert gpu.done(tmp_path, "scan", "a") == {"short"}
    gpu.add_rows(tmp_path, "scan", "long", [{"us": 3.0, "failed": "", "code": "a"}])
    assert gpu.done(tmp_path, "scan", "a") == {"short", "long"}
    assert [(row["job"], row["us"], row["error"]) for row in read_csv(tmp_path / "scan.csv")] == [
        ("long", "3", ""),
        ("short", "2", ""),
    ]


def test_what_other_code_measured_is_measured_again(script: Load, tmp_path: Path) -> None:
    gpu = script("gpu")
    gpu.add_rows(tmp_path, "scan", "short", [{"us": 2.0, "code": "a"}])
    assert gpu.done(tmp_path, "scan", "a") == {"short"}
    assert gpu.done(tmp_path, "scan", "b") == set()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("gate", {"passed": False}),
        ("scan", {"passed": False, "us": 2.0}),
        ("layers", {"way": "ours", "error": "wrong by 3"}),
    ],
)
def test_what_is_wrong_is_reported_and_tried_again(script: Load, tmp_path: Path, table: str, row: dict) -> None:
    gpu = script("gpu")
    good = {"passed": True, "way": "dense", "error": "", "code": "a"}
    gpu.add_rows(tmp_path, table, "first", [good, good])
    assert gpu.report(tmp_path) == 0
    gpu.add_rows(tmp_path, table, "second", [good, {**good, **row}])
    assert gpu.report(tmp_path) == 1
    assert gpu.done(tmp_path, table, "a") == {"first"}


def test_another_way_that_fails_does_not_cost_the_layer(script: Load, tmp_path: Path) -> None:
    gpu = script("gpu")
    gpu.add_rows(tmp_path, "layers", "first", [{"way": "loop", "error": "out of memory", "code": "a"}])
    assert gpu.report(tmp_path) == 0 and gpu.done(tmp_path, "layers", "a") == {"first"}


def test_a_worker_that_hangs_is_stopped_and_its_job_told(
    script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "LONGEST", 0.5)

    def ends(then: str, since: float) -> tuple[int | None, str]:
        job = json.dumps({"table": "scan", "name": "long", "since": since})
        begin = f"import pathlib, time; pathlib.Path({str(tmp_path / '.running.json')!r}).write_text({job!r})"
        status, found = gpu.watched([sys.executable, "-c", f"{begin}; {then}"], tmp_path, time.time() + 60)
        return status, found["name"]

    assert ends("time.sleep(60)", since=time.time()) == (None, "long")
    assert ends("raise SystemExit(7)", since=time.time() + 60) == (7, "long")


def test_a_worker_that_hangs_before_its_first_job_or_after_the_time_is_up_is_stopped(
    script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, sleep = script("gpu"), [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(gpu, "START", 0.5)
    assert gpu.watched(sleep, tmp_path, time.time() + 60) == (None, {})
    monkeypatch.undo()
    assert gpu.watched(sleep, tmp_path, time.time() - gpu.GRACE + 0.5) == (None, {})


@pytest.mark.slow
def test_the_whole_command_runs_interpreted_and_again_does_nothing(checkout: Path, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton: pip install 'tsfm-forecast[triton]'")
    command = [sys.executable, "evaluation/gpu.py", "--device", "cpu", "--dry", "--out", str(tmp_path)]
    first = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    tables = {path.stem: read_csv(path) for path in tmp_path.glob("*.csv")}
    assert set(tables) == {"gate", "layers", "kernels", "scan", "training", "forecast", "tiles"}
    assert all(row["error"] == "" for rows in tables.values() for row in rows)
    assert all(row["passed"] == "True" for row in tables["gate"])
    again = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert again.returncode == 0 and " s  " not in again.stdout
