"""Small changes of a trained model, by the names of its parameters: what fine-tuning learns beside a frozen base.

    config = AdapterConfig("lora", names=("blocks.0.attention.qkv.weight",))
    trainable = attach(model, config)     # in place: everything else is frozen; forecasts are still the base's
    ...                                   # train
    tensors = adapter_state(model, config)
    plain = merged(model, config)         # the change folded into plain weights, for inference
    detach(model, config)                 # in place: the base's weights again, bit for bit

The model's file knows nothing of it: weights are changed by torch's parametrisation, bottlenecks stand behind a module
in a wrapper. A parametrised model cannot be pickled, a folded one can. Folding computes in float64 on the host, so that
every machine makes the same weights. Buffers are no part of an adapter.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tsfm.errors import DataError, UnknownName
from tsfm.nn.adapter_parts import KINDS, AdapterConfig, Bottleneck, Change, changed, first_bottleneck, first_parts

__all__ = [
    "AdapterConfig",
    "adapter_state",
    "attach",
    "check",
    "count",
    "detach",
    "fold",
    "learned",
    "load_adapter",
    "merged",
    "owner",
]

NAMED = 3


def attach(model: nn.Module, config: AdapterConfig, seed: int = 0) -> list[nn.Parameter]:
    """Put the change into a model, in place, and return what is to be trained; everything else is frozen.

    Forecasts start as those of the base. `seed` draws what starts at random.
    """
    starts = first(model, config, seed)
    for weight in model.parameters():
        weight.requires_grad_(False)
    for name, parts in starts.items():
        module, leaf = owner(model, name)
        if config.kind == "bottleneck":
            setattr(module, leaf, Bottleneck(getattr(module, leaf), parts))
        else:
            parametrize.register_parametrization(module, leaf, Change(config, name, parts))
    return list(learned(model, config).values())


def detach(model: nn.Module, config: AdapterConfig) -> None:
    """Take the change out, in place: weights are the base's, bit for bit, and all can be trained again."""
    learned(model, config)
    for name in config.names:
        module, leaf = owner(model, name)
        if config.kind == "bottleneck":
            setattr(module, leaf, getattr(module, leaf).inner)
        else:
            shared = type(module)  # torch made it for this module, its copies have it too, and what follows edits it
            module.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))
            parametrize.remove_parametrizations(module, leaf, leave_parametrized=False)
    for weight in model.parameters():
        weight.requires_grad_(True)


def merged(model: nn.Module, config: AdapterConfig) -> nn.Module:
    """A plain copy of an attached model, of the base's class, with the change in its weights.

    Bottlenecks cannot be folded into weights: they stay, as plain modules.
    """
    tensors, plain = adapter_state(model, config), copy.deepcopy(model)
    detach(plain, config)
    fold(plain, config, tensors)
    return plain


