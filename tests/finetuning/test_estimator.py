"""`ForecastRegressor`: scikit-learn's own checks, and what rows that are steps of time ask beyond them."""

import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from finetuning.small import small_base
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, TimeSeriesSplit, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tsfm
from tsfm import DataError, ForecastRegressor

STEPS = 280
# A forecast of rows without labels depends on their place; everything else that scikit-learn checks holds.
BY_PLACE = {
    "check_methods_sample_order_invariance": "the third row is the third step ahead, wherever its values came from",
    "check_methods_subset_invariance": "a part of the rows begins at the first step ahead again",
}


@parametrize_with_checks(
    [ForecastRegressor("seasonal-naive", freq="D", horizon=5, covariates="ridge")],
    expected_failed_checks=lambda estimator: BY_PLACE,
)
@pytest.mark.filterwarnings("ignore:the columns of X are not used", "ignore:Can't check:UserWarning")
def test_what_scikit_learn_asks_of_a_regressor_holds(estimator, check):
    check(estimator)


def sales(steps=300, seed=0):
    """Daily sales that follow the week and, much more, a promotion; and when the promotion is."""
    generator = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=steps)
    X = pd.DataFrame({"promo": generator.integers(0, 2, steps).astype(float), "shop": 1.0}, index=days)
    values = 10 + 3 * np.sin(np.arange(steps) * 2 * np.pi / 7) + 5 * X["promo"] + 0.3 * generator.normal(size=steps)
    return X, values.rename("sales")


def test_a_forecast_is_that_of_the_model():
    _, y = sales()
    found = ForecastRegressor(context=200).fit(None, y[:STEPS]).predict(np.zeros((20, 1)))
    np.testing.assert_array_equal(found, tsfm.forecast(y[:STEPS], 20, context=200).median)


def test_columns_of_x_shift_the_forecast_of_the_embedded_model():
    X, y = sales()
    plain, reads = (
        ForecastRegressor(horizon=14, covariates=kind).fit(X[:STEPS], y[:STEPS]) for kind in (None, "ridge")
    )
    scores = [model.score(X[STEPS:], y[STEPS:]) for model in (plain, reads)]
    assert scores[1] > 0.8 > scores[0] + 0.3
    assert ("'promo' save" in reads.covariates_, plain.covariates_[:23]) == (True, "no column of X is used:")
    assert reads.columns_used_ == ["promo"]  # a column that never changes says nothing


def test_fine_tuning_keeps_what_does_better_and_reports_it():
    X, y = sales()
    base = small_base()
    tuned = ForecastRegressor(base, "lora", time_budget=2, horizon=14).fit(X[:STEPS], y[:STEPS])
    assert tuned.report_["winner"] != "zero-shot"
    assert "promo" in tuned.covariates_
    before = ForecastRegressor(base, covariates=None).fit(X[:STEPS], y[:STEPS])
    assert tuned.score(X[STEPS:], y[STEPS:]) > before.score(X[STEPS:], y[STEPS:])


def test_a_split_in_time_forecasts_what_follows_each_training_part():
    X, y = sales()
    split = TimeSeriesSplit(3, test_size=14)
    scores = cross_val_score(ForecastRegressor("seasonal-naive", covariates=None), X, y, cv=split, scoring="r2")
    for score, (train, test) in zip(scores, split.split(X), strict=True):
        forecast = tsfm.forecast(y.iloc[train], 14, model="seasonal-naive").median.to_numpy()
        truth = y.iloc[test].to_numpy()
        assert score == pytest.approx(1 - ((truth - forecast) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


@pytest.mark.parametrize("label", ["dates", "periods", "integers"])
def test_a_gap_before_the_test_part_is_seen_in_the_labels(label):
    X, y = sales()
    X.index = {"dates": X.index, "periods": X.index.to_period("D"), "integers": np.arange(len(X))}[label]
    fitted = ForecastRegressor("drift", horizon=14, covariates="ridge").fit(X[:STEPS], y[:STEPS].to_numpy())
    assert fitted.columns_used_ == ["promo"]
    whole = fitted.predict(X[STEPS:])
    # The first row after the gap sees less: nobody has told what stood in the row before it.
    np.testing.assert_allclose(fitted.predict(X[STEPS + 3 :])[1:], whole[4:])
    mixed = np.random.default_rng(0).permutation(20)
    np.testing.assert_allclose(fitted.predict(X[STEPS:].iloc[mixed]), whole[mixed])
    plain = ForecastRegressor("drift", covariates=None).fit(X[:STEPS], y[:STEPS].to_numpy())
    np.testing.assert_allclose(plain.predict(X[STEPS:].iloc[[9, 2, 2]]), plain.predict(X[STEPS:])[[9, 2, 2]])


@pytest.mark.parametrize("rows", ["dates in X", "integers in X", "dates in y"])
def test_a_shuffled_split_is_refused_with_the_remedy(rows):
    X, y = sales()
    X = {"dates in X": X, "integers in X": X.reset_index(drop=True), "dates in y": X.to_numpy()}[rows]
    y = y if rows == "dates in y" else y.to_numpy()
    with pytest.raises(DataError, match=r"lack \d+ steps.*TimeSeriesSplit"):
        cross_val_score(
            ForecastRegressor("naive"), X, y, cv=KFold(5, shuffle=True, random_state=0), error_score="raise"
        )


@pytest.mark.parametrize("dates", [True, False])
def test_a_test_part_before_the_training_part_is_refused_with_the_remedy(dates):
    X, y = sales()
    X = X if dates else X.reset_index(drop=True)
    with pytest.raises(DataError, match=r"row 0 of X is labelled .* after the training data.*TimeSeriesSplit"):
        cross_val_predict(ForecastRegressor("naive", covariates=None), X, y.to_numpy(), cv=KFold(3))


def test_a_table_made_afresh_for_the_forecast_holds_the_next_steps():
    X, y = sales()
    X = X.reset_index(drop=True)
    fitted = ForecastRegressor("drift", horizon=14, covariates="ridge").fit(X[:STEPS], y[:STEPS])
    np.testing.assert_array_equal(fitted.predict(X[STEPS:].reset_index(drop=True)), fitted.predict(X[STEPS:]))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X: X.shift(freq="12h"), r"labelled 2024-10-07 12:00:00, which is no step of the series: they go on at"),
        (lambda X: X.tz_localize("UTC"), "write times of both with or without a time zone"),
        (lambda X: X.to_period("D"), "label both alike"),
        (lambda X: X.set_axis(np.arange(500, 520)), "label both alike"),
        (lambda X: X.set_index("promo", append=True, drop=False), "give several series as columns of y"),
    ],
)
def test_labels_that_do_not_go_on_from_the_training_data_are_refused(change, message):
    X, y = sales()
    with pytest.raises(DataError, match=message):
        ForecastRegressor("naive", covariates=None).fit(X[:STEPS], y[:STEPS]).predict(change(X[STEPS:]))


