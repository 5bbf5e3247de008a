"""Covariates that explain what a base cannot know make its forecasts better, and those that do not change nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

import tsfm
from tsfm.covariate_features import at_end
from tsfm.covariate_head import CovariateHead
from tsfm.data.adapters import to_panel
from tsfm.errors import DataError
from tsfm.evaluation.backtest_windows import cut
from tsfm.finetuning.covariate_choice import choose_head
from tsfm.finetuning.covariate_rules import TREES, exported
from tsfm.finetuning.covariates import (
    LEVELS,
    adjusted,
    base_quantiles,
    columns_of,
    fit_head,
    training_windows,
)

H, STEPS = 7, 320
DAYS = pd.date_range("2023-01-02", periods=STEPS + H)
NAMES = {"past": ["noise"], "future": ["promo", "event"], "static": ["region"]}
ROLES = {"id": "shop", "time": "day", "target": "sold"}


def shops(effect: float = 8.0) -> pd.DataFrame:
    """Three shops whose sales follow the week, a promotion and an event, each in units of its own."""
    generator = np.random.default_rng(0)
    parts = []
    for shop, unit in (("a", 1.0), ("b", 10.0), ("c", 0.1)):
        promo = generator.random(STEPS + H) < 0.3
        event = generator.choice(["fair", "strike", "plain"], STEPS + H, p=[0.1, 0.1, 0.8])
        week = 3 * np.sin(np.arange(STEPS + H) * 2 * np.pi / 7)
        pull = promo * effect + np.select([event == "fair", event == "strike"], [effect, -effect], 0)
        sold = unit * (50 + week + pull + generator.normal(size=STEPS + H))
        parts.append(
            pd.DataFrame(
                {"shop": shop, "day": DAYS, "sold": sold, "promo": promo, "event": event, "region": f"r{shop}"}
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(noise=generator.normal(size=len(frame)))


@pytest.fixture(scope="module")
def base():
    return tsfm.load("seasonal-naive")


@pytest.fixture(scope="module")
def panel():
    return to_panel(shops()[lambda f: f["day"] < DAYS[STEPS]], **ROLES, **NAMES)


def blocks(panel, count: int = 10):
    """Training windows, and later ones to judge by."""
    judged = cut(panel, H, count, H, None, None)
    ends = np.array([len(values) - count * H for values in panel.values])
    return training_windows(panel, H, ends), judged


@pytest.fixture(scope="module")
def choice(base, panel):
    return choose_head(base, panel, *blocks(panel), **NAMES)


def test_covariates_that_drive_the_target_save_much_of_the_loss(choice):
    assert choice.head is not None
    assert list(choice.table.index) == ["none", "ridge", "boosting"]
    assert (choice.table.loc[["ridge", "boosting"], "saved"] > 0.3).all()
    assert "'promo'" in choice.sentence
    assert "save" in choice.sentence


def test_covariates_without_an_effect_are_found_to_bring_nothing_much(base):
    panel = to_panel(shops(effect=0.0), **ROLES, **NAMES)
    names = {"past": ["noise"], "future": [], "static": []}
    found = choose_head(base, panel, *blocks(panel), **names)
    assert found.table["sql"].max() < 1.05 * found.table.loc["none", "sql"]


def test_where_nothing_helps_no_head_is_kept_and_that_is_said(base, panel):
    train, judged = blocks(panel)
    plain = base_quantiles(base, panel, judged, H)
    perfect = replace(judged, target=plain[..., LEVELS.index(0.5)])
    found = choose_head(base, panel, train, perfect, **NAMES, kinds=["ridge"])
    assert found.head is None
    assert "brought nothing" in found.sentence


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_training_windows_end_before_the_blocks_that_judge(base, panel, kind):
    train, judged = blocks(panel)
    first = min(judged.cutoff)
    assert (train.cutoff + H).max() <= first
    changed = to_panel(shops()[lambda f: f["day"] < DAYS[STEPS]], **ROLES, **NAMES)
    for i in range(len(changed)):
        changed.values[i][first:] *= 3
        changed.past_covariates["promo"][i][first:] = 1 - changed.past_covariates["promo"][i][first:]
    one = fit_head(base, panel, train, H, kind, **NAMES)
    two = fit_head(base, changed, blocks(changed)[0], H, kind, **NAMES)
    for name, array in one.to_tensors().items():
        np.testing.assert_array_equal(array, two.to_tensors()[name])
    assert (one.strength, one.spread) == (two.strength, two.spread)


def test_a_head_does_not_depend_on_the_unit_of_the_target(base):
    frame = shops()
    heads = []
    for factor in (1.0, 4.0):
        panel = to_panel(frame.assign(sold=frame["sold"] * factor), **ROLES, **NAMES)
        heads.append((fit_head(base, panel, blocks(panel)[0], H, "ridge", **NAMES), panel))
    judged = [blocks(panel)[1] for _, panel in heads]
    found = [
        adjusted(head, panel, windows, base_quantiles(base, panel, windows, H), LEVELS)
        for (head, panel), windows in zip(heads, judged, strict=True)
    ]
    np.testing.assert_allclose(found[1], 4 * found[0], rtol=1e-6)


def test_a_series_with_enough_rows_has_coefficients_of_its_own_where_they_pay(base):
    frame = shops()
    opposite = frame["shop"] == "b"
    swing = 10 * 8 * np.where(frame["promo"], -2.0, 0.0)
    panel = to_panel(frame.assign(sold=frame["sold"] + np.where(opposite, swing, 0)), **ROLES, **NAMES)
    head = fit_head(base, panel, blocks(panel)[0], H, "ridge", **NAMES)
    assert set(head.rule.series) == {"a", "b", "c"}


@pytest.mark.parametrize("categorical", [True, False])
def test_exported_trees_equal_those_of_scikit_learn(categorical):
    generator = np.random.default_rng(3)
    seen = generator.normal(size=(3000, 4))
    sizes = (7, 3) if categorical else ()
    for column, size in enumerate(sizes):
        seen[:, column] = generator.integers(0, size, 3000)
    seen[seen[:, 0] == 4, 0] = 5.0  # a code that the fit never meets
    seen[generator.random(seen.shape) < 0.1] = np.nan
    target = np.nan_to_num(seen[:, 2]) * (np.nan_to_num(seen[:, 0]) % 2) + generator.normal(size=3000)
    model = HistGradientBoostingRegressor(
        loss="absolute_error", categorical_features=list(range(len(sizes))) or None, early_stopping=False, **TREES
    )
    model.fit(seen, target)
    fresh = generator.normal(size=(3000, 4))
    for column, size in enumerate(sizes):
        fresh[:, column] = generator.integers(0, size, 3000)
    fresh[generator.random(fresh.shape) < 0.2] = np.nan
    trees = exported(model, seen, sizes)
    np.testing.assert_allclose(trees.sum_of_rows(fresh), model.predict(fresh), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_a_covariate_that_was_never_measured_spoils_no_fit(base, kind):
    panel = to_panel(shops()[lambda f: f["day"] < DAYS[STEPS]].assign(noise=np.nan), **ROLES, **NAMES)
    train, judged = blocks(panel)
    head = fit_head(base, panel, train, H, kind, **NAMES)
    plain = base_quantiles(base, panel, judged, H)
    assert np.isfinite(adjusted(head, panel, judged, plain, LEVELS)).all()


def test_rare_words_share_a_code_and_numbers_have_none(panel):
    columns = {column.name: column.words for column in columns_of(panel, *NAMES.values())}
    assert columns == {
        "noise": None,
        "promo": None,
        "event": ("fair", "plain", "strike"),
        "region": ("ra", "rb", "rc"),
    }
    many = shops().assign(event=[f"w{i % 400:03}" for i in range(3 * (STEPS + H))])
    found = columns_of(to_panel(many, **ROLES, **NAMES), *NAMES.values())
    assert len(next(column.words for column in found if column.name == "event")) == 50


def test_too_few_windows_and_unknown_names_are_refused_in_words(base, panel):
    train, _ = blocks(panel)
    with pytest.raises(DataError, match="needs 12 training windows of as many, and there are 5"):
        fit_head(base, panel, train.take(np.arange(5)), H, **NAMES)
    with pytest.raises(DataError, match="'rain', which the panel does not hold; it holds 'noise'"):
        fit_head(base, panel, train, H, past=["rain"])


def test_a_head_that_reads_nothing_corrects_what_the_base_gets_wrong_anyhow(base, panel):
    train, judged = blocks(panel)
    blind = fit_head(base, panel, train, H, "ridge")
    assert blind.columns == ()
    plain = base_quantiles(base, panel, judged, H)
    assert np.isfinite(adjusted(blind, panel, judged, plain, LEVELS)).all()


def test_windows_of_a_panel_and_its_end_are_adjusted_alike(base, choice):
    """What `adjusted` says of the last cutoff is what a forecast made there says."""
    whole = to_panel(shops(), **ROLES, **NAMES)
    windows = cut(whole, H, 1, H, None, None)
    plain = base_quantiles(base, whole, windows, H)
    then = shops().assign(sold=lambda f: f["sold"].where(f["day"] < DAYS[STEPS]))
    cut_off = to_panel(then, **ROLES, **NAMES)
    later = choice.head.adjust(plain, LEVELS, at_end(cut_off, choice.head.columns, H))
    np.testing.assert_array_equal(adjusted(choice.head, whole, windows, plain, LEVELS), later)


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_a_head_of_its_parts_is_the_same_head(base, panel, kind):
    train, judged = blocks(panel)
    head = fit_head(base, panel, train, H, kind, **NAMES)
    again = CovariateHead.from_parts(head.to_json(), head.to_tensors())
    plain = base_quantiles(base, panel, judged, H)
    expected = adjusted(head, panel, judged, plain, LEVELS)
    np.testing.assert_array_equal(adjusted(again, panel, judged, plain, LEVELS), expected)
    assert (expected != plain).any()
