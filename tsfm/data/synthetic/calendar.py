"""People's calendars: daily profiles by type of day, weeks, years, holidays, sunlight, weather and counts.

y = level * (1 + a_d(t) profile_{type(day)}(time of day)) * week * year * noise, the pattern of electricity, traffic,
web and retail series. What is new against other priors is the table of day types: workdays, weekend days and holidays
have related but different profiles, so the season of a day can only be told from the season of the week.
"""

import math

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.frequencies import DAILY, cycles, draw_tags, spans
from tsfm.data.synthetic.noise import (
    bump_profile,
    fourier_profile,
    growth_path,
    power_law,
    short_noise,
)
from tsfm.data.synthetic.scans import autoregress, cell_of_circle, on_circle, spread, standardise, stretch

# B series, T steps, D days, K day types, G cells of a day.

CELLS = 96
TYPES = 3


def calendar_composite(draws: Draws, rows: int, length: int) -> Drawn:
    """Series on a calendar at rates from ten seconds to a month."""
    tags = draw_tags(draws, rows, 0, DAILY + 3)
    values = torch.empty(rows, length, device=draws.device)
    period = torch.empty(rows, device=draws.device)
    within_day = torch.nonzero(tags < DAILY).flatten()
    if len(within_day):
        values[within_day], period[within_day] = _within_days(draws, tags[within_day], length)
    across_days = torch.nonzero(tags >= DAILY).flatten()
    if len(across_days):
        values[across_days], period[across_days] = _across_days(draws, tags[across_days], length)
    return Drawn(values, period)


def hourly_composite(draws: Draws, rows: int, length: int, tag: int = 6) -> Drawn:
    """The same at one rate within the day (hourly unless told): two seasons, a day and a week."""
    values, period = _within_days(draws, torch.full((rows,), tag, device=draws.device), length)
    return Drawn(values, period)


def _within_days(draws: Draws, tags: Tensor, length: int) -> tuple[Tensor, Tensor]:
    rows = len(tags)
    per_day = cycles(tags)[:, :1]
    clock = torch.arange(length, device=draws.device) + (draws.uniform(0.0, 7.0, rows, 1) * per_day).floor()
    time = clock / per_day  # in days
    day = time.floor()
    days = int(length / float(per_day.min())) + 10
    kind, profiles = _day_types(draws, rows, days), _profiles(draws, rows)
    activity = _activity(draws, profiles, kind, time, day)
    swing = _daily_swing(draws, rows, days)
    amplitude = _between_days(swing, time, day)
    floor = draws.beta_like(1.2, 1.2, rows, 1)
    shape = floor + (1.0 - floor) * activity * amplitude
    signal = shape * _level(draws, tags, time, length)
    # A temperature-like series swings around a level that wanders by itself; a load-like series is scaled by it.
    wander = power_law(draws, draws.uniform(1.2, 2.6, rows, 1), length) * draws.log_uniform(0.05, 1.0, rows, 1)
    additive = standardise(activity * amplitude) + 1.5 * wander
    signal = torch.lerp(signal, additive, draws.chance(0.25, rows, 1))
    signal = signal + _noise(draws, signal, length)
    _shine(draws, signal, time, day, days)
    _count(draws, signal)
    return signal, per_day[:, 0]


def _day_types(draws: Draws, rows: int, days: int) -> Tensor:
    """(B, D) type of each day: 0 workday, 1 Saturday-like, 2 Sunday-like or holiday."""
    weeks = torch.tensor(
        [
            [0, 0, 0, 0, 0, 2, 2],
            [0, 0, 0, 0, 0, 1, 2],
            [0, 0, 0, 0, 0, 0, 2],
            [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 1, 1, 2],
            [0, 0, 1, 0, 0, 2, 2],
        ],
        device=draws.device,
    )
    week = weeks[draws.pick((0.4, 0.3, 0.08, 0.12, 0.06, 0.04), rows)]
    day = torch.arange(days, device=draws.device) % 7
    holiday = draws.chance(draws.uniform(0.0, 0.04, rows, 1) * draws.chance(0.6, rows, 1), rows, days).long()
    return torch.maximum(week[:, day], 2 * holiday)


