"""The arguments of the public calls, checked: each error names the value and the remedy."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from tsfm.errors import DataError, UnknownName
from tsfm.quantile_curve import check_level

LARGEST_RESULT = 4  # GB of quantiles one call may return
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def whole_number(value: Any, name: str, least: int, example: str) -> int:
    """Return `value` as an int of at least `least`, or raise `DataError`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise DataError(f"{name}={value!r} is not a whole number; give one such as {example}") from None
    if number < least:
        raise DataError(f"{name}={value!r} is too small; give at least {least}, such as {example}")
    return number


def check_horizon(value: Any) -> int:
    """Return the number of steps to forecast."""
    return whole_number(value, "horizon", 1, "horizon=24")


def check_size(series: int, horizon: int, levels: int) -> None:
    """Raise `DataError` where the result alone would not fit in memory."""
    size = 8 * series * horizon * levels / 1e9
    if size > LARGEST_RESULT:
        raise DataError(
            f"horizon={horizon} for {series} series makes {size:,.0f} GB of quantiles; "
            f"forecast fewer steps or fewer series at a time, up to {LARGEST_RESULT} GB"
        )


def check_levels(values: Any) -> tuple[float, ...]:
    """Return the quantile levels, one or many, as floats inside (0, 1), in the order and number asked."""
    many = values if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    levels = tuple(check_level(value) for value in many)
    if not levels:
        raise DataError("quantile_levels is empty; give at least one level, such as (0.1, 0.5, 0.9)")
    return levels


def check_optional(value: Any, name: str, example: str) -> int | None:
    """Return None or a whole number of at least 1."""
    return None if value is None else whole_number(value, name, 1, example)


def check_choice(value: Any, name: str, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of the choices, else raise `UnknownName`."""
    if any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        return value
    raise UnknownName(f"{name}={value!r} is not known; give one of {', '.join(map(repr, choices))}")


def check_ways(batch_size: Any, effort: Any, clip: Any, errors: Any, progress: Any, jointly: Any, seed: Any) -> None:
    """Raise `DataError` or `UnknownName` where a way to forecast is asked for that there is not."""
    check_optional(batch_size, "batch_size", "batch_size=64")
    check_choice(effort, "effort", ("fast", "best"))
    check_choice(clip, "clip", ("auto", None))
    check_choice(errors, "errors", ("raise", "skip"))
    check_choice(progress, "progress", (True, False, None))
    check_choice(jointly, "jointly", (True, False))
    whole_number(seed, "seed", 0, "seed=0")
