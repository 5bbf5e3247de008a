"""Show measured layers: a table of what they cost over a dense network, and the roofline.

The roofline is operations a second over operations a byte, beside what the device allows.

python evaluation/speed_roofline.py evaluation/results/speed_layers.csv
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.speed_limits import FORWARD, Shape, kernel_limits
from tsfm.evaluation.results import read_csv

MARKS = {"ours": "o", "dense": "x", "loop": "v", "grouped_mm": "s", "padded bmm": "^"}
KIND = ("dtype", "routing", "mode")
COLOURS = {"bf16": "tab:blue", "fp16": "tab:green", "fp32": "tab:orange"}


def intensity(row: Mapping[str, str]) -> float:
    """Useful operations a compulsory byte of a layer's forward pass."""
    shape = Shape(*(int(row[name]) for name in Shape._fields))
    limits = kernel_limits(shape, 4 if row["dtype"] == "fp32" else 2, keep_z=False)
    return shape.flop() / sum(limits[name][1] for name in FORWARD)


def newest(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The last row of every evenly routed forward pass that was timed, on the device of the last row."""
    known = ("device", "dtype", "way", *Shape._fields)
    rows = [row for row in rows if row["tflops"] and row["mode"] == "forward" and row["routing"] == "uniform"]
    latest = {tuple(row[name] for name in known): row for row in rows if row["device"] == rows[-1]["device"]}
    return list(latest.values())


def table(layers: Sequence[Sequence[Mapping[str, str]]]) -> list[str]:
    """Lines that say by layer what "ours" costs over the dense twin, the router's share, and the fastest other way."""
    form = "{:26} {:5} {:9} {:17} {:>10} {:>10} {:>10} {:>7}  {}"
    head = ("T, D, F, E, K", "type", "routing", "mode", "ours, us", "dense, us", "ours/dense", "router", "next/dense")
    lines = [form.format(*head)]
    for rows in layers:
        us = {row["way"]: float(row["us"]) for row in rows if row["us"]}
        if "ours" not in us:
            continue
        others = {way: time for way, time in us.items() if way not in ("ours", "dense", "router")}
        best = min(others, key=others.__getitem__, default="")
        ours, dense, router = us["ours"], us["dense"], us.get("router")
        about = [", ".join(rows[0][name] for name in Shape._fields), *(rows[0][name] for name in KIND)]
        share = f"{100 * router / (router + ours):.1f} %" if router else ""
        after = f"{best} {others[best] / dense:.2f}" if best else ""
        lines.append(form.format(*about, f"{ours:.0f}", f"{dense:.0f}", f"{ours / dense:.2f}", share, after).rstrip())
    return lines


def draw(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Write the picture; nothing where no forward pass was timed."""
    chosen = newest(rows)
    if not chosen:
        return
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for way, mark in MARKS.items():
        for dtype, colour in COLOURS.items():
            mine = [row for row in chosen if (row["way"], row["dtype"]) == (way, dtype)]
            points = [intensity(row) for row in mine], [float(row["tflops"]) for row in mine]
            axes.scatter(*points, marker=mark, color=colour, label=f"{way}, {dtype}" if mine else None)
    for dtype in dict.fromkeys(row["dtype"] for row in chosen):
        # The floor of a layer is its roof: operations over the least time.
        mine = sorted((row for row in chosen if row["dtype"] == dtype and row["way"] == "ours"), key=intensity)
        roof = [float(row["tflops"]) / float(row["fraction_of_floor"]) for row in mine]
        axes.plot([intensity(row) for row in mine], roof, color=COLOURS[dtype], label=f"limit, {dtype}")
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="TFLOP/s, useful operations")
    axes.set_title(f"Sparse layers, forward, on {chosen[-1]['device']}")
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    draw(read_csv(sys.argv[1]), Path(sys.argv[1]).with_suffix(".png"))
