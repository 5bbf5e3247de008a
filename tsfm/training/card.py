"""Model cards, written from a checkpoint's config.json and from measured rows: nothing in them is typed by hand."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

# One row a configuration, as `tsfm evaluate` writes them: task, mase_ratio, crps_ratio, coverage80, ...
Rows = Sequence[Mapping[str, str]]


def geometric_mean(rows: Rows, column: str) -> float:
    """Geometric mean of a column over the rows that have it; as on the leaderboard, below 0.01 counts as 0.01."""
    values = [max(float(row[column]), 0.01) for row in rows if row[column] not in ("", "nan")]
    return exp(sum(log(value) for value in values) / len(values))


def model_card(name: str, card: Mapping[str, Any], parameters: int, size: int, rows: Rows) -> str:
    """Markdown card of a model.

    card        content of its config.json, with the entry "training" that `write_model` makes
    parameters  numbers learned; size: bytes of the weights file
    rows        of the official test windows, one a configuration
    """
    limited = limits(sparse=bool(card["config"].get("experts")))
    return "\n".join([*what_it_is(name, card, parameters, size), *how_good(rows), *trained_on(card), *limited])


def what_it_is(name: str, card: Mapping[str, Any], parameters: int, size: int) -> list[str]:
    """Opening of the card."""
    training, config = card["training"], card["config"]
    shape, reach = drawn_shape(config) if "image" in config else patched_shape(config)
    return [
        f"# {name}",
        "",
        str(card.get("description", "")),
        "",
        "| | |",
        "|---|---|",
        f"| architecture | `{card['architecture']}`: {shape} |",
        f"| parameters | {parameters:,} in all, {training['active_parameters']:,} active a token |",
        f"| file | {size / 1e6:.1f} MB, weights in {card['weights']['dtype']}, "
        f"sha256 `{card['weights']['sha256'][:16]}...` |",
        f"| context, horizon | up to {config['max_context']:,} steps back; {reach} |",
        f"| output | quantiles {', '.join(map(str, config['quantile_levels']))}; others by interpolation |",
        f"| licence | {card.get('licence', 'not stated')} |",
        "",
        "**Use it** to forecast single numeric series of any frequency with uncertainty, offline: "
        f'`tsfm.forecast(series, model="{name}")`.',
        "",
    ]


def patched_shape(config: Mapping[str, Any]) -> tuple[str, str]:
    """Layers of a patch decoder, and how far it sees ahead."""
    routed = f"{config['top_k']} of {config['experts']} routed experts and one shared" if config["experts"] else "dense"
    mixer = f"{config['mixer']} mixers, " if "mixer" in config else ""
    ahead = config["patch"] * config["max_ahead"]
    return (
        f"{config['depth']} layers of width {config['width']}, {mixer}{routed}",
        f"{ahead:,} steps ahead in one pass, any horizon by continuing",
    )


def drawn_shape(config: Mapping[str, Any]) -> tuple[str, str]:
    """Layers of a model of images, and how far it sees ahead."""
    side, patch = config["image"], config["patch_size"]
    return (
        f"images of {side} x {side} pixels in patches of {patch} x {patch}, {config['depth']} layers of width "
        f"{config['width']} that see them, {config['decoder_depth']} of width {config['decoder_width']} that draw",
        "as many steps ahead as its part of the image holds at the period found, any horizon by continuing",
    )


def how_good(rows: Rows) -> list[str]:
    """Scores on test windows, worst configurations included."""
    first = rows[0]
    lines = [
        "## How good it is",
        "",
        "Zero-shot, on the official test windows of the GIFT-Eval configurations that can be rebuilt here, as ratios",
        "to the published seasonal naive forecast (below 1 is better). Nothing was trained or tuned on these windows.",
        "",
        f"Geometric mean of {len(rows)} configurations: **MASE {geometric_mean(rows, 'mase_ratio'):.3f}**, "
        f"**CRPS {geometric_mean(rows, 'crps_ratio'):.3f}**; the 80 % interval holds "
        f"{100 * sum(float(row['coverage80']) for row in rows) / len(rows):.1f} % of the outcomes.",
        "",
        "| configuration | MASE ratio | CRPS ratio | 80 % interval holds |",
        "|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: float(row["mase_ratio"])):
        lines.append(
            f"| {row['task']} | {float(row['mase_ratio']):.3f} | {float(row['crps_ratio']):.3f} "
            f"| {100 * float(row['coverage80']):.1f} % |"
        )
    return [*lines, "", f"Command: `{first['command']}` at commit `{first['commit'][:12]}`, {first['hardware']}.", ""]


def trained_on(card: Mapping[str, Any]) -> list[str]:
    """What it was trained on, for how long, and under which licences."""
    training, patch = card["training"], card["config"].get("patch")
    of = f"points, {training['tokens']:,} points in all"
    if patch:
        of = f"tokens, {training['tokens']:,} tokens in all (a token is a patch of {patch} points)"
    lines = [
        "## What it was trained on",
        "",
        f"{training['steps']:,} steps of {training['tokens_per_step']:,} {of}: {training['hours']:.1f} hours of "
        f"{training['hardware']}. {100 * (1 - training['real_share']):.0f} % of the windows were synthetic",
        "(tsfm/data/synthetic), the rest cut from the real sets below, none of which models are measured on.",
        "",
        *(fingerprints(card) if "fingerprints" in card else []),
        "| set | licence as its source states it |",
        "|---|---|",
    ]
    return [*lines, *(f"| {entry['name']} | {entry['licence']} |" for entry in training["sets"]), ""]


def fingerprints(card: Mapping[str, Any]) -> list[str]:
    """How to tell whether a series was in the training data, and where what is known of it stands."""
    found = "Copies of evaluation series that were found in them are listed in evaluation/results/leak_check.csv."
    if card["training"].get("withheld"):
        found = "The series of these sets that were found to stand in an evaluation set too were left out."
    return [
        f"`tsfm check data.csv --model NAME` says which series of yours were in them: {card['fingerprints']['file']} "
        f"keeps {card['fingerprints']['windows']:,} hashes of their windows.",
        found,
        "",
    ]


def limits(sparse: bool) -> list[str]:
    """What it cannot do."""
    ties = (
        "- Near-ties between experts are decided by rounding: in bfloat16 a forecast can differ in the third digit",
        "  from one machine to another.",
    )
    return [
        "## Limits",
        "",
        "- One series at a time: no covariates, no neighbours, no calendar of holidays.",
        "- Horizons beyond one pass continue from the median, so their intervals are too narrow.",
        *(ties if sparse else ()),
        "- Not for decisions where an error in a tail is dangerous without a check on your own history.",
        "",
    ]
