"""A written model carries what its run knows: how it was trained, and by what its training series are recognised."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets_registry import load_card
from tsfm.data.windows import WindowConfig
from tsfm.leaks import FILE
from tsfm.loading import load
from tsfm.models.moe_decoder import MoEDecoderConfig
from tsfm.training.config import RunConfig
from tsfm.training.runs import open_run, series_of, write_model

MODEL = MoEDecoderConfig(width=32, depth=1, heads=2, shared_width=16, expert_width=8, experts=4, patch=16)
WINDOWS = WindowConfig(
    patch=16, contexts=(64, 128), context_shares=(0.5, 0.5), tokens=128, chunk_series=16, chunk_steps=4
)
CONFIG = RunConfig(MODEL, WINDOWS, seed=3, steps=2, warmup=1, compiled=False)
SERIES = np.random.default_rng(0).normal(size=(2, 400)).cumsum(1).astype(np.float32)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one set that may be trained on."""
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    frame = pd.DataFrame({"item_id": ["a", "b"], "start": pd.Timestamp("2024-01-01"), "freq": "h"})
    frame["target"] = list(SERIES)
    (tmp_path / "sets").mkdir()
    frame.to_parquet(tmp_path / "sets" / "made.parquet")
    return tmp_path / "sets"


def released(folder: Path, data: tuple[str, ...]) -> Path:
    """Train for two steps and write the model."""
    trainer = open_run(folder / "run", replace(CONFIG, data=data))
    assert trainer.run(report=lambda line: None)
    return write_model(trainer.model, folder / "model", folder / "run")


def test_a_written_model_recognises_its_training_series(sets: Path, tmp_path: Path):
    model = load(released(tmp_path, ("synthetic", str(sets))))
    report = model.seen_in_training([SERIES[0][50:300] * 3.0, np.random.default_rng(1).normal(size=250).cumsum()])
    assert (report.seen, report.checked, report.sets) == ([0], [0, 1], ("made",))


def test_models_of_the_same_data_share_the_file_beside_their_folders(sets: Path, tmp_path: Path):
    first = released(tmp_path, (str(sets),))
    (first / FILE).rename(tmp_path / FILE)
    second = write_model(load(first).model, tmp_path / "second", tmp_path / "run")
    assert not (second / FILE).exists()
    assert load(second).seen_in_training(SERIES[1]).seen == [0]


def test_a_model_of_synthetic_data_has_seen_no_series(tmp_path: Path):
    report = load(released(tmp_path, ("synthetic",))).seen_in_training(SERIES)
    assert (report.seen, report.checked, report.sets) == ([], [0, 1], ())


@pytest.mark.data
def test_a_new_run_leaves_out_what_stands_in_an_evaluation_set(data_folder: Path):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    for name in ("tsdl", "gapminder_yearly"):
        path = data_folder / "pretrain" / f"{name}.parquet"
        whole, kept = series_of(path, withhold=False), series_of(path, withhold=True)
        assert len(whole) - len(kept) == len(load_card(name).withheld) > 0
