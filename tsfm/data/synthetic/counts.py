"""Counts: negative binomial with a seasonal rate, and intermittent demand after Croston (1972)."""

import torch

from tsfm.data.synthetic.calendar import calendar_composite
from tsfm.data.synthetic.composite import multi_season_composite
from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import draw_tags, season_periods, spans
from tsfm.data.synthetic.noise import growth_path, waveform_profile
from tsfm.data.synthetic.scans import on_circle, standardise

# B series, T steps.


def counts(draws: Draws, rows: int, length: int) -> Drawn:
    """Whole numbers: half of the rows dense counts around a signal, half sales that happen only now and then."""
    dense = rows // 2
    parts = [
        _dense(draws, dense, length) if dense else None,
        _intermittent(draws, rows - dense, length) if rows > dense else None,
    ]
    drawn = [part for part in parts if part is not None]
    return Drawn(torch.cat([part.values for part in drawn]), torch.cat([part.period for part in drawn]))


def _dense(draws: Draws, rows: int, length: int) -> Drawn:
    """Negative binomial counts whose log rate follows a calendar or a composite series."""
    calendar, composite = calendar_composite(draws, rows, length), multi_season_composite(draws, rows, length)
    first = draws.chance(0.5, rows)
    path = torch.lerp(standardise(composite.values), standardise(calendar.values), first.unsqueeze(1))
    period = torch.lerp(composite.period, calendar.period, first)
    rate = (path.clamp(-4.0, 4.0) * draws.uniform(0.2, 0.9, rows, 1)).exp() * draws.log_uniform(0.3, 200.0, rows, 1)
    return Drawn(draws.negative_binomial(rate, draws.log_uniform(1e-3, 1.0, rows, 1)), period)


def _intermittent(draws: Draws, rows: int, length: int) -> Drawn:
    """Demand with chance .02 to .6 a step, seasonal and drifting; sizes geometric or rounded log-normal."""
    tags = draw_tags(draws, rows, 6)
    period = season_periods(draws, tags, 1, length)
    clock = torch.arange(length, device=draws.device)
    wave = on_circle(waveform_profile(draws, rows, 84), clock / period + draws.uniform(0.0, 1.0, rows, 1))
    strength = draws.uniform(0.2, 1.5, rows, 1) * draws.chance(0.5, rows, 1)
    drift = growth_path(draws, rows, length, spans(draws, tags, length))
    odds = (
        torch.logit(draws.log_uniform(0.02, 0.6, rows, 1)) + strength * wave + drift * draws.uniform(0.0, 1.2, rows, 1)
    )
    demand = draws.chance(odds.sigmoid(), rows, length)
    geometric = 1.0 + (draws.uniform(1e-6, 1.0, rows, length).log() / draws.uniform(-3.0, -0.2, rows, 1)).floor()
    median = draws.log_uniform(1.0, 30.0, rows, 1)
    spread = draws.uniform(0.1, 0.8, rows, 1)
    log_normal = ((draws.normal(rows, length) * spread).exp() * median).round().clamp_min(1.0)
    size = torch.lerp(geometric, log_normal, draws.chance(0.5, rows, 1))
    return Drawn(demand * size.clamp_max(1e5), period[:, 0] * (strength[:, 0] > 0))
