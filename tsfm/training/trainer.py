"""The pretraining loop: exact resume, atomic checkpoints, one line of progress.

A run is a folder: `run.json` (everything that was decided: model, data, seed, steps, rates), `state.safetensors`
(weights, optimiser, step) and `log.csv` (loss of every step). Step s depends on the state after s - 1 and on data that
are a pure function of (seed, s): a run killed at any moment and started again gives the same losses bit for bit on one
CPU with the same number of threads. For that the schedule goes by step: hours are turned into steps once, for good.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsfm import registry
from tsfm.data.windows import RealSeries, RealSets, TrainingWindows, WindowSource, gather_real
from tsfm.kernels import choose_device, choose_precision, keep_freed_memory
from tsfm.nn.lags import FIRST_BOUNDARY
from tsfm.nn.losses import pinball, weighted_mean
from tsfm.nn.masking import contiguous_masks
from tsfm.nn.moe import SparseExperts, rebalance
from tsfm.nn.scaling import squash
from tsfm.training.checkpoint import load_state, save_state, under_prefix, with_prefix, write_text
from tsfm.training.config import RunConfig, as_json, tokens_of
from tsfm.training.optimizer import NorMuonAdamW, rate_factor

# B windows, N tokens, P patch length, Q quantile levels.

MEASURED_SECONDS = 60.0

Prepared = tuple[Tensor, ...]  # channels, attention bias (or mask), target, counted; or values, observed


class Trainer:
    """One run in one folder; windows come from `source` where one is given, else from `config` and the real sets."""

    def __init__(self, folder: Path, config: RunConfig, real_sets: RealSets = (), source: WindowSource | None = None):
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.folder, self.config, self.device = folder, config, choose_device(config.device)
        self.real: RealSeries | None = gather_real(real_sets) if real_sets else None
        self.windows: WindowSource = source or TrainingWindows(config.windows, self.real, config.seed, self.device)
        self.model: Any = registry.get(config.architecture)(config.model).to(self.device)
        self.by_itself = hasattr(self.model, "window_loss")
        compiled = config.compiled and not self.by_itself
        self.optimizer = NorMuonAdamW(
            self.model.named_parameters(),
            config.matrix_rate,
            config.other_rate,
            config.router_rate,
            config.weight_decay,
            compiled=compiled,
        )
        self.levels = torch.tensor(self.model.levels, device=self.device)
        self.precision = choose_precision(self.device)
        self.step, self.seconds, self.clock, self._stop = 0, 0.0, time.monotonic, False  # the clock is of `seconds`
        self.busiest = 1.0  # load of the busiest expert over the mean load, averaged over layers
        self.losses: list[float] = []  # of the steps since the last resume
        core: Any = self.own_core if self.by_itself else self.core
        self._core = torch.compile(core, dynamic=False) if compiled else core

    def core(self, channels: Tensor, bias: Tensor, target: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss to minimise, the forecast part of it, and the load of every expert (depth, E)."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            quantiles, load, router = self.model(channels, bias)
        loss = weighted_mean(pinball(target, quantiles, self.levels), counted, self.config.relative)
        extra = self.config.logit_weight * router[0] + self.config.balance_weight * router[1]
        return loss + extra, loss.detach(), load

    def own_core(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, None]:
        """What `core` gives, of a model that knows its own loss of windows (B, L)."""
        self.model.set_precision(self.precision)
        loss = self.model.window_loss(values, observed)
        return loss, loss.detach(), None

    def prepare(self, step: int) -> Prepared:
        """Inputs and targets of a step: channels (B, N, channels), bias (B, 1, N, N), target and counted (B, N, P).

        For a model that knows its own loss, the windows as they are: values and observed (B, L).
        """
        values, observed = (drawn.to(self.device) for drawn in self.windows.draw(step))
        if self.by_itself:
            return values.flatten(1), observed.flatten(1)
        generator = torch.Generator().manual_seed(self.config.seed * 104_729 + step)
        batch, patches = values.shape[0], values.shape[1] - 1
        longest, share = self.config.model.max_ahead, self.config.mask_share
        hidden = contiguous_masks(batch, patches, longest, share, generator, self.config.mask_spans)
        seen = observed[:, :-1] & ~hidden.to(self.device)[..., None]
        visible = torch.where(seen, values[:, :-1], 0.0)
        made = self.model.inputs(visible, seen, random_boundaries(patches, generator))
        target = squash(values[:, 1:], made.scale).clamp(-8, 8)
        counted = observed[:, 1:] & (made.scale.usable & (made.scale.seen >= 3))[..., None]
        return made.channels, made.bias, target, counted

    def train_step(self, prepared: Prepared | None = None) -> float:
        """Run one step, on data made ahead if given, and return its loss."""
        config = self.config
        total, loss, load = self._core(*(prepared or self.prepare(self.step)))
        total.backward()
        ready = config.warmup_from + config.warmup
        self.optimizer.step(rate_factor(self.step, config.warmup_from, ready, config.decay_start, config.steps))
        if load is not None and config.model.experts:
            layers = (block.experts for block in self.model.blocks)
            for layer, tokens in zip(layers, load, strict=True):
                assert isinstance(layer, SparseExperts)
                rebalance(layer, tokens, config.balance_rate)
            self.busiest = float((load.amax(1) / load.float().mean(1)).mean())
        self.step += 1
        return float(loss)

    def run(self, hours: float | None = None, report: Callable[[str], None] = print, save_every: float = 300.0) -> bool:
        """Train to the run's last step, resuming what the folder holds; return False where it was told to stop.

        hours       of training, turned into steps after a minute of measuring; not for a run whose steps are fixed
        report      takes a line of progress about every 20 seconds
        save_every  seconds between checkpoints; SIGTERM and SIGINT save one and stop
        """
        keep_freed_memory()
        self.resume()
        # The next step's data, which depend on its number alone, are made while this one is computed.
        ahead = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(self.config.threads,))
        coming = ahead.submit(self.prepare, self.step)
        previous = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        started = first = self.step
        begun, clock = time.monotonic(), self.clock()
        saved = told = begun
        try:
            while not self._stop and (not self.config.steps or self.step < self.config.steps):
                prepared, coming = coming.result(), ahead.submit(self.prepare, self.step + 1)
                self.losses.append(self.train_step(prepared))
                now, before, clock = time.monotonic(), clock, self.clock()
                self.seconds += clock - before
                if self.step - started == 8:  # compilation is over for the most frequent shapes
                    begun, first = now, self.step
                    continue
                if not self.config.steps and hours is not None and now - begun > MEASURED_SECONDS:
                    self.fix_steps(hours, (self.step - first) / (now - begun))
                if now - told > 20:
                    told = now
                    report(self.progress((self.step - first) / (now - begun)))
                if now - saved > save_every:
                    saved = now
                    self.save()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            ahead.shutdown(cancel_futures=True)
        self.save()
        return not self._stop

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True

    def fix_steps(self, hours: float, steps_per_second: float) -> None:
        """Turn hours into steps, once; the rate falls over the last `decay_share` of them."""
        self.config = self.config.with_steps(max(self.step + 1, int(hours * 3600 * steps_per_second)))
        self.write_config()

    def progress(self, steps_per_second: float) -> str:
        """One line: step, loss of the last hundred steps, speed, time left."""
        recent = self.losses[-100:]
        tokens = steps_per_second * tokens_of(self.config)
        left = max(0, self.config.steps - self.step) / max(steps_per_second, 1e-9) if self.config.steps else 0.0
        eta = f"ETA {left / 3600:.2f} h" if self.config.steps else "ETA unknown"
        total = self.config.steps or "?"
        busiest = "" if self.by_itself else f"busiest expert {self.busiest:.1f}x  "
        return f"step {self.step}/{total}  loss {np.mean(recent):.4f}  {busiest}{tokens:,.0f} tokens/s  {eta}"

    def write_config(self) -> None:
        """Write run.json."""
        write_text(self.folder / "run.json", as_json(self.config))

    def save(self) -> None:
        """Write the losses, then the state; a kill in between leaves losses too many, which the next save cuts off."""
        rows = "".join(f"{step},{loss!r}\n" for step, loss in enumerate(self.losses, self.step - len(self.losses)))
        log = self.folder / "log.csv"
        kept = log.read_text().splitlines(keepends=True)[1:] if log.exists() else []
        kept = kept[: self.step - len(self.losses)]
        write_text(log, "step,loss\n" + "".join(kept) + rows)
        tensors = with_prefix("model.", dict(self.model.state_dict()))
        tensors |= with_prefix("optimizer.", self.optimizer.state())
        metadata = {"step": str(self.step), "seconds": f"{self.seconds:.3f}"}
        save_state(self.folder / "state.safetensors", tensors, metadata)

    def resume(self) -> None:
        """Continue from the folder's state, or begin: write run.json and a first state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "state.safetensors"
        if not path.exists():
            self.write_config()
            return
        tensors, metadata = load_state(path)
        self.model.load_state_dict(under_prefix("model.", tensors))
        if moments := under_prefix("optimizer.", tensors):
            self.optimizer.load_state(moments)
        self.step, self.losses = int(metadata["step"]), []
        self.seconds = float(metadata.get("seconds", 0.0))


def random_boundaries(patches: int, generator: torch.Generator) -> list[int]:
    """Ascending prefix ends where lags are estimated: a geometric ladder with a random offset, as lived through at
    inference, where the end of the context is one."""
    draw = float(torch.rand(1, generator=generator))
    end, ends = FIRST_BOUNDARY * 2**draw, [min(FIRST_BOUNDARY, patches)]
    while end <= patches:
        ends.append(int(end))
        end *= 1.7
    return sorted(set(ends))
