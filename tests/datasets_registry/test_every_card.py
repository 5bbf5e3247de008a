"""Every card says what a card must, and agrees with the data where they are at hand."""

import csv
import hashlib
from pathlib import Path

import pytest

from datasets_registry import CARDS, Card, as_toml, cards, load_card, names
from tsfm.data.datasets import load_series
from tsfm.data.formats import fev  # noqa: F401  (any of them fills the registry of readers)
from tsfm.data.timeaxis import parse_frequency
from tsfm.evaluation.protocol import season_for
from tsfm.registry import names as registered

EVERY = names()


@pytest.fixture(params=EVERY)
def card(request: pytest.FixtureRequest) -> Card:
    return load_card(request.param)


@pytest.fixture
def catalog(data_folder: Path) -> dict[str, dict[str, str]]:
    with (data_folder / "CATALOG.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_card_is_found_whatever_the_case_of_its_name(card: Card) -> None:
    assert load_card(card.name.upper()) == load_card(card.name.lower()) == card


def test_a_card_stands_as_it_would_be_written(card: Card) -> None:
    assert (CARDS / f"{card.name}.toml").read_text(encoding="utf-8") == as_toml(card)


def test_a_card_has_a_title_in_words_a_source_and_a_page(card: Card) -> None:
    assert " " in card.title and card.title != card.name and not card.title.endswith(".")
    assert card.source and card.licence and card.domain
    assert card.url.startswith("https://")
    assert card.series > 0


def test_a_card_names_a_reader_that_exists_and_frequencies_that_are_understood(card: Card) -> None:
    assert card.reader in registered("reader")
    assert all(parse_frequency(frequency).season >= 1 for frequency in card.frequencies)


def test_the_season_is_the_one_that_gift_eval_takes(card: Card) -> None:
    assert card.season == season_for(card.frequencies[0])


def test_a_card_names_files_that_are_prepared_or_can_be_had(card: Card) -> None:
    assert card.files
    if card.prepared:
        assert len(card.prepared.sha256) == 64 and not card.prepared.url
    assert all(file.url or card.role == "demo" for file in card.raw)
    assert (card.reader == "parquet_set") is (card.raw == ())


def test_only_pretraining_sets_may_be_trained_on(card: Card) -> None:
    assert (card.training == "allowed") is (card.role == "pretrain")
    assert len(card.why) > 20
    assert not (card.gift_eval and card.role != "evaluate")


def test_the_long_horizon_sets_are_split_as_their_papers_do() -> None:
    shares = {}
    for card in cards("evaluate"):
        if card.splits:
            length = card.points // card.series
            shares[card.name] = [getattr(card.splits, part) / length for part in ("train", "validation", "test")]
    ett = {"ETTh1", "ETTh2", "ETTm1", "ETTm2"}
    assert set(shares) == ett | {"weather", "exchange_rate", "national_illness", "electricity", "traffic"}
    for name in set(shares) - ett:
        assert shares[name] == pytest.approx([0.7, 0.1, 0.2], abs=0.002)
    assert all(load_card(name).splits == load_card("ETTh1").splits for name in ("ETTh2",))
    assert load_card("ETTm1").splits.train == 4 * load_card("ETTh1").splits.train == 4 * 12 * 30 * 24


def test_no_configuration_of_gift_eval_is_claimed_twice() -> None:
    claimed = [name for card in cards() for name in card.gift_eval]
    assert len(claimed) == len(set(claimed)) >= 24


@pytest.mark.data
def test_every_set_of_the_catalog_has_a_card_that_agrees_with_it(catalog: dict[str, dict[str, str]]) -> None:
    roles = {"eval": "evaluate", "pretrain": "pretrain"}
    for name, row in catalog.items():
        card = load_card(name)
        assert card.name == name and card.role == roles[row["split"]]
        assert (card.series, card.points, card.missing) == tuple(
            int(row[k]) for k in ("n_series", "n_obs", "n_missing")
        )
        assert card.gift_eval == ((row["gift_eval_name"],) if row["gift_eval_name"] else ())
        assert card.licence == row["licence"]
    assert {card.name for card in cards() if card.prepared} == set(catalog)
    assert len(cards("pretrain")) == 26


@pytest.mark.data
@pytest.mark.parametrize("name", [card.name for card in cards() if card.prepared])
def test_a_card_agrees_with_the_file_at_hand(name: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card(name)
    assert card.prepared is not None
    path = data_folder / card.prepared.path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card.prepared.sha256
    if card.points > 500_000:
        return  # the hash says it all; the small ones are counted too
    monkeypatch.setenv("TSFM_DATA", str(data_folder))
    series = load_series(name)
    assert (len(series), sum(map(len, series))) == (card.series, card.points)
    assert {one.freq for one in series} == set(card.frequencies)
    assert len({one.series_id for one in series}) == len(series)