def _profiles(draws: Draws, rows: int) -> Tensor:
    """(B, K, G) activity in 0..1 over a day for each type of day.

    The types share their base: bumps of another height and shifted a little, or, for 3 in 10, a new shape.
    """
    size = (rows, TYPES, CELLS)
    bumps = _typed_bumps(draws, rows)
    wave = fourier_profile(draws, rows * TYPES, CELLS).view(size)
    own = draws.uniform(0.0, 0.6, rows, TYPES, 1)
    wave = torch.lerp(wave[:, :1].expand(size), wave, own)
    wave = wave - wave.amin((1, 2), keepdim=True)
    hours = torch.arange(CELLS, device=draws.device) / CELLS
    opens, lasts = draws.uniform(0.1, 0.45, rows, TYPES, 1), draws.uniform(0.2, 0.6, rows, TYPES, 1)
    opens[:, 1:] = torch.lerp(opens[:, :1].expand(-1, TYPES - 1, 1), opens[:, 1:], 0.3)
    ramp = draws.log_uniform(0.004, 0.05, rows, 1, 1)
    open_hours = torch.sigmoid((hours - opens) / ramp) * torch.sigmoid((opens + lasts - hours) / ramp)
    choice = draws.pick((0.55, 0.3, 0.15), rows)
    shape = torch.stack([bumps, wave / wave.amax((1, 2), keepdim=True), open_hours])[
        choice, torch.arange(rows, device=draws.device)
    ]
    # Weekend activity is mostly lower; leisure places turn it round.
    factor = draws.log_normal(1.0, 0.35, rows, TYPES, 1)
    factor[:, 1:] *= torch.lerp(
        draws.uniform(0.25, 1.0, rows, 1, 1), draws.uniform(1.0, 1.8, rows, 1, 1), draws.chance(0.2, rows, 1, 1)
    )
    return shape * (factor / factor[:, :1])


def _typed_bumps(draws: Draws, rows: int, bumps: int = 4) -> Tensor:
    """(B, K, G) in 0..1: one to four von Mises bumps a day, moved and rescaled from type to type."""
    angle = 2 * math.pi * torch.arange(CELLS, device=draws.device) / CELLS
    centre = draws.uniform(0.0, 2 * math.pi, rows, 1, bumps, 1) + 0.3 * draws.normal(rows, TYPES, bumps, 1)
    kappa = draws.log_uniform(1.0, 60.0, rows, 1, bumps, 1) * draws.log_normal(1.0, 0.3, rows, TYPES, bumps, 1)
    height = draws.uniform(0.2, 1.0, rows, 1, bumps, 1) * draws.log_normal(1.0, 0.5, rows, TYPES, bumps, 1)
    height[:, :, 1:] *= draws.chance(0.55, rows, 1, bumps - 1, 1)
    shape = (height * (kappa * ((angle - centre).cos() - 1.0)).exp()).sum(2)
    return shape / shape.amax((1, 2), keepdim=True)


def _activity(draws: Draws, profiles: Tensor, kind: Tensor, time: Tensor, day: Tensor) -> Tensor:
    """(B, T) profile of a step's day type, faded in from that of the day before: people do not change at midnight."""
    time_of_day = time - day
    index = day.long()
    today = _look_up(profiles, kind.gather(1, index), time_of_day)
    yesterday = _look_up(profiles, kind.gather(1, (index - 1).clamp_min(0)), time_of_day)
    return torch.lerp(yesterday, today, (time_of_day / draws.log_uniform(0.01, 0.3, len(profiles), 1)).clamp_max(1.0))


def _look_up(profiles: Tensor, kind: Tensor, time_of_day: Tensor) -> Tensor:
    """(B, T) profile of each step's day type, by straight lines between the cells of its day."""
    rows = len(profiles)
    wrapped = torch.cat([profiles, profiles[:, :, :1]], dim=2).view(rows, -1)
    place = time_of_day * CELLS
    left = place.long().clamp_(0, CELLS - 1)
    weight = place - left
    left += kind * (CELLS + 1)
    return torch.lerp(wrapped.gather(1, left), wrapped.gather(1, left + 1), weight)


def _daily_swing(draws: Draws, rows: int, days: int) -> Tensor:
    """(B, D + 1) log-normal factors with AR(1) memory from day to day."""
    rho = draws.uniform(0.5, 0.98, rows, 1)
    return (autoregress(draws.normal(rows, days + 1), rho) * draws.log_uniform(0.02, 0.4, rows, 1)).exp()


def _between_days(table: Tensor, time: Tensor, day: Tensor) -> Tensor:
    """(B, T) values of a daily table (B, D), by straight lines from midnight to midnight."""
    left = day.long()
    return torch.lerp(table.gather(1, left), table.gather(1, left + 1), time - day)


def _level(draws: Draws, tags: Tensor, time: Tensor, length: int) -> Tensor:
    """(B, T) positive level: slow wandering, growth and a yearly swing."""
    rows = len(tags)
    wander = power_law(draws, draws.uniform(1.0, 2.8, rows, 1), max(16, min(length, 256)))
    path = stretch(wander, length) * draws.log_uniform(0.02, 0.5, rows, 1)
    path = path + growth_path(draws, rows, length, spans(draws, tags, length)) * draws.uniform(0.0, 0.5, rows, 1)
    year = on_circle(fourier_profile(draws, rows, 32, 3), time / 365.25 + draws.uniform(0.0, 1.0, rows, 1))
    path = path + year * (draws.uniform(0.0, 0.35, rows, 1) * draws.chance(0.6, rows, 1))
    return path.clamp(-6.0, 6.0).exp()


