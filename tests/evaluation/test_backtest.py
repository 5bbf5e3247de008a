"""A backtest forecasts the windows that a person would cut by hand, leaks nothing, and counts and names everything."""

import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import tsfm
from tsfm.demo import COLUMNS, load_demo
from tsfm.errors import DataError, MissingDependency, UnknownName
from tsfm.evaluation import metrics
from tsfm.evaluation.backtest_scores import skill

BASELINE = "seasonal-naive"


def wave(steps=96, season=12, seed=0, noise=1.0):
    rhythm = 5 * np.sin(2 * np.pi * np.arange(steps) / season)
    return 20 + rhythm + noise * np.random.default_rng(seed).normal(size=steps)


def months(steps=96, seed=0):
    return pd.Series(wave(steps, seed=seed), index=pd.date_range("2015-01-31", periods=steps, freq="ME"), name="sales")


def last_value(contexts, horizon, levels, seasons):
    """A model of the user's: the last value at every level."""
    return [np.full((horizon, len(levels)), context[~np.isnan(context)][-1]) for context in contexts]


def broken(contexts, horizon, levels, seasons):
    raise RuntimeError("the licence server is asleep")


class Recorder:
    """A model that remembers what it was given."""

    __name__ = "recorder"

    def __init__(self):
        self.contexts, self.seasons = [], []

    def __call__(self, contexts, horizon, levels, seasons):
        self.contexts += contexts
        self.seasons += seasons
        return last_value(contexts, horizon, levels, seasons)


def of(frame, model):
    return frame[frame["model"] == model].reset_index(drop=True)


def test_the_windows_are_those_that_a_person_would_cut():
    values, recorder = np.arange(50.0) ** 2, Recorder()
    found = tsfm.backtest(values, 5, models=recorder, windows=3)
    cuts = [35, 40, 45]
    assert [context.tolist() for context in recorder.contexts] == [values[:cut].tolist() for cut in cuts]
    rows = of(found.forecasts, "recorder")
    assert rows["actual"].tolist() == values[35:].tolist()
    assert rows["step"].tolist() == list(range(35, 50))
    assert found.windows["cutoff"].tolist() == [34, 39, 44] * 2
    assert rows["0.5"].tolist() == np.repeat(values[[34, 39, 44]], 5).tolist()


def test_the_stride_moves_the_cutoffs_and_the_context_is_cut_where_asked():
    values, recorder = np.arange(50.0), Recorder()
    found = tsfm.backtest(values, 6, models=[recorder], windows=3, stride=2, context=10)
    assert [(context[0], context[-1]) for context in recorder.contexts] == [(30, 39), (32, 41), (34, 43)]
    assert any("overlap" in warning for warning in found.warnings)


def test_a_model_hears_the_season_of_each_series():
    recorder = Recorder()
    tsfm.backtest(load_demo(), 24, models=recorder, windows=1, **COLUMNS)
    assert recorder.seasons == [24, 24, 24]


@pytest.mark.parametrize("model", ["moe-decoder-tiny", BASELINE])
def test_nothing_after_a_cutoff_changes_a_forecast(model):
    series = months()
    later = series.copy()
    later.iloc[-12:] = 1e6
    before, after = (of(tsfm.backtest(data, 12, models=model, windows=3).forecasts, model) for data in (series, later))
    assert before["actual"].iloc[-1] != after["actual"].iloc[-1]
    pd.testing.assert_frame_equal(before.drop(columns="actual"), after.drop(columns="actual"))


