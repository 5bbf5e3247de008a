"""`tsfm.impute`: no NaN leaves, what was observed stays as it was, and what the model cannot tell is said."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import tsfm
from tsfm import DataError, Forecaster, UnknownName
from tsfm.checkpoints import embedded
from tsfm.conditioning import condition, restore
from tsfm.demo import COLUMNS, load_demo
from tsfm.imputing import DEFAULT_FILLER
from tsfm.models.visual_mae import PRESETS, VisualMAE

LONGEST = PRESETS["tiny"].longest_gap_filled  # 544 steps
HOURS = pd.date_range("2024-01-01", periods=200, freq="h")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = VisualMAE(PRESETS["tiny"])
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape)
    return Forecaster(model.eval(), "tiny").save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder):
    return tsfm.load(folder, device="cpu", precision="fp32")


def wave(steps=200, level=20.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=steps)
    return level + 3 * np.sin(2 * np.pi * np.arange(steps) / 24) + 0.3 * noise


def holed(values, *holes):
    found = np.array(values, dtype=float)
    for start, stop in holes:
        found[start:stop] = np.nan
    return found


def test_no_gap_is_left_and_what_was_observed_stays_to_the_last_bit(model):
    data = holed(wave(), (0, 3), (50, 60), (100, 101), (195, 200))
    made = tsfm.impute(data, model=model)
    seen = ~np.isnan(data)
    assert np.isfinite(made.values).all()
    assert made.values[seen].tobytes() == data[seen].tobytes()
    assert made.counts == {0: 19}


def test_a_gap_holds_what_the_model_says_of_the_conditioned_series(model):
    data = holed(wave(192), (50, 60))
    conditioned = condition(data[None])
    said = model.model.reconstruct(torch.from_numpy(conditioned.values).float(), torch.from_numpy(conditioned.observed))
    wanted = restore(said.double().numpy(), conditioned)[0]
    made = tsfm.impute(data, model=model)
    for level, column in zip(model.model.levels, wanted.T, strict=True):
        np.testing.assert_allclose(made.quantile(level), np.where(np.isnan(data), column, data), rtol=1e-6)


def test_a_series_is_filled_alike_alone_and_in_any_company(model):
    lengths = (40, 150, 200, 700, 1300)
    data = [holed(wave(steps, seed=steps), (5, 9), (steps - 20, steps - 12)) for steps in lengths]
    together = tsfm.impute(data, model=model).values
    for others in (
        tsfm.impute(data[::-1], model=model).values[::-1],
        tsfm.impute(data, model=model, batch_size=1).values,
    ):
        for one, other in zip(together, others, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=3e-5)
    for one, series in zip(together, data, strict=True):
        np.testing.assert_allclose(one, tsfm.impute(series, model=model).values, rtol=0, atol=3e-5)


@pytest.mark.parametrize("factor, shift", [(1e-6, 0.0), (1e6, -3e8), (7.3, 1000.0), (-1.0, 0.0)])
def test_units_do_not_matter(model, factor, shift):
    data = holed(wave(level=0.0), (50, 60), (120, 140))
    if factor < 0:
        data = data - np.nanmean(data)
    made = tsfm.impute(factor * data + shift, model=model).values
    if factor > 0:
        wanted = factor * tsfm.impute(data, model=model).values + shift
        np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-4 * abs(factor) * np.nanstd(data))
    assert np.isfinite(made).all()


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e300])
def test_any_finite_numbers_give_finite_numbers(model, scale):
    data = scale * holed(wave(level=0.0), (50, 60))
    made = tsfm.impute(data, model=model)
    assert np.isfinite(made.values).all()
    assert np.isfinite(made.quantile(0.99)).all()


def test_levels_never_cross_and_an_observed_step_is_itself_at_all_of_them(model):
    data = holed(wave(), (50, 60), (100, 101))
    made = tsfm.impute(data, model=model)
    levels = np.stack([made.quantile(level) for level in (0.01, 0.1, 0.25, 0.5, 0.85, 0.9, 0.999)])
    assert (np.diff(levels, axis=0) >= 0).all()
    assert (np.diff(levels, axis=0)[:, ~np.isnan(data)] == 0).all()
    low, high = made.interval(0.8)
    assert (low == levels[1]).all()
    assert (high == levels[-2]).all()


def test_nothing_below_zero_is_put_where_nothing_below_zero_was_seen(model):
    data = holed(np.maximum(wave(level=0.0), 0.0), (40, 70), (120, 150))
    assert tsfm.impute(data, model=model).quantile(0.001).min() == 0
    data[0] = -1.0
    assert tsfm.impute(data, model=model).quantile(0.001)[~np.isnan(data)].min() == -1
    assert tsfm.impute(data, model=model).quantile(0.001).min() < -1


def test_a_constant_series_is_filled_with_its_constant(model):
    made = tsfm.impute([0.1, None, 0.1, None], model=model)
    assert made.values == [0.1, 0.1, 0.1, 0.1]
    assert made.quantile(0.99) == made.values
    steps = np.concatenate([np.full(LONGEST, 5.0), wave(LONGEST)])
    filled = tsfm.impute(holed(steps, (50, 60)), model=model).values
    assert (filled[50:60] == 5).all()


def test_gaps_at_the_ends_are_filled_and_told(model):
    data = pd.Series(holed(wave(), (0, 7), (190, 200)), HOURS, name="load")
    told = tsfm.impute(data, model=model).provenance.warnings
    assert told == [
        "series 'load': 7 steps before its first value filled too, from what follows alone",
        "series 'load': 10 steps after its last value filled too, as a forecast would be",
    ]


def test_two_values_give_a_straight_line_without_levels(model):
    made = tsfm.impute({"a": [1, None, None, 4], "b": wave()}, model=model, quantile_levels=(0.9,))
    assert made.values["a"] == [1, 2.0, 3.0, 4]
    assert made.provenance.warnings == [
        "series 'a': 2 steps filled by a straight line, without levels: the series has 2 values and the model needs 3"
    ]
    with pytest.raises(DataError, match=r"series 'a' has 2 steps on a straight line, which has no level 0\.9"):
        made.quantile(0.9)
    assert made.to_frame()["0.9"].isna().tolist()[:4] == [False, True, True, False]


def test_a_straight_line_between_the_ends_of_all_numbers_goes_down_the_middle(model):
    data = [1.7e308, math.nan, math.nan, math.nan, -1.7e308]
    assert tsfm.impute(data, model=model).values == pytest.approx([1.7e308, 0.85e308, 0.0, -0.85e308, -1.7e308])


def test_what_lies_too_far_inside_a_long_gap_is_a_straight_line_and_told(model):
    data = holed(wave(4 * LONGEST), (LONGEST, 3 * LONGEST))
    made = tsfm.impute(data, model=model)
    assert np.isfinite(made.values).all()
    assert len(made.provenance.warnings) == 1
    assert "filled by a straight line, without levels: the gap leaves too few values in the 544 steps" in str(made)
    middle = made.values[2 * LONGEST - 50 : 2 * LONGEST + 50]
    np.testing.assert_allclose(np.diff(middle, 2), 0, atol=1e-9)
    assert np.abs(np.diff(made.values[LONGEST : LONGEST + 50], 2)).max() > 1e-3


def test_nothing_to_go_by_is_an_error_in_words(model):
    with pytest.raises(DataError, match=r"series 'a' has no value at all \(2 missing\); leave it out"):
        tsfm.impute({"a": [None, None], "b": [1.0, None, 2.0, 5.0]}, model=model)
    made = tsfm.impute({"a": [None, None], "b": [1.0, None, 2.0, 5.0]}, model=model, errors="skip")
    assert list(made.values) == ["b"]
    assert list(made.skipped) == ["a"]


def test_data_without_a_gap_come_back_equal_and_are_not_the_same_object(model):
    frame = load_demo()
    made = tsfm.impute(frame, model=model, **COLUMNS)
    pd.testing.assert_frame_equal(made.values, frame)
    assert made.values is not frame
    assert made.counts == dict.fromkeys(("EWR", "JFK", "LGA"), 0)
    values = wave()
    made = tsfm.impute(values, model=model).values
    made[0] = 0
    assert values[0] != 0


def test_missing_rows_of_a_frame_are_inserted(model):
    whole = load_demo()
    frame = whole.drop(index=range(100, 130)).reset_index(drop=True)
    made = tsfm.impute(frame, model=model, quantile_levels=(0.1, 0.9), **COLUMNS)
    assert made.values[["airport", "hour"]].equals(whole[["airport", "hour"]])
    assert made.values.drop(range(100, 130)).departures.tolist() == frame.departures.tolist()
    assert made.counts == {"EWR": 30, "JFK": 0, "LGA": 0}
    assert made.provenance.warnings[0].startswith("series 'EWR': 30 missing steps of 'h' inserted (first after 2013-")
    table = made.to_frame()
    assert table.columns.tolist() == ["airport", "hour", "departures", "filled", "0.1", "0.9"]
    assert np.flatnonzero(table.filled).tolist() == list(range(100, 130))
    assert (table.loc[table.filled, "0.1"] < table.loc[table.filled, "0.9"]).all()
    np.testing.assert_array_equal(table.departures, made.values.departures)


def test_the_levels_of_data_that_were_filled_in_place_are_still_there(model):
    frame = pd.DataFrame({"ds": HOURS, "y": holed(wave(), (50, 60))})
    made = tsfm.impute(frame, model=model)
    frame["y"] = made.values.y
    assert (made.quantile(0.9).y[50:60] > frame.y[50:60]).all()


def test_a_file_comes_back_as_a_frame(model, tmp_path):
    frame = pd.DataFrame({"ds": HOURS.astype(str), "y": holed(wave(), (50, 60))}).drop(index=[20, 21])
    frame.to_csv(tmp_path / "load.csv", index=False)
    made = tsfm.impute(tmp_path / "load.csv", model=model)
    assert len(made.values) == 200
    assert made.counts == {"y": 12}
    assert made.values.y.notna().all()


def test_a_panel_comes_back_as_one(model):
    panel = tsfm.impute(holed(wave(), (5, 8)), model=model).panel
    made = tsfm.impute(panel, model=model).values
    assert isinstance(made, tsfm.Panel)
    assert np.isfinite(made.values[0]).all()


def test_a_result_tells_what_it_is(model):
    made = tsfm.impute({"a": holed(wave(), (5, 8)), "b<": wave()}, model=model)
    assert repr(made).startswith(f"3 steps filled in 1 of 2 series, by {model.name} in ")
    assert "b&lt;" in made._repr_html_()
    assert len(made) == 2
    assert list(made) == made.ids == ["a", "b<"]


def test_a_plot_shows_the_longest_gap_of_each_series_that_had_one(model):
    data = {"a": holed(wave(), (150, 170), (5, 7)), "b": wave(), "c": holed(wave(), (30, 31))}
    figure = tsfm.impute(data, model=model).plot()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["a", "c"]
    assert figure.axes[0].get_xlim()[1] > 170
    assert len(tsfm.impute(wave(), model=model).plot().axes) == 1


def test_only_a_model_that_sees_gaps_fills_them():
    with pytest.raises(DataError, match="model 'naive' cannot fill gaps; a visual MAE of ours does"):
        tsfm.impute([1.0, None, 2.0], model="naive")


@pytest.mark.skipif(DEFAULT_FILLER in embedded(), reason="the default model is installed")
def test_the_default_says_how_to_get_it_where_it_is_not_installed():
    with pytest.raises(UnknownName, match=r"'visual-mae-nano', .* is not in this installation; train one by"):
        tsfm.impute([1.0, None, 2.0])


@pytest.mark.skipif(DEFAULT_FILLER not in embedded(), reason="the default model is not installed")
def test_the_default_fills_a_season_better_than_a_straight_line():
    data = holed(wave(), (90, 110))
    found = tsfm.impute(data).values
    line = np.interp(np.arange(200), np.flatnonzero(~np.isnan(data)), data[~np.isnan(data)])
    assert np.abs(found - wave())[90:110].mean() < 0.5 * np.abs(line - wave())[90:110].mean()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quantile_levels": (1.5,)}, "quantile level 1.5 is outside (0, 1)"),
        ({"batch_size": 0}, "batch_size=0 is too small"),
        ({"errors": "ignore"}, "errors='ignore' is not known"),
        ({"device": "cpu"}, "a loaded model has its device and precision"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(model, options, message):
    with pytest.raises(tsfm.TsfmError) as caught:
        tsfm.impute([1.0, None, 2.0], model=model, **options)
    assert message in str(caught.value)
    assert not math.isnan(tsfm.impute([1.0, None, 2.0], model=model).values[1])
