"""Sniffing: how a CSV file is written, found in its first bytes: encoding, separator, decimal mark, lines to leave out.

The mark most common in the first line parts the columns, if all lines agree with it; else the mark does by which most
lines have the same number of fields. Only the head is read, whatever the size of the file.
"""

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tsfm.data.arrays import MISSING_WORDS
from tsfm.data.packed import open_packed
from tsfm.errors import DataError

HEAD = 1 << 18  # bytes, as many as pandas parses at a time
LINES = 200
AGREE = 0.9  # share of lines that must have the usual number of fields
SEPARATORS = ",;\t|"
RARE = ":~^"
NAMES = {"\t": "tabs", "|": "bars", r"\s+": "spaces", r"\s{2,}": "runs of spaces"}
BOMS = {
    codecs.BOM_UTF8: "utf-8",  # pandas skips the mark
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
STAMP = re.compile(r"\s*(\d{4}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{8}(?!\d))")
VALUE = re.compile(r"\s*-?\d[\d.,:/\-+TZ ]*\s*$|\s*$")
OTHERS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive; save it as CSV, or let its name end in .zip",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
    b"PAR1": "a parquet file; let its name end in .parquet",
    b"\x1f\x8b": "packed with gzip; let its name end in .csv.gz",
    b"BZh": "packed with bzip2; let its name end in .csv.bz2",
    b"\xfd7zXZ": "packed with xz; let its name end in .csv.xz",
    b"%PDF": "a PDF; copy the table into a CSV file",
}


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    skip     lines above the names that are no part of the table
    longer   True where every row ends in one separator more than the names
    grouped  columns whose points part thousands, as it seems
    words    column -> a word in it that counts as missing
    told     kind and sentence of everything out of the ordinary
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    skip: int = 0
    longer: bool = False
    grouped: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)


def sniff(file: Path, encoding: str | None = None) -> Dialect:
    """The dialect of a CSV file; what is no table in text is a `DataError`."""
    head, whole = _head(file)
    _refuse_other_kinds(file, head)
    told: list[tuple[str, str]] = []
    found = encoding or _encoding(file, head, told)
    lines = _lines(head, found, whole)
    if not any(line.strip() for line in lines):
        raise DataError(f"{str(file)!r} cannot be read as CSV: it holds blank lines only; save the table again")
    skip, separator = _stated(lines)
    if not separator:
        skip, separator = _separator(lines)
    table = [line for line in lines[skip:] if line.strip()][:LINES]
    if skip and not _stated(lines)[1]:
        above = [line.strip() for line in lines[:skip] if line.strip()]
        shown = ", ".join(repr(line[:40]) for line in above[:3])
        told.append(("preamble", f"{_count(len(above), 'line')} above the names left out ({shown})"))
    if separator not in SEPARATORS:
        told.append(("separator", f"columns are parted by {NAMES.get(separator, repr(separator))}"))
    decimal = _decimal(table, separator, told)
    single = separator == "," and decimal == ","
    separator = ";" if single else separator
    rows = [fields(line, separator) for line in table]
    longer = _rows_are_longer(file, rows, told)
    grouped = _grouped(rows, told) if separator not in ",\t" and decimal == "." else []
    return Dialect(found, separator, decimal, skip, longer, grouped, _missing_words(rows), told)


def head_cells(file: Path, dialect: Dialect) -> tuple[list[list[str]], float]:
    """The cells of the rows in the head of a file, and how many bytes such a row has."""
    head, whole = _head(file)
    lines = [line for line in _lines(head, dialect.encoding, whole)[dialect.skip + 1 :] if line.strip()]
    return [fields(line, dialect.separator) for line in lines], len(head) / max(1, len(lines))


