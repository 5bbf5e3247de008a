"""Training that can be killed: the same losses bit for bit, whole files, and a schedule that goes by step."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tsfm.data.windows import WindowConfig
from tsfm.errors import DataError
from tsfm.loading import load
from tsfm.models.moe_decoder import MoEDecoderConfig
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.training.checkpoint import load_state
from tsfm.training.config import RunConfig, as_json, read_config
from tsfm.training.optimizer import NorMuonAdamW, orthogonalise, rate_factor
from tsfm.training.runs import back_up, open_run, restore, start_branch, write_model
from tsfm.training.trainer import Trainer

MODEL = MoEDecoderConfig(width=32, depth=2, heads=2, shared_width=16, expert_width=8, experts=4, patch=16)
WINDOWS = WindowConfig(
    patch=16, contexts=(64, 128), context_shares=(0.5, 0.5), tokens=128, chunk_series=16, chunk_steps=4
)
CONFIG = RunConfig(MODEL, WINDOWS, seed=3, steps=14, warmup=3, decay_start=9, compiled=False)
REAL = [[np.cumsum(np.random.default_rng(0).normal(size=300)) for _ in range(3)]]


def train(folder: Path, config: RunConfig = CONFIG) -> str:
    """Run to the end and return the log."""
    trainer = Trainer(folder, config, REAL)
    assert trainer.run(report=lambda line: None)
    return (folder / "log.csv").read_text()


def test_a_stopped_run_resumes_bit_for_bit(tmp_path):
    whole = train(tmp_path / "whole")
    interrupted = Trainer(tmp_path / "cut", CONFIG, REAL)
    interrupted.resume()
    for _ in range(5):
        interrupted.losses.append(interrupted.train_step())
    interrupted.save()
    assert train(tmp_path / "cut") == whole
    assert len(whole.splitlines()) == 15
    left, right = (load_state(tmp_path / name / "state.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.slow
def test_kill_nine_at_any_moment_leaves_a_run_that_resumes_bit_for_bit(tmp_path):
    config = replace(CONFIG, steps=60, decay_start=40)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "run.json").write_text(as_json(config))
    program = (
        "import sys; from pathlib import Path; from tsfm.training.runs import open_run; "
        "from tsfm.training.config import read_config; folder = Path(sys.argv[1]); "
        "open_run(folder, read_config(folder)).run(report=lambda line: None, save_every=0.0)"
    )
    for patience in (3, 1, 2):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "killed")])
        wait_for(tmp_path / "killed" / "state.safetensors", process)
        time.sleep(0.05 * patience)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed")], check=True)
    trainer = Trainer(tmp_path / "whole", config)
    assert trainer.run(report=lambda line: None)
    assert (tmp_path / "killed" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file has been written anew."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    while (not path.exists() or path.stat().st_mtime_ns == before) and process.poll() is None:
        time.sleep(0.01)


def test_a_branch_decays_from_the_state_it_left(tmp_path):
    config = replace(CONFIG, steps=6, decay_start=None)
    train(tmp_path / "main", config)
    start_branch(tmp_path / "main", tmp_path / "branch", steps=4)
    branch = open_run(tmp_path / "branch", config)
    assert (branch.config.steps, branch.config.decay_start) == (10, 6)
    assert branch.run(report=lambda line: None)
    assert read_config(tmp_path / "main").steps == 6
    start_branch(tmp_path / "main", tmp_path / "later", steps=4, decay=0.25, rate=0.5, real=0.1)
    later = read_config(tmp_path / "later")
    assert (later.steps, later.decay_start, later.matrix_rate) == (10, 9, CONFIG.matrix_rate / 2)
    assert later.windows == replace(CONFIG.windows, real_share=0.1)
    with pytest.raises(DataError, match="40 is no share"):
        start_branch(tmp_path / "main", tmp_path / "refused", steps=4, real=40)
    assert not (tmp_path / "refused").exists()  # else its state would be taken for a run's of its own
    start_branch(tmp_path / "main", tmp_path / "steady", steps=4, decay=0.0)
    assert read_config(tmp_path / "steady").decay_start is None
    with pytest.raises(DataError, match="--steps 0"):
        start_branch(tmp_path / "main", tmp_path / "other", steps=0)


def test_a_backup_restores_the_weights_and_the_step_and_warms_up_again(tmp_path):
    train(tmp_path / "run")
    back_up(tmp_path / "run", tmp_path / "backup")
    assert str(tmp_path) not in (tmp_path / "backup" / "run.json").read_text()
    restore(tmp_path / "backup", tmp_path / "again", ("synthetic",))
    trainer = open_run(tmp_path / "again", CONFIG)
    trainer.resume()
    assert (trainer.step, trainer.config.warmup_from) == (14, 14)
    kept = load_state(tmp_path / "run" / "state.safetensors")[0]
    weight = trainer.model.embed.weight
    torch.testing.assert_close(weight, kept["model.embed.weight"], rtol=0.01, atol=1e-6)
    assert rate_factor(14, 14, 17, None, 100) == pytest.approx(1 / 3)
    trainer.train_step()


def test_training_lowers_the_loss_on_a_sine(tmp_path):
    waves = [[np.sin(np.arange(400) / period) for period in (3.0, 4.0, 5.0)]]
    config = replace(CONFIG, steps=60, decay_start=40, windows=replace(WINDOWS, real_share=1.0, mix_share=0.0))
    trainer = Trainer(tmp_path, config, waves)
    trainer.run(report=lambda line: None)
    assert np.mean(trainer.losses[-10:]) < 0.75 * np.mean(trainer.losses[:5])


def test_a_written_model_loads_and_forecasts(tmp_path):
    train(tmp_path / "run")
    trainer = open_run(tmp_path / "run", CONFIG)
    trainer.resume()
    write_model(trainer.model, tmp_path / "model", tmp_path / "run")
    forecast = load(tmp_path / "model").forecast(np.sin(np.arange(100) / 3), 20)
    assert np.isfinite(forecast.median).all()


def test_hours_become_steps_once(tmp_path):
    trainer = Trainer(tmp_path, replace(CONFIG, steps=0, decay_start=None), REAL)
    trainer.resume()
    trainer.fix_steps(hours=0.5, steps_per_second=2.0)
    assert (trainer.config.steps, trainer.config.decay_start) == (3600, 2880)
    assert read_config(tmp_path).steps == 3600


def test_the_rate_warms_up_stays_and_decays_to_zero():
    factors = [rate_factor(step, start=0, ready=10, decay_start=80, total=100) for step in range(101)]
    assert factors[0] == 0.1
    assert factors[10:81] == [1.0] * 71
    assert factors[100] == 0
    assert all(left >= right for left, right in pairwise(factors[80:]))


def test_a_run_shorter_than_its_warm_up_still_ends_at_zero():
    factors = [rate_factor(step, start=0, ready=200, decay_start=40, total=50) for step in range(51)]
    assert factors[-1] == 0
    assert max(factors) < 0.25


def test_pinball_of_the_median_is_the_absolute_error():
    target, forecast = torch.tensor([1.0, -2.0]), torch.tensor([[3.0], [1.0]])
    assert pinball(target, forecast, torch.tensor([0.5])).tolist() == [2.0, 3.0]


def test_uncounted_steps_do_not_move_the_loss():
    loss = torch.rand(2, 3, 4)
    counted = torch.rand(2, 3, 4) < 0.5
    other = torch.where(counted, loss, torch.inf)
    torch.testing.assert_close(weighted_mean(loss, counted), weighted_mean(other, counted))
    assert weighted_mean(loss, torch.zeros_like(counted)) == 0


def test_orthogonalised_matrices_have_singular_values_near_one():
    matrices = torch.randn(5, 24, 64, generator=torch.Generator().manual_seed(0))
    matrices = matrices / matrices.flatten(1).norm(dim=1)[:, None, None]
    values = torch.linalg.svdvals(orthogonalise(matrices.bfloat16()).float())
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_the_optimiser_state_comes_back_whole(tmp_path):
    trainer = Trainer(tmp_path, CONFIG, REAL)
    trainer.resume()
    trainer.train_step()
    state = trainer.optimizer.state()
    fresh = NorMuonAdamW(trainer.model.named_parameters())
    fresh.load_state(state)
    assert all(torch.equal(value, fresh.state()[key]) for key, value in state.items())
