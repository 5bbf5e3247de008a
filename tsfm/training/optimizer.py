"""NorMuon for the matrices of the blocks, AdamW for everything else, and the warm-up, stable, decay schedule.

Muon (Jordan 2024) replaces a matrix's momentum by its nearest semi-orthogonal matrix, found by Newton-Schulz steps;
NorMuon (Li et al. 2025) then evens out the rows by a running second moment, which suits the sign-valued gradients of
the pinball loss. Updates are scaled to the root mean square of AdamW's (0.2), so one rate serves every width. Matrices
of one shape are stacked and orthogonalised together: on a CPU that is the difference between a tenth and a third of a
training step.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

# G matrices of one shape, M rows, K columns.

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of Jordan 2024
ADAM_RMS = 0.2


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly; (G, M, K) bfloat16 of unit norm, M <= K."""
    a, b, c = NEWTON_SCHULZ
    x = matrices
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return x


@dataclass
class MatrixGroup:
    """Views of parameters as matrices of one shape (M <= K), with their shared state."""

    pieces: list[tuple[nn.Parameter, int, bool]]  # parameter, matrices it holds, transposed
    shape: tuple[int, int]
    momentum: Tensor = field(init=False)
    row_moment: Tensor = field(init=False)

    def __post_init__(self) -> None:
        total = sum(count for _, count, _ in self.pieces)
        device = self.pieces[0][0].device
        self.momentum = torch.zeros(total, *self.shape, device=device)
        self.row_moment = torch.zeros(total, self.shape[0], 1, device=device)

    def stack(self) -> Tensor:
        """Gradients of the group as (G, M, K)."""
        parts = []
        for parameter, count, transposed in self.pieces:
            assert parameter.grad is not None
            matrices = parameter.grad.reshape(count, -1, parameter.shape[-1])
            parts.append(matrices.mT if transposed else matrices)
        return torch.cat(parts)

    def add_(self, update: Tensor, shrink: float) -> None:
        """Shrink every parameter, then add its part of `update` (G, M, K)."""
        first = 0
        for parameter, count, transposed in self.pieces:
            part = update[first : first + count]
            parameter.mul_(1 - shrink).add_((part.mT if transposed else part).reshape(parameter.shape))
            first += count


def nesterov(gradient: Tensor, momentum: Tensor, decay: float) -> Tensor:
    """Update the momentum in place and return the look-ahead direction in bfloat16, of unit norm a matrix."""
    momentum.lerp_(gradient, 1 - decay)
    ahead = torch.lerp(gradient, momentum, decay)
    return (ahead / (ahead.square().sum((1, 2), keepdim=True).sqrt() + 1e-7)).bfloat16()


def even_rows(direction: Tensor, row_moment: Tensor, decay: float, rate: Tensor) -> Tensor:
    """Update the row moments in place and return the step, every row scaled alike, of root mean square rate * 0.2."""
    wide = direction.float()
    row_moment.lerp_(wide.square().mean(-1, keepdim=True), 1 - decay)
    even = wide / (row_moment.sqrt() + 1e-8)
    return even * (-ADAM_RMS * rate / even.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-8))


def matrices_in(name: str, parameter: nn.Parameter) -> int:
    """How many matrices a weight stacks: experts, and in each query, key and value, or gate and value."""
    experts = parameter.shape[0] if parameter.dim() == 3 else 1
    parts = 3 if name.endswith("qkv.weight") else 2 if name.endswith(("up", "shared_up.weight")) else 1
    return experts * parts


class NorMuonAdamW:
    """One optimiser over a model: NorMuon on matrices inside `blocks` (routers excepted), AdamW on the rest."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        matrix_rate: float = 0.01,
        other_rate: float = 2e-3,
        router_rate: float = 4e-4,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        row_decay: float = 0.95,
        compiled: bool = False,
    ):
        self.matrix_rate, self.weight_decay = matrix_rate, weight_decay
        self.momentum, self.row_decay = momentum, row_decay
        by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, int, bool]]] = {}
        rest: list[nn.Parameter] = []
        routers: list[nn.Parameter] = []
        for name, parameter in named:
            if "blocks." not in name or parameter.dim() < 2 or "router" in name:
                (routers if "router" in name else rest).append(parameter)
                continue
            count = matrices_in(name, parameter)
            rows, columns = parameter.numel() // count // parameter.shape[-1], parameter.shape[-1]
            transposed = rows > columns
            shape = (columns, rows) if transposed else (rows, columns)
            by_shape.setdefault(shape, []).append((parameter, count, transposed))
        self.groups = [MatrixGroup(pieces, shape) for shape, pieces in sorted(by_shape.items())]
        self.rest = rest + routers
        self._nesterov = torch.compile(nesterov) if compiled else nesterov
        self._even_rows = torch.compile(even_rows) if compiled else even_rows
        # A router sees much the same vector from every token, so a step of AdamW moves a whole column of logits: a rate
        # that suits the rest throws all tokens onto a few experts before their balance can answer.
        self.rates = [other_rate, router_rate] if routers else [other_rate]
        groups = [{"params": rest}, {"params": routers}][: len(self.rates)]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.2 * weight_decay, foreach=True)

    @torch.no_grad()
    def step(self, factor: float, clip: float = 1.0) -> None:
        """Apply the gradients at `factor` of the peak rates, and clear them; AdamW's are clipped to norm `clip`."""
        nn.utils.clip_grad_norm_(self.rest, clip, foreach=True)
        for others, peak in zip(self.adam.param_groups, self.rates, strict=True):
            others["lr"] = peak * factor
        self.adam.step()
        rate = torch.tensor(self.matrix_rate * factor)  # a tensor, so that a new value compiles nothing anew
        for group in self.groups:
            gradient = group.stack()
            direction = orthogonalise(self._nesterov(gradient, group.momentum, self.momentum))
            update = self._even_rows(direction, group.row_moment, self.row_decay, rate)
            group.add_(update, float(rate) * self.weight_decay)
            for parameter, _, _ in group.pieces:
                parameter.grad = None
        self.adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Everything a restart needs, as flat named tensors."""
        tensors: dict[str, Tensor] = {}
        for position, group in enumerate(self.groups):
            tensors[f"matrix.{position}.momentum"] = group.momentum
            tensors[f"matrix.{position}.row_moment"] = group.row_moment
        for position, parameter in enumerate(self.rest):
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{position}.{key}"] = value
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for position, group in enumerate(self.groups):
            group.momentum.copy_(tensors[f"matrix.{position}.momentum"])
            group.row_moment.copy_(tensors[f"matrix.{position}.row_moment"])
        for position, parameter in enumerate(self.rest):
            prefix = f"adam.{position}."
            kept = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            on = {key: "cpu" if key == "step" else parameter.device for key in kept}  # AdamW counts steps on the CPU
            self.adam.state[parameter] = {key: value.to(on[key], copy=True) for key, value in kept.items()}


def rate_factor(step: int, start: int, ready: int, decay_start: int | None, total: int) -> float:
    """Warm-up, stable, decay: 0 to 1 from `start` to `ready`, flat, then 1 - sqrt(progress) to zero at `total`.

    The decay has the form of Haegele et al. 2024. A run that decays while it still warms up takes the lower of both.
    """
    warm = min(1.0, (step - start + 1) / max(1, ready - start))
    if decay_start is None or step < decay_start:
        return warm
    return min(warm, float(1 - ((step - decay_start) / max(1, total - decay_start)) ** 0.5))