def _head(file: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, and whether they are all of it."""
    with open_packed(file) as stream:
        head = stream.read(HEAD)
        return head, not stream.read(1)


def fields(line: str, separator: str) -> list[str]:
    """The cells of one line."""
    if separator.startswith("\\"):
        return re.split(separator, line.strip())
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _refuse_other_kinds(file: Path, head: bytes) -> None:
    if not head:
        raise DataError(f"{str(file)!r} cannot be read as CSV: it is empty (0 bytes); save the table again")
    other = next((what for magic, what in OTHERS.items() if head.startswith(magic)), None)
    start = head[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<table", b"<?xml")):
        other = "a web page or XML, often a page to log in on; fetch the table itself"
    elif start.startswith((b"{", b"[{", b"[[")):
        other = "JSON; give the list or dict in it, or pandas.read_json(path)"
    if other:
        raise DataError(f"{str(file)!r} cannot be read as CSV: by its first bytes it is {other}")


def _encoding(file: Path, head: bytes, told: list[tuple[str, str]]) -> str:
    """UTF-8 unless a byte order mark or zero bytes beside letters say UTF-16 or UTF-32."""
    marked = next((name for mark, name in BOMS.items() if head.startswith(mark)), None)
    if marked == "utf-8":
        return marked
    if marked is None and b"\0" in head:
        even, odd = head[0:4000:2].count(0), head[1:4000:2].count(0)
        half = len(head[:4000]) // 2
        marked = "utf-16-le" if odd > 0.6 * half > 4 * even else "utf-16-be" if even > 0.6 * half > 4 * odd else None
        if marked is None:
            raise DataError(f"{str(file)!r} cannot be read as CSV: it holds zero bytes and is no text; save it as CSV")
    if marked:
        told.append(("encoding", f"the text is in {marked[:6].upper()} and was read as that"))
        return marked
    return "utf-8"


def western(file: Path, error: UnicodeDecodeError) -> tuple[str, str]:
    """The encoding of a file that is no UTF-8, if it can only be that of Western Windows, and what to tell of it."""
    refusal = DataError(
        f"{str(file)!r} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8 (in Excel: "
        "'CSV UTF-8'), or give pandas.read_csv(path, encoding=...) with the encoding that it has"
    )
    with open_packed(file) as stream:
        block = next((block for block in iter(lambda: stream.read(HEAD), b"") if not block.isascii()), b"")
    words = re.findall(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*", block)
    # A word of Western Europe has few accents, one in Cyrillic, Greek or Asian letters little else.
    foreign = sum(len(re.findall(rb"[\x80-\xff]{3,}", word)) > 0 for word in words)
    try:
        sample = b" ".join(words).decode("cp1252")
    except UnicodeDecodeError:
        raise refusal from error
    if foreign > len(words) / 10 or not all(letter.isprintable() for letter in sample):
        raise refusal from error
    shown = next((word for word in sample.split() if len(word) > 1), sample[:1])
    return "cp1252", f"the text is not in UTF-8 and was read as Windows-1252 (Latin-1), such as {shown!r}"


def _lines(head: bytes, encoding: str, whole: bool) -> list[str]:
    """The lines of the head, without the last one where it may be cut."""
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)(errors="replace")
    lines = re.split(r"\r\n|\n|\r", decoder.decode(head))
    return lines if whole or len(lines) == 1 else lines[:-1]


def _stated(lines: list[str]) -> tuple[int, str]:
    """Excel's first line "sep=;": the lines down to it, and the mark that it states."""
    row = next(row for row, line in enumerate(lines) if line.strip())
    match = re.fullmatch(r'"?sep=(.|\\t)"?[,;\t]*', lines[row].strip("\r\n "), re.IGNORECASE)
    return (row + 1, match[1].replace("\\t", "\t")) if match else (0, "")


def _separator(lines: list[str]) -> tuple[int, str]:
    """Lines above the names, and the mark between the columns."""
    table = [(row, line) for row, line in enumerate(lines) if line.strip()][:LINES]
    first = table[0][1]
    common = max(SEPARATORS, key=first.count)
    if common in first and _agreeing(table, common, len(fields(first, common)))[1] >= AGREE:
        return 0, common
    for mark in [*SEPARATORS, *RARE, r"\s+", r"\s{2,}"]:
        widths = Counter(len(fields(line, mark)) for _, line in table)
        usual = max(widths, key=lambda width: (widths[width] * (width > 1), width))
        names = next((row for row, line in table if len(fields(line, mark)) == usual), 0)
        below, share = _agreeing([(row, line) for row, line in table if row >= names], mark, usual)
        named = any(not VALUE.match(cell) for cell in fields(lines[names], mark))
        if usual > 1 and below > 1 and share >= AGREE and named and _is_table(lines, names, mark, table):
            return names if names != table[0][0] else 0, mark
    return 0, common if common in first else ","


def _agreeing(table: list[tuple[int, str]], mark: str, width: int) -> tuple[int, float]:
    """How many lines there are, and the share that has `width` fields, or one more and empty."""
    cells = [fields(line, mark) for _, line in table]
    good = sum(len(row) == width or (len(row) == width + 1) for row in cells)
    return len(cells), good / len(cells)


def _is_table(lines: list[str], names: int, mark: str, table: list[tuple[int, str]]) -> bool:
    """Whether what a rare mark makes is a table: sentences have spaces and times have colons too."""
    if mark in SEPARATORS:
        return True
    row = next((line for number, line in table if number > names), "")
    return names == table[0][0] and any(VALUE.match(cell) and cell.strip() for cell in fields(row, mark))


def _decimal(table: list[str], separator: str, told: list[tuple[str, str]]) -> str:
    """The mark of decimals: a comma where cells such as 1,5 are seen and nothing shows that it parts thousands."""
    rows = [[cell.strip().strip('"') for cell in _split(line, separator)] for line in table[1:]]
    if separator == ",":
        wide = len(fields(table[0], ",")) > 1
        if wide or not rows or not all(re.fullmatch(r"-?\d+,\d+", ",".join(row)) for row in rows):
            return "."
        told.append(("decimal comma", f"commas in numbers are decimal commas, as in {','.join(rows[0])!r}"))
        return ","
    cells = [cell for row in rows for cell in row if "," in cell]
    commas = [cell for cell in cells if re.fullmatch(r"-?\d*,\d+", cell)]
    thousands = [cell for cell in cells if re.fullmatch(r"-?\d{1,3}((,\d{3}){2,}(\.\d+)?|(,\d{3})+\.\d+)", cell)]
    if not commas or thousands:
        german = any(re.fullmatch(r"\D{0,4}\d{1,3}(\.\d{3})*,\d+\D{0,4}", cell) for cell in cells)
        return "," if german and not thousands else "."
    if all(re.fullmatch(r"-?[1-9]\d{0,2},\d{3}", cell) for cell in commas):
        text = f"{commas[0]!r} may be {commas[0].replace(',', '.')} or {commas[0].replace(',', '')}, and commas were "
        told.append(("ambiguous numbers", text + "read as decimal commas; write numbers without thousands separators"))
    else:
        told.append(("decimal comma", f"commas in numbers are decimal commas, as in {commas[0]!r}"))
    return ","


def _grouped(rows: list[list[str]], told: list[tuple[str, str]]) -> list[str]:
    """Columns in which 1.500 stands beside 900 and nothing beside 1.5: points part thousands, as in much of Europe."""
    found = []
    for position, name in enumerate(rows[0]):
        cells = [row[position].strip() for row in rows[1:] if len(row) > position]
        points = [cell for cell in cells if "." in cell]
        if not points or not all(re.fullmatch(r"-?[1-9]\d{0,2}(\.\d{3})+", cell) for cell in points):
            continue
        whole = [cell for cell in cells if re.fullmatch(r"-?\d{1,3}", cell)]
        if whole and len(whole) + len(points) == sum(bool(cell) for cell in cells):
            found.append(name)
        elif not whole:
            text = f"column {name!r}: {points[0]!r} may be {points[0].replace('.', '')}"
            told.append(("ambiguous numbers", f"{text}, and points were read as decimal points"))
    return found


def _split(line: str, separator: str) -> list[str]:
    return fields(line, separator) if separator != "," else line.split(",")


def _rows_are_longer(file: Path, rows: list[list[str]], told: list[tuple[str, str]]) -> bool:
    """Whether rows have a field more than the names, and it is empty; a decimal comma that parts columns is refused."""
    names, below = rows[0], rows[1:]
    if len(names) < 2 or not below or not all(len(row) == len(names) + 1 for row in below):
        return False
    if all(not row[-1].strip() for row in below):
        return True
    if names[0].strip() and all(STAMP.match(row[0]) for row in below) and not any(STAMP.match(row[1]) for row in below):
        raise DataError(
            f"{str(file)!r} has {len(names)} names and {len(below[0])} fields a row ({','.join(below[0][:6])}); if "
            "decimal commas part them, quote the numbers or part the columns with ';', else name every column"
        )
    return False


def _missing_words(rows: list[list[str]]) -> dict[str, str]:
    """Column -> a word in it that pandas takes for a missing number."""
    found: dict[str, str] = {}
    for row in rows[1:]:
        for name, cell in zip(rows[0], row, strict=False):
            if cell.strip() and cell.strip().lower() in MISSING_WORDS:
                found.setdefault(name.strip(), cell.strip())
    return found


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + (" was" if number == 1 else "s were")
