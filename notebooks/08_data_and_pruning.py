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
# # How much data, how often, and which?
#
# `03_scaling_laws.ipynb` says that data are worth more than size here. So: what is a new point worth, beside one
# that the model has read before? And are some windows worth more than others, so that reading fewer does better
# (Sorscher et al. 2022, "Beyond neural scaling laws")?

# %% tags=["parameters"]
QUICK = True  # False draws intervals from 1,000 resamples instead of 100

# %%
import numpy as np
import pandas as pd

from tsfm.scaling.plots import draw_exponents, draw_rows, log_axes, panels, short
from tsfm.scaling.results import grid, read_rows

rows = read_rows("../evaluation/results/scaling")  # made by `python evaluation/scaling_study.py run`
decoders = grid(rows, "decoder")
pools = rows[(rows["group"] == "pools") & (rows["size"] == "w96")]
resamples = 100 if QUICK else 1000

# %% [markdown]
# ## What is a repeated point worth?
#
# Decoders of 370 thousand parameters, each with a pool of its own that comes again and again. Muennighoff et al. (2023)
# count $U$ points read $m$ times as $U + U R (1 - e^{-(m - 1)/R})$ new ones: the more repetitions, the less each brings.

# %%
from tsfm.scaling.fitting import fit
from tsfm.scaling.laws import REPEATED

every = pd.concat([decoders, rows[rows["group"] == "pools"]])
figure, axes = panels(2, sharey=True)
LOSSES = {"id_loss": "in distribution", "ood_loss": "out of distribution"}
for axis, (loss, name) in zip(axes, LOSSES.items(), strict=True):
    whole = decoders[decoders["size"] == "w96"].assign(pool=rows["unique"].max())
    draw_rows(axis, pd.concat([pools, whole]), "points", loss, by="pool")
    log_axes(axis, "points", "pinball loss", name)
    worth = fit(REPEATED, every, every[loss], groups=every["run"], crossed=every["milestone"], resamples=resamples)
    low, high = worth.intervals["R"]
    print(f"{name}: R = {worth.parameters['R']:.1f} [{low:.1f}, {high:.1f}], within {worth.error:.2%}")
figure

# %% [markdown]
# ## Which windows?
#
# Easy windows have a spectrum of few lines, hard ones look like noise ("spectral"); or a small model has
# learned them or not ("reference"). Runs keep 10 or 30 % of their pool: the hardest, the easiest, or any.

# %%
last = rows[rows["milestone"] == 113_246_208]
pruned, alike = last[last["group"] == "pruning"], last[(last["size"] == "w48") & (last["group"] == "seeds")]
noise = 1.645 * np.sqrt(2) * np.log(alike["ood_loss"]).std()  # 90 % of differences of two runs alike but for their seed
figure, axes = panels(2, height=3.2, sharey=True, sharex=True)
for axis, (pool, own) in zip(axes, pruned.groupby("pool"), strict=True):
    losses, found = own.set_index(["keep", "share", "difficulty"])["ood_loss"], {}
    for (keep, share, measure), loss in losses[["hardest", "easiest"]].items():
        worse = 100 * np.log(loss / losses["random", share, "spectral"])
        found[f"{keep} {share:.0%}, {measure}"] = (worse, worse - 100 * noise, worse + 100 * noise)
    draw_exponents(axis, dict(sorted(found.items())), title=f"a pool of {short(pool)} points")
    axis.axvline(0, color="#8c8c8c", lw=1)
    axis.set_xlabel("loss out of distribution above that of random windows, %", fontsize=8.5)
figure

# %% [markdown]
# ## See it happen
#
# One tiny decoder, three pools of synthetic windows, trained here and now: the smallest pool comes again 128 times, and
# what the model learns of it no longer helps with series that it has not seen.

# %%
from tsfm.scaling.study import run_live

live = pd.DataFrame(run_live("quick_pools"))
figure, axes = panels(2, sharey=True)
for axis, loss in zip(axes, ("train_loss", "id_loss"), strict=True):
    draw_rows(axis, live, "points", loss, by="pool")
    log_axes(axis, "points", "pinball loss", "Its own windows" if loss == "train_loss" else "Series held out")
figure

# %% [markdown]
# ## What follows for you
#
# TO BE WRITTEN
