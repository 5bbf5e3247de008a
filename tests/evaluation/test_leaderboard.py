"""The leaderboard reads what is whole, refuses what is not, and its page computes what Python computes."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from made_rows import TASKS, made_row, write_models, write_rows

from evaluation import page, rows
from evaluation.standings import compare, duels, standings
from tsfm.errors import DataError

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def real() -> rows.Suite:
    """The published rows alone."""
    return rows.load("zero_shot", Path("nowhere"))


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """An empty folder of published results."""
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


def test_the_published_file_has_32_models_on_97_configurations_of_known_domains(real: rows.Suite):
    assert len(real.models) == 32 and len(real.tasks) == 97
    assert all(task.domain for task in real.tasks)
    assert {len(model.scores) for model in real.models} == {97}


def test_the_published_rows_aggregate_to_what_the_benchmark_says(real: rows.Suite):
    lines = {line.model.name: line for line in standings(real.models, compare(real).tasks)}
    for name, mase, crps in (("auto_arima", 1.074, 0.912), ("auto_theta", 1.090, 1.244), ("seasonal_naive", 1, 1)):
        skill = lines[name].skill
        assert (1 - skill["mase"], 1 - skill["crps"]) == (pytest.approx(mase, abs=5e-4), pytest.approx(crps, abs=5e-4))


def test_published_rows_tell_parameters_and_leaks(real: rows.Suite):
    models = {model.name: model for model in real.models}
    assert models["Toto-2.0-4m"].parameters == pytest.approx(4.14e6) and models["seasonal_naive"].parameters == 0
    assert models["PatchTST-FM-r1"].parameters is None
    assert models["chronos_bolt_small"].leak == "yes" and not models["chronos_bolt_small"].ours


def test_our_rows_are_told_apart_and_carry_seconds(tmp_path: Path, nothing: Path):
    suite = rows.load("zero_shot", write_models(tmp_path), nothing)
    assert all(model.ours and model.leak == "no" for model in suite.models)
    assert suite.models[0].seconds_per_thousand == pytest.approx(25)
    assert suite.measured == tuple(TASKS)


def test_rows_of_an_older_version_are_refused_with_file_line_and_remedy(tmp_path: Path, nothing: Path):
    old = {key: value for key, value in made_row("m", TASKS[0]).items() if key not in ("task", "suite")}
    write_rows(tmp_path, [old])
    with pytest.raises(DataError, match=r"zero_shot_made.csv, line 1: no column suite, task .*tsfm evaluate --suite"):
        rows.load("zero_shot", tmp_path, nothing)


@pytest.mark.parametrize(
    "cells, message", [({"crps": "many"}, "line 3: crps is 'many'"), ({"mase": -1}, "line 3: mase is '-1'")]
)
def test_a_cell_that_is_no_error_measure_is_refused(
    tmp_path: Path, nothing: Path, cells: dict[str, object], message: str
):
    write_rows(tmp_path, [made_row("m", TASKS[0]), made_row("m", TASKS[1], **cells)])
    with pytest.raises(DataError, match=message):
        rows.load("zero_shot", tmp_path, nothing)


def test_a_row_cut_short_and_a_row_that_stands_twice_are_refused(tmp_path: Path, nothing: Path):
    path = write_rows(tmp_path, [made_row("m", TASKS[0])])
    path.write_text(path.read_text() + "m,abc\n")
    with pytest.raises(DataError, match="line 3: not as many cells"):
        rows.load("zero_shot", tmp_path, nothing)
    write_rows(tmp_path, [made_row("m", TASKS[0])] * 2)
    with pytest.raises(DataError, match="line 3: m has alpha/H/short twice"):
        rows.load("zero_shot", tmp_path, nothing)


def test_a_failed_task_is_a_failure_and_not_a_score(tmp_path: Path, nothing: Path):
    write_rows(tmp_path, [made_row("m", TASKS[0]), made_row("m", TASKS[1], mase="", crps="", error="out of memory")])
    (model,) = rows.load("zero_shot", tmp_path, nothing).models
    assert list(model.scores) == TASKS[:1] and model.failed == {TASKS[1]: "out of memory"}
    assert f"No result on {TASKS[1]}." in page.about(model)


@pytest.mark.parametrize(
    "cells, said",
    [
        (("no", "yes: 3 of 21 checked"), "yes"),
        (("no: 86 of 756 checked", "yes: 1 of 479 series"), "yes"),
        (("no", "no"), "no"),
        (("no", "no: 86 of 756 checked"), "no, in part"),
        (("", "no"), "no, in part"),
        (("", ""), "not checked"),
    ],
)
def test_one_hit_marks_the_model_and_a_plain_no_wants_every_series_checked(
    tmp_path: Path, nothing: Path, cells: tuple[str, str], said: str
):
    write_rows(tmp_path, [made_row("m", task, leak=leak) for task, leak in zip(TASKS, cells, strict=False)])
    assert rows.load("zero_shot", tmp_path, nothing).models[0].leak == said


def test_a_model_checked_in_part_says_on_the_page_how_much_of_which_set(tmp_path: Path, nothing: Path):
    cells = ["no: 86 of 756 checked", "no", "no", "no", ""]
    write_rows(tmp_path, [made_row("m", task, leak=leak) for task, leak in zip(TASKS, cells, strict=False)])
    (model,) = rows.load("zero_shot", tmp_path, nothing).models
    assert "Series that the leak check could judge: 86 of 756 of alpha, none of beta." in page.about(model)


def test_a_task_where_the_baseline_is_exact_is_left_out_with_that_reason(tmp_path: Path, nothing: Path):
    exact = {"naive_mase": "", "naive_crps": 0}
    for name in ("one", "two"):
        write_rows(tmp_path, [made_row(name, TASKS[0]), made_row(name, TASKS[1], **exact)], f"zero_shot_{name}.csv")
    (sentence,) = page.named(compare(rows.load("zero_shot", tmp_path, nothing)))
    assert sentence == f"Left out for everybody: {TASKS[1]} (seasonal naive is exact there)."


def test_validation_rows_never_reach_the_table(tmp_path: Path, nothing: Path):
    write_rows(tmp_path, [made_row("m", TASKS[0], split="validation")])
    with pytest.raises(DataError, match="no rows on zero_shot"):
        rows.load("zero_shot", tmp_path, nothing)


@pytest.mark.parametrize(
    "code, words",
    [
        *(("15T", "15 minutes"), ("15min", "15 minutes"), ("H", "hour"), ("W-THU", "week")),
        *(("MS", "month"), ("A", "year"), ("odd!", "odd!")),
    ],
)
def test_frequencies_are_written_in_words(code: str, words: str):
    assert rows.frequency_word(code) == words


@pytest.fixture
def made(tmp_path: Path) -> rows.Suite:
    """Our made models on tasks of theirs, beside the published ones on a part of those of GIFT-Eval."""
    real = rows.load("zero_shot", Path("nowhere"))
    tasks = [task.name for task in real.tasks[::4]]
    for name in ("ours-a", "ours-b"):
        write_rows(tmp_path, [made_row(name, task) for task in tasks], f"zero_shot_{name}.csv")
    return rows.load("zero_shot", tmp_path)


def test_the_page_asks_nobody_for_anything_and_stays_small(made: rows.Suite):
    text = page.render([made])
    markup = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert not re.findall(r"<(?:img|iframe|object|embed|audio|video|base)\b|\bsrc=|@import|url\(", markup)
    assert re.findall(r"<link[^>]*>", markup) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", markup)
    assert len(text.encode()) < 400_000


def test_the_page_can_be_read_without_a_script(made: rows.Suite):
    table = re.search(r"<tbody>(.*?)</tbody>", page.render([made]), re.DOTALL)
    found = compare(made)
    names = re.findall(r'<th scope="row" class="text">(.*?)</th>', table[1] if table else "")
    assert names == [line.model.name for line in standings(found.models, found.tasks)]
    assert f"{len(found.tasks)} of 97 configurations: no rank" in page.render([made])


def test_a_name_cannot_break_out_of_the_page(tmp_path: Path, nothing: Path):
    write_rows(tmp_path, [made_row("</script><b>x", task) for task in TASKS])
    assert "</script><b>" not in page.render([rows.load("zero_shot", tmp_path, nothing)])


def test_the_script_of_the_page_computes_what_python_computes(made: rows.Suite, checkout: Path):
    node = shutil.which("node") or pytest.skip("needs node")
    found = compare(made)
    data = page.payload(made)
    names = [task["name"] for task in data["tasks"]]
    parts = [[task for task in found.tasks if term in (task.term, "")] for term in ("", "short", "long")]
    program = f"""
        const {{ compare, standings, duels }} = require({json.dumps(str(checkout / "evaluation" / "standings.js"))});
        const {{ suite, parts }} = JSON.parse(require("fs").readFileSync(0));
        const found = compare(suite, suite.tasks.map((_, task) => task).slice(0, suite.measured));
        console.log(JSON.stringify({{ found, lines: parts.map((part) => standings(suite, found.models, part)),
                                      duels: duels(suite, found.models, found.tasks, found.models[0]) }}));
    """
    given = json.dumps({"suite": data, "parts": [[names.index(task.name) for task in part] for part in parts]})
    run = subprocess.run([node, "-e", program], input=given, capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout)
    assert [names[task] for task in theirs["found"]["tasks"]] == [task.name for task in found.tasks]
    for part, answers in zip(parts, theirs["lines"], strict=True):
        ours = {line.model.name: line for line in standings(found.models, part)}
        for answer in answers:
            line = ours[data["models"][answer["model"]]["name"]]
            for key in ("skill", "low", "high", "rank"):
                assert answer[key] == pytest.approx(getattr(line, key), rel=1e-9, abs=1e-9)
            assert answer["wins"] == pytest.approx(line.wins)
    for answer, duel in zip(theirs["duels"], duels(found.models, found.tasks, found.models[0]), strict=True):
        assert [answer[key]["crps"] for key in ("ratio", "low", "high")] == pytest.approx(list(duel[1:]))


def seen(path: Path, state: str = "", act: str = "") -> list[str]:
    """Names in the standings as a browser shows them at an address, after a script did what a reader might do."""
    acted = path.with_name("acted.html")
    acted.write_text(path.read_text() + f"<script>{act}</script>")
    chromium = shutil.which("chromium") or pytest.skip("needs chromium")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={path.parent / 'profile'}",
        "--dump-dom",
    ]
    run = subprocess.run(
        [chromium, *options, f"{path.with_name('acted.html').as_uri()}#{state}"],
        capture_output=True,
        text=True,
        check=True,
    )
    table = run.stdout.split('id="standings-table"')[1].split("</table>")[0]
    return re.findall(r'<a class="model"[^>]*>(.*?)</a>', table)


@pytest.mark.slow
def test_sorting_and_filtering_work_in_a_browser(made: rows.Suite, tmp_path: Path):
    path = tmp_path / "leaderboard.html"
    page.write(path, [made])
    found = compare(made)
    lines = standings(found.models, found.tasks)
    assert seen(path) == [line.model.name for line in lines]
    by_name = sorted((line.model.name for line in lines if line.model.leak != "yes"), key=str.lower, reverse=True)
    assert sorted(seen(path, "sort=-model&leak=hide")) == sorted(by_name)
    assert seen(path, "sort=-model&leak=hide")[0] == by_name[0]
    assert sorted(seen(path, "source=ours")) == ["ours-a", "ours-b"]
    long = standings(found.models, [task for task in found.tasks if task.term == "long"])
    click = "document.querySelector('#standings-table [data-key=model]').click();" * 2
    assert seen(path, "leak=hide", click)[0] == by_name[0]
    assert seen(path, "term=long&q=t") == [line.model.name for line in long if "t" in line.model.name.lower()]


def test_the_command_prints_writes_the_page_and_says_what_is_not_known(
    script: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = [task.name for task in rows.load("zero_shot", Path("nowhere")).tasks[:40:2]]
    results = write_models(tmp_path / "results", ["mine"], names)
    options = ["--results", str(results), "--page", str(tmp_path / "page.html"), "--by", "term", "--against", "mine"]
    assert script("leaderboard").main([*options, "--gaps", "mine"]) == 0
    printed = capsys.readouterr().out
    assert "20 of 97 configurations: no rank on the whole benchmark follows." in printed
    assert "CRPS skill by term" in printed and "Errors of mine over those of" in printed
    assert "MASE of mine over that of the best published model of at most 10 M" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "results"]


def test_the_command_ends_with_the_reason_when_a_file_is_old(
    script: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "zero_shot_old.csv").write_text("model,configuration\nold,alpha/H/short\n")
    assert script("leaderboard").main(["--results", str(tmp_path), "--no-page"]) == 1
    assert "zero_shot_old.csv, line 1: no column" in capsys.readouterr().out


def test_a_model_that_nobody_measured_is_named_with_those_there_are(tmp_path: Path, nothing: Path):
    with pytest.raises(DataError, match="no rows of four on zero_shot; there are one, three, two; add --run"):
        rows.load("zero_shot", write_models(tmp_path), nothing, ["one", "four"])


def test_a_published_file_needs_its_description(tmp_path: Path, nothing: Path):
    with (nothing / "other.csv").open("w", newline="") as file:
        csv.writer(file).writerow(rows.PUBLISHED_COLUMNS)
    with pytest.raises(DataError, match=r"other.csv: no other.toml beside it"):
        rows.load("zero_shot", write_models(tmp_path), nothing)
