"""The demo set is what its README says, and nothing is trained or evaluated on it."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsfm.demo import demo_path, load_demo

WINDOW, STRIDE = 64, 16


def test_the_demo_set_has_three_airports_without_gaps():
    demo = load_demo()
    assert list(demo.columns) == ["airport", "hour", "departures"]
    for _, series in demo.groupby("airport"):
        assert pd.DatetimeIndex(series.hour).equals(pd.date_range("2013-08-01", "2013-10-31 23:00", freq="h"))
        assert series.departures.ge(0).all()
    assert sorted(demo.airport.unique()) == ["EWR", "JFK", "LGA"]


def test_the_demo_set_is_the_file_that_was_checked_for_overlap():
    assert (
        hashlib.sha256(demo_path().read_bytes()).hexdigest()
        == "3a6d3214f61b013039d0d4c231d236c26b719c09b078af5f12964d4025602bf5"
    )


def fingerprints(values: np.ndarray, stride: int) -> set[bytes]:
    """Z-scored 64-point windows rounded to 1e-3, constants and windows with gaps skipped."""
    if len(values) < WINDOW:
        return set()
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(values, np.float64), WINDOW)[::stride]
    windows = windows[np.isfinite(windows).all(1)]
    windows = windows[windows.std(1) > 1e-12]
    scored = (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)
    return {row.tobytes() for row in np.round(scored, 3) + 0.0}


@pytest.mark.slow
@pytest.mark.data
def test_the_demo_set_shares_no_window_with_training_or_evaluation_data(data_folder: Path):
    demo: set[bytes] = set()
    for _, series in load_demo().groupby("airport"):
        demo |= fingerprints(series.departures.to_numpy(), stride=1)
    assert len(demo) > 6_000
    for path in sorted(data_folder.glob("*/*.parquet")):
        for target in pd.read_parquet(path, columns=["target"]).target:
            assert not demo & fingerprints(target, STRIDE), f"{path.name} overlaps the demo set"
