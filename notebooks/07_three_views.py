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
# # What does a model see when it looks at a series?
#
# The same flights, three ways to look: `moe-decoder-tiny` cuts them into patches, each of which weighs all earlier
# ones; `visual-mae-nano` folds them into an image and paints what is hidden; `state-space-nano` reads them once and
# keeps a state of fixed size. Left, their forecasts. Right, how far tomorrow's forecast moves when one hour of the past
# is a little busier: faint by the hour, bold the median of a day. A peak days ago is a season that is read again.

# %% tags=["parameters"]
import matplotlib.pyplot as plt
import numpy as np
import torch

import tsfm
from tsfm.demo import load_demo

QUICK = True  # False looks back four weeks in the picture on the right instead of ten days

flights = load_demo().query("airport == 'JFK'").departures.to_numpy(float)
past, later = flights[:-48], flights[-48:]
names = ("moe-decoder-tiny", "visual-mae-nano", "state-space-nano")
views = {name: tsfm.load(name, precision="fp32") for name in names}

# %%
days, bump = 10 if QUICK else 28, 0.2 * past.std()
busier = past + bump * np.eye(len(past))[::-1][: 24 * days]
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 3.8), layout="constrained")
left.plot(np.arange(-24, 48), flights[-72:], color="black", linewidth=1, label="what happened")
for (name, view), colour in zip(views.items(), ("#0072B2", "#E69F00", "#009E73"), strict=True):
    left.plot(view.predict_arrays([past], 48, [0.5])[0], color=colour, label=name)
    before, *after = view.predict_arrays([past, *busier], 24, [0.5], clip=None)
    moved = np.abs(np.stack(after) - before).mean((1, 2)) / bump
    right.plot(np.arange(1, 24 * days + 1) / 24, moved, color=colour, linewidth=0.8, alpha=0.35)
    right.stairs(np.median(moved.reshape(-1, 24), axis=1), range(days + 1), color=colour, baseline=None, linewidth=2.5)
left.set(xlabel="hours from now", ylabel="departures from JFK")
right.set(yscale="log", xlabel="days ago that an hour was busier", ylabel="departures tomorrow, for one more then")
figure.legend(loc="outside lower center", ncols=4)
right.set_axisbelow(True)
right.grid(color="#eeeeee")
# %% [markdown]
# ## Attention: which patches does a patch look at?
#
# A row is a patch of 32 hours and a column what it looks at, the darker the more (mean of four heads; the last two rows
# are patches to come). A diagonal stripe is a fixed distance in time: after three patches, four days, a patch begins at
# the same hour again. Right, how the patch to come divides its attention.

# %%
from tsfm.evaluation.routing import routing
from tsfm.nn.rotary import rotate


def weights(attention, x, bias, cos, sin):
    parts = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1)[:2])
    norms = attention.query_norm, attention.key_norm
    query, key = (rotate(norm(one), cos, sin) for norm, one in zip(norms, parts, strict=True))
    return (query @ key.mT * query.shape[-1] ** -0.5 + bias).softmax(-1)[0].mean(0).detach()  # a row a patch


maps, layers = [], [block.attention for block in views["moe-decoder-tiny"].model.blocks]
hooks = [one.register_forward_pre_hook(lambda one, given: maps.append(weights(one, *given))) for one in layers]
routes = routing(views["moe-decoder-tiny"], past[None, -1024:], ahead=2)  # runs the model, which is all we want here
# %%
for hook in hooks:
    hook.remove()
figure, panels = plt.subplots(1, 5, figsize=(15, 3.4), width_ratios=(1, 1, 1, 1, 1.6), layout="constrained")
hours = 32 * np.arange(-32, 2)
for layer, (axes, one) in enumerate(zip(panels, maps, strict=False), 1):
    axes.imshow(one, cmap="Blues", vmax=0.2, extent=(-1024, 64, 64, -1024))
    axes.set(title=f"layer {layer}", xlabel="hours looked at")
    panels[4].plot(hours[:-1] / 24, one[-1, :-1], marker=".", label=f"layer {layer}")
panels[0].set_ylabel("hours of the patch that looks")
panels[4].set(title="the patch to come", xlabel="days from now", ylabel="share of attention", xticks=range(-42, 1, 7))
panels[4].legend(fontsize=8)
panels[4].grid(color="#eeeeee")
# %% [markdown]
# ## An image: a day is a column of pixels
#
# The masked autoencoder finds the period (24 hours, or 168), folds the series at it, and is shown the left part of the
# image; the right part it paints, and steps are read off its pixels. The same network fills holes: here a week
# of which the hours from ten on are hidden.

