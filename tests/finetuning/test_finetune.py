"""`tsfm.finetune` as a person meets it: safe, honest, resumable, and the same numbers after saving."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finetuning.small import frame, small_base

import tsfm
from tsfm.errors import DataError, UnknownName
from tsfm.finetuning import run as runs
from tsfm.finetuning.finetune import budget

HORIZON = 8


@pytest.fixture
def short(monkeypatch):
    """Courses of few steps."""
    monkeypatch.setattr(runs, "MOST_STEPS", 40)


@pytest.fixture(scope="module")
def learned():
    """A run in which a model that knows nothing learns a sine."""
    before, runs.MOST_STEPS = runs.MOST_STEPS, 60
    try:
        return tsfm.finetune(frame(4, 200), HORIZON, small_base(), "full", 600, windows=2)
    finally:
        runs.MOST_STEPS = before


def test_what_learns_is_kept_and_the_report_says_by_how_much(learned):
    assert learned.winner in ("full", "seasonal-naive")
    table = learned.table
    assert table.loc["full", "selection"] < table.loc["zero-shot", "selection"]
    assert learned.report["verdict"].startswith(f"Kept: {learned.winner}")
    assert set(table.index) == {"seasonal-naive", "zero-shot", "full"}


def test_the_winner_is_never_worse_than_zero_shot_on_the_selection_windows(learned):
    assert learned.table.loc[learned.winner, "selection"] <= learned.table.loc["zero-shot", "selection"]


def test_the_result_forecasts_as_many_steps_as_it_was_made_for(learned):
    assert learned.forecast(frame(2, 120)).horizon == HORIZON
    assert learned.forecast(frame(2, 120), 3).horizon == 3


def test_a_notebook_a_terminal_and_a_page_say_the_same_verdict(learned, tmp_path):
    learned.save(tmp_path / "model")
    verdict = learned.report["verdict"]
    assert verdict in repr(learned)
    assert verdict.replace("'", "&#x27;") in learned._repr_html_()
    page = (tmp_path / "model" / "report.md").read_text()
    assert verdict in page and "(report.png)" in page
    assert json.loads((tmp_path / "model" / "report.json").read_text()) == learned.report
    assert (tmp_path / "model" / "report.png").stat().st_size > 10_000


def test_the_picture_has_a_panel_for_the_courses_and_one_for_each_series_shown(learned):
    assert len(learned.plot().axes) == 2 + len(learned.pictures) == 6


@pytest.mark.parametrize("method", ["full", "lora", "adapters"])
def test_saved_pickled_and_loaded_elsewhere_it_forecasts_the_same(method, tmp_path, short, monkeypatch):
    monkeypatch.setattr(runs, "guard", lambda *given: runs.Verdict(method, {}))
    made = tsfm.finetune(frame(3, 160), HORIZON, small_base(), method, 600, tmp_path / "model", windows=1)
    data = frame(2, 100, seed=5)
    wanted = made.forecast(data).quantile_array(0.9)
    np.testing.assert_array_equal(
        tsfm.load(tmp_path / "model", precision="fp32").forecast(data, HORIZON).quantile_array(0.9), wanted
    )
    again = pickle.loads(pickle.dumps(made.forecaster))
    np.testing.assert_array_equal(again.forecast(data, HORIZON).quantile_array(0.9), wanted)
    data.to_csv(tmp_path / "data.csv", index=False)
    code = (
        "import sys, tsfm, numpy as np\n"
        f"made = tsfm.load(sys.argv[1], precision='fp32').forecast(sys.argv[2], {HORIZON})\n"
        "np.save(sys.argv[3], made.quantile_array(0.9))\n"
    )
    arguments = [str(tmp_path / name) for name in ("model", "data.csv", "found.npy")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), wanted, rtol=1e-12)


def test_a_killed_run_is_continued_by_the_same_call(tmp_path):
    script = Path(__file__).with_name("run_to_be_killed.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, str(script), str(tmp_path / "model")], env=environment)
    state = tmp_path / "model.partial" / "full.safetensors"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert state.exists() and not (tmp_path / "model").exists()
    looks = tsfm_state(state)
    subprocess.run([sys.executable, str(script), str(tmp_path / "model")], env=environment, check=True)
    report = json.loads((tmp_path / "model" / "report.json").read_text())
    assert any("continued" in note for note in report["notes"])
    assert report["courses"]["full"]["looks"][: len(looks)] == looks
    assert not (tmp_path / "model.partial").exists()


def tsfm_state(path):
    """The looks in a course's state file."""
    from tsfm.training.checkpoint import load_state

    looks = json.loads(load_state(path)[1]["course"])["looks"]
    return json.loads(json.dumps(looks).replace("NaN", "null"))


