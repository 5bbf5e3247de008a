"""One run of fine-tuning: who enters, what each scores on the blocks, and who is kept."""

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from tsfm.covariate_head import KINDS
from tsfm.data.report import CheckReport
from tsfm.errors import DataError
from tsfm.evaluation.backtest_scores import BASELINE
from tsfm.evaluation.backtest_windows import Windows
from tsfm.finetuning.course import Course, Plan, Tuning
from tsfm.finetuning.covariates import FEWEST_WINDOWS, base_quantiles, fit_head, training_windows
from tsfm.finetuning.drawing import Drawing
from tsfm.finetuning.methods import ALONE, RATES, adapter_for, methods_of
from tsfm.finetuning.result import FineTuned
from tsfm.finetuning.scoring import Scored, Verdict, guard, score
from tsfm.finetuning.settings import ZERO_SHOT, Settings
from tsfm.finetuning.split import Split
from tsfm.finetuning.working import Working
from tsfm.forecaster import Forecaster
from tsfm.loading import load
from tsfm.panel import Panel
from tsfm.prediction import count
from tsfm.progress import Progress

SEVERAL = 1000  # series that are asked when training ended
MOST_STEPS = 600
FEWEST_TO_LEARN = 8  # windows
MOST_FOR_HEADS = 1500  # windows that a covariate head is fitted to
FOR_SCORING = 0.15  # of the budget that is kept back for the blocks and the covariates
AUTOMATIC, OF_FEW = ("lora", "full"), ("lora",)
FEW_POINTS = 3000  # to train on: below that, "auto" tries small changes alone


@dataclass
class Entrant:
    """A forecaster of the run: its scores by block, and how it was trained, if it was.

    over     whom its covariate head corrects
    control  the entrant whose head is of the same kind and reads nothing
    fitted   seconds that the head took
    """

    forecaster: Forecaster
    scores: dict[str, Scored] = field(default_factory=dict)
    course: Course | None = None
    over: str = ""
    control: str = ""
    fitted: float = 0.0


