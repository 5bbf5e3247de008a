"""Made inputs of a selective scan, and how far two answers to one problem are apart, gradients included."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Problem = dict[str, Any]
Scan = Callable[..., tuple[Tensor, Tensor]]


def made_scan(
    series: int,
    channels: int,
    states: int,
    length: int,
    groups: int | None = None,
    without: tuple[str, ...] = (),
    softplus: bool = True,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Problem:
    """Arguments of a scan with decays and step sizes as Mamba has them, all wanting gradients."""
    draw = torch.Generator().manual_seed(series + channels + states + length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    shared = (series, states, length) if groups is None else (series, groups, states, length)
    step = normal(series, channels, length)
    tensors = {
        "u": normal(series, channels, length),
        "delta": 2 * step - 3 if softplus else 0.1 * step.abs() + 0.01,  # the softplus reaches down to exp(-9)
        "A": -torch.exp(normal(channels, states)),
        "B": normal(*shared),
        "C": normal(*shared),
        "D": normal(channels),
        "z": normal(series, channels, length),
        "delta_bias": normal(channels) if softplus else 0.1 * normal(channels).abs(),
        "initial_state": normal(series, channels, states),
    }
    ready = {name: tensor.to(device, dtype).requires_grad_() for name, tensor in tensors.items() if name not in without}
    return {**ready, "delta_softplus": softplus}


def answers(scan: Scan, problem: Problem) -> dict[str, Tensor]:
    """Outputs, last state and the gradient of every tensor, for a fixed gradient of both results."""
    names = [name for name, value in problem.items() if isinstance(value, Tensor)]
    results = scan(**problem)
    draw = torch.Generator().manual_seed(0)
    pulls = [torch.randn(one.shape, generator=draw, dtype=torch.float64).to(one) for one in results]
    grads = torch.autograd.grad(results, [problem[name] for name in names], pulls)
    return {"out": results[0].detach(), "last": results[1].detach(), **dict(zip(names, grads, strict=True))}


def wide(problem: Problem) -> Problem:
    """The same numbers in float64 on the CPU."""
    return {
        name: value.detach().cpu().double().requires_grad_() if isinstance(value, Tensor) else value
        for name, value in problem.items()
    }


def apart(ours: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """Root mean square of the difference over that of the truth, for every answer."""
    return {
        name: float((ours[name].cpu().double() - want).square().mean().sqrt() / want.square().mean().sqrt())
        for name, want in truth.items()
    }
