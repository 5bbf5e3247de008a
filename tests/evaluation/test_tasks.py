"""A suite of one's own is checked before anything is measured: each error names file, task, value and remedy."""

from pathlib import Path

import pytest

from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.tasks import load_suite

ROLLING = {"name": '"sales"', "dataset": '"airport_departures"', "horizon": "24", "season": "24"}
SLIDING = {**ROLLING, "protocol": '"sliding"', "train": "700", "validation": "100", "test": "200"}


def written(folder: Path, entries: dict[str, str], *more: str) -> str:
    """The path of a suite of one task."""
    lines = [f"{key} = {value}" for key, value in entries.items()]
    path = folder / "mine.toml"
    path.write_text("\n".join(["[[task]]", *lines, *more]), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "entries", [ROLLING, SLIDING, {**ROLLING, "context": "1", "term": '""', "windows": "3"}], ids=str
)
def test_a_task_that_says_what_it_must_is_read(entries: dict[str, str], tmp_path: Path) -> None:
    (task,) = load_suite(written(tmp_path, entries))
    assert (task.name, task.dataset, task.horizon, task.season) == ("sales", "airport_departures", 24, 24)


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ("horizon = 0", "a whole number of at least 1, such as 24"),
        ("horizon = 24.0", "a whole number"),
        ("horizon = true", "a whole number"),
        ("season = 0", "a whole number of at least 1"),
        ("windows = 0", "a whole number of at least 1"),
        ("context = 0", "a whole number of at least 1"),
        ("context = -5", "a whole number of at least 1"),
        ("dataset = 5", "in quotes"),
        ('dataset = ""', "in quotes"),
        ("name = 7", "in quotes"),
        ("term = 3", "in quotes"),
        ('protocol = "expanding"', "protocols are rolling, sliding, generated"),
        ("naive_mase = nan", "a positive number"),
        ("naive_mase = 1.0", "give both or neither"),
        ("colour = 3", "it may have context, dataset"),
        ("seasn = 24", "did you mean 'season'"),
        ("train = 700", "a rolling task has no entry 'train'"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_task_and_remedy(entry: str, remedy: str, tmp_path: Path) -> None:
    key, _, value = entry.partition(" = ")
    with pytest.raises(DataError) as raised:
        load_suite(written(tmp_path, {**ROLLING, key: value}))
    said = str(raised.value)
    assert "mine.toml" in said and remedy in said and key in said
    assert ("task 1" if key == "name" else "task 'sales'") in said


@pytest.mark.parametrize("key", ROLLING)
def test_a_missing_entry_is_named_with_an_example(key: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"mine.toml', task .* has no {key}; add one, such as {key} = "):
        load_suite(written(tmp_path, {name: value for name, value in ROLLING.items() if name != key}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": None}, "a sliding task needs train, in steps"),
        ({"train": "0"}, "train = 0; give a whole number"),
        ({"test": "10"}, "test = 10 has no room for a window of 24 steps"),
        ({"windows": "2"}, "a sliding task has no entry 'windows'"),
    ],
    ids=str,
)
def test_a_sliding_task_has_stretches_with_room_for_a_window(
    change: dict[str, str | None], said: str, tmp_path: Path
) -> None:
    entries = {key: value for key, value in {**SLIDING, **change}.items() if value is not None}
    with pytest.raises(DataError, match=said):
        load_suite(written(tmp_path, entries))


def test_a_probe_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    entries = {**ROLLING, "protocol": '"generated"', "past": "64", "seed": "1", "seasons": "3"}
    with pytest.raises(DataError, match=r"mine.toml', task 'sales' cannot be generated"):
        load_suite(written(tmp_path, entries))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"has no tasks; write \[\[task\]\]"),
        (b"[task]\nname = 'a'\n", r"has \[task\]; write \[\[task\]\]"),
        (b"[[tasks]]\nname = 'a'\n", r"has tasks outside of any task"),
        (b"task = [3]\n", "has no tasks"),
        (b"horizon = \n", "is no TOML"),
        ("name = 'Stra\u00dfe'".encode("latin-1"), "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_suite_is_named_with_the_reason(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(TsfmError, match=f"mine.toml.* {said}"):
        load_suite(str(tmp_path / "mine.toml"))


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    second = [f"{key} = {value}" for key, value in ROLLING.items()]
    with pytest.raises(DataError, match=r"has 2 tasks named 'sales'; give each its own name"):
        load_suite(written(tmp_path, ROLLING, "[[task]]", *second))


def test_paths_start_from_the_suite_and_names_stay_names(tmp_path: Path) -> None:
    for dataset, found in (
        ("a.csv", tmp_path / "a.csv"),
        ("sub/a.toml", tmp_path / "sub" / "a.toml"),
        ("./m4", tmp_path / "m4"),
        ("ett1_h", "ett1_h"),
        (str(tmp_path / "b.tsf"), tmp_path / "b.tsf"),
    ):
        (task,) = load_suite(written(tmp_path, {**ROLLING, "dataset": f'"{dataset}"'}))
        assert (task.dataset, task.written) == (str(found), dataset)
