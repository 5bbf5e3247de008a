"""The models a person can name: what `tsfm.list_models()` shows."""

import json
import struct
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from tsfm import registry, tabular
from tsfm.checkpoints import CONFIG, WEIGHTS, embedded, read_card, weightless
from tsfm.official import official_models
from tsfm.packing import SCALE

HEADING = ("name", "kind", "parameters", "size", "licence", "description")
NUMBERS = (2, 3)


@dataclass(frozen=True)
class ModelInfo:
    """One model that `tsfm.forecast(..., model=name)` knows.

    kind         "pretrained", "baseline", or "on demand": published by others, fetched when it is first named
    parameters   numbers learned
    size         bytes on disk
    licence      of the weights
    description  a sentence
    """

    name: str
    kind: str
    parameters: int
    size: int
    licence: str
    description: str


class ModelList(list[ModelInfo]):
    """A list of models that prints as a table."""

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table as text, without its heading (`HEADING`)."""
        return [
            (one.name, one.kind, f"{one.parameters:,}", f"{one.size / 1e6:.1f} MB", one.licence, one.description)
            for one in self
        ]

    def to_frame(self) -> Any:
        """Return the models as a pandas frame, a row each."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self])

    def __repr__(self) -> str:
        return tabular.as_text(HEADING, self.rows(), NUMBERS)

    def _repr_html_(self) -> str:
        return tabular.as_html(HEADING, self.rows())


def list_models() -> ModelList:
    """Return every model that can be named, those in the package first. Reads no weights and fetches nothing."""
    pretrained = [describe(name, folder) for name, folder in embedded().items()]
    baselines = [
        ModelInfo(name, "baseline", 0, 0, "Apache-2.0", first_line(registry.get(name).__doc__)) for name in weightless()
    ]
    published = [
        ModelInfo(one.name, "on demand", one.parameters, one.size, one.licence, f"{one.description} Hub: {one.hub}.")
        for one in official_models()
    ]
    return ModelList(pretrained + baselines + published)


def describe(name: str, folder: Path) -> ModelInfo:
    """Return what a checkpoint folder says about its model."""
    card = read_card(folder)
    weights = folder / WEIGHTS
    summary = card.get("description") or first_line(registry.get(card["architecture"]).__doc__)
    size = weights.stat().st_size + (folder / CONFIG).stat().st_size
    return ModelInfo(name, "pretrained", parameters(weights), size, card.get("licence", "Apache-2.0"), summary)


def parameters(weights: Path) -> int:
    """Return how many numbers a model learned, from the header of its file: 8 bytes of length, then JSON.

    The scales of int8 rows (tsfm/packing.py) are a way of storing, not parameters.
    """
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(
        prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__" and not key.endswith(SCALE)
    )


def first_line(text: str | None) -> str:
    """Return the first line of a docstring."""
    return (text or "").strip().partition("\n")[0]
