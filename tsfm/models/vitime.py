"""ViTime: forecasting by completing the picture of a series (Yang et al. 2024, arXiv 2407.07311).

The history is drawn as a line (vitime_pixels.py), a vision transformer completes the picture (vitime_layers.py), and
every column of what it gives is a distribution over the rows, which are values. Quantiles come from that distribution,
column by column: its cumulative sum is inverted, a pixel's probability spread evenly over the pixel; a step between two
columns lies between their quantiles. The published decoding, to the most probable row, is `published_forecast`.

A picture has any number of steps, but a history that takes less than `least_share` of it is drawn with a shorter
future, and its median is then drawn as history, until the horizon is reached. Steps that were not observed are filled
by straight lines.

Published weights have a signed root mean square in the middle of their pictures (`reference="signed-rms"`), so what
they say does not move with the level of a series. Models trained here have the mean there, and a loss of their own
(vitime_losses.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from tsfm import kernels
from tsfm.batch import Batch
from tsfm.models.time_moe_losses import fill_gaps
from tsfm.models.vitime_layers import PictureTransformer, check_sizes
from tsfm.models.vitime_losses import column_loss, ends, weighted_mean
from tsfm.models.vitime_pixels import (
    Decoding,
    Picture,
    Reference,
    Scene,
    between,
    centre,
    columns_per_step,
    decoded,
    draw,
    future,
    quantiles_of,
    rows_of,
    scene_of,
    value_of,
)
from tsfm.options import DECILES
from tsfm.registry import register

# B series, C context steps, W window, S steps, H horizon, T columns, h height, Q quantile levels.

ROWS = 4  # times `kernels.rows_at_once` patches go through the transformer together
GOLDEN = 0.618033988749895  # its multiples, without their whole parts, cover (0, 1) evenly


@dataclass(frozen=True)
class ViTimeConfig:
    """Sizes of the picture and of the transformer.

    height, columns  of the picture; limit: standard deviations from its middle to its edges
    patch_rows, patch_columns  of a patch
    blur             side of the Gaussian, an odd number of pixels; the published 31 hides seasons of a dozen columns
    reference        what stands in the middle of the picture
    max_context, max_horizon   most steps that a picture shows
    least_share      of the picture that a history takes at least, where it is forecast in several passes
    distance_power   of the distance between rows in the loss, and distance_weight of that beside the likelihood
    past_weight      of columns of the history in the loss
    """

    height: int = 64
    columns: int = 576
    limit: float = 3.5
    patch_rows: int = 16
    patch_columns: int = 16
    width: int = 128
    depth: int = 6
    heads: int = 4
    decoder_width: int = 64
    decoder_depth: int = 2
    decoder_heads: int = 4
    blur: int = 5
    reference: Reference = "mean"
    norm_eps: float = 1e-5
    max_context: int = 1024
    max_horizon: int = 1024
    least_share: float = 0.25
    distance_power: float = 1.0
    distance_weight: float = 1.0
    past_weight: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit each other."""
        check_sizes(self)


PRESETS = {
    "tiny": ViTimeConfig(height=32, columns=192, patch_rows=8, width=32, depth=2, decoder_width=32, decoder_depth=1),
    "nano": ViTimeConfig(),
    # The pictures are those that the published code names; the sizes of its transformer stand in its checkpoint alone.
    "base": ViTimeConfig(
        height=128,
        columns=2464,
        patch_rows=4,
        patch_columns=32,
        width=512,
        depth=6,
        heads=8,
        decoder_width=256,
        decoder_depth=3,
        decoder_heads=8,
        blur=31,
        reference="signed-rms",
        max_context=512,
        max_horizon=720,
    ),
}


