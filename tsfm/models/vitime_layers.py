"""The vision transformer of ViTime: a masked autoencoder (He et al. 2022) whose patches are all visible.

Parameters bear the names of the published checkpoints. The tables of positions are fixed, yet kept in the state
dictionary with the mask token, which no forecast reads, because the published files have them.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.nn.vision import Block

if TYPE_CHECKING:
    from tsfm.models.vitime import ViTimeConfig

# B series, N patches, D width, r rows of patches, c columns of patches, h height of the picture, T its columns.


def wave_table(width: int, positions: Tensor) -> Tensor:
    """Sines then cosines (N, D) of positions (N,) at D/2 geometric frequencies, in float64."""
    omega = 10_000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angle = positions.double()[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], 1)


def position_table(width: int, rows: int, columns: int) -> Tensor:
    """Fixed positions (1, 1 + r * c, D): zeros for the class token, else half for the column and half for the row."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    table = torch.cat([wave_table(width // 2, column.flatten()), wave_table(width // 2, row.flatten())], 1)
    return F.pad(table, (0, 0, 1, 0)).float()[None]


def check_sizes(config: "ViTimeConfig") -> None:
    """Raise `DataError` where patches do not tile the picture, heads do not share a width, or a blur has no middle."""
    for one, other in (
        ("height", "patch_rows"),
        ("columns", "patch_columns"),
        ("width", "heads"),
        ("decoder_width", "decoder_heads"),
    ):
        whole, part = getattr(config, one), getattr(config, other)
        if part < 1 or whole < 1 or whole % part:
            raise DataError(f"{other}={part} must divide {one}={whole}")
    if config.blur % 2 != 1 or not 0 < config.blur < 2 * min(config.height, config.columns):
        raise DataError(f"blur={config.blur} must be odd, and less than twice the height and the columns")
    if not 0 < config.limit < math.inf:
        raise DataError(f"limit={config.limit} must be a number above 0")
    if config.max_context < 1 or config.max_horizon < 1:
        raise DataError(f"a picture shows {config.max_context} and {config.max_horizon} steps; it must show some")


class PatchEmbed(nn.Module):
    def __init__(self, patch: tuple[int, int], width: int):
        super().__init__()
        self.proj = nn.Conv2d(1, width, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.proj(image).flatten(2).mT  # (B, N, D)
        return found


class PictureTransformer(nn.Module):
    """From a picture to another of the same size; see the module's docstring.

    size, patch   (rows, columns) of the picture and of a patch
    widths, depths, heads  of the encoder and of the decoder
    """

    pos_embed: Tensor
    decoder_pos_embed: Tensor
    mask_token: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        patch: tuple[int, int],
        widths: tuple[int, int],
        depths: tuple[int, int],
        heads: tuple[int, int],
        eps: float = 1e-5,
    ):
        super().__init__()
        self.patch, self.grid = patch, (size[0] // patch[0], size[1] // patch[1])
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, widths[0]))
        self.register_buffer("mask_token", torch.zeros(1, 1, widths[1]))
        self.register_buffer("pos_embed", position_table(widths[0], *self.grid))
        self.register_buffer("decoder_pos_embed", position_table(widths[1], *self.grid))
        self.patch_embed = PatchEmbed(patch, widths[0])
        self.blocks = nn.ModuleList(Block(widths[0], heads[0], 4 * widths[0], eps) for _ in range(depths[0]))
        self.norm = nn.LayerNorm(widths[0], eps)
        self.decoder_embed = nn.Linear(*widths)
        self.decoder_blocks = nn.ModuleList(Block(widths[1], heads[1], 4 * widths[1], eps) for _ in range(depths[1]))
        self.decoder_norm = nn.LayerNorm(widths[1], eps)
        self.decoder_pred = nn.Linear(widths[1], patch[0] * patch[1])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """A picture of logits (B, h, T) from a picture (B, h, T)."""
        x = self.patch_embed(image[:, None]) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x], 1)  # (B, 1 + N, D)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x)) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        pixels = self.decoder_pred(self.decoder_norm(x)[:, 1:])
        return self.unpatched(pixels)

    def unpatched(self, pixels: Tensor) -> Tensor:
        """The picture (B, h, T) of patches (B, N, patch rows * patch columns)."""
        parts: Tensor = pixels.unflatten(2, self.patch).unflatten(1, self.grid)  # (B, r, c, rows, columns)
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
