"""`tsfm forecast --model FOLDER` where `tsfm train` wrote the folder: points of all variates together."""

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsfm.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

STEPS, COLUMNS = 24, 8  # shown in the terminal


def is_fitted(model: str | None) -> bool:
    """Whether a name is a folder that `tsfm train` wrote."""
    try:
        return model is not None and json.loads((Path(model) / "config.json").read_text())["kind"] == "architecture"
    except (OSError, ValueError, LookupError, TypeError):
        return False


def forecast_fitted(
    data: Path | None,
    horizon: int | None,
    model: str,
    out: Path | None,
    columns: Mapping[str, Any],
    console: "Console",
) -> None:
    """Forecast the variates of a file together, print the first steps, and write the table."""
    from tsfm.cli.files import write_table
    from tsfm.cli.tables import decimals_for, scores_table, short_time
    from tsfm.training.fit import load_fitted

    if data is None:
        raise DataError(f"{model} was fitted on variates of its own; name a file that has them, not --demo")
    fitted = load_fitted(model)
    found = fitted.forecast(data, horizon, **columns)
    found = found.reset_index(drop=found.index.name is None)  # a wide file's time is a column already
    names = list(found.columns)[: COLUMNS + 1]
    numbers = found[names].select_dtypes("number")
    decimals = decimals_for(max((float(column.abs().max()) for _, column in numbers.items()), default=math.nan))
    rows = [
        [f"{one:,.{decimals}f}" if isinstance(one, float) else short_time(one) for one in row]
        for row in found[names].head(STEPS).itertuples(index=False)
    ]
    say = partial(console.print, soft_wrap=True, markup=False)
    console.print(scores_table([str(name) for name in names], rows))
    if len(found) > STEPS or len(found.columns) > len(names):
        say(f"… {len(found):,} steps of {len(fitted.variates):,} variates in all", style="dim")
    say(f"model    {fitted.name}, fitted on {fitted.data['name']}, context {fitted.config.context}; points only")
    if out is not None:
        write_table(found, out)
        say(f"table    {out}")
