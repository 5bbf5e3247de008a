"""A covariate head shifts forecasts by what it was told, needs what it needs, and survives its folder."""

import numpy as np
import pandas as pd
import pytest

import tsfm
from tsfm.covariate_features import CovariateColumn, Surroundings, at_end, features, recoded
from tsfm.covariate_head import HEAD, CovariateHead
from tsfm.covariate_models import Linear
from tsfm.data.adapters import to_panel
from tsfm.errors import DataError

STEPS, H = 28, 3
DAYS = pd.date_range("2024-01-01", periods=STEPS + H)
COLUMNS = (
    CovariateColumn("rain", "past"),
    CovariateColumn("promo", "future"),
    CovariateColumn("event", "future", ("fair", "strike")),
    CovariateColumn("region", "static", ("north", "south")),
)
NUMBERS = 9  # rain 2, promo 4, its line, the median, the step
ROLES = {"id": "shop", "time": "day", "target": "sold"}


def head(*, spread: float = 1.0, horizon: int = H, columns: tuple[CovariateColumn, ...] = COLUMNS) -> CovariateHead:
    """A head that adds 2 units at a promotion and 1 at a fair."""
    coefficients = np.zeros((1, 3 + 3 + NUMBERS + 1))
    coefficients[0, 0], coefficients[0, 6 + 2] = 1.0, 2.0
    rule = Linear(
        (3, 3), np.zeros(NUMBERS), np.ones(NUMBERS), np.full(NUMBERS, -9.0), np.full(NUMBERS, 9.0), coefficients
    )
    return CovariateHead("ridge", columns, horizon, rule, reach=5.0, strength=1.0, spread=spread)


def shops(rows: int = STEPS) -> pd.DataFrame:
    """Two shops whose sales change by 1 and by 10 over a week; rows after the history have no sales."""
    step = np.arange(rows)
    sold = np.where(step < STEPS, step / 7 + step % 7, np.nan)
    frame = pd.DataFrame(
        {"shop": np.repeat(["a", "b"], rows), "day": [*DAYS[:rows]] * 2, "sold": np.r_[sold, 10 * sold]}
    )
    later = np.tile(step - STEPS, 2)
    return frame.assign(
        rain=1.0,
        promo=(later == 1).astype(float),
        event=np.where(later == 2, "fair", "strike"),
        region=np.repeat(["north", "south"], rows),
    )


def forecaster(**changes):
    return tsfm.load("seasonal-naive").with_head(head(**changes))


@pytest.fixture(scope="module")
def plain():
    return tsfm.forecast(shops(), H, model="seasonal-naive", **ROLES).quantile(0.5)["sold"].to_numpy()


def medians(made):
    return made.quantile(0.5)["sold"].to_numpy()


def test_each_series_is_shifted_in_its_own_units(plain):
    made = forecaster().forecast(shops(STEPS + H), H, **ROLES)
    np.testing.assert_allclose(medians(made) - plain, [0, 2, 1, 0, 20, 10], atol=1e-9)
    assert any("covariates" in transform for transform in made.provenance.transforms)


def test_rows_at_the_end_and_a_frame_of_what_is_known_ahead_say_the_same():
    rows = shops(STEPS + H)
    ahead = rows[rows["day"] >= DAYS[STEPS]].drop(columns=["sold", "rain", "region"])
    one = forecaster().forecast(rows, H, **ROLES)
    two = forecaster().forecast(shops(), H, future=ahead.sample(frac=1, random_state=0), **ROLES)
    np.testing.assert_array_equal(medians(one), medians(two))


def test_the_spread_shrinks_around_the_shifted_median():
    wide = forecaster().forecast(shops(STEPS + H), H, **ROLES, clip=None)
    narrow = forecaster(spread=0.5).forecast(shops(STEPS + H), H, **ROLES, clip=None)
    np.testing.assert_allclose(medians(narrow), medians(wide))
    widths = [made.quantile(0.9)["sold"].to_numpy() - made.quantile(0.1)["sold"].to_numpy() for made in (wide, narrow)]
    np.testing.assert_allclose(widths[1], 0.5 * widths[0], atol=1e-9)


