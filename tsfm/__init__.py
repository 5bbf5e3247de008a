"""Forecast time series with small pretrained models, offline, in one call.

    import tsfm
    forecast = tsfm.forecast(series)

Names are imported when they are first used, so that `import tsfm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsfm.catalogue import ModelInfo as ModelInfo
    from tsfm.catalogue import list_models as list_models
    from tsfm.costs import Estimate as Estimate
    from tsfm.costs import estimate as estimate
    from tsfm.data.check import check as check
    from tsfm.data.datasets import load_dataset as load_dataset
    from tsfm.data.listing import list_datasets as list_datasets
    from tsfm.data.report import CheckReport as CheckReport
    from tsfm.errors import DataError as DataError
    from tsfm.errors import MissingDependency as MissingDependency
    from tsfm.errors import TsfmError as TsfmError
    from tsfm.errors import UnknownName as UnknownName
    from tsfm.evaluation.backtest import backtest as backtest
    from tsfm.evaluation.backtest_report import Backtest as Backtest
    from tsfm.evaluation.runner import evaluate as evaluate
    from tsfm.evaluation.scoreboard import Scoreboard as Scoreboard
    from tsfm.finetuning.estimator import ForecastRegressor as ForecastRegressor
    from tsfm.finetuning.finetune import finetune as finetune
    from tsfm.finetuning.multivariate import MultivariateForecaster as MultivariateForecaster
    from tsfm.finetuning.result import FineTuned as FineTuned
    from tsfm.forecaster import Forecaster as Forecaster
    from tsfm.imputed import Imputed as Imputed
    from tsfm.imputing import impute as impute
    from tsfm.loading import forecast as forecast
    from tsfm.loading import load as load
    from tsfm.panel import Panel as Panel
    from tsfm.prediction import Forecast as Forecast
    from tsfm.registry import register as register

__version__ = "0.1.0"

_HOMES = {
    "Backtest": "tsfm.evaluation.backtest_report",
    "CheckReport": "tsfm.data.report",
    "DataError": "tsfm.errors",
    "Estimate": "tsfm.costs",
    "FineTuned": "tsfm.finetuning.result",
    "Forecast": "tsfm.prediction",
    "ForecastRegressor": "tsfm.finetuning.estimator",
    "Forecaster": "tsfm.forecaster",
    "Imputed": "tsfm.imputed",
    "MissingDependency": "tsfm.errors",
    "ModelInfo": "tsfm.catalogue",
    "MultivariateForecaster": "tsfm.finetuning.multivariate",
    "Panel": "tsfm.panel",
    "TsfmError": "tsfm.errors",
    "UnknownName": "tsfm.errors",
    "backtest": "tsfm.evaluation.backtest",
    "check": "tsfm.data.check",
    "Scoreboard": "tsfm.evaluation.scoreboard",
    "estimate": "tsfm.costs",
    "finetune": "tsfm.finetuning.finetune",
    "evaluate": "tsfm.evaluation.runner",
    "forecast": "tsfm.loading",
    "impute": "tsfm.imputing",
    "list_datasets": "tsfm.data.listing",
    "list_models": "tsfm.catalogue",
    "load": "tsfm.loading",
    "load_dataset": "tsfm.data.datasets",
    "register": "tsfm.registry",
}

# A star import must not need scikit-learn.
__all__ = ["__version__", *(name for name in _HOMES if name != "ForecastRegressor")]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tsfm' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
