"""Plots and the notebook card: drawn for any series, nothing left open, names shown as they are."""

import sys
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tsfm.data.adapters import to_panel
from tsfm.errors import DataError, MissingDependency, UnknownName
from tsfm.prediction import Forecast, Provenance

KNOTS = (0.1, 0.5, 0.9)


def make(data, horizon=6, **options):
    panel = to_panel(data)
    values = []
    for series in panel.values:
        seen = series[np.isfinite(series)]
        spread = np.sqrt(np.arange(1, horizon + 1))[:, None] * np.array([-1.0, 0.0, 1.0])
        values.append(seen[-1] + np.ptp(seen) / 4 * spread)
    facts = Provenance("moe-decoder-tiny", defaults={"horizon": horizon}, seconds=0.4, **options)
    return Forecast(panel, horizon, KNOTS, values, KNOTS, [False] * len(panel), facts)


def wave(steps=40, seed=0):
    return 10 + np.sin(np.arange(steps)) + np.random.default_rng(seed).normal(size=steps)


def drawn(figure):
    """Draw the figure, so that what only shows then is caught too."""
    figure.canvas.draw()
    return figure


GAPS = wave()
GAPS[[3, 10, 12, 39]] = np.nan
INDEXES = {
    "hours": pd.date_range("2024-03-30", periods=40, freq="h", tz="Europe/Berlin"),
    "days": pd.date_range("2024-01-01", periods=40, freq="D"),
    "months": pd.date_range("2020-01-31", periods=40, freq="ME"),
    "quarters": pd.period_range("2010Q1", periods=40, freq="Q"),
    "durations": pd.timedelta_range("0h", periods=40, freq="h"),
    "years": pd.RangeIndex(1980, 2020),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_every_kind_of_time_axis_is_drawn(index):
    drawn(make(pd.Series(wave(), index=index, name="load")).plot())


@pytest.mark.parametrize(
    "values",
    [np.full(40, 5.0), GAPS, np.array([3.0]), wave() * 1e300, wave() * 1e-300, np.zeros(9), -wave() * 1e12],
    ids=["constant", "gaps", "one point", "huge", "tiny", "zeros", "large and negative"],
)
@pytest.mark.parametrize("horizon", [1, 6])
def test_every_kind_of_history_is_drawn(values, horizon):
    forecast = make(values, horizon)
    drawn(forecast.plot())
    drawn(forecast.plot(history=0))
    assert "<svg" in forecast._repr_html_()


@pytest.mark.parametrize("count, shown", [(1, 1), (2, 2), (7, 7), (12, 12), (30, 12)])
def test_many_series_become_small_multiples(count, shown):
    figure = make({f"shop {i}": wave(seed=i) for i in range(count)}).plot()
    assert len(figure.axes) == shown


def test_dates_on_the_axis_do_not_overlap():
    series = {f"shop {i}": pd.Series(wave(60), index=pd.date_range("2024-01-01", periods=60)) for i in range(12)}
    figure = drawn(make(series).plot())
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 2
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_the_history_is_cut_where_asked_and_joined_to_the_median():
    (axes,) = make(wave()).plot(history=5).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines["history"].get_xdata()) == 5
    assert lines["median"].get_xdata()[0] == lines["history"].get_xdata()[-1]


def test_chosen_series_are_drawn_in_the_order_chosen():
    figure = make({f"shop {i}": wave(seed=i) for i in range(5)}).plot(ids=["shop 3", "shop 1"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["shop 3", "shop 1"]


def test_an_unknown_series_is_named():
    with pytest.raises(UnknownName, match="shop 9"):
        make({"shop 0": wave()}).plot(ids="shop 9")


def test_a_name_with_dollar_signs_begins_no_formula():
    figure = drawn(make({"$x_1^{$": wave(), "<b>": wave()}).plot())
    assert figure.axes[0].get_title(loc="left") == "$x_1^{$"


def test_a_plot_leaves_nothing_open_in_pyplot():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    make(wave()).plot()
    assert pyplot.get_fignums() == before


def test_a_forecast_is_drawn_into_axes_of_the_users():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2)
    try:
        forecast = make({"a": wave(), "b": wave()})
        assert forecast.plot(axes[0], ids="b", title="mine") is figure
        assert axes[0].get_title(loc="left") == "mine" and not axes[1].get_lines()
        assert forecast.plot(axes) is figure and axes[1].get_lines()
        with pytest.raises(DataError, match="1 axes were given for 2 series"):
            forecast.plot([axes[0]])
    finally:
        pyplot.close(figure)


def test_a_notebook_shows_the_figure_by_itself():
    assert make(wave()).plot()._repr_png_().startswith(b"\x89PNG")


def test_a_plot_without_any_series_says_so():
    with pytest.raises(DataError, match="skipped"):
        make({"a": wave()}).first(0).plot()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    monkeypatch.delitem(sys.modules, "tsfm.plotting", raising=False)
    monkeypatch.delattr("tsfm.plotting", raising=False)
    with pytest.raises(MissingDependency, match=r"tsfm-forecast\[plot\]"):
        make(wave()).plot()


def test_the_card_says_what_was_forecast_and_what_needs_attention():
    card = make({"a": wave(), "b": wave()}, warnings=["series 'a' is short"])._repr_html_()
    for part in ("2 series", "6 steps", "moe-decoder-tiny", "horizon = 6", "is short", "<svg", "unique_id", "12 rows"):
        assert part in card


def test_the_card_is_well_formed_whatever_the_names():
    card = make({"<script>alert('&')</script>": wave(), "b": GAPS}, warnings=["<i>&"])._repr_html_()
    assert "<script" not in card
    ElementTree.fromstring(card.replace("&nbsp;", " ").replace("&middot;", "."))


def test_the_card_stays_small_for_many_series():
    assert len(make({i: wave() for i in range(2000)})._repr_html_()) < 30_000


def test_the_key_of_the_inner_fan_has_the_shade_that_it_has_over_the_outer_one():
    from matplotlib.patches import Rectangle

    legend = drawn(make(wave()).plot()).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["history", "median", "50% interval", "80% interval"]
    assert len(legend.findobj(Rectangle)) == 3
