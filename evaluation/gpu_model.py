"""How fast the whole model trains and forecasts on a device, for `gpu.py`."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tsfm
from tsfm.data.windows import WindowConfig
from tsfm.models.moe_decoder import PRESETS
from tsfm.training.config import RunConfig
from tsfm.training.trainer import Trainer


def walks(count: int, length: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random walks with a daily season, (count, length)."""
    random = np.random.default_rng(0)
    season = 5 * np.sin(2 * np.pi * np.arange(length) / 24)
    return np.asarray(np.cumsum(random.normal(size=(count, length)), axis=1) + season)


def training(device: torch.device, compiled: bool, dry: bool) -> list[dict[str, Any]]:
    """Tokens a second of the flagship's pretraining, and the seconds of a step with and without making its data."""
    context, tokens, steps = (512, 32, 2) if dry else (2048, 65_536, 10)
    windows = WindowConfig(contexts=(context,), context_shares=(1.0,), tokens=tokens)
    config = RunConfig(PRESETS["nano" if dry else "tiny"], windows, device=str(device), compiled=compiled)
    trainer = Trainer(Path(tempfile.gettempdir()), config)  # nothing is saved
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    making, learning = [], []
    for step in [*range(steps + 3), windows.chunk_steps]:  # the last has a new chunk of synthetic series to make
        start = time.perf_counter()
        prepared = trainer.prepare(step)
        float(prepared[0].sum())  # waits for the device
        between = time.perf_counter()
        last = trainer.train_step(prepared)
        making.append(between - start)
        learning.append(time.perf_counter() - between)
    if not np.isfinite(last):
        raise ValueError(f"the loss is {last}")
    middle, cut = float(np.median(learning[3:])), float(np.median(making[3:-1]))
    made = cut + max(0.0, making[-1] - cut) / windows.chunk_steps
    memory = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else ""
    about = {"tokens": tokens, "compiled": compiled, "first_seconds": learning[0], "last_loss": last}
    speed = {"step_seconds": middle, "data_seconds": made, "tokens_per_second": tokens / (middle + made)}
    return [{**about, **speed, "peak_mb": memory}]


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