def test_the_scores_of_the_seasonal_naive_row_are_those_computed_by_hand():
    series, horizon = months(), 12
    found = tsfm.backtest(series, horizon, models=(), windows=3, context=60)
    cuts = [60, 72, 84]
    values = series.to_numpy()
    target = np.stack([values[cut : cut + horizon] for cut in cuts])
    scale = np.array([metrics.seasonal_error(values[:cut], 12) for cut in cuts])
    forecasts = [tsfm.forecast(series.iloc[cut - 60 : cut], horizon, model=BASELINE) for cut in cuts]
    quantiles = np.stack([np.stack([one.quantile(level) for level in metrics.LEVELS], -1) for one in forecasts])
    median, low, high = (quantiles[..., metrics.LEVELS.index(level)] for level in (0.5, 0.1, 0.9))
    np.testing.assert_array_equal(median, np.stack([values[cut - 12 : cut] for cut in cuts]))
    row = found.table.loc[BASELINE]
    assert row["mase"] == pytest.approx(metrics.mase(target, median, scale), rel=1e-12)
    assert row["crps"] == pytest.approx(metrics.crps(target, quantiles), rel=1e-12)
    assert row["smape"] == pytest.approx(metrics.smape(target, median), rel=1e-12)
    assert row["coverage80"] == metrics.coverage(target, low, high)
    assert row["bias"] == pytest.approx((median - target).sum() / np.abs(target).sum(), rel=1e-9)
    assert np.isnan(row["mase_skill"])


def test_series_windows_and_steps_are_scored_as_they_would_be_alone():
    data = {name: months(seed=seed) for seed, name in enumerate("abc")}
    found = tsfm.backtest(data, 6, models=last_value, windows=4)
    alone = tsfm.backtest({"b": data["b"]}, 6, models=last_value, windows=4)
    pd.testing.assert_series_equal(
        of(found.by_series, "last_value").iloc[1], of(alone.by_series, "last_value").iloc[0], check_names=False
    )
    target, scale, median = found.cut.target, found.cut.scale, found.quantile("last_value", 0.5)
    steps = of(found.by_step, "last_value")
    assert steps["step"].tolist() == [1, 2, 3, 4, 5, 6]
    for step in range(6):
        at = slice(step, step + 1)
        assert steps["mase"][step] == pytest.approx(metrics.mase(target[:, at], median[:, at], scale), rel=1e-12)
    windows = of(found.windows, "last_value")
    for window in (0, 7):
        at = slice(window, window + 1)
        assert windows["mase"][window] == pytest.approx(metrics.mase(target[at], median[at], scale[at]), rel=1e-12)


def test_skill_is_what_is_saved_of_the_baselines_error():
    found = tsfm.backtest(months(), 12, models=last_value, windows=3).table
    for score in ("mase", "crps"):
        expected = 1 - found[score]["last_value"] / found[score][BASELINE]
        assert found[f"{score}_skill"]["last_value"] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(skill(np.array([1.0]), np.array([0.0]))).all()


def test_short_series_give_as_many_windows_as_they_can_and_are_counted():
    data = {"long": wave(60), "shorter": wave(25), "one": wave(12), "none": wave(9)}
    found = tsfm.backtest(data, 5, models="naive", windows=4)
    given = of(found.by_series, "naive").set_index("unique_id")["windows"]
    assert given.to_dict() == {"long": 4, "shorter": 4, "one": 1}
    assert list(found.skipped) == ["none"]
    assert "9 steps are too few: a window of 5 steps needs 10" in found.skipped["none"]
    assert "9 of 16 windows of 3 of 4 series, 5 steps each" in repr(found)
    assert "1 series gave fewer than 4 windows" in repr(found)
    assert found.table["windows"].tolist() == [9, 9]


def test_missing_values_of_a_target_take_no_part():
    values = wave(60)
    holes = values.copy()
    holes[[50, 51, 57]] = np.nan
    found = tsfm.backtest(holes, 10, models=last_value, windows=1)
    seen = ~np.isnan(holes[50:])
    expected = metrics.mase(values[50:][None, seen], np.full((1, 7), values[49]), found.cut.scale)
    assert found.table["mase"]["last_value"] == pytest.approx(expected, rel=1e-12)
    assert int(found.forecasts["actual"].isna().sum()) == 2 * 3


def test_windows_lie_at_the_end_of_what_was_observed():
    values = np.concatenate([wave(60), np.full(7, np.nan)])
    found = tsfm.backtest(values, 10, models=(), windows=2)
    assert found.windows["cutoff"].tolist() == [39, 49]


def test_a_window_without_anything_observed_is_left_out_and_counted():
    values = wave(80)
    values[60:70] = np.nan
    found = tsfm.backtest(values, 10, models=(), windows=3)
    assert found.windows["cutoff"].tolist() == [49, 69]
    assert any("1 window left out" in warning for warning in found.warnings)


