"""Data sets by name: found where they lie, checked, fetched into the cache, and panels on their true time axes."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsfm
from datasets_registry import Card, File, card_from
from tsfm.data.datasets import data_hash, data_path, load_card, load_series, read_parquet, sha256
from tsfm.data.shelf import cache_folder, whereabouts
from tsfm.data.shelf import data_folder as folder_named
from tsfm.errors import DataError, UnknownName

pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")

LONG = "shop,day,sales\n" + "".join(f"{shop},2024-01-{day:02d},{day}\n" for shop in "ab" for day in range(1, 15))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and no data folder."""
    monkeypatch.setenv("TSFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TSFM_DATA", raising=False)
    monkeypatch.delenv("TSFM_OFFLINE", raising=False)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "eval" / "two.parquet"
    path.parent.mkdir()
    targets = [np.array([1.0, np.nan, 3.5], np.float32), np.array([7.0], np.float32)]
    starts = pd.to_datetime(["2024-01-01", "2020-03-01"])
    pd.DataFrame({"item_id": ["a", "b"], "start": starts, "freq": ["h", "W-SUN"], "target": targets}).to_parquet(path)
    monkeypatch.setenv("TSFM_DATA", str(tmp_path))
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Card:
    """A set whose one file is published at a place on this machine."""
    published = tmp_path / "published.csv"
    published.write_text(LONG)
    entries = {"name": "shop", "title": "Sales", "source": "made", "licence": "CC0", "role": "evaluate"}
    entries |= {"training": "never", "why": "measured on", "frequency": "D", "season": 7, "horizon": 7}
    card = card_from({**entries, "reader": "long_csv", "id": "shop", "time": "day", "target": ["sales"]}, "shop.toml")
    return replace(card, files=(File("shop.csv", sha256(published), published.as_uri()),))


def test_series_come_as_stored_in_float64_with_nan_where_missing(stored: Path) -> None:
    first, second = load_series("two")
    np.testing.assert_array_equal(first.values, [1.0, np.nan, 3.5])
    assert first.values.dtype == np.float64
    assert (first.series_id, first.freq, first.start) == ("a", "h", pd.Timestamp("2024-01-01"))
    assert (len(first), len(second), second.freq) == (3, 1, "W-SUN")


def test_the_hash_is_that_of_the_bytes_and_follows_the_file(stored: Path) -> None:
    assert sha256(stored) == data_hash("two") == hashlib.sha256(stored.read_bytes()).hexdigest()
    stored.write_bytes(b"other")
    assert sha256(stored) == hashlib.sha256(b"other").hexdigest()


def test_an_unset_folder_is_none_and_reading_says_what_to_set() -> None:
    assert folder_named() is None
    with pytest.raises(DataError, match=r"set TSFM_DATA to the folder that has eval/two\.parquet"):
        data_path("two")
    with pytest.raises(DataError, match=r"that has pretrain/nab\.parquet"):
        data_path("nab")


def test_an_unknown_set_or_split_lists_what_there_is(stored: Path) -> None:
    with pytest.raises(UnknownName, match=r"no data set 'three'.*there are two"):
        data_path("three")
    with pytest.raises(UnknownName, match="eval, pretrain"):
        data_path("two", "test")
    with pytest.raises(UnknownName, match="no data set 'etth'; did you mean ETTh1 or ETTh2"):
        tsfm.load_dataset("etth")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pd.DataFrame({"item_id": ["a"], "target": [[1.0]]}).to_parquet(path)
    with pytest.raises(DataError, match=r"bad\.parquet has no column start, freq"):
        read_parquet(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"start": ["soon"]}, "start = 'soon', which is no time; write it as"),
        ({"start": [None]}, "no start; give the time"),
        ({"target": [["x"]]}, "a target that holds no plain numbers"),
        ({"target": [5.0]}, "target = 5.0, which is no list"),
    ],
    ids=str,
)
def test_a_row_that_is_no_series_is_named(columns: dict[str, list[object]], said: str, tmp_path: Path) -> None:
    good = {"item_id": ["shop"], "start": ["2024-01-01"], "freq": ["h"], "target": [[1.0]]}
    pd.DataFrame({**good, **columns}).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=rf"bad\.parquet: series 'shop' has {said}"):
        read_parquet(tmp_path / "bad.parquet")


def test_a_prepared_set_that_is_no_parquet_is_named_with_and_without_a_card(stored: Path) -> None:
    stored.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"two\.parquet' cannot be read as parquet: .*; fetch it again"):
        tsfm.load_dataset("two")


@pytest.mark.parametrize("name", [None, 5, b"ETTh1", ["ETTh1"]], ids=str)
def test_what_is_no_name_is_refused(name: object) -> None:
    for call in (tsfm.load_dataset, load_series, load_card, data_hash):
        with pytest.raises(DataError, match="is no data set; give a name"):
            call(name)


def test_a_panel_has_the_time_axis_of_every_series(stored: Path) -> None:
    panel = tsfm.load_dataset("two")
    assert panel.ids == ["a", "b"] and panel.season == [24, 52]
    assert list(panel.future_index(0, 1)) == [pd.Timestamp("2024-01-01 03:00")]
    assert list(panel.future_index(1, 1)) == [pd.Timestamp("2020-03-08")]
    forecast = tsfm.forecast(panel, 2, model="naive")
    assert set(forecast.median) == {"a", "b"}


