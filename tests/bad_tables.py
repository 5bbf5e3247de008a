"""A small table written in every way that people write tables, and what was told of reading it."""

from tsfm.data.adapters import to_panel

DAYS = [f"2024-01-{day:02d}" for day in range(1, 21)]
X = [10 + 1.5 * step for step in range(20)]


def european(day: str) -> str:
    return "/".join(reversed(day.split("-")))


def table(separator=",", number=str, date=str, names=("date", "sales"), end="", line="\n") -> str:
    """Twenty days of the numbers X, written as asked."""
    rows = [separator.join([date(day), number(x)]) + end for day, x in zip(DAYS, X, strict=True)]
    return line.join([separator.join(names), *rows]) + line


def panel_of(tmp_path, content, **named):
    file = tmp_path / "sales.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return to_panel(file, **named)


def told(panel) -> dict[str, str]:
    """Repairs by kind, without the one that dates in text always take."""
    return {repair.kind: repair.message for repair in panel.repairs if repair.kind != "time"}


def comma(x: float) -> str:
    return str(x).replace(".", ",")
