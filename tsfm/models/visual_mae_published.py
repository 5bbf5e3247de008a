"""Batches of any series by the published ways to draw: periods chosen, gaps filled, and rows of one kind together."""

from typing import Any

import torch
from torch import Tensor

from tsfm.batch import Batch
from tsfm.models.time_moe_losses import fill_gaps
from tsfm.models.visual_mae_config import VisualMAEConfig
from tsfm.models.visual_mae_images import in_order, standardised, vision_ts, vision_ts_plus
from tsfm.models.visual_mae_layers import MaskedAutoencoder, masking, pixel_loss
from tsfm.models.visual_mae_training import generator_of
from tsfm.nn.folding import fold, resized
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.nn.periods import choose_period

# B series, C context steps, H horizon, V variates, S pixels a side, Q quantile levels.

MASK_RATIO = 0.75


def published_quantiles(mae: MaskedAutoencoder, config: VisualMAEConfig, batch: Batch, horizon: int) -> Tensor:
    """Quantiles (B, H, Q) of the steps after a batch; companions are drawn beside a series where colours allow."""
    values, observed = torch.where(batch.observed, batch.values, 0.0), batch.observed
    lengths = values.shape[1] - observed.to(torch.uint8).argmax(1)
    unit = standardised(values, 1.0).values
    periods = choose_period(unit, observed, batch.season, config.longest_period)[0]
    variates = with_companions(config, fill_gaps(values, observed), batch)
    found = values.new_empty(len(values), horizon, len(config.quantile_levels))
    for length, period in torch.stack([lengths, periods], 1).unique(dim=0).tolist():
        rows = ((lengths == length) & (periods == period)).nonzero()[:, 0]
        chosen = variates[rows, :, -length:]
        sizes: dict[str, Any] = {"norm_const": config.norm_const, "align_const": config.align_const}
        if config.drawing == "visionts++":
            made = vision_ts_plus(mae, chosen, horizon, period, clip=config.clip, **sizes)[:, 0]
        else:
            made = vision_ts(mae, chosen[:, 0], horizon, period, interpolation=config.interpolation, **sizes)[..., None]
        found[rows] = made.to(found.dtype)
    return found


def with_companions(config: VisualMAEConfig, values: Tensor, batch: Batch) -> Tensor:
    """Series (B, 1 + V, C) with the variates to be forecast beside them, their gaps filled."""
    given = batch.covariates
    if config.drawing != "visionts++" or given is None or not given.companions.shape[1]:
        return values[:, None]
    shape = given.companions.shape
    seen = given.companions_observed.flatten(0, 1)
    others = fill_gaps(torch.where(seen, given.companions.flatten(0, 1), 0.0), seen).to(values.dtype)
    others = torch.where(seen.any(1, keepdim=True), others, 0.0)
    return torch.cat([values[:, None], others.view(shape)], 1)


def published_loss(mae: MaskedAutoencoder, config: VisualMAEConfig, values: Tensor, observed: Tensor) -> Tensor:
    """The loss of hidden patches of windows (B, L), drawn whole: three quarters at random, or all on the right.

    Squared errors of pixels as MAE's; of heads of quantiles, their pinball loss.
    """
    generator = generator_of(values, observed)
    first = observed.to(torch.uint8).argmax(1).tolist()
    rows = [row for row in range(len(values)) if bool(observed[row].any())]
    images = torch.stack([pictured(config, values[row, first[row] :], observed[row, first[row] :]) for row in rows])
    noise = torch.rand(len(images), mae.side**2, generator=generator).to(values.device)
    keep = round(mae.side**2 * (1 - MASK_RATIO))
    if float(torch.rand(1, generator=generator)) < 0.5:
        keep = mae.side * max(1, round(mae.side * config.align_const))
        noise = torch.arange(mae.side, device=values.device).float().repeat(mae.side).expand(len(images), -1)
    visible, restore, mask = masking(noise, keep)
    read = mae.decode(mae.encode(images, visible), restore)
    target = mae.patchify(images)
    if not config.quantile_heads:
        return pixel_loss(mae.decoder_pred(read), target, mask)
    levels = target.new_tensor(config.quantile_levels)
    each = pinball(target, torch.stack(in_order(mae, read), -1), levels).mean(-1)
    return (each * mask).sum() / mask.sum()


def forecast_loss(found: Tensor, batch: Batch, target: Tensor, counted: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Pinball loss of quantiles (B, H, Q), in deviations of the contexts; target, counted (B, H)."""
    deviation = standardised(torch.where(batch.observed, batch.values, 0.0), 1.0).deviation
    each = pinball(target / deviation, found / deviation[..., None], found.new_tensor(levels))
    return weighted_mean(each[..., None], counted[..., None])


def pictured(config: VisualMAEConfig, values: Tensor, observed: Tensor) -> Tensor:
    """A window (L,) as a whole image (3, S, S), folded at its period."""
    filled = fill_gaps(torch.where(observed, values, 0.0)[None], observed[None])
    standard = standardised(filled, config.norm_const).values
    season = torch.ones(1, dtype=torch.int64, device=values.device)
    longest = min(config.longest_period, max(2, len(values) // 2))
    period = int(choose_period(standard, observed[None], season, longest)[0])
    image = resized(fold(standard, period)[None], config.image, config.image, config.interpolation)
    return image[0].expand(3, -1, -1)
