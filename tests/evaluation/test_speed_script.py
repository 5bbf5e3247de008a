"""`evaluation/speed.py` times what it says it times and refuses a busy machine."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tsfm.errors import TsfmError
from tsfm.evaluation.results import read_csv

Load = Callable[[str], ModuleType]


class Slow:
    def predict(self, seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    predict_both_signs = predict


def test_time_inside_predict_is_counted_and_the_model_left_as_it_was(script: Load) -> None:
    model = Slow()
    with script("speed").predictions_timed(model) as watch:
        assert [model.predict(0.02), model.predict_both_signs(0.01)] == ["done", "done"]
    assert len(watch.seconds) == 2 and 0.03 <= sum(watch.seconds) < 1
    assert not vars(model)


def test_a_busy_machine_is_refused(
    script: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1.5, 1.0, 1.0))
    monkeypatch.setattr("sys.argv", ["speed.py"])
    assert script("speed").main() == 1
    assert "load average is 1.50" in capsys.readouterr().out


def test_a_row_is_added_to_the_results(script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "speed.csv"
    options = ["--model", "seasonal-naive", "--series", "6", "--context", "64", "--horizon", "8", "--repeats", "2"]
    options += ["--cold-repeats", "0", "--data", "walks", "--force", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["speed.py", *options])
    assert [script("speed").main() for _ in range(2)] == [0, 0]
    rows = read_csv(out)
    assert len(rows) == 2
    assert float(rows[1]["series_per_second"]) > 0 and 0 < float(rows[1]["share_outside_model"]) < 1
    assert 20 < float(rows[1]["peak_rss_mb"]) < 100_000


def test_a_failing_process_is_reported_with_its_last_line(script: Load) -> None:
    with pytest.raises(TsfmError, match="ZeroDivisionError"):
        script("speed").new_process("1 / 0")


@pytest.mark.data
def test_slices_of_the_hourly_sets_are_whole_and_distinct(
    script: Load, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    monkeypatch.setenv("TSFM_DATA", str(data_folder))
    slices = script("speed").hourly_slices(1000, 512)
    assert {len(values) for values in slices} == {512}
    assert len({np.nan_to_num(values).tobytes() for values in slices}) > 990
