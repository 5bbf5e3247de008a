"""Any number of series of any length is given back in its shape."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfm.data.adapters import give_back, to_panel


def results(panel, horizon):
    return [np.arange(horizon) + 10.0 * i for i in range(len(panel))]


def test_fifty_thousand_series_of_one_point_are_a_panel():
    frame = pd.DataFrame({"unique_id": np.arange(50_000), "ds": pd.Timestamp("2024"), "y": 1.0})
    panel = to_panel(frame)
    assert len(panel) == 50_000
    assert len(give_back(panel, [np.zeros(2)] * 50_000)) == 100_000


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    lengths=lengths,
    horizon=st.integers(1, 9),
    family=st.sampled_from(["ragged", "dict", "long", "matrix", "wide", "rows"]),
)
def test_any_number_of_series_of_any_length_comes_back_in_its_shape(lengths, horizon, family):
    arrays = [np.arange(length) + 100.0 * i for i, length in enumerate(lengths)]
    same = np.stack([np.arange(lengths[0]) + 100.0 * i for i in range(len(lengths))])
    days = pd.date_range("2024", periods=12, freq="D")
    data = {
        "ragged": arrays,
        "dict": dict(enumerate(arrays)),
        "long": pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(lengths)), lengths),
                "ds": np.concatenate([days[:length] for length in lengths]),
                "y": np.concatenate(arrays),
            }
        ),
        "matrix": same,
        "wide": pd.DataFrame(same.T, index=days[: lengths[0]]),
        "rows": [{"target": array} for array in arrays],
    }[family]
    panel = to_panel(data)
    expected = list(same) if family in ("matrix", "wide") else arrays
    assert [values.tolist() for values in panel.values] == [values.tolist() for values in expected]
    made = give_back(panel, results(panel, horizon))
    flat = {"dict": lambda: list(made.values()), "long": lambda: made["y"], "wide": lambda: made.to_numpy().T}
    np.testing.assert_array_equal(np.ravel(flat.get(family, lambda: made)()), np.concatenate(results(panel, horizon)))
