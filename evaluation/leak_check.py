"""Look for evaluation series in the training data, and write the fingerprints that released models carry.

    python evaluation/leak_check.py                        every evaluation set against every pretraining set, and
                                                           against what each embedded model carries: leak_check.csv
    python evaluation/leak_check.py --plant                how many planted copies are found: leak_check_planted.csv
    python evaluation/leak_check.py --write-fingerprints   the file in tsfm/pretrained, and its entry in the
                                                           config.json of each embedded model trained on these sets

Needs $TSFM_DATA with eval/*.parquet and pretrain/*.parquet. Exit code 1 where a series was seen. How series are
compared: tsfm/data/fingerprints.py; when one counts as seen, and what is never found: tsfm/leaks.py.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tsfm.checkpoints import CONFIG, embedded, read_card
from tsfm.cli.files import write_atomically
from tsfm.data.datasets import Series, data_folder, read_parquet, sha256
from tsfm.data.fingerprints import STRIDE, WINDOW, Fingerprints, as_stored, gather, hash_rows, telling, windows_of
from tsfm.errors import DataError, TsfmError
from tsfm.evaluation.results import origin, write_csv
from tsfm.leaks import LeakReport, Seen, carry_both, fingerprints_of, look, windows_needed
from tsfm.loading import load
from tsfm.training.runs import real_files, series_of

RESULTS = Path(__file__).resolve().parent / "results"
RAW = "pretraining sets"
COPIES = 20  # planted of each set and kind

Sets = dict[str, list[Series]]


def sets_folder(split: str) -> Path:
    """The folder of a split of $TSFM_DATA, which must have sets."""
    root = data_folder()
    if root is None or not any((root / split).glob("*.parquet")):
        raise DataError(f"no sets to compare: set TSFM_DATA to the folder that has {split}/*.parquet")
    return root / split


def sets_in(split: str) -> tuple[Sets, dict[str, str]]:
    """Series and hash of every parquet set of a split of $TSFM_DATA."""
    paths = sorted(sets_folder(split).glob("*.parquet"))
    return {path.stem: read_parquet(path) for path in paths}, {path.stem: sha256(path) for path in paths}


def values_of(sets: Sets) -> dict[str, list[NDArray[np.float64]]]:
    return {name: [one.values for one in series] for name, series in sets.items()}


def known_sides(training: Sets) -> Iterator[tuple[str, str, Fingerprints]]:
    """What evaluation sets are held against: the sets in whole hashes, then each embedded model's own file."""
    yield RAW, "", gather(values_of(training), bits=64)
    for name in embedded():
        model = load(name)
        known, reason = fingerprints_of(model)
        if known is None:
            print(f"{name} is left out: {reason}", file=sys.stderr)
        else:
            yield name, str(model.card["fingerprints"]["sha256"]), known


def record(name: str, series: Sequence[Series], known: Fingerprints) -> tuple[dict[str, Any], LeakReport]:
    """What a row says of one set, and the report behind it."""
    began = time.perf_counter()
    report = LeakReport(name, known.sets, [look(one.series_id, one.values, known) for one in series])
    windows = [one.windows for one in report.series]
    short = sum(len(as_stored(one.values)) < WINDOW for one in series)
    row = {
        "dataset": name,
        "series": len(series),
        "checked": len(report.checked),
        "too_short": short,
        "too_simple": len(series) - short - len(report.checked),
        "windows": sum(windows),
        "windows_found": sum(one.found for one in report.series),
        "seen": len(report.seen),
        "seen_by_chance": sum(by_chance(count, known.chance) for count in windows if count),
        "seconds": time.perf_counter() - began,
    }
    return row, report


def by_chance(windows: int, chance: float) -> float:
    """Chance that an unrelated series of so many windows counts as seen."""
    expected = windows * chance
    needed = windows_needed(windows, chance)
    return float(-np.expm1(-expected)) if needed == 1 else expected**needed / float(np.prod(np.arange(1, needed + 1)))


