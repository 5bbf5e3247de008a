"""Write the model card of an embedded model from its config.json and its committed test rows.

python evaluation/cards.py moe-decoder-tiny
python evaluation/cards.py time-moe-50m time-moe-200m    published models: what holds without their weights
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from tsfm import list_models, registry
from tsfm.checkpoints import WEIGHTS, embedded, read_card
from tsfm.evaluation.results import read_csv
from tsfm.official import Official, find_official, holding_nothing
from tsfm.training.card import model_card
from tsfm.training.official_card import official_card

ROOT = Path(__file__).resolve().parent.parent


def card_of(name: str) -> str:
    """Text of the card, from what is committed."""
    folder = embedded()[name]
    with (ROOT / "evaluation" / "results" / f"zero_shot_{name}.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    parameters = next(model.parameters for model in list_models() if model.name == name)
    return model_card(name, read_card(folder), parameters, (folder / WEIGHTS).stat().st_size, rows)


def published_card_of(one: Official) -> str:
    """Text of the card of a published checkpoint, with the speed rows of its size where there are some."""
    preset = one.name.rpartition("-")[2]
    presets = sys.modules[registry.get(one.architecture).__module__].PRESETS
    path = ROOT / "evaluation" / "results" / f"speed_{one.architecture.replace('-', '_')}.csv"
    rows = [row for row in read_csv(path) if row.get("preset") == preset] if path.exists() else []
    tests = f"tests/models/test_{one.architecture.replace('-', '_')}.py"
    return official_card(one, holding_nothing(one.architecture, presets[preset]), tests, rows)


def main(names: Sequence[str]) -> None:
    """Write model_cards/<name>.md for each name."""
    for name in names:
        path = ROOT / "model_cards" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        one = find_official(name)
        path.write_text(card_of(name) if one is None else published_card_of(one))
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
