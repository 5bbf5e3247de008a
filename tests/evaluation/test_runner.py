"""A run over a suite keeps every row, does nothing twice, and gives the same numbers however it is cut."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsfm
from tsfm.errors import DataError, TsfmError, UnknownName
from tsfm.evaluation.contenders import Contender
from tsfm.evaluation.metrics import Array
from tsfm.evaluation.results import read_csv
from tsfm.evaluation.runner import evaluate, keep
from tsfm.evaluation.scoreboard import COLUMNS, as_measured, as_stored

SUITE = """
[[task]]
name = "airports/short"
dataset = "airport_departures"
term = "short"
horizon = 24
season = 24
windows = 2

[[task]]
name = "airports/long"
dataset = "airport_departures"
term = "long"
horizon = 48
season = 24
windows = 1
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "airports.toml"
    path.write_text(SUITE)
    return str(path)


class Counting:
    """A forecaster of the last value that counts its calls, and fails where it is told to."""

    __name__ = "counting"

    def __init__(self, fails_at: int = 0):
        self.calls, self.fails_at = 0, fails_at

    def __call__(self, contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        self.calls += 1
        if horizon == self.fails_at:
            raise RuntimeError("out of luck")
        return [np.full((horizon, len(levels)), context[-1]) for context in contexts]


def test_a_row_has_every_column_and_what_made_it(suite: str):
    board = evaluate("seasonal-naive", suite)
    assert [row["task"] for row in board.rows] == ["airports/short", "airports/long"]
    row = board.rows[0]
    assert tuple(row) == COLUMNS
    assert (row["suite"], row["model"], row["windows"], row["series"]) == ("airports", "seasonal-naive", 6, 3)
    assert row["mase_ratio"] == pytest.approx(1.0)
    assert row["leak"] == "no"
    filled = ("domain", "frequency", "data_sha256", "command", "commit", "hardware", "versions", "licence", "split")
    assert all(row[name] for name in filled)


def test_rows_survive_the_file(suite: str, tmp_path: Path):
    board = evaluate("seasonal-naive", suite, out=tmp_path)
    stored = read_csv(tmp_path / "airports_seasonal-naive.csv")
    assert stored == [as_stored(row) for row in board.rows]
    for row, text in zip(board.rows, stored, strict=True):
        for name, value in as_measured(text).items():
            if isinstance(value, float):
                assert value == pytest.approx(row[name], rel=1e-5, nan_ok=True)
            else:
                assert (value or None) == (row[name] or None)


def named(model: Counting) -> Contender:
    return Contender("counting", model, 0, "Apache-2.0")


def test_what_was_measured_is_not_measured_again(suite: str, tmp_path: Path):
    model = Counting()
    first = evaluate(named(model), suite, tasks=["airports/long"], out=tmp_path)
    assert model.calls == 1
    both = evaluate(named(model), suite, out=tmp_path)
    assert model.calls == 2
    assert [row["task"] for row in both.rows] == ["airports/short", "airports/long"]
    assert as_stored(both.rows[1]) == as_stored(first.rows[0])
    evaluate(named(model), suite, out=tmp_path, fresh=True)
    assert model.calls == 4


def test_a_function_is_measured_anew_since_nobody_knows_whether_it_changed(suite: str, tmp_path: Path):
    model = Counting()
    for _ in range(2):
        evaluate(model, suite, out=tmp_path)
    assert model.calls == 4


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_windows": 2}, {"context": 100}], ids=str)
def test_another_question_is_measured_anew(suite: str, tmp_path: Path, change: dict[str, int]):
    model = Counting()
    evaluate(named(model), suite, out=tmp_path)
    evaluate(named(model), suite, out=tmp_path, **change)
    assert model.calls == 4


def test_a_task_that_changed_under_its_name_is_measured_anew(suite: str, tmp_path: Path):
    model = Counting()
    evaluate(named(model), suite, out=tmp_path)
    Path(suite).write_text(SUITE.replace("season = 24", "season = 1", 1))
    evaluate(named(model), suite, out=tmp_path)
    assert model.calls == 3


def test_a_sample_or_another_context_has_a_file_of_its_own(suite: str, tmp_path: Path):
    evaluate("naive", suite, out=tmp_path)
    evaluate("naive", suite, out=tmp_path, max_windows=2, context=100)
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "airports-context100-sample2_naive.csv",
        "airports_naive.csv",
    ]


def test_a_failing_task_loses_nobody_elses_row_and_is_tried_again(suite: str, tmp_path: Path):
    board = evaluate(named(Counting(fails_at=24)), suite, out=tmp_path)
    assert board.failures() == {"airports/short": "RuntimeError: out of luck"}
    assert board.rows[1]["windows"] == 3
    assert "1 of 2 tasks" in str(board.summary()) and "out of luck" in repr(board)
    healed = Counting()
    assert evaluate(named(healed), suite, out=tmp_path).failures() == {}
    assert healed.calls == 1


