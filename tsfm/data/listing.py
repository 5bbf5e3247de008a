"""What `tsfm.list_datasets()` shows: the cards as a table, and whether each set is on this machine."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from datasets_registry import ROLES, Card, cards
from tsfm import tabular
from tsfm.data.shelf import whereabouts
from tsfm.errors import UnknownName

HEADING = ("name", "title", "frequency", "series", "points", "role", "where")
NUMBERS = (3, 4)
FREQUENCIES_SHOWN = 3


class DatasetList(list[Card]):
    """A list of cards that prints as a table."""

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, without its heading (`HEADING`)."""
        return [row_of(card) for card in self]

    def to_frame(self) -> Any:
        """A pandas frame, a card each, with every field and `where`."""
        import pandas as pd

        return pd.DataFrame([{**asdict(card), "where": whereabouts(card)} for card in self])

    def __repr__(self) -> str:
        return tabular.as_text(HEADING, self.rows(), NUMBERS)

    def _repr_html_(self) -> str:
        return tabular.as_html(HEADING, self.rows())


def row_of(card: Card) -> tuple[str, ...]:
    """One line of the table; what nobody has counted is left empty."""
    shown = ", ".join(card.frequencies[:FREQUENCIES_SHOWN]) + (
        ", …" if len(card.frequencies) > FREQUENCIES_SHOWN else ""
    )
    counts = [f"{count:,}" if count else "" for count in (card.series, card.points)]
    return (card.name, card.title, shown, *counts, card.role, whereabouts(card))


def list_datasets(
    role: str | None = None, domain: str | None = None, frequency: str | None = None, here: bool | None = None
) -> DatasetList:
    """Every data set that `tsfm.load_dataset` knows by name, or those that are asked for.

    role        "pretrain" (training may read it), "evaluate" (measured on, never trained on) or "demo"
    domain      part of the domain, such as "energy"
    frequency   one of the set's frequencies, such as "h"
    here        True for the sets on this machine, False for those to fetch
    """
    if role is not None and role not in ROLES:
        raise UnknownName(f"no role {role!r}; roles are {', '.join(ROLES)}")
    found: Iterable[Card] = cards(role)
    if domain is not None:
        found = [card for card in found if domain.lower() in card.domain.lower()]
    if frequency is not None:
        found = [card for card in found if frequency in card.frequencies]
    if here is not None:
        found = [card for card in found if (whereabouts(card) == "here") is here]
    return DatasetList(found)
