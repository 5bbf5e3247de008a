"""A card: what is known of one data set, read from TOML, every field checked, and written back as TOML."""

import re
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

ROLES = ("pretrain", "evaluate", "demo", "own")
TRAINING = ("allowed", "never")
FOLDERS = {"pretrain": "pretrain", "evaluate": "eval"}
REQUIRED = ("name", "title", "source", "licence", "role", "training", "why", "frequency", "season", "horizon", "reader")
NAMES = ("gift_eval", "target", "withheld")
COUNTS = {"season": 1, "horizon": 1, "series": 0, "points": 0, "missing": 0}  # the least of each
NAME = re.compile(r"[A-Za-z0-9_.\-]+")
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

    title, source, url   in words; who made it and which file was taken; a page for people
    licence, training    of the data; "allowed" or "never", and `why`
    role                 "pretrain" | "evaluate" | "demo" | "own" (a person's own file)
    frequency            alias of pandas; several, joined by "|", where the series differ
    season, horizon      steps of the first frequency; the horizon is the usual one
    reader, files        name of the reader, and the files; `prepared` and `raw` tell the two kinds of file apart
    series, points       counts, `missing` of the points are NaN; 0 where nobody has counted
    gift_eval            configurations of GIFT-Eval that are this set, such as "ett1/H"
    splits               of the long-horizon literature, None elsewhere
    withheld             series that stand in an evaluation set too, whole or in part: training leaves them out
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
    series: int = 0
    points: int = 0
    missing: int = 0
    gift_eval: tuple[str, ...] = ()
    splits: Splits | None = None
    id: str = ""
    time: str = ""
    target: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    note: str = ""
    files: tuple[File, ...] = ()
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


def read_card(path: Path, own: bool = False) -> Card:
    """The card in a TOML file, every field checked; `own` where it is a person's and its files lie beside it."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"card {path}: {error.strerror}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"card {path} is no TOML: {error}") from error
    if not own and entries.get("name") != path.stem:
        raise CardError(
            f"card {path.name}: name = {entries.get('name')!r}; a card is called as its file, {path.stem!r}"
        )
    return card_from(entries, path.name, str(path.resolve().parent) if own else "")


def card_from(entries: dict[str, Any], file: str, home: str = "") -> Card:
    """A card of the entries of a TOML file; `file` is how an error calls it."""
    check_keys(entries, {field.name for field in fields(Card)} - {"home"}, file)
    for key in REQUIRED:
        if key not in entries:
            raise CardError(f"card {file}: the field {key!r} is missing; add it")
    for key, value in entries.items():
        check_kind(key, value, file)
    entries = dict(entries)
    for key in NAMES:
        entries[key] = tuple(entries.get(key, ()))
    entries["files"] = tuple(file_from(one, file) for one in entries.get("files", ()))
    entries["splits"] = splits_from(entries["splits"], file) if "splits" in entries else None
    card = Card(**entries, home=home)
    check_words(card, file)
    return card


def check_keys(entries: dict[str, Any], known: set[str], file: str) -> None:
    for key in entries:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(sorted(known))}"
            raise CardError(f"card {file}: there is no field {key!r}; {remedy}")


def check_kind(key: str, value: Any, file: str) -> None:
    """Words are text, counts are whole numbers of at least the least, lists hold what they should."""
    if key in COUNTS:
        if not isinstance(value, int) or isinstance(value, bool) or value < COUNTS[key]:
            raise CardError(f"card {file}: {key} = {value!r}; give a whole number of at least {COUNTS[key]}")
    elif key in NAMES:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise CardError(f"card {file}: {key} = {value!r}; give a list of names")
    elif key == "files":
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise CardError(f"card {file}: files = {value!r}; give a list of tables: [{{ path = ... }}]")
    elif key == "splits":
        if not isinstance(value, dict):
            raise CardError(f"card {file}: splits = {value!r}; give {{ train = ..., validation = ..., test = ... }}")
    elif not isinstance(value, str) or (key in REQUIRED and not value.strip()):
        raise CardError(f"card {file}: {key} = {value!r}; say it in words, in quotes")


def check_words(card: Card, file: str) -> None:
    """Names, roles and counts agree with each other."""
    for key, value, choices in (("role", card.role, ROLES), ("training", card.training, TRAINING)):
        if value not in choices:
            raise CardError(f"card {file}: {key} = {value!r}; choose one of {', '.join(choices)}")
    if not NAME.fullmatch(card.name):
        raise CardError(f"card {file}: name = {card.name!r}; use letters, digits, '_', '-' and '.'")
    for frequency in card.frequencies:
        if not FREQUENCY.fullmatch(frequency):
            raise CardError(f"card {file}: frequency = {card.frequency!r}; give an alias such as 'h', '15min' or 'MS'")
    if card.role in ("evaluate", "demo") and card.training == "allowed":
        raise CardError(
            f"card {file}: training = 'allowed' with role = {card.role!r}; what is measured or shown is never trained "
            "on: say training = 'never', or role = 'pretrain'"
        )
    if card.splits and card.series:
        taken, length = card.splits.train + card.splits.validation + card.splits.test, card.points // card.series
        if taken > length:
            raise CardError(f"card {file}: splits take {taken} steps and a series has {length}; correct one of them")


def file_from(entries: dict[str, Any], file: str) -> File:
    check_keys(entries, {field.name for field in fields(File)}, file)
    one = File(**{"path": "", **entries})
    if not isinstance(one.path, str) or not one.path or PurePosixPath(one.path).is_absolute() or ".." in one.path:
        raise CardError(f"card {file}: path = {one.path!r}; give a path below the folder of the set")
    if one.sha256 and not HASH.fullmatch(str(one.sha256)):
        raise CardError(f"card {file}: sha256 = {one.sha256!r}; give 64 digits in lower case: sha256sum {one.path}")
    if one.url and not str(one.url).startswith("https://"):
        raise CardError(f"card {file}: url = {one.url!r}; give one that begins with https://")
    return one


def splits_from(entries: dict[str, Any], file: str) -> Splits:
    check_keys(entries, {field.name for field in fields(Splits)}, file)
    for field in fields(Splits):
        value = entries.get(field.name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CardError(f"card {file}: splits.{field.name} = {value!r}; give a whole number of steps")
    return Splits(**entries)


def as_toml(card: Card) -> str:
    """The text of a card's file, its fields in the order of `Card`; what says nothing is left out."""
    lines = []
    for field in fields(Card):
        value = getattr(card, field.name)
        if field.name == "home" or (field.name not in REQUIRED and value in ("", 0, (), None)):
            continue
        if field.name == "files":
            lines += ["files = [", *(f"  {table(file)}," for file in value), "]"]
        elif field.name == "splits":
            lines.append(f"splits = {table(value)}")
        elif isinstance(value, tuple):
            lines.append(f"{field.name} = [{', '.join(quoted(one) for one in value)}]")
        else:
            lines.append(f"{field.name} = {value if isinstance(value, int) else quoted(value)}")
    return "\n".join(lines) + "\n"


def table(record: File | Splits) -> str:
    """An inline table of the fields that say something."""
    pairs = [(field.name, getattr(record, field.name)) for field in fields(record)]
    return "{ " + ", ".join(f"{k} = {v if isinstance(v, int) else quoted(v)}" for k, v in pairs if v) + " }"


def quoted(text: str) -> str:
    """A TOML string in double quotes."""
    control = {char: f"\\u{ord(char):04x}" for char in map(chr, (*range(32), 127))}
    escapes = {**control, "\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'
