"""Whatever can be measured, in one shape: our models, classical methods from statsforecast, a person's function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn import Module

from tsfm import loading
from tsfm.errors import DataError
from tsfm.evaluation.statistical import STATISTICAL, statistical
from tsfm.forecaster import Forecaster
from tsfm.options import check_choice

# C context steps, H horizon, Q quantile levels.

Array = NDArray[np.float64]
Predict = Callable[[list[Array], int, Sequence[float], list[int]], Sequence[Array]]
"""(contexts, each (C,) with NaN; horizon; levels; season of each in steps) -> quantiles, (H, Q) each."""


@dataclass(frozen=True)
class Contender:
    """Somebody who forecasts, and what a leaderboard says of them.

    parameters   numbers learned, None where nobody said
    licence      of the weights, or of the code where there are none; empty where nobody said
    weights      hash of the weights, empty where there are none
    forecaster   the model of ours behind it, if there is one
    """

    name: str
    predict: Predict
    parameters: int | None = None
    licence: str = ""
    weights: str = ""
    forecaster: Forecaster | None = None


def contender(
    model: Any,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    effort: str = "fast",
) -> Contender:
    """Return the contender that `model` names: a name or folder that `tsfm.load` takes, a `Forecaster`, a classical
    method ("auto-ets", "auto-theta", "auto-arima"; they need the extra `bench`), a `Contender`, or any function
    of the shape `Predict`. With effort="best" a model of ours is called "<name>-best".
    """
    check_choice(effort, "effort", ("fast", "best"))
    if isinstance(model, Contender):
        return model
    if isinstance(model, str) and model in STATISTICAL:
        return Contender(model, statistical(model), 0, "Apache-2.0")
    if callable(model) and not isinstance(model, Forecaster | str):
        return Contender(getattr(model, "__name__", type(model).__name__), model)
    if not isinstance(model, Forecaster | str) and not hasattr(model, "__fspath__"):
        raise DataError(
            f"{model!r} is no model; give a name such as 'moe-decoder-tiny', a folder, a Forecaster, or a function "
            "of (contexts, horizon, levels, seasons)"
        )
    forecaster = loading.forecaster_of(model, device, precision)
    if forecaster.head is not None:
        names = ", ".join(column.name for column in forecaster.head.columns) or "nothing but the forecasts it corrects"
        raise DataError(
            f"model {forecaster.name!r} has a head that reads {names}, and here it would be given histories alone; "
            "tsfm.load(folder).with_head(None) is measured without it, and its own report says what the head is worth"
        )

    def predict(contexts: list[Array], horizon: int, levels: Sequence[float], seasons: list[int]) -> list[Array]:
        return forecaster.predict_arrays(contexts, horizon, levels, seasons, batch_size=batch_size, effort=effort)

    count = sum(one.numel() for one in forecaster.model.parameters()) if isinstance(forecaster.model, Module) else 0
    licence = str(forecaster.card.get("licence", "" if count else "Apache-2.0"))
    name = Path(forecaster.name).name + ("-best" if effort == "best" else "")
    return Contender(name, predict, count, licence, forecaster.weight_hash, forecaster)
