"""Result files are whole, and rows say what made them without naming a machine's folders."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tsfm
from tsfm.evaluation import results


def test_rows_come_back_as_text(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.csv"
    results.write_csv(path, [{"name": 'a,"b"', "value": 1 / 3}, {"name": "c", "value": 2}])
    assert results.read_csv(path) == [{"name": 'a,"b"', "value": "0.333333"}, {"name": "c", "value": "2"}]
    assert results.read_csv(tmp_path / "none.csv") == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    results.write_csv(path, [{"a": 1}])
    with pytest.raises(ValueError, match="b"):
        results.write_csv(path, [{"a": 1}, {"a": 2, "b": 3}])
    assert results.read_csv(path) == [{"a": "1"}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_the_command_names_no_folder_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inside = str(results.ROOT / "evaluation" / "score.py")
    monkeypatch.setattr("sys.argv", [inside, "--model", str(tmp_path / "my run"), "--out", "here.csv"])
    assert results.command() == "python evaluation/score.py --model 'my run' --out here.csv"


def test_what_made_a_row_is_known() -> None:
    made_by = results.origin()
    assert set(made_by) == {"command", "commit", "hardware", "versions"}
    assert "cores" in made_by["hardware"] and "torch " in made_by["versions"]
    assert f"tsfm {tsfm.__version__}, python" in made_by["versions"]
    assert all(made_by.values())
    assert results.versions("typer").startswith(results.versions() + ", typer ")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit that has a package and, in `inside`, a copy of the same."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path / "repository"
    for folder in (root, root / "inside"):
        (folder / "tsfm").mkdir(parents=True)
        (folder / "tsfm" / "code.py").write_text("a = 1\n")
        (folder / "pyproject.toml").write_text('[project]\nname = "tsfm-forecast"\n')
    results.git(root, "init", "--quiet")
    results.git(root, "add", ".")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    results.git(root, *identity, "commit", "--quiet", "-m", "a")
    return root


def test_every_state_of_the_code_has_a_name_of_its_own(repository: Path) -> None:
    clean = results.commit(repository)
    assert clean == results.git(repository, "rev-parse", "HEAD").decode().strip()
    (repository / "notes.txt").write_text("not code")
    assert results.commit(repository) == clean
    states = []
    for text in ("a = 2\n", "a = 3\n", "a = 2\n"):
        (repository / "tsfm" / "code.py").write_text(text)
        states.append(results.commit(repository))
    assert states[0] == states[2] != states[1]
    assert all(state.startswith(f"{clean}+") and len(state) == len(clean) + 7 for state in states)


def test_the_commit_of_somebody_elses_repository_is_never_told(repository: Path) -> None:
    version = f"tsfm {tsfm.__version__}"
    assert results.commit(repository / "inside") == version
    (repository / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    assert results.commit(repository) == version
    shutil.rmtree(repository / ".git")
    assert results.commit(repository / "inside") == version


def test_a_locked_folder_lets_one_in_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="locks need fcntl")
    code = f"import sys; sys.path.insert(0, {str(results.ROOT)!r})\n" + (
        "from pathlib import Path; from tsfm.evaluation.results import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('in')"
    )
    with results.locked(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(4)
    assert other.communicate(timeout=60)[0] == b"in\n"
    assert list(tmp_path.iterdir()) == []


def test_rows_are_put_in_place_of_those_of_the_same_key(tmp_path: Path):
    path = tmp_path / "made" / "rows.csv"
    results.put_rows(
        path, [{"name": "a", "at": 0.5, "loss": 3.0}, {"name": "b", "at": 0.5, "loss": 4.0}], ["name", "at"]
    )
    results.put_rows(path, [{"name": "c", "at": 1, "more": 7}, {"name": "a", "at": 0.5, "loss": 1.0}], ["name", "at"])
    assert [(row["name"], row["loss"], row["more"]) for row in results.read_csv(path)] == [
        ("a", "1", ""),
        ("b", "4", ""),
        ("c", "", "7"),
    ]


def test_all_rows_of_a_key_make_way_for_new_ones(tmp_path: Path):
    path = tmp_path / "rows.csv"
    results.put_rows(path, [{"set": "x", "gap": 1}, {"set": "x", "gap": 8}, {"set": "y", "gap": 1}], ["set"])
    results.put_rows(path, [{"set": "x", "gap": 48}], ["set"])
    assert results.read_csv(path) == [{"set": "x", "gap": "48"}, {"set": "y", "gap": "1"}]