def test_a_series_that_never_moved_keeps_its_forecast():
    frame = shops(STEPS + H)
    frame["sold"] = frame["sold"].where(frame["sold"].isna() | (frame["shop"] == "b"), 5.0)
    assert medians(forecaster().forecast(frame, H, **ROLES))[:H].tolist() == [5.0] * H


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[f["day"] < DAYS[STEPS]], "needs 'promo' for the steps that are forecast; give future="),
        (lambda f: f[f["day"] < DAYS[STEPS + 2]], "'a' is known for 2 steps and the horizon is 3"),
        (lambda f: f.drop(columns="rain"), "past= names 'rain', which is no column of the data"),
        (lambda f: f.drop(columns="region"), "static= names 'region', which is no column of the data"),
        (lambda f: f.assign(event=1.0), "'event' held words when this model was fitted and holds numbers"),
        (
            lambda f: f.assign(promo=f["promo"].where(f.index != STEPS + 1)),
            "'promo' of series 'a' is missing at 2024-01-30",
        ),
    ],
)
def test_what_a_head_needs_and_lacks_is_named(change, words):
    with pytest.raises(DataError, match=words):
        forecaster().forecast(change(shops(STEPS + H)), H, **ROLES)


def test_data_without_columns_are_refused_by_a_head_that_needs_some():
    with pytest.raises(DataError, match="names a column"):
        forecaster().forecast([1.0, 2.0, 3.0], H)


def test_words_never_met_and_steps_beyond_the_fit_are_told():
    frame = shops(STEPS + H).replace({"event": {"strike": "flood"}, "region": {"south": "west"}})
    made = forecaster(horizon=2).forecast(frame, H, **ROLES)
    told = " ".join(made.provenance.warnings)
    assert "fitted for 2 steps ahead; steps 3 to 3" in told
    assert "'event' holds 'flood'" in told
    assert "'region' holds 'west'" in told


def test_without_a_head_the_covariates_are_said_to_be_unused():
    ahead = {"promo": {"a": [0.0] * H, "b": [0.0] * H}}
    told = tsfm.load("seasonal-naive").forecast(shops(), H, future=ahead, **ROLES).provenance.warnings
    assert any("does not use future=" in warning for warning in told)
    used = forecaster().forecast(shops(STEPS + H), H, **ROLES).provenance.warnings
    assert not any("does not use" in warning or "no forecast uses" in warning for warning in used)


def test_a_folder_keeps_the_head(tmp_path):
    made = forecaster(spread=0.8)
    folder = made.save(tmp_path / "with-head")
    assert (folder / HEAD).is_file()
    loaded = tsfm.load(folder)
    frame = shops(STEPS + H)
    expected, found = made.forecast(frame, H, **ROLES), loaded.forecast(frame, H, **ROLES)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame())
    bare = tsfm.load(made.with_head(None).save(tmp_path / "without"))
    assert bare.head is None
    (folder / HEAD).unlink()
    with pytest.raises(DataError, match=r"head\.safetensors cannot be read"):
        tsfm.load(folder)


def test_a_head_without_its_numbers_is_refused():
    with pytest.raises(DataError, match="incomplete"):
        CovariateHead.from_parts(head().to_json(), {})


def test_codes_follow_words_and_not_their_places():
    codes = np.array([0.0, 1.0, np.nan, 2.0])
    np.testing.assert_array_equal(recoded(codes, ["strike", "fair", "flood"], ("fair", "strike")), [1, 0, np.nan, 2])


def test_features_of_a_step_are_what_they_say():
    promo = np.arange(21.0)
    known = Surroundings(
        ["a"],
        [2 * promo + 1],
        [7],
        {"promo": [promo], "rain": [np.r_[promo[:-1], np.nan]]},
        {"promo": [np.array([30.0, 31.0])]},
        {},
        {},
    )
    seen = features(COLUMNS[:2], known, np.full((1, 2), 50.0), np.array([14.0]), 1)
    level = np.mean(2 * promo[-7:] + 1)
    line = (2 * 20 + 1 - 50) / 14  # the covariate is held to the range that it had
    first = [19, np.mean(promo[14:20]), 30, 30 - 17, 30 - 14, 30 - 20, line, (50 - level) / 14, 1]
    second = [19, np.mean(promo[14:20]), 31, 31 - 17, 31 - 15, 31 - 30, line, (50 - level) / 14, 1]
    np.testing.assert_allclose(seen[0], [first, second])


def test_nothing_after_the_cutoff_but_what_is_known_ahead_is_read():
    panel = to_panel(shops(STEPS + H), **ROLES, past=["rain"], future=["promo", "event"], static=["region"])
    known = at_end(panel, COLUMNS, 2)
    assert {len(values) for values in known.history} == {STEPS}
    assert {len(values) for column in known.past.values() for values in column} == {STEPS}
    assert {len(values) for column in known.ahead.values() for values in column} == {2}
    assert "rain" not in known.ahead
