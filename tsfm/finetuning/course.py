"""One course of fine-tuning: steps of AdamW on a person's windows, early stopping, and a rate that makes itself safe.

The weights that are judged are a running mean of those that are trained. Every `EVERY` steps they forecast the stopping
windows. Where `PATIENCE` looks in a row bring nothing, the course goes back to its best weights and takes a smaller
rate, and after `LOWERINGS` of that it is over: a rate that is too high costs time and no accuracy. At the end the
change is tried at fractions of its size as well (Wortsman et al. 2022, WiSE-FT), because a little of a change that
overfits may still be good.

A course is a pure function of its plan and the number of steps, so one that was killed and goes on from its last state
file ends with the same numbers bit for bit, unless time runs out at another step.
"""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tsfm.adapter_files import adapted
from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.backtest_windows import Windows
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.scoring import score
from tsfm.forecaster import Forecaster
from tsfm.nn.adapters import AdapterConfig, adapter_state, attach
from tsfm.panel import Panel
from tsfm.training.checkpoint import load_state, save_state, under_prefix

# N windows.

EVERY = 20  # steps from one look at the stopping windows to the next
PATIENCE, LOWERINGS, LOWERED = 3, 3, 0.5
WARMUP = 20
MEMORY = 0.9  # of the running mean of the weights, from one step to the next
LARGEST_GRADIENT = 1.0
FRACTIONS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Plan:
    """Everything the numbers of a course depend on beside the data: what is trained, how fast, for how long at most."""

    method: str
    adapter: AdapterConfig
    rate: float
    steps: int
    seed: int
    weight_decay: float = 0.0


@dataclass
class Look:
    """One look at the stopping windows: after how many steps, the training loss since the last one, and theirs."""

    step: int
    training: float
    stopping: float
    rate: float


@dataclass
class Course:
    """How it went, as it is written into the report and, between steps, into the state file.

    looks      every look; the first is the model as it came
    best       mean loss on the stopping windows of the best weights
    fraction   of the change that is kept
    begun      the step from which the rate last rose from nothing
    ended      why: "steps", "patience", "time", "interrupted"
    """

    plan: Plan
    trained: int = 0
    looks: list[Look] = field(default_factory=list)
    best: float = float("inf")
    best_step: int = 0
    fraction: float = 1.0
    rate: float = 0.0
    misses: int = 0
    lowered: int = 0
    begun: int = 0
    seconds: float = 0.0
    ended: str = ""


