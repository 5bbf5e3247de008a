"""`tsfm pretrain`: every model has a run of its own, and a run never becomes that of another model."""

from dataclasses import replace
from pathlib import Path

import pytest

from tsfm.cli.app import run
from tsfm.cli.pretrain import begun, on_device, run_name, with_tokens
from tsfm.data.windows import WindowConfig
from tsfm.errors import DataError
from tsfm.models.moe_decoder import MoEDecoderConfig
from tsfm.models.time_moe import PRESETS
from tsfm.training.config import RunConfig, as_json

WINDOWS = WindowConfig(
    patch=16, contexts=(64, 128), context_shares=(0.5, 0.5), tokens=32, chunk_series=16, chunk_steps=4
)
SMALL = MoEDecoderConfig(width=32, depth=1, heads=2, shared_width=16, expert_width=8, experts=4, patch=16)
DECODER = RunConfig(SMALL, WINDOWS, steps=1, warmup=1, compiled=False)
TIME_MOE = replace(DECODER, model=PRESETS["tiny"], architecture="time-moe")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs that were begun, the flagship's with settings of its own."""
    for name, config in (("tiny", DECODER), ("time-moe-tiny", TIME_MOE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(as_json(config))
    return tmp_path


def pretrain(runs: Path, *options: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        run(("pretrain", "--folder", str(runs), *options))
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    "options, name",
    [
        ((), "tiny"),
        (("--run", "tiny", "--decay", "0", "--seed", "1"), "tiny"),
        (("--model", "time-moe"), "time-moe-tiny"),
        (("--run", "time-moe-tiny", "--preset", "tiny"), "time-moe-tiny"),
        (("--tokens", "32"), "tiny"),
    ],
)
def test_a_run_goes_on_as_it_was_begun_whatever_was_not_asked_for(runs: Path, capsys, options, name):
    before = (runs / name / "run.json").read_text()
    assert pretrain(runs, *options) == 0
    assert f"step 1, done: {runs / name}" in capsys.readouterr().out
    assert (runs / name / "run.json").read_text() == before


def test_models_and_sizes_have_runs_of_their_own():
    asked = [("moe-decoder", "tiny"), ("moe-decoder", "nano"), ("time-moe", "tiny"), ("time-moe", "50m")]
    assert [run_name(*one) for one in asked] == ["tiny", "nano", "time-moe-tiny", "time-moe-50m"]


@pytest.mark.parametrize(
    "options, said",
    [
        (("--run", "tiny", "--model", "time-moe"), "holds a run of moe-decoder, not of --model time-moe"),
        (("--preset", "tiny"), "a moe-decoder of another size than --preset tiny"),
        (("--run", "time-moe-tiny", "--preset", "50m"), "a time-moe of another size than --preset 50m"),
        (("--run", "new", "--branch", "tiny", "--steps", "1", "--model", "time-moe"), "holds a run of moe-decoder"),
        (("--tokens", "64"), "holds a run of 32 tokens a step, not of --tokens 64"),
    ],
)
def test_a_run_of_another_model_than_asked_for_is_refused_and_nothing_is_begun(runs: Path, capsys, options, said):
    assert pretrain(runs, *options) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told and "or go on with this one by --run" in told
    assert sorted(path.name for path in runs.rglob("*")) == ["run.json", "run.json", "time-moe-tiny", "tiny"]


def test_the_tokens_of_a_step_are_those_of_the_run_from_its_beginning():
    config = begun("moe-decoder", "nano")
    assert with_tokens(config, 2048).windows == replace(config.windows, tokens=2048)
    assert with_tokens(config, None) == config
    for tokens in (64, 2000):
        with pytest.raises(DataError, match=f"--tokens {tokens} are no whole windows of 128 tokens"):
            with_tokens(config, tokens)


def test_a_run_stays_on_the_device_that_it_was_begun_on(tmp_path: Path):
    assert on_device(DECODER, None, tmp_path) == DECODER
    assert on_device(DECODER, "cpu", tmp_path) == on_device(replace(DECODER, device="cuda"), "cpu", None) == DECODER
    with pytest.raises(DataError, match="was begun on cuda, not on cpu; move it by --backup and --restore"):
        on_device(replace(DECODER, device="cuda"), "cpu", tmp_path)
