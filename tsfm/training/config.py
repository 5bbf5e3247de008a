"""What a run of pretraining was told: everything that its numbers depend on, kept in its folder as run.json."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tsfm.models  # noqa: F401  fills the registry
from tsfm import registry
from tsfm.data.windows import WindowConfig
from tsfm.errors import DataError


@dataclass(frozen=True)
class RunConfig:
    """Everything a run's numbers depend on, beside the code.

    model          config of the architecture; one that has a `window_loss` says itself what it learns from windows
    withhold       leave out the series that cards name as standing in an evaluation set too; False only in runs that
                   were begun before any was found, and in their branches
    steps          0: not known yet, fixed from the hours asked for after a minute of measuring
    decay_start    step where the rate starts to fall to zero at `steps`; None: never
    warmup_from    step where the warm-up starts: 0, or the step of the backup that a run was restored from
    mask_share     share of windows with hidden spans
    mask_spans     the most spans a window may have
    relative       how far the loss counts relative errors instead of absolute ones (losses.py)
    balance_rate   largest step of the experts' balance bias
    balance_weight, logit_weight   of the router's two losses
    device         where steps are computed and synthetic series are made, "cpu" or "cuda"; threads are those of the CPU
    """

    model: Any
    windows: WindowConfig = field(default_factory=WindowConfig)
    data: tuple[str, ...] = ("synthetic",)
    withhold: bool = False
    seed: int = 0
    steps: int = 0
    warmup: int = 200
    warmup_from: int = 0
    decay_start: int | None = None
    decay_share: float = 0.2
    matrix_rate: float = 0.007
    other_rate: float = 2e-3
    router_rate: float = 4e-4
    weight_decay: float = 0.1
    mask_share: float = 0.6
    mask_spans: int = 2
    relative: float = 0.0
    balance_rate: float = 0.01
    balance_weight: float = 0.01
    logit_weight: float = 1e-4
    threads: int = 1
    device: str = "cpu"
    compiled: bool = True
    architecture: str = "moe-decoder"

    def with_steps(self, steps: int) -> "RunConfig":
        """The same run over `steps` steps; the rate falls over the last `decay_share` of them."""
        start = None if self.decay_share == 0 or steps == 0 else int(steps * (1 - self.decay_share))
        return replace(self, steps=steps, decay_start=start)

    def at_rate(self, times: float) -> "RunConfig":
        """The same run with all peak rates times this."""
        peaks = {name: times * getattr(self, name) for name in ("matrix_rate", "other_rate", "router_rate")}
        return replace(self, **peaks)

    def with_real(self, share: float | None) -> "RunConfig":
        """The same run with this share of windows cut from real series; None leaves it."""
        if share is None:
            return self
        if not 0 <= share <= 1:
            raise DataError(f"{share:g} is no share of real windows; give one of 0 to 1")
        return replace(self, windows=replace(self.windows, real_share=share))


def tokens_of(config: RunConfig) -> int:
    """Tokens of a step: patches of context, or points for a model that has no patches."""
    patched = hasattr(config.model, "patch")
    return config.windows.tokens if patched else config.windows.tokens * config.windows.patch


def learns_from_patches(entry: Any) -> bool:
    """Whether a registered model is shown patches by `inputs` and learns the quantiles of the next, as the flagship.

    Others have a loss of their own, `window_loss`, or cannot be trained here.
    """
    return hasattr(entry, "inputs")


def as_json(config: RunConfig) -> str:
    """Text of run.json."""
    return json.dumps(asdict(config), indent=2) + "\n"


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run's folder."""
    try:
        kept: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        raise DataError(f"{folder} has no run.json; name the folder of a run, or start one") from None
    model, windows = (as_tuples(kept.pop(key)) for key in ("model", "windows"))
    config = registry.get(kept.get("architecture", RunConfig.architecture)).Config(**model)
    return RunConfig(config, WindowConfig(**windows), **as_tuples(kept))


def as_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
