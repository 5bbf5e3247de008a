"""The synthetic engine: every family is healthy, a batch is a function of its seed, and the shares are as asked."""

import pytest
import torch
from torch import Tensor

from tsfm.data.synthetic import FAMILIES, sample
from tsfm.data.synthetic.calendar import hourly_composite
from tsfm.data.synthetic.draws import Draws
from tsfm.data.synthetic.scans import (
    autoregress,
    hold,
    linear_recurrence,
    on_circle,
    stretch,
    two_state_chain,
)
from tsfm.data.synthetic.transforms import missing_blocks, transform
from tsfm.errors import UnknownName


def only(name: str) -> dict[str, float]:
    return {other: float(other == name) for other in FAMILIES}


def autocorrelation(values: Tensor) -> Tensor:
    centred = values - values.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * values.shape[1])
    covariance = torch.fft.irfft(spectrum.abs() ** 2)[:, : values.shape[1]]
    return covariance / covariance[:, :1]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("length", [64, 1000])
def test_every_family_gives_finite_series_that_change(name: str, length: int):
    drawn = FAMILIES[name].generate(Draws(3), 24, length)
    assert drawn.values.shape == (24, length) and drawn.period.shape == (24,)
    assert drawn.values.dtype == torch.float32 and bool(drawn.values.isfinite().all())
    assert bool((drawn.period >= 0).all())
    changing = (drawn.values.amax(1) > drawn.values.amin(1)).float().mean()
    if name != "constant":
        assert changing > 0.85


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_can_give_a_single_series(name: str):
    assert FAMILIES[name].generate(Draws(0), 1, 257).values.shape == (1, 257)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_batch():
    first, second, other = sample(96, 512, 7), sample(96, 512, 7), sample(96, 512, 8)
    assert torch.equal(first.values, second.values) and torch.equal(first.observed, second.observed)
    assert torch.equal(first.family, second.family) and torch.equal(first.period, second.period)
    assert not torch.equal(first.values, other.values)


