"""Backtest: what came out of forecasting the past, as tables, a verdict and a picture, with the user's own names."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm import layouts
from tsfm.errors import DataError
from tsfm.evaluation import backtest_scores as scoring
from tsfm.evaluation.backtest_scores import BASELINE, Evidence
from tsfm.evaluation.backtest_windows import Windows, cutoff_times, window_times
from tsfm.panel import Floats, Panel
from tsfm.prediction import Forecast, Provenance, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# n series, N windows, H horizon, Q quantile levels.

SAME = 1e-9  # errors closer than this share of them differ by rounding only
OWN_COLUMNS = ("model", "cutoff", "actual", "context", "windows", *scoring.QUOTIENTS)


@dataclass(frozen=True)
class Result:
    """What one model made of the windows.

    quantiles  (N, H, Q) at the levels of the backtest, None where the model failed
    error      why it failed, empty where it did not
    """

    quantiles: Floats | None
    seconds: float
    error: str = ""


class Wins(NamedTuple):
    """On how many series a model has a lower MASE than the seasonal naive forecast, and the same, of how many."""

    won: int
    tied: int
    of: int


@dataclass(frozen=True)
class Notes:
    """What the reader should know: options chosen for them, doubts about the numbers, series that gave no window."""

    chosen: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    skipped: dict[Hashable, str] = field(default_factory=dict)


class Backtest:
    """Forecasts of the past beside what happened; made by `tsfm.backtest`.

    horizon    H, steps of a window
    cut        the windows
    levels     (Q,) that the models were asked for; `quantile_levels` are those that the user wants to see
    results    by name of the model, the seasonal naive forecast first
    chosen     options left open, with the values chosen
    warnings   what to know before trusting the numbers
    skipped    reasons by id of the series that gave no window
    """

    def __init__(
        self,
        panel: Panel,
        cut: Windows,
        levels: Sequence[float],
        quantile_levels: Sequence[float],
        results: Mapping[str, Result],
        notes: Notes,
        seed: int = 0,
    ):
        self.panel, self.cut, self.results, self.seed = panel, cut, dict(results), seed
        self.levels, self.quantile_levels = tuple(levels), tuple(quantile_levels)
        self.chosen, self.warnings, self.skipped = notes.chosen, notes.warnings, notes.skipped
        self.horizon, self.models = cut.horizon, list(results)
        # A forecast of nothing, for the user's names of columns and series, which it knows how to tell.
        self.names = nameless(panel, self.skipped)
        self.id_column, self.time_column = user_columns(self.names, self.quantile_levels)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a model: scores over all windows (`backtest_scores.scores`), and how they compare to the baseline's.

        mase_skill, crps_skill            1 - error / error of the seasonal naive forecast
        mase_skill_low, mase_skill_high   ends of the 95 % interval of mase_skill (`backtest_scores.evidence`)
        win_rate, tie_rate                share of the series whose MASE is below that of the seasonal naive forecast,
                                          and of those where it is the same
        seconds, error                    how long the model took, and why it failed if it did
        """
        return pd.DataFrame([self._row(name) for name in self.models]).set_index("model")

    @cached_property
    def by_series(self) -> pd.DataFrame:
        """A row a model and series: how many windows, scores and skill."""
        chosen, owner = np.unique(self.cut.series, return_inverse=True)

        def grouped(sums: pd.DataFrame) -> pd.DataFrame:
            return scoring.by_group(sums, owner, len(chosen))

        names = {self.id_column: self._ids(chosen), "windows": np.bincount(owner)}
        return self._long(names, grouped)

    @cached_property
    def by_step(self) -> pd.DataFrame:
        """A row a model and step ahead, 1 to H: scores and skill, so the horizon at which trust should end shows."""
        sums = {name: self._sum(name, axis=0) for name in self._forecast}
        return self._long({"step": np.arange(1, self.horizon + 1)}, lambda summed: summed, sums)

    @cached_property
    def windows(self) -> pd.DataFrame:
        """A row a model and window: the last time stamp before it, the steps of history before it, scores and skill."""
        names = {
            self.id_column: self._ids(self.cut.series),
            "cutoff": cutoff_times(self.panel, self.cut),
            "context": [len(context) for context in self.cut.contexts],
        }
        return self._long(names, lambda sums: sums)

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """A row a model, window and step: what happened ("actual", NaN where missing) and the quantile levels asked.

        Series and times stand under the user's own column names.
        """
        cutoffs = pd.Series(cutoff_times(self.panel, self.cut)).repeat(self.horizon).reset_index(drop=True)
        names = {
            self.id_column: self._ids(np.repeat(self.cut.series, self.horizon)),
            "cutoff": cutoffs,
            self.time_column: pd.Series(window_times(self.panel, self.cut)),
            "actual": self.cut.target.ravel(),
        }
        parts = []
        for name in self._forecast:
            levels = {name_of(level): self.quantile(name, level).ravel() for level in self.quantile_levels}
            parts.append(pd.DataFrame({"model": name, **names, **levels}))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def evidence(self) -> Evidence:
        """How sure the skills are."""
        return scoring.evidence(self.cut, self._sums, self.seed)

    @property
    def verdict(self) -> str:
        """Whether to trust the best of the models, and how strong the evidence is."""
        from tsfm.evaluation import backtest_text

        return backtest_text.verdict(self)

    def quantile(self, model: str, level: float) -> Floats:
        """What a model forecast at one of the levels, (N, H) in the order of `.windows`."""
        found = self.results[model].quantiles
        if found is None:
            raise DataError(f"model {model!r} failed and has no forecasts: {self.results[model].error}")
        return np.asarray(found[..., self.levels.index(level)])

    def wins(self, model: str) -> Wins:
        """On how many series the model's MASE is below that of the seasonal naive forecast, and the same, of how many.

        Series without a MASE do not count.
        """
        if self.results[model].error:
            return Wins(0, 0, 0)
        errors = {name: found["mase"].to_numpy(np.float64) for name, found in self.by_series.groupby("model")}
        scaled = ~np.isnan(errors[BASELINE])
        own, naive = errors[model][scaled], errors[BASELINE][scaled]
        tied = np.isclose(own, naive, rtol=SAME, atol=0.0)
        return Wins(int(((own < naive) & ~tied).sum()), int(tied.sum()), len(own))

    def plot(
        self,
        ids: Hashable | Sequence[Hashable] | None = None,
        *,
        models: str | Sequence[str] | None = None,
        last: int | None = None,
        max_series: int = 6,
        title: str | None = None,
    ) -> "Figure":
        """Draw medians and 80 % intervals of the last windows over what happened, and the skill of each model.

        ids     series to draw, one id or several; None: the first `max_series` that have windows
        models  to draw; None: all that did not fail
        last    how many windows a series, the newest; None: four, or as many as make 48 steps
        """
        from tsfm.evaluation import backtest_plot

        return backtest_plot.plot(self, ids, models, last, max_series, title)

    def __repr__(self) -> str:
        from tsfm.evaluation import backtest_text

        return backtest_text.plain(self)

    def _repr_html_(self) -> str:
        from tsfm.evaluation import backtest_text

        return backtest_text.html(self)

    @property
    def _forecast(self) -> list[str]:
        """Models that did not fail."""
        return [name for name, result in self.results.items() if result.quantiles is not None]

    @cached_property
    def _sums(self) -> dict[str, pd.DataFrame]:
        return {name: self._sum(name, axis=1) for name in self._forecast}

    def _sum(self, name: str, axis: int) -> pd.DataFrame:
        quantiles = self.results[name].quantiles
        assert quantiles is not None
        return scoring.sums(self.cut, quantiles, self.levels, axis)

    def _row(self, name: str) -> dict[str, Any]:
        failed = name not in self._sums
        total = self._sums[BASELINE].sum().to_frame().T
        baseline = scoring.scores(total)
        found = scoring.scores(total * 0 if failed else self._sums[name].sum().to_frame().T)
        compared = {} if name == BASELINE else scoring.compared(found, baseline)
        low, high = self.evidence.interval.get(name, (np.nan, np.nan))
        wins = self.wins(name)
        rates = (wins.won / wins.of, wins.tied / wins.of) if wins.of and compared else (np.nan, np.nan)
        return {
            "model": name,
            "series": 0 if failed else len(np.unique(self.cut.series)),
            "windows": 0 if failed else len(self.cut),
            **found.iloc[0],
            "mase_skill": float(compared["mase_skill"][0]) if compared else np.nan,
            "mase_skill_low": low,
            "mase_skill_high": high,
            "crps_skill": float(compared["crps_skill"][0]) if compared else np.nan,
            "win_rate": rates[0],
            "tie_rate": rates[1],
            "seconds": self.results[name].seconds,
            "error": self.results[name].error,
        }

    def _long(
        self,
        names: Mapping[str, Any],
        group: Callable[[pd.DataFrame], pd.DataFrame],
        sums: Mapping[str, pd.DataFrame] | None = None,
    ) -> pd.DataFrame:
        """Rows of all models, one model after the other: its name, the columns `names`, scores and skill."""
        summed = self._sums if sums is None else sums
        baseline = scoring.scores(group(summed[BASELINE]))
        parts = []
        for name in self._forecast:
            found = scoring.scores(group(summed[name]))
            compared = scoring.compared(found, baseline)
            parts.append(pd.DataFrame({"model": name, **names, **found, **compared}))
        return pd.concat(parts, ignore_index=True)

    def _ids(self, series: NDArray[np.int64]) -> "pd.Series[Any]":
        """Ids of series by position, of the type that the user's own id column has."""
        ids = pd.Series(self.panel.ids, dtype=object)
        dtype = self.panel.origin.details.get("id_dtype")
        typed = ids.infer_objects() if dtype is None else ids.astype(dtype)
        return typed.take(series).reset_index(drop=True)


def nameless(panel: Panel, skipped: Mapping[Hashable, str] | None = None) -> Forecast:
    """A forecast of one step without any content."""
    empty = np.zeros((len(panel), 1, 1))
    return Forecast(panel, 1, (0.5,), empty, (0.5,), [False] * len(panel), Provenance(""), skipped)


def user_columns(names: Forecast, levels: Sequence[float]) -> tuple[Any, Any]:
    """Names of the id and the time column, as in a forecast's frame; `DataError` where a result has the same name."""
    found = layouts.column_names(names)
    for name in found:
        if name in (*OWN_COLUMNS, *map(name_of, levels)):
            raise DataError(f"the column {name!r} of the data has the name of a column of the result; rename it first")
    return found
