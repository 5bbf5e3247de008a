"""Layers in a lower precision for inference, beside the originals that training and saving see."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import torch
from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


class Copies(Generic[Layer]):
    """Layers with their matrices in a lower precision, made anew once a weight has changed; no part of the state.

    in_precision  gives a copy of a layer with its products in a type
    """

    def __init__(self, in_precision: Callable[[Layer, torch.dtype], Layer]) -> None:
        self.in_precision = in_precision
        self.made: list[Layer] = []
        self.source: list[tuple[int, int]] = []

    def of(self, layers: nn.ModuleList, dtype: torch.dtype) -> Sequence[Layer]:
        """The layers in this precision: themselves in float32."""
        if dtype == torch.float32:
            return cast(Sequence[Layer], layers)
        weights = list(layers.parameters())
        countable = not any(weight.is_inference() for weight in weights)  # such tensors do not count their changes
        source = [(weight.data_ptr(), weight._version) for weight in weights] if countable else []
        if not source or source != self.source:
            self.made = [self.in_precision(cast(Layer, layer), dtype) for layer in layers]
            self.source = source
        return self.made
