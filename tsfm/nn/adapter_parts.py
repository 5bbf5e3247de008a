"""What an adapter is made of: its config, the formula of a changed weight, and the two modules that carry the parts.

    lora        W + alpha / rank * up @ down                       Hu et al. 2021
    dora        that direction, and a length for every row         Liu et al. 2024, section 4
    weights     the named parameters anew, or chosen rows of their first axis: some experts of a stack
    bottleneck  y + up(silu(down(y))) behind the named submodules  Houlsby et al. 2019, section 2.1; no biases

tsfm/nn/adapters.py puts them into models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Weights are (..., O, I): O outputs, I inputs, any axes before them a stack of experts. R rank, D width of an output.

Kind = Literal["lora", "dora", "bottleneck", "weights"]
KINDS = ("lora", "dora", "bottleneck", "weights")


@dataclass(frozen=True)
class AdapterConfig:
    """What is changed, and how.

    names     parameters, as `named_parameters` gives them; for bottleneck, submodules
    rank      of lora and dora, at most the smaller side of a matrix; alpha / rank scales the change
    width     of bottlenecks, and `features`, what they read: 0 stands for the model's `config.width`
    rows      of weights: (name, rows of its first axis), where not all of a parameter is retrained
    """

    kind: Kind = "lora"
    names: tuple[str, ...] = ()
    rank: int = 8
    alpha: float = 16.0
    width: int = 16
    features: int = 0
    rows: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def scale(self) -> float:
        """What multiplies the product of a low-rank pair."""
        return self.alpha / self.rank

    def rows_of(self, name: str) -> Tensor | None:
        """Rows that are retrained of a parameter, None for all."""
        rows = dict(self.rows).get(name)
        return None if rows is None else torch.tensor(rows)


def changed(base: Tensor, parts: Mapping[str, Tensor], config: AdapterConfig, rows: Tensor | None) -> Tensor:
    """The weight that a base and the learned parts make, in the shape of the base.

    parts   up (..., O, R), down (..., R, I) and, for dora, length (..., O, 1); or value, in the shape of base[rows]
    """
    if config.kind == "weights":
        return parts["value"] if rows is None else base.index_copy(0, rows, parts["value"])
    moved = base + config.scale * (parts["up"] @ parts["down"])
    if config.kind == "lora":
        return moved
    return parts["length"] * moved / row_lengths(moved.detach(), base)  # no gradient through the norm: section 4.3


def row_lengths(weight: Tensor, base: Tensor) -> Tensor:
    """Norms of the rows (..., O, 1); 1 where the base's row is zero: it has no direction, and could never learn."""
    found = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    return torch.where(torch.linalg.vector_norm(base, dim=-1, keepdim=True) > 0, found, 1.0)


def first_parts(base: Tensor, config: AdapterConfig, name: str, generator: torch.Generator) -> dict[str, Tensor]:
    """Parts that leave a weight as it is: `up` starts at zero, lengths and values at those of the base."""
    base, rows = base.detach(), config.rows_of(name)
    if config.kind == "weights":
        return {"value": base.clone() if rows is None else base[rows.to(base.device)]}
    *stack, outputs, inputs = base.shape
    rank = min(config.rank, outputs, inputs)
    parts = {"up": base.new_zeros(*stack, outputs, rank), "down": spread((*stack, rank, inputs), base, generator)}
    return {**parts, "length": row_lengths(base, base)} if config.kind == "dora" else parts


def first_bottleneck(like: Tensor, features: int, width: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Parts of a bottleneck that adds nothing yet, on the device and in the type of `like`."""
    return {"up": like.new_zeros(features, width), "down": spread((width, features), like, generator)}


def spread(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform within 1 / sqrt(I), as torch starts a linear layer; the same on every device."""
    drawn = torch.rand(shape, generator=generator)
    return (2 * drawn - 1).mul_(shape[-1] ** -0.5).to(like)


class Change(nn.Module):
    """The parametrisation of one weight: its learned parts, and `changed`."""

    rows: Tensor | None

    def __init__(self, config: AdapterConfig, name: str, parts: Mapping[str, Tensor]):
        super().__init__()
        self.config, rows = config, config.rows_of(name)
        self.parts = nn.ParameterDict(parts)
        device = next(iter(parts.values())).device
        self.register_buffer("rows", None if rows is None else rows.to(device), persistent=False)

    def forward(self, base: Tensor) -> Tensor:
        """The weight that the layer uses; base (..., O, I) -> the same shape."""
        with torch.autocast(base.device.type, enabled=False):
            return changed(base, dict(self.parts.items()), self.config, self.rows)


class Bottleneck(nn.Module):
    """A module and a small residual network behind it; what else the module has is reached through this one."""

    def __init__(self, inner: nn.Module, parts: Mapping[str, Tensor]):
        super().__init__()
        self.inner = inner
        self.parts = nn.ParameterDict(parts)

    def forward(self, *inputs: Any) -> Any:
        """What the module gives, its first output shifted where there are several."""
        return self._behind(self.inner(*inputs))

    def infer(self, *inputs: Any) -> Any:
        """The same of the module's own `infer`."""
        inner: Any = self.inner
        return self._behind(inner.infer(*inputs))

    def _behind(self, found: Any) -> Any:
        if isinstance(found, tuple):
            return (self._shifted(found[0]), *found[1:])
        return self._shifted(found)

    def _shifted(self, y: Tensor) -> Tensor:
        """y (..., D) -> the same shape; products run in the type of the parts."""
        down, up = self.parts["down"], self.parts["up"]
        return y + F.linear(F.silu(F.linear(y.to(down.dtype), down)), up).to(y.dtype)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("_modules", {}).get("inner")  # not there yet while a copy is being made
            if inner is None or name.startswith("__"):
                raise
            return getattr(inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        inner = self.__dict__.get("_modules", {}).get("inner")
        if isinstance(value, Tensor) and isinstance(getattr(inner, name, None), Tensor):
            setattr(inner, name, value)  # else `module.buffer += 1` would leave a second buffer here
        else:
            super().__setattr__(name, value)