def test_a_file_that_is_not_the_one_on_the_card_is_refused_with_both_hashes(stored: Path) -> None:
    other = stored.with_name("ETTh1.parquet")
    stored.rename(other)
    wanted = load_card("ETTh1").prepared
    assert wanted is not None
    with pytest.raises(DataError, match=f"ETTh1.parquet has sha256 {sha256(other)} and .* says {wanted.sha256}"):
        tsfm.load_dataset("etth1")


def test_the_demo_set_travels_with_the_package() -> None:
    panel = tsfm.load_dataset("airport_departures", offline=True)
    assert panel.ids == ["EWR", "JFK", "LGA"] and panel.season == [24] * 3
    assert list(panel.past_index(0)[:1]) == [pd.Timestamp("2013-08-01")]


def test_a_set_is_fetched_into_the_cache_once(shop: Card, tmp_path: Path) -> None:
    assert whereabouts(shop) == "to download"
    panel = tsfm.load_dataset(shop)
    assert panel.ids == ["a", "b"] and [len(values) for values in panel.values] == [14, 14]
    assert (cache_folder("shop") / "shop.csv").read_text() == LONG
    (tmp_path / "published.csv").unlink()
    assert whereabouts(shop) == "here"
    assert tsfm.load_dataset(shop, offline=True).ids == ["a", "b"]


def test_a_download_with_another_hash_is_refused_and_leaves_nothing(shop: Card, tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text(LONG + "b,2024-01-15,3\n")
    with pytest.raises(DataError, match=shop.files[0].sha256):
        tsfm.load_dataset(shop)
    assert not (cache_folder("shop") / "shop.csv").exists()


def test_a_hash_that_nobody_knew_is_recorded_and_checked_ever_after(shop: Card) -> None:
    card = replace(shop, files=(replace(shop.files[0], sha256=""),))
    with pytest.warns(UserWarning, match="recorded"):
        tsfm.load_dataset(card)
    tsfm.load_dataset(card)
    (cache_folder("shop") / "shop.csv").write_text(LONG.replace("14", "41"))
    with pytest.raises(DataError, match="its first download"):
        tsfm.load_dataset(card)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_the_error_names_the_file_and_the_folder(
    shop: Card, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSFM_OFFLINE", "1" if how == "environment" else "0")
    with pytest.raises(DataError) as raised:
        tsfm.load_dataset(shop, offline=how == "argument")
    assert f"put it into {tmp_path / 'cache' / 'datasets' / 'shop'} as shop.csv" in str(raised.value)
    with pytest.raises(DataError, match=r"set TSFM_DATA to the folder that has eval/ETTh1\.parquet, or fetch https"):
        tsfm.load_dataset("ETTh1", offline=True)


def test_a_folder_of_ones_own_comes_before_the_cache(shop: Card, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "shop.csv").write_text(LONG)
    assert tsfm.load_dataset(shop, folder=folder, offline=True).ids == ["a", "b"]
    assert not cache_folder("shop").exists()


def test_a_file_may_lie_there_unpacked(shop: Card, tmp_path: Path) -> None:
    card = replace(shop, files=(File("shop.zip", "", "https://example.org/shop.zip"),))
    folder = cache_folder("shop")
    folder.mkdir(parents=True)
    (folder / "shop.csv").write_text(LONG)
    assert tsfm.load_dataset(card, offline=True).ids == ["a", "b"]


def test_the_hash_of_several_files_changes_with_each(shop: Card, tmp_path: Path) -> None:
    card = replace(shop, files=(File("one.csv"), File("two.csv")))
    (tmp_path / "one.csv").write_text(LONG)
    (tmp_path / "two.csv").write_text(LONG)
    before = data_hash(card, tmp_path)
    (tmp_path / "two.csv").write_text(LONG.replace("14", "41"))
    assert data_hash(card, tmp_path) != before


def test_a_list_of_sets_is_a_table_that_can_be_narrowed() -> None:
    every = tsfm.list_datasets()
    assert str(every).splitlines()[0].split() == ["name", "title", "frequency", "series", "points", "role", "where"]
    assert len(str(every).splitlines()) == len(every) + 1
    assert {card.role for card in tsfm.list_datasets(role="pretrain")} == {"pretrain"}
    assert all("energy" in card.domain for card in tsfm.list_datasets(domain="Energy"))
    assert [card.name for card in tsfm.list_datasets(here=True)] == ["airport_departures"]
    assert "Melbourne" in every._repr_html_()
    assert every.to_frame().set_index("name").loc["ETTh1", "where"] == "to download"
    with pytest.raises(UnknownName, match="roles are"):
        tsfm.list_datasets(role="test")


def test_a_folder_of_gluonts_is_a_set_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "m4"
    (folder / "train").mkdir(parents=True)
    (folder / "metadata.json").write_text('{"freq": "D", "prediction_length": 2}')
    (folder / "train" / "data.json").write_text('{"start": "2024-01-01", "target": [1, 2, 3], "item_id": "a"}\n')
    panel = tsfm.load_dataset(folder)
    assert panel.ids == ["a"] and panel.season == [7]
    assert len(data_hash(folder)) == 64
