"""Distribution functions that torch does not have: Student's t and the negative binomial, for any real parameters.

The tail of t is raised to 20 more degrees of freedom by the recurrence of the incomplete beta function (Abramowitz and
Stegun 1964, 26.5.16), where the normal expansion of Hill 1970 (Algorithm 395) is exact to 1e-9. The negative binomial
is summed below 24; above, it is a gamma distribution (the first term of Didonato and Morris 1992, BGRAT) or, where the
shape is large, the normal one of Peizer and Pratt 1968: both within 2e-3.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# All arguments broadcast against each other; the results are in their type, best float64.

RAISED = 10  # times that two degrees of freedom are added before the expansion
SUMMED = 24  # counts below which the negative binomial is a sum


def student_constant(df: Tensor) -> Tensor:
    """What `student_cdf` needs of the degrees of freedom alone."""
    return torch.lgamma(0.5 * df + 0.5) - torch.lgamma(0.5 * df + 1) - 0.5 * math.log(math.pi) - math.log(2)


def student_cdf(y: Tensor, df: Tensor, constant: Tensor) -> Tensor:
    """P(T <= y) of Student's t with `df` > 0 degrees of freedom; `constant` is what `student_constant` gives."""
    square = y * y
    rest = square / (df + square)  # 1 - x of the incomplete beta function I_x(df / 2, 1 / 2)
    shape, log_ratio = 0.5 * df, torch.log1p(square / df)
    term = torch.exp(constant - shape * log_ratio) * rest.sqrt()
    tail = torch.zeros_like(term)
    for step in range(RAISED):
        tail = tail + term
        term = term * (1 - rest) * ((shape + step + 0.5) / (shape + step + 1))
    tail = tail + _hill_tail(log_ratio, df + 2 * RAISED)
    return torch.where(y > 0, 1 - tail, tail)


def _hill_tail(log_ratio: Tensor, df: Tensor) -> Tensor:
    """P(T > |t|) for many degrees of freedom, from log(1 + t * t / df)."""
    a = df - 0.5
    b = 48 * a * a
    w = a * log_ratio
    correction = (((-0.4 * w - 3.3) * w - 24.0) * w - 85.5) / (0.8 * w * w + 100.0 + b)
    tail: Tensor = torch.special.ndtr(-((correction + w + 3.0) / b + 1.0) * w.clamp_min(1e-300).sqrt())
    return tail


def count_log_prob(value: Tensor, total: Tensor, logits: Tensor) -> Tensor:
    """Log of the negative binomial's mass, carried on between the counts; value >= 0."""
    ways = torch.lgamma(total + value) - torch.lgamma(1.0 + value) - torch.lgamma(total)
    return total * F.logsigmoid(-logits) + value * F.logsigmoid(logits) + ways


def small_counts(total: Tensor, logits: Tensor) -> Tensor:
    """P(K <= k) for k = 0 .. SUMMED - 1 on a new last axis."""
    counts = torch.arange(SUMMED, dtype=total.dtype, device=total.device)
    return count_log_prob(counts, total[..., None], logits[..., None]).exp().cumsum(-1).clamp(max=1.0)


def count_cdf(value: Tensor, total: Tensor, logits: Tensor, below: Tensor) -> Tensor:
    """P(K <= value) of a negative binomial of mean total * exp(logits); `below` is what `small_counts` gives."""
    count = torch.floor(value)
    position = count.nan_to_num().clamp(0, SUMMED - 1).long()[..., None]  # NaN is no position
    summed = below.expand(*value.shape, SUMMED).gather(-1, position)[..., 0]
    summed = torch.where(value < 0, torch.zeros_like(summed), summed)
    many = count >= SUMMED
    if not many.any():  # the usual case, and the others are dear
        return summed
    total, logits = total.expand_as(value)[many], logits.expand_as(value)[many]
    far = torch.maximum(_many_counts(count[many], total, logits), summed[many])
    return summed.masked_scatter(many, far)


def _many_counts(count: Tensor, total: Tensor, logits: Tensor) -> Tensor:
    """P(K <= count) for counts from SUMMED on."""
    waiting = -F.logsigmoid(logits) * (count + 0.5 * (total + 1))
    gamma = torch.special.gammainc(total.detach(), waiting)  # torch has no derivative in the first argument
    return torch.where((total < 6) | (logits > 3.5), gamma, _peizer_pratt(count, total, logits))


def _peizer_pratt(count: Tensor, total: Tensor, logits: Tensor) -> Tensor:
    """The normal approximation to P(K <= count) where both the count and the shape are large."""
    q, x = torch.sigmoid(logits).clamp(1e-12, 1 - 1e-12), torch.sigmoid(-logits).clamp(1e-12, 1 - 1e-12)
    s, t = count + 0.5, total.clamp(min=6.0) - 0.5
    n = s + t
    distance = count + 2 / 3 - (n + 1 / 3) * q + 0.02 * (q / (count + 1) - x / (t + 0.5) + (q - 0.5) / (n + 1))
    spread = (1 + x * _bent(s / (n * q)) + q * _bent(t / (n * x))) / ((n + 1 / 6) * q * x)
    reached: Tensor = torch.special.ndtr(distance * spread.clamp(min=0).sqrt())
    return reached


def _bent(ratio: Tensor) -> Tensor:
    """Peizer and Pratt's g: (1 - r^2 + 2 r log r) / (1 - r)^2, 0 at 1."""
    near = (ratio - 1).abs() < 1e-4
    safe = torch.where(near, torch.full_like(ratio, 2.0), ratio)
    return torch.where(near, (1 - ratio) / 3, (1 - safe * safe + 2 * safe * safe.log()) / (1 - safe).square())
