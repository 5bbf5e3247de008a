"""The output mixture: its distribution functions against scipy's, and quantiles that solve it."""

import numpy as np
import pytest
import torch

from tsfm.nn.distributions import SUMMED, count_cdf, small_counts, student_cdf, student_constant
from tsfm.nn.mixture import Mixture, pooled_quantiles, read_mixture

stats = pytest.importorskip("scipy.stats", reason="the truth about distributions is scipy's")
LEVELS = torch.tensor([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999], dtype=torch.float64)
NAMES = ("df", "loc", "scale"), ("loc",), ("total_count", "logits"), ("loc", "scale")


def raw_outputs(*shape: int, seed: int = 0, wild: float = 1.0) -> dict[str, torch.Tensor]:
    """Random raw outputs of the head, all of it spread by `wild`."""
    chance = torch.Generator().manual_seed(seed)
    made = {"weights_logits": wild * torch.randn(*shape, 4, generator=chance)}
    for component, names in enumerate(NAMES):
        for name in names:
            made[f"components.{component}.{name}"] = wild * torch.randn(*shape, 1, generator=chance)
    return made


def mixture(*shape: int, seed: int = 0, wild: float = 1.0) -> Mixture:
    """A random mixture in units of its own, in float64."""
    raw = {name: part.double() for name, part in raw_outputs(*shape, seed=seed, wild=wild).items()}
    chance = torch.Generator().manual_seed(seed + 1)
    loc = 10 * torch.randn(*shape, generator=chance, dtype=torch.float64)
    return read_mixture(raw, loc, 0.1 + torch.rand(*shape, generator=chance, dtype=torch.float64))


def alone(component: int, **parameters: float) -> Mixture:
    """A mixture of which one component has all the weight, in scaled units."""
    weight = torch.full((1, 4), -80.0, dtype=torch.float64)
    weight[0, component] = 0.0
    values = {"df": 3.0, "student_loc": 0.0, "student_scale": 1.0, "normal_loc": 0.0, "total_count": 2.0, "logits": 0.0}
    values |= {"log_loc": 0.0, "log_scale": 1.0, "loc": 0.0, "scale": 1.0, **parameters}
    return Mixture(weight, *(torch.tensor([one], dtype=torch.float64) for one in values.values()))


def distribution_at(made: Mixture, values: torch.Tensor) -> torch.Tensor:
    """P(X <= value), values (..., Q) in the units of the data."""
    scaled = (values - made.loc[..., None]) / made.scale[..., None]
    spread = made.map(lambda part: part[..., None] if part.dim() < made.weight.dim() else part[..., None, :])
    return spread.scaled_cdf(scaled, *spread.prepared())


def test_student_t_is_scipys_for_any_degrees_of_freedom():
    df = torch.tensor(np.geomspace(1.5, 1e6, 40))
    far = np.geomspace(1e-8, 1e5, 60)
    y = torch.tensor(np.concatenate([-far, [0.0], far]))[:, None]
    np.testing.assert_allclose(student_cdf(y, df, student_constant(df)), stats.t.cdf(y.numpy(), df.numpy()), atol=1e-10)


@pytest.mark.parametrize("total", [1e-6, 0.05, 0.3, 1.0, 3.0, 7.0, 30.0, 1000.0])
@pytest.mark.parametrize("logits", [-20.0, -3.0, -1.0, 0.0, 1.0, 3.4, 6.0, 10.0])
def test_the_negative_binomial_is_scipys(total, logits):
    counts = np.concatenate([[-0.5], np.arange(200), np.geomspace(200, 1e7, 60).round()])
    shape, odds = torch.tensor([total, logits], dtype=torch.float64)
    found = count_cdf(torch.tensor(counts), shape, odds, small_counts(shape, odds)).numpy()
    wanted = stats.nbinom.cdf(np.floor(counts), float(shape), 1 / (1 + np.exp(logits)))
    np.testing.assert_allclose(found[counts < SUMMED], wanted[counts < SUMMED], atol=1e-10)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("component", range(4))
def test_quantiles_of_one_component_are_scipys(component):
    made = alone(component, df=2.7, student_loc=0.3, student_scale=2.0, normal_loc=-4.0, log_loc=0.5, log_scale=0.7)
    wanted = [
        stats.t.ppf(LEVELS, 2.7, 0.3, 2.0),
        stats.norm.ppf(LEVELS, -4.0, 1e-3),
        stats.nbinom.ppf(LEVELS, 2.0, 0.5),
        stats.lognorm.ppf(LEVELS, 0.7, scale=np.exp(0.5)),
    ][component]
    found = pooled_quantiles(made.map(lambda part: part[None]), LEVELS)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("wild", [0.1, 1.0, 3.0])