# %%
visual, whole = views["visual-mae-nano"], flights[: 64 * 24]
known = whole[: 40 * 24]
painted = visual.predict_arrays([known], 24 * 24, [0.5], season=[24])[0][:, 0]
day, hour = np.divmod(np.arange(len(whole)), 24)
hole = (day >= 30) & (day < 37) & (hour >= 10)
observed = torch.from_numpy(~hole)[None]
filled = visual.model.reconstruct(torch.from_numpy(whole).float()[None], observed, 24)[0, :, 4]
pictures = {"what is shown": np.append(known, np.full(24 * 24, np.nan)), "what it paints": np.append(known, painted)}
pictures |= {"what happened": whole, "a hole": np.where(hole, np.nan, whole), "what it fills in": filled.numpy()}
figure, panels = plt.subplots(1, 5, figsize=(15, 3.4), sharey=True, layout="constrained")
for axes, (name, values) in zip(panels, pictures.items(), strict=True):
    axes.imshow(values.reshape(-1, 24).T, aspect="auto", vmin=0, vmax=35)
    axes.set(title=name, xlabel="day", ylabel="" if axes is not panels[0] else "hour of the day", facecolor="#dddddd")
    axes.grid(visible=False)
# %% [markdown]
# ## A state: what is left of what was read
#
# First, which way each patch moves the state: those that begin at the same hour of a day, every third, move it alike.
# Second, one patch is read as blank, and the states with and without it drift together again: that is how long each
# layer remembers. Third, the theory behind such models, HiPPO: a signal goes step by step into N numbers, and comes
# back out of them. Last, what a state is good for: a stream reads each new hour once and forecasts from there, in
# constant memory.

# %%
from tsfm.conditioning import condition
from tsfm.nn.hippo import recall, remember

model = views["state-space-nano"].model
patches = torch.from_numpy(condition(past[None, -1024:], centre=False).values).unflatten(1, (-1, model.patch))
made, state, states = model.inputs(patches, torch.ones_like(patches, dtype=torch.bool)), None, []
channels = made.channels.repeat(2, 1, 1)
channels[1, 8] = 0.0  # the second reading finds the ninth patch blank
with torch.inference_mode():
    for token in range(patches.shape[1]):
        here = slice(token, token + 1)
        _, state, _ = model.advance(channels[:, here], made.bias[:, here].repeat(2, 1), state)
        states.append([torch.cat([part.flatten(1) for part in layer], 1) for layer in state])
layers = [torch.stack(one, 1) for one in zip(*states, strict=True)]  # (2 readings, patches, numbers) each
# %%
figure, (alike, apart, legs) = plt.subplots(1, 3, figsize=(15, 3.8), width_ratios=(1, 1, 2), layout="constrained")
moves = torch.nn.functional.normalize(torch.cat([one[0] for one in layers], 1).diff(dim=0)[7:], dim=1)
image = alike.imshow(moves @ moves.T, cmap="Blues", vmin=0, extent=(-32, 0, 0, -32))
figure.colorbar(image, ax=alike, label="cosine of two moves")
alike.set(title=f"a state of {moves.shape[1]:,} numbers", xlabel="days from now", ylabel="days from now")
for number, one in enumerate(layers, 1):
    apart.plot((one[0] - one[1]).norm(dim=1)[8:] / one[0].norm(dim=1)[8:], label=f"layer {number}")
apart.set(yscale="log", title="one patch not read", xlabel="patches later", ylabel="distance of states, relative")
two_weeks, ago = torch.from_numpy(past[-336:]), np.arange(-336, 0) / 24
legs.plot(ago, two_weeks, color="black", linewidth=0.8, label="two weeks")
for size in (16, 48, 128):
    legs.plot(ago, recall(remember(two_weeks, size)[-1], 336), linewidth=1.2, label=f"from {size} numbers")
legs.set(title="HiPPO-LegS: read once, then recalled", xlabel="days from now", ylim=(-5, 48))
for axes in (apart, legs):
    axes.legend(fontsize=8, ncols=2, loc="upper right")
# %%
forecaster = views["state-space-nano"]
stream, ahead = forecaster.stream(past), []
for departures in later:  # an hour goes by
    ahead.append(stream.forecast(1).median[0])
    stream.update(departures)
again = forecaster.forecast(flights, 24, context=stream.context)
np.testing.assert_allclose(stream.forecast(24).median, again.median, atol=1e-4)  # as if all had been read again
figure, axes = plt.subplots(figsize=(11, 3), layout="constrained")
axes.plot(later, color="black", linewidth=1, label="what happened")
axes.plot(forecaster.forecast(past, 48).median, "--", color="#009E73", label="forecast once")
axes.plot(ahead, color="#009E73", label="stream: an hour ahead, every hour")
axes.set(xlabel="hours", ylabel="departures from JFK")
axes.legend(fontsize=8)
axes.grid(axis="x", color="#eeeeee")
