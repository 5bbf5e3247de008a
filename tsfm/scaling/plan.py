"""A sweep as data: a TOML file of sizes and groups of runs, and what each run is made of and costs.

A group is a purpose and entries; an entry whose values are lists stands for every combination of them.

    [[group]]
    name = "pools"
    purpose = "what is lost where the same points come again"
    runs = [{ size = ["w32", "w64"], pool = [1_000_000, 4_000_000], up_to = 64_000_000 }]

What an entry does not say is taken from its group (`rate = 4` beside `purpose`), then from its size (`rate` beside
`width`), then from the defaults of `Plan`. A run's name carries what differs from those, so runs of another rate are
other runs: rows and states of the old ones stay where they are.

Widths follow one rule, so that a size is width, depth and heads alone: a dense feed-forward layer is twice as wide as
the model. A sparse one has half of that in its shared expert (as the flagship, after Dai et al. 2024) and the other
half in the `top_k` experts of a token, so a token meets as many parameters as in the dense twin, but for the router.
"""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tsfm.data.windows import WindowConfig
from tsfm.errors import DataError, UnknownName
from tsfm.models.moe_decoder import MoEDecoder, MoEDecoderConfig
from tsfm.scaling.corpus import CorpusConfig
from tsfm.training.config import RunConfig
from tsfm.training.runs import active_parameters

# D width, E experts, K experts a token, N tokens of a window.

KINDS = ("decoder", "encoder")
KEPT = ("hardest", "easiest", "random")
MEASURES = ("spectral", "reference")
DECAY_SHARE = 0.2  # of a milestone's steps
WARMUP = 20  # steps: the smallest milestone has a few dozen
WARMUP_TOKENS = 2048  # of a step of the warm-up; larger steps are fewer


