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
# # What do experts buy?
#
# A sparse layer holds many small networks, its experts, and a router sends each patch to a few of them: more
# parameters are stored than are used. At as many *active* parameters, does the forecaster get better? And is it
# better for the same *time*, when routing costs some? Half of a sparse layer here is a shared expert that all patches
# meet, the other half the `top_k` experts that the router chooses, so a patch meets as many parameters as in the dense
# layer.

# %% tags=["parameters"]
QUICK = True  # False draws intervals from 1,000 resamples instead of 100

# %%
import pandas as pd

from tsfm.scaling.plots import draw_rows, log_axes, panels, short
from tsfm.scaling.results import grid, read_rows

rows = read_rows("../evaluation/results/scaling")  # made by `python evaluation/scaling_study.py run`
resamples = 100 if QUICK else 1000
dense, sparse = grid(rows), rows[rows["group"].isin(["sparse", "sparse, large"])]
both = pd.concat([dense[dense["milestone"] <= sparse["milestone"].max()], sparse])

# %% [markdown]
# ## At equal active parameters

# %%
figure, axes = panels(2)
for axis, size in zip(axes, ("w48", "w96"), strict=True):
    own = both[(both["size"] == size) & (both["top_k"] != 1)]
    draw_rows(axis, own.assign(experts=own["experts"].clip(lower=1)), "points", "ood_loss", by="experts")
    log_axes(axis, "points", "pinball loss", f"{short(own['active'].min())} active parameters, two experts a patch")
figure

# %%
from tsfm.scaling.fitting import fit
from tsfm.scaling.laws import SPARSE

for loss in ("id_loss_synthetic", "ood_loss"):
    law = fit(SPARSE, both, both[loss], groups=both["run"], crossed=both["milestone"], resamples=resamples)
    print(f"{loss}: {law}, within {law.error:.2%}")
    print({name: tuple(round(end, 3) for end in law.intervals[name]) for name in ("a", "b", "d", "w", "g", "z")})
most = both[both["milestone"] == both["milestone"].max()].merge(
    dense[["size", "milestone", "ood_loss", "seconds"]], on=["size", "milestone"], suffixes=("", "_dense")
)
gain = (100 * (most["ood_loss"] / most["ood_loss_dense"] - 1)).round(2)
time = (most["seconds"] / most["seconds_dense"]).round(2)
most.assign(gain=gain, time=time)[["size", "experts", "top_k", "active", "total", "gain", "time"]]

# %% [markdown]
# ## At equal compute
#
# Seconds are processor seconds of training on one core, all steps of the run to that milestone.

# %%
figure, axes = panels(2, sharey=True)
own = both[both["top_k"] != 1]
for axis, along in zip(axes, ("flops", "seconds"), strict=True):
    draw_rows(
        axis, own[own["size"] == "w96"].assign(experts=own["experts"].clip(lower=1)), along, "ood_loss", by="experts"
    )
    log_axes(axis, along, "pinball loss", "370k active parameters")
figure

# %% [markdown]
# ## See it happen
#
# A tiny decoder, dense and with 4 and 16 experts, trained here and now on synthetic windows.

# %%
from tsfm.scaling.study import run_live

live = pd.DataFrame(run_live("quick_experts"))
figure, axes = panels(2, sharey=True)
for axis, along in zip(axes, ("points", "seconds"), strict=True):
    draw_rows(axis, live.assign(experts=live["experts"].clip(lower=1)), along, "id_loss", by="experts")
    log_axes(axis, along, "pinball loss", f"the same by {along}")
figure

# %% [markdown]
# ## What follows for you
#
# TO BE WRITTEN
