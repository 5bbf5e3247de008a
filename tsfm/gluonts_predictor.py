"""A forecaster where GluonTS expects one of its predictors: for its evaluation tools and GIFT-Eval's scripts."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from tsfm.forecaster import Forecaster
from tsfm.options import DECILES, check_horizon

AT_ONCE = 1024


class GluonTSPredictor:
    """Forecasts GluonTS data sets entry by entry, in order; what `gluonts.model.evaluate_model` asks of a predictor.

    prediction_length  steps ahead
    quantile_levels    of the `QuantileForecast` objects given back
    """

    lead_time = 0

    def __init__(self, forecaster: Forecaster, prediction_length: int, quantile_levels: Iterable[float] = DECILES):
        self.forecaster = forecaster
        self.prediction_length = check_horizon(prediction_length)
        self.quantile_levels = tuple(quantile_levels)

    def predict(self, dataset: Iterable[Mapping[str, Any]], num_samples: int | None = None) -> Iterator[Any]:
        """Yield a `QuantileForecast` for each entry, 1,024 read at a time; `num_samples` is for samplers, not used."""
        entries = iter(dataset)
        while chunk := list(islice(entries, AT_ONCE)):
            made = self.forecaster.forecast(chunk, self.prediction_length, quantile_levels=self.quantile_levels)
            yield from made.to_gluonts()
