"""The mixture: which family every series comes from, the quality gate, and the sampler that training calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tsfm.data.synthetic import (
    autoregressive,
    calendar,
    causal,
    chaotic,
    composite,
    counts,
    lifecycle,
    pulses,
    realts,
    sensors,
    spectral,
    switching,
    telemetry,
)
from tsfm.data.synthetic import transforms as post
from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.scans import spread
from tsfm.errors import UnknownName

# B series, T steps.


@dataclass(frozen=True)
class Family:
    """A generator and its share of the default mix."""

    generate: Callable[[Draws, int, int], Drawn]
    weight: float


FAMILIES: dict[str, Family] = {
    "calendar": Family(calendar.calendar_composite, 0.18),
    "spectral": Family(spectral.spectral_process, 0.14),
    "composite": Family(composite.multi_season_composite, 0.14),
    "autoregressive": Family(autoregressive.linear_process, 0.09),
    "switching": Family(switching.regime_switching, 0.07),
    "random-walk": Family(autoregressive.random_walk, 0.05),
    "sensors": Family(sensors.sensor_drift, 0.07),
    "telemetry": Family(telemetry.it_telemetry, 0.07),
    "counts": Family(counts.counts, 0.05),
    "pulses": Family(pulses.pulses_and_steps, 0.03),
    "rivers": Family(pulses.river_flow, 0.03),
    "chaotic": Family(chaotic.chaotic, 0.02),
    "causal": Family(causal.causal_mix, 0.03),
    "life-cycle": Family(lifecycle.life_cycle, 0.03),
    "growth": Family(lifecycle.growth_curve, 0.01),
    "white-noise": Family(spectral.white_noise, 0.02),
    "constant": Family(spectral.constant, 0.01),
}
FLAT = "constant"
# Families outside the default mix, drawn where their names are given. They stand behind the others, so that a mix that
# does not name them has the same random stream as before they came.
EXTRAS: dict[str, Family] = {"realts": Family(realts.realts, 0.0)}


@dataclass(frozen=True)
class Samples:
    """A batch of synthetic series.

    values    (B, T)  float32, finite, within 1e6; 0 where not observed
    observed  (B, T)  bool
    family    (B,)    int64 index into `tuple(FAMILIES | EXTRAS)`
    period    (B,)    float32 steps of the main season as generated, 0 if none
    """

    values: Tensor
    observed: Tensor
    family: Tensor
    period: Tensor


def sample(
    count: int,
    length: int,
    seed: int,
    *,
    families: Mapping[str, float] | None = None,
    device: torch.device | str = "cpu",
    transforms: bool = True,
) -> Samples:
    """`count` series of `length` steps from the mixture, a pure function of its arguments.

    families    weights that replace the default ones of the families they name, 0 leaves a family out; families of
                `EXTRAS` are drawn only where they are named
    transforms  False leaves out the post-transforms, gaps and units: series of unit spread as families make them

    Raises UnknownName for a family that does not exist, ValueError for a mix without weight or a size below one.
    """
    if count < 1 or length < 16:
        raise ValueError(f"cannot draw {count} series of {length} steps; ask for at least 1 series of 16 steps")
    draws = Draws(seed, device)
    family = draws.pick(_weights(families), count)
    values = torch.empty(count, length, device=draws.device)
    period = torch.empty(count, device=draws.device)
    for index, each in enumerate((FAMILIES | EXTRAS).values()):
        rows = torch.nonzero(family == index).flatten()
        if len(rows):
            drawn = each.generate(draws, len(rows), length)
            values[rows], period[rows] = drawn.values, drawn.period.float()
    _gate(draws, values, family, period)
    observed = torch.ones(count, length, dtype=torch.bool, device=draws.device)
    if transforms:
        flat = torch.nonzero(family == list(FAMILIES).index(FLAT)).flatten()
        kept = values[flat]
        post.transform(draws, values)
        values[flat] = kept
        _gate(draws, values, family, period)
        observed = post.missing_blocks(draws, count, length)
        post.units(draws, values).mul_(observed)
    return Samples(values, observed, family, period)


def _weights(families: Mapping[str, float] | None) -> Tensor:
    every = FAMILIES | EXTRAS
    unknown = sorted(set(families or {}) - set(every))
    if unknown:
        raise UnknownName(f"no synthetic family {', '.join(unknown)}; there are {', '.join(every)}")
    chosen = {name: each.weight for name, each in FAMILIES.items()} | dict(families or {})
    # Even a weight of zero more could change the stream, so what is not named is not there.
    present = [name for name in every if name in FAMILIES or any(chosen.get(extra) for extra in EXTRAS)]
    weights = torch.tensor([chosen.get(name, 0.0) for name in present])
    if not bool((weights >= 0).all()) or float(weights.sum()) <= 0:
        raise ValueError(f"family weights must be >= 0 with a sum above 0, got {chosen}")
    return weights


def only(*names: str) -> dict[str, float]:
    """Weights for `sample` that draw these families alone, in equal shares."""
    return {name: float(name in names) for name in FAMILIES} | dict.fromkeys(names, 1.0)


def _gate(draws: Draws, values: Tensor, family: Tensor, period: Tensor) -> None:
    """Standardise in place, and replace what a model cannot learn from by spectral processes, relabelled as such.

    Rows fail when a value is not finite, when they do not change (unless meant), or when one step is all that differs.
    """
    names = list(FAMILIES)
    is_flat = family == names.index(FLAT)
    centre = values.mean(1, keepdim=True)
    size = spread(values)
    low, high = values.aminmax(dim=1, keepdim=True)
    reach = torch.maximum(high - centre, centre - low)
    # A lone spike in a constant row has a reach of sqrt(T) standard deviations.
    lonely = reach > 0.9 * values.shape[1] ** 0.5 * size
    tiny = size < 1e-5 * centre.abs().clamp_min(1e-6)
    bad = (~(size.isfinite() & reach.isfinite()) | ((lonely | tiny) & ~is_flat.unsqueeze(1)))[:, 0]
    scale = torch.where(is_flat.unsqueeze(1), torch.ones_like(size), size.clamp_min(1e-12))
    values.div_(scale)
    rows = torch.nonzero(bad).flatten()
    if len(rows):
        drawn = spectral.spectral_process(draws, len(rows), values.shape[1])
        values[rows], period[rows], family[rows] = drawn.values, drawn.period, names.index("spectral")
