"""Numerals: how people write numbers in tables becomes floats, decided for a column as a whole.

"$1,234.50", "1.234,50 EUR", "1 234", "1'234", "12 %", "(5)" and "5-" are numbers. A mark that may part thousands or
decimals ("1,234") is read as the rest of the column writes them; where nothing tells, as the file does, which is told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tsfm.data.arrays import MISSING_WORDS

ABSENT = MISSING_WORDS | {
    *(
        "-",
        "--",
        "---",
        "\u2013",
        "\u2014",
        "?",
        ".",
        "..",
        "...",
        "*",
        "nil",
        "missing",
        "unknown",
        "n.a.",
        "n.a",
        "k.a.",
    ),
    *("#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null!", "#spill!", "#error!", "-nan", "1.#ind", "1.#qnan"),
}
MONEY = re.compile(
    r"[$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9\u20ba\u20aa\u20ab\u0e3f]|R\$|\b(USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|ZAR|MXN|KRW)\b|z\u0142|\bkr\b\.?|\bFr\.",
)
SPACES = "\\s\u00a0\u2007\u2009\u202f"
BODY = re.compile(rf"(\d[\d.,'\u2019{SPACES}]*|[.,]\d+)([eE][+-]?\d+)?")
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Numeral:
    """One word taken apart: its digits with `,` and `.` as they stand, sign, exponent, and what was left out.

    decimal   the mark that parts decimals as this word alone shows it, "" for none, "?" where either is possible
    """

    body: str
    negative: bool = False
    exponent: str = ""
    decimal: str = ""
    dropped: frozenset[str] = frozenset()

    def number(self, decimal: str) -> float:
        """The number, with `decimal` as the mark of decimals in the column."""
        digits = self.body.replace("," if decimal == "." else ".", "").replace(decimal, ".")
        value = float(digits + self.exponent)
        return -value if self.negative else value


@dataclass
class Reading:
    """What the words of a column became: numbers of those that are numbers, and what to tell of it."""

    numbers: dict[str, float] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    unsure: str = ""


def is_absent(word: str) -> bool:
    """True for the ways to write that a number is missing."""
    return word.strip().lower() in ABSENT


def apart(word: str) -> Numeral | None:
    """The parts of a word that may be a number, None where it is none."""
    if PLAIN.fullmatch(word):
        mantissa, _, exponent = word.lower().lstrip("+-").partition("e")
        mark = "" if "." not in mantissa else "?" if _may_group(mantissa, ".") else "."
        return Numeral(mantissa, word[0] == "-", exponent and f"e{exponent}", mark)
    dropped = set()
    text = MONEY.sub("", word).strip()
    if len(text) < len(word.strip()):
        dropped.add("currency")
    if "%" in text:
        dropped.add("percent")
        text = text.replace("%", "", 1).strip()
    text, negative, sign = _signed(text)
    match = BODY.fullmatch(text)
    if match is None:
        return None
    decimal: str | None
    body = re.sub(rf"[{SPACES}'\u2019]", "_", match[1])
    if "_" in body:
        whole = re.split(r"[.,]", body, maxsplit=1)[0]
        if not GROUPED_BY["_"].fullmatch(whole) or "_" in body[len(whole) :]:
            return None
        body = body.replace("_", "")
        dropped.add("thousands")
        decimal = _only_decimal(body)
    else:
        decimal = _decimal_mark(body)
    if decimal is None:
        return None
    if decimal != "?" and re.search(r"[.,]", body.replace(decimal, "") if decimal else body):
        dropped.add("thousands")
    return Numeral(body, negative, match[2] or "", decimal, frozenset(dropped | sign))


GROUPED_BY = {mark: re.compile(rf"\d{{1,3}}(?:[{mark}]\d{{3}})+") for mark in "_.,"}


def _signed(text: str) -> tuple[str, bool, set[str]]:
    """The word without its sign; "(5)" and "5-" are how accountants write -5, and a typeset minus is longer."""
    if "\u2212" in text:
        plain, negative, _ = _signed(text.replace("\u2212", "-"))
        return plain, negative, {"sign"}
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1].strip(), True, {"sign"}
    if text.endswith("-") and not text.startswith(("-", "+")):
        return text[:-1].strip(), True, {"sign"}
    return text.lstrip("+-").strip() if text.count("-") + text.count("+") < 2 else text, text.startswith("-"), set()


def _may_group(body: str, mark: str) -> bool:
    """True for 1,234 and the like: one mark before three digits, where the first are no 0."""
    return body.count(mark) == 1 and bool(GROUPED_BY[mark].fullmatch(body)) and not body.startswith("0")


def _only_decimal(body: str) -> str | None:
    """The decimal mark of a number whose thousands are parted by something else."""
    marks = [mark for mark in ".," if mark in body]
    return "" if not marks else marks[0] if len(marks) == 1 and body.count(marks[0]) == 1 else None


def _decimal_mark(body: str) -> str | None:
    """The mark that parts decimals: "" for none, "?" for either, None where the digits are grouped in no known way."""
    last = max(".,", key=body.rfind)
    other = "," if last == "." else "."
    if last not in body:
        return ""
    if other in body:
        whole = body[: body.rfind(last)]
        return last if body.count(last) == 1 and GROUPED_BY[other].fullmatch(whole) else None
    if _may_group(body, last):
        return "?"
    if body.count(last) == 1:
        return last
    return other if GROUPED_BY[last].fullmatch(body) else None


def read_words(words: Sequence[str], usual: str) -> Reading | tuple[str, str]:
    """Numbers of the distinct words of one column, or the two words that contradict each other in it.

    usual   the mark of decimals in the rest of the file, for a column that does not show it
    """
    reading = Reading()
    found: dict[str, Numeral] = {}
    for word in words:
        numeral = None if is_absent(word) else apart(word.strip())
        if numeral is not None:
            found[word] = numeral
        else:
            (reading.absent if is_absent(word) else reading.bad).append(word)
    shown = {mark: next((word for word, one in found.items() if one.decimal == mark), "") for mark in ".,?"}
    if shown["."] and shown[","]:
        return shown[","], shown["."]
    reading.decimal = next((mark for mark in ".," if shown[mark]), usual)
    if not shown["."] and not shown[","]:
        # A point before three digits is doubtful only in a file that writes decimals with commas.
        doubtful = (word for word, one in found.items() if one.decimal == "?" and (usual == "," or "," in one.body))
        reading.unsure = next(doubtful, "")
    reading.numbers = {word: one.number(reading.decimal) for word, one in found.items()}
    for word, one in found.items():
        extra = {"thousands"} if one.decimal == "?" and one.body.find(reading.decimal) < 0 else set()
        for what in one.dropped | extra:
            reading.dropped.setdefault(what, word)
    return reading