class Tuning:
    """A course under way. `model` is a copy of the base's that the adapter is attached to; the base stays as it is."""

    def __init__(self, base: Forecaster, panel: Panel, drawing: Drawing, stopping: Windows, plan: Plan):
        self.base, self.panel, self.drawing, self.stopping, self.plan = base, panel, drawing, stopping, plan
        self.model = cast(Any, copy.deepcopy(base.model))
        self.weights: list[nn.Parameter] = attach(self.model, plan.adapter, plan.seed)
        self.course = Course(plan, sum(weight.numel() for weight in self.weights), rate=plan.rate)
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=plan.rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
        )
        self.start = [weight.detach().clone() for weight in self.weights]
        self.mean = [weight.clone() for weight in self.start]
        self.best = [weight.clone() for weight in self.start]
        self.step, self.before = 0, 0.0  # seconds that a killed process spent on it
        self.losses: list[float] = []

    def run(self, until: float, tell: Callable[[str], None], state: Path | None, watch: Callable[[int], None]) -> None:
        """Train to the plan's last step, to the end of patience, or to the time `until` (of `time.perf_counter`).

        state  file that the course is kept in from look to look, and goes on from if it is there
        watch  hears of every step
        """
        if state is not None and state.exists():
            self.resume(state)
        began, before = time.perf_counter(), self.course.seconds
        self.before, until = before, until - before
        try:
            if not self.course.looks:
                self.look()
            while not self.course.ended:
                self.train_step()
                watch(self.step)
                self.course.seconds = before + time.perf_counter() - began
                if self.step % EVERY == 0 or self.step == self.plan.steps:
                    self.look()
                    tell(self.progress())
                    if state is not None:
                        self.save(state)
                if not self.course.ended and self.step >= self.plan.steps:
                    self.course.ended = "steps"
                if not self.course.ended and time.perf_counter() > until:
                    self.course.ended = "time"
        except KeyboardInterrupt:
            self.course.ended = "interrupted"
        self.choose_fraction()
        self.course.seconds = before + time.perf_counter() - began
        if state is not None:
            self.save(state)

    def train_step(self) -> None:
        """One step of AdamW, and of the running mean of the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.course.rate * min(1.0, (self.step + 1 - self.course.begun) / WARMUP)
        lesson = self.drawing.draw(self.step, self.base.device)
        loss: Tensor = self.model.loss(lesson.batch, lesson.target, lesson.counted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, LARGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for mean, weight in zip(self.mean, self.weights, strict=True):
                mean.lerp_(weight, 1 - MEMORY)
        self.step += 1
        self.losses.append(float(loss.detach()))

    def look(self) -> None:
        """Judge the running mean on the stopping windows; go back and slow down where it no longer helps."""
        course = self.course
        loss = self.judge(self.mean)
        training = sum(self.losses) / len(self.losses) if self.losses else float("nan")
        course.looks.append(Look(self.step, training, loss, course.rate))
        self.losses = []
        if loss < course.best:
            course.best, course.best_step, course.misses = loss, self.step, 0
            self.best = [weight.clone() for weight in self.mean]
            return
        course.misses = course.misses + 1 if math.isfinite(loss) else PATIENCE
        if course.misses < PATIENCE:
            return
        if course.lowered == LOWERINGS:
            course.ended = "patience"
            return
        course.lowered, course.misses, course.rate = course.lowered + 1, 0, course.rate * LOWERED
        course.begun = self.step
        put(self.weights, self.best)
        self.mean = [weight.clone() for weight in self.best]
        self.optimizer.state.clear()

    def choose_fraction(self) -> None:
        """Keep as much of the change as forecasts the stopping windows best; nothing was better than a part, so all."""
        if self.course.best_step == 0:
            return
        for fraction in FRACTIONS:
            if (loss := self.judge(self.at(fraction))) < self.course.best:
                self.course.best, self.course.fraction = loss, fraction

    def at(self, fraction: float) -> list[Tensor]:
        """The weights this far on the way from the base's to the best ones."""
        return [torch.lerp(start, best, fraction) for start, best in zip(self.start, self.best, strict=True)]

    def judge(self, weights: list[Tensor]) -> float:
        """Mean loss on the stopping windows with these weights, of a model of points that of its points; infinite where
        they no longer forecast."""
        try:
            return score(self.forecaster(weights), self.panel, self.stopping, intervals=False).mean
        except TsfmError:
            if self.step == 0:
                raise
            return math.inf

    def forecaster(self, weights: list[Tensor] | None = None) -> Forecaster:
        """A forecaster with these weights, by default those that the course ended with."""
        kept = [weight.detach().clone() for weight in self.weights]
        put(self.weights, self.at(self.course.fraction) if weights is None else weights)
        tensors = adapter_state(self.model, self.plan.adapter)
        put(self.weights, kept)
        return adapted(self.base, self.plan.adapter, tensors)

    def progress(self) -> str:
        """One line: how far, what the last look saw beside the first."""
        first, last = self.course.looks[0].stopping, self.course.looks[-1].stopping
        done = f"step {self.step} of {self.plan.steps}"
        return f"{self.plan.method}: {done}, stopping loss {last:.4f} (zero-shot {first:.4f})"

    def save(self, path: Path) -> None:
        """Write the state of the course, so that it can go on from here after a kill."""
        tensors: dict[str, Tensor] = {}
        for number, weight in enumerate(self.weights):
            tensors |= {f"weight.{number}": weight.detach(), f"mean.{number}": self.mean[number]}
            tensors |= {f"best.{number}": self.best[number]}
            moments = self.optimizer.state.get(weight, {})
            tensors |= {f"moment.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_state(path, tensors, {"step": str(self.step), "course": json.dumps(asdict(self.course))})

    def resume(self, path: Path) -> None:
        """Go on from a state that `save` wrote; refuse the state of another plan."""
        tensors, metadata = load_state(path)
        kept: dict[str, Any] = json.loads(metadata["course"])
        if kept.pop("plan") != json.loads(json.dumps(asdict(self.plan))):
            raise DataError(f"{path} belongs to a course with other settings; give another out= or delete it")
        looks = [Look(**look) for look in kept.pop("looks")]
        self.course = Course(self.plan, looks=looks, **kept)
        if self.course.ended in ("time", "interrupted"):
            self.course.ended, self.course.fraction = "", 1.0
            self.course.best = min(look.stopping for look in looks)
        self.step = int(metadata["step"])
        device = self.base.device
        self.mean = [tensors[f"mean.{number}"].to(device) for number in range(len(self.weights))]
        self.best = [tensors[f"best.{number}"].to(device) for number in range(len(self.weights))]
        put(self.weights, [tensors[f"weight.{number}"] for number in range(len(self.weights))])
        for number, weight in enumerate(self.weights):
            if moments := under_prefix(f"moment.{number}.", tensors):
                on_host = {"step"}  # where AdamW keeps it
                self.optimizer.state[weight] = {
                    name: value if name in on_host else value.to(device) for name, value in moments.items()
                }


@torch.no_grad()
def put(weights: list[nn.Parameter], values: list[Tensor]) -> None:
    """Write values into parameters."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
