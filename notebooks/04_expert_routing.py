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
# # Which expert does what?
#
# Every layer of `moe-decoder-tiny` holds 16 small experts, and a router sends each patch of 32 steps to two of them.
# Nobody told them what to specialise in. Below, series of known kinds go through the model, and a darker square means
# a larger share of that kind's patches. In the first layers kinds look much alike, and some experts serve only the
# patches to come, of which nothing is known yet; in the last layer kinds part ways.

# %% tags=["parameters"]
QUICK = True  # False takes eight times as many series of every kind

# %%
import matplotlib.pyplot as plt
import torch

from tsfm import load
from tsfm.data.synthetic import FAMILIES, sample
from tsfm.evaluation.routing import routing, silenced

forecaster = load("moe-decoder-tiny", precision="fp32")
kinds = [name for name in FAMILIES if name != "constant"]  # a constant is forecast without the model
shares = []
for kind in kinds:  # of a seed that training did not use
    only = dict.fromkeys(FAMILIES, 0.0) | {kind: 1.0}
    drawn = sample(32 if QUICK else 256, 1024, seed=2**40, families=only).values.double().numpy()
    shares.append(routing(forecaster, drawn).shares())
shares = torch.stack(shares)  # kind, layer, expert

# %%
mixed = sample(128 if QUICK else 1024, 1024, seed=2**40).values.double().numpy()
seen = routing(forecaster, mixed, ahead=2)
to_come = seen.shares(~seen.observed)

figure, panels = plt.subplots(1, 4, figsize=(13, 4.2), sharey=True, layout="constrained")
for layer, axes in enumerate(panels):
    rows = torch.cat([shares[:, layer], to_come[layer, None]])
    image = axes.imshow(rows, cmap="Blues", vmin=0, vmax=0.4, aspect="auto")
    axes.set_title(f"layer {layer + 1}", fontsize=10)
    axes.set_xlabel("expert")
panels[0].set_yticks(range(len(kinds) + 1), [*kinds, "patches to come"], fontsize=9)
figure.colorbar(image, ax=panels, label="share of the kind's patches")
# %% [markdown]
# How much does the chosen expert tell about the kind of a series? Nothing would be 0 bits, everything 4 bits. And is
# the load balanced? 1 is an even share, when half of the patches are known and half still to come.

# %%
import numpy as np
import pandas as pd

load = 16 * (seen.shares() + to_come) / 2  # layer, expert
told = torch.xlogy(shares, shares / shares.mean(0)).sum(2).mean(0) / torch.tensor(2.0).log()
columns = {"bits about the kind": told, "busiest expert": load.amax(1), "idlest expert": load.amin(1)}
pd.DataFrame(columns, index=pd.Index(range(1, 5), name="layer")).round(2)

# %% [markdown]
# ## Are they needed?
#
# That experts specialise does not prove that they help. So parts of the model are silenced, and the bars say by how
# many percent its error (pinball loss of the next 64 steps of mixed series) grows.

# %%
blocks = forecaster.model.blocks
parts = {f"attention, layer {n}": [block.attention.out.weight] for n, block in enumerate(blocks, 1)}
parts |= {f"shared expert, layer {n}": [block.experts.shared_down.weight] for n, block in enumerate(blocks, 1)}
parts |= {f"16 experts, layer {n}": [block.experts.down] for n, block in enumerate(blocks, 1)}
parts |= {"all 64 experts": [block.experts.down for block in blocks]}
embeddings = forecaster.model.embed_hidden, forecaster.model.embed_skip
gates = forecaster.model.gates.parameters()
parts |= {"seasonal copies": [*(embedding.weight[:, 102:] for embedding in embeddings), *gates]}

# %%
from tsfm.evaluation.metrics import scaled_quantile_loss

past, future, levels = mixed[:, :-64], mixed[:, -64:], forecaster.model.levels


def loss() -> float:
    quantiles = np.stack(forecaster.predict_arrays(past, 64, levels, clip=None))
    return scaled_quantile_loss(future, quantiles, past.std(1), levels)


whole, harm = loss(), {}
for name, weights in parts.items():
    with silenced(forecaster, *weights):
        harm[name] = 100 * (loss() / whole - 1)
pd.Series(harm)[::-1].plot.barh(figsize=(8, 4), color="#0072B2", xlabel="more error without it, %").grid(axis="x")
# %% [markdown]
# The experts have learned who is who, but this release leans on attention, on the shared experts and on the seasonal
# copies: all 64 routed experts together bring less than any one of those. Five hours of training on one processor
# are little for weights of which each sees one token in eight.
#
# ## A forecast taken apart
#
# Departures from JFK, the last two days held back in black. The strips show which expert leads each patch: a patch
# holds 32 hours, so every third one begins at the same time of day, and the routers have noticed.

# %%
from tsfm.demo import load_demo

flights = load_demo().query("airport == 'JFK'").departures.to_numpy(float)
history = flights[-48 - 512 : -48]
leading = routing(forecaster, history[None]).index[:, 0, :, 0]  # layer, patch
figure, (strips, axes) = plt.subplots(2, height_ratios=(1, 3), figsize=(11, 5), layout="constrained")
strips.imshow(leading, cmap="tab20", aspect="auto", extent=(-512, 0, 4.5, 0.5))
strips.set(yticks=range(1, 5), ylabel="layer", title="leading expert of each patch, a colour each", xlabel="hours")
axes.plot(range(-24, 48), flights[-72:], color="black", linewidth=1, label="what happened")
for name in ("all 64 experts", "shared expert, layer 4", "seasonal copies", "attention, layer 1"):
    with silenced(forecaster, *parts[name]):
        axes.plot(forecaster.predict_arrays([history], 48, [0.5])[0], linewidth=1, label=f"without {name}")
axes.plot(forecaster.predict_arrays([history], 48, [0.5])[0], color="#0072B2", linewidth=2.5, label="the whole model")
axes.legend(fontsize=8, ncols=2)
