# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scaling laws: what do size, data and compute buy?
#
# Yao et al. ([ICLR 2025](https://arxiv.org/abs/2410.12360)) asked it of forecasters of up to a billion parameters. Here
# it is asked of ours, at sizes that a laptop trains: 12 thousand to 4 million parameters, 4 million to a billion
# points. One run a size; at each milestone a copy lets its rate decay and is measured, so every dot is a finished model.
#
# Losses are pinball losses in squashed units: positive and without a unit, so that a law of them means the same
# for a series in kilowatts and in dollars (that of a likelihood does not). *In distribution* is series held out of the
# training mix, synthetic and real; *out of distribution* is the validation windows of the 36 benchmark tasks.

# %% tags=["parameters"]
QUICK = True  # False draws intervals from 1,000 resamples instead of 100

# %%
import numpy as np
import pandas as pd

from tsfm.scaling.plots import bare, draw_exponents, draw_rows, log_axes, panels, shades, short
from tsfm.scaling.results import grid, read_rows

rows = read_rows("../evaluation/results/scaling")  # made by `python evaluation/scaling_study.py run`
decoders, encoders = grid(rows, "decoder"), grid(rows, "encoder")
resamples = 100 if QUICK else 1000
LOSSES = {"id_loss_synthetic": "in distribution, synthetic", "ood_loss": "out of distribution"}

# %%
from tsfm.scaling.exponents import exponents, fit_joint

figure, axes = panels(2)
laws = {}
for axis, (loss, name) in zip(axes, LOSSES.items(), strict=True):
    laws[loss] = fit_joint(decoders, loss, resamples=resamples)
    draw_rows(axis, decoders, "points", loss, by="active", fit=laws[loss], beyond=4)
    log_axes(axis, "points", "pinball loss", f"Decoders, {name}")
    print(f"{name}: {laws[loss]}, within {laws[loss].error:.2%}")
axes[0].get_legend().remove()
figure

# %% [markdown]
# Dots are measured, lines are one law for all of them, $L = E + A/N^a + B/D^b$; dashes are where nobody has been.
#
# ## The exponents, as they are usually told
#
# The paper draws straight lines in logs, without an irreducible loss $E$. Its exponents (orange marks) and ours in the
# same form agree in kind: a few percent a decade. But a straight line through a curve that
# flattens has an exponent that depends on where one looks: with $E$ the same dots have exponents ten times as large.

# %%
figure, axes = panels(2, height=3.2, width=4.6, sharey=True)
NAMES = {"active": "size", "points": "data", "flops": "compute"}
THEIRS = {
    "active": (0.015, 0.016),
    "points": (0.090, 0.019),
    "flops": (0.014, 0.017),
}  # in distribution, out of it (LSF)
for axis, form in zip(axes, ("line", "offset"), strict=True):
    ours, theirs = {}, {}
    for place, (loss, where) in enumerate(LOSSES.items()):
        for one in exponents(decoders, loss, resamples=resamples):
            if one.form == form:
                label = f"{NAMES[one.variable]}, {where}"
                ours[label], theirs[label] = (one.exponent, one.low, one.high), THEIRS[one.variable][place]
    title = {"line": "$L = A / x^a$", "offset": "$L = E + A / x^a$"}[form]
    draw_exponents(axis, dict(sorted(ours.items())), theirs if form == "line" else None, title)
figure

# %%
from tsfm.scaling.cost import cost_of
from tsfm.scaling.frontier import envelope, frontier, isoflop

flops, columns = decoders["flops"], [decoders[name] for name in ("flops", "active", "points")]
cost = cost_of(decoders["active"], decoders["points"], flops)
ways = [way(*columns, decoders["ood_loss"], decoders["run"], resamples=resamples) for way in (envelope, isoflop)]
ways.append(frontier(laws["ood_loss"], np.geomspace(flops.quantile(0.1), flops.quantile(0.9), 12), cost))
figure, axes = panels(2)
draw_rows(axes[0], decoders, "flops", "ood_loss", by="active")
log_axes(axes[0], "flops", "pinball loss", "Out of distribution")
for best in ways:
    axes[1].plot(best.flops, best.active, label=best.approach)
    print(best)
log_axes(axes[1], "flops", "active", "The best size for each budget")
axes[1].legend(fontsize=8, frameon=False)
figure

# %%
from tsfm.scaling.fitting import leave_largest_out
from tsfm.scaling.laws import JOINT

figure, axes = panels(2, sharey=True)
for axis, by in zip(axes, ("active", "points"), strict=True):
    for loss, name in LOSSES.items():
        noise = {"groups": decoders["run"], "crossed": decoders["milestone"], "resamples": resamples}
        ahead = leave_largest_out(JOINT, decoders, decoders[loss], by, **noise)
        wrong = np.array([ahead.predicted - ahead.low, ahead.high - ahead.predicted])
        axis.errorbar(
            ahead.measured, ahead.predicted, wrong, fmt="o", ms=4, lw=1, label=f"{name}: {ahead.error:.1%} off"
        )
    axis.axline((0.4, 0.4), (0.5, 0.5), color="#8c8c8c", lw=1)
    bare(axis, "measured", "predicted", f"The largest quarter by {NAMES[by]}, unseen by the fit")
    axis.legend(fontsize=8, frameon=False)
figure

# %%
groups = ["rates", "rates, more data"]
rates = rows[rows["group"].isin(groups) & rows["milestone"].isin([37_748_736, 113_246_208]) & rows["seed"].isin([3, 4])]
figure, axes = panels(2, sharey=True)
for axis, (points, own) in zip(axes, rates.groupby("milestone"), strict=True):
    own = own[own["seed"] == (3 if points < 1e8 else 4)]
    draw_rows(axis, own, "rate", "id_loss", by="active", colours=shades(rates["active"]))
    log_axes(axis, "peak rate, times the trainer's", "pinball loss", f"After {short(points)} points")
figure

# %% [markdown]
# ## See it happen
#
# Three tiny decoders, trained here and now on synthetic series only, each with two milestones.

# %%
from tsfm.scaling.study import run_live

live = pd.DataFrame(run_live("quick"))
figure, (axis,) = panels()
draw_rows(axis, live, "points", "id_loss", by="active")
log_axes(axis, "points", "pinball loss", "Trained in this notebook")
figure

# %% [markdown]
# ## What follows for you
#
# TO BE WRITTEN FROM THE ROWS
