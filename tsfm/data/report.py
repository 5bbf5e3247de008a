"""The report of `check`: what was found, as tidy text for terminals and a table for notebooks."""

import html
from collections.abc import Hashable
from dataclasses import dataclass, field

WEIGHTS = ("error", "warning", "note")
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One odd thing about one or more series.

    kind     a short name ("gaps", "outliers", ...)
    weight   "error": cannot be forecast as it stands; "warning": look at it; "note": good to know
    series   ids of the series it is true of
    rows     where in the first of them: time stamps or positions, as text
    message  what is odd, in a sentence
    remedy   the fix, in one line
    """

    kind: str
    weight: str
    series: list[Hashable]
    rows: list[str]
    message: str
    remedy: str

    @property
    def where(self) -> str:
        """The first few series and how many more, and the first few rows."""
        shown = ", ".join(repr(series_id) for series_id in self.series[:SHOWN])
        more = f" and {len(self.series) - SHOWN} more" if len(self.series) > SHOWN else ""
        rows = f" at {', '.join(self.rows[:SHOWN])}" if self.rows else ""
        further = f" and {len(self.rows) - SHOWN} more rows" if len(self.rows) > SHOWN else ""
        return f"{shown}{more}{rows}{further}"


@dataclass(frozen=True)
class CheckReport:
    """What `check` found; `print` it, or look at `.findings`. `.ok` is True where no error or warning was found."""

    summary: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.weight == "note" for finding in self.findings)

    def __str__(self) -> str:
        lines = [self.summary]
        for finding in self.findings:
            lines += ["", f"{finding.weight:8}{finding.kind}: {finding.message}"]
            lines += [f"{'':8}series {finding.where}"] if finding.series else []
            lines += [f"{'':8}fix: {finding.remedy}"]
        return "\n".join(lines if self.findings else [*lines, "nothing odd was found"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in ((f.weight, f.kind, f.where, f.message, f.remedy) for f in self.findings)
        )
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("", "what", "where", "", "fix"))
        table = f"<table><tr>{head}</tr>{rows}</table>" if self.findings else "<p>nothing odd was found</p>"
        return f"<p><b>{html.escape(self.summary)}</b></p>{table}"
