"""Whether a series stands in a model's training data, by the fingerprints that a released model carries.

    tsfm.load("moe-decoder-tiny").seen_in_training("sales.csv")
    tsfm check sales.csv --model moe-decoder-tiny

A series counts as seen when so many of its windows stand among the fingerprints (tsfm/data/fingerprints.py, with what
cannot be found that way) that chance would do it once in 10,000 series. One window is enough for a series of up to 200
points or so, two or three for the longest. Synthetic training data come out of generators, no two the same, and
have no fingerprints; nor have the real series of a model whose file is missing: then nobody can say.
"""

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from math import factorial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tsfm.checkpoints import fingerprint_file, sha256
from tsfm.data.fingerprints import WINDOW, Fingerprints, as_stored, gather, hash_rows, read, telling, windows_of, write
from tsfm.prediction import count

if TYPE_CHECKING:
    from tsfm.forecaster import Forecaster

FILE = "training_data.fingerprints"
BY_CHANCE = 1e-4  # of a series that is not there
SHOWN = 20
NOTE = (
    "Hashes of the real training windows, by which tsfm finds copies of training series. Synthetic training data come "
    "from generators and have none."
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What is known of one series.

    verdict   "yes", "no", or "unknown" where it cannot be checked
    share     of its observed points that lie in windows found in the training data
    found     different windows found, of as many as were compared
    needed    windows that rule out chance
    reason    why it cannot be checked
    """

    series_id: Hashable
    verdict: str
    share: float = 0.0
    found: int = 0
    windows: int = 0
    needed: int = 1
    reason: str = ""

    def __str__(self) -> str:
        if self.verdict == "unknown":
            return f"series {self.series_id!r} cannot be checked: {self.reason}"
        if self.verdict == "yes":
            windows = f"windows of {WINDOW} points that stand there: {self.found:,}"
            return f"series {self.series_id!r} was in the training data: {self.share:.0%} of its points ({windows})"
        stray = f" (windows found: {self.found}, as chance would have it)" if self.found else ""
        return f"series {self.series_id!r} was not found in the training data{stray}"


@dataclass(frozen=True)
class LeakReport:
    """What is known of every series; `print` it, or look at `.series` and `.seen`.

    model   its name
    sets    names of the real data sets that it was trained on
    tuned   what it was fine-tuned on afterwards, in words; no verdict speaks of that
    """

    model: str
    sets: tuple[str, ...]
    series: list[Seen] = field(default_factory=list)
    tuned: str = ""

    @property
    def seen(self) -> list[Hashable]:
        """Ids of the series that were in the training data."""
        return [one.series_id for one in self.series if one.verdict == "yes"]

    @property
    def checked(self) -> list[Hashable]:
        """Ids of the series that could be checked."""
        return [one.series_id for one in self.series if one.verdict != "unknown"]

    def to_frame(self) -> Any:
        """A row a series."""
        import pandas as pd

        columns = ("series_id", "verdict", "share", "found", "windows", "needed", "reason")
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self.series], columns=list(columns))

    def lines(self) -> list[str]:
        """A summary, then a sentence a series: those seen first, 20 at most of a kind."""
        checked, seen = len(self.checked), len(self.seen)
        told = f"{seen:,} of {checked:,} series that can be checked stood in the training data of {self.model!r}"
        left = len(self.series) - checked
        lines = [told + (f"; {left:,} cannot be checked" if left else "")]
        lines += [self.tuned] * bool(self.tuned)
        if seen:
            lines += [f"the real sets it was trained on: {', '.join(self.sets)}"]
        for verdict in ("yes", "unknown", "no"):
            same = [str(one) for one in self.series if one.verdict == verdict]
            lines += [f"  {sentence}" for sentence in same[:SHOWN]]
            lines += [f"  the like of {len(same) - SHOWN:,} more series"] * (len(same) > SHOWN)
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        first, *others = self.lines()
        return f"<p><b>{escape(first)}</b></p>{''.join(f'<p>{escape(line)}</p>' for line in others)}"


def look(series_id: Hashable, series: Floats, known: Fingerprints) -> Seen:
    """Compare the windows of a series, at every offset, with those known."""
    observed = len(as_stored(series))
    if observed < WINDOW:
        return Seen(series_id, "unknown", reason=f"{observed} observed values, and a window has {WINDOW}")
    covered, different, count, tells = np.zeros(observed, dtype=bool), set(), 0, False
    for offsets, rows in windows_of(series):
        hashes = hash_rows(rows)
        hits = known.hold(hashes)
        different |= set(hashes[hits].tolist())
        for offset in offsets[hits]:
            covered[offset : offset + WINDOW] = True
        count += len(offsets)
        tells = tells or bool(telling(rows).any())
    if not tells:
        reason = "its windows are constant or so simple that unrelated series share them"
        return Seen(series_id, "unknown", windows=count, reason=reason)
    needed = windows_needed(count, known.chance)
    verdict = "yes" if len(different) >= needed else "no"
    return Seen(series_id, verdict, float(covered.mean()), len(different), count, needed)


def windows_needed(windows: int, chance: float) -> int:
    """The least number of windows that chance finds in fewer than one in 10,000 series of so many windows (Poisson)."""
    expected, needed = windows * chance, 1
    while expected**needed / factorial(needed) > BY_CHANCE:
        needed += 1
    return needed


def seen_in_training(forecaster: "Forecaster", series: Iterable[tuple[Hashable, Floats]]) -> LeakReport:
    """A verdict a series; `forecaster.seen_in_training(data)` takes whatever a person has."""
    known, reason = fingerprints_of(forecaster)
    if known is None:
        verdict = "unknown" if reason else "no"
        found = [Seen(one, verdict, reason=reason) for one, _ in series]
        return LeakReport(forecaster.name, (), found, tuned_on(forecaster))
    found = [look(one, values, known) for one, values in series]
    return LeakReport(forecaster.name, known.sets, found, tuned_on(forecaster))


def tuned_on(forecaster: "Forecaster") -> str:
    """What a fine-tuned model was trained on beside its base's data, "" where it is none."""
    entry = forecaster.card.get("fine_tuned", {})
    if not entry.get("until"):
        return ""
    many = count(entry["series"], "series")
    return f"it was fine-tuned afterwards on {many}, up to {entry['until']}, of which it carries no fingerprints"


def fingerprints_of(forecaster: "Forecaster") -> tuple[Fingerprints | None, str]:
    """Fingerprints of the training data; or None and the reason, which is empty for a baseline that learned nothing."""
    entry = forecaster.card.get("fingerprints")
    if not entry and not isinstance(forecaster.model, nn.Module):
        return None, ""
    if not entry:
        return None, f"model {forecaster.name!r} carries no fingerprints of its training data"
    path = fingerprint_file(forecaster.card, forecaster.folder)
    if path is None:
        return (
            None,
            f"{entry['file']} of model {forecaster.name!r} is missing or changed; copy it from where it came from",
        )
    return _read(path, str(entry["sha256"]), bool(entry.get("withheld"))), ""


@lru_cache(maxsize=4)
def _read(path: Path, sha256: str, withheld: bool) -> Fingerprints:
    known = read(path)
    return known.seen if withheld else known


def leaks(series: Iterable[tuple[Hashable, Floats]], forecaster: "Forecaster | None") -> str:
    """What a leaderboard says of a data set: "yes: 3 of 21 checked", "no", or "" where no series can be checked.

    Series that are too short or too simple cannot; where some of a set are, it says "no: 86 of 756 checked". The answer
    is kept by the content of data and fingerprints.
    """
    if forecaster is None:
        return ""
    series = [(series_id, np.asarray(values, dtype=np.float64)) for series_id, values in series]
    digest = hashlib.sha256(repr((forecaster.card.get("fingerprints"), tuned_on(forecaster), forecaster.name)).encode())
    for series_id, values in series:
        digest.update(repr((series_id, len(values))).encode() + values.tobytes())
    key = digest.hexdigest()
    if key not in _answers:
        report = seen_in_training(forecaster, series)
        _answers[key] = "" if report.tuned else said_of_set(report)
    return _answers[key]


_answers: dict[str, str] = {}


def said_of_set(report: LeakReport) -> str:
    """The answer of `leaks` in a cell of a table."""
    checked = len(report.checked)
    if not checked:
        return ""
    if report.seen:
        return f"yes: {len(report.seen)} of {checked} checked"
    return "no" if checked == len(report.series) else f"no: {checked} of {len(report.series)} checked"


def carry(sets: Mapping[str, Iterable[Floats]], folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write the fingerprints of training sets into a folder, and return the file and its entry of config.json."""
    known = gather(sets)
    path = write(known, folder / FILE)
    return path, entry_of(path, known)


def carry_both(
    sets: Mapping[str, Iterable[Floats]], rest: Mapping[str, Iterable[Floats]], folder: Path
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Write one file for models that saw all sets and for those that saw the rest; return it, and both entries."""
    known = gather(sets)
    known = known.withholding_all_but(gather(rest, bits=known.bits))
    path = write(known, folder / FILE)
    return path, entry_of(path, known), {**entry_of(path, known.seen), "withheld": len(known.withheld)}


def entry_of(path: Path, known: Fingerprints) -> dict[str, Any]:
    """The entry of config.json of a model whose fingerprints are these, of that file."""
    facts = {"windows": len(known), "chance": float(f"{known.chance:.2g}"), "note": NOTE}
    return {"file": path.name, "sha256": sha256(path), **facts}
