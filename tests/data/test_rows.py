"""Rows that hold a whole series each, in the style of GluonTS and fev."""

import pandas as pd
import pytest

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError

DAYS = list(pd.date_range("2024-01-01", periods=3))


@pytest.mark.parametrize(
    ("row", "unused"),
    [
        ({"target": [1.0, 2.0, 3.0], "start": "2024-01-01", "freq": "D", "feat_dynamic_real": [[1.0] * 5]}, "feat_"),
        ({"id": "a", "timestamp": DAYS, "target": [1.0, 2.0, 3.0], "price": [1.0, 2.0, 3.0]}, "price"),
    ],
)
def test_covariates_in_rows_are_named_as_unused(row, unused):
    (repair,) = to_panel([row]).repairs
    assert repair.kind == "covariates"
    assert unused in repair.message


def test_rows_without_covariates_need_no_word():
    rows = [{"item_id": "a", "target": [1.0, 2.0], "start": DAYS[0], "freq": "D", "feat_static_cat": None}]
    assert to_panel(rows).repairs == []


def test_a_start_or_a_frequency_that_cannot_be_read_keeps_only_its_own_series_out():
    rows = [
        {"target": [1.0, 2.0], "start": "2024-01-01", "freq": "nonsense"},
        {"target": [1.0, 2.0], "start": "yesterday"},
        {"target": [1.0, 2.0, 3.0]},
    ]
    with pytest.raises(DataError, match=r"(?s)series 0: freq='nonsense'.*series 1 has 'yesterday'"):
        to_panel(rows)
    panel = to_panel(rows, errors="skip")
    assert panel.ids == [2]
    assert list(panel.skipped) == [0, 1]