def test_an_outage_longer_than_a_model_reads_fails_no_model():
    values = wave(6000)
    values[300:5960] = np.nan
    found = tsfm.backtest(values, 20, models="moe-decoder-tiny", windows=2)
    assert found.table["error"].tolist() == ["", ""]
    assert len(of(found.windows, "moe-decoder-tiny")) == 1


def test_neither_the_order_of_the_series_nor_the_batch_size_changes_a_number():
    data = {f"shop {seed}": months(60 + 7 * seed, seed=seed) for seed in range(5)}
    turned = dict(reversed(data.items()))
    model = tsfm.load("moe-decoder-tiny", precision="fp32")  # bfloat16 promises a hundredth of an interval's width
    one = tsfm.backtest(data, 6, models=model, windows=3)
    two = tsfm.backtest(turned, 6, models=model, windows=3, batch_size=2)
    pd.testing.assert_frame_equal(one.table.drop(columns="seconds"), two.table.drop(columns="seconds"), atol=1e-4)
    keys = ["model", "unique_id", "cutoff"]
    sorted_windows = [found.windows.sort_values(keys).reset_index(drop=True) for found in (one, two)]
    pd.testing.assert_frame_equal(*sorted_windows, atol=1e-3)


def test_a_model_that_fails_has_an_error_row_and_the_others_stay():
    found = tsfm.backtest(months(), 12, models=[broken, "naive"], windows=2)
    assert found.table.index.tolist() == [BASELINE, "broken", "naive"]
    assert found.table["error"]["broken"] == "RuntimeError: the licence server is asleep"
    assert found.table["windows"].tolist() == [2, 0, 2]
    assert np.isnan(found.table["mase"]["broken"]) and found.table["mase"]["naive"] > 0
    assert set(found.forecasts["model"]) == {BASELINE, "naive"}
    assert "broken failed: RuntimeError" in repr(found)
    found.plot().canvas.draw()
    with pytest.raises(DataError, match="failed and has nothing to draw"):
        found.plot(models="broken")
    assert "broken failed" in tsfm.backtest(months(), 12, models=broken, windows=2).verdict


@pytest.mark.parametrize(
    "answer, said",
    [(lambda shape: np.zeros(shape[:2]), "have shape"), (lambda shape: np.full(shape, np.nan), "are not finite")],
    ids=["shape", "nan"],
)
def test_forecasts_that_make_no_sense_are_a_failure(answer, said):
    def odd(contexts, horizon, levels, seasons):
        return answer((len(contexts), horizon, len(levels)))

    assert said in tsfm.backtest(months(), 12, models=odd, windows=2).table["error"]["odd"]


def test_a_function_that_writes_into_what_it_is_given_changes_no_data():
    def vandal(contexts, horizon, levels, seasons):
        for context in contexts:
            context[:] = 0.0
        return last_value(contexts, horizon, levels, seasons)

    values = wave()
    tsfm.backtest(values, 12, models=vandal, windows=2)
    np.testing.assert_array_equal(values, wave())


def test_the_baseline_is_first_and_there_once_and_namesakes_are_told_apart():
    models = ["naive", BASELINE, tsfm.load("naive"), last_value, last_value]
    found = tsfm.backtest(months(), 12, models=models, windows=2)
    assert found.models == [BASELINE, "naive", "last_value", "last_value (2)"]


def test_what_was_left_open_is_chosen_by_frequency_and_length_and_said():
    found = tsfm.backtest(months(), models="naive")
    assert found.chosen == {"horizon": 12, "windows": 4}
    assert "chosen for you: horizon = 12, windows = 4" in repr(found)
    many = tsfm.backtest([wave(400, seed=seed) for seed in range(60)], 4, models=())
    assert many.chosen == {"windows": 16}
    assert tsfm.backtest(months(), 12, windows=1, models=()).chosen == {}


def test_without_a_season_the_baseline_is_the_naive_forecast_and_that_is_said():
    found = tsfm.backtest(wave(), 12, models="naive", windows=3)
    assert found.table["mase_skill"]["naive"] == 0
    assert any("no known season" in warning for warning in found.warnings)
    assert not tsfm.backtest(wave(), 12, models="naive", windows=3, freq="MS").warnings


