"""What happens to series on their way into a table: links, mixtures, breaks, artefacts, noise, flips, gaps, units.

Each transform takes a share of the rows, in the order of `TRANSFORMS`, and is given those rows and the whole batch, as
mixtures read it. The series come in at unit spread and stay finite.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from tsfm.data.synthetic.draws import Draws
from tsfm.data.synthetic.scans import spread, standardise, stretch, two_state_chain

# B series, T steps.

Transform = Callable[[Draws, Tensor, Tensor], Tensor]


def transform(draws: Draws, values: Tensor) -> Tensor:
    """(B, T) after every transform, each applied to its share of the rows in place; still in standard units."""
    for share, apply in TRANSFORMS:
        chosen = draws.rows(share, len(values))
        if len(chosen):
            values[chosen] = apply(draws, values[chosen], values)
    return values


def link(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Links of standardised series: exp, softplus, censoring at 0, logit cap, square, modulus, Box-Cox."""
    steep = draws.uniform(0.3, 1.0, len(values), 1)
    lift = draws.uniform(-0.5, 1.5, len(values), 1)
    bounded = standardise(values).clamp(-6.0, 6.0)
    links: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
        lambda x, a, b: (a * x).exp(),
        lambda x, a, b: functional.softplus(2.0 * x + b),
        lambda x, a, b: (x + b).clamp_min(0.0),
        lambda x, a, b: torch.sigmoid(2.0 * (x + b) / a.clamp_min(0.4)),
        lambda x, a, b: (x + b).square(),
        lambda x, a, b: (x + b - 0.5).abs(),
        lambda x, a, b: ((1.0 + 0.15 * x).log() * (0.3 + 3.0 * a)).exp(),
    )
    kind = draws.pick((0.15, 0.05, 0.08, 0.04, 0.03, 0.02, 0.08), len(values))
    for index, function in enumerate(links):
        rows = torch.nonzero(kind == index).flatten()
        if len(rows):
            values[rows] = function(bounded[rows], steep[rows], lift[rows])
    return values


