"""A pretended second device: computes on the CPU, and refuses to mix its tensors with the CPU's as a GPU would.

Inside `Elsewhere()`, what is made on or moved to `ELSEWHERE` lives there, and says so. An operation on a tensor of
there and one of here raises, but for numbers without dimensions, which torch moves by itself. It sees what Python asks
of torch: not the gradients of a backward pass, nor compiled code.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

HERE, ELSEWHERE = torch.device("cpu"), torch.device("xpu:0")  # a name that torch knows
NAMES = {torch.device, torch._C._nn._parse_to, torch._has_compatible_shallow_copy_type}  # move nothing
ACROSS = {Tensor.to, Tensor.copy_, Tensor.data.__set__, Tensor.grad.__set__, Tensor.__setitem__}  # may cross devices


class Elsewhere(TorchFunctionMode):
    """What asks for `ELSEWHERE` in here lives there."""

    def __enter__(self) -> Any:
        self.make = nn.Parameter.__new__

        def make_there_too(kind: Any, data: Any = None, requires_grad: bool = True) -> Any:
            made = self.make(kind, data, requires_grad)
            made.there = data is not None and is_there(data)
            return made

        nn.Parameter.__new__ = make_there_too  # not seen below
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        nn.Parameter.__new__ = self.make
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.device.__get__:
            return ELSEWHERE if is_there(args[0]) else HERE
        if func in NAMES:
            return func(*args, **(kwargs or {}))
        if func in (Tensor.numpy, Tensor.__array__) and is_there(args[0]):
            raise TypeError(f"{func.__name__}: the tensor lies on another device")
        if func == Tensor.to and isinstance(args[1], str):
            args = (args[0], torch.device(args[1]), *args[2:])
        args, kwargs, asked = without_device(args, dict(kwargs or {}))
        tensors = list(tensors_in([args, kwargs]))
        if func == Tensor.__deepcopy__:  # its second argument is all that was copied before
            tensors = tensors[:1]
        elif func not in ACROSS:
            together(func, tensors)
        result = func(*args, **kwargs)
        if func == Tensor.cpu:
            result = result.view_as(result)
            result.there = False
        elif func == Tensor.data.__set__:
            args[0].there = is_there(args[1])
        elif func not in ACROSS or asked:
            there = asked == ELSEWHERE if asked else any(is_there(one) for one in tensors)
            if asked and any(one is result for one in tensors):
                result = result.view_as(result)
            for one in tensors_in(result):
                one.there = there
        elif func == Tensor.to:  # no device named: it stays, or goes to where the other tensor is
            result.there = is_there(tensors[-1])
        return result


def is_there(tensor: Tensor) -> bool:
    """Whether a tensor lives elsewhere."""
    return getattr(tensor, "there", False)


def without_device(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any], torch.device | None]:
    """Arguments that name the CPU where they named a device, and the one that they named."""
    asked = [torch.device(kwargs["device"])] if kwargs.get("device") is not None else []
    asked += [arg for arg in args if isinstance(arg, torch.device)]
    if asked and "device" in kwargs:
        kwargs["device"] = HERE
    return tuple(HERE if isinstance(arg, torch.device) else arg for arg in args), kwargs, asked[0] if asked else None


def tensors_in(what: Any) -> Iterator[Tensor]:
    """All tensors in nested sequences and mappings."""
    if isinstance(what, Tensor):
        yield what
    elif isinstance(what, dict):
        yield from tensors_in(list(what.values()))
    elif isinstance(what, (list, tuple)):
        for one in what:
            yield from tensors_in(one)


def together(func: Any, tensors: list[Tensor]) -> None:
    """Raise where tensors with dimensions lie on two devices."""
    if len({is_there(one) for one in tensors if one.dim()}) > 1:
        raise RuntimeError(f"{getattr(func, '__name__', func)}: tensors of two devices")
