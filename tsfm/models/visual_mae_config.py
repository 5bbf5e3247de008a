"""Sizes of the visual MAE and how it draws, and the presets, those of the official files among them."""

from dataclasses import dataclass
from typing import Any

GATES = 3  # copies of a step that the decoder may follow
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class VisualMAEConfig:
    """Sizes of the network, and how series are drawn.

    image, patch_size  pixels a side
    norm_const, align_const, interpolation, clip   of the published ways to draw
    shown_share        of the columns that show the context, in ours
    longest_period     that is looked for
    """

    drawing: str = "exact"
    image: int = 64
    patch_size: int = 8
    channels: int = 3
    width: int = 144
    depth: int = 5
    heads: int = 6
    decoder_width: int = 96
    decoder_depth: int = 4
    decoder_heads: int = 4
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    quantile_levels: tuple[float, ...] = DECILES
    norm_const: float = 0.4
    align_const: float = 0.4
    interpolation: str = "bilinear"
    clip: int = 0
    shown_share: float = 0.625
    longest_period: int = 320
    max_context: int = 4096

    @property
    def side(self) -> int:
        """Patches a side."""
        return self.image // self.patch_size

    @property
    def maps(self) -> int:
        """What a head draws: colours, or quantiles and gates."""
        return len(self.quantile_levels) + GATES if self.drawing == "exact" else self.channels

    @property
    def quantile_heads(self) -> int:
        """Heads beside that of the median."""
        return len(self.quantile_levels) - 1 if self.drawing == "visionts++" else 0

    @property
    def shown_columns(self) -> int:
        """Columns of patches that show the context of a forecast, in our way to draw."""
        return max(1, round(self.side * self.shown_share))

    @property
    def one_pass(self) -> int:
        """Steps after a context that an image can hold whatever the fold."""
        return (self.image - self.shown_columns * self.patch_size) * (self.image // 2 + 1)

    @property
    def longest_gap_filled(self) -> int:
        """Steps that a whole image can hold whatever the fold."""
        return self.image * (self.image // 2 + 1)


def official(width: int, depth: int, heads: int, patch_size: int, **changes: Any) -> VisualMAEConfig:
    """The config of an official MAE: images of 224 pixels, and a decoder of its own size."""
    sizes: dict[str, Any] = {"image": 224, "decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16}
    own: dict[str, Any] = {"drawing": "visionts", "quantile_levels": (0.5,), **changes}
    return VisualMAEConfig(width=width, depth=depth, heads=heads, patch_size=patch_size, **{**sizes, **own})


PRESETS = {
    "tiny": VisualMAEConfig(image=32, width=32, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2),
    "nano": VisualMAEConfig(),
    "base": official(768, 12, 12, 16),
    "large": official(1024, 24, 16, 16),
    "huge": official(1280, 32, 16, 14),
    "base++": official(768, 12, 12, 16, drawing="visionts++", quantile_levels=DECILES),
}