def mixup(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Convex mixtures of two or three rows (TSMixup, Ansari et al. 2024), half with weights that move in time."""
    rows, length = values.shape
    first, last = draws.dirichlet(1.5, rows, 3), draws.dirichlet(1.5, rows, 3)
    use_third = torch.cat([torch.ones(rows, 2, device=draws.device), draws.chance(0.5, rows, 1)], dim=1)
    moving = draws.chance(0.5, rows, 1)
    last = torch.lerp(first, last, moving) * use_third
    first = first * use_third
    mixed = torch.zeros_like(values)
    for slot in range(3):
        series = values if slot == 0 else others[draws.integer(0, len(others) - 1, rows)]
        ends = torch.stack([first[:, slot], last[:, slot]], dim=1)
        mixed.addcmul_(standardise(series), stretch(ends, length))
    return mixed


def regime_change(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """One to three changes of scale (.5 to 2) and of level (about a third of a standard deviation)."""
    rows, length = values.shape
    change = draws.chance(draws.uniform(1.0, 3.0, rows, 1) / length, rows, length)
    gain = (change * draws.uniform(-0.7, 0.7, rows, length)).cumsum(1).exp()
    shift = (change * draws.normal(rows, length) * 0.5).cumsum(1) * spread(values)
    centre = values.mean(1, keepdim=True)
    return (values - centre) * gain + centre + shift


def shock(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """One jump of half to three standard deviations that dies away over 1 to 15 % of the series."""
    rows, length = values.shape
    since = torch.arange(length, device=draws.device) - draws.uniform(0.0, length, rows, 1)
    decay = draws.log_uniform(0.01, 0.15, rows, 1) * length
    size = draws.uniform(0.5, 3.0, rows, 1) * draws.normal(rows, 1).sign() * spread(values)
    return values + (since >= 0) * (-since.clamp_min(0.0) / decay).exp() * size


def amplitude_window(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Deviations from the mean multiplied by .3 to 1.8 between two times."""
    rows, length = values.shape
    clock = torch.arange(length, device=draws.device)
    start = draws.uniform(0.0, 0.9 * length, rows, 1)
    stop = start + draws.log_uniform(length / 16, length / 2, rows, 1)
    inside = ((clock >= start) & (clock < stop)).to(values.dtype)
    centre = values.mean(1, keepdim=True)
    return centre + (values - centre) * (1.0 + inside * (draws.uniform(0.3, 1.8, rows, 1) - 1.0))


def resample(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Coarser sampling by 2 to 8, filled in by straight lines or by holding the last value."""
    rows, length = values.shape
    place = torch.arange(length, device=draws.device) / draws.integer(2, 8, rows, 1)
    factor = (1.0 / (place[:, 1:2])).round()
    left = (place.floor() * factor).long().clamp_(0, length - 1)
    right = (left + factor.long()).clamp_(0, length - 1)
    weight = place.frac() * draws.chance(0.7, rows, 1)
    return torch.lerp(values.gather(1, left), values.gather(1, right), weight)


def quantise(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Rounding to 2 to 64 levels within the range of the series."""
    low, high = values.aminmax(dim=1, keepdim=True)
    step = (high - low).clamp_min(1e-9) / draws.log_uniform(2.0, 64.0, len(values), 1).round().sub(1.0).clamp_min(1.0)
    return ((values - low) / step).round() * step + low


def censor(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Clipping from above or below at a quantile between 60 and 95 %."""
    sample = values[:, :: max(1, values.shape[1] // 128)].sort(dim=1).values
    place = (draws.uniform(0.6, 0.95, len(values), 1) * (sample.shape[1] - 1)).long()
    above = draws.chance(0.5, len(values), 1)
    capped = torch.minimum(values, sample.gather(1, place))
    floored = torch.maximum(values, sample.gather(1, sample.shape[1] - 1 - place))
    return torch.lerp(floored, capped, above)


def heteroskedastic(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Noise of 1 to 30 % of the standard deviation, larger where the series lies higher."""
    low = values.amin(1, keepdim=True)
    height = (values - low) / (values.mean(1, keepdim=True) - low).clamp_min(1e-9)
    return values + draws.normal(*values.shape) * height.clamp_max(5.0) * spread(values) * draws.log_uniform(
        0.01, 0.3, len(values), 1
    )


def outliers(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """Single wrong values, 3 to 8 standard deviations off, at .1 to 1 % of the steps."""
    rows, length = values.shape
    hit = draws.chance(draws.log_uniform(1e-3, 1e-2, rows, 1), rows, length)
    size = draws.uniform(3.0, 8.0, rows, length)
    one_sided = draws.chance(0.5, rows, 1)
    sign = torch.lerp(draws.normal(rows, length).sign(), draws.normal(rows, 1).sign().expand(rows, length), one_sided)
    return values + hit * size * sign * spread(values)


def sign_flip(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """The series upside down: half of all rows, so that the training law is symmetric in sign."""
    return -values


def time_reversal(draws: Draws, values: Tensor, others: Tensor) -> Tensor:
    """The series backwards."""
    return values.flip(1)


TRANSFORMS: tuple[tuple[float, Transform], ...] = (
    (0.45, link),
    (0.25, mixup),
    (0.10, regime_change),
    (0.08, shock),
    (0.08, amplitude_window),
    (0.08, resample),
    (0.08, quantise),
    (0.05, censor),
    (0.25, heteroskedastic),
    (0.10, outliers),
    (0.50, sign_flip),
    (0.10, time_reversal),
)


def missing_blocks(draws: Draws, rows: int, length: int) -> Tensor:
    """(B, T) bool, False where not measured: 15 % of the rows have gaps.

    Gaps have geometric lengths; a third of those rows miss whole patches of 32 steps too.
    """
    observed = torch.ones(rows, length, dtype=torch.bool, device=draws.device)
    holed = draws.rows(0.15, rows)
    if not len(holed):
        return observed
    ratio = draws.beta_like(1.0, 4.0, len(holed), 1).clamp(0.002, 0.7)
    leave = 1.0 / draws.log_uniform(1.0, 60.0, len(holed), 1)
    # The chance to enter that makes `ratio` of the steps missing in the long run, kept below what leaves room to leave.
    enter = torch.minimum(leave * ratio / (1.0 - ratio), 1.0 - leave).clamp_min(ratio * 0.05)
    missing = two_state_chain(
        enter.clamp_max(0.9),
        torch.minimum(leave, 1.0 - enter).clamp_min(0.02),
        draws.uniform(0.0, 1.0, len(holed), length),
    )
    patches = draws.chance(
        draws.uniform(0.0, 0.25, len(holed), 1) * draws.chance(0.33, len(holed), 1), len(holed), -(-length // 32)
    )
    patches = patches.repeat_interleave(32, dim=1)[:, :length]
    observed[holed] = (missing + patches) == 0
    return observed


def units(draws: Draws, values: Tensor) -> Tensor:
    """`values` (B, T), changed in place, in the units of a user.

    The scale is exp(N(0, 1.5)). Half of the rows get an offset of a few standard deviations; the other half keep their
    own zero, which for counts, flows and loads means something.
    """
    rows = len(values)
    size = spread(values)
    is_flat = (size < 1e-6).to(values.dtype)
    gain = 1.0 / torch.lerp(size, torch.ones_like(size), is_flat)
    centre = values.mean(1, keepdim=True) * gain
    keeps_zero = draws.chance(0.5, rows, 1) * (centre.abs() < 100.0)
    offset = draws.normal(rows, 1) * draws.log_uniform(0.5, 20.0, rows, 1)
    shift = (offset - centre) * (1.0 - keeps_zero)
    scale = draws.log_normal(1.0, 1.5, rows, 1)
    return values.mul_(gain * scale).add_(shift * scale).clamp_(-1e6, 1e6)