@dataclass(frozen=True)
class Plan:
    """One run: a trunk at a constant rate and a decayed branch at every milestone.

    size        width, depth and heads of the network
    kind        "decoder": causal, every next patch is a target; "encoder": full attention, the hidden tail is
    experts     0: dense
    pool        unique points that are drawn from; 0: the whole corpus
    real        share of windows that are cut from real series, evenly out of the pool's; None: as many as it has
    keep, share what is kept of the pool: all, or its hardest, easiest or a random share, by the `difficulty` named
    rate        of the peak rates of the trainer, all of them
    warmup      steps of rising rate, if they are of 2,048 tokens at most; fewer of larger ones
    batch       tokens of a step
    shuffled    whether the first epoch too has an order of the seed's own; else all runs read the same windows together
    milestones  points, ascending; a point is a step of a window, seen once or again
    compiled    whether the step is compiled
    """

    group: str
    size: str
    width: int
    depth: int
    heads: int
    kind: str = "decoder"
    experts: int = 0
    top_k: int = 0
    pool: int = 0
    real: float | None = None
    keep: str = "all"
    share: float = 1.0
    difficulty: str = "spectral"
    rate: float = 1.0
    warmup: int = WARMUP
    batch: int = 2048
    seed: int = 0
    shuffled: bool = False
    milestones: tuple[int, ...] = ()
    compiled: bool = False

    @property
    def name(self) -> str:
        """Name of the run: what it is, and no more; two runs of one name are the same run."""
        parts = [self.kind, self.size]
        parts += [f"e{self.experts}k{self.top_k}"] if self.experts else []
        parts += [f"pool{self.pool / 1e6:g}M"] if self.pool else []
        parts += [f"real{self.real:g}"] if self.real is not None else []
        parts += [f"{self.keep}{self.share:g}"] if self.keep != "all" else []
        parts += [self.difficulty] if self.keep in ("hardest", "easiest") else []
        parts += [f"rate{self.rate:g}"] if self.rate != 1 else []
        parts += [f"warmup{self.warmup}"] if self.warmup != WARMUP else []
        parts += [f"batch{self.batch}", f"seed{self.seed}"]
        parts += ["shuffled"] if self.shuffled else []
        return "-".join(parts)

    def model(self, context: int, patch: int) -> MoEDecoderConfig:
        """The network for windows of `context` steps in patches of `patch`."""
        wide = 2 * self.width
        return MoEDecoderConfig(
            patch=patch,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            shared_width=wide // 2 if self.experts else wide,
            expert_width=wide // 2 // self.top_k if self.experts else 0,
            experts=self.experts,
            top_k=self.top_k,
            seasonal_copies=False,
            max_context=context,
            max_ahead=context // patch,
        )

    def run_config(self, corpus: CorpusConfig) -> RunConfig:
        """What the trainer is told; its own rates times `rate`, and a trunk that does not decay."""
        at_usual_rates = RunConfig(
            model=self.model(corpus.context, corpus.patch),
            windows=WindowConfig(corpus.patch, (corpus.context,), (1.0,), self.batch, corpus.real_share),
            seed=self.seed,
            warmup=max(2, min(self.warmup, self.warmup * WARMUP_TOKENS // self.batch)),
            mask_share=0.6,
            mask_spans=2,
            compiled=self.compiled,
        )
        return at_usual_rates.at_rate(self.rate)

    def steps(self, points: int, patch: int) -> tuple[int, int]:
        """Steps of the trunk before a milestone's decay starts, and of the milestone in all."""
        total = max(2, round(points / (self.batch * patch)))
        return int(total * (1 - DECAY_SHARE)), total

    def steps_in_all(self, patch: int) -> int:
        """Steps of trunk and branches together."""
        pairs = [self.steps(points, patch) for points in self.milestones]
        return pairs[-1][0] + sum(total - trunk for trunk, total in pairs)


class Counted(NamedTuple):
    """Parameters of a run's network.

    active  of the blocks, that one token meets: without embedding and head
    total   of the blocks, all experts
    ends    of embedding, last norm and head
    """

    active: int
    total: int
    ends: int


def counted(model: MoEDecoderConfig) -> Counted:
    """Count the parameters of a network without making it."""
    with torch.device("meta"):
        made = MoEDecoder(model)
    sizes = {name: parameter.numel() for name, parameter in made.named_parameters()}
    total = sum(size for name, size in sizes.items() if name.startswith("blocks."))
    ends = sum(sizes.values()) - total
    return Counted(active_parameters(made) - ends, total, ends)


def flops_a_point(model: MoEDecoderConfig) -> float:
    """Operations of training a point: three forward passes' worth, of every product of the network.

    A token costs 2 for every parameter it meets, embedding and head among them, and 4 N D a layer for the scores and
    the mixing of its attention, which are computed in full whether causal or not; a token has `patch` points.
    """
    count = counted(model)
    tokens = model.max_context // model.patch
    forward = 2 * (count.active + count.ends) + 4 * tokens * model.width * model.depth
    return 3 * forward / model.patch


class Group(NamedTuple):
    """Runs that answer one question."""

    name: str
    purpose: str
    plans: list[Plan]


@dataclass(frozen=True)
class Study:
    """A whole sweep; `groups` stand in the order in which they are run.

    reference   name of the run whose last model says which windows are hard; "" for none
    """

    name: str
    corpus: CorpusConfig
    groups: tuple[Group, ...]
    reference: str = ""

    @property
    def reference_plan(self) -> Plan | None:
        """The run of that name, None where there is none."""
        return next((plan for plan in self.plans if plan.name == self.reference), None)

    @cached_property
    def plans(self) -> list[Plan]:
        """Every run once: the first of those of one name, with the milestones of all of them."""
        found: dict[str, Plan] = {}
        for group in self.groups:
            for plan in group.plans:
                first = found.setdefault(plan.name, plan)
                both = tuple(sorted({*first.milestones, *plan.milestones}))
                found[plan.name] = replace(first, milestones=both)
        return list(found.values())

    def plans_of(self, groups: Collection[str] = ()) -> list[Plan]:
        """The runs of the groups named, or all; a run of two groups is of the first."""
        known = [group.name for group in self.groups]
        if unknown := sorted(set(groups) - set(known)):
            raise UnknownName(
                f"no group {unknown[0]!r} in study {self.name!r}; there are {', '.join(map(repr, known))}"
            )
        return [plan for plan in self.plans if not groups or plan.group in groups]


def read_study(name: str = "study") -> Study:
    """A study of the package ("study", "quick"), or of a TOML file of your own, ending in .toml."""
    path = Path(name).expanduser()
    if path.suffix != ".toml":
        there = resources.files("tsfm.scaling")
        known = sorted(entry.name.removesuffix(".toml") for entry in there.iterdir() if entry.name.endswith(".toml"))
        if name not in known:
            raise UnknownName(f"no study {name!r}; there are {', '.join(known)}, or give the path of a .toml file")
        text = (there / f"{name}.toml").read_text(encoding="utf-8")
    else:
        if not path.is_file():
            raise UnknownName(f"there is no file {name!r}; a study is a TOML file of sizes and groups of runs")
        text = path.read_text(encoding="utf-8")
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"study {name!r} is no TOML: {error}") from error
    try:
        corpus = CorpusConfig(**entries["corpus"])
        groups = tuple(read_group(entry, entries) for entry in entries["group"])
    except UnknownName:
        raise
    except (KeyError, TypeError) as error:
        raise DataError(
            f"study {name!r} lacks or does not know {error}; compare it with tsfm/scaling/quick.toml"
        ) from error
    study = Study(path.stem, corpus, groups, entries.get("reference", ""))
    if study.reference and study.reference_plan is None:
        alike = ", ".join(get_close_matches(study.reference, [plan.name for plan in study.plans], 4, 0.0))
        raise UnknownName(f"study {name!r}: its reference {study.reference!r} is none of its runs; such as {alike}")
    return study


def read_group(entry: Mapping[str, Any], study: Mapping[str, Any]) -> Group:
    """The group of a [[group]] table, whose other keys are those of every run that has none of its own."""
    shared = {key: value for key, value in entry.items() if key not in ("name", "purpose", "runs")}
    plans = [plan for one in entry["runs"] for plan in combinations({**shared, **one}, entry["name"], study)]
    return Group(entry["name"], entry["purpose"], plans)


def combinations(entry: Mapping[str, Any], group: str, study: Mapping[str, Any]) -> Iterator[Plan]:
    """A plan for every combination of the lists of an entry; milestones are the study's that
    lie `beyond` a number of points and not above `up_to`, or its own."""
    up_to, beyond = entry.get("up_to", float("inf")), entry.get("beyond", 0)
    milestones = tuple(points for points in study["milestones"] if beyond < points <= up_to)
    milestones = tuple(entry.get("milestones", milestones))
    lists = {
        key: value if isinstance(value, list) else [value]
        for key, value in entry.items()
        if key not in ("up_to", "beyond", "milestones")
    }
    for values in product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        where = f"group {group!r}, run {chosen}"
        if chosen.get("size") not in study["size"]:
            raise UnknownName(f"{where}: there is no such size; sizes are {', '.join(study['size'])}")
        plan = Plan(group=group, milestones=milestones, **{**study["size"][chosen["size"]], **chosen})
        check(plan, where)
        yield plan


def check(plan: Plan, where: str) -> None:
    """Raise `DataError` where a run cannot be."""
    for field, known in (("kind", KINDS), ("keep", ("all", *KEPT)), ("difficulty", MEASURES)):
        if getattr(plan, field) not in known:
            raise DataError(f"{where}: {field} = {getattr(plan, field)!r}; it may be {', '.join(known)}")
    if plan.real is not None and (not 0 <= plan.real <= 1 or plan.keep != "all"):
        raise DataError(f"{where}: real = {plan.real:g}; give a share of 0 to 1, of a pool of which all is kept")
    if not plan.milestones:
        raise DataError(f"{where}: no milestone of the study lies between `beyond` and `up_to`; widen them")
    if (plan.experts > 0) != (plan.top_k > 0) or plan.top_k > plan.experts:
        raise DataError(f"{where}: {plan.experts} experts with top_k = {plan.top_k}; give 1 to `experts`, or 0 and 0")
    if plan.width % plan.heads or plan.width // plan.heads % 4:
        raise DataError(f"{where}: {plan.heads} heads in a width of {plan.width}; a head is a multiple of 4 wide")
