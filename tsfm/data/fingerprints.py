"""Fingerprints of series: hashes of windows, by which a copy is found again without the data it was copied from.

A window is 64 observed values in a row (missing ones are left out first), z-scored and rounded to 1e-3, so a rescaled,
shifted or cropped copy has the same windows. Training data are hashed every 16th window, a series to be checked at
every offset; so a copy of 79 points or more meets at least one. Values go through float32, the type that data sets are
stored in, before anything else: else a copy with more digits would differ in the last ones.

Windows that unrelated series share tell nothing and are left out (`telling`): constants, straight lines, parabolas,
steps, a few spikes, few distinct values, exact short cycles. A series all of whose windows are such cannot be checked.

What is not found: copies averaged to another frequency, differenced, on a logarithmic scale, with other noise or
revised values, upside down or backwards; a stretch under 64 observed values; windows in which gaps were filled; copies
that lost digits, since z-scores must agree to 1e-3: rounded to a thousandth of their deviation or coarser (to one
decimal where it is 1), or lifted so far above it that float32 has too few digits left (to 1e3 where it is 1e-3).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tsfm.errors import DataError

# B windows of a chunk, W = 64 points of a window, n windows in all.

WINDOW, STRIDE = 64, 16
CHUNK = 2048  # windows at a time: a megabyte, which stays in the processor's cache
ROUNDED = 1000  # a standard deviation in units of the rounding
LEAST_DISTINCT, LEAST_SURPRISES, LONGEST_CYCLE = 8, 16, 32
FILE_BYTES = 2_000_000
FEWEST_BITS, MOST_BITS = 36, 60
FORMAT = 1

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]
Rows = NDArray[np.int16]


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of the telling windows of many series.

    hashes    (n,) sorted, each once: the top `bits` bits of 64
    sets      names of the data sets that the series are of
    withheld  places of the hashes that a model did not see which left out what stands in evaluation sets too
    """

    hashes: Hashes
    bits: int
    sets: tuple[str, ...] = ()
    withheld: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def chance(self) -> float:
        """Chance that a window of an unrelated series is taken for one of these."""
        return len(self) / 2.0**self.bits

    @property
    def seen(self) -> "Fingerprints":
        """What is left of them without those withheld."""
        return Fingerprints(np.delete(self.hashes, list(self.withheld)), self.bits, self.sets)

    def withholding_all_but(self, rest: "Fingerprints") -> "Fingerprints":
        """The same, those marked as withheld that are not among the rest, which keeps as many bits."""
        places = np.flatnonzero(~np.isin(self.hashes, rest.hashes))
        return Fingerprints(self.hashes, self.bits, self.sets, tuple(places.tolist()))

    def hold(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which of these 64-bit hashes are among them."""
        if not len(self):
            return np.zeros(len(hashes), dtype=np.bool_)
        wanted = hashes >> np.uint64(64 - self.bits)
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self) - 1)
        return np.asarray(self.hashes[place] == wanted, dtype=np.bool_)


def gather(sets: Mapping[str, Iterable[NDArray[np.float64]]], bits: int | None = None) -> Fingerprints:
    """Fingerprints of the telling windows of sets of series, every 16th.

    bits   of a hash to keep; None for as many as a file of 2 MB has room for
    """
    found = [np.zeros(0, dtype=np.uint64)]
    for name in sorted(sets):
        for series in sets[name]:
            found += [hash_rows(rows[telling(rows)]) for _, rows in windows_of(series, STRIDE)]
    hashes = np.unique(np.concatenate(found))
    bits = bits or bits_for(len(hashes))
    return Fingerprints(np.unique(hashes >> np.uint64(64 - bits)), bits, tuple(sorted(sets)))


def windows_of(series: NDArray[np.float64], stride: int = 1) -> Iterator[tuple[Offsets, Rows]]:
    """The windows of a series in chunks: offsets among its observed values, and rounded z-scores; constants skipped."""
    observed = as_stored(series)
    if len(observed) < WINDOW:
        return
    windows = sliding_window_view(observed, WINDOW)[::stride]
    for first in range(0, len(windows), CHUNK):
        rows, varied = rounded(windows[first : first + CHUNK])
        yield (first + np.flatnonzero(varied)) * stride, rows


def as_stored(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """The observed values as float32 holds them, in float64; those beyond its range count as missing."""
    with np.errstate(over="ignore"):
        stored = np.asarray(series, dtype=np.float64).astype(np.float32)
    return stored[np.isfinite(stored)].astype(np.float64)


def rounded(windows: NDArray[np.float64]) -> tuple[Rows, NDArray[np.bool_]]:
    """Z-scores of the windows in thousandths, (B', W) without the constant ones, and which of (B, W) are not constant.

    The largest z-score of 64 values is the root of 63, so thousandths fit 16 bits.
    """
    varied = windows.min(1) < windows.max(1)
    centred = windows[varied]
    centred = centred - centred.mean(1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(1, keepdims=True))
    return np.rint(centred * (ROUNDED / scale)).astype("<i2"), varied


def telling(rows: Rows) -> NDArray[np.bool_]:
    """Which windows are unlikely to stand in two unrelated series, (B,).

    At least 8 distinct values; at least 16 steps that the parabola through the three before them does not foretell
    to within the rounding (a line has none of them, a spike 4, a step 3, a bend 2); no cycle of up to 32 steps that
    repeats exactly.
    """
    surprises = (np.abs(np.diff(rows.astype(np.int32), 3, axis=1)) > 4).sum(1)  # rounding alone makes 4
    distinct = 1 + (np.diff(np.sort(rows, axis=1), axis=1) != 0).sum(1)
    good = (surprises >= LEAST_SURPRISES) & (distinct >= LEAST_DISTINCT)
    for period in range(LEAST_DISTINCT, LONGEST_CYCLE + 1):  # a shorter cycle has fewer distinct values
        good[good] = ~(rows[good, period:] == rows[good, :-period]).all(1)
    return np.asarray(good, dtype=np.bool_)


def mixed(words: Hashes) -> Hashes:
    """Every bit of a 64-bit word spread over all the others, reversibly."""
    for _ in range(2):
        words = (words ^ (words >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return words


MULTIPLIERS: Hashes = mixed(np.arange(1, WINDOW // 4 + 1, dtype=np.uint64)) | np.uint64(1)


def hash_rows(rows: Rows) -> Hashes:
    """A 64-bit hash of each row of 64 thousandths, in whole numbers only, so that every machine finds the same."""
    words = np.ascontiguousarray(rows, dtype="<i2").view("<u8").astype(np.uint64)  # (B, W / 4)
    summed = (mixed(words) * MULTIPLIERS).sum(1, dtype=np.uint64)
    return mixed(summed)


def bits_for(size: int) -> int:
    """The most bits a hash may have for so many of them to fit a file of 2 MB, between 36 and 60."""
    fits = [bits for bits in range(FEWEST_BITS, MOST_BITS + 1) if bytes_of(size, bits) <= FILE_BYTES]
    return max(fits, default=FEWEST_BITS)


def bytes_of(size: int, bits: int) -> int:
    """Size of the file's tensors, and 4 KB for its head."""
    return 4096 + (size + (1 << high_bits(size)) + 7) // 8 + (size * (bits - high_bits(size)) + 7) // 8


def high_bits(size: int) -> int:
    """How many of the leading bits of `size` hashes are written in unary: so many that each value occurs about once."""
    return size.bit_length() - 1 if size else 0


def write(fingerprints: Fingerprints, path: Path) -> Path:
    """Write a safetensors file that `read` takes; the same fingerprints give the same bytes.

    Sorted numbers take two bits more than the logarithm of how far they lie apart (Elias 1974, Fano 1971): the low bits
    stand as they are, the high ones in unary, a mark for each number after as many blanks as its high bits count.
    """
    hashes, bits = fingerprints.hashes, fingerprints.bits
    low = bits - high_bits(len(hashes))
    marks = np.zeros(len(hashes) + (1 << high_bits(len(hashes))), dtype=np.uint8)
    marks[(hashes >> np.uint64(low)).astype(np.int64) + np.arange(len(hashes))] = 1
    lows = (hashes[:, None] >> np.arange(low, dtype=np.uint64)).astype(np.uint8) & 1
    head: dict[str, Any] = {"format": FORMAT, "window": WINDOW, "stride": STRIDE, "bits": bits, "windows": len(hashes)}
    tensors = {"high": np.packbits(marks), "low": np.packbits(lows)}
    head |= {"withheld": fingerprints.withheld} if fingerprints.withheld else {}
    save_file(tensors, path, {"fingerprints": json.dumps({**head, "sets": fingerprints.sets})})
    path.chmod(0o644)  # safetensors lets only its owner read
    return path


def read(path: Path) -> Fingerprints:
    """Fingerprints from a file that `write` made."""
    try:
        with safe_open(path, "np") as file:
            head = json.loads((file.metadata() or {}).get("fingerprints", "{}"))
            if head.get("format") != FORMAT:
                raise DataError(f"{path} has fingerprints of format {head.get('format')!r}, not {FORMAT}; upgrade tsfm")
            high, low = file.get_tensor("high"), file.get_tensor("low")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} holds no fingerprints ({error}); copy the model again") from None
    size, width = head["windows"], head["bits"] - high_bits(head["windows"])
    top = np.flatnonzero(np.unpackbits(high))[:size] - np.arange(size)
    hashes = top.astype(np.uint64) << np.uint64(width)
    lows = np.unpackbits(low, count=size * width).reshape(size, width)
    for place in range(width):
        hashes |= lows[:, place].astype(np.uint64) << np.uint64(place)
    return Fingerprints(hashes, head["bits"], tuple(head["sets"]), tuple(head.get("withheld", ())))
