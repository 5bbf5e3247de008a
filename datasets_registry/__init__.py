"""What data sets exist: a card each, in `cards/<name>.toml`, read and checked with the standard library alone.

    card = load_card("ETTh1")        a card of the registry, in upper or lower case
    card = load_card("sales.toml")   a person's own card; its files lie beside it
    names("pretrain")                the sets that training may read

A card says what a set is and where it comes from; how its files are read is the business of `tsfm.data`.
"""

from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

from datasets_registry.card import (
    FOLDERS,
    ROLES,
    TRAINING,
    Card,
    CardError,
    File,
    Splits,
    as_toml,
    card_from,
    prepared_path,
    read_card,
)

__all__ = [
    "FOLDERS",
    "ROLES",
    "TRAINING",
    "Card",
    "CardError",
    "File",
    "Splits",
    "as_toml",
    "card_from",
    "cards",
    "load_card",
    "names",
    "prepared_path",
]

CARDS = Path(__file__).with_name("cards")
LIKE = 0.6  # how alike names must be for one to be suggested


def load_card(name: str | Path) -> Card:
    """The card of a name, whatever its case, or the card in a person's own TOML file."""
    if str(name).lower().endswith(".toml"):
        return read_card(Path(name).expanduser(), own=True)
    there = {known.lower(): known for known in names()}
    found = there.get(str(name).lower())
    if found is None:
        raise CardError(f"no data set {str(name)!r}; {suggestion(str(name).lower(), there)}")
    return _shipped(found)


def names(role: str | None = None) -> list[str]:
    """Names of all sets, or of those of one role, in alphabetical order whatever the case."""
    if role is not None:
        return [card.name for card in cards(role)]
    return sorted((path.stem for path in CARDS.glob("*.toml")), key=str.lower)


def cards(role: str | None = None) -> list[Card]:
    """Cards of all sets, or of those of one role, in the order of `names`."""
    if role is not None and role not in ROLES:
        raise CardError(f"no role {role!r}; roles are {', '.join(ROLES)}")
    found = [_shipped(name) for name in names()]
    return [card for card in found if role in (None, card.role)]


def suggestion(name: str, there: dict[str, str]) -> str:
    """What to say after a name that does not exist: the near ones, else where all are shown."""
    alike = {key: SequenceMatcher(None, name, key).ratio() for key in there}
    near = [key for key in there if alike[key] >= LIKE or (name and name in key)]
    near.sort(key=lambda key: (-alike[key], key))
    if near:
        return f"did you mean {' or '.join(there[key] for key in near[:3])}?"
    return f"tsfm.list_datasets() or `tsfm datasets` shows the {len(there)} that there are"


@cache
def _shipped(name: str) -> Card:
    return read_card(CARDS / f"{name}.toml")
