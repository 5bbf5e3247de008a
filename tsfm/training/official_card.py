"""Cards of published models that run here: what can be said without their weights, and what was measured of speed.

No score is in them: the weights are other people's, fetched on demand, and were not at hand when these were written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tsfm.official import Official

# One row a case and a precision, as evaluation/speed_time_moe.py writes them.
Rows = Sequence[Mapping[str, str]]
DISTANCES = ("bf16_error_routed", "bf16_error")


def official_card(one: Official, model: Any, tests: str, speed: Rows = ()) -> str:
    """Markdown card of a published checkpoint.

    model  of its size; its weights are not read
    tests  the file of tests that hold it to the published code's numbers
    speed  rows of its size, none where it was not measured
    """
    return "\n".join([*what_it_is(one, model), *how_good(one, tests), *how_fast(speed), *limits(model)])


def what_it_is(one: Official, model: Any) -> list[str]:
    """Opening of the card."""
    point = bool(getattr(model, "point_only", False))
    levels = ", ".join(map(str, model.levels))
    output = "one value a step; intervals from a short backtest of each series (tsfm/conformal.py)" if point else levels
    covariates = "read" if getattr(model, "uses_covariates", False) else "not read"
    active = getattr(model, "active_parameters", None)
    return [
        f"# {one.name}",
        "",
        one.description,
        "",
        "| | |",
        "|---|---|",
        f"| published as | `{one.hub}` on the hub; this project wrote the model anew and trained nothing of it |",
        f"| architecture | `{one.architecture}` |",
        f"| parameters | {one.parameters:,}{f' in all, {active:,} active a step' if active else ''} |",
        f"| file | about {one.size / 1e6:,.0f} MB, fetched when first named (extra `hub`), or a local folder |",
        f"| context | up to {model.max_context:,} steps back, any horizon by continuing |",
        f"| output | {'' if point else 'quantiles '}{output} |",
        f"| covariates | {covariates} |",
        f"| licence of the weights | {one.licence} |",
        "",
        f'**Use it** by `tsfm.forecast(series, model="{one.name}")`, `tsfm.load("{one.hub}")`, or a folder with its',
        "config.json and model.safetensors. Nothing is unpickled. The licence is told when weights are first loaded.",
        "",
    ]


def how_good(one: Official, tests: str) -> list[str]:
    """What was checked, and what was not."""
    return [
        "## What was checked",
        "",
        f"`pytest {tests}` holds this model to the numbers of the published code,",
        "on small random weights in the published layout. No score was measured with the published weights, so none",
        f"stands here. What they were trained on says the hub card of `{one.hub}`;",
        "`tsfm check --model` cannot tell whether your series was among it.",
        "",
    ]


def how_fast(rows: Rows) -> list[str]:
    """CPU seconds beside those of the official code."""
    if not rows:
        return []
    lines = [
        "## How fast it is",
        "",
        "CPU seconds on one thread at random weights of this size, and times faster than the official code, whose",
        "seconds were measured on the same machine earlier and are scaled by the matmul rate of the run.",
        "",
        "| case | precision | CPU seconds | times faster | peak MB | of the official peak |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        case = f"{row['series']} x {row['context']}, " + (
            f"{row['horizon']} ahead" if row["horizon"] != "0" else "training"
        )
        lines.append(
            f"| {case} | {row['precision']} | {float(row['cpu_seconds']):.2f} | {float(row['times_faster']):.2f} "
            f"| {float(row['peak_mb']):,.0f} | {100 * float(row['share_of_peak']):.0f} % |"
        )
    same, free = (max((float(row[key]) for row in rows if row[key]), default=0.0) for key in DISTANCES)
    lines += [
        "",
        f"Forecasts in bf16 are at most {same:.1%} of their norm from those in fp32 where every token takes the same",
        f"experts, and {free:.1%} with these random weights, of whose tokens some sit on the edge between two experts.",
    ]
    return [
        *lines,
        "",
        f"Command: `{rows[0]['command']}` at commit `{rows[0]['commit'][:12]}`, {rows[0]['hardware']}.",
        "",
    ]


def limits(model: Any) -> list[str]:
    """What it cannot do, as its class says it."""
    excepted = getattr(model, "EXCEPT", {})
    kept = [f"- Promise not kept, {promise.replace('_', ' ')!r}: {reason}." for promise, reason in excepted.items()]
    gaps = ["- Steps missing inside a history are filled by straight lines."] * bool(
        getattr(model, "fills_gaps", False)
    )
    return ["## Limits", "", *kept, *gaps, "- Not for decisions without a check on your own history.", ""]
