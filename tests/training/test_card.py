"""Model cards say what is in config.json and in the measured rows, and the committed ones are up to date."""

import importlib.util
from pathlib import Path

import pytest

from tsfm.checkpoints import embedded
from tsfm.official import official_models
from tsfm.training.card import geometric_mean, model_card

CARD = {
    "architecture": "moe-decoder",
    "description": "A forecaster.",
    "licence": "Apache-2.0",
    "weights": {"dtype": "int8", "sha256": "ab" * 32},
    "config": {
        "depth": 4,
        "width": 256,
        "top_k": 2,
        "experts": 16,
        "max_context": 4096,
        "patch": 32,
        "max_ahead": 32,
        "quantile_levels": [0.1, 0.5, 0.9],
    },
    "training": {
        "steps": 100,
        "tokens_per_step": 8192,
        "tokens": 819200,
        "active_parameters": 1234,
        "hours": 1.5,
        "hardware": "1 CPU thread",
        "real_share": 0.4,
        "sets": [{"name": "nab", "licence": "MIT"}],
    },
}
ROWS = [
    {"task": name, "mase_ratio": ratio, "crps_ratio": ratio, "coverage80": "0.8", "command": "c"}
    | {"commit": "0" * 40, "hardware": "h"}
    for name, ratio in (("good/H/short", "0.5"), ("bad/D/short", "2.0"))
]


def test_a_card_shows_every_row_and_every_training_set():
    text = model_card("some-model", CARD, 5000, 7_000_000, ROWS)
    for part in (
        "some-model",
        "bad/D/short | 2.000",
        "good/H/short | 0.500",
        "| nab | MIT |",
        "**MASE 1.000**",
        "819,200",
    ):
        assert part in text


def test_a_model_of_images_tells_its_image_and_nothing_of_experts():
    drawn = {"image": 64, "patch_size": 8, "depth": 5, "width": 144, "decoder_depth": 4, "decoder_width": 96}
    config = {**drawn, "max_context": 4096, "quantile_levels": [0.5]}
    text = model_card("eye", {**CARD, "architecture": "visual-mae", "config": config}, 5000, 7_000_000, ROWS)
    assert "`visual-mae`: images of 64 x 64 pixels" in text
    assert "8,192 points, 819,200 points in all" in text
    assert "expert" not in text


def test_series_that_were_withheld_are_not_said_to_be_listed():
    entry = {"file": "hashes", "windows": 7}
    training = {**CARD["training"], "withheld": True}
    texts = [
        model_card("some-model", {**CARD, "fingerprints": entry, "training": one}, 5000, 7_000_000, ROWS)
        for one in (CARD["training"], training)
    ]
    assert ["are listed in evaluation/results/leak_check.csv" in text for text in texts] == [True, False]
    assert ["were left out" in text for text in texts] == [False, True]


def test_the_mean_is_geometric_and_leaves_out_what_could_not_be_measured():
    rows = [{"x": "2"}, {"x": "8"}, {"x": "nan"}, {"x": ""}]
    assert geometric_mean(rows, "x") == pytest.approx(4)


@pytest.fixture
def cards(checkout: Path):
    spec = importlib.util.spec_from_file_location("cards", checkout / "evaluation" / "cards.py")
    assert spec is not None
    assert spec.loader is not None
    cards = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cards)
    return cards


@pytest.mark.parametrize("name", sorted(embedded()))
def test_the_committed_card_is_what_its_numbers_give(name, cards, checkout: Path):
    assert (checkout / "model_cards" / f"{name}.md").read_text() == cards.card_of(name), "run evaluation/cards.py"


@pytest.mark.parametrize("one", official_models(), ids=lambda one: one.name)
def test_the_committed_card_of_a_published_model_is_what_is_known_of_it(one, cards, checkout: Path):
    text = (checkout / "model_cards" / f"{one.name}.md").read_text()
    assert text == cards.published_card_of(one), "run evaluation/cards.py"
    assert one.hub in text and one.licence in text and "No score was measured" in text
