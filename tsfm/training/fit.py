"""Fitting an architecture on the training stretch of a table, stopped by its validation stretch, never by the test.

The protocol of the long-horizon papers: Adam over shuffled windows, a rate that falls from epoch to epoch, and of all
epochs the weights with the least validation error. Rate, batch, epochs, patience and schedule are the architecture's
own (`fit_settings`) unless asked otherwise. An epoch begins from a seed of its own, so a run that was killed goes on
from its last epoch to the numbers it would have come to.

    fitted = fit_table("dlinear", read_table("ETTh1"), horizon=96)     # then .scores, .save(folder), .forecast(data)
"""

import dataclasses
import json
import math
import sys
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.errors import DataError, UnknownName
from tsfm.progress import Progress
from tsfm.training.fit_data import Batch, Table, Windows, repeat_season, scaling_of, score, windows_of
from tsfm.training.fit_options import checked_options
from tsfm.training.fit_state import Course, State
from tsfm.training.fitted import Fitted
from tsfm.training.fitted import load_fitted as load_fitted

# B windows, C context steps, H horizon, V variates.

Report = Callable[[str], None]

# Share of the rate that an epoch, counted from 1, has of `epochs`: the field's code sets the rate after an epoch, for
# the next, which is why "type1" and "type3" begin to fall one epoch later than their formulae say.
SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "constant": lambda epoch, epochs: 1.0,
    "type1": lambda epoch, epochs: 0.5 ** max(0, epoch - 2),
    "type3": lambda epoch, epochs: 0.8 ** max(0, epoch - 4),
    "cosine": lambda epoch, epochs: 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs)),
    "one-cycle": lambda epoch, epochs: one_cycle((epoch - 0.5) / epochs),
}


def one_cycle(done: float, rise: float = 0.3) -> float:
    """Share of the rate (Smith 2018) when so much of a fit is done: up from 1/25, then down to nothing, by cosines."""
    if done < rise:
        return 0.04 + 0.48 * (1 - math.cos(math.pi * done / rise))
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


