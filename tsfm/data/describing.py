"""A person's own file becomes a data set: a card that says which columns it has, how often, how much, and its hash."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets_registry import Card, File, card_from
from tsfm.data.adapters import to_panel
from tsfm.data.packed import kind_of
from tsfm.data.readers import PARQUET, TSF
from tsfm.data.shelf import sha256
from tsfm.data.timeaxis import parse_frequency
from tsfm.errors import DataError
from tsfm.panel import Panel

WHY = "Your own data: whether a model may be trained on them is yours to say."


def describe(
    path: str | Path,
    *,
    id: str | None = None,
    time: str | None = None,
    target: str | None = None,
    freq: str | None = None,
    title: str = "",
) -> Card:
    """The card of a person's own table: columns, frequency, season, counts and hash, found as `tsfm.forecast` does.

    id, time, target   names of columns where they are not the usual ones
    freq               the frequency, where it cannot be seen in the time stamps
    """
    file = Path(path).expanduser()
    panel = to_panel(file, id=id, time=time, target=target, freq=freq)
    reader = reader_of(file, panel)
    frequencies = frequencies_of(file, panel)
    points, missing = (sum(counts) for counts in zip(*map(counted, panel.values), strict=True))
    wide = panel.origin.family == "wide"
    columns = [str(one) for one in panel.ids] if wide else [text(panel.origin.target)]
    entries: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_.\-]+", "_", file.name.split(".")[0]) or "data",
        "title": title or file.name,
        "source": f"own file {file.name}",
        "licence": "yours",
        "role": "own",
        "training": "allowed",
        "why": WHY,
        "frequency": "|".join(frequencies),
        "season": parse_frequency(frequencies[0]).season,
        "horizon": usual_horizon(file, panel),
        "reader": reader,
        "series": len(panel),
        "points": points,
        "missing": missing,
        "id": "" if wide else text(panel.origin.id),
        "time": text(panel.origin.time),
        "target": [] if reader == "tsf" else columns,
    }
    card = card_from(entries, f"of {file.name}", home=str(file.resolve().parent))
    return replace(card, files=(File(file.name, sha256(file)),))


def usual_horizon(file: Path, panel: Panel) -> int:
    """What a tsf file says in `@horizon`, else what is usual for the frequency."""
    from tsfm.data.formats.tsf import parse

    stated = parse(file)[0].horizon if kind_of(file) in TSF else None
    return stated or panel.default_horizon()


def reader_of(file: Path, panel: Panel) -> str:
    """Name of the reader for the layout that was found."""
    kind = kind_of(file)
    if kind in TSF:
        return "tsf"
    layout = panel.origin.family
    if kind in PARQUET:
        readers = {"long": "long_parquet", "wide": "long_parquet", "nested": "fev"}
    else:
        # The reader of wide tables takes rows as they stand; a person's own may have gaps, which this one sees.
        readers = {"long": "long_csv", "wide": "long_csv"}
    if layout not in readers:
        raise DataError(
            f"{file.name} is a {layout} table, for which there is no reader; write it as a long one with the columns "
            "id, time and value"
        )
    return readers[layout]


def frequencies_of(file: Path, panel: Panel) -> list[str]:
    """The frequencies of the series, the most common first; every series must have one."""
    found: Counter[str] = Counter()
    for name, index in zip(panel.ids, panel.index, strict=True):
        if index.frequency is None or index.frequency.kind == "integer" or index.clock.kind != "datetime":
            raise DataError(
                f"{file.name}: series {str(name)!r} has no frequency that can be read from time stamps; name the "
                "column of times (--time) and the frequency (--freq)"
            )
        found[index.frequency.name] += 1
    return [name for name, _ in found.most_common()]


def counted(values: "np.ndarray[Any, Any]") -> tuple[int, int]:
    """Steps of a series, and how many of them are missing."""
    return len(values), int(np.isnan(values).sum())


def text(name: Any) -> str:
    """A column's name as a card has it."""
    return "" if name is None else str(name)
