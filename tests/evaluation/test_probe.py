"""Probes are what they say, and what stands beside a score as the optimum cannot be beaten."""

from dataclasses import replace

import numpy as np
import pytest

from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.measuring import measure, seasonal_naive_forecaster
from tsfm.evaluation.metrics import FLOOR, LEVELS, Array, crps
from tsfm.evaluation.probe import Missing, Outliers, Probe, generate, probe_hash, probe_windows, read_probe
from tsfm.evaluation.probe_laws import (
    Autoregressive,
    Demand,
    Exact,
    Gaussian,
    Multiplied,
    Student,
    Uneven,
    normal_scores,
)
from tsfm.evaluation.probe_signals import Season, Shift, Trend
from tsfm.evaluation.runner import evaluate
from tsfm.evaluation.tasks import load_suite, read_task

SUITE = load_suite("synthetic_probe")
MANY = 3000
DAY = (Season(24),)
CYCLE = (2 * 0.98 * np.cos(2 * np.pi / 20), -(0.98**2))
PLAIN = Probe(past=60, horizon=12, seed=3, series=MANY, seasons=DAY)

LAWS = {
    "gaussian": replace(PLAIN, law=Gaussian(0.5)),
    "student": replace(PLAIN, law=Student(0.5, 2.5)),
    "uneven": replace(PLAIN, law=Uneven(0.5, 7)),
    "multiplied": replace(PLAIN, law=Multiplied(0.1), trend=Trend("exponential", 5.0)),
    "walk": replace(PLAIN, law=Autoregressive(0.5), missing=Missing(0.3)),
    "AR(1)": replace(PLAIN, law=Autoregressive(0.5, (0.9,)), missing=Missing(0.3)),
    "AR(2)": replace(PLAIN, law=Autoregressive(0.5, CYCLE), missing=Missing(blocks=2, length=10)),
    "outliers in the past": replace(PLAIN, law=Gaussian(0.5), outliers=Outliers(0.1, 4.0)),
    "outliers to go on": replace(PLAIN, law=Gaussian(0.5), outliers=Outliers(0.3, 2.0, future=True)),
    "heavy tails and outliers": replace(PLAIN, law=Student(0.5), outliers=Outliers(0.3, 2.0, future=True)),
    "outliers alone": replace(PLAIN, outliers=Outliers(0.3, 2.0, future=True)),
    "demand": replace(PLAIN, level=0.5, seasons=(Season(7, 0.3, "harmonics"),), law=Demand(4.0)),
    "single pieces": replace(PLAIN, level=0.5, seasons=(), law=Demand(1.0)),
}


@pytest.mark.parametrize("probe", LAWS.values(), ids=LAWS)
def test_the_optimum_is_calibrated_at_every_level(probe: Probe) -> None:
    """P(Y < q) <= level <= P(Y <= q): for a continuous law both are the level."""
    made = generate(probe)
    independent = MANY if probe.law.memory else MANY * probe.horizon
    tolerance = 4 * np.sqrt(np.array(LEVELS) * (1 - np.array(LEVELS)) / independent)
    slack = 1e-9  # where the law has atoms, a quantile found by bisection is one but for the last digits
    below = (made.target[..., None] < made.optimal - slack).mean((0, 1))
    up_to = (made.target[..., None] <= made.optimal + slack).mean((0, 1))
    assert (below <= np.array(LEVELS) + tolerance).all()
    assert (up_to >= np.array(LEVELS) - tolerance).all()


@pytest.mark.parametrize("probe", LAWS.values(), ids=LAWS)
def test_no_shifted_or_stretched_optimum_has_a_lower_loss(probe: Probe) -> None:
    made = generate(probe)
    best = crps(made.target, made.optimal)
    size = made.optimal.std(axis=-1, keepdims=True).mean()
    middle = made.optimal[..., LEVELS.index(0.5), None]
    for other in (made.optimal - 0.3 * size, made.optimal + 0.3 * size):
        assert crps(made.target, other) > best
    for factor in (0.7, 1.3):
        assert crps(made.target, middle + factor * (made.optimal - middle)) > best


