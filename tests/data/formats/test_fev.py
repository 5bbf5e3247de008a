"""Data sets of fev and Hugging Face are read from the files that those libraries write."""

import numpy as np
import pandas as pd
import pytest

from tsfm.errors import DataError

pa = pytest.importorskip("pyarrow", reason="parquet and Arrow need pyarrow, the extra `data`")

DAYS = pd.date_range("2024-01-01", periods=5, freq="D")


def frame() -> pd.DataFrame:
    """Two series of a target, a covariate and a static column, one of them with a gap in its values."""
    columns = {"id": np.repeat(["a", "b"], 5), "timestamp": [*DAYS] * 2, "target": np.arange(10.0)}
    made = pd.DataFrame(columns).assign(price=2.5, city=np.repeat(["Rome", "Oslo"], 5))
    made.loc[7, "target"] = np.nan
    return made


def nested() -> "pa.Table":
    """The same, a row a series."""
    rows = [
        {"id": key, "timestamp": part.timestamp.tolist(), "target": part.target.tolist(), "price": part.price.tolist()}
        for key, part in frame().groupby("id")
    ]
    return pa.Table.from_pylist(rows)


def assert_is_frame(found: list) -> None:
    assert [(series.series_id, series.start, series.freq) for series in found] == [
        ("a", DAYS[0], "D"),
        ("b", DAYS[0], "D"),
    ]
    np.testing.assert_array_equal(found[0].values, np.arange(5.0))
    np.testing.assert_array_equal(found[1].values, [5, 6, np.nan, 8, 9])


def test_what_fev_and_datasets_write_is_read(tmp_path, read):
    pytest.importorskip("fev", reason="fev writes the files, the extra `bench`")
    from fev.utils import convert_long_df_to_hf_dataset

    dataset = convert_long_df_to_hf_dataset(frame(), static_columns=["city"])
    dataset.to_parquet(tmp_path / "a.parquet")
    dataset.save_to_disk(tmp_path / "saved")
    assert_is_frame(read("fev", tmp_path / "a.parquet", frequency="D"))
    assert_is_frame(read("fev", tmp_path / "saved", frequency="D"))


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_parquet_and_both_kinds_of_arrow_are_read(tmp_path, read, kind):
    from pyarrow import ipc, parquet

    table, path = nested(), tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        with (ipc.new_stream if kind == "stream" else ipc.new_file)(path, table.schema) as writer:
            writer.write_table(table)
    assert_is_frame(read("fev", path, frequency="D"))


def test_several_targets_are_a_series_each_and_their_columns_are_named_by_the_card(tmp_path, read):
    from pyarrow import parquet

    renamed = nested().rename_columns(["store", "when", "sales", "price"])
    parquet.write_table(renamed, tmp_path / "a.parquet")
    found = read("fev", tmp_path / "a.parquet", frequency="D", id="store", time="when", target=("sales", "price"))
    assert [series.series_id for series in found] == ["a/sales", "b/sales", "a/price", "b/price"]
    with pytest.raises(DataError, match=r"a.parquet has none of unique_id, .*it has store, when, sales, price: name"):
        read("fev", tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet has no column 'cost'"):
        read("fev", tmp_path / "a.parquet", id="store", time="when", target=("cost",))


def test_a_file_or_folder_that_cannot_be_read_is_an_error_that_names_it(tmp_path, read):
    with pytest.raises(DataError, match=r"has no .parquet or .arrow file"):
        read("fev", tmp_path)
    for name in ("a.parquet", "a.arrow"):
        (tmp_path / name).write_bytes(b"no table at all")
        with pytest.raises(DataError, match=f"{name}' cannot be read.*fetch it again"):
            read("fev", tmp_path / name)
