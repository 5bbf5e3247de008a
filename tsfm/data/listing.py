"""What `tsfm.list_datasets()` shows: the cards as a table, and whether each set is on this machine."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from datasets_registry import ROLES, Card, cards
from tsfm import tabular
from tsfm.data.shelf import whereabouts
from tsfm.data.timeaxis import Frequency, parse_frequency
from tsfm.errors import DataError, UnknownName

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
    frequency   one of the set's frequencies, in any spelling of pandas or a word: "h", "H", "hourly", "W" for any week
    here        True for the sets on this machine, False for those to fetch

    A domain or frequency that no set has raises `UnknownName` with those that exist.
    """
    if role is not None and role not in ROLES:
        raise UnknownName(f"no role {role!r}; roles are {', '.join(ROLES)}")
    every = cards()
    found = [card for card in every if role in (None, card.role)]
    if domain is not None:
        in_domain = {card.name for card in every if domain.lower() in card.domain.lower()}
        if not in_domain:
            there = sorted({card.domain for card in every} - {""})
            raise UnknownName(f"no set has domain={domain!r}; domains are {', '.join(there)}")
        found = [card for card in found if card.name in in_domain]
    if frequency is not None:
        at_frequency = {card.name for card in every if is_of(card, frequency)}
        if not at_frequency:
            counted = Counter(name for card in every for name in card.frequencies)
            there = [name for name, _ in counted.most_common()]
            raise UnknownName(f"no set has frequency={frequency!r}; frequencies are {', '.join(there)}")
        found = [card for card in found if card.name in at_frequency]
    if here is not None:
        found = [card for card in found if (whereabouts(card) == "here") is here]
    return DatasetList(found)


def is_of(card: Card, frequency: str) -> bool:
    """Tell whether a set has the frequency asked for, in any case; months match at either end, "W" on any day."""
    asked = [rule for word in (frequency, frequency.lower(), frequency.upper()) for rule in parsed(word)]
    return any(alike(one, other) for one in asked for name in card.frequencies for other in parsed(name))


def parsed(frequency: str) -> list[Frequency]:
    """Return the rule that an alias or a word names, none where it names none."""
    try:
        return [parse_frequency(frequency)]
    except DataError:
        return []


def alike(asked: Frequency, other: Frequency) -> bool:
    """Tell whether steps are of one length, and weeks, where a day is asked for, on that day."""
    same_day = asked.kind != "fixed" or asked.rule in ("", other.rule)
    return (asked.kind, asked.step) == (other.kind, other.step) and same_day
