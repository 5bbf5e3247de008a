"""One corpus for all runs of a study: windows made once, a pure function of a seed, which trainers draw from.

A shard is a .npy file of windows, float32 and standardised, NaN where nothing was observed: the mixture of
`TrainingWindows` with one context length, but every synthetic series is used once, so that as many points are unique
as there seem to be. Real windows are random crops and overlap one another. All runs read the shards in the same order,
a smaller pool is a prefix of them, and what a kill leaves undone is made by the next call.

A twentieth of the real series, chosen by a hash of their names, never trains: windows of those in which no stretch of
a training series is found again (tsfm/leaks.py), mixed with synthetic ones of another seed, are what the loss in
distribution is measured on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.data.datasets import read_parquet
from tsfm.data.fingerprints import gather
from tsfm.data.synthetic import EXTRAS, FAMILIES, sample
from tsfm.data.windows import RealSeries, TrainingWindows, WindowConfig, gather_real, standardise_rows
from tsfm.errors import DataError
from tsfm.leaks import look
from tsfm.training.checkpoint import write_text
from tsfm.training.runs import withheld

# B windows, L = C + P steps of a window: context and the patch after it, N patches of context, W windows of a shard.

HELD_OUT = 20  # one real series in so many
EXAM_SHARD = 1_000_000  # number of the shard that no run trains on
SHORTEST = 24

Floats = NDArray[np.float32]
Sets = Mapping[str, Sequence[NDArray[np.float64]]]


@dataclass(frozen=True)
class CorpusConfig:
    """What a corpus is made of.

    windows     in all
    shard       windows of a file
    exam        windows that the loss in distribution is measured on
    real_share  of windows that are cut from real series, where there are any
    """

    windows: int
    context: int = 1024
    patch: int = 32
    shard: int = 8192
    exam: int = 2048
    real_share: float = 0.4
    seed: int = 11


@dataclass
class UniqueWindows(TrainingWindows):
    """Training windows whose synthetic rows are all different, and which remember where every row came from.

    set_of   (n,) number of the set of every real series
    origins  of the last step's rows (B,): a place among the families, then among the real sets
    """

    set_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    origins: list[NDArray[np.int64]] = field(default_factory=list, repr=False)

    def synthetic(self, step: int, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As many new synthetic series, (count, length) each."""
        made = sample(count, length, self.seed * 7919 + step)
        self.origins = [made.family.numpy()]
        return standardise_rows(made.values, made.observed), made.observed

    def cut_real(self, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crops of real series, whose first draw is made twice to know the set."""
        assert self.real is not None
        twin = torch.Generator()
        twin.set_state(generator.get_state())
        series = np.searchsorted(self.real.share, torch.rand(count, 5, generator=twin).double().numpy()[:, 0])
        self.origins.append(len(families()) + self.set_of[series])
        return super().cut_real(count, length, generator)


def families() -> list[str]:
    """Names of the synthetic families in the order of `Samples.family`."""
    return list(FAMILIES | EXTRAS)


def training_and_held(folder: Path) -> tuple[Sets, Sets]:
    """Series of a folder of parquet files by set: those to train on, and those held out and found in none of them.

    Series that stand in an evaluation set too are in neither.
    """
    train: dict[str, list[NDArray[np.float64]]] = {}
    held: dict[str, list[NDArray[np.float64]]] = {}
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DataError(f"no parquet file in {str(folder)!r}; name the folder of the pretraining sets")
    for path in files:
        left_out = withheld(path)
        for series in read_parquet(path):
            values = series.values
            finite = values[np.isfinite(values)]
            teaches = len(finite) >= SHORTEST and finite.std() > 0 and not np.isinf(values).any()
            if series.series_id in left_out or not teaches:
                continue
            digest = hashlib.sha256(f"{path.stem}/{series.series_id}".encode()).digest()
            part = held if digest[0] * 256 + digest[1] < 65536 // HELD_OUT else train
            part.setdefault(path.stem, []).append(values)
    known = gather(train)
    apart = {name: [one for one in series if look(name, one, known).verdict == "no"] for name, series in held.items()}
    return train, {name: series for name, series in apart.items() if series}


def make_corpus(
    folder: Path, config: CorpusConfig, real: Path | None = None, report: Callable[[str], None] = print
) -> "Corpus":
    """Write what is missing of a corpus into `folder`, and open it.

    real   folder of parquet files, those that the corpus was begun with; None: synthetic windows alone
    """
    folder.mkdir(parents=True, exist_ok=True)
    told, wanted = folder / "corpus.json", {**asdict(config), "real": real is not None}
    if told.exists() and {key: json.loads(told.read_text()).get(key) for key in wanted} != wanted:
        raise DataError(f"{folder} holds another corpus; give this one another name, or delete the folder")
    if real:
        hold_against(folder / "real.json", real)
    shards = -(-config.windows // config.shard)
    missing = [number for number in range(shards) if not shard_path(folder, number).exists()]
    if not missing and (folder / "exam.npy").exists():
        return open_corpus(folder)
    train, held = training_and_held(real) if real else ({}, {})
    sets = sorted({*train, *held})
    points = {name: int(sum(map(len, train.get(name, ())))) for name in sets}
    write_text(told, json.dumps({**wanted, "origins": [*families(), *sets], "real_points": points}, indent=1) + "\n")
    if not (folder / "exam.npy").exists():
        values, origin = shard_of(source_of(config, held, sets, config.exam), EXAM_SHARD)
        save(folder / "exam-origin.npy", origin)
        save(folder / "exam.npy", values)
    source = source_of(config, train, sets, config.shard)
    for number in missing:
        values, origin = shard_of(source, number)
        path = shard_path(folder, number)
        save(path.with_name(f"{path.stem}-origin.npy"), origin)
        save(path, values)
        report(f"shard {number + 1} of {shards}")
    return open_corpus(folder)


def hold_against(noted: Path, real: Path) -> None:
    """Raise `DataError` where a folder's real sets are not those noted for a corpus; note them where nothing is.

    A set's hash is of its file and of what its card withholds.
    """
    found = {}
    for path in sorted(real.glob("*.parquet")):
        found[path.stem] = hashlib.sha256(path.read_bytes() + json.dumps(sorted(withheld(path))).encode()).hexdigest()
    if found and not noted.exists():
        write_text(noted, json.dumps(found, indent=1) + "\n")
    kept: dict[str, str] = json.loads(noted.read_text()) if found else {}  # nothing found: said where it is needed
    if changed := sorted(name for name in {*kept, *found} if kept.get(name) != found.get(name)):
        raise DataError(
            f"{noted.parent} was made of other real sets than those in {str(real)!r}, which differ in "
            f"{', '.join(changed[:5])}; give the old files back, or delete the corpus to make another"
        )


def shard_path(folder: Path, number: int) -> Path:
    """File of a shard."""
    return folder / f"train-{number:05d}.npy"


def source_of(config: CorpusConfig, sets: Sets, order: Sequence[str], count: int) -> UniqueWindows:
    """Windows of these real sets, `count` at a time; `order` numbers their names."""
    tokens = count * config.context // config.patch
    shape = WindowConfig(config.patch, (config.context,), (1.0,), tokens, config.real_share)
    real: RealSeries | None = gather_real(list(sets.values())) if sets else None
    number = [order.index(name) for name in sets for _ in sets[name]]
    return UniqueWindows(shape, real, config.seed, set_of=np.array(number, dtype=np.int64))


def shard_of(source: UniqueWindows, number: int) -> tuple[Floats, NDArray[np.int16]]:
    """Values (W, L), NaN where not observed, and origin (W,) of the windows of a shard, in random order."""
    values, observed = source.draw(number)
    rows = np.where(observed, values, np.nan).reshape(len(values), -1).astype(np.float32)
    mixed = np.random.default_rng((source.seed, number)).permutation(len(rows))
    return rows[mixed], np.concatenate(source.origins)[mixed].astype(np.int16)


def save(path: Path, array: NDArray[Any] | Mapping[str, NDArray[Any]]) -> None:
    """Write a .npy file, or a .npz file of several arrays, that is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        if isinstance(array, np.ndarray):
            np.save(file, array)
        else:
            np.savez(file, allow_pickle=False, **array)
    partial.replace(path)


def cache_folder(study: str) -> Path:
    """Where the corpus and the states of a study lie: $TSFM_CACHE/scaling/<study>, or ~/.cache/tsfm/scaling/<study>."""
    root = os.environ.get("TSFM_CACHE", "").strip() or "~/.cache/tsfm"
    return Path(root).expanduser() / "scaling" / study


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    origins   names of the families and real sets
    exam      (n, L) windows of held-out series and other seeds, NaN where missing
    """

    folder: Path
    config: CorpusConfig
    origins: tuple[str, ...]
    exam: Floats
    shards: tuple[Floats, ...]

    def rows(self, wanted: NDArray[np.int64]) -> Floats:
        """Windows by number, (B, L)."""
        size = self.config.shard
        return np.stack([self.shards[one // size][one % size] for one in wanted.tolist()])

    @cached_property
    def origin(self) -> NDArray[np.int16]:
        """Where each window comes from: a place in `origins`, (n,)."""
        files = [shard_path(self.folder, number) for number in range(len(self.shards))]
        parts = [np.load(path.with_name(f"{path.stem}-origin.npy")) for path in files]
        return np.concatenate(parts)[: self.config.windows]

    @property
    def is_real(self) -> NDArray[np.bool_]:
        """Which windows come from real series, (n,)."""
        return np.asarray(self.origin >= len(families()))

    @property
    def exam_is_real(self) -> NDArray[np.bool_]:
        """The same of the exam."""
        return np.asarray(np.load(self.folder / "exam-origin.npy") >= len(families()))


def open_corpus(folder: Path, command: str = "python evaluation/scaling_study.py corpus") -> Corpus:
    """A finished corpus, its shards mapped into memory; errors name the command that makes it."""
    told = folder / "corpus.json"
    if not told.exists():
        raise DataError(f"{folder} holds no corpus; make it with: {command}")
    kept = json.loads(told.read_text())
    config = CorpusConfig(**{one.name: kept[one.name] for one in fields(CorpusConfig)})
    paths = [shard_path(folder, number) for number in range(-(-config.windows // config.shard))]
    if lacking := sum(not path.exists() for path in paths):
        raise DataError(f"{folder} lacks {lacking} of {len(paths)} shards; make the others with: {command}")
    shards = tuple(np.load(path, mmap_mode="r") for path in paths)
    return Corpus(folder, config, tuple(kept["origins"]), np.load(folder / "exam.npy"), shards)


@dataclass
class CorpusWindows:
    """The steps of a run: `kept` windows in order, then again in an order of the epoch's own.

    kept      (U,) numbers of windows
    batch     windows of a step
    shuffled  whether the first epoch has an order of its own too
    """

    corpus: Corpus
    kept: NDArray[np.int64]
    batch: int
    seed: int = 0
    shuffled: bool = False
    _order: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Values and observed mask of one step, (B, N + 1, P): the last patch is only a target."""
        places = step * self.batch + np.arange(self.batch)
        epochs = places // len(self.kept)
        wanted = np.concatenate(
            [self.order(int(epoch))[places[epochs == epoch] % len(self.kept)] for epoch in np.unique(epochs)]
        )
        values = torch.from_numpy(self.corpus.rows(wanted)).unflatten(1, (-1, self.corpus.config.patch))
        observed = ~values.isnan()
        return torch.where(observed, values, 0.0), observed

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The kept windows in the order of an epoch; only the newest two orders are remembered."""
        if epoch not in self._order:
            random = np.random.default_rng((self.seed, epoch))
            self._order[epoch] = self.kept if epoch == 0 and not self.shuffled else random.permutation(self.kept)
            for old in [one for one in self._order if one < epoch - 1]:
                del self._order[old]
        return self._order[epoch]