def test_an_unfinished_run_of_other_data_is_not_mistaken_for_this_one(tmp_path, short):
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "settings.json").write_text('{"data": "of somebody else"}')
    (tmp_path / "model.partial" / "full.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"unfinished run with another .*data.*delete the folder"):
        tsfm.finetune(frame(3, 160), HORIZON, small_base(), "head", 600, tmp_path / "model")


def test_a_folder_of_something_else_is_refused_before_any_work(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no model"):
        tsfm.finetune(frame(3, 160), HORIZON, small_base(), "head", 600, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupt_keeps_the_best_so_far_and_still_reports():
    def interrupt(line):
        if "step 20" in line:
            raise KeyboardInterrupt

    found = tsfm.finetune(frame(4, 200), HORIZON, small_base(), "full", 600, windows=2, progress=interrupt)
    assert any("full was interrupted after 20 steps" in note for note in found.report["notes"])
    assert found.report["courses"]["full"]["best_step"] == 20


def test_one_series_of_a_hundred_points_is_enough(short):
    found = tsfm.finetune(frame(1, 100).y, 12, small_base(), time_budget=600)
    assert found.report["split"]["report"] >= 1
    assert found.forecast(frame(1, 100).y).horizon == 12


def test_a_series_with_nothing_to_train_on_keeps_a_model_and_says_why():
    found = tsfm.finetune([1.0, 2, 1, 3, 1, 2], 28, small_base())
    assert found.winner in ("zero-shot", "seasonal-naive")
    assert any("nothing was trained" in note for note in found.report["notes"])


def test_five_points_are_too_few_in_plain_words():
    with pytest.raises(DataError, match=r"has 4 values; fine-tuning needs at least 5, and 140 to test a horizon of 28"):
        tsfm.finetune([1.0, 2, 1, 3], 28, small_base())


def test_many_series_take_windows_one_step_at_a_time(short):
    generator = np.random.default_rng(0)
    many = {f"s{number}": generator.normal(size=30).cumsum() for number in range(3000)}
    found = tsfm.finetune(many, 4, small_base(), "head", 600, windows=1)
    assert found.report["split"]["report"] <= 2000
    assert found.report["split"]["training_windows"] > 3000


@pytest.mark.parametrize(("text", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("10m", 600), ("1.5 h", 5400)])
def test_a_budget_is_seconds_or_text(text, seconds):
    assert budget(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "0", "10 apples", "nan"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(DataError, match="time_budget"):
        budget(text)


def test_wrong_names_list_the_right_ones():
    with pytest.raises(UnknownName, match="'lora'"):
        tsfm.finetune(frame(), HORIZON, small_base(), "qlora")
    with pytest.raises(DataError, match="cannot be fine-tuned"):
        tsfm.finetune(frame(), HORIZON, "seasonal-naive")
    with pytest.raises(DataError, match="names the columns of the data"):
        tsfm.finetune(frame(), HORIZON, small_base(), future=frame())


def test_a_course_that_falls_apart_leaves_the_base_standing(short, monkeypatch):
    monkeypatch.setitem(runs.RATES, "head", float("inf"))
    found = tsfm.finetune(frame(3, 160), HORIZON, small_base(), "head", 600, windows=2)
    assert found.winner in ("zero-shot", "seasonal-naive")
    assert found.report["courses"]["head"]["best_step"] == 0


def test_a_refused_call_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnknownName):
        tsfm.finetune(frame(), HORIZON, small_base(), "qlora", out=tmp_path / "m")
    with pytest.raises(DataError):
        tsfm.finetune([1.0, 2.0], HORIZON, small_base(), out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_the_context_that_was_judged_is_the_context_that_is_read(short):
    made = tsfm.finetune(frame(3, 160), HORIZON, small_base(), "none", context=32)
    assert made.forecast(frame(1, 160)).provenance.context == 32


def test_a_tuned_model_says_what_it_was_tuned_on(short, tmp_path):
    made = tsfm.finetune(frame(3, 160), HORIZON, small_base(), "head", out=tmp_path / "m", windows=2)
    until = made.forecaster.card["fine_tuned"]["until"]
    assert pd.Timestamp("2024-01-01") < pd.Timestamp(until) < frame(3, 160)["ds"].max()
    said = str(tsfm.load(tmp_path / "m").seen_in_training(frame(2, 100)))
    assert "fine-tuned afterwards on 3 series" in said and until in said
