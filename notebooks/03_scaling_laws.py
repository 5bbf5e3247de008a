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
# Yao et al. ([ICLR 2025](https://arxiv.org/abs/2410.12360)) asked it of forecasters of up to a billion parameters; here it
# is asked of sizes that a laptop trains: 12 thousand to 4 million parameters, 4 million to a billion points. One run a
# size; at each milestone a copy lets its rate decay and is measured, so every dot is a model trained to its end.
#
# Losses are pinball losses in squashed units: positive and without a unit, so that a power law of them means the same
# for kilowatts and for dollars. *In distribution*: series held out of the training mix; *out of distribution*: the
# validation windows of the 36 benchmark tasks. All intervals are of 90 %.

# %% tags=["parameters"]
QUICK = True  # False draws intervals from 1,000 resamples instead of 100

# %%
import numpy as np
import pandas as pd

from tsfm.scaling.exponents import exponents, fit_rows
from tsfm.scaling.laws import JOINT
from tsfm.scaling.plots import draw_exponents, draw_residuals, draw_rows, log_axes, panels, short
from tsfm.scaling.results import progress, read_rows

FOLDER = "../evaluation/results/scaling"  # rows: python evaluation/scaling_study.py run
every, resamples = read_rows(FOLDER, "decoder", "decoder, large"), 100 if QUICK else 1000
decoders = every[every["milestone"] > 3e7]  # before, small and large are busy warming up
LOSSES = {"id_loss_synthetic": "in distribution, synthetic", "ood_loss": "out of distribution"}
progress(read_rows(FOLDER)).T

# %%
figure, axes = panels(2)
laws = {}
for axis, (loss, name) in zip(axes, LOSSES.items(), strict=True):
    laws[loss] = fit_rows(JOINT, decoders, loss, resamples=resamples)
    draw_rows(axis, decoders, "points", loss, by="active", fit=laws[loss], beyond=2)
    log_axes(axis, "points", "pinball loss", f"Decoders, {name}")
    print(f"{name}: {laws[loss]}, within {laws[loss].error:.1%}")
axes[0].get_legend().remove()
figure

# %% [markdown]
# Dots are measured; lines are one law for all dots of a panel, $L = E + A/N^a + B/D^b$; dashes go to twice the points of
# each run, if fresh windows were made, and their bands are the law's interval. How far is the law from the dots? Below, in
# percent; on the right with the milestones that the fit leaves out. Where colours form a pattern, it is the law that is
# wrong, and no interval says so: forecasters learn some things at once (to copy a season, first), which moves whole
# columns, and later in small networks.

# %%
figure, axes = panels(2, height=3.2)
draw_residuals(axes[0], decoders, laws["ood_loss"], "ood_loss", "Out of distribution: measured over law, %")
whole = fit_rows(JOINT, every, "ood_loss", resamples=0)
draw_residuals(axes[1], every, whole, "ood_loss", "The same, fitted to every milestone")
figure

# %% [markdown]
# ## The exponents, and what they hang on
#
# The same law fitted to other rows: exponents of size ($a$) and of data ($b$). An interval that reaches the edge of what
# was searched says that the rows do not tell. Out of distribution, $b$ is that of training longer on this mix: its 13
# million real points come again in many windows.

# %%
found = pd.read_csv(f"{FOLDER}/exponents.csv")  # made by: python evaluation/scaling_exponents.py
joint = found[(found["form"] == "joint") & found["loss"].isin(LOSSES)]
figure, axes = panels(4, width=3.6, height=3.6, sharey=True)
for axis, ((loss, variable), own) in zip(axes, joint.groupby(["loss", "variable"]), strict=True):
    ours = {name: (row.exponent, row.low, min(row.high, 2)) for name, row in own.set_index("networks").iterrows()}
    letter = {"active": "$a$, size", "points": "$b$, data"}[variable]
    draw_exponents(axis, ours, title=f"{letter}: {LOSSES[loss]}")
    axis.set_xlim(0, 2)
figure

# %% [markdown]
# ## Beside the paper
#
# The paper draws straight lines in logs, without $E$, through a likelihood: size .015 in and .016 out of distribution,
# data .090 and .019, compute .014 and .017 (decoders; their figures 2 to 4). These numbers cannot be held against ours: a
# likelihood changes its slope with the unit of the series, their data are the size of a set at equal steps, ours points
# read in one pass, their sizes count the embedding, and the least of 100 validations is a lucky one. What can be
# held against each other is the form. If a straight line were the law, both halves of the range would have its slope.

# %%
middle = {name: np.exp(np.log(decoders[name]).mean()) for name in ("active", "points", "flops")}
lines = {}
for loss, name in LOSSES.items():
    for variable, word in {"active": "size", "points": "data"}.items():
        for half, chosen in (("lower", decoders[variable] <= middle[variable]), ("upper", decoders[variable] > middle[variable])):
            own = [one for one in exponents(decoders[chosen], loss, resamples=resamples) if one.form == "line"]
            lines.update({f"{word}, {half} half, {name}": one[3:6] for one in own if one.variable == variable})
figure, (axis,) = panels(1, width=8, height=3.2)
draw_exponents(axis, lines, title="Slopes of straight lines in logs")
axis.set_xlim(left=0)
figure

# %%
ahead = pd.read_csv(f"{FOLDER}/ahead.csv")  # the largest quarter, unseen by each form
shown = ahead[ahead["loss"].isin(LOSSES)].pivot_table(index=["loss", "by"], columns="form", values="mean_error")
shown[["joint", "plane", "no change"]].map("{:.1%}".format)

# %%
from tsfm.scaling.cost import cost_of
from tsfm.scaling.frontier import envelope, frontier, isoflop

cost = cost_of(every["active"], every["points"], every["flops"])
columns = [decoders[name] for name in ("flops", "active", "points", "ood_loss", "run")]
ways = [way(*columns, resamples=resamples) for way in (envelope, isoflop)]
ways.append(frontier(laws["ood_loss"], np.geomspace(*decoders["flops"].quantile([0.1, 0.9]), 12), cost))
figure, axes = panels(2)
draw_rows(axes[0], every, "flops", "ood_loss", by="active")
log_axes(axes[0], "flops", "pinball loss", "Out of distribution")
for best, dash in zip(ways, (":", "--", "-"), strict=True):
    print(axes[1].plot(best.flops, best.active, dash, color="#0072B2", label=best.approach) and best)
log_axes(axes[1], "flops", "active", "The best size for each budget")
axes[1].legend(fontsize=8, frameon=False)
figure

# %% [markdown]
# ## What follows for you
#
# TO BE WRITTEN FROM THE ROWS

# %%
from tsfm.scaling.study import run_live

live = pd.DataFrame(run_live("quick"))  # three tiny decoders, trained here and now on synthetic series
figure, (axis,) = panels()
draw_rows(axis, live, "points", "id_loss", by="active")
log_axes(axis, "points", "pinball loss", "Trained in this notebook")
figure
