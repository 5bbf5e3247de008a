"""What a released model says of its training series, to a user and to a leaderboard."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from every_forecaster import forecaster_named

import tsfm
from tsfm import Forecaster
from tsfm.checkpoints import embedded, fingerprint_file, read_card, write
from tsfm.cli.app import run
from tsfm.data.fingerprints import Fingerprints, gather, read
from tsfm.leaks import FILE, carry, carry_both, leaks, look, windows_needed


def walk(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length).cumsum()


TRAINING = {"walks": [walk(600, 1), walk(90, 2)], "more": [walk(2000, 3)]}
LONG, SHORT, LONGEST = TRAINING["walks"][0], TRAINING["walks"][1], TRAINING["more"][0]


@pytest.fixture
def model(tmp_path: Path) -> Forecaster:
    """A model that was trained on `TRAINING`, loaded from where it was written."""
    untrained = forecaster_named("moe-decoder")
    (tmp_path / "made").mkdir()
    path, entry = carry(TRAINING, tmp_path / "made")
    card = read_card(untrained.save(tmp_path / "first")) | {"fingerprints": entry}
    return tsfm.load(write(untrained.model, card, tmp_path / "model", path))


def test_copies_are_seen_and_other_series_are_not(model: Forecaster):
    data = {
        "copy": LONG,
        "rescaled": (1.8 * LONGEST + 32.0).astype(np.float32),
        "a stretch": LONGEST[333:500],
        "short": 5 * SHORT + 1,
        "mine": walk(3000, 9),
    }
    report = model.seen_in_training(data)
    assert report.seen == ["copy", "rescaled", "a stretch", "short"]
    assert report.checked == list(data)
    shares = report.to_frame().set_index("series_id")["share"]
    assert shares["copy"] > 0.95 and shares["rescaled"] > 0.9 and shares["mine"] == 0
    assert "series 'mine' was not found in the training data" in str(report)
    assert "the real sets it was trained on: more, walks" in str(report)


def test_a_series_that_only_holds_a_little_of_the_training_data_says_how_much(model: Forecaster):
    series = np.concatenate([walk(1000, 8), LONGEST[:500] + 7.0, walk(1000, 7)])
    (found,) = model.seen_in_training(series).series
    assert found.verdict == "yes" and found.share == pytest.approx(0.2, abs=0.02)


def test_series_that_cannot_be_checked_say_why(model: Forecaster):
    data = {"young": walk(63, 1), "line": np.arange(200.0), "constant": np.ones(200), "gappy": walk(127, 1)}
    data["gappy"][::2] = np.nan
    report = model.seen_in_training(data)
    assert report.checked == [] and report.seen == []
    text = str(report)
    assert "series 'young' cannot be checked: 63 observed values, and a window has 64" in text
    assert "series 'gappy' cannot be checked: 63 observed values" in text
    assert "series 'line' cannot be checked: its windows are constant or so simple" in text
    assert text.startswith("0 of 0 series that can be checked") and "4 cannot be checked" in text


def test_a_long_report_is_cut_and_counted(model: Forecaster):
    report = model.seen_in_training([walk(80, seed) for seed in range(100, 130)])
    assert len(str(report).splitlines()) == 22
    assert str(report).endswith("the like of 10 more series")
    assert report._repr_html_().startswith("<p><b>0 of 30 series")


def test_a_leaderboard_reads_yes_no_in_part_no_or_nothing(model: Forecaster):
    good, bad, short = ("a", walk(300, 50)), ("b", LONG), ("c", walk(20, 51))
    assert leaks([good], model) == "no"
    assert leaks([good, short], model) == "no: 1 of 2 checked"
    assert leaks(iter([good, bad, short]), model) == "yes: 1 of 2 checked"
    assert leaks([short], model) == ""
    assert leaks([bad], forecaster_named("moe-decoder")) == ""
    assert leaks([bad], tsfm.load("naive")) == "no"
    assert leaks([bad], None) == ""


def test_one_file_serves_models_that_saw_all_and_models_that_saw_the_rest(tmp_path: Path):
    rest = {**TRAINING, "walks": TRAINING["walks"][1:]}
    path, of_all, of_rest = carry_both(TRAINING, rest, tmp_path)
    untrained = forecaster_named("moe-decoder")
    card = read_card(untrained.save(tmp_path / "first"))
    verdicts = []
    for name, entry in (("all", of_all), ("rest", of_rest)):
        folder = write(untrained.model, card | {"fingerprints": entry}, tmp_path / name, path)
        verdicts.append(tsfm.load(folder).seen_in_training({"left out": LONG, "longest": LONGEST}).seen)
    assert verdicts == [["left out", "longest"], ["longest"]]
    assert of_all["windows"] - of_rest["windows"] == of_rest["withheld"] > 0
    np.testing.assert_array_equal(read(path).seen.hashes, gather(rest, bits=read(path).bits).hashes)


def test_a_saved_model_keeps_its_fingerprints_and_shares_those_beside_it(model: Forecaster, tmp_path: Path):
    copy = model.save(tmp_path / "elsewhere" / "copy")
    assert (copy / FILE).read_bytes() == (model.folder / FILE).read_bytes()
    assert tsfm.load(copy).seen_in_training(LONG).seen == model.seen_in_training(LONG).seen != []
    (copy / FILE).rename(copy.parent / FILE)
    again = model.save(copy)
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors"]
    assert tsfm.load(again).seen_in_training(LONG).seen == model.seen_in_training(LONG).seen


def test_a_file_that_is_missing_or_changed_makes_a_model_say_so(model: Forecaster):
    with (model.folder / FILE).open("ab") as file:
        file.write(b"x")
    (found,) = model.seen_in_training(LONG).series
    assert found.verdict == "unknown"
    assert f"{FILE} of model" in found.reason and "is missing or changed" in found.reason
    assert model.save(model.folder.parent / "saved").is_dir()


def test_a_file_is_looked_for_under_its_name_only(tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    entry = {"file": "../secret", "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert fingerprint_file({"fingerprints": entry}, tmp_path / "a" / "b") is None


def test_so_many_windows_are_needed_that_chance_does_it_once_in_ten_thousand_series():
    assert [windows_needed(count, 1e-6) for count in (1, 99, 101, 10_000, 100_000)] == [1, 1, 2, 2, 4]
    assert windows_needed(10**9, 0.0) == 1


def test_what_chance_finds_is_not_called_seen(model: Forecaster):
    known = read(model.folder / FILE)
    crowded = Fingerprints(np.unique(known.hashes >> np.uint64(known.bits - 20)), 20)  # a chance of 2e-4 a window
    verdicts = [look(seed, walk(2000, seed), crowded) for seed in range(200, 260)]
    assert sum(one.found for one in verdicts) > 0
    assert {one.verdict for one in verdicts} == {"no"}


def test_the_command_says_it_in_a_sentence_a_series(
    model: Forecaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    times = pd.date_range("2024-01-01", periods=600, freq="h")
    frame = pd.DataFrame({"ds": times, "old": LONG, "new": walk(600, 40)})
    frame.to_csv(tmp_path / "data.csv", index=False)
    run_quietly("check", str(tmp_path / "data.csv"), "--model", str(model.folder))
    shown = capsys.readouterr().out
    assert "1 of 2 series that can be checked stood in the training data" in shown
    assert "series 'old' was in the training data: 9" in shown
    assert "series 'new' was not found in the training data" in shown


def run_quietly(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    assert not stopped.value.code


@pytest.mark.parametrize("name", sorted(embedded()))
def test_an_embedded_model_carries_at_most_two_megabytes_of_fingerprints(name: str):
    card, folder = read_card(embedded()[name]), embedded()[name]
    path = fingerprint_file(card, folder)
    assert path is not None, "python evaluation/leak_check.py --write-fingerprints"
    assert path.stat().st_size <= 2e6
    assert not (folder / path.name).exists(), "models of the same training data share the file beside their folders"
    assert set(read(path).sets) == {entry["name"] for entry in card["training"]["sets"]}


@pytest.mark.data
def test_a_series_the_default_model_was_trained_on_is_recognised(data_folder: Path):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    frame = pd.read_parquet(data_folder / "pretrain" / "pedestrians.parquet")
    copy = (0.1 * np.asarray(frame.target[0], dtype=np.float64)[1000:3000] - 4.0).astype(np.float32)
    report = tsfm.load("moe-decoder-tiny").seen_in_training({"copy": copy, "other": walk(2000, 60)})
    assert report.seen == ["copy"]


def test_the_check_needs_no_training_data(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TSFM_DATA", raising=False)
    report = tsfm.load("moe-decoder-tiny").seen_in_training(walk(500, 0))
    assert (report.checked, report.seen) == ([0], [])
