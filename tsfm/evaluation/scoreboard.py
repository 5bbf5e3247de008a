"""Rows of a model on a suite: as a table, as a frame, as geometric means; the same columns everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from math import isnan
from pathlib import Path
from typing import Any

from tsfm import tabular
from tsfm.evaluation.measuring import Measured
from tsfm.evaluation.metrics import geometric_mean

Row = dict[str, Any]

NUMBERS = tuple(one.name for one in fields(Measured) if one.type is not str)
COLUMNS = (
    *("model", "weights", "parameters", "licence", "suite", "task", "dataset", "domain", "frequency", "term", "split"),
    *("context", "horizon", "season"),
    *(one.name for one in fields(Measured)),
    *("leak", "error", "question", "data_sha256", "seed", "command", "commit", "hardware", "versions"),
)
HEADINGS = {
    "windows": "windows",
    "mase": "MASE",
    "crps": "CRPS",
    "mse": "MSE",
    "mae": "MAE",
    "coverage80": "80% holds",
    "mase_ratio": "MASE ratio",
    "crps_ratio": "CRPS ratio",
    "optimal_mase": "best MASE",
    "optimal_crps": "best CRPS",
    "seconds": "seconds",
}
SHOWN = {
    "rolling": ("windows", "mase", "crps", "coverage80", "mase_ratio", "crps_ratio", "seconds"),
    "sliding": ("windows", "mse", "mae", "coverage80", "mase_ratio", "crps_ratio", "seconds"),
    "generated": ("windows", "mase", "optimal_mase", "crps", "optimal_crps", "coverage80", "mase_ratio", "crps_ratio"),
}
"""What is looked at first, by the protocol of the tasks."""


@dataclass(frozen=True)
class Summary:
    """Geometric means of the ratios to the seasonal naive forecast over the rows that have them.

    tasks        rows with numbers, of `asked`
    coverage80   plain mean of the share of outcomes inside the 80 % interval
    """

    tasks: int
    asked: int
    mase_ratio: float
    crps_ratio: float
    coverage80: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.tasks} of {self.asked} tasks: MASE {self.mase_ratio:.3f}, CRPS {self.crps_ratio:.3f} of the "
            f"seasonal naive forecast's (geometric means); the 80 % interval holds {100 * self.coverage80:.1f} %; "
            f"{self.seconds:.0f} s"
        )


class Scoreboard:
    """Rows of `tsfm.evaluate`, dicts with the keys `COLUMNS`; what was not measured is None.

    protocol   of the tasks; it decides which columns the table shows
    """

    def __init__(self, rows: Sequence[Row], protocol: str = "rolling"):
        self.rows = list(rows)
        self.shown = SHOWN[protocol]

    def __len__(self) -> int:
        return len(self.rows)

    def to_frame(self) -> Any:
        """Return the rows as a pandas frame."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    def summary(self, term: str | None = None) -> Summary:
        """Return the means over all rows, or over those of a term."""
        asked = [row for row in self.rows if term is None or row["term"] == term]
        rows = [row for row in asked if not row["error"]]
        covered = [row["coverage80"] for row in rows if _there(row["coverage80"])]
        return Summary(
            tasks=len(rows),
            asked=len(asked),
            mase_ratio=geometric_mean(row["mase_ratio"] for row in rows if _there(row["mase_ratio"])),
            crps_ratio=geometric_mean(row["crps_ratio"] for row in rows if _there(row["crps_ratio"])),
            coverage80=sum(covered) / len(covered) if covered else float("nan"),
            seconds=sum(row["seconds"] for row in rows),
        )

    def failures(self) -> dict[str, str]:
        """Tasks without numbers, and why."""
        return {row["task"]: row["error"] for row in self.rows if row["error"]}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table as text, its headings first; a task that failed has empty cells.

        Where there is no MASE ratio, because the seasonal naive forecast is exact or errors have no unit, the plain MAE
        stands in its place.
        """
        heading = ("task", *(HEADINGS[name] for name in self.shown))
        return [heading, *((row["task"], *(cell(row, name) for name in self.shown)) for row in self.rows)]

    def __repr__(self) -> str:
        heading, *rows = self.cells()
        failed = [f"{task}: {reason}" for task, reason in self.failures().items()]
        return "\n".join([tabular.as_text(heading, rows, range(1, len(heading))), *failed, str(self.summary())])

    def _repr_html_(self) -> str:
        heading, *rows = self.cells()
        failed = "".join(f"<p>{escape(task)}: {escape(why)}</p>" for task, why in self.failures().items())
        return f"{tabular.as_html(heading, rows)}{failed}<p>{escape(str(self.summary()))}</p>"


def cell(row: Row, name: str) -> str:
    """Return a cell of the table."""
    if row["error"]:
        return ""
    if name == "mase_ratio" and not _there(row[name]) and _there(row["mae"]):
        return f"MAE {shown(row['mae'])}"
    return shown(row[name]) or "-"


def shown(value: Any) -> str:
    """Return a cell of the table: counts whole, measures with four digits."""
    if not _there(value):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def as_stored(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row as its CSV has it: text, six digits, an empty cell for what is not there."""
    return {name: _text(row.get(name)) for name in COLUMNS}


def as_measured(stored: Mapping[str, str]) -> Row:
    """Return a row of the CSV with its numbers as numbers."""
    return {name: _value(name, stored.get(name, "")) for name in COLUMNS}


def _text(value: Any) -> str:
    if not _there(value):
        return ""
    # What failed on a person's machine is not to name her folders in a file that others read.
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace(str(Path.home()), "~")


def _value(name: str, text: str) -> Any:
    whole = ("parameters", "context", "horizon", "season", "seed", "series", "windows", "available")
    if name in whole:
        return int(text) if text else None
    if name in NUMBERS:
        return float(text) if text else float("nan")
    return text or None


def _there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and isnan(value))
