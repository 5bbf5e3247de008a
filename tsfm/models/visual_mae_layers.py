"""A masked autoencoder of images (He et al. 2021): a vision transformer that reconstructs patches it was not shown.

Parameters carry the names of the official checkpoints. The encoder reads visible patches alone, the decoder all places.
VisionTS++ (Shen et al. 2025) adds a head a quantile beside the one of the median. Position tables are no buffers but
parameters that do not learn, as published.
"""

import torch
from torch import Tensor, nn

from tsfm.models.visual_mae_config import VisualMAEConfig
from tsfm.nn.vision import Block

# B images, N patches of p * p pixels, K visible patches, D width, M maps (what a pixel holds).


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, S, S) -> (B, N, D), rows of patches first."""
        embedded: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return embedded


class MaskedAutoencoder(nn.Module):
    """Vision transformer over visible patches, and a narrow decoder over all of them."""

    def __init__(self, config: VisualMAEConfig):
        super().__init__()
        self.patch, self.side, self.maps = config.patch_size, config.side, config.maps
        width, narrow, eps = config.width, config.decoder_width, config.norm_eps
        outputs = self.patch**2 * self.maps
        self.patch_embed = PatchEmbed(config.channels, width, self.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(position_table(width, self.side), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, int(width * config.mlp_ratio), eps) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.decoder_embed = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder_pos_embed = nn.Parameter(position_table(narrow, self.side), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            Block(narrow, config.decoder_heads, int(narrow * config.mlp_ratio), eps)
            for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(narrow, eps=eps)
        self.decoder_pred = nn.Linear(narrow, outputs)
        if config.quantile_heads:
            self.decoder_pred_quantile_list = nn.ModuleList(
                nn.Linear(narrow, outputs) for _ in range(config.quantile_heads)
            )
        self.apply(initialise)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.flatten(1))

    def encode(self, images: Tensor, visible: Tensor, told: Tensor | None = None) -> Tensor:
        """Latents (B, 1 + K, D), the class token first, of the patches `visible` (B, K) of images (B, channels, S, S).

        told  (B, 1, D) is added to the class token
        """
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = x.gather(1, visible[..., None].expand(-1, -1, x.shape[-1]))
        head = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        head = head if told is None else head + told
        x = torch.cat([head.to(x.dtype), x], 1)
        for block in self.blocks:
            x = block(x)
        latent: Tensor = self.norm(x)
        return latent

    def decode(self, latent: Tensor, restore: Tensor) -> Tensor:
        """What the heads read of every patch (B, N, narrow); restore (B, N) is each patch's place among the latents,
        those beyond the visible ones being masked."""
        x = self.decoder_embed(latent)
        masked = self.mask_token.expand(len(x), restore.shape[1] + 1 - x.shape[1], -1).to(x.dtype)
        places = torch.cat([x[:, 1:], masked], 1)
        places = places.gather(1, restore[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([x[:, :1], places], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        read: Tensor = self.decoder_norm(x)[:, 1:]
        return read

    def forward(self, images: Tensor, noise: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """Patches (B, N, p * p * M) as the head of the median sees them, and the mask (B, N), 1 where not shown.

        noise  (B, N): the `keep` patches of least noise are shown
        """
        visible, restore, mask = masking(noise, keep)
        patches: Tensor = self.decoder_pred(self.decode(self.encode(images, visible), restore))
        return patches, mask

    def patchify(self, images: Tensor) -> Tensor:
        """Images (B, M, S, S) -> patches (B, N, p * p * M), the maps of a pixel beside each other."""
        batch, maps = images.shape[:2]
        cut = images.reshape(batch, maps, self.side, self.patch, self.side, self.patch)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, self.side**2, -1)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Patches (B, N, p * p * M) -> images (B, M, S, S)."""
        cut = patches.reshape(len(patches), self.side, self.side, self.patch, self.patch, -1)
        size = self.side * self.patch
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, size, size)


def masking(noise: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` places of least noise (B, K), the place of each among all by noise (B, N), and the mask, 1: hidden."""
    order = noise.argsort(dim=1, stable=True)
    restore = order.argsort(1)
    return order[:, :keep], restore, (restore >= keep).to(noise.dtype)


def pixel_loss(patches: Tensor, target: Tensor, mask: Tensor, normalised: bool = False) -> Tensor:
    """Mean squared error of the hidden patches; (B, N, pixels) both, mask (B, N) 1 where hidden.

    normalised  the target is each patch in units of its own deviation, around its own mean
    """
    if normalised:
        deviation = (target.var(-1, keepdim=True) + 1e-6).sqrt()
        target = (target - target.mean(-1, keepdim=True)) / deviation
    each = (patches - target).square().mean(-1)
    return (each * mask).sum() / mask.sum()


def position_table(width: int, side: int) -> Tensor:
    """Sines and cosines of a patch's column, then of its row; (1, 1 + side**2, D), zeros for the class token."""
    frequency = 10000.0 ** -(torch.arange(width // 4).float() / (width / 4))
    angle = torch.arange(side).float()[:, None] * frequency  # (side, D / 4)
    waves = torch.cat([angle.sin(), angle.cos()], 1)  # (side, D / 2)
    grid = torch.cat([waves.expand(side, -1, -1), waves[:, None].expand(-1, side, -1)], -1)
    return torch.cat([torch.zeros(1, width), grid.flatten(0, 1)])[None]


def initialise(module: nn.Module) -> None:
    """Draw the weights of a linear map as published: Xavier's uniform, no bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
