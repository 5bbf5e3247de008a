"""A submission has the columns that the benchmark reads, and never looks whole when it is not."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from made_rows import TASKS, made_row, write_models, write_rows

from evaluation import rows, submission
from evaluation.standings import compare, standings
from tsfm.errors import DataError

ALL = [task.name for task in rows.load("zero_shot", Path("nowhere")).tasks]
LINKS = submission.Details(model_link="https://example.org/weights", code_link="https://example.org/code")
HEADER = (
    "dataset,model,eval_metrics/MSE[mean],eval_metrics/MSE[0.5],eval_metrics/MAE[0.5],eval_metrics/MASE[0.5],"
    "eval_metrics/MAPE[0.5],eval_metrics/sMAPE[0.5],eval_metrics/MSIS,eval_metrics/RMSE[mean],eval_metrics/NRMSE[mean],"
    "eval_metrics/ND[0.5],eval_metrics/mean_weighted_sum_quantile_loss,domain,num_variates"
)


def submit(kind: str, folder: Path, tasks: list[str], details: submission.Details = LINKS, **cells: Any) -> list[str]:
    """Write the submission of a made model into `folder`."""
    write_rows(folder / "results", [made_row("mine", task, **cells) for task in tasks])
    return submission.write(kind, rows.load("zero_shot", folder / "results"), "mine", folder / "out", details)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_whole_set_has_97_lines_of_15_columns_in_order(tmp_path: Path):
    messages = submit("gift-eval", tmp_path, ALL)
    assert (tmp_path / "out" / "all_results.csv").read_text().splitlines()[0] == HEADER
    lines = read(tmp_path / "out" / "all_results.csv")
    assert [line["dataset"] for line in lines] == sorted(ALL)
    assert all(cell for line in lines for cell in line.values())
    assert not any("INCOMPLETE" in message or "fill in" in message for message in messages)


def test_the_errors_of_the_mean_and_the_shares_follow_from_the_row(tmp_path: Path):
    submit("gift-eval", tmp_path, ALL)
    line = read(tmp_path / "out" / "all_results.csv")[0]
    assert (line["eval_metrics/MSE[mean]"], line["eval_metrics/MSE[0.5]"]) == ("4.0", "9.0")
    assert float(line["eval_metrics/RMSE[mean]"]) == 2.0
    # The mean size of the target is MAE / ND = 6, so NRMSE is 2 / 6.
    assert float(line["eval_metrics/NRMSE[mean]"]) == pytest.approx(1 / 3)
    assert (line["domain"], line["num_variates"]) == ("Web/CloudOps", "2")


def test_a_part_of_the_benchmark_does_not_look_like_a_submission(tmp_path: Path):
    messages = submit("gift-eval", tmp_path, ALL[:36])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["MISSING.txt", "all_results.partial.csv", "config.json"]
    assert len((tmp_path / "out" / "MISSING.txt").read_text().splitlines()) == 1 + 61
    assert any(message.startswith("INCOMPLETE: GIFT-Eval takes all 97") for message in messages)


def test_once_whole_nothing_says_partial(tmp_path: Path):
    submit("gift-eval", tmp_path, ALL[:36])
    submit("gift-eval", tmp_path, ALL)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["all_results.csv", "config.json"]


def test_the_configuration_has_the_fields_that_the_benchmark_reads(tmp_path: Path):
    submit("gift-eval", tmp_path, ALL)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(config) == [
        *("model", "model_type", "model_dtype", "model_link", "code_link", "org", "testdata_leakage"),
        "replication_code_available",
    ]
    assert (config["model_type"], config["testdata_leakage"]) == ("zero-shot", "No")


def test_links_that_are_not_given_are_asked_for(tmp_path: Path):
    messages = submit("gift-eval", tmp_path, ALL, submission.Details())
    assert messages[-1] == "fill in before you send it: model_link, code_link (options --model-link --code-link)"


def test_a_measure_that_the_rows_lack_is_named_and_never_left_empty(tmp_path: Path):
    with pytest.raises(DataError, match=r"mine on .*: no mape in the row; the metric is not defined on this task"):
        submit("gift-eval", tmp_path, ALL, mape="")
    assert not (tmp_path / "out" / "all_results.csv").exists()


def test_a_leak_cannot_be_denied_and_an_unchecked_one_must_be_stated(tmp_path: Path):
    with pytest.raises(DataError, match="no leak check"):
        submit("gift-eval", tmp_path, ALL, leak="")
    submit("gift-eval", tmp_path, ALL, submission.Details(leakage="No"), leak="")
    with pytest.raises(DataError, match="--leakage No contradicts it"):
        submit("gift-eval", tmp_path, ALL, submission.Details(leakage="No"), leak="yes")
    submit("gift-eval", tmp_path, ALL, leak="yes")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["testdata_leakage"] == "Yes"


def test_a_check_of_a_part_is_submitted_as_no_and_told_to_the_sender(tmp_path: Path):
    messages = submit("gift-eval", tmp_path, ALL, leak="no: 86 of 756 checked")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["testdata_leakage"] == "No"
    assert any("on 97 of 97 configurations it could not judge every series" in message for message in messages)
    assert not any("judge" in message for message in submit("gift-eval", tmp_path, ALL, leak="no"))


def test_fev_says_of_each_task_whether_its_own_set_was_trained_on(tmp_path: Path):
    cells = [made_row("mine", ALL[0], leak="yes: 3 of 21 checked"), made_row("mine", ALL[1])]
    write_rows(tmp_path / "results", cells)
    suite = rows.load("zero_shot", tmp_path / "results")
    for stated, told in ((None, ["True", "False"]), ("Yes", ["True", "True"])):
        submission.write("fev", suite, "mine", tmp_path / "out", submission.Details(leakage=stated))
        lines = read(tmp_path / "out" / "fev_summaries.csv")
        assert [line["trained_on_this_dataset"] for line in lines] == told


def test_fev_reads_our_summaries_and_finds_our_skill(tmp_path: Path):
    fev = pytest.importorskip("fev", reason="needs fev, the extra `bench`")
    results = write_models(tmp_path / "results")
    write_rows(results, [made_row("naive", task, mase=1, crps=0.8) for task in TASKS], "zero_shot_naive.csv")
    suite = rows.load("zero_shot", results, names=["naive", "one", "two"])
    ours = rows.Suite("zero_shot", suite.tasks, tuple(model for model in suite.models if model.ours))
    for model in ours.models:
        submission.write("fev", ours, model.name, tmp_path / model.name, LINKS)
    paths = [str(tmp_path / model.name / "fev_summaries.csv") for model in ours.models]
    theirs = fev.leaderboard(paths, baseline_model="naive", n_resamples=None)["skill_score"]
    for line in standings(ours.models, compare(ours).tasks):
        assert theirs[line.model.name] == pytest.approx(line.skill["mase"])


def test_fev_summaries_have_the_fields_of_a_task(tmp_path: Path):
    fev = pytest.importorskip("fev", reason="needs fev, the extra `bench`")
    submit("fev", tmp_path, ALL[:5])
    line = read(tmp_path / "out" / "fev_summaries.csv")[0]
    fields = list(fev.Task.__dataclass_fields__)
    assert list(line)[1 : 1 + len(fields)] == fields
    assert (line["num_windows"], line["num_forecasts"], line["trained_on_this_dataset"]) == ("4", "20", "False")


def test_a_model_without_rows_is_refused_with_those_there_are(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_models(tmp_path, ["one"])
    options = ["--results", str(tmp_path), "--submit", "fev", "--model", "two", "--out", str(tmp_path / "out")]
    assert script("leaderboard").main(options) == 1
    assert "no rows of ours for 'two' on zero_shot; there are one" in capsys.readouterr().out