def test_a_label_ages_away_is_refused():
    X, y = sales()
    fitted = ForecastRegressor("naive", covariates=None).fit(X[:STEPS].reset_index(drop=True), y[:STEPS])
    with pytest.raises(DataError, match=r"X reaches 2000019, more than 1,000,000 steps after the training data"):
        fitted.predict(X[STEPS:].set_axis(np.arange(2_000_000, 2_000_020)))


def test_rows_out_of_order_and_rows_of_other_days_are_refused():
    X, y = sales()
    with pytest.raises(DataError, match=r"row 1 of X is labelled 2024-10-25 .* so sort them"):
        ForecastRegressor("naive").fit(X[::-1], y[::-1])
    with pytest.raises(DataError, match="row 0 is labelled 2024-01-02 00:00:00 in X and 2024-01-01 00:00:00 in y"):
        ForecastRegressor("naive").fit(X[1:], y[:-1])


def test_it_works_in_a_pipeline_and_a_grid_finds_the_better_model():
    X, _ = sales()
    y = np.arange(300.0)
    pipeline = make_pipeline(StandardScaler(), ForecastRegressor("naive", covariates=None))
    search = GridSearchCV(
        pipeline,
        {"forecastregressor__model": ["naive", "drift"]},
        cv=TimeSeriesSplit(3),
        scoring="neg_mean_squared_error",
    ).fit(X, y)
    assert search.best_params_ == {"forecastregressor__model": "drift"}
    np.testing.assert_allclose(search.predict(X[:4]), [300, 301, 302, 303])


def test_frequency_gives_the_season_of_rows_without_dates():
    found = ForecastRegressor("seasonal-naive", freq="MS").fit(None, np.arange(40.0)).predict(None)
    np.testing.assert_array_equal(found, np.arange(28.0, 40.0))


def test_dates_of_y_alone_give_the_season():
    _, y = sales()
    fitted = ForecastRegressor("seasonal-naive").fit(None, y[:STEPS])
    np.testing.assert_array_equal(fitted.predict(np.zeros((7, 1))), y[STEPS - 7 : STEPS])
    with pytest.raises(DataError, match="X has no rows"):
        fitted.predict(np.zeros((0, 1)))


def test_an_index_is_enough_of_an_x():
    X, y = sales()
    bare = X[[]]
    scores = cross_val_score(
        ForecastRegressor("seasonal-naive"), bare, y, cv=TimeSeriesSplit(2, gap=5), error_score="raise"
    )
    assert np.isfinite(scores).all()
    with pytest.raises(DataError, match="X has no columns, and 2 were given to fit"):
        ForecastRegressor("naive", covariates=None).fit(X[:STEPS], y[:STEPS]).predict(bare[STEPS:])


def test_several_series_side_by_side_are_forecast_as_each_alone():
    X, y = sales()
    both = pd.DataFrame({"a": y, "b": -2 * y}, index=X.index)
    found = clone(model := ForecastRegressor("seasonal-naive", covariates=None)).fit(X[:STEPS], both[:STEPS])
    for place, name in enumerate(both):
        alone = clone(model).fit(X[:STEPS], both[name][:STEPS])
        np.testing.assert_array_equal(found.predict(X[STEPS:])[:, place], alone.predict(X[STEPS:]))
    assert found.predict_quantiles(X[STEPS:], (0.1, 0.9)).shape == (20, 2, 2)


