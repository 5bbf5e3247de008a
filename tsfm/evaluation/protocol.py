"""What is forecast from what: windows, horizons, seasons and the baseline.

**Rolling** windows are those of GIFT-Eval (Aksu et al. 2024). A configuration is a data set at one term: short, medium
(ten times the horizon) or long (fifteen times). Its test windows lie back to back at the end of every series, each
forecast from all that precedes it. Validation windows are ours: as many windows of the same horizon directly before
the first test window, while two horizons of context remain.

    |------------ context ------------| val 1 | val 2 | val 3 | test 1 | test 2 | test 3 |

**Sliding** windows are those of the long-horizon papers (Zhou et al. 2021, Informer): a series is cut in three, values
are standardised by the first stretch, and every window of a stretch counts, its context reaching back before it.

    |------------- train -------------|---- validation ----|-------- test --------|
"""

import math
import re
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tsfm.errors import DataError, UnknownName
from tsfm.evaluation.metrics import LEVELS

# C context steps, H horizon, Q quantile levels.

Array = NDArray[np.float64]

TERMS = {"short": 1, "medium": 10, "long": 15}
HORIZONS = {"M": 12, "W": 8, "D": 30, "H": 48, "T": 48, "S": 60}
M4_HORIZONS = {"A": 6, "Q": 8, "M": 18, "W": 13, "D": 14, "H": 48}
SEASONS = {"S": 3600, "T": 1440, "H": 24, "D": 1, "W": 1, "M": 12, "B": 5, "Q": 4}  # gluonts 0.17; 1 for all others
TEST_SHARE = 0.1
MAX_WINDOWS = 20
CONTEXT_HORIZONS = 2  # what remains before a validation window, at least
BASELINE_SEASONS = 2  # one to repeat, and one to know how far seasons lie apart

_UNITS = {"min": "T", "h": "H", "s": "S", "ME": "M", "MS": "M", "QE": "Q", "QS": "Q", "YE": "A", "YS": "A", "Y": "A"}


def horizon_for(freq: str, term: str = "short", m4: bool = False) -> int:
    """Steps to forecast at a frequency; the M4 sets keep the horizons of their competition."""
    if term not in TERMS:
        raise UnknownName(f"no term {term!r}; terms are {', '.join(TERMS)}")
    _, unit = split_freq(freq)
    table = M4_HORIZONS if m4 else HORIZONS
    if unit not in table:
        raise UnknownName(f"GIFT-Eval has no horizon for frequency {freq!r}; it has {', '.join(table)}")
    return TERMS[term] * table[unit]


def season_for(freq: str) -> int:
    """Steps in a season as gluonts' `get_seasonality` counts them: 96 for "15min", 1 for days and weeks."""
    multiple, unit = split_freq(freq)
    season, remainder = divmod(SEASONS.get(unit, 1), multiple)
    return 1 if remainder else season


def window_count(shortest: int, horizon: int, m4: bool = False) -> int:
    """Test windows a series of a set whose shortest series has `shortest` steps."""
    return 1 if m4 else max(1, min(MAX_WINDOWS, math.ceil(TEST_SHARE * shortest / horizon)))


def windows(values: Array, horizon: int, count: int, split: str = "test") -> Iterator[tuple[Array, Array]]:
    """Yield (context (C,), target (H,)) views of one series, oldest first.

    `split="test"` yields the last `count` windows. `split="validation"` yields up to `count` windows that end where the
    first test window begins, and none where fewer than two horizons of context would remain.
    """
    first_test = len(values) - count * horizon
    if split == "test":
        if first_test < 1:
            raise DataError(f"a series of {len(values)} steps has no {count} windows of {horizon} steps and a context")
        first, last = first_test, len(values)
    elif split == "validation":
        room = (first_test - CONTEXT_HORIZONS * horizon) // horizon
        first, last = first_test - max(0, min(count, room)) * horizon, first_test
    else:
        raise UnknownName(f"no split {split!r}; there are 'test' and 'validation'")
    for cut in range(first, last, horizon):
        yield values[:cut], values[cut : cut + horizon]


def sliding_windows(
    values: Array, horizon: int, context: int | None, train: int, validation: int, test: int, split: str = "test"
) -> Iterator[tuple[Array, Array]]:
    """Yield (context (C,), target (H,)) of one series in units of its training stretch, one step apart, oldest first.

    train, validation, test    steps of the three stretches; what follows them takes no part
    context                    steps before the cut, None for all; fewer only where the series begins
    """
    if len(values) < train + validation + test:
        stretches = f"{train} + {validation} + {test}"
        raise DataError(f"a series of {len(values)} steps has no {stretches} steps to train, validate and test on")
    if split not in ("test", "validation"):
        raise UnknownName(f"no split {split!r}; there are 'test' and 'validation'")
    first = train + validation if split == "test" else train
    last = first + (test if split == "test" else validation)
    deviation = float(np.nanstd(values[:train]))
    scaled = (values[:last] - float(np.nanmean(values[:train]))) / (deviation if deviation > 0 else 1.0)
    for cut in range(first, last - horizon + 1):
        yield scaled[0 if context is None else max(0, cut - context) : cut], scaled[cut : cut + horizon]


def baseline_context(context: int | None, season: int) -> int | None:
    """Steps that the seasonal naive forecast reads where a model is given `context`: two seasons at least.

    With less than a season it would be the naive forecast under another name.
    """
    return None if context is None else max(context, BASELINE_SEASONS * season)


def seasonal_naive(context: Array, horizon: int, season: int, levels: Sequence[float] = LEVELS) -> Array:
    """Quantiles of the seasonal naive forecast that the leaderboard publishes, (H, Q).

    The last season repeats, after gaps are filled with the value before them. The quantiles are those of a normal
    distribution whose variance, the in-sample one, grows by itself every season (Hyndman & Athanasopoulos 2021,
    section 5.5; statsforecast's `SeasonalNaive`). A season longer than the context counts as 1.
    """
    filled = fill_forward(context)
    if season > len(filled):
        season = 1
    changes = filled[season:] - filled[:-season]
    spread = math.sqrt(float(np.square(changes).mean())) if len(changes) else 0.0
    steps = np.arange(horizon)
    width = spread * np.sqrt(steps // season + 1)  # (H,)
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])  # (Q,)
    return np.asarray(np.resize(filled[-season:], horizon)[:, None] + width[:, None] * normal, dtype=np.float64)


def fill_forward(values: Array) -> Array:
    """The series with each gap filled by the value before it, a leading gap by the first value."""
    observed = ~np.isnan(values)
    if not observed.any():
        raise DataError(f"a context of {len(values)} steps has no observed value; leave its window out")
    last_seen = np.maximum.accumulate(np.where(observed, np.arange(len(values)), observed.argmax()))
    return np.asarray(values[last_seen], dtype=np.float64)


def split_freq(freq: str) -> tuple[int, str]:
    """Multiple and unit of a pandas alias of either generation, anchors dropped: ("15min") -> (15, "T")."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", freq)
    if match is None:
        raise DataError(f"frequency {freq!r} is not a number and a pandas alias, such as '15min', 'h' or 'W-SUN'")
    unit = match[2]
    return int(match[1] or 1), _UNITS.get(unit, unit)
