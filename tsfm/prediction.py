"""Forecast: what comes out, in the user's units, with the user's own names, and with its origin.

A forecast holds the model's quantiles at a few levels (the knots) for every series and step. Everything else, any other
level, intervals, the mean, is read from the one curve through them (`tsfm.quantile_curve`), so quantiles never cross.
What `.quantile`, `.median`, `.mean` and `.interval` return follows the family of the input: a Series for a Series, a
dictionary for a dictionary, a long frame with the user's column names for a long frame.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tsfm import quantile_curve
from tsfm.errors import DataError, UnknownName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tsfm.panel import Panel

# n series, H horizon, Q knots.

Floats = NDArray[np.float64]
Layout = str

SHOWN_IDS = 5


@dataclass
class Provenance:
    """Where a forecast comes from: enough to make it again and to doubt it.

    model        name or folder of the model
    weight_hash  sha256 of its weights, "" for models without any
    context      steps of history that the model saw, of the series that had most
    transforms   what was done to the values before and after the model, in order
    defaults     every option that the user left open, with the value chosen
    warnings     what the user should know before trusting the numbers
    notes        where intervals come from that the model does not give itself; the licence of others' weights
    precision    arithmetic of the model, e.g. "float32"
    device       e.g. "cpu", "cuda:0"
    seconds      wall-clock time of the whole call
    """

    model: str
    weight_hash: str = ""
    context: int = 0
    transforms: list[str] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    precision: str = "float32"
    device: str = "cpu"
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary of plain values, independent of this object."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [
            f"model      {self.model}" + (f" (weights {self.weight_hash[:12]})" if self.weight_hash else ""),
            f"context    {self.context:,} steps at most",
            f"ran        {self.seconds:.2f} s on {self.device} in {self.precision}",
        ]
        if self.transforms:
            lines.append(f"transforms {', '.join(self.transforms)}")
        if self.defaults:
            lines.append(f"chosen     {', '.join(f'{name} = {value}' for name, value in self.defaults.items())}")
        lines += [f"note       {note}" for note in self.notes]
        lines += [f"warning    {warning}" for warning in self.warnings]
        return "\n".join(lines)


class Forecast:
    """Quantile forecasts of a panel of series.

    panel            the series that were forecast, with the user's names
    horizon          H, steps ahead
    levels           (Q,) the knots: increasing levels inside (0, 1) at which the model gave quantiles
    values           one (H, Q) array a series, or one (n, H, Q) array: user's units, non-decreasing along the last axis
    quantile_levels  the levels the user asked for, in the order asked; they become columns of `to_frame`
    clip_low         one bool a series: True where nothing below 0 may come out
    provenance       model, options and time behind the numbers
    skipped          reasons by id of the series that were left out
    points           reasons by id of the series of which there is a point forecast and no other level
    """

    def __init__(
        self,
        panel: "Panel",
        horizon: int,
        levels: Sequence[float],
        values: Sequence[Floats] | Floats,
        quantile_levels: Sequence[float],
        clip_low: Sequence[bool],
        provenance: Provenance,
        skipped: Mapping[Hashable, str] | None = None,
        points: Mapping[Hashable, str] | None = None,
    ):
        shape = (len(panel), horizon, len(levels))
        self._knots = np.asarray(values, dtype=np.float64) if len(panel) else np.zeros(shape)  # (n, H, Q)
        if self._knots.shape != shape:
            raise ValueError(f"values have shape {self._knots.shape}; (series, horizon, levels) is {shape}")
        self._knot_levels = tuple(float(level) for level in levels)
        self._clipped = np.asarray(clip_low, dtype=bool).reshape(len(panel))
        self.panel = panel
        self.horizon = horizon
        self.levels = tuple(quantile_curve.check_level(level) for level in quantile_levels)
        self.provenance = provenance
        self.skipped: dict[Hashable, str] = dict(skipped or {})
        self.points: dict[Hashable, str] = dict(points or {})

    @property
    def ids(self) -> list[Hashable]:
        """The user's own names, one a series, in the order of the input."""
        return list(self.panel.ids)

    def quantile(self, level: float) -> Any:
        """Forecast at one quantile level, in the family of the input; `DataError` unless 0 < level < 1."""
        return self.panel.give_back(list(self.quantile_array(level)))

    @property
    def median(self) -> Any:
        """Forecast at level 0.5: as likely too high as too low."""
        return self.quantile(0.5)

    @property
    def mean(self) -> Any:
        """Expected value: the integral of the quantile curve over all levels, its tails included."""
        return self.panel.give_back(list(self.mean_array()))

    def interval(self, coverage: float = 0.8) -> tuple[Any, Any]:
        """Return the lower and upper end of the central interval that holds the outcome with this probability."""
        if not isinstance(coverage, (int, float, np.number)) or not 0.0 < coverage < 1.0:
            raise DataError(f"coverage {coverage!r} is outside (0, 1); give a probability such as 0.8")
        low, high = ends(float(coverage))
        return self.quantile(low), self.quantile(high)

    def quantile_array(self, level: float, series: slice | Sequence[int] = slice(None)) -> Floats:
        """Forecast at one level as a plain (n, H) array, whatever the input was; `series` picks rows by position."""
        found = self.table_array(level, series)
        if np.isnan(found).any():
            name = self.panel.ids[np.arange(len(self))[series][np.isnan(found).any(1)][0]]
            raise DataError(f"series {name!r} has a point forecast and no level {level:g}: it {self.points[name]}")
        return found

    def table_array(self, level: float, series: slice | Sequence[int] = slice(None)) -> Floats:
        """What `quantile_array` gives, but NaN where a series has a point forecast alone: for tables."""
        found = quantile_curve.evaluate(self._knot_levels, self._knots[series], level)
        clipped = self._clipped[series]
        found[clipped] = np.maximum(found[clipped], 0.0)
        if self.points and level != 0.5:
            found[[name in self.points for name in np.array(self.panel.ids, dtype=object)[series]]] = np.nan
        return found

    def mean_array(self) -> Floats:
        """Expected values as a plain (n, H) array, whatever the input was."""
        found = quantile_curve.mean(self._knot_levels, self._knots)
        if self._clipped.any():
            knots = self._knots[self._clipped]
            found[self._clipped] = quantile_curve.mean(self._knot_levels, knots, floor_at_zero=True)
        return found

    def to_frame(self, layout: Layout = "long") -> Any:
        """All series in one table: a pandas frame, or a polars or Arrow one where the data came as such.

        "long"    a row for each series and step: the id and the time under the user's own column names (`unique_id` and
                  `ds` where there were none, and the id column is there for a single series too, so that the same code
                  serves one and many), a column for each level asked, named "0.1" and so on, and "mean"
        "wide"    a row a time, columns (id, level); a single series has plain level columns. Series that end at
                  different times leave NaN where they have no forecast
        "nixtla"  unique_id, ds, TSFM (the median), TSFM-lo-80, TSFM-hi-80 ... for the levels asked

        A level that was asked for twice has one column. A series with a point forecast alone (see `.points`) has NaN at
        all other levels.
        """
        from tsfm import layouts

        return layouts.to_frame(self, layout)

    def to_gluonts(self) -> list[Any]:
        """One `gluonts.model.forecast.QuantileForecast` a series, with the levels asked and the mean."""
        from tsfm import layouts

        return layouts.to_gluonts(self)

    def plot(
        self,
        ax: "Axes | Sequence[Axes] | None" = None,
        *,
        history: int | None = None,
        ids: Hashable | Sequence[Hashable] | None = None,
        max_series: int = 12,
        title: str | None = None,
    ) -> "Figure":
        """Draw history, median and the 80 % and 50 % intervals; many series as small multiples. Returns the figure.

        ax          axes to draw in, one or one a series; a new figure if None. The new figure belongs to the caller
                    alone: matplotlib.pyplot does not know it, `figure.savefig` writes it, a notebook shows it
        history     steps of history in front of the forecast; None: three horizons, 30 steps at least; 0: none
        ids         series to draw, one id or several; None: the first `max_series`
        """
        from tsfm import plotting

        return plotting.plot(self, ax, history=history, ids=ids, max_series=max_series, title=title)

    def label(self, position: int) -> str:
        """What to call a series in a picture: its name; "store 7" for a number; nothing for one without a name."""
        name, origin = self.panel.ids[position], self.panel.origin
        if not isinstance(name, (int, np.integer)):
            return str(name)
        unnamed = origin.family in ("list", "array", "tensor", "series") and origin.details.get("name") is None
        return "" if unnamed else f"{'series' if origin.id is None else origin.id} {name}"

    def positions(self, ids: Sequence[Hashable]) -> list[int]:
        """Where these series stand in the panel; `UnknownName` with the names that exist."""
        where = {name: position for position, name in enumerate(self.panel.ids)}
        for name in ids:
            if name in self.skipped:
                raise UnknownName(f"series {name!r} was skipped: {self.skipped[name]}")
            if name not in where:
                raise UnknownName(f"no series {name!r} in this forecast; there are {listed(self.panel.ids)}")
        return [where[name] for name in ids]

    def __getitem__(self, series_id: Hashable) -> "Forecast":
        """The forecast of one series, in the same family."""
        return self._take(self.positions([series_id]))

    def first(self, count: int) -> "Forecast":
        """The forecast of the first `count` series alone."""
        return self._take(range(min(count, len(self))))

    def _take(self, positions: Sequence[int]) -> "Forecast":
        rows = list(positions)
        return Forecast(
            self.panel.take(rows),
            self.horizon,
            self._knot_levels,
            self._knots[rows],
            self.levels,
            self._clipped[rows].tolist(),
            self.provenance,
            points=self.points,
        )

    def __len__(self) -> int:
        return len(self.panel)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.panel.ids)

    def __contains__(self, series_id: object) -> bool:
        return series_id in self.panel.ids

    def __repr__(self) -> str:
        asked = ", ".join(name_of(level) for level in dict.fromkeys(self.levels))
        lines = [
            f"Forecast of {count(len(self), 'series')}, {count(self.horizon, 'step')} ahead, "
            f"by {self.provenance.model} in {self.provenance.seconds:.2f} s",
            f"  series {listed(self.panel.ids)}; levels {asked}",
        ]
        notes = [f"{name} = {value} chosen" for name, value in self.provenance.defaults.items()]
        if self.skipped:
            notes.append(f"{len(self.skipped)} skipped (see .skipped)")
        if self.provenance.warnings:
            notes.append(f"{count(len(self.provenance.warnings), 'warning')} (see .provenance)")
        return "\n".join([*lines, f"  {'; '.join(notes)}"] if notes else lines)

    def _repr_html_(self) -> str:
        from tsfm import rendering

        return rendering.card(self)


def ends(coverage: float) -> tuple[float, float]:
    """Levels of a central interval; rounded so that 0.8 means the knots 0.1 and 0.9, not their neighbours."""
    return round(0.5 - coverage / 2, 12), round(0.5 + coverage / 2, 12)


def name_of(level: float) -> str:
    """A level as a column name: 0.30000000000000004, as `numpy.arange` makes it, is "0.3"."""
    return f"{level:.12g}"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where that is due."""
    return f"{number:,} {noun}" if number == 1 or noun.endswith("s") else f"{number:,} {noun}s"


def listed(names: Sequence[Hashable]) -> str:
    """The first few names and how many there are beyond."""
    shown = ", ".join(repr(name) for name in names[:SHOWN_IDS])
    return f"{shown} and {len(names) - SHOWN_IDS:,} more" if len(names) > SHOWN_IDS else shown or "none"
