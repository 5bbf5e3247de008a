"""A model's own answer, stored beside its weights, and the test that this machine gives the same one.

    <model folder>/parity.json   {"values": [...], "horizon": H, "quantile_levels": [Q], "quantiles": [[...]]}

The answer is the one in fp32 on the CPU, on hours of the demo set; `tsfm doctor` asks again, in the same way and on the
path that this machine chooses. `python -m tsfm.cli.parity FOLDER` stores it when a model is released.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tsfm
from tsfm.cli.files import write_atomically
from tsfm.demo import load_demo

PARITY = "parity.json"
AIRPORT, STEPS, HORIZON, LEVELS = "JFK", 504, 48, (0.1, 0.5, 0.9)
# Of the standard deviation of the stored input: fp32 differs by the order of its sums, bf16 by its 8 bits.
TOLERANCE = {"float64": 1e-3, "float32": 1e-3, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Parity:
    """How far one path of this machine is from the stored answer, as a share of the input's standard deviation."""

    model: str
    path: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within what the arithmetic explains."""
        return bool(self.difference <= self.tolerance)


def answer(folder: Path, stored: dict[str, Any], device: str, precision: str) -> tuple[Any, "tsfm.Forecast"]:
    """Quantiles (H, Q) of the stored input on one path, and the forecast they come from."""
    model = tsfm.load(folder, device=device, precision=precision)
    result = model.forecast(stored["values"], stored["horizon"], quantile_levels=stored["quantile_levels"])
    return np.stack([result.quantile(level) for level in stored["quantile_levels"]], axis=-1), result


def record(folder: Path) -> None:
    """Store the answer of the model in `folder`, in fp32 on the CPU."""
    demo = load_demo()
    values = demo.loc[demo.airport == AIRPORT, "departures"].tail(STEPS).tolist()
    stored: dict[str, Any] = {"values": values, "horizon": HORIZON, "quantile_levels": LEVELS}
    quantiles, _ = answer(folder, stored, "cpu", "fp32")
    content = json.dumps({**stored, "quantiles": quantiles.round(5).tolist()})
    write_atomically(folder / PARITY, lambda path: path.write_text(content + "\n"))


def compare(folder: Path) -> list[Parity]:
    """Ask again in fp32 on the CPU and on the path this machine chooses; nothing where no answer is stored."""
    if not (folder / PARITY).is_file():
        return []
    stored = json.loads((folder / PARITY).read_text())
    scale = float(np.std(stored["values"]))
    found = {}
    for device, precision in (("cpu", "fp32"), ("auto", "auto")):
        quantiles, result = answer(folder, stored, device, precision)
        difference = float(np.abs(quantiles - stored["quantiles"]).max()) / scale
        arithmetic = result.provenance.precision
        path = f"{arithmetic} on {result.provenance.device}"
        found[path] = Parity(folder.name, path, difference, TOLERANCE[arithmetic])
    return list(found.values())


if __name__ == "__main__":
    record(Path(sys.argv[1]))
