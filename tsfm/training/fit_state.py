"""How a fit went so far, and the file that it goes on from after a kill."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tsfm.training.checkpoint import load_state, save_state, under_prefix, with_prefix


@dataclass
class Course:
    """What came of a fit, epoch by epoch: the rate, the mean loss, the validation errors and the seconds."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0  # epoch, counted from 1; 0 while there is none
    validation: float = math.inf  # mean squared error of that epoch

    @property
    def idle(self) -> int:
        """Epochs since the best one."""
        return len(self.epochs) - self.best


@dataclass(frozen=True)
class State:
    """The file that a fit goes on from: weights now and at their best, the optimiser's moments, and the course."""

    path: Path
    identity: str  # of the fit: another one's file is left aside, and replaced

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor], course: Course) -> None:
        """Write the state after an epoch."""
        moments = {
            f"{place}.{name}": torch.as_tensor(value)
            for place, entries in optimizer.state_dict()["state"].items()
            for name, value in entries.items()
        }
        parts = {"model.": model.state_dict(), "best.": best, "optimizer.": moments}
        tensors = {key: one for prefix, part in parts.items() for key, one in with_prefix(prefix, part).items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"identity": self.identity, "course": json.dumps(asdict(course))}
        save_state(self.path, {key: one.detach().cpu().clone() for key, one in tensors.items()}, facts)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]) -> Course:
        """Put the state of the same fit into model, optimiser and `best`; a new course where no file has one."""
        if not self.path.is_file():
            return Course()
        try:
            tensors, facts = load_state(self.path)
        except SafetensorError:
            return Course()
        if facts.get("identity") != self.identity:
            return Course()
        model.load_state_dict(under_prefix("model.", tensors))
        best.update(under_prefix("best.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in under_prefix("optimizer.", tensors).items():
            place, name = key.split(".", 1)
            moments.setdefault(int(place), {})[name] = value
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        return Course(**json.loads(facts["course"]))