@register("vitime")
class ViTime(nn.Module):
    """Picture completion by a vision transformer, with quantiles from its pixels; see the module's docstring."""

    Config = ViTimeConfig
    levels = DECILES
    any_level = True
    fills_gaps = True
    input_dtype = torch.float64
    PARTS = MappingProxyType(
        {
            "head": r"^model\.decoder_(pred|norm)\.",
            "norms": r"norm\d?\.(weight|bias)$",
            "matrices": r"blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight$",
            "layers": r"^model\.blocks\.\d+\.(attn|mlp)$",
        }
    )

    def __init__(self, config: ViTimeConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.model = PictureTransformer(
            (config.height, config.columns),
            (config.patch_rows, config.patch_columns),
            (config.width, config.decoder_width),
            (config.depth, config.decoder_depth),
            (config.heads, config.decoder_heads),
            config.norm_eps,
        )

    @property
    def max_context(self) -> int:
        """Most steps of history that a picture shows."""
        return self.config.max_context

    @property
    def own_scaling(self) -> bool:
        """Whether the user's own values are to be seen: the signed root mean square moves with their level."""
        return self.config.reference != "mean"

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return self.model.grid[0] * self.model.grid[1]

    @property
    def active_parameters(self) -> int:
        """Parameters that a patch meets: all."""
        return sum(weight.numel() for weight in self.parameters())

    @staticmethod
    def run_settings(config: ViTimeConfig) -> dict[str, Any]:
        """What pretraining begins with: windows of up to 2,048 steps, a fifth of them by the published synthesis."""
        windows = {"contexts": (512, 1024, 2048), "context_shares": (0.4, 0.4, 0.2), "tokens": 512}
        windows["families"] = {"realts": 0.26}
        return {"windows": windows, "matrix_rate": 0.005, "other_rate": 1e-3, "weight_decay": 0.05, "compiled": False}

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products (float32 or bfloat16)."""
        self.precision = dtype

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, T, h) over the rows of every column, from pictures (B, T, h)."""
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            found: Tensor = self.model(image.mT)
        return found.float().mT

    def draw(self, values: Tensor, scene: Scene) -> Picture:
        """The pictures of series (B, S), float64 without gaps."""
        config = self.config
        return draw(values, scene, config.columns, config.height, config.limit, config.blur, config.reference)

    @torch.inference_mode()
    def published_forecast(self, values: Tensor, horizon: int, decoding: Decoding = "max") -> tuple[Tensor, Tensor]:
        """Histories with their forecasts (B, C + H), and the forecasts alone, as the published code decodes them.

        values  (B, C) in any units, each without gaps; one pass, whatever the horizon
        """
        rows, steps = values.shape
        first = torch.zeros(rows, dtype=torch.int64, device=values.device)
        scene = Scene(first, first + steps, first + horizon)
        picture = self.draw(values.double(), scene)
        row = decoded(self(picture.image), decoding)
        found = value_of(row, self.config.height, self.config.limit) * picture.deviation + picture.reference
        step = torch.arange(steps + horizon, device=values.device).expand(rows, -1)
        full = between(found, step * columns_per_step(scene, self.config.columns))
        return full, full[:, steps:]

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] = DECILES) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at any levels, in the units of the batch."""
        return self._quantiles(batch, horizon, quantile_levels)

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says at `levels`, with gradients in the weights and in the values."""
        return self._quantiles(batch, horizon, self.levels)

    def _quantiles(self, batch: Batch, horizon: int, quantile_levels: Sequence[float]) -> Tensor:
        """Pass by pass, each series at its own speed: short histories take several for what others see at once."""
        values, observed = batch.values[:, -self.max_context :].double(), batch.observed[:, -self.max_context :]
        device, rows, steps = values.device, len(values), values.shape[1]
        levels = torch.tensor([*quantile_levels, 0.5], dtype=torch.float64, device=device)
        known = fill_gaps(torch.where(observed, values, 0.0), observed)
        made = known.new_zeros(rows, horizon, len(levels))
        done = torch.zeros(rows, dtype=torch.int64, device=device)
        start, column = observed.to(torch.uint8).argmax(1), torch.arange(horizon, device=device)
        while bool((left := horizon - done).any()):
            stop = steps + done
            first = torch.maximum(start, stop - self.max_context)
            ahead = torch.minimum(left, self.reach(stop - first))
            open_rows = torch.nonzero(left).flatten()
            series = torch.cat([known, made[..., -1]], 1)[open_rows]
            found = self._pass(series, Scene(first[open_rows], stop[open_rows], ahead[open_rows]), levels)
            place = (column - done[open_rows, None]).clamp(0, found.shape[1] - 1)
            found = found.gather(1, place[..., None].expand(-1, -1, len(levels)))
            within = (column >= done[:, None]) & (column < (done + ahead)[:, None])
            whole = torch.zeros_like(made).index_copy(0, open_rows, found)
            made, done = torch.where(within[..., None], whole, made), done + ahead
        return made[..., :-1].to(batch.values.dtype)

    def reach(self, history: Tensor) -> Tensor:
        """Steps (B,) that one pass forecasts after histories of so many steps (B,)."""
        share = self.config.least_share
        return (history * ((1 - share) / share)).long().clamp(1, self.config.max_horizon)

    def _pass(self, values: Tensor, scene: Scene, levels: Tensor) -> Tensor:
        """Quantiles (B, H, Q) after histories in (B, S), H the largest `ahead`, a few thousand patches at a time."""
        size, horizon = max(1, ROWS * kernels.rows_at_once(values.device) // self.patches), int(scene.ahead.max())
        found = []
        for some in torch.arange(len(values), device=values.device).split(size):
            here = Scene(*(part[some] for part in scene))
            picture = self.draw(values[some], here)
            columns = quantiles_of(self(picture.image), levels, self.config.limit)
            steps = future(columns, here, horizon)
            found.append(steps * picture.deviation[..., None] + picture.reference[..., None])
        # Between two columns rounding may lift one level over the next.
        order = levels.argsort()
        return torch.cat(found)[..., order].cummax(-1).values[..., order.argsort()]

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """The loss of contexts with what came after them; target and counted (B, H) in the batch's units."""
        values, observed = torch.cat([batch.values, target], 1), torch.cat([batch.observed, counted], 1)
        first, last = ends(observed)
        context = torch.full_like(first, batch.values.shape[1])
        return self._loss(values, observed, scene_of(first, context, (last - context).clamp(min=1)))

    def window_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """The loss of training windows (B, W), of which each is cut into history and future at another place."""
        first, last = ends(observed)
        row = torch.arange(len(values), device=values.device)
        share = self.config.least_share + (1 - self.config.least_share) * (row * GOLDEN).frac()
        history = torch.minimum((share * (last - first)).long(), last - first - 1).clamp(min=1)
        history = history.clamp(max=self.config.max_context)
        ahead = (last - first - history).clamp(1, self.config.max_horizon)
        return self._loss(values, observed, scene_of(first, first + history, ahead))

    def _loss(self, values: Tensor, observed: Tensor, scene: Scene) -> Tensor:
        """Mean over series of what their columns lose, those of the future and, at less weight, of the history.

        A history that never changes is left out: it has no scale to draw its future at.
        """
        config = self.config
        filled = fill_gaps(torch.where(observed, values, 0.0).double(), observed)
        picture = self.draw(filled, scene)
        column = torch.arange(config.columns, device=values.device)
        place = scene.first[:, None] + column / columns_per_step(scene, config.columns)
        standardised = (between(filled, place) - picture.reference) / picture.deviation
        row = rows_of(standardised, config.height, config.limit)
        each = column_loss(self(picture.image), row, config.limit, config.distance_power, config.distance_weight)
        seen = between(observed.double(), place) > 1 - 1e-6
        after = column >= scene.history_columns(config.columns)[:, None]
        step = torch.arange(values.shape[1], device=values.device)
        history = observed & (step >= scene.first[:, None]) & (step < scene.stop[:, None])
        moves = centre(filled, history, "mean")[1] > 1e-5 * filled.abs().amax(1, keepdim=True)
        parts = [weighted_mean(each, seen & after & moves), weighted_mean(each, seen & ~after & moves)]
        return parts[0] + config.past_weight * parts[1]

    def bytes_per_series(self, context: int, horizon: int, levels: int = 9) -> int:
        """Peak memory of one series in `predict` beside what `_pass` takes for a few, for choosing a batch size."""
        return 24 * context + 40 * horizon * (levels + 2)
