"""Visual-MAE: a masked autoencoder of images that forecasts series drawn as images, and fills their gaps.

Three ways to draw, one network (visual_mae_layers.py, official parameter names):

    "visionts"    VisionTS (Chen et al. 2024): official MAE weights (He et al. 2021) as they are; a point model
    "visionts++"  VisionTS++ (Shen et al. 2025): variates are bands of three colours, a head a quantile
    "exact"       ours: a column of pixels is a fold of the series, never stretched, and pixels tell what was observed.
                  The decoder draws, beside quantiles, how far to follow the copies of a step one period before and
                  after, which are read off the series and not off pixels (nn/sheets.py): a season that repeats is
                  forecast to the last digit. Trained by hiding what comes after, spans, points and patches.

The period of each series is chosen by autocorrelation and spectrum (nn/periods.py). Horizons beyond an image are rolled
out on the median.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.batch import Batch
from tsfm.models.visual_mae_config import PRESETS as PRESETS
from tsfm.models.visual_mae_config import VisualMAEConfig
from tsfm.models.visual_mae_layers import MaskedAutoencoder
from tsfm.models.visual_mae_published import forecast_loss, published_loss, published_quantiles
from tsfm.models.visual_mae_sheets import TRAITS, Sheet, forecast_places, sheet_of
from tsfm.models.visual_mae_training import Lesson, lesson_of
from tsfm.nn.heads import accumulation
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.nn.sheets import read, stretches
from tsfm.registry import register

# B series, C context steps, H horizon, T steps, S pixels a side, N patches, K visible ones, D width, Q quantile levels.

SQUASHED_LIMIT = 12.0  # sinh(12) = 81,000 standard deviations: beyond it a forecast is a numerical accident
FURTHEST_TARGET = 8.0  # squashed; a loss beyond it is that of an outlier


@register("visual-mae")
class VisualMAE(nn.Module):
    """Masked autoencoder over series drawn as images; see the module's docstring."""

    Config = VisualMAEConfig
    stored_in = "int8"  # its blocks, which forecast as well so
    PARTS = MappingProxyType(
        {
            "head": r"\.decoder_(pred|norm)\b",
            "norms": r"norm\d?\.(weight|bias)$",
            "matrices": r"blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight$",
            "layers": r"blocks\.\d+\.(attn|mlp)$",
        }
    )

    def __init__(self, config: VisualMAEConfig):
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.vision_model = MaskedAutoencoder(config)
        self.traits = nn.Linear(TRAITS, config.width) if self.exact else None
        if self.exact:
            nn.init.zeros_(self.vision_model.decoder_pred.weight)

    @property
    def exact(self) -> bool:
        """Whether series are drawn in our way."""
        return self.config.drawing == "exact"

    @property
    def levels(self) -> tuple[float, ...]:
        """Trained quantile levels."""
        return self.config.quantile_levels

    @property
    def max_context(self) -> int:
        """Longest context used, in steps."""
        return self.config.max_context

    @property
    def point_only(self) -> bool:
        """Whether the one level is a point forecast."""
        return len(self.levels) == 1

    @property
    def input_dtype(self) -> torch.dtype:
        """Of a batch's values: published ways to draw see the user's own, whatever their level."""
        return torch.float32 if self.exact else torch.float64

    @property
    def own_scaling(self) -> bool:
        """Whether the user's own values are to be seen: published epsilons are part of published numbers."""
        return not self.exact

    @property
    def fills_gaps(self) -> bool:
        """Whether straight lines are put where steps inside were not observed."""
        return not self.exact

    @property
    def uses_covariates(self) -> bool:
        """Whether companions are drawn beside the series."""
        return self.config.drawing == "visionts++"

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: at most all of them."""
        return sum(weight.numel() for weight in self.parameters())

    @staticmethod
    def run_settings(config: VisualMAEConfig) -> dict[str, Any]:
        """What pretraining begins with: windows of several lengths, 32,768 points a step."""
        windows = {"contexts": (512, 1024, 2048), "context_shares": (0.35, 0.4, 0.25), "tokens": 1024}
        return {"windows": windows, "matrix_rate": 0.005, "other_rate": 1.5e-3, "weight_decay": 0.05}

    def width_of(self, layer: str) -> int:
        """Width of what a layer reads and gives, by its name: those that draw are narrower."""
        return self.config.decoder_width if "decoder_blocks." in layer else self.config.width

    def set_precision(self, dtype: torch.dtype) -> None:
        """Choose the type of the large matrix products (float32 or bfloat16)."""
        self.precision = dtype

    def forward(self, images: Tensor, visible: Tensor, traits: Tensor) -> Tensor:
        """Maps (B, M, S, S) that the decoder draws of images (B, channels, S, S) of which patches `visible` are shown.

        visible (B, K), traits (B, 6) what no pixel tells, such as the steps of a column
        """
        mae = self.vision_model
        patches = mae.side**2
        shown = torch.zeros(len(images), patches, device=images.device).scatter_(1, visible, 1.0)
        restore = (1 - shown).argsort(dim=1, stable=True).argsort(1)
        visible = visible.sort(1).values
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            told = None if self.traits is None else self.traits(traits)[:, None]
            hidden = mae.decode(mae.encode(images, visible, told), restore)
        with torch.autocast(images.device.type, enabled=False):
            return mae.unpatchify(mae.decoder_pred(hidden.float()))

    def sheet_quantiles(self, sheet: Sheet, columns: int, visible: Tensor | None, when: Tensor) -> Tensor:
        """Squashed quantiles (B, T, Q) of steps, counted from the end of what is drawn in the left `columns` pixels.

        visible  (B, K) patches that are shown, None: all in those columns
        """
        config = self.config
        images, up = sheet.drawn(columns, config.image)
        if visible is None:
            place = torch.arange(config.side**2, device=images.device)
            visible = place[place % config.side < columns // config.patch_size].expand(len(images), -1)
        maps = self(images, visible, sheet.traits)
        first = columns if bool((when >= 0).all()) else 0
        found = read(maps[..., first:], up, sheet.fold, columns - first, when)  # (B, M, T)
        return self._combined(found.transpose(1, 2), sheet, when)

    def _combined(self, found: Tensor, sheet: Sheet, when: Tensor) -> Tensor:
        """Quantiles (B, T, Q) of what the maps say of steps (B, T, M): around the anchor, along its copies."""
        levels = len(self.levels)
        at = sheet.values.shape[1] + when
        anchor, others = sheet.copies.anchor[:, at], sheet.copies.others[:, at]
        middle = levels // 2
        around, gates = found[..., :levels], found[..., levels:]
        median = anchor + around[..., middle] + (gates * others).sum(-1)
        gaps = F.softplus(torch.cat([around[..., :middle], around[..., middle + 1 :]], -1) - 1.0)
        return median[..., None] + gaps @ accumulation(levels).to(gaps)

    def quantiles(self, batch: Batch, horizon: int) -> Tensor:
        """What `predict` says, with gradients in the weights; (B, H, Q) in the units of the batch."""
        if not self.exact:
            with torch.autocast(
                batch.values.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16
            ):
                return published_quantiles(self.vision_model, self.config, batch, horizon)
        values, observed, chosen = batch.values, batch.observed, None
        made: list[Tensor] = []
        while (done := sum(part.shape[1] for part in made)) < horizon:
            steps = min(horizon - done, self.config.one_pass)
            sheet = sheet_of(self.config, values, observed, batch.season, steps, chosen=chosen)
            columns, when = forecast_places(self.config, steps, values.device)
            squashed = self.sheet_quantiles(sheet, columns, None, when)
            made.append(sheet.unsquashed(squashed.clamp(-SQUASHED_LIMIT, SQUASHED_LIMIT)))
            chosen, middle = sheet.chosen, made[-1][..., len(self.levels) // 2]
            values = torch.cat([values, middle], 1)
            observed = torch.cat([observed, torch.ones_like(middle, dtype=torch.bool)], 1)
        return torch.cat(made, 1)

    @torch.inference_mode()
    def predict(self, batch: Batch, horizon: int, quantile_levels: Sequence[float] | None = None) -> Tensor:
        """Quantiles (B, H, Q) of the next `horizon` steps at the trained levels, in the units of the batch."""
        if quantile_levels is not None and tuple(quantile_levels) != self.levels:
            raise ValueError(f"visual-mae forecasts its trained levels {self.levels}; read others off the curve")
        found = self.quantiles(batch, horizon)
        # The gaps are positive, but their sums may differ in the last digit from one level to the next.
        return found.cummax(-1).values if self.exact else found.sort(-1).values

    @torch.inference_mode()
    def reconstruct(self, values: Tensor, observed: Tensor, period: Tensor | int | None = None) -> Tensor:
        """Quantiles (B, C, Q) of all steps of series with gaps, in their units; an observed step is itself.

        values    (B, C), anything where not observed
        observed  (B, C)
        period    steps, one for all or (B,); None: chosen by autocorrelation and spectrum
        """
        if not self.exact:
            raise ValueError("only the model that draws exactly sees what was not observed; pass a visual-mae of ours")
        values = torch.where(observed, values, 0.0)
        season = torch.ones(len(values), dtype=torch.int64, device=values.device)
        if period is not None:
            season = torch.as_tensor(period, device=values.device).expand(len(values))
        found = torch.empty(*values.shape, len(self.levels), dtype=values.dtype, device=values.device)
        for start, stop, low, high in stretches(values.shape[1], self.config.longest_gap_filled):
            part, seen = values[:, start:stop], observed[:, start:stop]
            chosen = None if period is None else (season, torch.ones_like(season, dtype=values.dtype))
            sheet = sheet_of(self.config, part, seen, season, 0, chosen=chosen)
            when = torch.arange(low - stop, high - stop, device=values.device)
            squashed = self.sheet_quantiles(sheet, self.config.image, None, when)
            found[:, low:high] = sheet.unsquashed(squashed.clamp(-SQUASHED_LIMIT, SQUASHED_LIMIT))
        return torch.where(observed[..., None], values[..., None], found.cummax(-1).values)

    def loss(self, batch: Batch, target: Tensor, counted: Tensor) -> Tensor:
        """Pinball loss, in squashed units, of the steps after a batch that one image holds; target, counted (B, H)."""
        if not self.exact:
            return forecast_loss(self.quantiles(batch, target.shape[1]), batch, target, counted, self.levels)
        steps = min(target.shape[1], self.config.one_pass)
        sheet = sheet_of(self.config, batch.values, batch.observed, batch.season, steps)
        columns, when = forecast_places(self.config, steps, target.device)
        return self._pinball(Lesson(sheet, columns, None, when, target[:, :steps], counted[:, :steps]))

    def window_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """What pretraining lowers, of windows (B, L): the published pixels, or quantiles of what is hidden."""
        if not self.exact:
            return published_loss(self.vision_model, self.config, values, observed)
        return self._pinball(lesson_of(self.config, values, observed))

    def _pinball(self, lesson: Lesson) -> Tensor:
        squashed = self.sheet_quantiles(lesson.sheet, lesson.columns, lesson.visible, lesson.when)
        wanted = lesson.sheet.squashed(lesson.target).clamp(-FURTHEST_TARGET, FURTHEST_TARGET)
        each = pinball(wanted, squashed, squashed.new_tensor(self.levels))
        return weighted_mean(each[..., None], (lesson.counted & lesson.sheet.usable)[..., None])

    def bytes_per_series(self, context: int, horizon: int, variates: int = 1) -> int:
        """Peak activation memory of one series in `predict`, for choosing a batch size."""
        config = self.config
        network = 4 * config.side**2 * (8 * config.width + 8 * config.decoder_width)
        pixels = 4 * config.image**2 * (config.maps + 4) * 4
        return variates * (network + pixels + 120 * context + 16 * horizon * (config.maps + 8))
