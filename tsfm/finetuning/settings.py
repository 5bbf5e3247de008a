"""What was asked of a run: everything that its result depends on, beside the code and the time it was given."""

from dataclasses import dataclass

ZERO_SHOT = "zero-shot"  # the base as it came


@dataclass(frozen=True)
class Settings:
    """Arguments of `finetune`, the hash of the base's weights, and one of the data.

    time_budget  seconds
    covariates   names by role: past, future, static
    """

    horizon: int
    base: str
    weights: str
    precision: str
    device: str
    method: str
    time_budget: float
    covariates: dict[str, list[str]]
    windows: int | None
    context: int | None
    seed: int
    data: str