def test_the_verdict_says_who_wins_and_how_sure_that_is():
    def oracle(contexts, horizon, levels, seasons):
        return [np.full((horizon, len(levels)), 20.0) for _ in contexts]

    noise = {f"shop {seed}": 20 + np.random.default_rng(seed).normal(size=200) for seed in range(12)}
    better = tsfm.backtest(noise, 10, models=["drift", oracle], windows=5)
    assert better.verdict.startswith(f"oracle, the best of 2 models, beats {BASELINE.replace('-', ' ')} on 12 of 12")
    assert better.verdict.endswith("bootstrap over 12 series).")
    low, high = better.evidence.interval["oracle"]
    assert 0.1 < low < better.table["mase_skill"]["oracle"] < high < 0.5
    assert better.table["win_rate"]["oracle"] == 1

    def bad(contexts, horizon, levels, seasons):
        return [made + 5.0 for made in last_value(contexts, horizon, levels, seasons)]

    worse = tsfm.backtest(noise, 10, models=bad, windows=5).verdict
    assert "bad is worse than seasonal naive, which wins on 12 of 12 series" in worse
    same = tsfm.backtest(noise, 10, models="naive", windows=5).verdict
    assert "naive cannot be told from seasonal naive here: MASE skill 0 %" in same
    assert same.endswith("better on 0 of 12 series, equal on 12.")
    assert "name models=" in tsfm.backtest(noise, 10, models=(), windows=5).verdict


@pytest.mark.parametrize(
    "options, units",
    [({"windows": 1}, "1 cutoff"), ({"windows": 7}, "7 cutoffs"), ({"windows": 25, "stride": 3}, "7 spans")],
    ids=["one", "seven", "overlapping"],
)
def test_fewer_than_eight_units_give_neither_interval_nor_verdict(options, units):
    found = tsfm.backtest(months(144), 12, models="drift", **options)
    assert found.verdict.startswith(f"Too few windows for a verdict: {units}, and it takes 8. So far drift has")
    assert found.verdict.endswith("or at least 8 series.")
    assert "95 %" not in found.verdict and found.table["mase_skill_low"].isna().all()
    found.plot().canvas.draw()


def test_eight_units_give_both():
    for options in ({"windows": 8}, {"windows": 29, "stride": 3}):
        found = tsfm.backtest(months(144), 12, models="drift", **options)
        assert "95 % interval" in found.verdict and np.isfinite(found.table["mase_skill_low"]["drift"])


def test_series_on_which_two_models_are_equal_are_wins_of_neither():
    def better_on_low(contexts, horizon, levels, seasons):
        made = last_value(contexts, horizon, levels, seasons)
        return [
            one if context[0] > 50 else np.full_like(one, 20.0) for one, context in zip(made, contexts, strict=True)
        ]

    data = {code: 20 + 80 * (code > 5) + np.random.default_rng(code).normal(size=80) for code in range(9)}
    found = tsfm.backtest(data, 5, models=better_on_low, windows=3)
    assert found.wins("better_on_low") == (6, 3, 9)
    assert (found.table["win_rate"]["better_on_low"], found.table["tie_rate"]["better_on_low"]) == (6 / 9, 3 / 9)
    assert "on 6 of 9 series, equal on 3" in found.verdict
    assert "ties" in repr(found) and "ties" not in repr(tsfm.backtest(data, 5, models="drift", windows=3))

    def worse_on_low(contexts, horizon, levels, seasons):
        made = last_value(contexts, horizon, levels, seasons)
        return [one if context[0] > 50 else one + 5 for one, context in zip(made, contexts, strict=True)]

    worse = tsfm.backtest(data, 5, models=worse_on_low, windows=3)
    assert "which wins on 6 of 9 series, equal on 3" in worse.verdict