def test_quantiles_do_not_cross_and_hold_the_median():
    X, y = sales()
    fitted = ForecastRegressor("seasonal-naive", quantile_levels=(0.1, 0.5, 0.9), covariates=None).fit(X, y)
    found = fitted.predict_quantiles(None)
    assert found.shape == (30, 3)
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_array_equal(found[:, 1], fitted.predict(None))
    np.testing.assert_array_equal(
        fitted.set_params(point="mean").predict(None), fitted.forecaster_.forecast(y, 30).mean
    )


def test_missing_values_of_y_are_allowed_and_of_x_refused():
    X, y = sales()
    y.iloc[[3, 100, 299]] = np.nan
    assert np.isfinite(
        ForecastRegressor("seasonal-naive", covariates="ridge")
        .fit(X, y)
        .predict_quantiles(X.set_axis(X.index + pd.Timedelta("300D")))
    ).all()
    with pytest.raises(DataError, match="series 'closed' has no value at all"):
        ForecastRegressor("naive").fit(X, pd.DataFrame({"sales": y, "closed": np.nan}))
    X.iloc[7, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        ForecastRegressor("naive").fit(X, y)


def test_too_few_rows_to_learn_from_x_are_told():
    X, y = sales()
    with pytest.warns(UserWarning, match="columns of X are not used: 20 steps are too few .* at a horizon of 30"):
        fitted = ForecastRegressor("naive").fit(X[:20], y[:20])
    assert fitted.columns_used_ == []


def test_steps_ahead_without_what_is_known_of_them_are_refused():
    X, y = sales()
    fitted = ForecastRegressor("seasonal-naive", horizon=14, covariates="ridge").fit(X, y)
    with pytest.raises(DataError, match="the forecast needs promo of the steps ahead; give them in X"):
        fitted.predict(None)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"finetune": "best"}, "finetune='best' is not known; give one of False"),
        ({"covariates": "forest"}, "covariates='forest' is not known; give one of 'auto', 'ridge', 'boosting', None"),
        ({"point": "mode"}, "point='mode' is not known"),
        ({"quantile_levels": (2,)}, "quantile level 2 is outside"),
        ({"finetune": True}, "model 'naive' cannot be fine-tuned"),
    ],
)
def test_an_option_that_makes_no_sense_is_named_when_fitting(options, message):
    with pytest.raises(tsfm.TsfmError) as caught:
        ForecastRegressor("naive", **options).fit(None, np.arange(40.0))
    assert message in str(caught.value)


def test_a_model_that_reads_columns_goes_on_reading_them():
    X, y = sales()
    learned = ForecastRegressor("seasonal-naive", horizon=14, covariates="ridge").fit(X[:STEPS], y[:STEPS])
    again = ForecastRegressor(learned.forecaster_).fit(X[:STEPS], y[:STEPS])
    np.testing.assert_array_equal(again.predict(X[STEPS:]), learned.predict(X[STEPS:]))
    with pytest.raises(DataError, match="this model reads 'promo', which is no column of X"):
        ForecastRegressor(learned.forecaster_).fit(None, y)


def test_a_loaded_model_survives_cloning():
    _, y = sales()
    model = ForecastRegressor(tsfm.load("moe-decoder-tiny"))
    found, other = (one.fit(None, y).predict(None) for one in (model, clone(model)))
    np.testing.assert_array_equal(found, other)


def test_fitting_again_forgets_the_columns_of_before():
    X, y = sales()
    model = ForecastRegressor("naive", covariates=None).fit(X, y).fit(None, y)
    assert not hasattr(model, "feature_names_in_")
    assert len(model.predict(None)) == 30


def test_a_fitted_estimator_gives_the_same_numbers_in_another_process(tmp_path):
    X, y = sales()
    fitted = ForecastRegressor(horizon=14, context=64, covariates="ridge").fit(X[:STEPS], y[:STEPS])
    assert fitted.columns_used_ == ["promo"]
    joblib.dump((fitted, X[STEPS:]), tmp_path / "fitted.joblib")
    script = "import sys, joblib, numpy; one, X = joblib.load(sys.argv[1]); numpy.save(sys.argv[2], one.predict(X))"
    subprocess.run([sys.executable, "-c", script, tmp_path / "fitted.joblib", tmp_path / "found.npy"], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), fitted.predict(X[STEPS:]))


def test_scikit_learn_is_imported_when_it_is_needed_and_named_when_it_is_not_there():
    script = (
        "import sys, tsfm; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None\n"
        "try: tsfm.ForecastRegressor\n"
        "except tsfm.MissingDependency as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told == "ForecastRegressor needs scikit-learn: pip install 'tsfm-forecast[sklearn]'\n"