class Run:
    """See `finish`."""

    def __init__(
        self,
        base: Forecaster,
        panel: Panel,
        parts: Split,
        drawing: Drawing,
        settings: Settings,
        working: Working,
        progress: bool | Callable[[str], None] | None,
    ):
        self.base, self.panel, self.parts, self.drawing = base, panel, parts, drawing
        self.settings, self.working = settings, working
        self.told = progress if callable(progress) else None
        self.shown = False if callable(progress) else progress
        self.began, self.before = clock.perf_counter(), 0.0  # seconds of training in a process that was killed
        self.entrants: dict[str, Entrant] = {}
        self.notes: list[str] = []

    def finish(self, checked: CheckReport) -> FineTuned:
        """Train and judge everybody, and return the winner with the report."""
        if self.working.resumed:
            self.notes.append("an unfinished run of the same call was found and continued")
        self.entrants = {BASELINE: Entrant(load(BASELINE)), ZERO_SHOT: Entrant(self.base)}
        for name in self.entrants:
            self.enter(name, "stopping", "selection")
        self.say(f"zero-shot {self.loss(ZERO_SHOT):.4f}, {BASELINE} {self.loss(BASELINE):.4f} on the selection windows")
        try:
            self.train()
            self.add_heads()
        except KeyboardInterrupt:
            self.notes.append("interrupted; the best so far stays")
            self.entrants = {name: one for name, one in self.entrants.items() if "selection" in one.scores}
        self.say("the report windows are forecast")
        if self.parts.by_series and self.settings.windows:
            self.notes.append(
                "windows= was left aside, because the series are short: each block has one of other series"
            )
        verdict = self.judge()
        for name in self.entrants:
            self.enter(name, "report")
        return FineTuned.of(self, verdict, checked, clock.perf_counter() - self.began + self.before)

    def train(self) -> None:
        """Run the course of every method within its share of the time."""
        methods = self.methods()
        spent = clock.perf_counter() - self.began
        share = max(0.0, self.settings.time_budget * (1 - FOR_SCORING) - spent) / max(1, len(methods))
        with Progress(round(share * len(methods)), self.shown, "fine-tune", "s") as bar:
            for place, method in enumerate(methods, 1):
                tuning = self.tuning(method)
                until = self.began + spent + place * share
                tuning.run(until, self.with_time_left, self.working.state(method), Clock(self.began + spent, bar))
                self.before += tuning.before
                self.entrants[method] = Entrant(tuning.forecaster(), course=tuning.course)
                self.enter(method, "stopping", "selection")
                self.say(f"{method}: {self.loss(method):.4f} on the selection windows")
                if tuning.course.ended == "interrupted":
                    self.notes.append(f"{method} was interrupted after {count(tuning.step, 'step')}")
                    raise KeyboardInterrupt

    def methods(self) -> list[str]:
        """The methods to try: the one asked for, or those that suit the amount of data."""
        if self.settings.method == ALONE:
            return []
        if len(self.drawing) < FEWEST_TO_LEARN:
            self.notes.append(
                f"nothing was trained: the history before the three blocks gives {count(len(self.drawing), 'window')} "
                f"of {count(self.parts.horizon, 'step')}, and it takes {FEWEST_TO_LEARN}"
            )
            return []
        if self.settings.method != "auto":
            return [self.settings.method]
        points = int((self.parts.train_end - self.parts.begin)[self.drawing.series].sum())
        usual = OF_FEW if points < FEW_POINTS else AUTOMATIC
        return [method for method in usual if method in methods_of(self.base.model)]

    def tuning(self, method: str) -> Tuning:
        """A course of a method, about to begin."""
        lesson = self.drawing.draw(0, self.base.device)
        adapter = adapter_for(method, self.base.model, lesson)
        plan = Plan(method, adapter, RATES[method], MOST_STEPS, self.settings.seed)
        return Tuning(self.base, self.panel, self.drawing, self.parts.glanced, plan)

    def add_heads(self) -> None:
        """Let residual heads read the covariates, over the best forecaster that does not.

        A head of the same kind that reads nothing enters before each: what it saves is not the covariates' doing. Over
        a tuned forecaster heads learn from windows that it was trained on, so they may trust themselves too much; the
        stopping and the selection windows, which heads never see, tell.
        """
        names = self.telling_covariates()
        if not any(names.values()):
            return
        best = min((name for name in self.entrants if name != BASELINE), key=self.loss)
        forecaster, seed = self.entrants[best].forecaster, self.settings.seed
        windows = training_windows(self.panel, self.parts.horizon, self.parts.train_end, seed, MOST_FOR_HEADS)
        if len(windows) < FEWEST_WINDOWS:
            self.notes.append("the covariates were not read: there is too little history before the three blocks")
            return
        reach = self.drawing.longest
        windows = replace(windows, contexts=[context[-reach:] for context in windows.contexts])
        quantiles = base_quantiles(forecaster, self.panel, windows, windows.horizon)
        for kind, read in product(KINDS, ({}, names)):
            began = clock.perf_counter()
            name = f"{best} + {kind}{'' if read else ', blind'}"
            try:
                head = fit_head(
                    forecaster, self.panel, windows, windows.horizon, kind, **read, quantiles=quantiles, seed=seed
                )
            except DataError as error:
                self.notes.append(f"{name} could not be fitted: {error}")
                continue
            made = forecaster.with_head(head)
            control = f"{best} + {kind}, blind" if read else ""
            self.entrants[name] = Entrant(made, over=best, control=control, fitted=clock.perf_counter() - began)
            self.enter(name, "stopping", "selection")
            self.say(f"{name}: {self.loss(name):.4f} on the selection windows")

    def telling_covariates(self) -> dict[str, list[str]]:
        """The covariates by role, without those that never change."""
        found: dict[str, list[str]] = {}
        for role, names in self.settings.covariates.items():
            columns = (self.panel.static if role == "static" else self.panel.past_covariates) or {}
            still = [name for name in names if never_changes(columns[name])]
            if still:
                self.notes.append(f"{', '.join(still)} never changes, so nothing can be learned from it")
            found[role] = [name for name in names if name not in still]
        return found

    def trained(self, name: str) -> int:
        """How many numbers of the model an entrant has changed."""
        one = self.entrants[name]
        course = self.entrants[one.over].course if one.over else one.course
        return course.trained if course else 0

    def trained_until(self) -> str:
        """The last time that training read, "" where the series have no dates."""
        series = self.drawing.series[:SEVERAL].tolist()
        stamps = [self.panel.past_index(i)[int(self.parts.train_end[i]) - 1] for i in series]
        dated = [stamp for stamp in stamps if not isinstance(stamp, int | np.integer)]
        return str(max(dated)) if dated and self.entrants.keys() - {BASELINE, ZERO_SHOT} else ""

    def judge(self) -> Verdict:
        """The guard's verdict over everybody, the ones trained after those that were not."""
        stopping, selection = (
            {name: one.scores[block] for name, one in self.entrants.items()} for block in ("stopping", "selection")
        )
        heads = {name: one.over for name, one in self.entrants.items() if one.over}
        return guard(stopping, selection, ZERO_SHOT, [name for name in self.entrants if name != ZERO_SHOT], heads)

    def enter(self, name: str, *blocks: str) -> None:
        """Let an entrant forecast these blocks."""
        entrant = self.entrants[name]
        for block in blocks:
            windows: Windows = getattr(self.parts, block)
            entrant.scores[block] = score(entrant.forecaster, self.panel, windows)

    def loss(self, name: str) -> float:
        """What decides, on the selection windows."""
        return self.entrants[name].scores["selection"].mean

    def say(self, line: str) -> None:
        """Tell a line to whoever listens."""
        if self.told is not None:
            self.told(line)

    def with_time_left(self, line: str) -> None:
        """Tell a line with what is left of the budget."""
        left = self.began + self.settings.time_budget - clock.perf_counter()
        self.say(f"{line}, at most {minutes(left)} of the budget left")


def never_changes(columns: Sequence[Any]) -> bool:
    """Whether a covariate, as arrays or as one value a series, has one value or none."""
    if columns and isinstance(columns[0], np.ndarray):
        seen = [column[~np.isnan(column)] for column in columns]
        ends = [(float(values.min()), float(values.max())) for values in seen if len(values)]
        return not ends or min(low for low, _ in ends) == max(high for _, high in ends)
    return len({str(value) for value in columns}) < 2


class Clock:
    """Moves a bar of seconds as time passes."""

    def __init__(self, began: float, bar: Progress):
        self.began, self.bar = began, bar

    def __call__(self, step: int) -> None:
        """Hear of a step."""
        passed = int(clock.perf_counter() - self.began) - self.bar.done
        if passed > 0:
            self.bar.advance(passed)


def minutes(seconds: float) -> str:
    """Time as 1:05."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
