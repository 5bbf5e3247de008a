"""A table of variates cut in three and standardised by its first stretch: what an architecture is fitted and scored on.

The protocol is that of the long-horizon papers (Zhou et al. 2021, Informer): 12, 4 and 4 months for ETT, 70, 10 and
20 % for the others; every window of a stretch counts, one step apart, its context reaching back before the stretch.

    |------------- train -------------|---- validation ----|-------- test --------|

Where a value is missing the context has the value before it (the mean of the training stretch, where there is none),
and errors leave it out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tsfm.data.adapters import to_panel
from tsfm.data.datasets import data_hash, load_card, load_dataset, own_file, sha256
from tsfm.errors import DataError, UnknownName
from tsfm.panel import Floats, Panel

# T steps, V variates, B windows, C context steps, H horizon.

SHARES = (0.7, 0.2)  # of train and test where no card says; what lies between them validates


@dataclass(frozen=True)
class Table:
    """Variates side by side on one time axis.

    values   (T, V), NaN where missing
    splits   steps of the three stretches; what follows them takes no part
    season   steps
    first    time stamp of the first step in text, "" where there are none; step: seconds between two, 0 likewise
    source   hash of the file
    target   columns of the file that are variates, where not all were taken
    """

    name: str
    values: Floats
    variates: tuple[str, ...]
    splits: tuple[int, int, int]
    season: int
    first: str = ""
    step: float = 0.0
    source: str = ""
    target: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of every variate, each (V,), in the units of the data."""

    mean: Floats
    deviation: Floats

    def standardised(self, values: Floats) -> Floats:
        """Values (T, V) in deviations from the mean."""
        return (values - self.mean) / self.deviation

    def restored(self, values: Floats) -> Floats:
        """Standardised values (H, V) in the units of the data."""
        return values * self.deviation + self.mean


class Batch(NamedTuple):
    """Windows as a model takes them; `observed` is None where every target was measured."""

    values: Tensor  # (B, C, V)
    target: Tensor  # (B, H, V)
    observed: Tensor | None  # (B, H, V)
    start: Tensor  # (B,) place of the context's first step in its series


@dataclass(frozen=True)
class Windows:
    """The windows of one stretch, by their cuts `first`, ..., `last`.

    values     (T, V) standardised and without gaps; observed (T, V), None where all were measured
    """

    values: Tensor
    observed: Tensor | None
    context: int
    horizon: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def take(self, places: Tensor, device: torch.device | None = None) -> Batch:
        """The windows at these places (B,), counted from the stretch's first."""
        cut = places + self.first
        before = cut[:, None] + torch.arange(-self.context, 0)
        after = cut[:, None] + torch.arange(self.horizon)
        observed = None if self.observed is None else self.observed[after].to(device)
        values, target = self.values[before].to(device), self.values[after].to(device)
        return Batch(values, target, observed, (cut - self.context).to(device))

    def batches(self, size: int, device: torch.device | None = None) -> Iterator[Batch]:
        """All windows in order, the last batch as short as it comes."""
        for places in torch.arange(len(self)).split(size):
            yield self.take(places, device)


def read_table(data: str | PathLike[str], target: Sequence[str] = ()) -> Table:
    """A data set of the registry, or a person's own file with a column a variate (or a long one), as a table.

    target  the columns of a file, or the series of a set, that are variates; all by default
    """
    file = own_file(data)
    panel = to_panel(file, target=list(target)) if file is not None and target else load_dataset(data)
    values, length = align(panel), len(panel.values[0])
    variates = [str(name).removeprefix(f"{data}/") for name in panel.ids]
    if file is None and target:
        if strange := [name for name in target if name not in variates]:
            raise UnknownName(f"{data} has no variate {', '.join(strange)}; its variates are {', '.join(variates)}")
        values, variates = values[:, [variates.index(name) for name in target]], list(target)
    card = None if file is not None else card_of(data)
    if card is not None and card.splits is not None:
        splits = (card.splits.train, card.splits.validation, card.splits.test)
    else:
        train, test = (int(length * share) for share in SHARES)
        splits = (train, length - train - test, test)
    first, step = time_axis(panel)
    return Table(
        name=":".join([str(data), *target]) if file is None else file.name,
        values=values,
        variates=tuple(variates),
        splits=splits,
        season=panel.season[0] if card is None or card.season is None else card.season,
        first=first,
        step=step,
        source=data_hash(data) if file is None else sha256(file),
        target=tuple(target),
    )


def card_of(data: str | PathLike[str]) -> Any:
    """The card of a set, None where a prepared set has none."""
    try:
        return load_card(data)
    except UnknownName:
        return None