def _noise(draws: Draws, signal: Tensor, length: int) -> Tensor:
    """Measurement noise, from nearly none to most of the variance; for six in ten in proportion to the level."""
    rows = len(signal)
    size = signal.abs().mean(1, keepdim=True)
    relative = signal.abs() / size.clamp_min(1e-9)
    sd = spread(signal)
    scale = torch.lerp(torch.ones_like(relative), relative, draws.chance(0.6, rows, 1))
    return short_noise(draws, rows, length) * scale * sd * draws.log_uniform(0.02, 0.9, rows, 1)


def _shine(draws: Draws, signal: Tensor, time: Tensor, day: Tensor, days: int) -> None:
    """Turn a share of the rows into sunlight: zero at night, a bow by day, weather by the day and clouds within it."""
    chosen = draws.rows(0.15, len(signal))
    if not len(chosen):
        return
    rows, length = len(chosen), signal.shape[1]
    time, day = time[chosen], day[chosen]
    season = (2 * math.pi * (time / 365.25 + draws.uniform(0.0, 1.0, rows, 1))).sin()
    horizon = draws.uniform(-0.15, 0.35, rows, 1) - draws.uniform(0.0, 0.3, rows, 1) * season
    elevation = -(2 * math.pi * time).cos() - horizon
    bow = elevation.clamp_min(1e-6).log().mul(draws.uniform(0.8, 1.6, rows, 1)).exp() * (elevation > 0)
    memory = autoregress(draws.normal(rows, days + 1), draws.uniform(0.2, 0.8, rows, 1))
    clearness = torch.sigmoid(draws.uniform(0.0, 1.5, rows, 1) + draws.uniform(0.3, 1.6, rows, 1) * memory)
    cloud = torch.sigmoid(
        2.0 + draws.uniform(0.1, 1.5, rows, 1) * power_law(draws, draws.uniform(0.6, 1.8, rows, 1), length)
    )
    cap = draws.uniform(0.6, 3.0, rows, 1)
    signal[chosen] = torch.minimum(bow * clearness.gather(1, day.long()) * cloud, cap)


def _count(draws: Draws, signal: Tensor) -> None:
    """Turn a share of the rows into counts of a mean between a half and a thousand."""
    chosen = draws.rows(0.2, len(signal))
    if not len(chosen):
        return
    rate = signal[chosen] - signal[chosen].amin(1, keepdim=True).clamp_max(0.0)
    rate = rate / rate.mean(1, keepdim=True).clamp_min(1e-9) * draws.log_uniform(0.5, 1000.0, len(chosen), 1)
    dispersion = draws.log_uniform(1e-3, 0.3, len(chosen), 1)
    signal[chosen] = draws.negative_binomial(rate, dispersion)


def _across_days(draws: Draws, tags: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Daily, weekly and monthly series: days of the week, the month and the year, growth, promotions and shut-downs."""
    rows = len(tags)
    per_week, per_year = cycles(tags)[:, 1:2], cycles(tags)[:, 2:3]
    clock = torch.arange(length, device=draws.device) + (draws.uniform(0.0, 1.0, rows, 1) * per_year).floor()
    span = spans(draws, tags, length)
    path = growth_path(draws, rows, length, span) * draws.uniform(0.0, 1.2, rows, 1)
    path = path + power_law(draws, draws.uniform(0.8, 2.5, rows, 1), length) * draws.log_uniform(0.02, 0.4, rows, 1)
    fourier = fourier_profile(draws, rows, 52, 4)
    peaks = bump_profile(draws, rows, 52) * 3.0
    year = torch.lerp(fourier, peaks, draws.chance(0.3, rows, 1))
    strength = draws.log_uniform(0.02, 0.5, rows, 1) * draws.chance(0.8, rows, 1)
    path = path + on_circle(year, clock / per_year) * strength
    month = cell_of_circle(draws.normal(rows, 30), clock / (per_year / 12.0))
    path = path + month * (draws.uniform(0.0, 0.2, rows, 1) * draws.chance(0.15, rows, 1) * (per_week > 0))
    is_daily = (per_week > 0).float()
    workdays = draws.normal(rows, 7) * draws.log_uniform(0.02, 0.3, rows, 1)
    closed = draws.uniform(0.2, 2.5, rows, 1) * draws.chance(0.6, rows, 1)
    workdays[:, 5:6] -= closed * draws.uniform(0.0, 1.0, rows, 1)
    workdays[:, 6:] -= closed * draws.uniform(0.5, 1.2, rows, 1)
    week = cell_of_circle(workdays, (clock + 0.5) / 7.0)
    path = path + week * is_daily
    # Holidays and promotions: the same few dates every year.
    dates = draws.chance(draws.uniform(0.0, 0.03, rows, 1), rows, 366) * draws.normal(rows, 366)
    path = path + cell_of_circle(dates, clock / per_year) * draws.uniform(0.0, 1.0, rows, 1) * is_daily
    path = path + short_noise(draws, rows, length) * draws.log_uniform(0.01, 0.4, rows, 1)
    values = path.clamp(-8.0, 8.0).exp()
    values = torch.lerp(values, path, draws.chance(0.2, rows, 1))
    _count(draws, values)
    return values, torch.where(per_week > 0, per_week, per_year)[:, 0]
