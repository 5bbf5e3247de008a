"""Which experts a sparse decoder sends its tokens to, and what it forecasts without a part of itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.conditioning import condition
from tsfm.errors import DataError
from tsfm.forecaster import Forecaster
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.nn.moe import recorded_routes

# L layers, B series, C context steps, M tokens, K experts a token, E experts, P patch length.

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Routing:
    """The choice of every router for every token.

    index     (L, B, M, K)  experts, the strongest first
    weight    (L, B, M, K)  mixing weights, which sum to 1
    observed  (B, M)        tokens with a value in their patch; the last `ahead` ones stand for steps to come
    experts   routed experts of a layer
    """

    index: Tensor
    weight: Tensor
    observed: Tensor
    experts: int

    def shares(self, tokens: Tensor | None = None) -> Tensor:
        """Share of each expert in `tokens` (B, M) bool, by default the observed ones, by mixing weight.

        returns (L, E), rows sum to 1
        """
        tokens = self.observed if tokens is None else tokens
        chosen = torch.nn.functional.one_hot(self.index, self.experts) * self.weight[..., None]  # (L, B, M, K, E)
        return chosen[:, tokens].sum((1, 2)) / tokens.sum().clamp(min=1)


def sparse_decoder(forecaster: Forecaster) -> MoEDecoder:
    """The decoder of a forecaster whose layers hold experts; DataError for any other model."""
    model: object = forecaster.model
    if not isinstance(model, MoEDecoder) or not model.config.experts:
        raise DataError(f"{forecaster.name!r} has no experts to look at; load a sparse one such as 'moe-decoder-tiny'")
    return model


@torch.no_grad()
def routing(forecaster: Forecaster, contexts: Floats, ahead: int = 0) -> Routing:
    """Routes of every token of (B, C) contexts, NaN where missing, and of `ahead` patches beyond them.

    C is cut on the left to whole patches. The routers run as in training: all tokens in every layer, one sign.
    """
    model = sparse_decoder(forecaster)
    whole = contexts.shape[1] // model.patch * model.patch
    if not whole or ahead < 0:
        raise DataError(f"contexts of {contexts.shape[1]} steps, ahead={ahead}: give {model.patch} steps, 0 patches")
    conditioned = condition(contexts[:, -whole:])
    values = torch.from_numpy(conditioned.values).float().to(forecaster.device).unflatten(1, (-1, model.patch))
    observed = torch.from_numpy(conditioned.observed).to(forecaster.device).unflatten(1, (-1, model.patch))
    made = model.inputs(values, observed, range(1, values.shape[1] + 1), ahead)
    with recorded_routes() as routes:
        model(made.channels, made.bias)
    shape = (len(values), values.shape[1] + ahead, -1)
    index = torch.stack([route.expert.view(shape) for route in routes])
    weight = torch.stack([route.weight.view(shape) for route in routes])
    tokens = torch.nn.functional.pad(observed.any(-1), (0, ahead), value=False)
    return Routing(index, weight, tokens, model.config.experts)


@contextmanager
def silenced(forecaster: Forecaster, *weights: Tensor) -> Iterator[Forecaster]:
    """The forecaster with these weights of its model at zero: what it does without a part. Restored on the way out.

    A part falls silent with the matrix that writes its output: `down[3]` of expert 3, `shared_down.weight` ...
    """
    model = sparse_decoder(forecaster)
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight in weights:
                weight.zero_()
        yield forecaster
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)
        model.set_precision(model.precision)  # drops copies of the blocks made meanwhile