def fold(model: nn.Module, config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write the change into a plain model, as new parameters; `tensors` are those of `adapter_state`."""
    parts = fitting(first(model, config, device="meta"), tensors)
    for name in config.names:
        module, leaf = owner(model, name)
        base = getattr(module, leaf)
        if config.kind == "bottleneck":
            like = next(model.parameters())
            setattr(
                module, leaf, Bottleneck(base, {key: part.to(like, copy=True) for key, part in parts[name].items()})
            )
            continue
        exact = {key: part.detach().cpu().double() for key, part in parts[name].items()}
        weight = changed(base.detach().cpu().double(), exact, config, config.rows_of(name))
        setattr(module, leaf, nn.Parameter(weight.to(base), requires_grad=base.requires_grad))


def adapter_state(model: nn.Module, config: AdapterConfig) -> dict[str, Tensor]:
    """What an attached model learned: float32 tensors of their own, "name.part" -> tensor."""
    return {key: part.detach().float().cpu().clone() for key, part in learned(model, config).items()}


def load_adapter(model: nn.Module, config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Put what `adapter_state` gave back into an attached model."""
    there = {name: dict(holder(model, config, name).parts.items()) for name in config.names}
    parts = fitting(there, tensors)
    with torch.no_grad():
        for name, here in there.items():
            for key, weight in here.items():
                weight.copy_(parts[name][key])


def count(config: AdapterConfig, model: nn.Module) -> int:
    """How many numbers this change would train in a plain model."""
    return sum(part.numel() for parts in first(model, config, device="meta").values() for part in parts.values())


def learned(model: nn.Module, config: AdapterConfig) -> dict[str, nn.Parameter]:
    """The trained parameters of an attached model, "name.part" -> parameter."""
    holders = {name: holder(model, config, name) for name in config.names}
    return {f"{name}.{key}": part for name, one in holders.items() for key, part in one.parts.items()}


def holder(model: nn.Module, config: AdapterConfig, name: str) -> Change | Bottleneck:
    """The module that carries the learned parts of one name."""
    module, leaf = owner(model, name)
    if config.kind == "bottleneck":
        found = getattr(module, leaf)
    else:
        found = module.parametrizations[leaf][0] if parametrize.is_parametrized(module, leaf) else None  # type: ignore
    if not isinstance(found, Bottleneck if config.kind == "bottleneck" else Change):
        raise DataError(f"the model has no {config.kind} adapter at {name!r}; call attach(model, config) first")
    return found


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a parameter or submodule belongs to, and its name there."""
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def first(
    model: nn.Module, config: AdapterConfig, seed: int = 0, device: str | None = None
) -> dict[str, dict[str, Tensor]]:
    """Parts that change nothing yet, name -> part -> tensor; device="meta" gives their shapes alone."""
    check(model, config)
    generator = torch.Generator().manual_seed(seed)
    if config.kind == "bottleneck":
        like = next(model.parameters()).detach().to(device)
        return {
            name: first_bottleneck(like, features(model, config, name), config.width, generator)
            for name in config.names
        }
    bases = {name: model.get_parameter(name).detach().to(device) for name in config.names}
    return {name: first_parts(base, config, name, generator) for name, base in bases.items()}


def features(model: nn.Module, config: AdapterConfig, name: str) -> int:
    """Width of what the bottleneck behind a submodule reads: as the model says where its layers differ in width."""
    if config.features:
        return config.features
    width_of: Any = getattr(model, "width_of", lambda layer: getattr(getattr(model, "config", None), "width", 0))
    return int(width_of(name))


def fitting(wanted: Mapping[str, Mapping[str, Tensor]], tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors by name and part, in the shapes wanted, or what does not fit."""
    keys = {f"{name}.{key}": part.shape for name, parts in wanted.items() for key, part in parts.items()}
    wrong = [f"lacks {key}" for key in keys if key not in tensors]
    wrong += [f"does not know {key}" for key in tensors if key not in keys]
    for key, shape in keys.items():
        if key in tensors and tensors[key].shape != shape:
            wrong.append(f"has {key} of shape {tuple(tensors[key].shape)}, not {tuple(shape)}")
    if wrong:
        raise DataError(f"the adapter does not fit the model: it {listed(wrong)}; take the base it was trained on")
    return {name: {key: tensors[f"{name}.{key}"] for key in parts} for name, parts in wanted.items()}


def check(model: nn.Module, config: AdapterConfig) -> None:
    """Refuse a config that this plain model cannot take, in words."""
    if config.kind not in KINDS:
        raise UnknownName(f"no adapter of kind {config.kind!r}; there are {', '.join(KINDS)}")
    if min(config.rank, config.width) < 1:
        raise DataError(f"rank={config.rank} and width={config.width} must be at least 1")
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        raise DataError("the model has an adapter attached; merge or detach it before another one")
    if not config.names or len(set(config.names)) < len(config.names):
        raise DataError(f"names={config.names!r} must name something to change, each once")
    if config.kind == "bottleneck":
        check_submodules(model, config)
    else:
        check_parameters(model, config)


def check_submodules(model: nn.Module, config: AdapterConfig) -> None:
    """Refuse names that are no submodules, or lie inside one another."""
    known = [name for name, _ in model.named_modules() if name]
    refuse_unknown("submodule", config.names, known)
    for name in config.names:
        inside = [other for other in config.names if other.startswith(f"{name}.")]
        if inside:
            raise DataError(f"submodule {inside[0]!r} lies inside {name!r}; name one of the two")
    if min(features(model, config, name) for name in config.names) < 1:
        raise DataError("the model's config has no width; pass AdapterConfig(features=...), what the submodules give")


def check_parameters(model: nn.Module, config: AdapterConfig) -> None:
    """Refuse names that are no parameters, shared ones, vectors in place of matrices, and rows that are not there."""
    known = dict(model.named_parameters(remove_duplicate=False))
    refuse_unknown("parameter", config.names, list(known))
    refuse_unknown("parameter with rows", [name for name, _ in config.rows], config.names)
    for name in config.names:
        weight, rows = known[name], config.rows_of(name)
        twins = [other for other, one in known.items() if one is weight and other != name]
        if twins:
            raise DataError(f"parameter {name!r} is also {twins[0]!r}; an adapter would part them, so leave it out")
        if config.kind in ("lora", "dora") and weight.dim() not in (2, 3):
            raise DataError(
                f"parameter {name!r} has {weight.dim()} axes; {config.kind} takes matrices and their stacks"
            )
        if rows is not None and not (
            set(rows.tolist()) <= set(range(len(weight))) and 0 < len(rows.unique()) == len(rows)
        ):
            raise DataError(f"rows {rows.tolist()} of parameter {name!r} must lie in 0 .. {len(weight) - 1}, each once")


def refuse_unknown(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise for the names that are not known."""
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        raise UnknownName(f"no {what} named {listed(unknown)}; there are {listed(known)}")


def listed(items: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(items) - NAMED
    return ", ".join(items[:NAMED]) + (f" and {more} more" if more > 0 else "")
