"""Imputed: data whose gaps are filled, in the user's own kind, and how sure the model is of what it put there.

`.values` is what came in, filled with medians; an observed step is itself at every level.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm import layouts, quantile_curve
from tsfm.data.filling import fill_in
from tsfm.errors import DataError
from tsfm.forecaster import never_negative
from tsfm.panel import Panel
from tsfm.prediction import Forecast, Provenance, count, ends, name_of
from tsfm.tabular import QUIET, as_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# n series, T_i steps of series i, G_i of them filled, Q knots.

Floats = NDArray[np.float64]
SHOWN = 10  # series listed


class Imputed:
    """Series without gaps; made by `tsfm.impute`.

    data        what was given, from which `.values` has everything but the gaps
    panel       its series as they were read, NaN in their gaps
    knots       (Q,) levels at which the model gave quantiles
    curves      one (G_i, Q) array a series: user's units, non-decreasing; cut at 0 where nothing below was observed
    lined       one (G_i,) mask a series: steps on a straight line, of which there is no level but the middle
    levels      the levels asked for; they become columns of `to_frame`
    counts      steps filled, by series, 0 where there was no gap
    provenance  model, what was done, and what the user should know
    skipped     reasons by id of the series that were left out, which are absent in what is given back
    """

    def __init__(
        self,
        data: Any,
        panel: Panel,
        knots: Sequence[float],
        curves: Sequence[Floats],
        lined: Sequence[NDArray[np.bool_]],
        levels: Sequence[float],
        provenance: Provenance,
    ):
        self.data, self.panel, self.knots = data, panel, tuple(knots)
        self.curves, self.lined, self.levels = list(curves), list(lined), tuple(levels)
        self.provenance = provenance
        self.skipped: Mapping[Hashable, str] = panel.skipped
        self.counts: dict[Hashable, int] = {name: len(curve) for name, curve in zip(panel.ids, curves, strict=True)}

    @property
    def ids(self) -> list[Hashable]:
        """The user's own names, one a series, in the order of the input."""
        return list(self.panel.ids)

    @property
    def values(self) -> Any:
        """What came in, of the same kind and with the same names, every gap filled by the median."""
        return self._given_back(0.5)

    def quantile(self, level: float) -> Any:
        """What came in with one quantile level in the gaps; `DataError` where a straight line is all there is."""
        level = quantile_curve.check_level(level)
        for name, lined in zip(self.panel.ids, self.lined, strict=True):
            if level != 0.5 and lined.any():
                raise DataError(
                    f"series {name!r} has {count(int(lined.sum()), 'step')} on a straight line, which has no level "
                    f"{level:g}; read .values, or .to_frame(), which has NaN there"
                )
        return self._given_back(level)

    def interval(self, coverage: float = 0.8) -> tuple[Any, Any]:
        """Return the lower and upper end of the central interval that holds what was missing with this probability."""
        if not isinstance(coverage, (int, float, np.number)) or not 0.0 < coverage < 1.0:
            raise DataError(f"coverage {coverage!r} is outside (0, 1); give a probability such as 0.8")
        low, high = ends(float(coverage))
        return self.quantile(low), self.quantile(high)

    def array(self, position: int, level: float = 0.5) -> Floats:
        """One series (T_i,) as plain numbers, NaN where a straight line has no such level."""
        found = self.panel.values[position].copy()
        filled = quantile_curve.evaluate(self.knots, self.curves[position], level)
        if never_negative(found):
            filled = np.maximum(filled, 0.0)
        found[np.isnan(found)] = np.where(self.lined[position] & (level != 0.5), np.nan, filled)
        return found

    def to_frame(self) -> Any:
        """A row for each series and step: id, time, the value, whether it was `filled`, and the levels asked.

        A pandas frame, or a polars or Arrow one where the data came as such.
        """
        id_name, time_name = layouts.column_names(nameless(self.panel))
        target = self.panel.origin.target if isinstance(self.panel.origin.target, str) else "value"
        places = range(len(self.panel))
        lengths = [len(values) for values in self.panel.values]
        times = [pd.Series(self.panel.past_index(place)) for place in places]
        columns: dict[Any, Any] = {
            id_name: pd.Series(self.panel.ids).take(np.repeat(places, lengths)).array,
            time_name: pd.concat(times, ignore_index=True) if times else [],
            target: self._joined(0.5),
            "filled": np.concatenate([np.isnan(values) for values in self.panel.values]),
        }
        levels = {name_of(level): self._joined(level) for level in self.levels}
        if len({*columns, *levels}) < 4 + len(levels):
            raise DataError(
                f"a column of the data has the name of a column of the result ({', '.join(map(str, columns))}); rename "
                "it, or read .values"
            )
        frame = pd.DataFrame({**columns, **levels})
        library = self.panel.origin.details.get("library")
        if library is None:
            return frame
        from tsfm.data.foreign import make_foreign

        return make_foreign(frame, library)

    def plot(self, *, history: int | None = None, max_series: int = 12) -> "Figure":
        """Draw the series with most gaps filled: what was observed, the medians and the 80 % and 50 % intervals.

        history   steps drawn around the longest gap of each series; None: eight times its length, 60 at least
        """
        from tsfm import imputed_plot

        return imputed_plot.plot(self, history, max_series)

    def _joined(self, level: float) -> Floats:
        return np.concatenate([self.array(place, level) for place in range(len(self.panel))])

    def _given_back(self, level: float) -> Any:
        return fill_in(self.data, self.panel, [self.array(place, level) for place in range(len(self.panel))])

    def __len__(self) -> int:
        return len(self.panel)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.panel.ids)

    def __repr__(self) -> str:
        return "\n".join([self._heading(), *(f"  {line}" for line in self._notes())])

    def _repr_html_(self) -> str:
        rows = [
            [str(name), f"{len(values):,}", f"{self.counts[name]:,}"]
            for name, values in sorted(
                zip(self.panel.ids, self.panel.values, strict=True), key=lambda one: -self.counts[one[0]]
            )
        ]
        notes = "".join(f'<div style="{QUIET}">{escaped(line)}</div>' for line in self._notes())
        return f"<b>{escaped(self._heading())}</b>{as_html(('series', 'steps', 'filled'), rows[:SHOWN])}{notes}"

    def _heading(self) -> str:
        total, some = sum(self.counts.values()), sum(number > 0 for number in self.counts.values())
        where = f"{some:,} of {count(len(self), 'series')}"
        return (
            f"{count(total, 'step')} filled in {where}, by {self.provenance.model} in {self.provenance.seconds:.2f} s"
        )

    def _notes(self) -> list[str]:
        skipped = [f"{len(self.skipped):,} series skipped (see .skipped)"] if self.skipped else []
        return [*self.provenance.warnings, *skipped]


def escaped(text: str) -> str:
    """Text as HTML shows it."""
    from html import escape

    return escape(text)


def nameless(panel: Panel) -> Forecast:
    """A forecast of one step without any content, which knows how the user calls things."""
    return Forecast(panel, 1, (0.5,), np.zeros((len(panel), 1, 1)), (0.5,), [False] * len(panel), Provenance(""))