def test_series_without_a_mase_are_counted_with_the_reason_and_are_no_evidence():
    noise = {f"shop {seed}": 20 + np.random.default_rng(seed).normal(size=80) for seed in range(7)}
    late = np.concatenate([np.full(70, 3.0), 3 + np.random.default_rng(9).normal(size=10)])
    found = tsfm.backtest({**noise, "shut": [5.0] * 80, "late": late}, 5, models="drift", windows=2)
    (warning,) = [one for one in found.warnings if "no MASE" in one]
    assert warning.startswith("no MASE for 1 series and 1 window of others, which") and "history before them" in warning
    assert found.wins("drift").of == found.evidence.units == 8
    assert not any("no MASE" in one for one in tsfm.backtest(noise, 5, models="drift", windows=2).warnings)


def test_without_any_mase_there_is_no_verdict_and_the_reason_is_told():
    found = tsfm.backtest([5.0] * 40, 6, models="naive", windows=2)
    assert np.isnan(found.table["mase"]).all()
    assert found.verdict.startswith("No verdict, because no window has a MASE: the history before them is constant")
    found.plot().canvas.draw()


def test_a_baseline_without_an_error_leaves_nothing_to_save_and_says_who_errs():
    values = np.concatenate([wave(80), np.full(40, 7.0)])
    exact = tsfm.backtest(values, 5, models="naive", windows=3)
    assert exact.verdict.endswith("there is no skill; naive is exact as well.")
    wrong = tsfm.backtest(values, 5, models="drift", windows=3)
    assert "so there is no skill; drift has a MASE of 0." in wrong.verdict
    assert wrong.wins("drift") == (0, 0, 1) and exact.wins("naive") == (0, 1, 1)


HOURS = pd.date_range("2024-03-28", periods=96, freq="h", tz="Europe/Berlin")


def long_frame(index, time="hour"):
    parts = [pd.DataFrame({"shop": code, time: index, "sold": wave(seed=code)}) for code in (7, 3)]
    return pd.concat(parts, ignore_index=True).astype({"shop": "int32"})


