"""Tokens of Moirai-MoE: any number of variates cut into patches, and the numbers that say which belong together.

    sample_id   1 where a patch holds anything of the series, 0 for padding; packed rows hold several samples
    time_id     patches since the first one in which any target was observed
    variate_id  one a variate

Tokens stand in the order in which the published code puts them: the context of all targets, their horizon, then of each
block of covariates its context and, where it is known ahead, its horizon.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.batch import Batch

# B rows, V targets, W covariates known ahead, Z known up to now, C context steps, H horizon, N tokens, P patch length.

SMALLEST_VARIANCE = 1e-5


@dataclass(frozen=True)
class Tokens:
    """target (B, N, P), observed (B, N, P) bool, ids (B, N) and what is to be forecast, predicted (B, N) bool."""

    target: Tensor
    observed: Tensor
    sample: Tensor
    time: Tensor
    variate: Tensor
    predicted: Tensor

    def scale(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (B, N, 1) of what is known of each token's variate; 0 and 1 for padding.

        In float64, with Bessel's correction, then in the type of the target; every token of a variate gets the same.
        """
        counted = (self.observed & ~self.predicted[..., None]).double()
        pairs = (self.sample[:, :, None] == self.sample[:, None]) & (self.variate[:, :, None] == self.variate[:, None])
        same, values = pairs.double(), self.target.double()
        count = same @ counted.sum(-1, keepdim=True)
        loc = same @ (values * counted).sum(-1, keepdim=True) / count.clamp(min=1)
        squares = same @ ((values - loc).square() * counted).sum(-1, keepdim=True)
        scale = (squares / torch.where(count == 1, 1.0, (count - 1).abs()) + SMALLEST_VARIANCE).sqrt()
        padding, kind = (self.sample == 0)[..., None], self.target.dtype
        return loc.masked_fill(padding, 0.0).to(kind), scale.masked_fill(padding, 1.0).to(kind)

    def filled(self, columns: Tensor, values: Tensor) -> "Tokens":
        """The tokens with values (B, V, P) in these columns (V,), no longer to be forecast."""
        return replace(
            self,
            target=self.target.index_copy(1, columns, values),
            predicted=self.predicted.index_fill(1, columns, False),
        )

    def split(self, rows: int) -> "list[Tokens]":
        """So many rows at a time."""
        parts = (getattr(self, name).split(rows) for name in self.__dataclass_fields__)
        return [Tokens(*each) for each in zip(*parts, strict=True)]

    def repeated(self, times: int) -> "Tokens":
        """Every row `times` times, copies of a row side by side."""
        return Tokens(*(getattr(self, name).repeat_interleave(times, 0) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a number of variates stand.

    targets, ahead, past  variates to be forecast, known ahead, known up to now
    context, horizon      patches
    """

    targets: int
    ahead: int
    past: int
    context: int
    horizon: int

    @property
    def variates(self) -> int:
        return self.targets + self.ahead + self.past

    def steps(self) -> Tensor:
        """Patch (N,) of each token, counted from the first of the context."""
        before = torch.arange(self.context)
        after = self.context + torch.arange(self.horizon)
        blocks = [(self.targets, True), (self.ahead, True), (self.past, False)]
        return torch.cat(
            [part.repeat(count) for count, later in blocks for part in ([before, after] if later else [before])]
        )

    def before(self, step: int) -> Tensor:
        """Tokens that can be seen when patch `step` of the horizon is forecast."""
        return torch.nonzero(self.steps() < self.context + step)[:, 0]

    def of_targets(self, step: int) -> Tensor:
        """Token (V,) of each target that holds patch `step` of the horizon, or of the context's end for -1."""
        variate = torch.arange(self.targets)
        if step < 0:
            return variate * self.context + self.context + step
        return self.targets * self.context + variate * self.horizon + step


@dataclass(frozen=True)
class Block:
    """Variates of one kind: values and observed, (B, V, C) or, of what is known ahead, (B, V, C + H)."""

    values: Tensor
    observed: Tensor


def batch_tokens(batch: Batch, patch: int, horizon: int) -> tuple[Tokens, Layout]:
    """The tokens of a batch; what is missing is read as the published predictor does.

    Steps missing in a single target are the mean of those before them, all others 0.
    """
    values, observed = torch.where(batch.observed, batch.values, 0.0), batch.observed
    given = batch.covariates
    if given is None or not given.companions.shape[1]:
        targets = Block(causal_mean(values, observed)[:, None], observed[:, None])
    else:
        both = [(values, given.companions), (observed, given.companions_observed)]
        targets = Block(*(torch.cat([own[:, None], others], 1) for own, others in both))
    padded = targets.observed.any(1).long().cummax(1).values == 0
    if given is None:
        return tokens(patch, horizon, targets, padded)
    known = values.shape[1] + horizon
    ahead = Block(given.future[..., :known], given.future_observed[..., :known])
    return tokens(patch, horizon, targets, padded, ahead, Block(given.past, given.past_observed))


def tokens(
    patch: int, horizon: int, targets: Block, padded: Tensor, ahead: Block | None = None, past: Block | None = None
) -> tuple[Tokens, Layout]:
    """The tokens of a context and of a horizon that is to be forecast, and where they stand.

    padded (B, C) True where the context has not begun. Values that are not observed are read as they stand.
    """
    rows, count, steps = targets.values.shape
    spare, later = -steps % patch, -horizon % patch
    # A quirk of the published code: padding up to a whole patch hides a token of a target, but not of a covariate.
    real = [1 - patches(F.pad(padded.long(), (spare, 0), value=fill), patch).amin(-1) for fill in (1, 0)]
    begun = patches(F.pad(targets.observed.any(1), (spare, 0)), patch).any(-1)
    before = (begun.long().cummax(1).values.cumsum(1) - 1).clamp(min=0)  # (B, context)
    layout = Layout(
        count,
        0 if ahead is None else ahead.values.shape[1],
        0 if past is None else past.values.shape[1],
        before.shape[1],
        (horizon + later) // patch,
    )
    after = before.amax(1, keepdim=True) + 1 + torch.arange(layout.horizon, device=before.device)
    unknown = targets.values.new_zeros(rows, count, horizon)
    due = Block(unknown, torch.ones_like(unknown, dtype=torch.bool))
    pieces = [(targets, 0, before, real[0], False, (spare, 0)), (due, 0, after, None, True, (0, later))]
    if ahead is not None:
        known = [Block(one.values, one.observed) for one in split(ahead, steps)]
        pieces += [(known[0], count, before, real[1], False, (spare, 0))]
        pieces += [(known[1], count, after, None, False, (0, later))]
    if past is not None:
        pieces += [(past, count + layout.ahead, before, real[1], False, (spare, 0))]
    return joined([piece(*parts, patch) for parts in pieces]), layout


def piece(
    block: Block,
    first: int,
    time: Tensor,
    real: Tensor | None,
    predicted: bool,
    padding: tuple[int, int],
    patch: int,
) -> Tokens:
    """The tokens of the context, or of the horizon, of one block of variates, numbered from `first`."""
    rows, count = block.values.shape[:2]
    values = patches(F.pad(block.values, padding), patch)
    observed = patches(F.pad(block.observed, padding), patch)
    each = values.shape[2]
    time = time[:, None].expand(rows, count, each)
    sample = torch.ones_like(time) if real is None else real[:, None].expand(rows, count, each)
    variate = first + torch.arange(count, device=time.device)[:, None].expand(rows, count, each)
    parts = (values, observed, sample, time, variate, torch.full_like(time, predicted, dtype=torch.bool))
    return Tokens(*(part.flatten(1, 2) for part in parts))


def patches(steps: Tensor, patch: int) -> Tensor:
    """(..., C) -> (..., C / P, P)."""
    cut: Tensor = steps.unflatten(-1, (-1, patch))
    return cut


def left_padded(steps: Tensor, patch: int) -> Tensor:
    """(B, C) with as many zeros before it as a whole number of patches takes."""
    padded: Tensor = F.pad(steps, (-steps.shape[1] % patch, 0))
    return padded


def split(block: Block, steps: int) -> list[Block]:
    """What is known ahead, as its past and its future."""
    return [
        Block(block.values[..., :steps], block.observed[..., :steps]),
        Block(block.values[..., steps:], block.observed[..., steps:]),
    ]


def joined(parts: list[Tokens]) -> Tokens:
    """All tokens in one row."""
    return Tokens(*(torch.cat([getattr(one, name) for one in parts], 1) for name in Tokens.__dataclass_fields__))


def causal_mean(values: Tensor, observed: Tensor) -> Tensor:
    """Each missing step as the mean of all steps before it, a missing one counted as the last that was observed.

    (B, C), differentiable; steps before the first observed one are 0. What GluonTS calls causal mean imputation.
    """
    position = torch.arange(values.shape[1], device=values.device)
    first = torch.where(observed.any(1), observed.long().argmax(1), values.shape[1])[:, None]
    last = torch.where(observed, position, 0).cummax(1).values
    begun = position >= first
    carried = torch.where(begun, values.double().gather(1, last), 0.0)
    sums = F.pad(carried.cumsum(1), (1, -1))
    mean = (sums / (position - first).clamp(min=1)).to(values.dtype)
    return torch.where(observed, values, torch.where(begun, mean, torch.zeros_like(mean)))
