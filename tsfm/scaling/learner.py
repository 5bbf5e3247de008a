"""What a run of a study trains: the trainer's own step, on windows of the corpus, as a decoder or as an encoder.

A decoder is trained as the flagship is: causal attention, every next patch a target, hidden spans in six of ten
windows so that it can look far ahead. An encoder is the same network under another mask, as Moirai is trained
(Woo et al. 2024): the last 15 to 50% of a window's patches are hidden, every token attends to all patches that are
not, and only hidden patches are targets. The scale and the channels of a token stay causal in both, so the two differ
in attention and objective alone. What a hidden patch held can reach no token, so nothing leaks.

Points seen are not targets seen: an encoder has targets in the 15 to 50% of the patches that are hidden, a decoder in
all of them. At equal points an encoder was asked for a third of what a decoder was, so the two are compared over both,
which rows have as `points` and `targets`.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.data.windows import WindowSource
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.nn.scaling import Scale, squash
from tsfm.training.config import RunConfig
from tsfm.training.trainer import Prepared, Trainer

# B windows, N tokens, P patch length.

LEAST_HIDDEN, MOST_HIDDEN = 0.15, 0.5  # of the patches of a window
ASKED_STEPS = 4  # whose targets are counted
TARGET_LIMIT = 8.0  # squashed; a loss beyond it is that of an outlier


def hidden_range(patches: int) -> tuple[int, int]:
    """Fewest and most patches that are hidden of a window of `patches`."""
    fewest = math.ceil(LEAST_HIDDEN * patches)
    return fewest, max(fewest, int(MOST_HIDDEN * patches))


def encoder_bias(visible: Tensor) -> Tensor:
    """Additive mask of attention to all visible patches, and of each token to itself; (B, N) -> (B, 1, N, N)."""
    itself = torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
    return torch.where(visible[:, None, :] | itself, 0.0, -torch.inf)[:, None]


def seen_by(
    model: MoEDecoder, kind: str, values: Tensor, observed: Tensor, ahead: int = 0
) -> tuple[Tensor, Tensor, Scale]:
    """Channels, attention bias and scale of the tokens of a context and of `ahead` more, for a kind of network.

    values, observed  (B, N, P)
    """
    made = model.inputs(values, observed, (), ahead)
    if kind == "decoder":
        return made.channels, made.bias, made.scale
    visible = F.pad(observed.any(-1), (0, ahead))
    return made.channels, encoder_bias(visible), made.scale


class Learner(Trainer):
    """A trainer on windows of a corpus, of a decoder or an encoder."""

    def __init__(self, folder: Path, config: RunConfig, source: WindowSource, kind: str):
        super().__init__(folder, config, source=source)
        self.kind = kind
        self.clock = time.process_time  # a study runs for days beside other work, which its seconds must not show

    def target_share(self) -> float:
        """Share of the points of a step that count in the loss, the mean over the first few steps."""
        return float(np.mean([self.prepare(step)[-1].float().mean() for step in range(ASKED_STEPS)]))

    def prepare(self, step: int) -> Prepared:
        """Inputs and targets of a step, as `Trainer.prepare`."""
        if self.kind == "decoder":
            return super().prepare(step)
        values, observed = self.windows.draw(step)
        generator = torch.Generator().manual_seed(self.config.seed * 104_729 + step)
        patches = values.shape[1]
        fewest, most = hidden_range(patches)
        hidden = torch.randint(fewest, most + 1, (len(values), 1), generator=generator)
        visible = torch.arange(patches) < patches - hidden  # (B, N + 1)
        seen = observed[:, :-1] & visible[:, :-1, None]
        shown = torch.where(seen, values[:, :-1], 0.0)
        channels, bias, scale = seen_by(self.model, self.kind, shown, seen)
        target = squash(values[:, 1:], scale).clamp(-TARGET_LIMIT, TARGET_LIMIT)
        usable = scale.usable & (scale.seen >= 3) & ~visible[:, 1:]
        return channels, bias, target, observed[:, 1:] & usable[..., None]
