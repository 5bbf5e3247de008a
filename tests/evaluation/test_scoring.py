"""A forecaster is measured on the windows it should be, against the seasonal naive forecast on the same ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tsfm.errors import DataError
from tsfm.evaluation.metrics import Array
from tsfm.evaluation.protocol import Configuration
from tsfm.evaluation.scoring import evenly_spaced, score, seasonal_naive_forecaster, summarise, usable_windows


@pytest.fixture
def configuration(made_set: str) -> Configuration:
    return Configuration("made/H/short", made_set, "short", 24, 24, 2, 0.5, 0.25)


def zeros(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
    return [np.zeros((horizon, len(levels))) for _ in contexts]


def test_the_seasonal_naive_forecast_has_ratio_one_to_itself(configuration: Configuration) -> None:
    (row,) = score(seasonal_naive_forecaster, [configuration], "validation")
    assert (row.windows, row.available, row.baseline) == (6, 6, "computed")
    assert row.mase_ratio == row.crps_ratio == 1.0
    assert 0.6 < row.coverage80 <= 1.0


def test_the_whole_test_split_is_compared_with_the_published_row(configuration: Configuration) -> None:
    (row,) = score(zeros, [configuration], "test")
    assert (row.windows, row.baseline, row.naive_mase, row.naive_crps) == (4, "published", 0.5, 0.25)
    assert row.mase_ratio == row.mase / 0.5
    assert row.crps == pytest.approx(1.0)  # twice the level times the target, and the levels average to a half


def test_a_sample_of_test_windows_is_compared_on_the_same_windows(configuration: Configuration) -> None:
    (row,) = score(seasonal_naive_forecaster, [configuration], "test", max_windows=3)
    assert (row.windows, row.available, row.baseline, row.mase_ratio) == (3, 4, "computed", 1.0)


def test_windows_without_a_target_or_a_context_are_left_out(configuration: Configuration) -> None:
    pairs = usable_windows(configuration, "test")
    assert len(pairs) == 4  # the third series is missing where it would be tested
    assert all(np.isfinite(target).any() for _, target in pairs)


def test_a_forecaster_sees_nothing_after_the_cut(configuration: Configuration) -> None:
    seen: list[int] = []

    def remember(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        seen.extend(map(len, contexts))
        assert (horizon, seasons) == (24, [24] * len(contexts))
        return zeros(contexts, horizon, levels, seasons)

    score(remember, [configuration], "validation")
    assert sorted(set(seen)) == [144, 168]


def test_samples_are_spread_and_the_same_every_time() -> None:
    pairs = [(np.array([float(i)]), np.zeros(1)) for i in range(100)]
    first = [context[0] for context, _ in evenly_spaced(pairs, 5)]
    assert first == [context[0] for context, _ in evenly_spaced(pairs, 5)] == [0, 25, 50, 74, 99]
    assert len(evenly_spaced(pairs, 100)) == len(evenly_spaced(pairs, None)) == 100
    with pytest.raises(DataError, match="max_windows is 0"):
        evenly_spaced(pairs, 0)


def test_a_ratio_that_cannot_be_had_is_noted_and_left_out_of_the_means(configuration: Configuration) -> None:
    perfect = replace(configuration, name="perfect/H/short", seasonal_naive_mase=0.0)
    rows = score(zeros, [configuration, perfect], "test")
    assert np.isnan(rows[1].mase_ratio) and "no MASE ratio" in rows[1].note
    assert summarise(rows).mase_ratio == pytest.approx(rows[0].mase_ratio)


def test_a_configuration_without_room_for_validation_is_noted(configuration: Configuration) -> None:
    (row,) = score(zeros, [replace(configuration, windows=9)], "validation")
    assert row.windows == 0 and "no validation window" in row.note
    assert np.isnan(summarise([row]).mase_ratio)


def test_means_can_be_taken_over_sets_and_terms(configuration: Configuration) -> None:
    rows = score(zeros, [configuration, replace(configuration, name="made/H/long", dataset="made")], "test")
    assert [summarise(rows, term=term).rows for term in ("short", "long", None)] == [1, 1, 2]
    assert [summarise(rows, datasets=names).rows for names in (["made"], ["other"])] == [2, 0]


def test_a_forecaster_that_gives_another_shape_is_refused(configuration: Configuration) -> None:
    with pytest.raises(DataError, match=r"shape \(6, 24, 1\)"):
        score(lambda contexts, horizon, levels, seasons: [np.zeros((horizon, 1))] * len(contexts), [configuration])


def test_every_row_is_reported_as_it_is_ready(configuration: Configuration) -> None:
    reported: list[str] = []
    score(zeros, [configuration] * 2, progress=lambda row: reported.append(row.configuration))
    assert reported == ["made/H/short"] * 2
