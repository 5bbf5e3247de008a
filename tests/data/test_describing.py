"""A person's own file becomes a data set with a card, and reads the same with it as without."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsfm
from datasets_registry import as_toml
from tsfm.data.datasets import load_series
from tsfm.data.describing import describe
from tsfm.errors import DataError


def long_frame() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=40)
    frames = [pd.DataFrame({"shop": shop, "day": days, "sales": np.arange(40.0) + i}) for i, shop in enumerate("ab")]
    return pd.concat(frames).drop(index=7)


def wide_frame() -> pd.DataFrame:
    months = pd.date_range("2020-01-01", periods=30, freq="MS")
    return pd.DataFrame({"month": months, "north": np.arange(30.0), "south": np.arange(30.0) ** 2}).drop(index=7)


@pytest.mark.parametrize("make", [long_frame, wide_frame])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_reads_the_same_with_its_card_as_without(make, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"sales.{ending}"
    frame = make()
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    (tmp_path / "sales.toml").write_text(as_toml(describe(path)))
    plain, carded = tsfm.load_dataset(path), tsfm.load_dataset(tmp_path / "sales.toml")
    assert [str(name) for name in plain.ids] == carded.ids
    for i in range(len(plain)):
        np.testing.assert_array_equal(plain.values[i], carded.values[i])
        assert list(plain.past_index(i)) == list(carded.past_index(i))
    assert [one.series_id for one in load_series(path)] == carded.ids


def test_the_card_says_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "my sales.csv"
    long_frame().to_csv(path, index=False)
    card = describe(path, title="Sales of two shops")
    assert (card.name, card.title, card.role, card.training) == ("my_sales", "Sales of two shops", "own", "allowed")
    assert (card.frequency, card.season, card.horizon) == ("D", 7, 30)
    assert (card.series, card.points, card.missing) == (2, 80, 2)
    assert (card.id, card.time, card.target) == ("shop", "day", ("sales",))


def test_a_file_that_changed_since_its_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    long_frame().to_csv(path, index=False)
    (tmp_path / "sales.toml").write_text(as_toml(describe(path)))
    long_frame().iloc[:-1].to_csv(path, index=False)
    with pytest.raises(DataError, match=r"tsfm datasets describe sales\.csv"):
        tsfm.load_dataset(tmp_path / "sales.toml")


@pytest.mark.parametrize(("line", "horizon"), [("@horizon 5\n", 5), ("", 48)])
def test_the_horizon_of_a_tsf_file_is_that_of_its_header(line: str, horizon: int, tmp_path: Path) -> None:
    head = "@attribute series_name string\n@attribute start_timestamp date\n@frequency hourly\n"
    (tmp_path / "a.tsf").write_text(f"{head}{line}@data\nT1:2012-01-01 00-00-00:{','.join('123' * 20)}\n")
    assert describe(tmp_path / "a.tsf").horizon == horizon


def test_a_file_without_times_is_told_what_to_name(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    pd.DataFrame({"a": range(9), "b": range(9)}).to_csv(path, index=False)
    with pytest.raises(DataError, match="--time"):
        describe(path)
    assert len(tsfm.load_dataset(path)) == 2
