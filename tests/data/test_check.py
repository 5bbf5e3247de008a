"""`check` names what is odd, in which series and rows, with a fix, and is quiet about sound data."""

import numpy as np
import pandas as pd
import pytest

from tsfm.data.check import check

RNG = np.random.default_rng(0)
N = 210
DAYS = pd.date_range("2024-01-01", periods=N, freq="D")
SOUND = 10 + np.sin(np.arange(N) * 2 * np.pi / 7) + RNG.normal(0, 0.1, N)


def kinds(report) -> set[str]:
    return {finding.kind for finding in report.findings}


def changed(row: int, value: float) -> np.ndarray:
    values = SOUND.copy()
    values[row] = value
    return values


@pytest.mark.parametrize(
    "values", [SOUND, np.arange(N) + RNG.normal(0, 1, N), RNG.normal(0, 1, N).cumsum(), RNG.poisson(9, N)]
)
def test_sound_series_are_ok(values):
    report = check(pd.Series(values, DAYS))
    assert report.ok
    assert "nothing odd" in str(report)


@pytest.mark.parametrize(
    ("kind", "values", "row"),
    [
        ("outliers", changed(50, 900), "2024-02-20"),
        ("level shift", SOUND + np.where(np.arange(N) < 100, 0, 60), "2024-04-10"),
        ("constant", np.full(N, 7.0), None),
        ("zeros", np.where(np.arange(N) % 5, 0, 3), None),
        ("missing", np.where(np.arange(N) % 3, SOUND, np.nan), None),
        ("missing end", np.where(np.arange(N) < 200, SOUND, np.nan), "2024-07-18"),
        ("negative", np.where(np.arange(N) == 9, -1, RNG.poisson(9, N)), "2024-01-10"),
    ],
)
def test_odd_values_are_found_in_their_series_and_rows(kind, values, row):
    report = check(pd.DataFrame({"sound": SOUND, "odd": values}, index=DAYS))
    finding = next(finding for finding in report.findings if finding.kind == kind)
    assert finding.series == ["odd"]
    assert finding.remedy
    assert row is None or finding.rows[0].startswith(row)
    assert finding.message in str(report)


def test_repairs_are_in_the_report():
    series = pd.Series(SOUND, DAYS).drop(DAYS[[5, 6]])
    report = check(pd.concat([series, series.iloc[:1]]))
    assert {"gaps", "duplicates", "unsorted"} <= kinds(report)


def test_copies_mixed_frequencies_and_short_series_are_found():
    hours = pd.date_range("2024", periods=30, freq="h")
    series = {"a": pd.Series(SOUND, DAYS), "b": pd.Series(SOUND, DAYS), "c": pd.Series(SOUND[:30], hours)}
    report = check(series)
    found = {finding.kind: finding.series for finding in report.findings}
    assert found["copies"] == ["a", "b"]
    assert found["frequencies"] == ["c"]
    assert found["short"] == ["c"]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.arange(2000, 2020), "years"),
        (1_700_000_000 + 3600 * np.arange(20), "seconds"),
        ([202401, 202402, 202403], "months"),
    ],
)
def test_integers_that_look_like_dates_are_found(times, words):
    report = check(pd.DataFrame({"ds": times, "y": RNG.normal(size=len(times))}))
    assert words in next(finding.message for finding in report.findings if finding.kind == "integer time")


def test_bad_series_are_errors_in_the_report_and_not_raised():
    report = check({"bad": [1, np.inf], "good": SOUND})
    assert not report.ok
    assert report.findings[0].kind == "bad series"
    assert report.findings[0].series == ["bad"]


def test_data_that_cannot_be_read_make_a_report_too():
    report = check(pd.DataFrame({"ds": ["01/02/2024"], "y": [1]}))
    assert kinds(report) == {"unreadable"}
    assert "dayfirst" in str(report)


def test_the_notebook_view_escapes_names():
    assert "<script>" not in check({"<script>": [1, np.inf], "a": [1, 2]})._repr_html_()
    assert "<table>" in check({"a": [1, np.inf], "b": [1, 2]})._repr_html_()
