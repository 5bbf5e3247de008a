"""A wrong card is refused with its file, field, value and remedy; an unknown name gets the near ones."""

from pathlib import Path

import pytest

from datasets_registry import CardError, File, Splits, as_toml, card_from, cards, load_card, names

GOOD = {
    "name": "shop",
    "title": "Daily sales of a shop",
    "source": "own file",
    "licence": "yours",
    "role": "own",
    "training": "allowed",
    "why": "it is mine",
    "frequency": "D",
    "season": 7,
    "horizon": 30,
    "reader": "long_csv",
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "shop.toml"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in {**GOOD, **changes}.items()))
    return path


def test_a_card_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    entries = {
        **GOOD,
        "title": 'A "quoted" title, a \\ and a\nline, č',
        "splits": {"train": 70, "validation": 10, "test": 20},
        "files": [{"path": "a.csv", "sha256": "0" * 64}, {"path": "b/c.csv", "url": "https://example.org/c.csv"}],
        "target": ["x", "y"],
    }
    card = card_from(entries, "shop.toml", home=str(tmp_path))
    assert (card.splits, card.files[1]) == (Splits(70, 10, 20), File("b/c.csv", "", "https://example.org/c.csv"))
    path = tmp_path / "shop.toml"
    path.write_text(as_toml(card), encoding="utf-8")
    assert load_card(path) == card


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"season": 0}, "season = 0; give a whole number of at least 1"),
        ({"season": True}, "season = True"),
        ({"points": -1}, "points = -1"),
        ({"horizon": "30"}, "horizon = '30'"),
        ({"role": "test"}, "role = 'test'; choose one of pretrain, evaluate, demo, own"),
        ({"training": "maybe"}, "training = 'maybe'; choose one of allowed, never"),
        ({"role": "evaluate"}, "training = 'allowed' with role = 'evaluate'"),
        ({"frequency": "every day"}, "frequency = 'every day'"),
        ({"frequency": "D|"}, "frequency = 'D|'"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"title": " "}, "title = ' '"),
        ({"licence": 3}, "licence = 3"),
        ({"target": "y"}, "target = 'y'; give a list"),
        ({"target": [1]}, "target = [1]"),
        ({"files": ["a.csv"]}, "files = ['a.csv']"),
        ({"license": "MIT"}, "no field 'license'; did you mean 'licence'?"),
    ],
    ids=lambda value: " ".join(map(str, value.items())) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_named_with_its_value_and_the_remedy(changes: dict[str, object], said: str) -> None:
    with pytest.raises(CardError) as raised:
        card_from({**GOOD, **changes}, "shop.toml")
    assert str(raised.value).startswith("card shop.toml: ") and said in str(raised.value)


@pytest.mark.parametrize(
    "file, said",
    [
        ({"path": "../secret"}, "path = '../secret'"),
        ({"path": "/etc/passwd"}, "path = '/etc/passwd'"),
        ({"sha256": "0" * 64}, "path = ''"),
        ({"path": "a.csv", "sha256": "abc"}, "sha256 = 'abc'; give 64 digits"),
        ({"path": "a.csv", "url": "http://example.org/a.csv"}, "begins with https://"),
        ({"path": "a.csv", "size": 3}, "no field 'size'"),
    ],
    ids=str,
)
def test_a_wrong_file_is_named(file: dict[str, object], said: str) -> None:
    with pytest.raises(CardError) as raised:
        card_from({**GOOD, "files": [file]}, "shop.toml")
    assert said in str(raised.value)


def test_splits_longer_than_the_series_are_refused() -> None:
    splits = {"train": 70, "validation": 10, "test": 21}
    with pytest.raises(CardError, match="splits take 101 steps and a series has 100"):
        card_from({**GOOD, "splits": splits, "series": 2, "points": 200}, "shop.toml")
    with pytest.raises(CardError, match=r"splits\.test = None"):
        card_from({**GOOD, "splits": {"train": 70, "validation": 10}}, "shop.toml")


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_field_is_named(key: str) -> None:
    with pytest.raises(CardError, match=f"the field '{key}' is missing; add it"):
        card_from({name: value for name, value in GOOD.items() if name != key}, "shop.toml")


def test_a_file_that_is_no_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    with pytest.raises(CardError, match="check the path"):
        load_card(path)
    path.write_text("name = shop")
    with pytest.raises(CardError, match="no TOML"):
        load_card(path)


def test_an_unknown_name_suggests_the_near_ones() -> None:
    with pytest.raises(CardError, match="no data set 'ETTh3'; did you mean ETTh1 or ETTh2"):
        load_card("ETTh3")
    with pytest.raises(CardError, match=r"tsfm\.list_datasets\(\)"):
        load_card("qqqqqq")


def test_an_unknown_role_lists_the_roles() -> None:
    with pytest.raises(CardError, match="no role 'test'; roles are pretrain, evaluate, demo, own"):
        cards("test")


def test_names_are_sorted_whatever_their_case_and_every_role_has_its_own() -> None:
    assert names() == sorted(names(), key=str.lower)
    assert sorted([*names("pretrain"), *names("evaluate"), *names("demo")], key=str.lower) == names()
    assert names("own") == []
