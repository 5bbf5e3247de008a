"""Hourly departures from New York's three airports: the real data set that travels with the package.

Role `demo`: it is used to show the package and to test it, never to train a model that the package ships. Where it
comes from, its licence and how it was made stand in `README.md` beside this file. A sister file tells more of the same
hours: the timetable, and the weather.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"id": "airport", "time": "hour", "target": "departures"}
PAST, FUTURE = ["wind_speed", "precipitation", "visibility"], ["scheduled"]


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


def covariates_path() -> Path:
    """Path of the demo set with covariates: `airport`, `hour`, `departures`, and the columns `FUTURE` and `PAST`."""
    return Path(__file__).with_name("airport_covariates.csv")


def load_covariates() -> "pd.DataFrame":
    """The demo set with what else is known of each hour: one row an airport and hour, in the order of `load_demo`.

    Columns beside those of `load_demo`: `scheduled` (int64, departures in the timetable, known ahead), `wind_speed`
    (miles an hour), `precipitation` (inches) and `visibility` (miles), measured at the airport, NaN where the station
    was silent.
    """
    import pandas as pd

    return pd.read_csv(covariates_path(), parse_dates=["hour"])
