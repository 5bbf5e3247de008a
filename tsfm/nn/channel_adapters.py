"""Channel adapters: maps from the channels of one time step to a few latent channels, and back.

A univariate forecaster forecasts every latent channel alone; the decoder brings the forecasts back to the channels:
x' = decode(forecast(encode(x))). Follows AdaPTS (Benechehab et al. 2025, "AdaPTS: Adapting univariate foundation models
to probabilistic multivariate time series forecasting"): its kinds, their names, and the names and shapes of their
weights. The affine normalisation around them is RevIN (Kim et al. 2022).

What differs: noise and the statistics of RevIN are passed from call to call instead of being kept in the module, and
whatever is stochastic says so by one argument.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# B windows, C channels, L context steps, H horizon, K latent channels, R rows (= B * L, one time step each).

KINDS = (
    "linearAE",
    "dropoutLinearAE",
    "linearEncoder",
    "linearDecoder",
    "VAE",
    "linearVAE",
    "lVAE",
    "linearlVAE",
    "revin",
)
EPSILON = 1e-5
FIXED_LOGVAR = 0.5  # of lVAE, whose spread is not learned


@dataclass(frozen=True)
class ChannelAdapterConfig:
    kind: str = "linearAE"
    channels: int = 7
    components: int = 7
    revin: bool = False
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not known; there are {', '.join(KINDS)}")
        if self.keeps_channels and self.channels != self.components:
            raise ValueError(f"{self.kind} keeps its {self.channels} channels; components={self.components} must agree")

    @property
    def keeps_channels(self) -> bool:
        """Whether one half of the adapter, or all of it, is the identity."""
        return self.kind in ("linearEncoder", "linearDecoder", "revin")

    @property
    def variational(self) -> bool:
        """Whether the encoder gives a distribution."""
        return "VAE" in self.kind

    @property
    def deep(self) -> bool:
        """Whether encoder and decoder have hidden layers."""
        return self.kind in ("VAE", "lVAE")

    @property
    def divergence_weight(self) -> float:
        """What the Kullback-Leibler term counts in the loss, as published."""
        return {"VAE": 1.0, "lVAE": 1.0, "linearVAE": 0.5, "linearlVAE": 0.5}.get(self.kind, 0.0)


class Moments(NamedTuple):
    """Mean and standard deviation of every channel of every window, (B, C, 1) each."""

    mean: Tensor
    deviation: Tensor


class Encoded(NamedTuple):
    """Latent channels (B, K, L), the moments to come back with, and the divergence from a unit normal (0 if none)."""

    latent: Tensor
    moments: Moments | None
    divergence: Tensor


class RevIN(nn.Module):
    """Reversible instance normalisation with an affine map a channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.affine_weight = nn.Parameter(torch.ones(channels))
        self.affine_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Moments]:
        """Normalised (B, C, L), and the moments that were taken out."""
        mean = x.mean(-1, keepdim=True).detach()
        deviation = (x.var(-1, keepdim=True, unbiased=False) + EPSILON).sqrt().detach()
        return (x - mean) / deviation * self.affine_weight[:, None] + self.affine_bias[:, None], Moments(
            mean, deviation
        )

    def inverse(self, x: Tensor, moments: Moments) -> Tensor:
        """(B, C, H) in the units of the window."""
        plain: Tensor = (x - self.affine_bias[:, None]) / (self.affine_weight[:, None] + EPSILON**2)
        return plain * moments.deviation + moments.mean

    def log_scale(self, moments: Moments) -> Tensor:
        """Logarithm of what `inverse` multiplies by; (B, C, 1)."""
        return moments.deviation.log() - (self.affine_weight[:, None] + EPSILON**2).abs().log()


