"""Streams: going on from a state equals reading everything again, in constant memory, with the user's own axis."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from every_forecaster import forecaster_named

from tsfm import Forecaster
from tsfm.errors import DataError
from tsfm.models.state_space import PRESETS, StateSpace
from tsfm.models.state_space_mixers import MIXERS

CONTEXT = 256
SMALL = replace(PRESETS["pico"], width=32, inner=32, state=8, max_ahead=4, max_context=CONTEXT)


def small(mixer: str = "ssd") -> Forecaster:
    torch.manual_seed(0)
    model = StateSpace(replace(SMALL, mixer=mixer)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return Forecaster(model, "small")


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return small()


def series(steps: int, seed: int = 0) -> np.ndarray:
    """A noisy wave on a walk, with values missing."""
    rng = np.random.default_rng(seed)
    values = 50 + 3 * np.sin(np.arange(steps) * 2 * np.pi / 24) + rng.normal(size=steps).cumsum() / 5
    values[1:][rng.random(steps - 1) < 0.05] = np.nan
    return values


def knots(stream) -> np.ndarray:
    forecast = stream.forecast(40, clip=None)
    return np.stack([forecast.quantile(level) for level in SMALL.quantile_levels], -1)


def read_again(forecaster: Forecaster, values: np.ndarray, context: int) -> np.ndarray:
    (found,) = forecaster.predict_arrays([values], 40, SMALL.quantile_levels, context=context, clip=None)
    return found


@pytest.mark.parametrize("mixer", sorted(set(MIXERS) - {"attention"}))
def test_going_on_equals_reading_again(mixer):
    forecaster, values = small(mixer), series(200)
    stream = forecaster.stream(values[:90])
    for end in (91, 100, 133, 200):
        begin = stream.context
        stream.update(values[begin:end])
        wanted = read_again(forecaster, values[:end], end)
        assert np.abs(knots(stream) - wanted).max() <= 1e-5 * np.nanstd(values)


@pytest.mark.parametrize("start", [0, 5, 200, 500])
def test_a_long_stream_equals_reading_as_many_steps_as_it_says(forecaster, start):
    values = series(700)
    stream = forecaster.stream(values[: max(start, 1)])
    for begin in range(max(start, 1), 700, 77):
        end = min(begin + 77, 700)
        stream.update(values[begin:end])
        assert CONTEXT // 2 < stream.context <= CONTEXT or stream.context == end
        wanted = read_again(forecaster, values[:end], stream.context)
        assert np.abs(knots(stream) - wanted).max() <= 1e-5 * np.nanstd(values)


def test_how_points_arrive_changes_nothing(forecaster):
    values = series(CONTEXT + 40)
    one_by_one = forecaster.stream(values[: CONTEXT - 10])
    for value in values[CONTEXT - 10 :]:
        one_by_one.update(value)
    at_once = forecaster.stream(values[: CONTEXT - 10]).update(values[CONTEXT - 10 :])
    anew = forecaster.stream(values)
    assert one_by_one.context == at_once.context == anew.context
    np.testing.assert_allclose(knots(one_by_one), knots(at_once), rtol=1e-5)
    np.testing.assert_allclose(knots(one_by_one), knots(anew), rtol=1e-5)


def test_memory_is_constant(forecaster):
    def size(stream) -> int:
        readings = [reading for one in stream.series for reading in (one.older, one.younger)]
        states = sum(part.nbytes for reading in readings for layer in reading.state for part in layer)
        return states + sum(reading.points.nbytes for reading in readings)

    sizes = []
    stream = forecaster.stream(series(CONTEXT))
    for seed in range(6):
        stream.update(series(CONTEXT, seed))
        sizes.append(size(stream))
    assert len(set(sizes)) == 1


def test_a_forecast_does_not_move_the_stream(forecaster):
    stream = forecaster.stream(series(100))
    first = knots(stream)
    stream.forecast(300)
    np.testing.assert_array_equal(knots(stream), first)


def test_forecasts_go_on_with_the_users_time_stamps(forecaster):
    hours = pd.Series(series(60), index=pd.date_range("2026-01-01", periods=60, freq="h"))
    stream = forecaster.stream(hours).update([1.0, 2.0, 3.0])
    forecast = stream.forecast(2)
    assert list(forecast.median.index) == list(pd.date_range("2026-01-03 15:00", periods=2, freq="h"))
    stream.update(series(500))
    assert stream.forecast(1).median.index[0] == hours.index[0] + pd.Timedelta(hours=563)


HOURS = pd.date_range("2026-01-01", periods=80, freq="h")


def history_of(kind: str, frame: pd.DataFrame) -> object:
    """The columns of a frame in one of the ways in which people keep series."""
    if kind == "series":
        return frame["a"]
    if kind == "dict":
        return {name: frame[name] for name in frame.columns}
    if kind == "time column":
        return frame.rename_axis("time").reset_index()
    if kind == "long":
        return frame.rename_axis("time").reset_index().melt("time", var_name="unique_id", value_name="y")
    if kind == "polars":
        return pytest.importorskip("polars").from_pandas(frame.rename_axis("time").reset_index())
    return frame


@pytest.mark.parametrize("kind", ["series", "dict", "frame", "time column", "long", "polars"])
def test_points_with_time_stamps_go_to_their_steps_and_steps_left_out_are_missing(forecaster, kind):
    frame = pd.DataFrame({"a": series(80), "b": series(80, 1)}, HOURS)
    later = frame.iloc[60:].drop(HOURS[[60, 61, 70]])[::-1]
    stream = forecaster.stream(history_of(kind, frame[:60])).update(history_of(kind, later))
    frame.iloc[[60, 61, 70]] = np.nan
    wanted = forecaster.forecast(history_of(kind, frame), 8)
    found, wanted = (
        pd.DataFrame({name: list(made[name]) for name in made.columns})
        for made in (stream.forecast(8).to_frame(), wanted.to_frame())
    )
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-4)


def test_columns_beside_the_series_are_passed_over_as_in_the_history(forecaster):
    frame = pd.DataFrame({"hour": HOURS, "sold": series(80), "note": "calm", "wind": 1.0})
    stream = forecaster.stream(frame[:60], target="sold").update(frame[60:])
    assert stream.forecast(1).to_frame().hour[0] == HOURS[-1] + pd.Timedelta("1h")


def test_stamps_of_any_kind_say_which_step_comes_next(forecaster):
    for index in (
        pd.period_range("2020-01", periods=33, freq="M"),
        pd.date_range("2020-01-31", periods=33, freq="ME", unit="s"),
        pd.bdate_range("2026-01-01", periods=33),
        pd.date_range("2026-03-01", periods=33, tz="Europe/Berlin"),
        pd.RangeIndex(100, 166, 2),
    ):
        stream = forecaster.stream(pd.Series(series(30), index[:30])).update(pd.Series([1.0], index[31:32]))
        assert stream.forecast(1).median.index[0] == index[32]
    unstamped = forecaster.stream(pd.Series(series(30), HOURS[:30])).update(pd.Series([1.0, 2.0]))
    assert unstamped.forecast(1).median.index[0] == HOURS[32]


@pytest.mark.parametrize(
    "stamps, message",
    [
        (["2026-01-02 05:00"], r"new point at 2026-01-02 05:00:00, and 30 steps up to 2026-01-02 05:00:00 were read"),
        (["2126-01-01"], r"876,547 steps after 2026-01-02 05:00:00, and the model reads 256; begin a new stream"),
        (["2026-01-02 06:00"] * 2, r"more than one new point for the step at 2026-01-02 06:00:00"),
        ([pd.Timestamp("2026-01-02 06:00", tz="UTC")], r"no stamp of the kind of 2026-01-01 00:00:00; give the index"),
    ],
)
def test_points_that_do_not_follow_are_refused_and_move_nothing(forecaster, stamps, message):
    stream = forecaster.stream(pd.Series(series(30), HOURS[:30]))
    before = knots(stream)
    with pytest.raises(DataError, match=message):
        stream.update(pd.Series(np.ones(len(stamps)), pd.DatetimeIndex(stamps)))
    np.testing.assert_array_equal(knots(stream), before)


def test_month_ends_stay_month_ends(forecaster):
    months = pd.Series(np.arange(40.0) % 12, index=pd.date_range("2000-01-31", periods=40, freq="ME"))
    stream = forecaster.stream(months).update(np.arange(300.0) % 12)
    assert stream.forecast(1).median.index[0] == pd.date_range("2000-01-31", periods=341, freq="ME")[-1]


def test_several_series_are_updated_by_name(forecaster):
    stream = forecaster.stream({"a": series(80), "b": series(120, 1)})
    stream.update({"b": [51.0, 52.0]})
    found = stream.forecast(40, clip=None).quantile(0.5)
    wanted = forecaster.predict_arrays([series(80), np.append(series(120, 1), [51.0, 52.0])], 40, [0.5], clip=None)
    np.testing.assert_allclose(found["a"], wanted[0][:, 0], rtol=1e-5)
    np.testing.assert_allclose(found["b"], wanted[1][:, 0], rtol=1e-5)


def test_a_constant_stream_forecasts_itself_until_it_moves(forecaster):
    stream = forecaster.stream([7.25] * 20).update([np.nan, 7.25])
    assert (stream.forecast(5).median == 7.25).all()
    assert not (stream.update(9.0).forecast(5).median == 7.25).all()


def test_nothing_goes_below_zero_where_nothing_has_been(forecaster):
    counts = np.random.default_rng(0).poisson(0.3, 150).astype(float)
    stream = forecaster.stream(counts)
    assert (stream.forecast(40).quantile(0.1) >= 0).all()
    assert (stream.update(-50.0).forecast(40).quantile(0.1) < 0).any()


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1e6, 1e300])
def test_a_stream_has_the_size_of_its_series(forecaster, scale):
    values = series(150)
    usual = knots(forecaster.stream(values[:80]).update(values[80:]))
    found = knots(forecaster.stream(scale * values[:80]).update(scale * values[80:]))
    np.testing.assert_allclose(found / scale, usual, rtol=1e-4)


def test_errors_name_the_series_and_the_remedy(forecaster):
    with pytest.raises(DataError, match=r"'naive' keeps no state.*state-space"):
        forecaster_named("naive").stream([1.0, 2.0])
    stream = forecaster.stream({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(DataError, match=r"'c' is not in this stream; begin a new one"):
        stream.update({"c": [1.0]})
    with pytest.raises(DataError, match=r"points for 1 series and the stream has 2; use a dict"):
        stream.update([[1.0]])
    with pytest.raises(DataError, match=r"points for 1 series and the stream has 2; use a dict"):
        stream.update(1.0)
    with pytest.raises(DataError, match=r"'a' has an infinite new value; give NaN"):
        stream.update({"a": [np.inf]})
    with pytest.raises(DataError, match=r"'b'.*holds what is no number"):
        stream.update({"b": ["x"]})
    with pytest.raises(DataError, match="keeps no state"):
        small("attention").stream([1.0, 2.0, 3.0])
