"""Score a model on the zero-shot suite and keep every row with what made it.

    python evaluation/score.py --model moe-decoder-tiny --split validation --max-windows 60
    python evaluation/score.py --model moe-decoder-tiny --split test --out evaluation/results/zero_shot_tiny.csv

Validation windows serve every choice; the test windows are for reporting. Needs $TSFM_DATA.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import tsfm
from tsfm.data.datasets import data_path, sha256
from tsfm.errors import TsfmError, UnknownName
from tsfm.evaluation.protocol import Configuration, load_suite
from tsfm.evaluation.results import origin, write_csv
from tsfm.evaluation.scoring import Row, score, summarise

FIRST_TWELVE = (
    "m4_hourly",
    "m4_weekly",
    "ett1_h",
    "ett2_h",
    "ett1_d",
    "ett2_d",
    "jena_weather_h",
    "car_parts",
    "covid_deaths",
    "saugeen_d",
    "m_dense_h",
    "hierarchical_sales_d",
)  # short term: the sets that the first release promises a figure on


def chosen(suite: Sequence[Configuration], datasets: Sequence[str] | None, terms: Sequence[str]) -> list[Configuration]:
    """Configurations of the named sets and terms; raise for a set that the suite has not."""
    known = {configuration.dataset for configuration in suite}
    strange = sorted(set(datasets or ()) - known)
    if strange:
        raise UnknownName(f"the suite has no set {', '.join(strange)}; it has {', '.join(sorted(known))}")
    return [entry for entry in suite if entry.term in terms and (not datasets or entry.dataset in datasets)]


def table_of(rows: Sequence[Row], title: str) -> Table:
    """Rows as a person reads them: errors, and ratios to the seasonal naive forecast."""
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("configuration", no_wrap=True)
    for name in ("windows", "MASE", "CRPS", "80% in", "MASE ratio", "CRPS ratio", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.configuration,
            str(row.windows),
            *(f"{value:.4g}" for value in (row.mase, row.crps, row.coverage80)),
            *(f"{value:.3f}" for value in (row.mase_ratio, row.crps_ratio)),
            f"{row.seconds:.1f}",
        )
    return table


def summary_line(rows: Sequence[Row], title: str, **choice: Any) -> str:
    """Return one line of geometric means."""
    mean = summarise(rows, **choice)
    return (
        f"{title}: {mean.rows} configurations, MASE {mean.mase_ratio:.4f}, CRPS {mean.crps_ratio:.4f} of the seasonal "
        f"naive forecast (geometric means), coverage of the 80% interval {mean.coverage80:.3f}, {mean.seconds:.0f} s"
    )


def measure(model: str, options: argparse.Namespace, console: Console) -> tuple[list[Row], str]:
    """Rows of the model, and the hash of its weights."""
    forecaster = tsfm.load(model)

    def predict(
        contexts: list[NDArray[np.float64]], horizon: int, levels: Sequence[float], seasons: list[int]
    ) -> list[NDArray[np.float64]]:
        return list(forecaster.predict_arrays(contexts, horizon, levels, seasons))

    configurations = chosen(load_suite(options.suite), options.sets, options.terms)
    with console.status("forecasting") as status:

        def report(row: Row) -> None:
            status.update(f"{row.configuration}: MASE {row.mase_ratio:.3f}, CRPS {row.crps_ratio:.3f}")

        rows = score(predict, configurations, options.split, options.max_windows, report)
    return rows, str(forecaster.weight_hash or "none")


def records(rows: Sequence[Row], model: str, weights: str, seed: int) -> list[dict[str, Any]]:
    """Rows as they are stored, with the model, the data's hashes and what made them."""
    made_by = origin()
    hashes = {dataset: sha256(data_path(dataset)) for dataset in {row.dataset for row in rows}}
    return [
        {"model": model, "weights": weights, **asdict(row), "data_sha256": hashes[row.dataset], "seed": seed, **made_by}
        for row in rows
    ]


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moe-decoder-tiny", help="name or folder, as tsfm.load takes it")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--suite", default="zero_shot")
    parser.add_argument("--sets", nargs="+", help="parquet sets; all of the suite if not given")
    parser.add_argument("--terms", nargs="+", choices=("short", "medium", "long"), default=["short", "medium", "long"])
    parser.add_argument("--max-windows", type=int, help="a sample of so many windows a configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV to write")
    return parser.parse_args()


def main() -> int:
    """Score, print, store."""
    options, console = arguments(), Console()
    console.width = max(console.width, 100)  # or a piped table is cut at 80 columns
    torch.manual_seed(options.seed)
    model = Path(options.model).name if Path(options.model).is_dir() else options.model
    try:
        rows, weights = measure(options.model, options, console)
        if options.out:
            write_csv(options.out, records(rows, model, weights, options.seed))
    except TsfmError as error:
        console.print(f"[red]{error}")
        return 1
    console.print(table_of(rows, f"{model}, {options.split} windows"))
    for row in rows:
        if row.note:
            console.print(f"{row.configuration}: {row.note}", soft_wrap=True)
    console.print(summary_line(rows, "all"), soft_wrap=True)
    terms = list(dict.fromkeys(row.configuration.rpartition("/")[2] for row in rows))
    for term in terms if len(terms) > 1 else ():
        console.print(summary_line(rows, term, term=term), soft_wrap=True)
    console.print(summary_line(rows, "the first twelve, short", datasets=FIRST_TWELVE, term="short"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
