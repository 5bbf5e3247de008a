"""`tsfm.ForecastRegressor`: a scikit-learn estimator around forecasting and fine-tuning.

Rows are consecutive steps of time. `fit` keeps the history, fine-tunes where asked, and learns what the columns of X
say of the residuals; `predict` forecasts the rows of its X, which come after the history. So a forecast depends on the
place of a row, and splits must keep the order of time: `TimeSeriesSplit`.
"""

import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm.covariate_head import KINDS
from tsfm.errors import DataError, MissingDependency
from tsfm.finetuning.estimator_rows import axes_of, labels_of, read_targets, steps_ahead
from tsfm.finetuning.finetune import finetune
from tsfm.finetuning.methods import METHODS
from tsfm.finetuning.quick_head import quick_head
from tsfm.finetuning.report_text import brought
from tsfm.forecaster import Forecaster, crop_panel
from tsfm.inference import longest_context
from tsfm.loading import DEFAULT_MODEL, forecaster_of
from tsfm.options import DECILES, check_choice, check_horizon, check_levels, check_optional, whole_number
from tsfm.panel import Floats, Origin, Panel
from tsfm.prediction import Forecast

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils import validation
except ImportError:
    raise MissingDependency("ForecastRegressor needs scikit-learn: pip install 'tsfm-forecast[sklearn]'") from None

Steps = NDArray[np.int64]

# T rows of the history, n rows to forecast, m series, F columns of X, Q quantile levels.

COVARIATES = ("auto", *KINDS, None)
POINTS = ("median", "mean")
SINCE_1_6 = hasattr(validation, "validate_data")  # before, estimators had a method for it


class ForecastRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Forecast a series, or several side by side, as scikit-learn regresses.

    model            a name (`tsfm.list_models()`), a folder, or what `tsfm.load` returned
    finetune         False: as it came; "auto" or a method of `tsfm.finetune`: fine-tune, and keep what does better
    time_budget      seconds of fine-tuning, or text such as "10m"
    horizon          steps ahead that fine-tuning and covariates are fitted for, and that `predict(None)` gives; None
                     chooses by frequency. `predict(X)` forecasts as many steps as X has rows
    context          the most steps of history to read; None: as many as the model can
    freq             frequency as pandas names it, where rows carry no dates: it tells the season
    covariates       what reads the columns of X: "ridge", "boosting", the better of both ("auto"), or None: nothing;
                     fine-tuning tries both
    quantile_levels  of `predict_quantiles`, unless it is given others
    point            what `predict` returns: "median" or "mean"
    effort, clip, device, precision, seed   as in `tsfm.forecast`

    X holds what is known ahead, a row a step: it may be None, or a frame without columns that has dates for an index.
    y holds one series, or one a column, NaN where a value is missing.

    Dates, periods or integers that label the rows of pandas give the season, refuse training rows that do not follow
    one another, and tell which step each row of `predict` is, so that a gap after the training part is seen. Rows of
    arrays, and those that pandas numbers 0, 1, 2... itself, are taken as the next steps in turn: a gap cannot be seen,
    and a score on the training rows compares the forecast with the wrong steps.

    After `fit`: `forecaster_` (a `tsfm.Forecaster`), `horizon_`, `covariates_` (what the columns of X brought, in a
    sentence), `report_` (of the fine-tuning, None without), `n_outputs_`, `n_features_in_`, `feature_names_in_`.
    """

    n_features_in_: int

    def __init__(
        self,
        model: str | os.PathLike[str] | Forecaster = DEFAULT_MODEL,
        finetune: bool | str = False,
        time_budget: float | str = 60.0,
        horizon: int | None = None,
        context: int | None = None,
        freq: str | None = None,
        covariates: str | None = "auto",
        quantile_levels: Iterable[float] = DECILES,
        point: str = "median",
        effort: str = "fast",
        clip: str | None = "auto",
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
    ):
        self.model = model
        self.finetune = finetune
        self.time_budget = time_budget
        self.horizon = horizon
        self.context = context
        self.freq = freq
        self.covariates = covariates
        self.quantile_levels = quantile_levels
        self.point = point
        self.effort = effort
        self.clip = clip
        self.device = device
        self.precision = precision
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "ForecastRegressor":
        """Take T rows as the history; `DataError` (a `ValueError`) tells what is wrong with them."""
        self._check_options()
        if y is None:
            raise DataError("ForecastRegressor requires y to be passed, but the target y is None: it is the series")
        known = self._known(X, reset=True)  # (T, F)
        names, targets, self.one_dimensional_ = read_targets(y)
        if known is not None:
            validation.check_consistent_length(known, targets[0])
        axis, self.axis_ = axes_of(X, y, len(targets[0]), self.freq)
        panel = Panel(list(names), targets, [axis] * len(names), Origin("wide"))
        columns = {} if known is None else dict(zip(self._column_names(), known.T, strict=True))
        panel.past_covariates = {name: [column] * len(names) for name, column in columns.items()}
        forecaster = forecaster_of(self.model, self.device, self.precision)
        crop_panel(panel, longest_context(forecaster.model, self.context), "raise")
        self.n_outputs_ = len(names)
        self.horizon_ = panel.default_horizon() if self.horizon is None else check_horizon(self.horizon)
        self._learn(forecaster, panel)
        head = self.forecaster_.head
        self.columns_used_ = [] if head is None else [*head.names("past"), *head.names("future")]
        for name in self.columns_used_:
            if name not in columns:
                raise DataError(f"this model reads {name!r}, which is no column of X; give a frame that has it")
        self.history_ = panel
        panel.past_covariates = {
            name: rows for name, rows in panel.past_covariates.items() if name in self.columns_used_
        }
        return self

    def predict(self, X: Any) -> Floats:
        """The forecast (n,) of the rows of X, (n, m) where y had columns; of `horizon_` steps for None."""
        made, steps = self._forecast(X, DECILES)
        found = made.mean_array() if self.point == "mean" else made.quantile_array(0.5)  # (m, H)
        return self._rows(found, steps)

    def predict_quantiles(self, X: Any, levels: Iterable[float] | None = None) -> Floats:
        """Quantiles (n, Q) of the rows of X, (n, m, Q) where y had columns."""
        asked = check_levels(self.quantile_levels if levels is None else levels)
        made, steps = self._forecast(X, asked)
        return np.stack([self._rows(made.quantile_array(level), steps) for level in asked], axis=-1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # on rows whose target is no function of X, as those checks have
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The same for scikit-learn 1.5."""
        return {"multioutput": True, "poor_score": True}

    def _check_options(self) -> None:
        check_choice(self.finetune, "finetune", (False, None, True, "auto", *METHODS))
        check_optional(self.context, "context", "context=512")
        check_choice(self.covariates, "covariates", COVARIATES)
        check_levels(self.quantile_levels)
        check_choice(self.point, "point", POINTS)
        check_choice(self.effort, "effort", ("fast", "best"))
        check_choice(self.clip, "clip", ("auto", None))
        whole_number(self.seed, "seed", 0, "seed=0")

    def _known(self, X: Any, *, reset: bool) -> Floats | None:
        """The rows of X as numbers (n, F), held against those of `fit` as scikit-learn does; None where it has none."""
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):  # of an earlier fit
                self.__dict__.pop(name, None)
        if X is None or (not reset and not hasattr(self, "n_features_in_")):
            return None
        if isinstance(X, pd.DataFrame) and not X.shape[1] and labels_of(X) is not None:
            if not reset and self.n_features_in_:
                raise DataError(f"X has no columns, and {self.n_features_in_} were given to fit; give the same")
            self.n_features_in_ = 0
            return np.empty((len(X), 0))
        how = {"reset": reset, "dtype": np.float64}
        checked = validation.validate_data(self, X, **how) if SINCE_1_6 else self._validate_data(X, **how)
        return np.asarray(checked, dtype=np.float64)

    def _column_names(self) -> list[str]:
        """Names of the columns of X: its own, or x0, x1..."""
        return list(getattr(self, "feature_names_in_", [f"x{number}" for number in range(self.n_features_in_)]))

    def _learn(self, forecaster: Forecaster, panel: Panel) -> None:
        """Fine-tune where asked, and let a head read the columns of X that say anything, unless the model has one."""
        columns = panel.past_covariates or {}
        telling = [name for name, rows in columns.items() if rows[0].min() < rows[0].max()]
        names = [] if self.covariates is None else telling
        self.report_: dict[str, Any] | None = None
        self.forecaster_, used = forecaster, True
        self.covariates_ = "no column of X is used: " + ("covariates=None" if telling else "none of them ever changes")
        if self.finetune:
            used = self._tune(forecaster, panel, names)
        elif forecaster.head is not None:
            self.covariates_ = "the columns of X are read by the head that the model came with"
        elif names:
            kinds = KINDS if self.covariates == "auto" else (str(self.covariates),)
            reach = longest_context(forecaster.model, self.context)
            head, self.covariates_, used = quick_head(
                forecaster, panel, self.horizon_, names, kinds, self.context, reach, self.seed
            )
            self.forecaster_ = forecaster if head is None else forecaster.with_head(head)
        if not used:
            warnings.warn(self.covariates_, UserWarning, stacklevel=3)

    def _tune(self, forecaster: Forecaster, panel: Panel, names: list[str]) -> bool:
        """Fine-tune, with a head for these columns among those who may win; return whether they could be read."""
        kept = finetune(
            panel,
            self.horizon_,
            forecaster,
            "auto" if self.finetune is True else str(self.finetune),
            self.time_budget,
            future=names or None,
            context=self.context,
            seed=self.seed,
            progress=False,
        )
        self.forecaster_, self.report_ = kept.forecaster, kept.report
        if names:
            judged = bool(kept.report["covariates"])
            notes = "; ".join(kept.report["notes"])
            self.covariates_ = brought(kept.report) if judged else f"the columns of X are not used: {notes}"
            return judged
        return True

    def _forecast(self, X: Any, levels: Iterable[float]) -> tuple[Forecast, Steps]:
        """A forecast that reaches the last row of X, and how far ahead each row is."""
        validation.check_is_fitted(self)
        known = self._known(X, reset=False)
        if X is None:
            steps = np.arange(self.horizon_)
        else:
            rows = len(X) if known is None else len(known)
            steps = steps_ahead(self.axis_, labels_of(X), rows)
        horizon = int(steps.max()) + 1
        made = self.forecaster_.forecast(
            self._ahead(known, steps, horizon),
            horizon,
            quantile_levels=levels,
            context=self.context,
            effort=self.effort,
            clip=self.clip,
            seed=self.seed,
            progress=False,
        )
        return made, steps

    def _ahead(self, known: Floats | None, steps: Steps, horizon: int) -> Panel:
        """The history with what is known ahead of it; steps that are no rows count as the last row before them."""
        if not self.columns_used_:
            return self.history_
        if known is None:
            raise DataError(f"the forecast needs {', '.join(self.columns_used_)} of the steps ahead; give them in X")
        places, past = self._column_names(), self.history_.past_covariates or {}
        ahead = {}
        for name in self.columns_used_:
            column = np.full(horizon + 1, np.nan)
            column[0] = past[name][0][-1]
            column[1 + steps] = known[:, places.index(name)]
            latest = np.maximum.accumulate(np.where(np.isnan(column), 0, np.arange(horizon + 1)))
            ahead[name] = [column[latest[1:]]] * len(self.history_)
        return replace(self.history_, future_covariates=ahead)

    def _rows(self, found: Floats, steps: Steps) -> Floats:
        """The rows asked for, (n,) or (n, m), of forecasts (m, H)."""
        rows = np.ascontiguousarray(found[:, steps].T)
        return rows[:, 0] if self.one_dimensional_ else rows
