"""effort="best": views of a series that a model may be asked about, and the average of what it says."""

import numpy as np
import pytest
import torch
from torch import nn

import tsfm
from tsfm import views
from tsfm.batch import Batch
from tsfm.batching import crop
from tsfm.forecaster import Forecaster

STEPS = np.arange(2048)
DAILY = 10 + 4 * np.sin(2 * np.pi * STEPS / 48) + np.random.default_rng(0).normal(size=2048)


class Repeating(nn.Module):
    """Forecasts the newest value at every level, and counts the series it was shown."""

    levels = (0.1, 0.5, 0.9)
    max_context = None
    gains_from_views = True

    def __init__(self):
        super().__init__()
        self.shown = 0

    def predict(self, batch: Batch, horizon: int, quantile_levels: object) -> torch.Tensor:
        self.shown += len(batch)
        return batch.values[:, -1:, None].expand(-1, horizon, 3)


@pytest.fixture
def repeating() -> Forecaster:
    return Forecaster(Repeating(), "repeating")


def asked(forecaster: Forecaster, values: np.ndarray, season: int, horizon: int = 5) -> np.ndarray:
    return forecaster.predict_arrays([values], horizon, [0.5], [season], effort="best")[0][:, 0]


def test_a_long_seasonal_series_is_shown_whole_in_halves_and_as_root(repeating: Forecaster):
    asked(repeating, DAILY, 48)
    assert repeating.model.shown == 4


@pytest.mark.parametrize(
    ("values", "season", "shown"),
    [(DAILY - 100, 48, 3), (DAILY, 12, 2), (DAILY[:500], 48, 2), (DAILY[:500] - 100, 7, 1)],
)
def test_only_views_that_a_series_allows_are_taken(repeating: Forecaster, values: np.ndarray, season: int, shown: int):
    asked(repeating, values, season)
    assert repeating.model.shown == shown


@pytest.mark.parametrize("horizon", [1, 5, 6])
@pytest.mark.parametrize("length", [2047, 2048])
def test_halves_go_on_from_the_right_step(repeating: Forecaster, horizon: int, length: int):
    values = DAILY[:length]
    contexts = [crop(values, None, "a")]
    positions, found = views.halves(
        repeating.model, torch.device("cpu"), contexts, horizon, [48], repeating.model.levels, {}
    )
    assert positions == [0]
    expected = [values[-2] if step % 2 == 0 else values[-1] for step in range(horizon)]  # two steps before, or more
    np.testing.assert_allclose(found[0][:, 1], expected, rtol=1e-6)


def test_the_square_of_the_root_is_the_value(repeating: Forecaster):
    contexts = [crop(np.array([1.0, 0.0, 4.0, 9.0]), None, "a"), crop(np.array([-1.0, 2.0]), None, "b")]
    positions, found = views.roots(
        repeating.model, torch.device("cpu"), contexts, 2, [1, 1], repeating.model.levels, {}
    )
    assert positions == [0]
    np.testing.assert_allclose(found[0], 9.0, rtol=1e-6)


def test_a_series_seen_at_odd_steps_alone_is_not_halved(repeating: Forecaster):
    gappy = DAILY.copy()
    gappy[::2] = np.nan
    assert np.isfinite(asked(repeating, gappy, 48)).all()
    assert repeating.model.shown == 2


def test_a_constant_series_forecasts_itself(repeating: Forecaster):
    np.testing.assert_array_equal(asked(repeating, np.full(2048, 3.0), 48), 3.0)


def test_the_best_effort_differs_from_the_fast_one_and_is_named(tmp_path):
    forecaster = tsfm.load("moe-decoder-tiny")
    fast, best = (forecaster.forecast(DAILY, 30, effort=effort) for effort in ("fast", "best"))
    assert not np.allclose(fast.quantile(0.5), best.quantile(0.5))
    assert views.NAMES in best.provenance.transforms
    assert views.NAMES not in fast.provenance.transforms
    assert not any("effort" in warning for warning in best.provenance.warnings)


def test_the_best_quantiles_never_cross():
    forecaster = tsfm.load("moe-decoder-tiny")
    found = forecaster.predict_arrays([DAILY, DAILY[:300] ** 2], 60, season=[48, 48], effort="best")
    assert all((np.diff(one, axis=1) >= 0).all() for one in found)


def test_a_baseline_has_nothing_more_to_give():
    forecaster = tsfm.load("seasonal-naive")
    fast, best = (forecaster.forecast(DAILY, 30, effort=effort) for effort in ("fast", "best"))
    np.testing.assert_array_equal(fast.quantile(0.5), best.quantile(0.5))
    assert any("effort='best'" in warning for warning in best.provenance.warnings)
