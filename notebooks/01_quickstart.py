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
# # How busy will New York's airports be over the next two days?
#
# One call answers for every hour of every airport, and says how sure it is: `tsfm.forecast(flights, 48)`.
# Below, the last two days were held back and are drawn in black: the wide band should hold four hours in five.

# %% tags=["parameters"]
QUICK = True  # False looks back over four weeks instead of two

# %%
import tsfm
from tsfm.demo import COLUMNS, load_demo

flights = load_demo()  # airport, hour, departures: three airports, hour by hour (US DOT, public domain)
cutoff = flights.hour.max() - 48 * flights.hour.diff().max()
known, later = flights[flights.hour <= cutoff], flights[flights.hour > cutoff]

forecast = tsfm.forecast(known, 48, **COLUMNS)
figure = forecast.plot(history=96)
for axes, airport in zip(figure.axes, forecast.ids, strict=False):
    held_back = later[later.airport == airport]
    axes.plot(held_back.hour, held_back.departures, color="black", linewidth=1)
figure

# %% [markdown]
# ## Intervals, quantiles, and where the numbers come from
#
# What comes back has your own names. Any level may be asked afterwards; quantiles never cross.

# %%
low, high = forecast.interval(0.8)
print("80 % interval of the first hours")
print(low.merge(high, on=["airport", "hour"], suffixes=("_low", "_high")).head(3))
forecast.to_frame().head(3)

# %%
print(forecast["JFK"].quantile(0.99).head(3))
print(forecast.provenance)

# %% [markdown]
# ## Does it beat the obvious?
#
# A forecast is worth its trouble if it beats `seasonal-naive`, which repeats the last day. `tsfm.backtest` asks both
# at the same cutoffs, midnight after midnight, as if each were today; skill is the share of the error that is saved.

# %%
result = tsfm.backtest(flights, 24, windows=14 if QUICK else 28, **COLUMNS)
result

# %%
result.plot(ids="JFK")

# %% [markdown]
# ## Your own data
#
# A CSV file, wide or long, needs no preparation: `tsfm.forecast("sales.csv")`, or on the command line
# `tsfm forecast sales.csv --plot out.png`. Missing hours become NaN, shuffled rows are sorted, and `tsfm.check`
# says what was odd.

# %%
import tempfile
from pathlib import Path

damaged = flights.drop(index=range(100, 130)).sample(frac=1.0, random_state=0)
path = Path(tempfile.mkdtemp()) / "departures.csv"
damaged.to_csv(path, index=False)
tsfm.check(path, **COLUMNS)

# %%
mended = tsfm.forecast(path, 24, **COLUMNS)
mended.plot(ids="LGA", history=96)
