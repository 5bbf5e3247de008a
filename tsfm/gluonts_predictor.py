"""A forecaster where GluonTS expects one of its predictors: for its evaluation tools and GIFT-Eval's scripts."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from tsfm import loading
from tsfm.errors import DataError, MissingDependency
from tsfm.forecaster import Forecaster
from tsfm.options import DECILES, check_horizon, check_levels

try:
    with warnings.catch_warnings():
        # GluonTS advises another json package on import, which nobody here can follow.
        warnings.filterwarnings("ignore", message="Using `json`-module")
        from gluonts.model.predictor import Predictor

    HERE = True
except ImportError:  # this module can be imported all the same; what it makes cannot
    Predictor, HERE = object, False

AT_ONCE = 1024
LEVELS = (0.025, *DECILES, 0.975)  # the deciles, and the ends of the interval that GluonTS's MSIS asks for
MODEL, SETTINGS = "model", "tsfm.json"  # in the folder of a serialised predictor


class GluonTSPredictor(Predictor):  # type: ignore[misc, valid-type, unused-ignore]
    """Forecasts GluonTS data sets entry by entry, in order; what `gluonts.model.evaluate_model` asks of a predictor.

    prediction_length  steps ahead
    quantile_levels    of the `QuantileForecast` objects given back
    """

    def __init__(self, forecaster: Forecaster, prediction_length: int, quantile_levels: Iterable[float] = LEVELS):
        if not HERE:
            raise MissingDependency("GluonTS predictors need gluonts: pip install 'tsfm-forecast[gluonts]'")
        if forecaster.head is not None:
            raise DataError(
                f"model {forecaster.name!r} reads covariates, which do not come this way; "
                "give forecaster.with_head(None).as_gluonts(...), which forecasts without them"
            )
        super().__init__(prediction_length=check_horizon(prediction_length))
        self.forecaster = forecaster
        self.quantile_levels = check_levels(quantile_levels)

    def predict(self, dataset: Iterable[Mapping[str, Any]], num_samples: int | None = None) -> Iterator[Any]:
        """Yield a `QuantileForecast` for each entry, 1,024 read at a time; `num_samples` is for samplers, not used.

        Entries may share an item_id, as the windows of `gluonts.dataset.split` do.
        """
        numbers = count()
        entries = iter(dataset)
        while chunk := list(islice(entries, AT_ONCE)):
            rows = [_row(entry, next(numbers)) for entry in chunk]
            made = self.forecaster.forecast(rows, self.prediction_length, quantile_levels=self.quantile_levels)
            for entry, forecast in zip(chunk, made.to_gluonts(), strict=True):
                forecast.item_id = entry.get("item_id")
                yield forecast

    def serialize(self, path: Path) -> None:
        """Write the predictor to an existing folder, the model with it; `Predictor.deserialize` of GluonTS reads it."""
        super().serialize(path)
        self.forecaster.save(path / MODEL)
        settings = {"prediction_length": self.prediction_length, "quantile_levels": self.quantile_levels}
        (path / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def deserialize(cls, path: Path, device: Any = "auto", **kwargs: Any) -> "GluonTSPredictor":
        """Return the predictor that `serialize` wrote to the folder."""
        settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        return cls(loading.load(path / MODEL, device=str(device)), **settings, **kwargs)


def _row(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What is forecast of an entry, under a name that no other entry has."""
    name = f"{entry['item_id']} (entry {number})" if "item_id" in entry else f"entry {number}"
    return {"item_id": name, "start": entry["start"], "target": entry["target"]}
