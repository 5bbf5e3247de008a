"""What patch decoders learn from a batch of one's own series, and their forecasts with gradients; for fine-tuning.

The flagship and the state-space decoder share these: they differ in what lies between the channels of tokens and the
quantiles.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.batch import Batch
from tsfm.models.decoder_inputs import Inputs
from tsfm.nn.lags import default_boundaries
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.nn.scaling import Scale, squash, unsquash

# B series, C context steps, N context patches, P patch length, H horizon, Q quantile levels.

SQUASHED_LIMIT = 12.0  # sinh(12) = 81,000 standard deviations: beyond it a forecast is a numerical accident
FURTHEST_TARGET = 8.0  # squashed; a loss beyond it is that of an outlier
CONTEXT_SHARE = 0.3  # of the patches of the context in the loss of fine-tuning


class PatchDecoder(Protocol):
    """What is asked of a decoder here."""

    config: Any
    precision: torch.dtype

    @property
    def patch(self) -> int: ...
    @property
    def levels(self) -> tuple[float, ...]: ...
    @property
    def inputs(self) -> Any: ...
    def __call__(self, channels: Tensor, mask: Tensor) -> Any: ...


def in_patches(steps: Tensor, patch: int) -> Tensor:
    """(B, C) -> (B, N, P), padded on the left."""
    patches: Tensor = F.pad(steps, (-steps.shape[1] % patch, 0)).unflatten(1, (-1, patch))
    return patches


def patches_of(model: PatchDecoder, horizon: int) -> int:
    """Patches of a horizon of one pass, or an error."""
    patches = -(-horizon // model.patch)
    if patches > model.config.max_ahead:
        raise ValueError(f"horizon {horizon} is beyond one pass of {model.config.max_ahead * model.patch} steps")
    return patches


def quantiles_after(model: PatchDecoder, made: Inputs, horizon: int) -> Tensor:
    """Quantiles (B, H, Q) of a horizon of one pass, with gradients, in the units of the batch."""
    patches = patches_of(model, horizon)
    with torch.autocast(made.channels.device.type, dtype=torch.bfloat16, enabled=model.precision == torch.bfloat16):
        squashed = model(made.channels, made.bias)[0][:, -patches:].clamp(-SQUASHED_LIMIT, SQUASHED_LIMIT)
    scale = Scale(*(part[:, -patches:] for part in made.scale))
    return unsquash(squashed, scale).flatten(1, 2)[:, :horizon]


def loss_of(model: PatchDecoder, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
    """Pinball loss, in squashed units, of the steps after a batch, and of the patches of its context beside it.

    target, counted  (B, H) in the units of the batch, of which one pass reaches the first max_ahead patches

    The context's patches, each forecast from those before it, keep a few windows from bending the model to them.
    """
    values, observed = in_patches(batch.values, model.patch), in_patches(batch.observed, model.patch)
    steps = min(target.shape[1], model.config.max_ahead * model.patch)
    patches, spare = -(-steps // model.patch), -steps % model.patch
    after = F.pad(target[:, :steps], (0, spare)).unflatten(1, (-1, model.patch))
    known = F.pad(counted[:, :steps], (0, spare)).unflatten(1, (-1, model.patch))
    made = model.inputs(values, observed, default_boundaries(values.shape[1]), ahead=patches - 1)
    with torch.autocast(values.device.type, dtype=torch.bfloat16, enabled=model.precision == torch.bfloat16):
        quantiles = model(made.channels, made.bias)[0]
    wanted = squash(torch.cat([values[:, 1:], after], 1), made.scale).clamp(-FURTHEST_TARGET, FURTHEST_TARGET)
    counts = torch.cat([observed[:, 1:], known], 1) & (made.scale.usable & (made.scale.seen >= 3))[..., None]
    each = pinball(wanted, quantiles, wanted.new_tensor(model.levels))
    ahead = weighted_mean(each[:, -patches:], counts[:, -patches:])
    return ahead + CONTEXT_SHARE * weighted_mean(each[:, :-patches], counts[:, :-patches])