def align(panel: Panel) -> Floats:
    """The series of a panel as columns (T, V), which need one time axis."""
    if panel.skipped:
        name, reason = next(iter(panel.skipped.items()))
        raise DataError(f"series {name!r} cannot take part: {reason}; drop its column")
    for place, values in enumerate(panel.values):
        if len(values) != len(panel.values[0]) or panel.past_index(place)[0] != panel.past_index(0)[0]:
            raise DataError(
                f"series {panel.ids[place]!r} has {len(values)} steps from {panel.past_index(place)[0]} on and series "
                f"{panel.ids[0]!r} {len(panel.values[0])} from {panel.past_index(0)[0]} on; an architecture reads all "
                "variates together, so cut them to one stretch of time"
            )
    return np.stack(panel.values, axis=1)


def time_axis(panel: Panel) -> tuple[str, float]:
    """First time stamp and mean seconds between two; "" and 0 for steps without time."""
    index: Any = panel.past_index(0)
    if hasattr(index, "to_timestamp"):
        index = index.to_timestamp()
    if not hasattr(index, "tz") or len(index) < 2:
        return "", 0.0
    return str(index[0]), (index[-1] - index[0]).total_seconds() / (len(index) - 1)


def scaling_of(table: Table) -> Scaling:
    """Mean and population deviation of the training stretch; that of a constant counts as 1."""
    train = table.values[: table.splits[0]]
    empty = np.isnan(train).all(0)
    if empty.any():
        raise DataError(
            f"series {table.variates[int(empty.argmax())]!r} has no value in the {len(train)} steps to train on; "
            "drop its column"
        )
    low, high = np.nanmin(train, 0), np.nanmax(train, 0)
    # Squares are formed near 1, so that none is infinite or zero; a power of two changes no digit.
    unit = np.exp2(np.floor(np.log2(np.maximum(np.maximum(-low, high), np.finfo(float).tiny))))
    mean, deviation = np.nanmean(train / unit, 0) * unit, np.nanstd(train / unit, 0) * unit
    moves = (low < high) & (deviation > 0)
    return Scaling(np.where(moves, mean, low), np.where(moves, deviation, 1.0))


def windows_of(table: Table, context: int, horizon: int, scaling: Scaling) -> tuple[Windows, Windows, Windows]:
    """The windows to train, validate and test on, from contexts of `context` steps to the next `horizon`."""
    train, validation, test = table.splits
    if len(table.values) < sum(table.splits):
        raise DataError(f"{table.name} has {len(table.values)} steps, and its stretches take {sum(table.splits)}")
    shortest = min(train - context, validation, test)
    if shortest < horizon:
        raise DataError(
            f"{table.name} has stretches of {train}, {validation} and {test} steps to train, validate and test on: the "
            f"first has no room for a context of {context} and a horizon of {horizon}, or another none for the "
            "horizon; give a smaller --context or --horizon"
        )
    scaled = scaling.standardised(table.values)
    seen = ~np.isnan(scaled)
    observed = None if seen.all() else torch.from_numpy(seen)
    values = torch.from_numpy(fill_forward(scaled)).float()
    ends = (train, train + validation, train + validation + test)
    firsts = (context, train, train + validation)
    made = [
        Windows(values, observed, context, horizon, first, end - horizon)
        for first, end in zip(firsts, ends, strict=True)
    ]
    return made[0], made[1], made[2]


def fill_forward(values: Floats) -> Floats:
    """Columns (T, V) with every gap filled by the value before it, a leading one by 0."""
    seen = ~np.isnan(values)
    steps = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(seen, steps, -1))
    filled = np.take_along_axis(values, last.clip(0), 0)
    return np.where(last < 0, 0.0, filled)


def score(
    forecast: Callable[[Batch], Tensor], windows: Windows, size: int, device: torch.device | None = None
) -> tuple[float, float]:
    """Mean squared and mean absolute error of forecasts (B, H, V) over every measured step of every window."""
    square, absolute, count = 0.0, 0.0, 0
    for batch in windows.batches(size, device):
        error = (forecast(batch) - batch.target).double()
        if batch.observed is not None:
            error = error[batch.observed]
        square += float(error.square().sum())
        absolute += float(error.abs().sum())
        count += error.numel()
    if not count:
        raise DataError("no step of the stretch to score on was measured; give data with values there")
    return square / count, absolute / count


def repeat_season(batch: Batch, season: int, horizon: int) -> Tensor:
    """The seasonal naive forecast (B, H, V): the context's last season again, or its last value where it is shorter."""
    season = season if season <= batch.values.shape[1] else 1
    return batch.values[:, -season:].repeat(1, -(-horizon // season), 1)[:, :horizon]