class ChannelAdapter(nn.Module):
    """One adapter of a kind; see the module's docstring."""

    fixed_logvar_tensor: Tensor

    def __init__(self, config: ChannelAdapterConfig):
        super().__init__()
        self.config = config
        kind, channels, components = config.kind, config.channels, config.components
        if config.revin:
            self.revin = RevIN(channels)
        if kind in ("linearAE", "dropoutLinearAE", "linearEncoder"):
            self.encoder = nn.Sequential(OrderedDict(layer0=nn.Linear(channels, components)))
        if kind in ("linearAE", "dropoutLinearAE", "linearDecoder", "linearVAE"):
            self.decoder = nn.Sequential(OrderedDict(layer0=nn.Linear(components, channels)))
        if config.deep:
            self.encoder = hidden_layers(channels, config.hidden, config.layers)
            self.decoder = hidden_layers(components, config.hidden, config.layers)
            # The published weights skip one number before the last layer.
            self.decoder.add_module(f"layer{config.layers + 1}", nn.Linear(config.hidden, channels))
            self.decoder.add_module("bounded", nn.Tanh())
        if config.variational:
            self.latent_mu = nn.Linear(config.hidden if config.deep else channels, components)
            self.latent_logvar = nn.Linear(config.hidden if config.deep else channels, components)
        if kind == "lVAE":
            self.mu = nn.Linear(channels, channels)
            self.register_buffer("fixed_logvar_tensor", torch.full((1, channels), FIXED_LOGVAR))
        if kind == "linearlVAE":
            self.mu = nn.Linear(components, channels)
            self.logvar = nn.Linear(components, channels)

    @property
    def stochastic(self) -> bool:
        """Whether two encodings of the same window differ."""
        return self.config.variational or self.config.kind == "dropoutLinearAE"

    def encode(self, x: Tensor, noise: Tensor | None = None, *, sample: bool = False) -> Encoded:
        """Latent channels of windows (B, C, L).

        noise   (R, K) standard normal, for the variational kinds; drawn here if `sample` asks for it and none is given
        sample  draw: noise around the latent mean, dropout after the linear encoder; without, the mean
        """
        moments = None
        if self.config.revin:
            x, moments = self.revin(x)
        rows = x.transpose(1, 2).flatten(0, 1)  # (R, C)
        divergence = rows.new_zeros(())
        hidden = self.encoder(rows) if hasattr(self, "encoder") else rows
        if self.config.variational:
            mean, logvar = self.latent_mu(hidden), self.latent_logvar(hidden)
            divergence = -0.5 * (1 + logvar - mean.square() - logvar.exp()).mean()
            if sample and noise is None:
                noise = torch.randn_like(mean)
            hidden = mean if noise is None else mean + (logvar / 2).exp() * noise
        elif self.config.kind == "dropoutLinearAE":
            hidden = F.dropout(hidden, self.config.dropout, training=sample)
        return Encoded(by_window(hidden, len(x)), moments, divergence)

    def decode(self, latent: Tensor, moments: Moments | None = None) -> Tensor:
        """Channels (B, C, H) of latent forecasts (B, K, H); of the likelihood kinds their mean."""
        return self.distribution(latent, moments)[0]

    def distribution(self, latent: Tensor, moments: Moments | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean of the channels, and the logarithm of their variance where the kind has one; (B, C, H) each."""
        rows = latent.transpose(1, 2).flatten(0, 1)  # (B * H, K)
        decoded = self.decoder(rows) if hasattr(self, "decoder") else rows
        logvar = None
        if self.config.kind == "lVAE":
            decoded, logvar = self.mu(decoded), self.fixed_logvar_tensor.expand(len(rows), -1)
        elif self.config.kind == "linearlVAE":
            decoded, logvar = self.mu(decoded), self.logvar(decoded)

        mean = by_window(decoded, len(latent))
        spread = None if logvar is None else by_window(logvar, len(latent))
        if moments is not None:
            mean = self.revin.inverse(mean, moments)
            spread = None if spread is None else spread + 2 * self.revin.log_scale(moments)
        return mean, spread


def by_window(rows: Tensor, windows: int) -> Tensor:
    """Rows (B * L, K) as windows (B, K, L)."""
    made: Tensor = rows.unflatten(0, (windows, -1)).transpose(1, 2)
    return made


def hidden_layers(inputs: int, width: int, count: int) -> nn.Sequential:
    """Linear, batch norm, leaky ReLU, `count` times, under the names of the published weights."""
    made = nn.Sequential()
    for position in range(count):
        made.add_module(f"layer{position}", nn.Linear(inputs if position == 0 else width, width))
        made.add_module(f"layer{position}-bn", nn.BatchNorm1d(width))
        made.add_module(f"layer{position}-act", nn.LeakyReLU(0.01))
    return made