@pytest.mark.parametrize("law", ["walk", "AR(1)", "AR(2)"])
def test_nothing_that_was_observed_tells_more_of_a_law_with_memory(law: str) -> None:
    """The optimum's errors are uncorrelated with the last values; those of the signal alone are not."""
    probe = replace(LAWS[law], missing=None)
    made, bare = generate(probe), generate(bare_probe(probe))
    state = (made.context - bare.context)[:, -2:]
    error = made.target - made.optimal[..., LEVELS.index(0.5)]
    for step in (0, 5, 11):
        for last in state.T:
            assert abs(np.corrcoef(error[:, step], last)[0, 1]) < 4 / np.sqrt(MANY)
    assert abs(np.corrcoef(made.target[:, 0] - bare.target[:, 0], state[:, 1])[0, 1]) > 0.5


def bare_probe(probe: Probe) -> Probe:
    """The same signal without noise: it is drawn before the law."""
    return replace(probe, law=Exact(), missing=None)


def test_the_optimum_of_ar1_is_the_textbook_formula() -> None:
    probe = LAWS["AR(1)"]
    made, bare = generate(probe), generate(bare_probe(probe))
    steps = np.arange(1, probe.horizon + 1)
    last = (made.context - bare.context)[:, -1:]
    deviation = 0.5 * np.sqrt((1 - 0.9 ** (2 * steps)) / (1 - 0.9**2))
    expected = (bare.target + last * 0.9**steps)[..., None] + deviation[:, None] * normal_scores(LEVELS)
    np.testing.assert_allclose(made.optimal, expected, rtol=0, atol=1e-9)


def test_the_deviation_of_a_random_walk_grows_as_the_root_of_the_steps() -> None:
    made = generate(LAWS["walk"])
    width = (made.optimal[..., -1] - made.optimal[..., 0]) / (2 * normal_scores([0.9]))
    np.testing.assert_allclose(width, np.broadcast_to(0.5 * np.sqrt(np.arange(1, 13)), width.shape), atol=1e-9)


