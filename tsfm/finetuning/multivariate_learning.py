"""Training a channel adapter by gradient, through a base that stays as it is.

Windows of all channels are drawn from the training part; each latent channel is forecast alone; the loss is the error
of the decoded medians. As AdaPTS (Benechehab et al. 2025), with three differences. The error is absolute, not squared,
because medians are decoded. The divergence counts a thousandth of what is published, because at full weight the latent
channels drown in unit noise and the base forecasts noise. And a linear adapter begins at the slow components of
multivariate_maps.py: from the identity, the gradient found nothing in ETTh1 or exchange rates that held later.
"""

import contextlib
import copy
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.batch import Batch
from tsfm.errors import DataError
from tsfm.finetuning.multivariate_quantiles import Mixing, filled
from tsfm.forecaster import Forecaster
from tsfm.nn.channel_adapters import ChannelAdapter
from tsfm.panel import Floats

# B windows, C channels, T steps, L context steps, H horizon, K components.

TRAINING_CONTEXT = 512
SERIES, FEWEST = 64, 2  # of a step: latent channels that go through the base, and windows
LEARNING_RATE, PATIENCE, EVERY = 2e-4, 5, 10
RECONSTRUCTION_STEPS, RECONSTRUCTION_ROWS = 300, 256
DIVERGENCE = 1e-3


@dataclass(frozen=True)
class Settings:
    """What a fit was asked for; `context` is the most steps that the base reads, None for all it can."""

    adapter: str
    components: int
    horizon: int
    season: int
    knots: tuple[float, ...]
    context: int | None
    samples: int
    seed: int
    steps: int
    time_budget: float


@dataclass(frozen=True)
class Block:
    """Windows of all channels.

    contexts  (B, C, L) filled, for the adapter
    raw       (B, C, L) NaN where missing, for each channel alone
    target    (B, C, H) NaN where missing
    apart     how many of the windows do not overlap: those that do tell the same story twice
    """

    contexts: Floats
    raw: Floats
    target: Floats
    apart: int


def learn(
    mixing: Mixing, base: Forecaster, train: Floats, names: Sequence[object], stopping: Block, settings: Settings
) -> int:
    """Train the adapter through the frozen base until the stopping block says so; the steps taken."""
    began = clock.perf_counter()
    adapter = mixing.adapter.float()
    generator = np.random.default_rng(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if adapter.config.deep:
            reconstruct(adapter, torch.from_numpy(mixing.standard(filled(train[None], names)[0])).float(), generator)
        best, best_loss = copy.deepcopy(adapter.state_dict()), stopping_loss(mixing, base, stopping, settings)
        waited = step = 0
        optimizer = torch.optim.Adam(adapter.parameters(), lr=LEARNING_RATE)
        with contextlib.suppress(KeyboardInterrupt):  # whoever stops it keeps the best so far
            while step < settings.steps and waited < PATIENCE and clock.perf_counter() - began < settings.time_budget:
                adapter.train()
                loss = training_loss(mixing, base, *drawn(train, names, settings, generator), settings)
                optimizer.zero_grad()
                loss.backward(inputs=list(adapter.parameters()))  # the base keeps its weights, and gets no gradients
                nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
                optimizer.step()
                step += 1
                if step % EVERY == 0:
                    found = stopping_loss(mixing, base, stopping, settings)
                    waited = 0 if found < best_loss else waited + 1
                    if found < best_loss:
                        best, best_loss = copy.deepcopy(adapter.state_dict()), found
        adapter.load_state_dict(best)
    mixing.adapter = adapter.double()
    return step


def reconstruct(adapter: ChannelAdapter, values: Tensor, generator: np.random.Generator) -> None:
    """Let a deep adapter give back steps of the training part (C, T), which costs no pass of the base."""
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-3)
    adapter.train()
    for _ in range(RECONSTRUCTION_STEPS):
        where = generator.integers(values.shape[1], size=RECONSTRUCTION_ROWS)
        x = values[:, where][None]
        encoded = adapter.encode(x, sample=True)
        loss = F.l1_loss(adapter.decode(encoded.latent), x) + DIVERGENCE * encoded.divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def drawn(
    train: Floats, names: Sequence[object], settings: Settings, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Filled contexts (B, C, L) and targets (B, C, H) at random places of the training part."""
    reach = min(settings.context or TRAINING_CONTEXT, TRAINING_CONTEXT, train.shape[1] - settings.horizon)
    where = generator.integers(
        reach, train.shape[1] - settings.horizon, endpoint=True, size=max(FEWEST, SERIES // settings.components)
    )
    made = [train[:, cut - reach : cut + settings.horizon] for cut in where]
    kept = [one for one in made if not np.isnan(one[:, :reach]).all(1).any()]
    if not kept:
        raise DataError("whole contexts of a channel are missing in the training part; leave that channel out")
    windows = np.stack(kept)
    return filled(windows[..., :reach], names), windows[..., reach:]


def training_loss(mixing: Mixing, base: Forecaster, contexts: Floats, target: Floats, settings: Settings) -> Tensor:
    """Mean absolute error of the decoded medians, plus the divergence of a variational encoder."""
    adapter = mixing.adapter
    steps = min(settings.horizon, one_pass(base))
    encoded = adapter.encode(torch.from_numpy(mixing.standard(contexts)).float(), sample=True)
    windows, components = encoded.latent.shape[:2]
    values = encoded.latent.flatten(0, 1).to(base.device)
    season = torch.full((len(values),), settings.season, dtype=torch.int64, device=base.device)
    batch = Batch(values, torch.ones_like(values, dtype=torch.bool), season)
    quantiles: Tensor = base.model.quantiles(batch, steps)  # type: ignore[attr-defined]
    middle = quantiles[..., quantiles.shape[-1] // 2].float().cpu().unflatten(0, (windows, components))
    wanted = torch.from_numpy(mixing.standard(target[..., :steps])).float()
    counted = ~wanted.isnan()
    error = (adapter.decode(middle, encoded.moments) - wanted.nan_to_num()).abs()[counted]
    loss: Tensor = error.mean() + adapter.config.divergence_weight * DIVERGENCE * encoded.divergence
    return loss


def one_pass(base: Forecaster) -> int:
    """Steps that the base forecasts in one pass, through which gradients flow."""
    config = getattr(base.model, "config", None)
    return int(getattr(config, "max_ahead", 1 << 30)) * int(getattr(base.model, "patch", 1))


def stopping_loss(mixing: Mixing, base: Forecaster, block: Block, settings: Settings) -> float:
    """Mean absolute error of decoded medians on the block, in units of the adapter."""
    working = replace(mixing, adapter=copy.deepcopy(mixing.adapter).double().eval())
    latent = working.encode(block.contexts, sample=False)
    middle = working.latent_curves(base, latent, settings.horizon, settings.season, (0.5,))[:, 0, ..., 0]
    return float(np.nanmean(np.abs(working.decode(middle) - block.target) / mixing.unit[:, None]))
