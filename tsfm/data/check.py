"""Check: what is odd in someone's data, in which series and rows, and the one-line fix.

Looks at the repairs that reading the data took, at what keeps a series from being forecast, and at what spoils
forecasts though it can be read: outliers, shifts of level, missing ends, copies. Scales are robust (median and 1.4826
times the median absolute deviation), so that what is looked for does not hide itself.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from tsfm.data.adapters import to_panel
from tsfm.data.mending import REMEDIES as READING
from tsfm.data.repairs import many
from tsfm.data.report import WEIGHTS, CheckReport, Finding
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# T steps of one series.

OUTLIER = 20.0  # robust standard deviations
SHIFT = 6.0  # robust standard deviations of what is left after the shift; a straight line reaches 2.7
SHIFT_LEAST = 24  # steps
MISSING, ZEROS, NEGATIVE = 0.2, 0.5, 0.01  # shares

SUSPECT = ("irregular", "moved", "duplicates", "shape", "footer", "ambiguous numbers")  # repairs to look at

Look = Callable[[Floats, Floats, int], "tuple[list[int], str] | None"]

REMEDIES = {
    "text": "convert the column yourself with pd.to_numeric to be sure of what was read",
    "time": "convert the column yourself with pd.to_datetime to be sure of what was read",
    "unsorted": "sort the rows by series and time",
    "duplicates": "drop_duplicates() on the columns of series and time",
    "gaps": "nothing, if the steps are truly missing; where no row means zero, fill with 0",
    "moved": "round the stamps, or pass freq=",
    "irregular": "resample to a regular step, such as frame.resample('D').sum(), or pass freq=",
    "frequency": "pass freq= as the stamps have it",
    "shape": "where the rows are one series, give data[:, 0]",
    "ahead": "nothing, if the target of those rows is still to come",
    "missing covariates": "nothing, if they are truly unknown; where missing means zero, fillna(0)",
    "covariates": "nothing, if they are not to be used; finetune reads those named in past=, future= and static=",
    **READING,
}


def check(
    data: Any,
    *,
    id: Any = None,
    time: Any = None,
    target: Any = None,
    freq: Any = None,
    past: Any = None,
    future: Any = None,
    static: Any = None,
) -> CheckReport:
    """A report of what is odd in `data` (anything that can be forecast); it never raises over the data themselves."""
    roles = {"id": id, "time": time, "target": target, "past": past, "future": future, "static": static}
    try:
        panel = to_panel(data, freq=freq, **roles, errors="skip")
    except DataError as error:
        finding = Finding("unreadable", "error", [], [], str(error), "do what the message says, then check again")
        return CheckReport("the data cannot be read as they stand", [finding])
    findings = [*_skipped(panel), *_repaired(panel), *_looked_at(panel), *_copies(panel), *_clocks(panel)]
    findings.sort(key=lambda finding: WEIGHTS.index(finding.weight))
    return CheckReport(_summary(panel), findings)


def _summary(panel: Panel) -> str:
    lengths = [len(values) for values in panel.values]
    steps = f"{min(lengths):,}" if min(lengths) == max(lengths) else f"{min(lengths):,} to {max(lengths):,}"
    names = Counter(index.frequency.name if index.frequency else "unknown" for index in panel.index)
    counted = ", ".join(name if len(names) == 1 else f"{name} ({n:,} series)" for name, n in names.most_common(4))
    bad = f", {len(panel.skipped):,} that cannot be forecast" if panel.skipped else ""
    return f"{len(panel):,} series of {steps} steps{bad}; frequency {counted}"


def _skipped(panel: Panel) -> list[Finding]:
    """Every series that cannot be forecast, the ones with the same trouble together."""
    return [
        Finding("bad series", "error", [series_id], [], reason, "mend it, or pass errors='skip' to leave it out")
        for series_id, reason in panel.skipped.items()
    ]


def _repaired(panel: Panel) -> list[Finding]:
    findings = []
    for kind in dict.fromkeys(repair.kind for repair in panel.repairs):
        repairs = [repair for repair in panel.repairs if repair.kind == kind]
        weight = "warning" if kind in SUSPECT else "note"
        total = sum(repair.count for repair in repairs)
        rest = f" (and {len(repairs) - 1:,} other series; {total:,} rows in all)" if len(repairs) > 1 else ""
        series = list(dict.fromkeys(repair.series_id for repair in repairs))
        findings.append(Finding(kind, weight, series, [], repairs[0].message + rest, REMEDIES[kind]))
    return findings


def _looked_at(panel: Panel) -> list[Finding]:
    """What every series shows on its own, the same kind of oddity in one finding."""
    found: dict[str, list[tuple[int, list[int], str]]] = {}
    for i, values in enumerate(panel.values):
        observed = values[~np.isnan(values)]
        for kind, (look, _, _) in LOOKS.items():
            seen = look(values, observed, panel.index[i].season)
            if seen:
                found.setdefault(kind, []).append((i, *seen))
    findings = []
    for kind, (_, weight, remedy) in LOOKS.items():
        if kind in found:
            first, rows, message = found[kind][0]
            ids: list[Hashable] = [panel.ids[i] for i, _, _ in found[kind]]
            stamps = [str(stamp) for stamp in panel.past_index(first)[rows]] if rows else []
            findings.append(Finding(kind, weight, ids, stamps, message, remedy))
    return findings


def _missing(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    share = 1 - len(observed) / len(values)
    return ([], f"{share:.0%} of the steps are missing") if share > MISSING else None


def _missing_end(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    if not np.isnan(values[-1]):
        return None
    last = int(np.flatnonzero(~np.isnan(values))[-1])
    return [last], f"{many(len(values) - 1 - last, 'step')} missing at the end, after the last value"


def _constant(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    return ([], f"every value is {observed[0]:g}") if len(observed) > 1 and np.ptp(observed) == 0 else None


def _short(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    if season == 1 or len(values) >= 2 * season:
        return None
    return [], f"{len(values)} steps are less than two seasons of {season}"


def _outliers(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    center = np.median(observed)
    spread = 1.4826 * np.median(np.abs(observed - center))
    if not np.isfinite(spread) or spread == 0:
        return None
    rows = np.flatnonzero(np.abs(values - center) > OUTLIER * spread).tolist()
    if not rows or len(rows) > MISSING * len(observed):
        return None
    return rows, f"{many(len(rows), 'value')} more than {OUTLIER:g} robust deviations off, such as {values[rows[0]]:g}"


def _level_shift(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    """A jump of the median where the cumulated sum of deviations is largest (the CUSUM estimate of a change point)."""
    if len(observed) < SHIFT_LEAST or not np.isfinite(np.ptp(observed)):
        return None
    scaled = observed / (np.abs(observed).max() or 1.0)
    split = int(np.abs(np.cumsum(scaled - scaled.mean())[:-1]).argmax()) + 1
    if min(split, len(scaled) - split) < max(SHIFT_LEAST // 3, len(scaled) // 10):
        return None
    before, after = np.median(scaled[:split]), np.median(scaled[split:])
    left = np.concatenate([scaled[:split] - before, scaled[split:] - after])
    if abs(after - before) <= SHIFT * max(1.4826 * float(np.median(np.abs(left))), 1e-9):
        return None
    row = int(np.flatnonzero(~np.isnan(values))[split])
    levels = f"{np.median(observed[:split]):g} to {np.median(observed[split:]):g}"
    return [row], f"the level shifts from {levels} at the time named"


def _zeros(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    share = float(np.mean(observed == 0))
    return ([], f"{share:.0%} of the values are zero") if ZEROS < share < 1 else None


def _negative(values: Floats, observed: Floats, season: int) -> tuple[list[int], str] | None:
    rows = np.flatnonzero(values < 0).tolist()
    if not rows or len(rows) > max(1, NEGATIVE * len(observed)) or len(observed) < SHIFT_LEAST:
        return None
    if (observed != np.floor(observed)).any():
        return None
    return rows, f"{many(len(rows), 'negative value')} among counts, such as {values[rows[0]]:g}"


LOOKS: dict[str, tuple[Look, str, str]] = {
    "missing": (_missing, "warning", "nothing, if they are truly unknown; where missing means zero, fillna(0)"),
    "missing end": (_missing_end, "warning", "cut the series at its last value, or bring it up to date"),
    "constant": (_constant, "note", "nothing: its forecast is that value"),
    "short": (_short, "note", "give more history, or expect forecasts without a season"),
    "outliers": (_outliers, "warning", "if they are mistakes, set them to NaN"),
    "level shift": (_level_shift, "warning", "if the old level is gone for good, drop the rows before it"),
    "zeros": (_zeros, "note", "nothing: intermittent series are forecast as they are; look at upper quantiles"),
    "negative": (_negative, "warning", "if they are mistakes, set them to NaN or 0"),
}


def _copies(panel: Panel) -> list[Finding]:
    """Series that hold the same numbers."""
    groups: dict[bytes, list[Hashable]] = {}
    for series_id, values in zip(panel.ids, panel.values, strict=True):
        if len(values) > 2 and np.nanmax(values) > np.nanmin(values):
            groups.setdefault(values.tobytes(), []).append(series_id)
    same = [ids for ids in groups.values() if len(ids) > 1]
    if not same:
        return []
    message = f"{', '.join(map(repr, same[0][:4]))} hold the same numbers ({many(len(same), 'such group')})"
    return [Finding("copies", "warning", [i for ids in same for i in ids], [], message, "keep one of each group")]


def _clocks(panel: Panel) -> list[Finding]:
    """Several frequencies, and integers that look like dates."""
    findings = []
    names = Counter(index.frequency.name if index.frequency else "unknown" for index in panel.index)
    if len(names) > 1:
        rarest = min(names, key=lambda name: names[name])
        odd: list[Hashable] = [
            panel.ids[i]
            for i, index in enumerate(panel.index)
            if (index.frequency.name if index.frequency else "unknown") == rarest
        ]
        message = f"the panel mixes frequencies: {', '.join(f'{n:,} x {name}' for name, n in names.most_common(5))}"
        findings.append(Finding("frequencies", "note", odd, [], message, "forecast each frequency on its own"))
    dated = [i for i, index in enumerate(panel.index) if index.clock.kind == "integer" and _dates(index.start)]
    if dated:
        what = _dates(panel.index[dated[0]].start)
        message = f"times are integers that look like {what}"
        ids: list[Hashable] = [panel.ids[i] for i in dated]
        remedy = "convert them with pd.to_datetime(column, format=... or unit=...), so that the season is known"
        findings.append(Finding("integer time", "warning", ids, [], message, remedy))
    return findings


def _dates(number: int) -> str:
    """What kind of date an integer may be, "" if none."""
    if 1800 <= number <= 2200:
        return "years"
    if 180001 <= number <= 220012 and 1 <= number % 100 <= 12:
        return "months (YYYYMM)"
    if 10**8 <= number < 10**10:
        return "seconds since 1970"
    return "milliseconds since 1970" if 10**11 <= number < 10**13 else ""
