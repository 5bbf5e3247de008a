"""How fast the whole model trains and forecasts on a device, for `gpu.py`."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tsfm
from tsfm.models.moe_decoder import PRESETS, MoEDecoder
from tsfm.nn.lags import default_boundaries
from tsfm.nn.losses import pinball
from tsfm.nn.moe import SparseExperts, rebalance
from tsfm.training.optimizer import NorMuonAdamW

# B windows, N patches, P patch length.


def walks(count: int, length: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random walks with a daily season, (count, length)."""
    random = np.random.default_rng(0)
    season = 5 * np.sin(2 * np.pi * np.arange(length) / 24)
    return np.asarray(np.cumsum(random.normal(size=(count, length)), axis=1) + season)


def training(device: torch.device, compiled: bool, dry: bool) -> list[dict[str, Any]]:
    """Tokens a second of the flagship's training step: both passes, optimiser and balance, inputs made before."""
    batch, patches, steps = (2, 8, 2) if dry else (1024, 64, 10)
    config = PRESETS["nano" if dry else "tiny"]
    torch.manual_seed(0)
    model = MoEDecoder(config).to(device)
    optimizer = NorMuonAdamW(model.named_parameters(), compiled=compiled)
    values = torch.from_numpy(walks(batch, patches * config.patch)).float().to(device).unflatten(1, (patches, -1))
    made = model.inputs(values, torch.ones_like(values, dtype=torch.bool), default_boundaries(patches))
    target, levels = torch.randn_like(values), torch.tensor(config.quantile_levels, device=device)

    def loss_of(channels: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            quantiles, load, router = model(channels, bias)
        return pinball(target, quantiles.float(), levels).mean() + 0.01 * router[1], load

    core, seconds = torch.compile(loss_of, dynamic=False) if compiled else loss_of, []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(steps + 3):
        start = time.perf_counter()
        loss, load = core(made.channels, made.bias)
        loss.backward()
        optimizer.step(0.01)
        for block, tokens in zip(model.blocks, load, strict=True):
            assert isinstance(block.experts, SparseExperts)
            rebalance(block.experts, tokens, 0.01)
        last = float(loss.detach())  # waits for the device
        seconds.append(time.perf_counter() - start)
    if not np.isfinite(last):
        raise ValueError(f"the loss is {last}")
    middle = float(np.median(seconds[3:]))
    memory = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else ""
    about = {"tokens": batch * patches, "compiled": compiled, "first_seconds": seconds[0], "last_loss": last}
    return [{**about, "step_seconds": middle, "tokens_per_second": batch * patches / middle, "peak_mb": memory}]


def forecasts(device: torch.device, dry: bool) -> list[dict[str, Any]]:
    """Series a second of whole calls of `tsfm.forecast`, and how far the device's forecasts are from the CPU's."""
    rows = []
    for count in (4,) if dry else (1, 1000, 20000):
        series = list(walks(count, 512))
        model = tsfm.load("moe-decoder-tiny", device=str(device))
        seconds = []
        for _ in range(2 if dry else 6):
            start = time.perf_counter()
            found = tsfm.forecast(series, 48, model=model, progress=False)
            seconds.append(time.perf_counter() - start)
        right = tsfm.forecast(series[:50], 48, model=tsfm.load("moe-decoder-tiny", device="cpu", precision="fp32"))
        apart = np.abs(np.asarray(found.median)[: len(right.median)] - np.asarray(right.median)).max()
        middle = float(np.median(seconds[1:]))
        speed = {"seconds": middle, "series_per_second": count / middle, "first_seconds": seconds[0]}
        about = {"series": count, "context": 512, "horizon": 48, "precision": model.precision}
        rows.append({**about, **speed, "largest_difference_to_cpu_fp32": float(apart)})
    return rows
