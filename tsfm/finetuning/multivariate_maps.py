"""Channel adapters that need no gradient: linear maps that scikit-learn fits to the steps of the training part.

Whatever is fitted becomes the weights of a `ChannelAdapter`, so that forecasting and loading need no scikit-learn.
"linear" is what a forecaster that sees one channel at a time should like best: uncorrelated components that stay
uncorrelated one step later, the slowest first (AMUSE, Tong et al. 1990; slow feature analysis, Wiskott & Sejnowski
2002). Plain whitening would change nothing, because the base forecasts a x as a times what it says of x; principal and
independent components (FastICA) do not know the order of the steps. evaluation/multivariate.py measures "linear" beside
"pca".
"""

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tsfm.errors import DataError, MissingDependency
from tsfm.nn.channel_adapters import ChannelAdapter, ChannelAdapterConfig
from tsfm.panel import Floats

# T steps, C channels, K components.

OFFLINE = ("pca", "svd", "random", "linear")
LEARNED = {"linear-ae": "linearAE", "dropout-ae": "dropoutLinearAE", "vae": "VAE", "linear-vae": "linearVAE"}
ADAPTERS = ("none", *OFFLINE, *LEARNED)

NEGLIGIBLE = 1e-8  # share of the variance below which a direction is rounding
QUIET_LOGVAR = -6.0  # a linear variational encoder begins with little noise, and learns how much it wants
RANGE = 1.25  # of what was seen in training, that a bounded decoder can reach


def directions(kind: str, rows: Floats, components: int, seed: int) -> tuple[Floats, Floats]:
    """Encoder (K, C) and decoder (C, K) of standardised steps `rows` (T, C); K is smaller where the rank is."""
    fitted = decomposition(kind, rows, components, seed)
    encoder = np.asarray(fitted.components_, dtype=np.float64)
    if kind == "linear":
        kept = fitted.explained_variance_ratio_ > NEGLIGIBLE
        white = fitted.transform(rows)[:, kept]
        lagged = white[1:].T @ white[:-1]
        turn = np.linalg.eigh(lagged + lagged.T)[1][:, ::-1]  # the slowest first
        whitening = encoder[kept] / np.sqrt(fitted.explained_variance_[kept])[:, None]
        encoder = turn.T[:components] @ whitening
        # Back through the covariance: what is left out is forecast as well as the kept components tell.
        return encoder, np.cov(rows.T) @ encoder.T
    decoder = encoder.T if kind in ("pca", "svd") else np.linalg.pinv(encoder)
    return encoder, np.asarray(decoder, dtype=np.float64)


def decomposition(kind: str, rows: Floats, components: int, seed: int) -> Any:
    """What scikit-learn fits to the steps."""
    try:
        from sklearn.decomposition import PCA, TruncatedSVD
        from sklearn.random_projection import GaussianRandomProjection
    except ImportError:
        raise MissingDependency(f"adapter={kind!r} needs scikit-learn: pip install 'tsfm-forecast[sklearn]'") from None
    made = {
        "pca": PCA(min(components, *rows.shape), random_state=seed),
        "svd": TruncatedSVD(components, random_state=seed),
        "random": GaussianRandomProjection(components, random_state=seed),
        "linear": PCA(random_state=seed, whiten=True),
    }
    return made[kind].fit(rows)


def offline_adapter(kind: str, rows: Floats, components: int, seed: int) -> ChannelAdapter:
    """The adapter whose weights scikit-learn fits to standardised steps (T, C)."""
    encoder, decoder = directions(kind, rows, components, seed)
    adapter = ChannelAdapter(ChannelAdapterConfig("linearAE", rows.shape[1], len(encoder)))
    place(adapter, encoder, decoder)
    return adapter


def untrained_adapter(name: str, rows: Floats, components: int, seed: int) -> ChannelAdapter:
    """An adapter to learn. Linear kinds begin as "linear" ends; "vae" at random, and learns to reconstruct first."""
    if name == "vae":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ChannelAdapter(ChannelAdapterConfig(LEARNED[name], rows.shape[1], components))
    encoder, decoder = directions("linear", rows, components, seed)
    adapter = ChannelAdapter(ChannelAdapterConfig(LEARNED[name], rows.shape[1], len(encoder)))
    place(adapter, encoder, decoder)
    return adapter


@torch.no_grad()
def place(adapter: ChannelAdapter, encoder: Floats, decoder: Floats) -> None:
    """Set the weights of a linear adapter; its offsets are zero."""
    variational = adapter.config.variational
    first = adapter.latent_mu if variational else adapter.encoder.get_submodule("layer0")
    last = adapter.decoder.get_submodule("layer0")
    for layer, weight in ((cast(nn.Linear, first), encoder), (cast(nn.Linear, last), decoder)):
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.zero_()
    if variational:
        adapter.latent_logvar.weight.zero_()
        adapter.latent_logvar.bias.fill_(QUIET_LOGVAR)


def channel_scales(name: str, values: Floats) -> tuple[Floats, Floats]:
    """Mean and unit (C,) of the training part (C, T), NaN where missing: deviation, or range for a bounded decoder.

    A channel that never changes has the unit 0.
    """
    mean = np.nanmean(values, axis=1)
    unit = np.nanstd(values, axis=1)
    same = np.nanmax(values, axis=1) == np.nanmin(values, axis=1)
    if name == "vae":
        unit = RANGE * np.nanmax(np.abs(values - mean[:, None]), axis=1)
    return mean, np.where(same, 0.0, unit)


def check_components(components: int | None, channels: int) -> int:
    """The latent channels asked for; all by default, because what is left out cannot be forecast."""
    if components is None:
        return channels
    if components > channels:
        raise DataError(f"components={components} is more than the {channels} channels that change; give {channels}")
    return components
