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
# # How good is a small model on data it has never seen?
#
# It stands among models many times its size: the share of the seasonal naive forecast's error that each saves, over
# the GIFT-Eval configurations that can be rebuilt from public sources, with 95 % intervals over data sets. Blue was
# measured here (`tsfm evaluate --suite zero_shot`), grey is what others published. The intervals overlap widely: ten
# data sets place a model among its peers, they do not rank it.

# %% tags=["parameters"]
QUICK = True  # False measures all of `quick` live instead of the set that travels with the package

# %%
import matplotlib.pyplot as plt

from evaluation.rows import load
from evaluation.standings import compare, standings

found = compare(load("zero_shot"))
lines = [line for line in standings(found.models, found.tasks) if line.skill["crps"] > 0][::-1]
figure, axes = plt.subplots(figsize=(8, 0.24 * len(lines)), layout="constrained")
for place, line in enumerate(lines):
    colour = "#0072B2" if line.model.ours else "#888888"
    axes.plot([line.low["crps"], line.high["crps"]], [place, place], color=colour, alpha=0.4, linewidth=2)
    axes.plot(line.skill["crps"], place, "o", color=colour)
axes.set_yticks(range(len(lines)), [line.model.name for line in lines], fontsize=8)
axes.set_xlabel(f"CRPS skill on {len(found.tasks)} of {found.asked} configurations (seasonal naive 0, perfect 1)")
axes.grid(axis="x", color="#eeeeee")

# %% [markdown]
# ## Where it is good, and where it is not
#
# One bar a configuration: the error over that of the seasonal naive forecast, so shorter is better and 1 is the
# baseline itself. Every configuration is here, the bad ones too.

# %%
import pandas as pd

rows = pd.read_csv("../evaluation/results/zero_shot_moe-decoder-tiny.csv").sort_values("mase_ratio", ascending=False)
figure, axes = plt.subplots(figsize=(8, 7.5), layout="constrained")
axes.barh(rows.task, rows.mase_ratio, color="#9ecae1", label="MASE of the median")
axes.plot(rows.crps_ratio, rows.task, "o", color="#08519c", label="CRPS of all quantiles")
axes.axvline(1, color="#444444", linewidth=1)
axes.legend(loc="upper right")
axes.tick_params(axis="y", labelsize=8)
axes.set_xlabel("error over that of the seasonal naive forecast")
# %%
means = rows.groupby("term")[["mase_ratio", "crps_ratio"]].agg(lambda ratio: ratio.prod() ** (1 / len(ratio)))
means.assign(coverage80=rows.groupby("term").coverage80.mean(), configurations=rows.groupby("term").size()).round(3)

# %% [markdown]
# ## What would the best possible forecaster do?
#
# On real data nobody knows. On series made from a known law one does: green marks the best possible forecast, blue
# the model, the grey line the seasonal naive forecast. A long bar is something the model has not learned yet.

# %%
from tsfm.evaluation.probe_plots import plot_standing

plot_standing(pd.read_csv("../evaluation/results/synthetic_probe_moe-decoder-tiny.csv").to_dict("records"))

# %% [markdown]
# ## The same, live
#
# `tsfm.evaluate` measures any model, a function of yours too, on a suite or a part of it, in seconds.

# %%
import tsfm

tsfm.evaluate("moe-decoder-tiny", "quick", tasks=["airport_departures"] if QUICK else None)