@dataclass(frozen=True)
class FitSettings:
    """How a fit goes.

    patience   epochs without a better validation error after which it ends
    clip       most that the gradient's norm may be, 0 for no limit
    """

    rate: float = 1e-4
    batch: int = 32
    epochs: int = 10
    patience: int = 3
    schedule: str = "type1"
    clip: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        if self.schedule not in SCHEDULES:
            raise DataError(f"schedule {self.schedule!r} is not known; give one of {', '.join(SCHEDULES)}")
        for name in ("batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise DataError(f"{name}={getattr(self, name)} is too small; give at least 1")
        if not 0 < self.rate < math.inf:
            raise DataError(f"rate={self.rate} is no learning rate; give one such as 0.001")


def architecture(name: str) -> Any:
    """The class of a registered architecture; `UnknownName` lists those that exist."""
    return registry.get(name, kind="architecture")


def settings_of(name: str, **asked: Any) -> FitSettings:
    """The settings that were published with an architecture, but for those asked (None: as published)."""
    own = dict(getattr(architecture(name), "fit_settings", {}))
    strange = sorted(set(own) - {one.name for one in dataclasses.fields(FitSettings)})
    if strange:
        raise DataError(f"the fit_settings of {name} name {', '.join(strange)}, which no fit knows; take it out there")
    return FitSettings(**{**own, **{key: value for key, value in asked.items() if value is not None}})


def config_of(
    name: str,
    table: Table,
    horizon: int,
    context: int | None = None,
    preset: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """The config of an architecture for a table: a preset's or the default one, its sizes set, then `options`.

    A field `cycle` is the season of the table where no option says otherwise.
    """
    entry = architecture(name)
    begun = entry.Config()
    if preset is not None:
        presets = getattr(sys.modules[entry.__module__], "PRESETS", {})
        if preset not in presets:
            raise UnknownName(f"{name} has no preset {preset!r}; there are {', '.join(presets) or 'none'}")
        begun = presets[preset]
    options = checked_options(name, entry.Config, options)
    sizes = {"context": context or begun.context, "horizon": horizon, "variates": len(table.variates)}
    if hasattr(begun, "cycle"):
        sizes["cycle"] = table.season
    return replace(begun, **{**sizes, **options})


def built(name: str, config: Any, device: str) -> Any:
    """An architecture with the weights that it begins with, or why it cannot have this config or be on this device."""
    try:
        return architecture(name)(config).to(torch.device(device))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be built: {error}; give other options, or another --device") from None


def fit_table(
    name: str,
    table: Table,
    horizon: int,
    context: int | None = None,
    *,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    state: Path | None = None,
    device: str = "cpu",
    report: Report | None = None,
    progress: bool | None = False,
) -> Fitted:
    """Fit an architecture on a table and score it on the test stretch.

    options    fields of its config by name, beside the sizes
    settings   how the fit goes; `settings_of(name)` by default
    state      file that holds the fit after every epoch, from which the same fit goes on; yours to delete in the end
    report     called with a line an epoch
    """
    settings = settings or settings_of(name)
    config = config_of(name, table, horizon, context, preset, options or {})
    scaling = scaling_of(table)
    train, validation, test = windows_of(table, config.context, horizon, scaling)
    identity = {"architecture": name, "config": asdict(config), "settings": asdict(settings), "data": table.source}
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = built(name, config, device)
        kept = None if state is None else State(state, json.dumps(identity))
        course = fit(model, train, validation, settings, kept, report, progress)
    fitted = Fitted(model, name, table, scaling, {**asdict(settings), "best": course.best, "course": course.epochs})
    fitted.scores = dict(zip(("mse", "mae"), errors(model, test, settings.batch), strict=True))
    naive = score(lambda batch: repeat_season(batch, table.season, horizon), test, settings.batch)
    fitted.scores |= dict(zip(("naive_mse", "naive_mae"), naive, strict=True))
    fitted.scores |= {"windows": len(test), "validation_mse": course.validation}
    fitted.seconds = sum(epoch["seconds"] for epoch in course.epochs)
    return fitted


def fit(
    model: nn.Module,
    train: Windows,
    validation: Windows,
    settings: FitSettings,
    state: State | None = None,
    report: Report | None = None,
    progress: bool | None = False,
) -> Course:
    """Fit a model in place and leave it with the weights of its best epoch."""
    optimizer = optimizer_of(model, settings)
    best: dict[str, Tensor] = {}
    course = Course() if state is None else state.load(model, optimizer, best)
    if course.epochs and report is not None:
        report(f"going on after epoch {len(course.epochs)}, where it stopped")
    batches = -(-len(train) // settings.batch)
    with Progress((settings.epochs - len(course.epochs)) * batches, progress, "fit", unit="batches") as bar:
        while len(course.epochs) < settings.epochs and (not course.best or course.idle < settings.patience):
            began, epoch = clock.perf_counter(), len(course.epochs) + 1
            rate = settings.rate * SCHEDULES[settings.schedule](epoch, settings.epochs)
            loss = run_epoch(model, train, optimizer, settings, epoch, bar)
            mse, mae = errors(model, validation, settings.batch)
            done = {"epoch": epoch, "rate": rate, "loss": loss, "validation_mse": mse, "validation_mae": mae}
            course.epochs.append({**done, "seconds": clock.perf_counter() - began})
            if mse < course.validation:
                course.best, course.validation = epoch, mse
                best = {key: value.detach().clone() for key, value in model.state_dict().items()}
            if not course.best:
                raise DataError(
                    f"the validation error of epoch {epoch} is {mse} with rate {rate:g}: give a lower --rate"
                )
            if state is not None:
                state.save(model, optimizer, best, course)
            if report is not None:
                report(line_of(course, settings))
    model.load_state_dict(best)
    model.eval()
    return course


def run_epoch(
    model: nn.Module, train: Windows, optimizer: torch.optim.Optimizer, settings: FitSettings, epoch: int, bar: Progress
) -> float:
    """One pass over the shuffled windows, the last batch too; the mean loss a window."""
    torch.manual_seed(1_000_003 * (settings.seed + 1) + epoch)
    for group in optimizer.param_groups:
        group["lr"] = group["published_rate"] * SCHEDULES[settings.schedule](epoch, settings.epochs)
    model.train()
    total = 0.0
    for places in torch.randperm(len(train)).split(settings.batch):
        batch = train.take(places, device_of(model))
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        if settings.clip:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        total += float(loss.detach()) * len(places)
        bar.advance(1)
    return total / len(train)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """The architecture's own objective, which reads gaps as filled, or the mean squared error of what was measured."""
    objective = getattr(model, "objective", None)
    if objective is not None:
        own: Tensor = objective(batch.values, batch.target, batch.start)
        return own
    square: Tensor = (model(batch.values, batch.start) - batch.target).square()
    if batch.observed is None:
        return square.mean()
    return square[batch.observed].sum() / batch.observed.sum().clamp(min=1)


@torch.no_grad()
def errors(model: nn.Module, windows: Windows, size: int) -> tuple[float, float]:
    """Mean squared and mean absolute error of a model over every measured step of every window, standardised."""
    model.eval()
    return score(lambda batch: model(batch.values, batch.start), windows, size, device_of(model))


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next(model.parameters()).device


def optimizer_of(model: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """Adam over the parameters, or over the groups that were published with the architecture."""
    rate = settings.rate
    own = getattr(model, "parameter_groups", None)
    groups = [{"params": list(model.parameters())}] if own is None else list(own(rate))
    groups = [{**group, "published_rate": group.get("lr", rate)} for group in groups]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)


def line_of(course: Course, settings: FitSettings) -> str:
    """An epoch in a line, with the time left if no stop comes before the last one."""
    last = course.epochs[-1]
    left = timedelta(seconds=round((settings.epochs - len(course.epochs)) * last["seconds"]))
    told = "best so far" if not course.idle else f"best was epoch {course.best}"
    return (
        f"epoch {len(course.epochs)} of {settings.epochs}  loss {last['loss']:.4f}  validation "
        f"{last['validation_mse']:.4f}, {told}  {last['seconds']:.1f} s, at most {left} left"
    )