def partners(seen: Sequence[Series], training: Sets) -> dict[str, list[str]]:
    """The training series whose windows each of the series found shares."""
    owners: dict[int, set[str]] = {}
    for one in seen:
        for _, rows in windows_of(one.values):
            for value in hash_rows(rows).tolist():
                owners.setdefault(value, set()).add(one.series_id)
    found: dict[str, list[str]] = {one.series_id: [] for one in seen}
    for name, series in training.items() if seen else ():
        for one in series:
            for _, rows in windows_of(one.values, STRIDE):
                shared = set(hash_rows(rows[telling(rows)]).tolist()) & owners.keys()
                for series_id in {series_id for value in shared for series_id in owners[value]}:
                    found[series_id].append(f"{name}: {one.series_id}")
    return {series_id: list(dict.fromkeys(names)) for series_id, names in found.items()}


def overlap(one: Seen, named: Mapping[str, list[str]]) -> str:
    """Say where a series was found."""
    windows = "1 window" if one.found == 1 else f"{one.found:,} windows"
    places = ", ".join(named[str(one.series_id)]) or "no set at hand"
    return f"{one.series_id} ({windows}, {one.share:.0%} of its points) in {places}"


def check(console: Console, out: Path) -> int:
    """Write leak_check.csv; return how many series were seen."""
    training, _ = sets_in("pretrain")
    evaluation, hashes = sets_in("eval")
    rows, seen = [], 0
    for against, digest, known in known_sides(training):
        reports = {name: record(name, series, known) for name, series in evaluation.items()}
        ids = {one for _, report in reports.values() for one in report.seen}
        named = partners([one for group in evaluation.values() for one in group if one.series_id in ids], training)
        for name, (row, report) in reports.items():
            overlaps = [overlap(one, named) for one in report.series if one.verdict == "yes"]
            for text in overlaps:
                console.print(f"{against}: {text}", soft_wrap=True)
            facts = {"against": against, "fingerprints_sha256": digest, "window_chance": known.chance}
            rows.append({**facts, **row, "overlaps": "; ".join(overlaps), "data_sha256": hashes[name]})
            seen += row["seen"]
        own = [row for row in rows if row["against"] == against]
        total = {key: sum(row[key] for row in own) for key in ("series", "checked", "seen", "windows", "seconds")}
        console.print(
            f"{against}: {total['seen']} of {total['checked']:,} series seen ({total['series']:,} in all), "
            f"{total['windows']:,} windows in {total['seconds']:.0f} s; by chance "
            f"{sum(row['seen_by_chance'] for row in own):.2g}",
            soft_wrap=True,
        )
    made_by = origin()
    write_csv(out / "leak_check.csv", [{**row, **made_by} for row in rows])
    return seen


def rescaled(values: NDArray[np.float64], random: np.random.Generator, level: float) -> NDArray[np.float64]:
    """`a x + b` in float32 with a scale between 1e-3 and 1e3, and a level of so many deviations."""
    scale = 10 ** random.uniform(-3, 3)
    shift = level * scale * values.std() - scale * values.mean()
    stored: NDArray[np.float32] = (scale * values + shift).astype(np.float32)
    return stored.astype(np.float64)


def crop(values: NDArray[np.float64], random: np.random.Generator, length: int) -> NDArray[np.float64]:
    first = random.integers(max(1, len(values) - length + 1))
    return values[first : first + length]


def holes(values: NDArray[np.float64], random: np.random.Generator, share: float) -> NDArray[np.float64]:
    return np.where(random.random(len(values)) < share, np.nan, values)


