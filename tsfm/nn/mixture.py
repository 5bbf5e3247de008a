"""The output of Moirai (Woo et al. 2024, section 3.1.3): four kinds of distribution in one mixture, and its quantiles.

    Student's t          heavy tails
    normal               of a fixed small scale: what is certain
    negative binomial    counts
    log-normal           what is skewed and positive

All four live in scaled units; `loc` and `scale` bring them to the units of the data. A quantile of a mixture is no mean
of its components' quantiles: `pooled_quantiles` bisects the distribution function, between bounds that every
component's own tail gives in closed form, on an arcsinh axis, so that a spike of 1e-3 and a tail of 1e6 are both met.
The negative binomial counts in whole scaled units there, as its samples do; its density is carried on between the
counts, as the published loss has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.nn.distributions import count_cdf, count_log_prob, small_counts, student_cdf, student_constant

# ... any axes, S paths, Q quantile levels; components last in `weight`.

FIXED_SCALE = 1e-3  # of the normal component, in scaled units
PARAMETERS = (("df", "loc", "scale"), ("loc",), ("total_count", "logits"), ("loc", "scale"))
FURTHEST = 1e6  # scaled units; a quantile beyond is a numerical accident
FINEST = 1e-3  # where the arcsinh axis turns from linear to logarithmic
HALVINGS = 32
NEGLIGIBLE = 3e-3  # share of a level's own tail below which a component cannot decide its bounds
HALF_LOG_TAU = 0.9189385332046727  # log(2 pi) / 2


@dataclass(frozen=True)
class Mixture:
    """Parameters, all (...) but the log weights (..., 4); `loc` and `scale` are those of the series."""

    weight: Tensor
    df: Tensor
    student_loc: Tensor
    student_scale: Tensor
    normal_loc: Tensor
    total_count: Tensor
    logits: Tensor
    log_loc: Tensor
    log_scale: Tensor
    loc: Tensor
    scale: Tensor

    def map(self, change: Any) -> "Mixture":
        """The mixture with every parameter put through a function."""
        return Mixture(*(change(getattr(self, field.name)) for field in fields(self)))

    def component_means(self) -> Tensor:
        """(..., 4) in scaled units."""
        skewed = torch.exp(self.log_loc + 0.5 * self.log_scale.square())
        return torch.stack([self.student_loc, self.normal_loc, self.total_count * self.logits.exp(), skewed], -1)

    def component_variances(self) -> Tensor:
        """(..., 4) in scaled units."""
        student = self.student_scale.square() * self.df / (self.df - 2)
        count = self.total_count * self.logits.exp() / torch.sigmoid(-self.logits)
        square = self.log_scale.square()
        skewed = torch.expm1(square) * torch.exp(2 * self.log_loc + square)
        return torch.stack([student, torch.full_like(student, FIXED_SCALE**2), count, skewed], -1)

    @property
    def mean(self) -> Tensor:
        """In the units of the data."""
        return (self.weight.exp() * self.component_means()).sum(-1) * self.scale + self.loc

    @property
    def variance(self) -> Tensor:
        """In scaled units."""
        means, share = self.component_means(), self.weight.exp()
        centre = (share * means).sum(-1, keepdim=True)
        return (share * (self.component_variances() + (means - centre).square())).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density (...) in the units of the data."""
        return self.scaled_log_prob((value - self.loc) / self.scale) - self.scale.log()

    def scaled_log_prob(self, z: Tensor) -> Tensor:
        """Log density (...) in scaled units; a component without the value in its support says -inf."""
        t = (z - self.student_loc) / self.student_scale
        student = torch.lgamma(0.5 * (self.df + 1)) - torch.lgamma(0.5 * self.df) - 0.5 * (self.df * torch.pi).log()
        student = student - self.student_scale.log() - 0.5 * (self.df + 1) * torch.log1p(t * t / self.df)
        normal = -0.5 * ((z - self.normal_loc) / FIXED_SCALE).square() - torch.log(z.new_tensor(FIXED_SCALE))
        counted = torch.where(z >= 0, z, torch.ones_like(z))
        count = torch.where(z >= 0, count_log_prob(counted, self.total_count, self.logits), -torch.inf)
        log = torch.where(z > 0, z, torch.ones_like(z)).log()
        skewed = -0.5 * ((log - self.log_loc) / self.log_scale).square() - log - self.log_scale.log() - HALF_LOG_TAU
        skewed = torch.where(z > 0, skewed, -torch.inf)
        parts = torch.stack([student, normal - HALF_LOG_TAU, count, skewed], -1)
        return torch.logsumexp(self.weight + parts, -1)

    def prepared(self) -> tuple[Tensor, Tensor]:
        """What `scaled_cdf` needs of the parameters alone."""
        return student_constant(self.df), small_counts(self.total_count, self.logits)

    def scaled_cdf(self, z: Tensor, constant: Tensor, below: Tensor) -> Tensor:
        """P(Z <= z), z (...) in scaled units; the rest is what `prepared` gives."""
        student = student_cdf((z - self.student_loc) / self.student_scale, self.df, constant)
        normal = torch.special.ndtr((z - self.normal_loc) / FIXED_SCALE)
        count = count_cdf(z, self.total_count, self.logits, below)
        log = torch.where(z > 0, z, torch.ones_like(z)).log()
        skewed = torch.where(z > 0, torch.special.ndtr((log - self.log_loc) / self.log_scale), torch.zeros_like(z))
        return (self.weight.exp() * torch.stack([student, normal, count, skewed], -1)).sum(-1)

    def bounds(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled values (...) around the quantile of `levels` (...), from the components that can decide it.

        Fewer degrees of freedom have wider tails, and two have a closed form; the count's are Cantelli's inequality.
        """
        low, high = 0.99 * levels, 1 - 0.99 * (1 - levels)
        found = []
        for level, sign in ((low, -1.0), (high, 1.0)):
            two = (2 * level - 1) / (2 * level * (1 - level)).sqrt()
            normal = torch.special.ndtri(level)
            odds = level / (1 - level) if sign > 0 else (1 - level) / level
            count = self.total_count * self.logits.exp()
            count = (count + sign * (count / torch.sigmoid(-self.logits) * odds).sqrt()).clamp(min=0) + (sign - 1) / 2
            student = self.student_loc + self.student_scale * torch.where(two * sign > 0, two, torch.zeros_like(two))
            skewed = torch.exp(self.log_loc + self.log_scale * normal)
            each = torch.stack([student, self.normal_loc + FIXED_SCALE * normal, count, skewed], -1)
            decides = self.weight.exp() > NEGLIGIBLE * torch.minimum(levels, 1 - levels)[..., None]
            hidden = torch.where(decides, each, -sign * torch.inf).nan_to_num(nan=sign * FURTHEST)
            found.append((hidden.amax(-1) if sign > 0 else hidden.amin(-1)).clamp(-FURTHEST, FURTHEST))
        return found[0], found[1]


def read_mixture(raw: dict[str, Tensor], loc: Tensor, scale: Tensor) -> Mixture:
    """The mixture of raw outputs (..., P, 4) and (..., P, 1) by official name, of series of loc and scale (..., 1)."""
    logits = raw["weights_logits"]
    tiny = torch.finfo(logits.dtype).eps

    def positive(name: str) -> Tensor:
        return F.softplus(raw[name][..., 0]).clamp(min=tiny)

    return Mixture(
        logits.log_softmax(-1),
        2.0 + F.softplus(raw["components.0.df"][..., 0]),
        raw["components.0.loc"][..., 0],
        positive("components.0.scale"),
        raw["components.1.loc"][..., 0],
        positive("components.2.total_count"),
        raw["components.2.logits"][..., 0],
        raw["components.3.loc"][..., 0],
        positive("components.3.scale"),
        loc.expand(logits.shape[:-1]),
        scale.expand(logits.shape[:-1]),
    )


def joined_mixtures(parts: Sequence[Mixture]) -> Mixture:
    """The rows of all the mixtures."""
    return Mixture(*(torch.cat([getattr(one, field.name) for one in parts]) for field in fields(Mixture)))


def pooled_quantiles(mixture: Mixture, levels: Tensor) -> Tensor:
    """Quantiles (..., Q) in the units of the data of the even mixture of S mixtures (..., S), in float64.

    levels (..., Q) or (Q,), inside (0, 1). Differentiable in the parameters: the solution q of F(q) = level moves by
    -dF / f(q), which one step of Newton from the solution carries. They are NaN where a parameter is.
    """
    spread = mixture.map(lambda part: part.double())
    spread = spread.map(lambda part: part[..., None, :] if part.dim() < spread.weight.dim() else part[..., None, :, :])
    levels = levels.double().expand(*mixture.df.shape[:-1], levels.shape[-1])
    with torch.no_grad():
        solved = _bisect(spread.map(torch.detach), levels)
    if not any(getattr(spread, field.name).requires_grad for field in fields(spread)):
        return solved
    scaled = (solved[..., None] - spread.loc) / spread.scale
    reached = spread.scaled_cdf(scaled, *spread.prepared()).mean(-1)
    density = (spread.scaled_log_prob(scaled) - spread.scale.log()).exp().mean(-1).detach()
    return solved - (reached - reached.detach()) / density.clamp(min=torch.finfo(torch.float32).tiny)


def _bisect(mixture: Mixture, levels: Tensor) -> Tensor:
    """Solve mean over S of F(x) = level; parameters (..., 1, S), levels (..., Q)."""
    prepared = mixture.prepared()
    low, high = mixture.bounds(levels[..., None])
    # Paths differ in loc and scale: the axis is that of the series' middle path, which all of them share.
    centre, unit = mixture.loc.mean(-1), mixture.scale.mean(-1)
    ends = [(one * mixture.scale + mixture.loc - centre[..., None]) / unit[..., None] for one in (low, high)]
    left, right = torch.asinh(ends[0].amin(-1) / FINEST), torch.asinh(ends[1].amax(-1) / FINEST)
    for _ in range(HALVINGS):
        middle = 0.5 * (left + right)
        value = centre + unit * FINEST * torch.sinh(middle)
        reached = mixture.scaled_cdf((value[..., None] - mixture.loc) / mixture.scale, *prepared).mean(-1)
        enough = reached >= levels
        left, right = torch.where(enough, left, middle), torch.where(enough, middle, right)
    solved = centre + unit * FINEST * torch.sinh(right)
    return torch.where(reached.isnan(), reached, solved)


def levels_of_paths(step: int, targets: int, patch: int, paths: int) -> Tensor:
    """Levels (V, P, S) at which the paths leave patch `step`: each step's is a permutation of the same even ones.

    A Latin hypercube (McKay et al. 1979) that depends on nothing but these numbers.
    """
    even = (torch.arange(paths, dtype=torch.float64) + 0.5) / paths
    chance = torch.Generator().manual_seed(step)
    drawn = torch.rand(targets, patch, paths, generator=chance, dtype=torch.float64)
    return even[drawn.argsort(-1)]
