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
# # What must you write so that a model of yours trains, forecasts and is compared like those of the package?
#
# One file with one class: `predict`, `levels` and `max_context` make it a forecaster, `window_loss` lets
# `tsfm pretrain` train it, and saving, loading, tests and leaderboards come for free. Below, a model of 120 lines was
# trained for half a minute on synthetic series alone, which is what `tsfm pretrain --model fading-memories --preset
# pico --steps 800 --out fading` does; left is what it learned to remember, right what it makes of flights that it has
# never seen.

# %% tags=["parameters"]
QUICK = True  # False trains ten times as long and measures all of the suite `quick`, whose sets it fetches

# %%
import tempfile
from pathlib import Path

from fading_memories import FadingMemories  # importing the file registers "fading-memories"

import tsfm
from tsfm.cli.pretrain import begun
from tsfm.training.runs import open_run, write_model

folder = Path(tempfile.mkdtemp())
run = open_run(folder / "run", begun("fading-memories", "pico").with_steps(800 if QUICK else 8000))
run.run(report=lambda line: None)
write_model(run.model, folder / "fading", folder / "run")  # config.json and model.safetensors
own = tsfm.load(folder / "fading")
# %%
import matplotlib.pyplot as plt

from tsfm.demo import load_demo

flights = load_demo().query("airport == 'JFK'").set_index("hour").departures
known, later = flights[:-48], flights[-48:]
figure, (left, right) = plt.subplots(1, 2, width_ratios=(1, 2), figsize=(12, 3.6), layout="constrained")
left.plot(own.model.kept[1].detach(), color="#0072B2")
left.set(xlabel="seasons ago", ylabel="weight", title="eight memories of seasons", xlim=(0, 31))
right.plot(flights[-72:], color="black", linewidth=1, label="what happened")
right.fill_between(later.index, *tsfm.forecast(known, 48, model=own).interval(0.8), color="#0072B2", alpha=0.2)
right.plot(tsfm.forecast(known, 48, model=own).median, color="#0072B2", label="fading memories, with 80 %")
right.plot(tsfm.forecast(known, 48).median, color="#D55E00", linestyle="--", label="moe-decoder-tiny")
figure.legend(loc="outside lower right", ncols=3)
right.set_title("departures from JFK, hour by hour")
# %% [markdown]
# ## The file
#
# [`fading_memories.py`](fading_memories.py) begins with a frozen dataclass of sizes, `PRESETS`, and this class. A
# `Batch` holds `values` and `observed`, both (series, steps), the newest step last; no model ever sees a NaN, a time
# stamp or the user's units, and constant series are forecast without it.

# %%
import inspect

from IPython.display import Code

Code(inspect.getsource(FadingMemories), language="python")

# %% [markdown]
# ## The same places in a model with a state
#
# | | `fading_memories.py` | `tsfm/models/state_space.py` |
# |---|---|---|
# | `@register`, `Config`, `PRESETS` | `fading-memories`, one size | `state-space`, one size a mixer |
# | `predict` | all steps at once | patches of 32 steps through a state; beyond one pass it goes on from its median |
# | training | `window_loss`: any loss of yours | `inputs` and `forward`: targets, hiding and loss of the flagship |
# | optional, in `tsfm/inference.py` | none | `patch`, `input_dtype` (float64), `sign_symmetric`, `gains_from_views` |
# | fine-tuning | not offered | `PARTS`, `loss`, `quantiles` |
# | streams | not offered | `streams`, `advance`: a state goes in and comes out |
#
# Nothing else in the package knows either of them; `CONTRIBUTING.md` has the steps. A model that has to be fitted to
# each data set is registered with `kind="architecture"`, and `tsfm train` fits it. Every registered forecaster is held
# to the same tests, with random weights, because promises must not depend on training; one that it cannot keep it
# names in `EXCEPT`, with the reason.

# %%
import pytest


class Verdicts(dict):
    def pytest_runtest_logreport(self, report):
        promise = report.nodeid.split("::test_")[1].partition("[")[0].replace("_", " ")
        self[promise] = self.get(promise, True) and report.passed


files = ["../tests/models/test_contract.py", "../tests/test_promises.py"]
options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-k", "fading-memories"]
pytest.main([*options, *files], plugins=[verdicts := Verdicts()])
print(*(f"{'kept  ' if kept else 'BROKEN'} {promise}" for promise, kept in verdicts.items()), sep="\n")
# %% [markdown]
# ## Is it any good?
#
# Three contenders on the flights and on series of known law (`synthetic_probe`): errors over those of the seasonal
# naive forecast, geometric means. Then by kind, left is better, with the best possible forecast where the law is known.
# A mean of the past cannot go on where a trend goes, and takes long to believe in a new level: there the small model
# loses, even to repeating the last season. Where noise has to be averaged away it comes close to the flagship.

# %%
import pandas as pd

entrants = {"seasonal naive": "seasonal-naive", "fading memories": own, "flagship": "moe-decoder-tiny"}
suites = {"quick": ["airport_departures"] if QUICK else None, "synthetic_probe": None}
boards = {
    (name, suite): tsfm.evaluate(model, suite, tasks=tasks, max_windows=32)
    for name, model in entrants.items()
    for suite, tasks in suites.items()
}
table = pd.DataFrame({key: vars(board.summary()) for key, board in boards.items()}).T
table["parameters"] = [board.rows[0]["parameters"] for board in boards.values()]
columns = {"mase_ratio": "MASE ratio", "crps_ratio": "CRPS ratio", "coverage80": "the 80 % interval holds"}
table[["parameters", "tasks", *columns]].rename(columns=columns).astype({"parameters": int, "tasks": int}).round(3)

# %%
frames = {name: pd.concat([boards[name, suite].to_frame() for suite in suites], ignore_index=True) for name in entrants}
kind = frames["flagship"].task.str.split("/").str[0]
best = frames["flagship"].optimal_mase / frames["flagship"].naive_mase
ratios = pd.DataFrame({name: frame.mase_ratio for name, frame in frames.items()} | {"best possible": best})
means = ratios.astype(float).groupby(kind, sort=False).mean()
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
for (name, column), mark in zip(means.items(), "|osx", strict=True):
    axes.plot(column, means.index, mark, markersize=9, label=name)
axes.set_xlabel("MASE over that of the seasonal naive forecast, mean over the tasks of a kind")
axes.legend()
axes.grid(color="#eeeeee")