INDEXES = {
    "zoned hours": HOURS,
    "seconds": pd.date_range("2024-01-01", periods=96, freq="D", unit="s"),
    "periods": pd.period_range("2016-01", periods=96, freq="M"),
    "durations": pd.timedelta_range("0h", periods=96, freq="h"),
    "years": pd.RangeIndex(1920, 2016),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_frames_keep_the_users_names_and_kinds_of_time(index):
    frame = long_frame(index)
    found = tsfm.backtest(frame, 6, models="naive", windows=2, id="shop", time="hour", target="sold")
    rows = of(found.forecasts, "naive")
    assert list(rows.columns[:5]) == ["model", "shop", "cutoff", "hour", "actual"]
    expected = pd.concat([frame.iloc[96 - 12 : 96], frame.iloc[-12:]], ignore_index=True)
    pd.testing.assert_frame_equal(rows[["shop", "hour"]], expected[["shop", "hour"]])
    np.testing.assert_array_equal(rows["actual"], expected["sold"])
    assert found.windows["cutoff"].dtype == frame["hour"].dtype
    assert of(found.windows, "naive")["cutoff"].tolist() == [index[83], index[89]] * 2
    assert found.by_series["shop"].dtype == np.int32
    found.plot().canvas.draw()


def test_uneven_time_stamps_are_those_of_the_data():
    seconds = np.random.default_rng(1).integers(1, 10_000, size=60).cumsum()
    index = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s")
    found = tsfm.backtest(pd.Series(wave(60), index=index), 5, models=(), windows=2)
    assert found.forecasts["ds"].tolist() == list(index[50:])
    assert found.windows["cutoff"].tolist() == [index[49], index[54]]


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    for module in ("tsfm.plotting", "tsfm.evaluation.backtest_plot"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delattr(module, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(MissingDependency, match=r"tsfm-forecast\[plot\]"):
        tsfm.backtest(months(), 12, models=(), windows=1).plot()


FAMILIES = {
    "list": wave().tolist(),
    "matrix": np.stack([wave(), wave(seed=1)]),
    "ragged": [wave(60), wave(80)],
    "dict": {"$x_1^{$": wave(), "<b>": wave(seed=1)},
    "series": months(),
    "wide": pd.DataFrame({"a": months(), "b": months(seed=1)}),
    "long": long_frame(HOURS, "ds").rename(columns={"shop": "unique_id", "sold": "y"}),
    "rows": [{"item_id": "a", "start": "2024-01-01", "target": wave(), "freq": "h"}],
    "gaps": np.where(np.arange(96) % 9 == 4, np.nan, wave()),
    "huge": wave() * 1e200,
}


@pytest.mark.parametrize("data", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("horizon", [1, 8])
def test_every_family_is_backtested_drawn_and_shown(data, horizon):
    found = tsfm.backtest(data, horizon, models=["naive", "drift"], windows=3)
    assert len(found.forecasts) == 3 * len(found.cut) * horizon
    found.plot().canvas.draw()
    card = found._repr_html_().replace("&nbsp;", " ").replace("&middot;", ".")
    ElementTree.fromstring(card)
    assert "seasonal-naive" in card and "seasonal-naive" in repr(found)


def test_chosen_series_and_models_are_drawn():
    data = {f"shop {seed}": months(seed=seed) for seed in range(8)}
    found = tsfm.backtest(data, 12, models=["naive", "drift"], windows=3)
    assert len(found.plot().axes) == 6 + 1
    figure = found.plot(ids=["shop 7", "shop 1"], models=["drift"], last=1, title="mine")
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["shop 7", "shop 1"]
    assert [line.get_label() for line in figure.axes[0].get_lines() if line.get_label()[0] != "_"] == [
        "actual",
        "drift",
    ]
    with pytest.raises(UnknownName, match="no series 'shop 9'"):
        found.plot(ids="shop 9")
    with pytest.raises(UnknownName, match=r"no model 'ets' in this backtest; there are seasonal-naive, naive, drift"):
        found.plot(models="ets")


def test_the_quantile_levels_asked_are_columns_and_change_no_score():
    few = tsfm.backtest(months(), 12, models="naive", windows=2, quantile_levels=(0.05, 0.95))
    assert list(few.forecasts.columns[-2:]) == ["0.05", "0.95"]
    usual = tsfm.backtest(months(), 12, models="naive", windows=2)
    pd.testing.assert_frame_equal(few.table.drop(columns="seconds"), usual.table.drop(columns="seconds"))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"horizon": 0}, DataError, "horizon=0 is too small"),
        ({"windows": 0}, DataError, "windows=0 is too small; give at least 1, such as windows=5"),
        ({"stride": 1.5}, DataError, "stride=1.5 is not a whole number"),
        ({"errors": "ignore"}, UnknownName, "errors='ignore' is not known"),
        ({"models": "prophet"}, UnknownName, "model 'prophet' is not known"),
        ({"models": [3]}, DataError, "3 is no model"),
        ({"horizon": 60}, DataError, "96 steps are too few: a window of 60 steps needs 120"),
        ({"quantile_levels": (1.0,)}, DataError, "quantile level 1.0 is outside (0, 1)"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_with_the_remedy(options, error, message):
    with pytest.raises(error) as caught:
        tsfm.backtest(wave(), **{"horizon": 12, "models": "naive", **options})
    assert message in str(caught.value)


def test_a_column_that_has_the_name_of_a_result_is_named():
    frame = long_frame(HOURS).rename(columns={"shop": "model"})
    with pytest.raises(DataError, match="the column 'model' of the data has the name of a column of the result"):
        tsfm.backtest(frame, 6, models=(), id="model", time="hour", target="sold")


def test_bad_series_are_refused_or_skipped_as_asked():
    data = {"good": wave(), "bad": [np.nan] * 50}
    with pytest.raises(DataError, match="'bad'"):
        tsfm.backtest(data, 12, models=())
    assert list(tsfm.backtest(data, 12, models=(), errors="skip").skipped) == ["bad"]


def test_the_model_in_the_package_beats_the_baseline_on_the_demo():
    found = tsfm.backtest(load_demo(), 24, windows=7, **COLUMNS)
    assert found.models == [BASELINE, "moe-decoder-tiny"]
    assert found.table["mase_skill"]["moe-decoder-tiny"] > 0.2
    assert found.wins("moe-decoder-tiny") == (3, 0, 3)
