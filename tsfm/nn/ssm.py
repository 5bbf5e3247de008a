"""State-space layers: a linear model a feature, run as a convolution, in chunks from a state, or step by step.

`Convolution` is the linear model with its skip, `S4Block` puts a GELU, a dropout and a gated linear map behind it as
Gu, Goel and Re 2022 do; which model it is (S4, S4D, LSSL) is the kernel's choice, see `ssm_kernels.py`. All three ways
to run come from the same parameters and give the same numbers: training convolves, long series go in chunks, and
streams go step by step with memory that does not grow. Parameters carry the names of the published checkpoints.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.kernels.diagonal import causal_convolution
from tsfm.nn.ssm_kernels import DenseKernel, DiagonalKernel, DplrKernel, Step

# B series, L steps, W features, R channels (kernels a feature).

Kernel = DiagonalKernel | DplrKernel | DenseKernel
SSM_RATE = 1e-3  # of the steps, A, B and P in the published code, which never decays them either


class Convolution(nn.Module):
    """The linear model y = k * u + D u of every feature, R outputs each."""

    def __init__(self, kernel: Kernel, bidirectional: bool = False):
        super().__init__()
        rows, width = kernel.C.shape[:2]
        if bidirectional and rows % 2:
            raise DataError(f"a bidirectional layer splits its {rows} kernel rows into two ways; pass an even number")
        self.kernel = kernel
        self.bidirectional = bidirectional
        self.D = nn.Parameter(torch.randn(rows // (1 + bidirectional), width))

    def forward(self, u: Tensor) -> Tensor:
        """Outputs (B, L, R * W) of u (B, L, W) from an empty state, channels outermost."""
        return self._flat(self._convolved(self._across(u)))

    def run(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, L, R * W) of u (B, L, W) that goes on from a state, and the state after it."""
        self._only_causal()
        across = self._across(u)
        out = self._convolved(across) + self.kernel.state_kernel(state, u.shape[1])
        return self._flat(out), self.kernel.last_state(across, state)

    def recurrence(self) -> Step:
        """What takes one step: u (B, W) and the state -> y (B, R * W) and the next state."""
        self._only_causal()
        inner = self.kernel.recurrence()

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            out, state = inner(u, state)
            return (out + self.D * u[:, None]).flatten(1), state

        return step

    def _across(self, u: Tensor) -> Tensor:
        return u.to(self.D.dtype).transpose(1, 2)  # (B, W, L); Fourier transforms know no bf16

    def _convolved(self, u: Tensor) -> Tensor:
        kernel = self.kernel(u.shape[-1])  # (R, W, L)
        if self.bidirectional:  # the way back starts one step ahead, as published
            there, back = kernel.chunk(2)
            kernel = torch.cat([there, back.flip(-1)], -1)
        across = u[:, None]
        return causal_convolution(across, kernel) + self.D[..., None] * across  # (B, R, W, L)

    def _flat(self, out: Tensor) -> Tensor:
        return out.flatten(1, 2).transpose(1, 2)

    def _only_causal(self) -> None:
        if self.bidirectional:
            raise DataError("a bidirectional layer reads the whole series at once; build it with bidirectional=False")


class S4Block(nn.Module):
    """The linear model, GELU, dropout, and a gated map back to W features."""

    def __init__(self, kernel: Kernel, bidirectional: bool = False, dropout: float = 0.0):
        super().__init__()
        self.layer = Convolution(kernel, bidirectional)
        rows, width = self.layer.D.shape
        self.dropout = nn.Dropout(dropout)
        self.output_linear = nn.Sequential(nn.Linear(rows * width, 2 * width), nn.GLU(dim=-1))

    def forward(self, u: Tensor) -> Tensor:
        """Outputs (B, L, W) of u (B, L, W) from an empty state."""
        return self._mixed(self.layer(u), u)

    def run(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, L, W) of u (B, L, W) that goes on from a state, and the state after it."""
        out, state = self.layer.run(u, state)
        return self._mixed(out, u), state

    def recurrence(self) -> Step:
        """What takes one step: u (B, W) and the state -> y (B, W) and the next state."""
        inner = self.layer.recurrence()

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            out, state = inner(u, state)
            return self._mixed(out, u), state

        return step

    def empty_state(self, series: int) -> Tensor:
        """The state before anything is seen."""
        return self.layer.kernel.empty_state(series)

    def _mixed(self, out: Tensor, u: Tensor) -> Tensor:
        return cast(Tensor, self.output_linear(self.dropout(F.gelu(out)).to(u.dtype)))


def read_minimal(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of an `S4Block` of a `DiagonalKernel` from one of the published minimal S4D layer, which has no B."""
    weight, log_real = tensors["output_linear.0.weight"], tensors["kernel.log_A_real"]
    one = torch.ones_like(log_real)
    return {
        "layer.D": tensors["D"][None],
        "layer.kernel.inv_dt": tensors["kernel.log_dt"][:, None],
        "layer.kernel.A_real": log_real,
        "layer.kernel.A_imag": -tensors["kernel.A_imag"],
        "layer.kernel.B": torch.stack([one, torch.zeros_like(one)], -1)[None],
        "layer.kernel.C": tensors["kernel.C"][None],
        "output_linear.0.weight": weight.squeeze(-1),
        "output_linear.0.bias": tensors["output_linear.0.bias"],
    }


def parameter_groups(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: the model at `rate`, and dt, A, B and P at `SSM_RATE` or less, without decay."""
    slow = [
        getattr(module, name)
        for module in model.modules()
        if isinstance(module, DiagonalKernel | DplrKernel | DenseKernel)
        for name in module.slow
    ]
    known = {id(parameter) for parameter in slow}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [{"params": rest, "lr": rate}, {"params": slow, "lr": min(rate, SSM_RATE), "weight_decay": 0.0}]