@pytest.mark.parametrize("freedom", [1.0, 2.5, 3.0, 30.0])
def test_the_student_law_is_that_of_scipy(freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the comparison needs scipy, the extra `dev`")
    made = generate(replace(PLAIN, series=1, seasons=(), level=0.0, law=Student(0.5, freedom)))
    np.testing.assert_allclose(made.optimal[0, 0], stats.t(freedom, scale=0.5).ppf(LEVELS), atol=1e-9)


def test_without_noise_the_optimum_is_the_target() -> None:
    made = generate(replace(PLAIN, trend=Trend("break"), shift=Shift(3.0)))
    assert (made.optimal == made.target[..., None]).all()


@pytest.mark.parametrize("shape", ["sine", "square", "sawtooth", "pulse", "harmonics"])
def test_a_season_repeats_exactly_and_reaches_its_amplitude(shape: str) -> None:
    season = Season(24, 2.0, shape).draw(np.random.default_rng(0), 5, 100)
    assert (season[:, 24:] == season[:, :-24]).all()
    np.testing.assert_allclose(np.abs(season).max(1), 2.0)
    assert (season[:, 12:24] != season[:, :12]).any(), "half a period is no period"


@pytest.mark.parametrize("kind", ["linear", "exponential", "logistic", "break"])
def test_a_trend_rises_by_what_it_says(kind: str) -> None:
    trend = Trend(kind, 8.0, turn=1.0).draw(np.random.default_rng(0), 200, 512, 513)
    np.testing.assert_allclose(np.abs(trend[:, 512] - trend[:, 0]), 8.0, rtol=0.15 if kind == "logistic" else 1e-9)
    assert ((trend[:, -1] < 0).mean() > 0.3) == (kind != "exponential"), "up and down, growth only up"


def test_a_broken_trend_turns_inside_its_stretch() -> None:
    slope = np.diff(Trend("break", 10.0, turn=-2.0).draw(np.random.default_rng(0), 50, 100, 120))
    np.testing.assert_allclose(slope[:, :49], np.broadcast_to(slope[:, :1], (50, 49)))
    np.testing.assert_allclose(slope[:, 86:], np.broadcast_to(-2 * slope[:, :1], (50, 33)))


def test_a_shift_happens_once_and_stays() -> None:
    path = Shift(4.0, 0.5, 0.9).draw(np.random.default_rng(0), 50, 100, 120)
    assert (np.abs(np.diff(path)).sum(1) == 4.0).all()
    assert (path[:, :50] == 0).all()
    assert (np.abs(path[:, 90:]) == 4.0).all()


def test_multiplied_seasons_swell_with_the_trend() -> None:
    made = generate(replace(PLAIN, multiplied=True, seasons=(Season(12, 0.2),), trend=Trend("exponential", 40.0)))
    early, late = np.ptp(made.context[:, :12], axis=1), np.ptp(made.target, axis=1)
    assert (late > early).all()


def test_gaps_are_in_the_past_only_and_as_many_as_asked_for() -> None:
    made = generate(replace(PLAIN, missing=Missing(rate=0.4)))
    assert np.isnan(made.context).mean() == pytest.approx(0.4, abs=0.01)
    assert not np.isnan(made.target).any()
    blocks = generate(replace(PLAIN, missing=Missing(blocks=1, length=20)))
    assert (np.isnan(blocks.context).sum(1) == 20).all()


def test_outliers_of_the_past_leave_the_future_alone() -> None:
    made, bare = generate(replace(PLAIN, outliers=Outliers(0.1, 5.0))), generate(PLAIN)
    assert (made.target == bare.target).all()
    thrown = np.abs(made.context - bare.context)
    assert (thrown > 4.9).mean() == pytest.approx(0.1, abs=0.01)


def test_a_seed_fixes_the_series_and_the_splits_differ() -> None:
    probe = LAWS["student"]
    again, other = generate(probe), generate(replace(probe, seed=4))
    np.testing.assert_array_equal(generate(probe).context, again.context)
    assert not np.isclose(other.context, again.context).any(1).all()
    assert not np.isclose(generate(probe, split="validation").target, again.target).any(1).all()
    with pytest.raises(UnknownName, match="no split 'train'"):
        generate(probe, split="train")


def test_a_law_without_a_known_optimum_is_refused() -> None:
    with pytest.raises(DataError, match="take a law without memory"):
        replace(LAWS["walk"], outliers=Outliers(0.1, 1.0))
    with pytest.raises(DataError, match="leave future out"):
        replace(LAWS["uneven"], outliers=Outliers(0.1, 1.0, future=True))


@pytest.mark.parametrize("task", SUITE, ids=lambda task: task.name)
def test_a_task_of_the_suite_gives_windows_of_its_shape_and_its_own_hash(task) -> None:  # type: ignore[no-untyped-def]
    windows = list(probe_windows(task))
    assert len(windows) == 64
    for _, context, target, optimal in windows:
        assert context.shape == (read_probe(task).past,)
        assert target.shape == (task.horizon,)
        assert optimal.shape == (task.horizon, len(LEVELS))
        assert np.isfinite(target).all()
        assert (np.diff(optimal) >= 0).all()
    assert task.season == min((season.period for season in read_probe(task).seasons), default=season_of_law(task))


def season_of_law(task) -> int:  # type: ignore[no-untyped-def]
    return int(getattr(read_probe(task).law, "period", 1))


def test_a_shorter_context_is_cut_from_the_same_series() -> None:
    whole, cut = SUITE[0], replace(SUITE[0], context=100)
    for (_, context, *rest), (_, shorter, *same) in zip(probe_windows(whole), probe_windows(cut), strict=True):
        np.testing.assert_array_equal(shorter, context[-100:])
        np.testing.assert_array_equal(rest[0], same[0])
        np.testing.assert_array_equal(rest[1], same[1])
    assert probe_hash(whole) == probe_hash(cut)


def test_the_suite_is_thirty_two_different_sets() -> None:
    assert len(SUITE) == len({task.name for task in SUITE}) == len({probe_hash(task) for task in SUITE}) == 32
    assert len({read_probe(task).seed for task in SUITE}) == 32


def test_no_positive_history_ends_in_a_negative_future() -> None:
    """A forecaster may cut its forecast at zero where all the history is above: that must never be held against it."""
    for task in SUITE:
        for name, context, target, optimal in probe_windows(task):
            if np.nanmin(context) >= 0:
                assert min(target.min(), optimal.min()) >= 0, name


@pytest.mark.parametrize("task", SUITE, ids=lambda task: task.name)
def test_the_optimum_is_measured_as_optimal(task) -> None:  # type: ignore[no-untyped-def]
    """No worse than the seasonal naive forecast; where that is exact, exact as well."""
    found = measure(seasonal_naive_forecaster, task)
    assert found.optimal_crps <= found.crps

    def optimum(contexts: list[Array], horizon: int, levels: tuple[float, ...], seasons: list[int]) -> list[Array]:
        return [optimal for *_, optimal in probe_windows(task, levels=levels)]

    again = measure(optimum, task)  # type: ignore[arg-type]
    assert again.crps == again.optimal_crps == found.optimal_crps


def test_exact_forecasts_have_a_ratio_of_zero_and_an_exact_baseline_leaves_the_plain_error() -> None:
    board = evaluate("drift", "synthetic_probe", tasks=["trend/linear, no noise", "season/24, no noise"])
    exact, odd = board.rows
    assert (exact["mase_ratio"], exact["crps_ratio"], exact["note"]) == (0.0, 0.0, "")
    assert board.summary().mase_ratio == pytest.approx(FLOOR)
    heading, *lines = board.cells()
    cells = [dict(zip(heading, line, strict=True)) for line in lines]
    assert odd["naive_crps"] == 0 and "no MASE ratio" in odd["note"]
    assert cells[1]["MASE ratio"] == f"MAE {odd['mae']:.4g}" and odd["mae"] > 0
    assert cells[1]["CRPS ratio"] == cells[1]["MASE"] == "-" and cells[0]["MASE ratio"] == "0"


def test_the_picture_shows_every_task_and_tells_in_words_where_the_naive_forecast_is_exact() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `plot`")
    from tsfm.evaluation.probe_plots import plot_standing

    row = {"task": "a", "crps": 3.0, "naive_crps": 1.0, "optimal_crps": 0.5, "mae": 2.0}
    axis = plot_standing([row, {**row, "task": "b", "naive_crps": "0", "mae": "0.016"}]).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    told = [text.get_text() for text in axis.texts]
    assert told[0].strip() == "3.00", "what lies outside the picture is told as a number"
    assert "errs by 0.016" in told[1]


def test_the_picture_of_series_has_one_panel_each() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `plot`")
    from tsfm.evaluation.probe_plots import plot_probes

    figure = plot_probes(SUITE[:3], seasonal_naive_forecaster, series=1)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [f"{task.name} 0" for task in SUITE[:3]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"law": {"kind": "cauchy"}}, "has law 'cauchy'; laws are none, gaussian"),
        ({"law": {"kind": "gaussian", "size": 1}}, "unexpected keyword argument 'size'"),
        ({"trend": {"kind": "cubic"}}, "no trend 'cubic'"),
        ({"seasons": [{"period": 7, "shape": "cubic"}]}, "no season shape 'cubic'"),
        ({"sesons": []}, "unexpected keyword argument 'sesons'"),
        ({"series": 0}, "each is at least 1"),
    ],
)
def test_a_wrong_entry_is_named(wrong: dict[str, object], message: str) -> None:
    entry = {"name": "own", "dataset": "probe", "protocol": "generated", "horizon": 8, "season": 1, "past": 64}
    with pytest.raises(DataError, match=message):
        list(probe_windows(read_task({**entry, "seed": 1, **wrong})))
