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
# # How much better does a forecast get when it may learn from your own CSV?
#
# At New York's airports, a day ahead, the model that was fine-tuned on their CSV errs clearly less than the one it
# began with: the bars say by how much, on the last days of the file, which had no part in the making. What pays is
# the column that is known ahead, the timetable; the weather until now says next to nothing about tomorrow, and little
# is left for training the model itself. A bar is 0 where the gain was not clear and the model was kept as it came.

# %% tags=["parameters"]
QUICK = True  # False trains for five minutes instead of 25 seconds

# %%
import os
import tempfile

import tsfm
from tsfm.demo import COLUMNS, FUTURE, PAST, load_covariates

os.chdir(tempfile.mkdtemp())  # the files below are only for trying
table = load_covariates()
tomorrow = table.hour >= "2013-10-31"
table[~tomorrow].to_csv("departures.csv", index=False)
usual = {**COLUMNS, "horizon": 24, "method": "lora" if QUICK else "auto", "progress": False}
seconds = 25 if QUICK else 300
found = tsfm.finetune("departures.csv", future=FUTURE, out="model", **{**usual, "method": "none"})
trained = tsfm.finetune("departures.csv", past=PAST, future=FUTURE, time_budget=seconds, **usual)
by_weather = tsfm.finetune("departures.csv", past=PAST, **{**usual, "method": "none"})
# %%
import matplotlib.pyplot as plt
import pandas as pd

kept = {"weather until now, alone": by_weather, "timetable, known ahead, alone": found, "both and training": trained}
rows = {name: run.table.loc[run.winner] for name, run in kept.items()}
rows["training alone (LoRA)"] = trained.table.loc["lora"]
bars = pd.DataFrame(rows).T.sort_values("saved", ascending=True)[["saved", "standard_errors"]].astype(float)
interval = 1.96 * (bars.saved / bars.standard_errors).fillna(0)
figure, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
axes.barh(bars.index, 100 * bars.saved, xerr=100 * interval, color="#9ecae1", ecolor="#08519c")
axes.axvline(0, color="#444444", linewidth=1)
axes.set_axisbelow(True)
axes.spines[["top", "right"]].set_visible(False)
axes.set_xlabel("% of the loss of the model as it came that is saved, with 95 % intervals")
axes.grid(axis="x", color="#eeeeee")
# %% [markdown]
# ## From the CSV to the report
#
# A row is an hour at an airport. Say of the columns beside the target what they are:
#
# - `future=["scheduled"]`, the departures in the timetable, is **known ahead**: tomorrow's is there today. Such a
#   column (a calendar, a price that you set, a promotion) says what the history cannot.
# - `past=["wind_speed", ...]` is **known up to now alone**. Measured weather named `future` would make a fine table and
#   fail in use, since nobody has tomorrow's measurements; forecasts of the weather, as made the day before, would do.
#
# First what is odd in the file, and what the model does as it came. Then the reports: the first block of windows told
# when to stop training, the second chose the winner, the third decided nothing and says what it is worth. Nothing was
# trained in the first report, so its first block chose too; what is trained, as in the second, is judged on half as
# many dates, which leave less that is clear. `ridge` and `boosting` are the heads that read covariates and shift the
# forecast (`pip install "tsfm-forecast[sklearn]"`); blind, they correct it without: the difference is the covariates'.

# %%
from IPython.display import display

print(pd.read_csv("departures.csv").iloc[[6, 7, 8]].to_string(index=False))
display(tsfm.check("departures.csv", **COLUMNS), tsfm.backtest("departures.csv", 24, windows=12, **COLUMNS))
# %%
display(found, trained)

# %% [markdown]
# ## Tomorrow
#
# The forecast needs the timetable of the hours ahead, in `future=`. Below, 31 October, which no run above has seen:
# black is what happened, dashed the model as it came. The airports have a forecast already, the timetable itself, but
# departures slip out of the hour that they are planned for: the table shows how far off each was on this one day.

# %%
day = table[tomorrow]
forecast = found.forecast("departures.csv", future=day[["airport", "hour", "scheduled"]], **COLUMNS)
plain = tsfm.forecast("departures.csv", 24, **COLUMNS)
figure = forecast.plot(history=12)
for axes, (airport, rows) in zip(figure.axes, day.groupby("airport"), strict=False):
    axes.plot(rows.hour, rows.departures, color="black", linewidth=1)
    axes.plot(rows.hour, plain[airport].quantile(0.5).departures, color="#D55E00", linewidth=1.4, linestyle="--")
display(figure)
medians = {"model as it came": plain.quantile(0.5), "fine-tuned": forecast.quantile(0.5)}
day = day.assign(timetable=day.scheduled, **{name: one.departures.to_numpy() for name, one in medians.items()})
misses = day[["timetable", *medians]].sub(day.departures, axis=0).abs()
misses.groupby(day.airport).mean().rename_axis("mean miss, departures an hour").round(2)

# %% [markdown]
# ## Another process, and what to do when nothing helps
#
# The folder is a model like any other, for `tsfm.load("model")` and for the command line, which trains too. What is
# known ahead may also stand in the last rows of the CSV, where the target is still empty, as in `tomorrow.csv`:
#
#     tsfm finetune departures.csv --horizon 24 --past wind_speed --future scheduled --target departures
#     tsfm forecast tomorrow.csv --model departures-model
#
# Last, three weeks of history and the weather alone: little to learn from, little to judge by. Where nobody is better
# clearly better, the model as it came is kept, and a sentence says why of each rival. Then look for a column that is
# known ahead, more history, or more series of the same kind; then give more time. Do not try until something wins: each
# look at the report windows makes them say less. And they are the near past: measure again when the world has changed.

# %%
import subprocess
import sys
from pathlib import Path

ahead = table.assign(**{name: table[name].where(~tomorrow) for name in ("departures", *PAST)})
ahead.to_csv("tomorrow.csv", index=False)
python = "import tsfm; tsfm.load('model').forecast('tomorrow.csv').to_frame().to_csv('python.csv', index=False)"
shell = "forecast tomorrow.csv --model model --out shell.csv"
subprocess.run([sys.executable, "-c", python], check=True)
subprocess.run([Path(sys.executable).with_name("tsfm"), *shell.split()], check=True, capture_output=True)
for name in ("python.csv", "shell.csv"):
    difference = pd.read_csv(name)[["0.1", "0.5", "0.9"]] - forecast.to_frame()[["0.1", "0.5", "0.9"]]
    print(f"{name}: {len(difference)} rows, different from the forecast above by {difference.abs().max(axis=None):.6f}")

# %%
few = table[~tomorrow & (table.hour >= "2013-10-10")]
tsfm.finetune(few, past=PAST, time_budget=5, **usual)
