"""A fitted architecture: scores, a folder on disk, and forecasts in the units of the data.

config.json         {"kind": "architecture", "architecture": registered name, "config": ..., "variates": names,
                     "mean": ..., "deviation": ..., "fit": settings and course, "scores": ..., "weights": hash}
model.safetensors   the weights
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.checkpoints import CONFIG, FORMAT, WEIGHTS, as_tuples, read_card, replacing, sha256, write_weights
from tsfm.data.adapters import to_panel
from tsfm.errors import DataError
from tsfm.options import whole_number
from tsfm.packing import unpack
from tsfm.panel import Floats
from tsfm.training.fit_data import Scaling, Table, align, fill_forward, time_axis

# T steps, V variates, C context steps, H horizon.

KIND = "architecture"


class Fitted:
    """An architecture with its weights, and the table that it was fitted on, in so far as forecasts need it.

    fit       settings and course of the fit
    scores    "mse" and "mae" on the test stretch, standardised
    """

    def __init__(self, model: nn.Module, name: str, table: Table, scaling: Scaling, fit: dict[str, Any]):
        self.model, self.name, self.scaling, self.fit = model, name, scaling, fit
        self.variates, self.first, self.step = table.variates, table.first, table.step
        self.data = {"name": table.name, "sha256": table.source, "splits": list(table.splits), "season": table.season}
        self.data["target"] = list(table.target)
        self.scores: dict[str, float] = {}
        self.seconds = 0.0

    @property
    def config(self) -> Any:
        """The config of the architecture."""
        return self.model.config

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return sum(one.numel() for one in self.model.parameters())

    def predict(self, values: Floats, start: int = 0) -> Floats:
        """Forecast (H, V) of the steps after the values (T, V), T >= C, in their units.

        start   place of the first step in the series that was fitted on
        """
        context = self.config.context
        if len(values) < context:
            raise DataError(f"{self.name} reads {context} steps and the data have {len(values)}; give a longer history")
        filled = fill_forward(self.scaling.standardised(np.asarray(values, dtype=np.float64)))[-context:]
        place = torch.tensor([start + len(values) - context])
        device = next(self.model.parameters()).device
        with torch.no_grad():
            made = self.model(torch.from_numpy(filled).float()[None].to(device), place.to(device))[0]
        return self.scaling.restored(made.cpu().double().numpy())

    def forecast(self, data: Any, horizon: int | None = None, **columns: Any) -> Any:
        """Forecast of the steps after data that hold every variate, in the family they came in.

        data      whatever `tsfm.forecast` reads; columns: `id`, `time`, `target` and `freq`, as there
        horizon   at most what was fitted for, which is the default
        """
        longest = self.config.horizon
        steps = longest if horizon is None else whole_number(horizon, "horizon", 1, f"horizon={longest}")
        if steps > longest:
            raise DataError(
                f"horizon={steps} is more than the {longest} steps that the model was fitted for; train anew"
            )
        if self.data["target"] and isinstance(data, str | Path | pd.DataFrame):
            columns["target"] = columns.get("target") or self.data["target"]
        panel = to_panel(data, **columns)
        values = align(panel)
        names = [str(name) for name in panel.ids]
        if sorted(names) != sorted(self.variates):
            missing = [name for name in self.variates if name not in names] or "none"
            strange = [name for name in names if name not in self.variates] or "none"
            raise DataError(
                f"the model was fitted on {len(self.variates)} variates; missing in the data: {missing}, not known: "
                f"{strange}; give exactly those"
            )
        order = [names.index(name) for name in self.variates]
        made = self.predict(values[:, order], self._place(*time_axis(panel)))
        return panel.give_back([made[:steps, self.variates.index(name)] for name in names])

    def _place(self, first: str, step: float) -> int:
        """Steps from the first step fitted on to the first step of the data; 0 where there is no time."""
        if not (first and self.first and self.step):
            return 0
        return round((pd.Timestamp(first) - pd.Timestamp(self.first)).total_seconds() / self.step)

    def save(self, folder: str | Path) -> Path:
        """Write a folder that `load_fitted` reads; it appears complete or not at all."""
        folder = Path(folder)
        content = {
            "kind": KIND,
            "architecture": self.name,
            "format": FORMAT,
            "config": dataclasses.asdict(self.config),
            "variates": list(self.variates),
            "mean": self.scaling.mean.tolist(),
            "deviation": self.scaling.deviation.tolist(),
            "first": self.first,
            "step": self.step,
            "data": self.data,
            "fit": self.fit,
            "scores": self.scores,
            "seconds": self.seconds,
        }
        with replacing(folder) as fresh:
            content["weights"] = write_weights(self.model, {}, fresh / WEIGHTS)
            (fresh / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
        return folder


def load_fitted(folder: str | Path) -> Fitted:
    """Read a folder that `Fitted.save` wrote."""
    folder = Path(folder)
    card = read_card(folder)
    if card.get("kind") != KIND:
        raise DataError(
            f"folder {folder} holds a forecaster, which tsfm.load reads; this reads what `tsfm train` wrote"
        )
    entry = registry.get(card["architecture"], kind=KIND)
    path = folder / WEIGHTS
    if not path.is_file() or sha256(path) != card["weights"]["sha256"]:
        raise DataError(f"{path} is missing or not the one that {CONFIG} names; copy the folder again")
    try:
        model = entry(entry.Config(**{key: as_tuples(value) for key, value in card["config"].items()}))
        model.load_state_dict(unpack(load_file(path)))
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise DataError(f"{folder} does not fit this tsfm: {error}; use the tsfm that wrote it") from None
    told = card["data"]
    table = Table(
        name=told["name"],
        values=np.empty((0, len(card["variates"]))),
        variates=tuple(card["variates"]),
        splits=tuple(told["splits"]),
        season=told["season"],
        first=card["first"],
        step=card["step"],
        source=told["sha256"],
        target=tuple(told.get("target", ())),
    )
    scaling = Scaling(np.array(card["mean"]), np.array(card["deviation"]))
    means, deviations, variates = (len(one) for one in (scaling.mean, scaling.deviation, table.variates))
    if not means == deviations == variates:
        raise DataError(
            f"{folder / CONFIG} has {means} means and {deviations} deviations for {variates} variates; copy the folder "
            "again"
        )
    fitted = Fitted(model.eval(), card["architecture"], table, scaling, card["fit"])
    fitted.scores, fitted.seconds = card["scores"], card["seconds"]
    return fitted
