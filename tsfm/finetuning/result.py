"""What fine-tuning gives back: a forecaster, and a report that says what it is worth and why it was kept."""

import json
import math
import os
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfm.data.report import CheckReport
from tsfm.errors import MissingDependency
from tsfm.evaluation.results import hardware, versions
from tsfm.finetuning import report_text
from tsfm.finetuning.course import Course
from tsfm.finetuning.scoring import Verdict, gain
from tsfm.finetuning.settings import ZERO_SHOT
from tsfm.finetuning.split import BLOCKS
from tsfm.forecaster import Forecaster
from tsfm.panel import Floats
from tsfm.prediction import Forecast
from tsfm.training.checkpoint import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsfm.finetuning.run import Run

# H horizon, Q quantile levels.

REPORT, TEXT = "report.json", "report.md"
PICTURED, LEAST_HISTORY = 4, 48


@dataclass(frozen=True)
class Picture:
    """The last report window of one series, for the plot; (H, Q) deciles by name of the forecaster."""

    title: str
    times: "pd.Index[Any]"
    values: Floats
    quantiles: Mapping[str, Floats]


class FineTuned:
    """The winner of a fine-tuning run.

    forecaster  that was kept: fine-tuned, as it came, or the seasonal naive one
    winner      its name in the table
    report      everything that happened, as plain data (what report.json holds)
    horizon     that it was made for, and that `forecast` takes unless told otherwise
    """

    def __init__(self, forecaster: Forecaster, report: dict[str, Any], pictures: list[Picture]):
        self.forecaster, self.report, self.pictures = forecaster, report, pictures
        self.winner: str = report["winner"]
        self.horizon: int = report["settings"]["horizon"]

    @classmethod
    def of(cls, run: "Run", verdict: Verdict, checked: CheckReport, seconds: float) -> "FineTuned":
        """The result of a run."""
        winner = run.entrants[verdict.winner]
        report = {
            "format": 1,
            "winner": verdict.winner,
            "settings": asdict(run.settings),
            "data": described(run, checked),
            "split": {
                "horizon": run.parts.horizon,
                "windows_of_a_series": run.parts.windows,
                "by_series": run.parts.by_series,
                **{block: len(getattr(run.parts, block)) for block in BLOCKS},
                "training_windows": len(run.drawing),
                "training_context": run.drawing.longest if len(run.drawing) else 0,
            },
            "table": rows(run),
            "reasons": dict(verdict.reasons),
            "covariates": ablation(run),
            "courses": {name: course_of(one.course) for name, one in run.entrants.items() if one.course},
            "notes": run.notes,
            "seconds": round(seconds, 1),
            "versions": versions(),
            "hardware": hardware(),
        }
        report["verdict"] = report_text.verdict(report)
        # A change of every weight is no small file on top of a base: it is saved as a model of its own.
        beneath = run.entrants[winner.over].course if winner.over else winner.course
        whole = beneath is not None and beneath.plan.method == "full"
        kept = copy(winner.forecaster.merge() if whole else winner.forecaster)
        kept.card = {**kept.card, "fine_tuned": made_for(run)}
        return cls(kept, plain(report), pictures(run, verdict.winner))

    def forecast(self, data: Any, horizon: int | None = None, **options: Any) -> Forecast:
        """Forecast with what was kept; the options are those of `tsfm.forecast`."""
        return self.forecaster.forecast(data, self.horizon if horizon is None else horizon, **options)

    @property
    def table(self) -> pd.DataFrame:
        """A row a forecaster: its loss on each block, and on the report windows MASE, CRPS and coverage."""
        return pd.DataFrame(self.report["table"]).set_index("model")

    def plot(self) -> "Figure":
        """Loss of every course beside the zero-shot one, and the last report window of a few series."""
        from tsfm.finetuning import report_plot

        return report_plot.plot(self)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write what `tsfm.load` reads, report.md, report.json and, where matplotlib is there, report.png."""
        where = self.forecaster.save(folder)
        picture = None
        try:
            figure = self.plot()
            partial = where / "report.png.partial"
            figure.savefig(partial, dpi=120, bbox_inches="tight", format="png")
            partial.replace(where / "report.png")
            picture = "report.png"
        except MissingDependency:
            pass
        write_text(where / REPORT, json.dumps(self.report, indent=2) + "\n")
        write_text(where / TEXT, report_text.markdown(self.report, picture))
        return where

    def __repr__(self) -> str:
        return report_text.plain(self.report)

    def _repr_html_(self) -> str:
        return report_text.html(self.report)


def made_for(run: "Run") -> dict[str, Any]:
    """What the forecaster takes for granted of such data: the horizon, and the columns by role."""
    origin = run.panel.origin
    columns = {role: getattr(origin, role) for role in ("id", "time", "target")}
    named = {role: names for role, names in run.settings.covariates.items() if names}
    return {
        "horizon": run.settings.horizon,
        "context": run.settings.context,
        "columns": {**{role: name for role, name in columns.items() if isinstance(name, str)}, **named},
        "series": len(run.panel),
        "until": run.trained_until(),
    }


def described(run: "Run", checked: CheckReport) -> dict[str, Any]:
    """What the data were, what was mended, and what is odd in them."""
    return {
        "summary": checked.summary,
        "findings": [
            {"weight": one.weight, "kind": one.kind, "message": one.message, "where": one.where, "remedy": one.remedy}
            for one in checked.findings
        ],
        "skipped": {str(name): reason for name, reason in run.panel.skipped.items()},
    }


def rows(run: "Run") -> list[dict[str, Any]]:
    """The table: losses by block, how the report windows differ from the zero-shot forecasts, and the usual scores."""
    first = run.entrants[ZERO_SHOT].scores["report"]
    found = []
    for name, one in run.entrants.items():
        last = one.scores["report"]
        compared = gain(last, first)
        found.append(
            {
                "model": name,
                "trained": run.trained(name),
                **{block: one.scores[block].mean for block in BLOCKS},
                "saved": compared.saved,
                "standard_errors": compared.errors,
                "evidence": compared.evidence,
                "mase": last.mase,
                "crps": last.crps,
                "coverage80": last.coverage80,
                "seconds": one.course.seconds if one.course else one.fitted or last.seconds,
            }
        )
    return found


def ablation(run: "Run") -> list[dict[str, Any]]:
    """What covariates save of the loss: against a head of the same kind that reads none."""
    found = []
    for name, one in run.entrants.items():
        if one.control in run.entrants:
            other = run.entrants[one.control]
            saved = {block: gain(one.scores[block], other.scores[block]).saved for block in BLOCKS}
            head = one.forecaster.head
            found.append({"model": name, "over": one.over, "kind": head.kind if head else "", **saved})
    return found


def course_of(course: Course) -> dict[str, Any]:
    """A course as plain data, the names of the trained parameters counted and not listed."""
    found = asdict(course)
    adapter = found["plan"]["adapter"]
    adapter["names"] = len(adapter["names"])
    return found


def pictures(run: "Run", winner: str) -> list[Picture]:
    """The newest report window of a few series, spread over the panel."""
    windows = run.parts.report
    newest = np.flatnonzero(windows.age == 0)
    if not len(newest):
        newest = np.arange(len(windows))
    chosen = newest[np.unique(np.linspace(0, len(newest) - 1, min(PICTURED, len(newest))).astype(int))]
    found = []
    for at in chosen:
        series, cutoff = int(windows.series[at]), int(windows.cutoff[at])
        begin = max(0, cutoff - max(2 * windows.horizon, LEAST_HISTORY))
        end = cutoff + windows.horizon
        quantiles = {
            name: run.entrants[name].scores["report"].quantiles[at] for name in dict.fromkeys((ZERO_SHOT, winner))
        }
        times = run.panel.past_index(series)[begin:end]
        found.append(Picture(str(run.panel.ids[series]), times, run.panel.values[series][begin:end], quantiles))
    return found


def plain(value: Any) -> Any:
    """The same data as JSON has them: no NaN, no numpy, text for keys."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
