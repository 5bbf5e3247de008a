"""`evaluation/speed_scan.py` compares scans that say the same, and counts what they take."""

import pytest
import torch

from evaluation import speed_scan
from evaluation.speed_scan import Sizes, measure, peak_megabytes

SMALL = Sizes(2, 8, 4, 70)


@pytest.fixture(scope="module")
def rows():
    return measure(SMALL, backward=True, budget=0.02)


def test_every_way_is_timed_and_says_what_the_loop_says(rows):
    assert [row["way"] for row in rows] == ["ours", "loop", "tensors"]
    assert all(row["ms"] > 0 and row["relative_error"] < 1e-5 for row in rows)
    assert next(row["times_loop"] for row in rows if row["way"] == "loop") == 1


def test_our_scan_keeps_less_than_every_state_and_the_others_more(rows):
    kept = {row["way"]: row["kept_mb"] for row in rows}
    assert rows[0]["all_states_mb"] == pytest.approx(4e-6 * 2 * 8 * 4 * 70)
    assert kept["ours"] < rows[0]["all_states_mb"] / 2 < kept["tensors"]
    assert kept["loop"] > rows[0]["all_states_mb"]


def test_a_way_that_says_something_else_is_refused(monkeypatch):
    monkeypatch.setitem(speed_scan.WAYS, "tensors", lambda *inputs: 2 * speed_scan.by_tensors(*inputs))
    with pytest.raises(ValueError, match="tensors is wrong by"):
        measure(SMALL, backward=False, budget=0.02)


def test_the_peak_is_that_of_what_a_call_allocates():
    peak = peak_megabytes(lambda: torch.zeros(5_000_000) + 1)
    assert peak == "" or 38 < peak < 45  # two tensors of 20 MB at once