def test_a_quantile_of_the_mixture_is_where_its_distribution_reaches_the_level(wild):
    made = mixture(40, 8, wild=wild)
    found = pooled_quantiles(made.map(lambda part: part[:, :, None]), LEVELS)  # one path
    inner = ((found - made.loc[..., None]) / made.scale[..., None]).abs() < 9e5
    near = 1e-6 * (found - made.loc[..., None]).abs().clamp(min=1e-3 * made.scale.min())
    assert inner.float().mean() > 0.98
    assert (distribution_at(made, found + near) >= LEVELS)[inner].all()
    assert (distribution_at(made, found - near) <= LEVELS)[inner].all()
    assert (found.diff(dim=-1) >= -1e-6).all()


def test_quantiles_of_paths_are_those_of_their_even_mixture_and_not_the_mean_of_theirs():
    paths = mixture(30, 5, seed=3)
    pooled = pooled_quantiles(paths, LEVELS)  # (30, Q)
    near = 1e-5 * pooled.abs().clamp(min=1e-2)
    for sign, compare in ((1, torch.ge), (-1, torch.le)):
        each = distribution_at(paths, (pooled + sign * near)[:, None].expand(-1, 5, -1)).mean(1)
        assert compare(each, LEVELS).all()
    own = pooled_quantiles(paths.map(lambda part: part[:, :, None]), LEVELS).mean(1)
    assert (own - pooled).abs()[:, 0].mean() > 1


def test_bounds_hold_the_quantile_of_every_component():
    made = mixture(200, seed=5, wild=2.0)
    low, high = made.map(lambda part: part[:, None]).bounds(LEVELS.expand(200, -1))
    found = pooled_quantiles(made.map(lambda part: part[:, None]), LEVELS)
    scaled = (found - made.loc[:, None]) / made.scale[:, None]
    slack = 1e-6 * (1 + scaled.abs())
    assert ((low - slack <= scaled) & (scaled <= high + slack)).all()


def test_samples_have_the_quantiles_of_the_mixture():
    made = mixture(6, seed=8)
    rng = np.random.default_rng(0)
    count = 200_000
    found = pooled_quantiles(made.map(lambda part: part[:, None]), torch.tensor([0.1, 0.5, 0.9]).double())
    for row in range(6):
        one = {name: float(getattr(made, name)[row]) for name in Mixture.__dataclass_fields__ if name != "weight"}
        odds = 1 / (1 + np.exp(one["logits"]))
        drawn = np.stack(
            [
                one["student_loc"] + one["student_scale"] * rng.standard_t(one["df"], count),
                rng.normal(one["normal_loc"], 1e-3, count),
                rng.negative_binomial(one["total_count"], odds, count),
                rng.lognormal(one["log_loc"], one["log_scale"], count),
            ]
        )
        share = made.weight[row].exp().numpy()
        drawn = drawn[rng.choice(4, count, p=share / share.sum()), np.arange(count)] * one["scale"] + one["loc"]
        for level, value in zip((0.1, 0.5, 0.9), found[row].tolist(), strict=True):
            assert (drawn <= value + 1e-9).mean() >= level - 0.005
            assert (drawn < value - 1e-9).mean() <= level + 0.005


def test_a_quantile_moves_as_its_distribution_does():
    """The gradient of a quantile against small changes of what it depends on, where no count jumps."""
    raw = {name: part.double() for name, part in raw_outputs(12, seed=2).items()}
    raw["weights_logits"][:, 2] = -40.0
    loc = torch.zeros(12, 1, dtype=torch.float64)

    def quantile(parts: dict[str, torch.Tensor]) -> torch.Tensor:
        made = read_mixture(parts, loc[:, 0], loc[:, 0] + 1)
        return pooled_quantiles(made.map(lambda part: part[:, None]), LEVELS[2:7])

    for name in ("components.0.scale", "components.0.df", "components.3.loc", "weights_logits"):
        moved = {**raw, name: raw[name].clone().requires_grad_()}
        (slope,) = torch.autograd.grad(quantile(moved).sum(), moved[name])
        step = 1e-4
        for column in range(raw[name].shape[-1]):
            up, down = ({**raw, name: raw[name].clone()} for _ in range(2))
            up[name][:, column] += step
            down[name][:, column] -= step
            measured = (quantile(up) - quantile(down)).sum(-1) / (2 * step)
            torch.testing.assert_close(slope[:, column], measured, rtol=2e-2, atol=2e-3)


def test_densities_integrate_to_one_where_the_counts_have_no_weight():
    raw = {name: part.double() for name, part in raw_outputs(4, seed=4).items()}
    raw["weights_logits"][:, 2] = -60.0
    made = read_mixture(raw, torch.zeros(4).double(), torch.ones(4).double())
    grid = torch.linspace(-14, 14, 500_001, dtype=torch.float64)
    for row in range(4):
        one = made.map(lambda part, row=row: part[row : row + 1])
        area = torch.trapezoid(one.log_prob(grid).exp(), grid)
        ends = distribution_at(one, grid[[0, -1]][None])[0]
        torch.testing.assert_close(area, ends[1] - ends[0], rtol=1e-4, atol=1e-4)