def coarser(values: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    return values[: len(values) // step * step].reshape(-1, step).mean(1)


Alter = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]
ALTERED: Mapping[str, Alter] = {
    "as it is": lambda values, random: values,
    "a stretch of 80": lambda values, random: crop(values, random, 80),
    "rescaled, level 3 deviations": lambda values, random: rescaled(values, random, 3),
    "rescaled, level 3 deviations, a stretch of 80": lambda values, random: rescaled(
        crop(values, random, 80), random, 3
    ),
    "rescaled, level 3 deviations, a stretch of 200": lambda values, random: rescaled(
        crop(values, random, 200), random, 3
    ),
    "rescaled, level 3 deviations, a stretch of 1,000": lambda values, random: rescaled(
        crop(values, random, 1000), random, 3
    ),
    "rescaled, level 100 deviations": lambda values, random: rescaled(values, random, 100),
    "rescaled, level 1,000 deviations": lambda values, random: rescaled(values, random, 1000),
    "1 % of the values missing": lambda values, random: holes(values, random, 0.01),
    "5 % of the values missing": lambda values, random: holes(values, random, 0.05),
    "mean of 4 steps": lambda values, random: coarser(values, 4),
    "upside down": lambda values, random: -values,
    "noise of 1 % of a deviation": lambda values, random: (
        values + 0.01 * values.std() * random.normal(size=len(values))
    ),
}


def plant(console: Console, out: Path) -> None:
    """Write leak_check_planted.csv: copies of training series, altered, and how many are found."""
    training, _ = sets_in("pretrain")
    known = gather(values_of(training))
    originals = []
    for number, series in enumerate(training.values()):
        random = np.random.default_rng(number)
        able = [one for one in series if look(one.series_id, one.values, known).verdict != "unknown"]
        originals += [as_stored(able[place].values) for place in random.permutation(len(able))[:COPIES]]
    rows = []
    for number, (kind, alter) in enumerate(ALTERED.items()):
        random = np.random.default_rng(1000 + number)
        seen = [look(0, alter(values, random), known) for values in originals]
        able = [one for one in seen if one.verdict != "unknown"]
        share = sum(one.verdict == "yes" for one in able) / len(able)
        covered = float(np.mean([one.share for one in able]))
        rows.append(
            {"copy": kind, "copies": len(seen), "checked": len(able), "found": share, "points_covered": covered}
        )
        text = f"{kind:52} {len(able):4} copies, {share:7.2%} found, {covered:6.1%} of their points"
        console.print(text, soft_wrap=True)
    made_by = origin()
    facts = {"sets": len(training), "window": WINDOW, "window_chance": known.chance}
    write_csv(out / "leak_check_planted.csv", [{**row, **facts, **made_by} for row in rows])


def write_fingerprints(console: Console) -> None:
    """Write the file that the embedded models share, and name it in each that was trained on these sets."""
    paths = real_files((str(sets_folder("pretrain")),))
    sets, rest = ({path.stem: series_of(path, withheld) for path in paths} for withheld in (False, True))
    path, *entries = carry_both(sets, rest, next(iter(embedded().values())).parent)
    console.print(f"{path.name}: {path.stat().st_size:,} bytes, {entries[0]['windows']:,} windows")
    for name, home in embedded().items():
        card = read_card(home)
        training = card.get("training", {})
        same = {one["name"] for one in training.get("sets", [])} == set(sets)
        if same:
            text = json.dumps({**card, "fingerprints": entries[bool(training.get("withheld"))]}, indent=2) + "\n"
            write_atomically(home / CONFIG, partial(Path.write_text, data=text))
        console.print(f"{name}: {'named' if same else 'trained on other sets, left as it is'}")


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plant", action="store_true", help="measure how many altered copies are found")
    parser.add_argument("--write-fingerprints", action="store_true", help="write the file that embedded models share")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, console = parser.parse_args(), Console()
    try:
        if options.write_fingerprints:
            write_fingerprints(console)
        elif options.plant:
            plant(console, options.out)
        else:
            return int(check(console, options.out) > 0)
    except TsfmError as error:
        console.print(f"[red]{error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