def test_a_batch_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    sample(16, 128, 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("length", [64, 777, 2048])
def test_values_are_finite_bounded_and_zero_where_not_observed(length: int):
    batch = sample(256, length, 5)
    assert batch.values.shape == batch.observed.shape == (256, length)
    assert batch.values.dtype == torch.float32 and batch.observed.dtype == torch.bool
    assert bool(batch.values.isfinite().all()) and float(batch.values.abs().max()) <= 1e6
    assert bool((batch.values[~batch.observed] == 0).all())


def test_families_come_in_the_shares_of_their_weights():
    family = sample(8000, 16, 1, transforms=False).family
    share = torch.bincount(family, minlength=len(FAMILIES)) / len(family)
    weights = torch.tensor([each.weight for each in FAMILIES.values()])
    # The gate turns series that are constant by chance, frequent at 16 steps, into spectral ones.
    expected = weights / weights.sum()
    large = expected > 0.06
    large[list(FAMILIES).index("spectral")] = False
    assert float((share - expected)[large].abs().max()) < 0.025


def test_a_family_of_weight_zero_is_left_out():
    family = sample(2000, 32, 2, families={"calendar": 0.0, "telemetry": 0.0}, transforms=False).family
    names = list(FAMILIES)
    assert not bool((family == names.index("calendar")).any() | (family == names.index("telemetry")).any())


def test_a_family_can_be_drawn_alone():
    family = sample(64, 256, 2, families=only("sensors"), transforms=False).family
    assert bool((family == list(FAMILIES).index("sensors")).all())


def test_an_unknown_family_is_named_with_the_ones_that_exist():
    with pytest.raises(UnknownName, match=r"calender.*calendar"):
        sample(4, 64, 0, families={"calender": 1.0})


@pytest.mark.parametrize("weights", [{"calendar": -1.0}, dict.fromkeys(FAMILIES, 0.0)])
def test_weights_that_cannot_be_drawn_from_are_refused(weights: dict[str, float]):
    with pytest.raises(ValueError, match="weights"):
        sample(4, 64, 0, families=weights)


def test_gaps_take_fifteen_percent_of_the_rows_and_never_all_of_one_row():
    observed = missing_blocks(Draws(0), 4000, 512)
    holed = (~observed).any(1)
    assert 0.11 < float(holed.float().mean()) < 0.17
    assert 0.05 < float((~observed[holed]).float().mean()) < 0.4


def test_gaps_come_in_blocks():
    observed = missing_blocks(Draws(0), 4000, 512).float()
    missing = 1 - observed
    starts = ((missing[:, 1:] - missing[:, :-1]) > 0).sum()
    assert float(missing.sum() / starts) > 2.0


def test_sign_flips_make_the_mix_symmetric():
    values = sample(4000, 128, 3, families=only("random-walk")).values
    centred = values - values.mean(1, keepdim=True)
    skewness = (centred**3).mean(1) / (centred**2).mean(1).clamp_min(1e-12) ** 1.5
    assert abs(float(skewness.median())) < 0.1


def test_transforms_keep_a_constant_row_finite():
    assert bool(transform(Draws(0), torch.zeros(64, 128)).isfinite().all())


def test_hourly_calendars_have_a_day_and_a_week():
    values = hourly_composite(Draws(4), 256, 2016).values
    # Growth hides the seasons from an autocorrelation: take out the running level of a week first.
    level = torch.nn.functional.avg_pool1d(values.unsqueeze(1), 169, 1, 84, count_include_pad=False).squeeze(1)
    correlation = autocorrelation(values - level)
    day = correlation[:, 24] > torch.maximum(correlation[:, 20], correlation[:, 28])
    week = correlation[:, 168] > torch.maximum(correlation[:, 156], correlation[:, 180])
    week_over_days = correlation[:, 168] > correlation[:, 72:120:24].amax(1)
    assert float(day.float().mean()) > 0.8
    assert float(week.float().mean()) > 0.8
    assert float(week_over_days.float().mean()) > 0.6


def test_life_cycles_that_accumulate_never_fall():
    values = sample(200, 512, 6, families=only("life-cycle"), transforms=False).values
    rising = (values[:, 1:] >= values[:, :-1]).all(1)
    assert 0.35 < float(rising.float().mean()) < 0.75


def test_intermittent_demand_is_mostly_zero_in_some_rows():
    values = FAMILIES["counts"].generate(Draws(0), 100, 512).values
    assert bool((values == values.round()).float().mean() > 0.99)
    assert float(((values == 0).float().mean(1) > 0.5).float().mean()) > 0.2


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 300])
def test_linear_recurrence_equals_its_loop(steps: int):
    draws = Draws(0)
    coefficient, drive = draws.uniform(-1.1, 1.1, 5, steps), draws.normal(5, steps)
    state, expected = torch.zeros(5), []
    for index in range(steps):
        state = coefficient[:, index] * state + drive[:, index]
        expected.append(state)
    torch.testing.assert_close(linear_recurrence(coefficient, drive), torch.stack(expected, 1), rtol=1e-4, atol=1e-4)


def test_autoregression_keeps_unit_variance_and_its_first_autocorrelation():
    rho = torch.full((400, 1), 0.9)
    values = autoregress(Draws(0).normal(400, 1000), rho)
    assert abs(float(values.square().mean()) - 1.0) < 0.05
    assert abs(float((values[:, 1:] * values[:, :-1]).mean()) - 0.9) < 0.05


def test_the_two_state_chain_has_the_shares_and_dwell_times_of_its_chances():
    go, leave = torch.full((200, 1), 0.02), torch.full((200, 1), 0.1)
    state = two_state_chain(go, leave, Draws(0).uniform(0.0, 1.0, 200, 2000))
    assert abs(float(state[:, 200:].mean()) - 0.02 / 0.12) < 0.02
    entries = (state[:, 1:] > state[:, :-1]).sum()
    assert abs(float(state.sum() / entries) - 10.0) < 1.0


def test_hold_keeps_the_last_renewed_value():
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    event = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])
    assert hold(values, event).tolist() == [[1.0, 1.0, 3.0, 3.0, 3.0]]


def test_tables_are_read_by_straight_lines():
    assert stretch(torch.tensor([[0.0, 4.0]]), 5).tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
    table = torch.tensor([[0.0, 1.0, 2.0, 1.0]])
    assert on_circle(table, torch.tensor([[0.0, 0.125, 0.5, 1.875, -0.25]])).tolist() == [[0.0, 0.5, 2.0, 0.5, 1.0]]


def test_a_page_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from tsfm.data.synthetic.page import draw_page

    target = draw_page(1, tmp_path / "page.png", per_family=2, length=128)
    assert target.read_bytes().startswith(b"\x89PNG")
