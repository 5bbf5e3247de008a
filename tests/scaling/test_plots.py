"""Figures of scaling show every value that they are given, at its place."""

import numpy as np
import pandas as pd
import pytest

from tsfm.scaling.fitting import fit
from tsfm.scaling.laws import JOINT
from tsfm.scaling.plots import draw_exponents, draw_residuals, draw_rows, log_axes, panels, shades, short

LAW = {"E": 0.3, "A": 2.0, "B": 8.0, "a": 0.3, "b": 0.25}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    grid = pd.MultiIndex.from_product([[1e4, 1e5, 1e6], [4e6, 4e7, 4e8]], names=["active", "points"])
    frame = grid.to_frame(index=False)
    return frame.assign(loss=JOINT.predict(LAW, frame))


@pytest.mark.parametrize(
    ("number", "text"),
    [(11664, "12k"), (820_800, "821k"), (4_194_304, "4.2M"), (1_006_632_960, "1B"), (999_900, "1M"), (0.25, "0.25")],
)
def test_numbers_are_short(number: float, text: str):
    assert short(number) == text


def test_every_row_is_a_dot_in_the_colour_of_its_group(rows: pd.DataFrame):
    _, (axis,) = panels()
    draw_rows(axis, rows, "points", "loss", by="active")
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert sorted(y for line in dots for y in line.get_ydata()) == pytest.approx(sorted(rows["loss"]))
    assert [line.get_label() for line in dots] == ["10k", "100k", "1M"]
    assert [line.get_color() for line in dots] == list(shades(list(rows["active"])).values())


def test_a_drawn_law_goes_through_rows_that_follow_it_and_beyond(rows: pd.DataFrame):
    _, (axis,) = panels()
    found = fit(JOINT, rows, rows["loss"], resamples=0)
    draw_rows(axis, rows, "points", "loss", by="active", fit=found, beyond=4.0)
    dashed = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    end = dashed[0].get_xdata()[-1], dashed[0].get_ydata()[-1]
    assert end[0] == pytest.approx(1.6e9)
    assert end[1] == pytest.approx(JOINT.predict(LAW, {"active": [1e4], "points": [1.6e9]})[0], rel=1e-3)


def test_the_band_ahead_is_the_interval_of_the_law(rows: pd.DataFrame):
    noisy = rows.assign(loss=rows["loss"] * np.exp(0.01 * np.random.default_rng(0).standard_normal(len(rows))))
    found = fit(JOINT, noisy, noisy["loss"], resamples=40)
    _, (axis,) = panels()
    draw_rows(axis, noisy, "points", "loss", by="active", fit=found, beyond=4.0)
    assert len(axis.collections) == 2  # of the smallest and of the largest
    corners = axis.collections[0].get_paths()[0].vertices
    low, high = found.interval({"active": [1e4, 1e4], "points": [4e8, 1.6e9]})
    assert corners[:, 0].min() == pytest.approx(4e8)
    assert corners[:, 1].min() == pytest.approx(low.min())
    assert corners[:, 1].max() == pytest.approx(high.max())


def test_exponents_and_intervals_stand_at_their_names():
    _, (axis,) = panels()
    draw_exponents(axis, {"N": (0.2, 0.1, 0.3), "D": (0.4, 0.35, 0.5)}, {"D": 0.09})
    assert [label.get_text() for label in axis.get_yticklabels()] == ["N", "D"]
    dots, marks = ([line for line in axis.lines if line.get_marker() == marker] for marker in "o|")
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [(0.2, 0), (0.4, 1)]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(0.09, 1)]
    bars = [line for line in axis.lines if line.get_marker() == "None"]
    assert [list(line.get_xdata()) for line in bars] == [[0.1, 0.3], [0.35, 0.5]]


def test_residuals_are_told_in_percent_at_their_size_and_milestone(rows: pd.DataFrame):
    found = fit(JOINT, rows, rows["loss"], resamples=0)
    off = rows.assign(milestone=rows["points"])
    off.loc[5, "loss"] *= 1.02  # 100k parameters, 400M points
    _, (axis,) = panels()
    draw_residuals(axis, off, found, "loss")
    texts = {text.get_position(): text.get_text() for text in axis.texts}
    assert texts.pop((2, 1)) == "+2.0"
    assert all(abs(float(text)) < 0.1 for text in texts.values())
    assert [label.get_text() for label in axis.get_yticklabels()] == ["10k", "100k", "1M"]


def test_axes_are_in_logs_and_say_their_unit():
    figure, (axis,) = panels()
    axis.plot([1e4, 1e6], [0.5, 0.4])
    log_axes(axis, "active", "loss")
    figure.canvas.draw()
    assert (axis.get_xscale(), axis.get_yscale(), axis.get_xlabel()) == ("log", "log", "active parameters")
    assert "100k" in [label.get_text() for label in axis.get_xticklabels()]


def test_compute_is_told_in_powers_of_ten():
    figure, (axis,) = panels()
    axis.plot([1e12, 1e15], [0.5, 0.4])
    log_axes(axis, "flops")
    figure.canvas.draw()
    assert "$10^{13}$" in [label.get_text() for label in axis.get_xticklabels()]