def test_a_failure_does_not_cost_a_row_that_was_measured(suite: str, tmp_path: Path):
    evaluate(Counting(), suite, out=tmp_path)
    before = read_csv(tmp_path / "airports_counting.csv")
    assert evaluate(Counting(fails_at=24), suite, out=tmp_path).failures()
    assert read_csv(tmp_path / "airports_counting.csv")[0] == before[0]


def test_a_suite_of_ones_own_is_not_called_like_one_of_the_package(tmp_path: Path):
    (tmp_path / "quick.toml").write_text(SUITE)
    with pytest.raises(DataError, match="give the file another name"):
        evaluate("naive", str(tmp_path / "quick.toml"))


def test_a_csv_of_another_kind_is_left_alone(suite: str, tmp_path: Path):
    (tmp_path / "airports_naive.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="holds no rows of this kind"):
        evaluate("naive", suite, out=tmp_path)


def test_a_set_that_is_not_at_hand_leaves_a_row_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TSFM_OFFLINE", "1")
    monkeypatch.setenv("TSFM_DATA", str(tmp_path))
    monkeypatch.setenv("TSFM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "absent.toml"
    path.write_text(SUITE.replace("airport_departures", "m4_hourly", 1))
    board = evaluate("naive", str(path))
    assert list(board.failures()) == ["airports/short"]
    assert "m4_hourly" in board.failures()["airports/short"]
    assert board.rows[1]["windows"] == 3


def test_the_batch_size_changes_nothing_beyond_rounding(suite: str):
    whole, one = (evaluate("moe-decoder-tiny", suite, max_windows=5, batch_size=size) for size in (None, 1))
    for left, right in zip(whole.rows, one.rows, strict=True):
        for name in ("mase", "crps", "mse", "msis", "coverage80"):
            assert left[name] == pytest.approx(right[name], rel=1e-4), name


def test_all_is_public_and_shows_as_a_table(suite: str):
    board = tsfm.evaluate(Counting(), suite)
    assert "airports/short" in repr(board).splitlines()[1]
    assert board._repr_html_().count("<tr>") == 3
    assert board.to_frame().shape == (2, len(COLUMNS))
    assert board.summary("long").tasks == 1


def test_what_is_no_suite_task_or_model_is_refused(suite: str, tmp_path: Path):
    with pytest.raises(UnknownName, match=r"no suite 'slow'.*quick"):
        evaluate("naive", "slow")
    with pytest.raises(UnknownName, match=r"no task or data set trains"):
        evaluate("naive", suite, tasks=["trains"])
    with pytest.raises(DataError, match="is no model"):
        evaluate(3, suite)
    for wrong in ({"split": "train"}, {"context": 0}, {"max_windows": 0}):
        with pytest.raises(TsfmError, match=f"{next(iter(wrong))}=.*give"):
            evaluate("naive", suite, **wrong)


def test_a_series_too_short_for_a_task_is_named_with_what_is_needed(suite: str, tmp_path: Path):
    days = "".join(
        f"{name},2024-01-{day:02d},{day % 7}\n" for name, end in (("a", 31), ("b", 20)) for day in range(1, end)
    )
    (tmp_path / "sales.csv").write_text(f"shop,day,sales\n{days}")
    Path(suite).write_text(SUITE.replace("airport_departures", "sales.csv", 1))
    said = evaluate("naive", suite).failures()["airports/short"]
    assert "2 of 2 series are too short, first 'a' with 30 steps" in said and "take 49" in said and "leave such" in said


def test_a_relative_path_starts_from_the_suite_and_rows_say_it_as_it_was_written(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hours = "".join(f"{stamp},{stamp.hour}\n" for stamp in pd.date_range("2024-01-01", periods=100, freq="h"))
    (tmp_path / "hours.csv").write_text(f"hour,y\n{hours}")
    Path(suite).write_text(SUITE.replace("airport_departures", "hours.csv", 1))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    row = evaluate("naive", suite, tasks=["hours.csv"]).rows[0]
    assert (row["error"], row["dataset"], row["windows"]) == (None, "hours.csv", 2)


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_forecast(suite: str, tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    model = Counting()
    with pytest.raises(DataError, match=r"nothing can be written into the folder .*taken.*name another as out"):
        evaluate(model, suite, out=tmp_path / "taken")
    assert model.calls == 0


def test_runs_side_by_side_keep_each_others_rows(suite: str, tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "rows.csv"
    names = [f"task {number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: keep(path, {"task": name, "error": None}, names, False), names))
    assert [row["task"] for row in read_csv(path)] == names
