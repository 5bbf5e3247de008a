"""Write the model card of an embedded model from its config.json and its committed test rows.

python evaluation/cards.py moe-decoder-tiny
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from tsfm import list_models
from tsfm.checkpoints import WEIGHTS, embedded, read_card
from tsfm.training.card import model_card

ROOT = Path(__file__).resolve().parent.parent


def card_of(name: str) -> str:
    """Text of the card, from what is committed."""
    folder = embedded()[name]
    with (ROOT / "evaluation" / "results" / f"zero_shot_{name}.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    parameters = next(model.parameters for model in list_models() if model.name == name)
    return model_card(name, read_card(folder), parameters, (folder / WEIGHTS).stat().st_size, rows)


def main(names: Sequence[str]) -> None:
    """Write model_cards/<name>.md for each name."""
    for name in names:
        path = ROOT / "model_cards" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(card_of(name))
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
