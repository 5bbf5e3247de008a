"""Batches: which series go together, and what happens when memory runs out or somebody interrupts."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tsfm import DataError, Forecaster, TsfmError
from tsfm.batch import Batch
from tsfm.batching import bucket_length
from tsfm.models.naive import Naive
from tsfm.progress import Progress


class SmallMemory(Naive):
    """Naive on a machine whose memory holds a few series at a time, and which says so as torch does."""

    def __init__(self, holds: int, error: Exception):
        self.holds, self.error = holds, error
        self.sizes: list[int] = []

    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float]) -> Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.holds:
            raise self.error
        return super().predict(batch, horizon, quantile_levels)


@pytest.fixture
def many() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=length).cumsum() for length in rng.integers(2, 90, size=40)]


def test_a_bucket_is_a_multiple_of_the_patch_and_at_most_a_third_padding():
    for length in range(1, 5000):
        padded = bucket_length(length, 32)
        assert padded >= length and padded % 32 == 0
        assert (padded - (-(-length // 32) * 32)) / padded <= 1 / 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_batches_are_halved_until_they_fit_and_no_result_is_lost(many, error):
    model = SmallMemory(3, error)
    found = Forecaster(model, "small").predict_arrays(many, 5)
    assert max(model.sizes) > 3
    for one, wanted in zip(found, Forecaster(Naive(), "naive").predict_arrays(many, 5), strict=True):
        np.testing.assert_array_equal(one, wanted)


def test_a_series_that_does_not_fit_alone_is_an_error_with_a_remedy(many):
    with pytest.raises(TsfmError, match=r"does not fit in memory; give a shorter context="):
        Forecaster(SmallMemory(0, MemoryError()), "small").predict_arrays(many, 5)


def test_other_errors_of_a_model_come_through_as_they_are(many):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Forecaster(SmallMemory(0, RuntimeError("shapes cannot be multiplied")), "small").predict_arrays(many, 5)


def test_an_interrupt_leaves_the_forecaster_usable(many):
    model = SmallMemory(0, KeyboardInterrupt())
    forecaster = Forecaster(model, "small")
    with pytest.raises(KeyboardInterrupt):
        forecaster.predict_arrays(many, 5)
    model.holds = 99
    assert len(forecaster.predict_arrays(many, 5)) == len(many)


def test_batch_size_is_kept(many):
    model = SmallMemory(99, MemoryError())
    Forecaster(model, "small").predict_arrays(many, 5, batch_size=4)
    assert max(model.sizes) == 4
    assert sum(model.sizes) == len(many)


def test_a_model_sees_one_of_two_series_that_differ_only_in_their_crop(many):
    long = np.random.default_rng(0).normal(size=500)
    (found,) = Forecaster(Naive(), "naive").predict_arrays([long], 5, context=20)
    (wanted,) = Forecaster(Naive(), "naive").predict_arrays([long[-20:]], 5)
    np.testing.assert_array_equal(found, wanted)


def test_a_series_without_a_value_in_its_context_is_named_with_a_remedy():
    one = np.concatenate([np.arange(9.0), np.full(30, np.nan)])
    with pytest.raises(DataError, match=r"series 1 has no value in its last 20 steps; cut the missing values off"):
        Forecaster(Naive(), "naive").predict_arrays([np.arange(5.0), one], 5, context=20)


def test_seasons_must_match_the_series():
    with pytest.raises(DataError, match=r"season has 1 entries for 2 series"):
        Forecaster(Naive(), "naive").predict_arrays([np.arange(5.0)] * 2, 5, season=[7])


def test_no_series_give_no_forecasts():
    assert Forecaster(Naive(), "naive").predict_arrays([], 5) == []


def test_the_bar_is_silent_where_nobody_watches(many, capsys):
    Forecaster(Naive(), "naive").predict_arrays(many, 5, progress=None)
    assert capsys.readouterr().err == ""


def test_the_bar_is_drawn_when_asked_for(many, capsys):
    Forecaster(Naive(), "naive").predict_arrays(many, 5, progress=True)
    assert "series/s" in capsys.readouterr().err


def test_in_a_terminal_only_long_work_has_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(100, None) as short:
        short.advance(50)
    assert terminal.getvalue() == ""
    with Progress(100, None) as long:
        long.began -= 10
        long.advance(1)
    assert "/100" in terminal.getvalue()
