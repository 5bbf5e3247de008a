"""Ways to fine-tune: which numbers of a model change, by the names its class gives its parts.

A trainable model says in `PARTS` what its parameters are called, as regular expressions over their names:

    head       the last layers, which read the forecast off
    router     of the experts            experts    the routed ones, (E, out, in)
    norms      of the layers             matrices   on which low-rank changes pay, stacks of experts among them
    layers     names of submodules behind which small adapters are put

A part that a model does not have takes the methods on it away from that model.

    full      everything             lora, dora  low-rank changes of the matrices (Hu et al. 2021, Liu et al. 2024)
    head      the head               router      router and norms
    experts   the experts that the data go to most (Wang et al. 2024, "Expert-Specialized Fine-Tuning")
    adapters  two small layers behind each layer (Houlsby et al. 2019)
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tsfm.batch import Batch
from tsfm.errors import DataError, UnknownName
from tsfm.finetuning.drawing import Lesson
from tsfm.nn.adapters import AdapterConfig
from tsfm.nn.moe import recorded_routes

# E experts.

ALONE = "none"  # trains nothing: covariates are read over the model as it is
METHODS = ("full", "head", "lora", "dora", "experts", "router", "adapters")
NEEDS = {
    "full": (),
    "head": ("head",),
    "lora": ("matrices",),
    "dora": ("matrices",),
    "experts": ("experts",),
    "router": ("router", "norms"),
    "adapters": ("layers",),
}
RATES = {"full": 3e-4, "head": 1e-3, "lora": 2e-3, "dora": 2e-3, "experts": 5e-4, "router": 1e-3, "adapters": 2e-3}
"""Learning rates to begin with; the course lowers them where they turn out too high."""
SHARE_OF_TOKENS = 0.5  # that the chosen experts of a layer take together


class Trainable(Protocol):
    """What fine-tuning asks of a registered forecaster with weights, beside what `inference.Model` says.

    `loss` has a gradient in the weights; it is in units that do not depend on the series' scale. target and counted
    are (B, H), in the units of the batch; what is not counted was not observed.
    """

    PARTS: Mapping[str, str]

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor: ...


def check_trainable(model: Any, name: str) -> None:
    """Raise `DataError` where a model has nothing to train."""
    if not isinstance(model, nn.Module) or not hasattr(model, "loss") or not hasattr(model, "PARTS"):
        raise DataError(f"model {name!r} cannot be fine-tuned: it has no weights to train; name another as base=")


def methods_of(model: Any) -> list[str]:
    """The methods that a model's parts allow."""
    return [method for method in METHODS if all(matching(model, part) for part in NEEDS[method])]


def check_method(method: str, model: Any) -> None:
    """Raise `UnknownName` where a model lacks the parts that a method trains."""
    if method not in ("auto", ALONE, *methods_of(model)):
        known = ", ".join(["auto", *methods_of(model), ALONE])
        raise UnknownName(f"method={method!r} is not one for {type(model).__name__}; there are {known}")


def matching(model: Any, part: str) -> tuple[str, ...]:
    """Names of the parameters of a part, or, for "layers", of its submodules; none where the model has no such part."""
    pattern = model.PARTS.get(part)
    if pattern is None:
        return ()
    of_modules = part == "layers"
    names = [name for name, _ in (model.named_modules() if of_modules else model.named_parameters())]
    return tuple(name for name in names if re.search(pattern, name))


def adapter_for(method: str, model: Any, lesson: Lesson) -> AdapterConfig:
    """What a method changes in a model; `lesson` shows where the router sends the data."""
    check_method(method, model)
    if method == "full":
        return AdapterConfig("weights", tuple(name for name, _ in model.named_parameters()))
    if method == "lora":
        return AdapterConfig("lora", matching(model, "matrices"))
    if method == "dora":
        return AdapterConfig("dora", matching(model, "matrices"))
    if method == "adapters":
        return AdapterConfig("bottleneck", matching(model, "layers"))
    if method == "experts":
        names = matching(model, "experts")
        return AdapterConfig("weights", names, rows=chosen_experts(model, names, lesson))
    parts = NEEDS[method]
    return AdapterConfig("weights", tuple(dict.fromkeys(name for part in parts for name in matching(model, part))))


@torch.no_grad()
def chosen_experts(model: Any, names: tuple[str, ...], lesson: Lesson) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """For each stack of experts the fewest that take half of the routing weight of the lesson's tokens."""
    with recorded_routes() as routes:
        model.loss(lesson.batch, lesson.target, lesson.counted)
    stacks = dict(model.named_parameters())
    found = []
    for name in names:
        layer = sorted({other.rpartition(".")[0] for other in names}, key=natural).index(name.rpartition(".")[0])
        experts = stacks[name].shape[0]
        weight = torch.zeros(experts)
        weight.index_add_(0, routes[layer].expert.flatten().cpu(), routes[layer].weight.flatten().float().cpu())
        order = weight.argsort(descending=True)
        enough = int((weight[order].cumsum(0) / weight.sum() < SHARE_OF_TOKENS).sum()) + 1
        found.append((name, tuple(sorted(order[:enough].tolist()))))
    return tuple(found)


def natural(name: str) -> list[Any]:
    """A key by which blocks.10 comes after blocks.9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
