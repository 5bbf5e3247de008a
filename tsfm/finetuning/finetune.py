"""`tsfm.finetune`: fine-tune on a person's own data, and keep the result only where it is better.

data -> panel -> three blocks of windows and a training part (split.py)
seasonal naive and the model as it came forecast the blocks first (scoring.py)
each method trains a copy until the stopping windows say that it is enough (course.py)
covariates, where there are any, are read by a residual head over the best of them (covariates.py)
the guard picks the winner on the selection windows; the report windows say what it is worth (result.py)
"""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tsfm.data.adapters import to_panel
from tsfm.data.check import check
from tsfm.data.covariate_columns import Named, are_names, name_columns
from tsfm.errors import DataError
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.methods import ALONE, METHODS, check_method, check_trainable
from tsfm.finetuning.result import FineTuned
from tsfm.finetuning.run import Run
from tsfm.finetuning.settings import Settings
from tsfm.finetuning.split import split
from tsfm.finetuning.working import Working
from tsfm.forecaster import Forecaster
from tsfm.inference import longest_context
from tsfm.loading import DEFAULT_MODEL, forecaster_of
from tsfm.options import check_choice, check_horizon, check_optional, whole_number
from tsfm.panel import Panel

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}


def finetune(
    data: Any,
    horizon: int,
    base: str | os.PathLike[str] | Forecaster | None = None,
    method: str = "auto",
    time_budget: float | str = 300.0,
    out: str | os.PathLike[str] | None = None,
    *,
    past: Any = None,
    future: Any = None,
    static: Any = None,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    freq: str | None = None,
    errors: str = "raise",
    windows: int | None = None,
    context: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    progress: bool | Callable[[str], None] | None = None,
) -> FineTuned:
    """Fine-tune a forecaster on your own series, and keep the result only where it forecasts them better.

    data         whatever `tsfm.forecast` takes: a CSV or parquet path, a frame, series; id, time, target, freq and
                 errors mean the same as there
    horizon      steps ahead that matter to you
    base         a name, folder or `Forecaster` to begin with; None: the default model
    method       "full", "head", "lora", "dora", "experts", "router", "adapters" (tsfm/finetuning/methods.py); "auto"
                 tries what fits the amount of data and keeps the best; "none" trains nothing and reads covariates alone
    time_budget  seconds for all of it, or text such as "10m"; a run that learns nothing more ends sooner
    out          folder for the model and the report. A run that was killed goes on from there when called again
    past         columns of the data that are known up to now alone, such as ["temperature"]
    future       columns known ahead, such as ["promotion"]; forecasts then need them in `future=`. What was measured,
                 as the weather, is not known ahead: a forecast of it is, if that stands in the data
    static       columns, or a frame, of what never changes within a series
    windows      of each series in each of three blocks at its end; None: by length
    context      the most steps of history to read; None: as many as the model can
    seed         of the windows drawn and of what starts at random
    progress     True or False force a bar, None shows one where somebody watches; a function hears a line now and then

    The result forecasts (`.forecast(data)`), says what happened (`.report`, `.table`, `.plot()`) and saves itself for
    `tsfm.load(folder)`. Ctrl-C ends the training and keeps the best so far. Raises `DataError` or `UnknownName`.
    """
    horizon, seconds = check_horizon(horizon), budget(time_budget)
    check_choice(method, "method", ("auto", *METHODS, ALONE))
    check_choice(errors, "errors", ("raise", "skip"))
    check_choice(None if callable(progress) else progress, "progress", (True, False, None))
    named = covariate_names(past, future, static)
    forecaster = forecaster_of(DEFAULT_MODEL if base is None else base, device, precision)
    check_base(forecaster, method)
    panel = to_panel(
        data, id=id, time=time, target=target, freq=freq, past=past, future=future, static=static, errors=errors
    )
    settings = Settings(
        horizon=horizon,
        base=forecaster.name,
        weights=forecaster.weight_hash,
        precision=forecaster.precision,
        device=str(forecaster.device),
        method=method,
        time_budget=seconds,
        covariates={"past": list(named.past), "future": list(named.future), "static": list(panel.static or {})},
        windows=check_optional(windows, "windows", "windows=2"),
        context=check_optional(context, "context", "context=512"),
        seed=whole_number(seed, "seed", 0, "seed=0"),
        data=digest(panel),
    )
    return answer(settings, panel, forecaster, None if out is None else Path(out).expanduser().resolve(), progress)


def answer(
    settings: Settings,
    panel: Panel,
    forecaster: Forecaster,
    out: Path | None,
    progress: bool | Callable[[str], None] | None,
) -> FineTuned:
    """Run what was asked, and write the result where it was asked."""
    reach = longest_context(forecaster.model, settings.context)
    parts = split(panel, settings.horizon, settings.windows, settings.context, reach, settings.seed)
    drawing = Drawing(panel, parts, int(getattr(forecaster.model, "patch", 1)), reach, settings.seed)
    working = Working(out, settings)
    result = Run(forecaster, panel, parts, drawing, settings, working, progress).finish(check(panel))
    if out is not None:
        result.save(out)
        working.close()
    return result


def covariate_names(past: Any, future: Any, static: Any) -> Named:
    """The columns that are covariates, by role."""
    if future is not None and not are_names(future):
        raise DataError("future= names the columns of the data that are known ahead, such as future=['promotion']")
    return name_columns(past, future, static)


def check_base(forecaster: Forecaster, method: str) -> None:
    """Refuse a base that cannot be trained so, and one whose covariate head the result would lose."""
    check_trainable(forecaster.model, forecaster.name)
    check_method(method, forecaster.model)
    if forecaster.head is not None:
        names = ", ".join(column.name for column in forecaster.head.columns)
        raise DataError(
            f"model {forecaster.name!r} reads covariates ({names}), which would be lost; begin with the model without "
            "them, base=tsfm.load(folder).with_head(None), and name them again in past=, future= or static="
        )


def budget(value: float | str) -> float:
    """Seconds from a number, or from text such as "90s", "10m", "1.5h"."""
    text = str(value).strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    try:
        seconds = float(number) * UNITS[unit or "s"]
    except (ValueError, KeyError):
        raise DataError(f"time_budget={value!r} is no time; give seconds, or text such as '10m'") from None
    if not math.isfinite(seconds) or seconds <= 0:
        raise DataError(f"time_budget={value!r} leaves no time; give seconds, or text such as '10m'")
    return seconds


def digest(panel: Panel) -> str:
    """A hash of the series and their covariates, by which an unfinished run knows its data again."""
    found = hashlib.sha256()
    for name, values, index in zip(panel.ids, panel.values, panel.index, strict=True):
        found.update(repr((name, index.start, index.stride, index.frequency)).encode())
        found.update(values.tobytes())
    for columns in (panel.past_covariates, panel.static):
        for column, rows in (columns or {}).items():
            found.update(column.encode())
            for row in rows:
                found.update(row.tobytes() if isinstance(row, np.ndarray) else repr(row).encode())
    return found.hexdigest()
