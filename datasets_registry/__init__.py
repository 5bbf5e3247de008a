"""What data sets exist: a card each, in `cards/<name>.toml`, read and checked here with the standard library alone.

    card = load_card("ETTh1")        a card of the registry, upper or lower case
    card = load_card("sales.toml")   a person's own card; its files lie beside it
    names("pretrain")                the sets that training may read

A card says what a set is and where it comes from; how a file is read is the business of `tsfm.data`.
"""

import re
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

CARDS = Path(__file__).with_name("cards")
ROLES = ("pretrain", "evaluate", "demo", "own")
TRAINING = ("allowed", "never")
FOLDERS = {"pretrain": "pretrain", "evaluate": "eval"}
REQUIRED = ("name", "title", "source", "licence", "role", "training", "why", "frequency", "season", "horizon", "reader")
HASH = re.compile(r"[0-9a-f]{64}")
FREQUENCY = re.compile(r"\d*[A-Za-z]+(-[A-Z]{3})?")


class CardError(ValueError):
    """A card that does not exist or does not say what a card must; the message names file, field, value and remedy."""


@dataclass(frozen=True)
class File:
    """One file of a data set.

    path     below the folder of the set; a parquet file that was prepared lies at eval/<name>.parquet or
             pretrain/<name>.parquet below $TSFM_DATA
    sha256   of its bytes, "" where nobody has read the file yet
    url      where it is fetched from, "" where it is not
    """

    path: str
    sha256: str = ""
    url: str = ""


@dataclass(frozen=True)
class Splits:
    """Steps that training, validation and test take in time, from the first step on."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Card:
    """What is known of one data set.

    title, source, url   in words; who made it and which file was taken; a page or file for people
    licence, training    of the data; "allowed" or "never", and `why`
    role                 "pretrain" | "evaluate" | "demo" | "own" (a person's own file)
    frequency            alias of pandas; several, joined by "|", where the series differ
    season, horizon      steps of the first frequency; the horizon is the usual one
    reader, files        name of the reader, and the files; `prepared` and `raw` tell the two kinds of file apart
    series, points       counts, `missing` of the points are NaN; 0 where nobody has counted
    gift_eval            configurations of GIFT-Eval that are this set, such as "ett1/H"
    splits               of the long-horizon literature, None elsewhere
    id, time, target     columns that the reader needs, empty where it finds them itself
    home                 folder of a person's own card, "" for the cards of the registry
    """

    name: str
    title: str
    source: str
    licence: str
    role: str
    training: str
    why: str
    frequency: str
    season: int
    horizon: int
    reader: str
    url: str = ""
    domain: str = ""
    files: tuple[File, ...] = ()
    series: int = 0
    points: int = 0
    missing: int = 0
    gift_eval: tuple[str, ...] = ()
    splits: Splits | None = None
    id: str = ""
    time: str = ""
    target: tuple[str, ...] = ()
    note: str = ""
    home: str = ""

    @property
    def frequencies(self) -> tuple[str, ...]:
        """The frequencies one by one, the most common first."""
        return tuple(self.frequency.split("|"))

    @property
    def prepared(self) -> File | None:
        """The parquet file below $TSFM_DATA, None where the set is not prepared."""
        return next((file for file in self.files if file.path == prepared_path(self.name, self.role)), None)

    @property
    def raw(self) -> tuple[File, ...]:
        """The files as their publisher has them: what `reader` reads."""
        return tuple(file for file in self.files if file != self.prepared)


def prepared_path(name: str, role: str) -> str:
    """Where the prepared parquet file of a set lies below $TSFM_DATA."""
    return f"{FOLDERS.get(role, role)}/{name}.parquet"


def load_card(name: str | Path) -> Card:
    """The card of a name, whatever its case, or the card in a person's own TOML file."""
    if str(name).endswith(".toml"):
        return read_card(Path(name).expanduser(), own=True)
    there = {known.lower(): known for known in names()}
    if str(name).lower() not in there:
        raise CardError(f"no data set {str(name)!r}; {suggestion(str(name), there)}")
    return _shipped(there[str(name).lower()])


def names(role: str | None = None) -> list[str]:
    """Names of all sets, or of those of one role, in alphabetical order whatever the case."""
    if role is None:
        return sorted((path.stem for path in CARDS.glob("*.toml")), key=str.lower)
    return [card.name for card in cards(role)]


def cards(role: str | None = None) -> list[Card]:
    """Cards of all sets, or of those of one role, in the order of `names`."""
    if role is not None and role not in ROLES:
        raise CardError(f"no role {role!r}; roles are {', '.join(ROLES)}")
    found = [_shipped(name) for name in names()]
    return [card for card in found if role in (None, card.role)]


def suggestion(name: str, there: dict[str, str]) -> str:
    """What to say after a name that does not exist: the near ones, else how many there are."""
    near = get_close_matches(name.lower(), there, n=4, cutoff=0.5)
    near += [key for key in there if name.lower() in key and key not in near][: 4 - len(near)]
    if near:
        return f"did you mean {', '.join(there[key] for key in near)}?"
    return f"there are {len(there)}: tsfm.list_datasets() or `tsfm datasets` shows them"


@cache
def _shipped(name: str) -> Card:
    return read_card(CARDS / f"{name}.toml")


def read_card(path: Path, own: bool = False) -> Card:
    """The card in a TOML file, every field checked; `own` where its files lie beside it."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"card {path}: {error.strerror}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"card {path} is no TOML: {error}") from error
    known = {field.name for field in fields(Card)} - {"home"}
    for key in entries:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(sorted(known))}"
            raise CardError(f"card {path.name}: there is no field {key!r}; {remedy}")
    for key in REQUIRED:
        if key not in entries:
            raise CardError(f"card {path.name}: the field {key!r} is missing; add it")
    entries["files"] = tuple(File(**file) for file in entries.get("files", ()))
    entries["splits"] = Splits(**entries["splits"]) if "splits" in entries else None
    for key in ("gift_eval", "target"):
        entries[key] = tuple(entries.get(key, ()))
    return Card(**entries, home=str(path.resolve().parent) if own else "")


def url_of(card: Card) -> Any:
    """The page or file a person would open first."""
    return card.url or next((file.url for file in card.raw if file.url), "")
