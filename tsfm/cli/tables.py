"""Tables for the terminal: a forecast at a glance, never more than a screen of it."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from tsfm.prediction import name_of

if TYPE_CHECKING:
    import pandas as pd

ROWS, SERIES = 24, 8


def shown_levels(levels: Sequence[float]) -> list[float]:
    """The lowest, the one nearest to the median and the highest of the levels asked."""
    ordered = sorted(set(levels))
    middle = min(ordered, key=lambda level: abs(level - 0.5))
    return sorted({ordered[0], middle, ordered[-1]})


def decimals_for(largest: float) -> int:
    """Digits behind the point so that the largest number shows at least four significant ones."""
    if not math.isfinite(largest) or largest <= 0:
        return 2
    return min(12, max(0, 3 - math.floor(math.log10(largest))))


def forecast_table(frame: "pd.DataFrame", levels: Sequence[float]) -> Table:
    """The first steps of the first series of a long forecast frame: id, time, low, median and high."""
    id_column, time_column = frame.columns[:2]
    columns = [name_of(level) for level in shown_levels(levels)]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(str(id_column))
    table.add_column(str(time_column))
    for column in columns:
        table.add_column(column, justify="right")
    groups = list(frame.groupby(id_column, sort=False))
    steps = max(2, ROWS // min(len(groups), SERIES))
    for series_id, rows in groups[:SERIES]:
        times = [short_time(time) for time in rows[time_column]]
        add_series(table, str(series_id), times, rows[columns].values.tolist(), steps)
    if len(groups) > SERIES:
        table.add_row(f"… {len(groups) - SERIES:,} more series", style="dim")
    return table


def short_time(time: Any) -> str:
    """A time stamp without the seconds, where they are zero."""
    return re.sub(r"^(\d{4}-\d\d-\d\d \d\d:\d\d):00$", r"\1", str(time))


def add_series(table: Table, name: str, times: list[str], rows: list[list[float]], steps: int) -> None:
    """Add the first `steps` rows of one series, and one that says how many there are beyond."""
    decimals = decimals_for(max(abs(number) for row in rows for number in row))
    for position, (time, numbers) in enumerate(list(zip(times, rows, strict=True))[:steps]):
        shown = [f"{number:,.{decimals}f}" for number in numbers]
        table.add_row(name if position == 0 else "", time, *shown, end_section=position == len(rows) - 1)
    if len(rows) > steps:
        table.add_row("", f"… {len(rows) - steps:,} more", style="dim", end_section=True)


def scores_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Names on the left, numbers on the right; where there is no room, long names are broken, never a number."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
