"""`tsfm datasets`: the list, one set, a card for one's own file, and what is said offline."""

from pathlib import Path

import pytest

import tsfm
from tsfm.cli.app import run
from tsfm.demo import demo_path


def leave(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(["datasets", *arguments])
    return int(stopped.value.code or 0)


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TSFM_DATA", raising=False)
    monkeypatch.setenv("TSFM_OFFLINE", "1")


@pytest.mark.parametrize("columns", ["60", "80", "160"])
def test_the_list_shows_every_name_whole_whatever_the_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert leave("--role", "evaluate", "--freq", "15min") == 0
    shown = capsys.readouterr().out
    assert "ETTm1" in shown and "ETTm2" in shown and "ETTh1" not in shown
    assert "to download" in shown and "2 sets" in shown
    assert ("487,760" in shown) is (columns == "160")
    assert "Electricity transformer 1" in shown


@pytest.mark.parametrize("freq", ["h", "H", "hourly", "60min"])
def test_a_frequency_is_found_in_any_spelling(freq: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--freq", freq, "--role", "evaluate") == 0
    shown = capsys.readouterr().out
    assert "ETTh1" in shown and "ETTm1" not in shown


def test_options_that_no_set_meets_together_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--role", "demo", "--freq", "D", "--here") == 0
    assert "no set is all of this: --role demo --freq D --here; leave an option out" in capsys.readouterr().out


def test_one_set_is_shown_with_its_licence_role_and_where_to_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("show", "etth1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("ETTh1", "CC BY-ND 4.0", "never", "8,640 train", "121,940 points", "set TSFM_DATA", "season 24"):
        assert said in shown


@pytest.mark.parametrize("card", ["sales.csv.toml", "card.toml"])
def test_a_card_may_be_called_as_one_likes(card: str, tmp_path: Path) -> None:
    data = tmp_path / "sales.csv"
    data.write_bytes(demo_path().read_bytes())
    assert leave("describe", str(data), "--out", str(tmp_path / card)) == 0
    assert tsfm.load_dataset(tmp_path / card).ids == ["EWR", "JFK", "LGA"]


def test_an_own_file_gets_a_card_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "sales.csv"
    data.write_bytes(demo_path().read_bytes())
    assert leave("describe", str(data), "--title", "Departures") == 0
    assert 'title = "Departures"' in capsys.readouterr().out
    assert tsfm.load_dataset(tmp_path / "sales.toml").ids == ["EWR", "JFK", "LGA"]
    assert leave("show", str(tmp_path / "sales.toml")) == 0
    assert leave("describe", str(data)) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("show", "ETTh7"), "did you mean ETTh1"),
        (("--role", "test"), "roles are"),
        (("--freq", "fortnight"), "no set has frequency='fortnight'; frequencies are h, D, MS"),
        (("--domain", "zoo"), "no set has domain='zoo'; domains are economy"),
        (("fetch", "hospital"), "nothing is fetched offline"),
        (("fetch", "nab"), "pretrain/nab.parquet"),
        (("describe", "nowhere.csv"), "nowhere.csv"),
        (("describe", "nowhere.csv", "--out", "card.txt"), ".toml"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert leave(*arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and said in shown and "Traceback" not in shown


def test_fetching_what_is_here_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("fetch", "airport_departures") == 0
    assert "is here already" in capsys.readouterr().out
