"""Random numbers of the synthetic engine: every law that the families name, from one torch.Generator.

A family never calls torch's random functions itself, so one seed fixes a whole batch, and a move to another device
changes nothing but the stream.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# B series, T steps, K knots or cells of a coarse grid.


@dataclass(frozen=True)
class Drawn:
    """What a family returns: series in any units and the main season of each.

    values  (B, T)  float32
    period  (B,)    float32, steps; 0 where there is no season
    """

    values: Tensor
    period: Tensor


class Draws:
    """Random tensors on one device from one generator; bounds may be numbers or broadcastable tensors."""

    def __init__(self, seed: int, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, low: float | Tensor, high: float | Tensor, *shape: int) -> Tensor:
        unit = torch.rand(*shape, generator=self.generator, device=self.device)
        if isinstance(low, (int, float)) and isinstance(high, (int, float)):
            return unit.mul_(high - low).add_(low)
        return unit * (high - low) + low

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.uniform(math.log(low), math.log(high), *shape).exp_()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def complex_normal(self, *shape: int) -> Tensor:
        return torch.view_as_complex(self.normal(*shape, 2))

    def log_normal(self, median: float, sd: float | Tensor, *shape: int) -> Tensor:
        return (self.normal(*shape) * sd).exp_() * median

    def chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        """0.0 or 1.0 (a float mask multiplies faster than a bool mask selects)."""
        unit = torch.rand(*shape, generator=self.generator, device=self.device)
        return (unit < probability).to(torch.float32)

    def integer(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers in low..high, both included, int64."""
        return torch.randint(low, high + 1, shape, generator=self.generator, device=self.device)

    def pick(self, weights: Sequence[float] | Tensor, rows: int) -> Tensor:
        """(B,) indices drawn with replacement in proportion to `weights`."""
        table = torch.as_tensor(weights, dtype=torch.float32, device=self.device)
        return torch.multinomial(table, rows, replacement=True, generator=self.generator)

    def student(self, freedom: float | Tensor, *shape: int) -> Tensor:
        """Student-t by Bailey's polar method (1994): exact, and free of rejection."""
        unit = self.uniform(1e-6, 1.0, *shape)
        radius = (freedom * ((unit.log() * (-2.0 / freedom)).expm1())).sqrt_()
        return radius * torch.cos(self.uniform(0.0, 2 * math.pi, *shape))

    def beta_like(self, a: float | Tensor, b: float | Tensor, *shape: int) -> Tensor:
        """Kumaraswamy's law on (0, 1): the shapes of a Beta with a closed-form inverse."""
        inner = (1.0 - self.uniform(0.0, 1.0, *shape)) ** (1.0 / b)
        return (1.0 - inner).clamp_(0.0, 1.0) ** (1.0 / a)

    def dirichlet(self, concentration: float, rows: int, parts: int) -> Tensor:
        """(B, K) weights that sum to one."""
        alpha = torch.full((rows, parts), concentration, device=self.device)
        gammas = self.gamma_like(alpha).clamp_min_(1e-6)
        return gammas / gammas.sum(1, keepdim=True)

    def gamma_like(self, shape_parameter: Tensor) -> Tensor:
        """Gamma of mean `shape_parameter` by the Wilson-Hilferty cube (1931), close for shapes above a half."""
        z = self.normal(*shape_parameter.shape)
        spread = 1.0 / (9.0 * shape_parameter)
        return shape_parameter * (1.0 - spread + z * spread.sqrt()).clamp_min(0.0) ** 3

    def poisson(self, rate: Tensor) -> Tensor:
        """Counts of the given rates; above 60 the rounded normal, which is as good there and ten times as fast."""
        small = torch.poisson(rate.clamp(0.0, 60.0), generator=self.generator)
        large = (rate + rate.clamp_min(0.0).sqrt() * self.normal(*rate.shape)).round_()
        is_large = (rate > 60.0).to(rate.dtype)
        return torch.lerp(small, large, is_large)

    def negative_binomial(self, rate: Tensor, dispersion: Tensor) -> Tensor:
        """Counts of mean `rate` and variance rate + dispersion * rate**2, as a gamma-mixed Poisson."""
        shape_parameter = (1.0 / dispersion).clamp(0.5, 1e4).expand_as(rate)
        return self.poisson(rate * self.gamma_like(shape_parameter) / shape_parameter)

    def rows(self, probability: float, rows: int) -> Tensor:
        """Indices of the rows that a coin of `probability` selects."""
        return torch.nonzero(self.chance(probability, rows)).flatten()
