"""Hourly departures from New York's three airports: the real data set that travels with the package.

Role `demo`: it is used to show the package and to test it, never to train a model. Where it comes from, its licence
and how it was made stand in `README.md` beside this file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"id": "airport", "time": "hour", "target": "departures"}


def demo_path() -> Path:
    """Path of the demo set: a tidy CSV with the columns `airport`, `hour` and `departures`."""
    return Path(__file__).with_name("airport_departures.csv")


def load_demo() -> "pd.DataFrame":
    """Departures an hour from EWR, JFK and LGA, 1 August to 31 October 2013, one row an airport and hour.

    Columns: `airport` (text), `hour` (time stamp, New York clock time without a zone), `departures` (int64, aircraft
    that left within the hour). 2,208 hours for each airport, without gaps.
    """
    import pandas as pd

    return pd.read_csv(demo_path(), parse_dates=["hour"])
