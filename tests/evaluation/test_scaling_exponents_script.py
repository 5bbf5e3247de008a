"""`evaluation/scaling_exponents.py` fits what has rows, names what has none, and keeps every table whole."""

import numpy as np
import pandas as pd
import pytest

from tsfm.evaluation.results import read_csv
from tsfm.scaling.laws import JOINT
from tsfm.scaling.plan import counted, flops_a_point, read_study

GROUPS = ("decoder", "decoder, large", "rates, every size", "pools")
TRUTH = {"E": 0.3, "A": 3.0, "B": 200.0, "a": 0.35, "b": 0.4}


@pytest.fixture
def folder(tmp_path):
    """Rows of decoders at all rates that follow a law at the rate of their size; none of encoders."""
    study, random, rows = read_study(), np.random.default_rng(0), []
    best = {plan.size: plan.rate for plan in study.plans_of(["decoder", "decoder, large"])}
    for plan in study.plans:
        if plan.kind == "decoder" and plan.group in GROUPS:
            model = plan.model(study.corpus.context, study.corpus.patch)
            count = counted(model)
            for points in plan.milestones:
                row = {"run": plan.name, "kind": plan.kind, "size": plan.size, "milestone": points, "points": points}
                row |= {"active": count.active, "ends": count.ends, "flops": flops_a_point(model) * points}
                row |= {name: getattr(plan, name) for name in ("experts", "top_k", "batch", "seed", "rate", "pool")}
                row["unique"] = min(points, plan.pool or points)
                rows.append(row | {"penalty": 0.01 * np.log2(plan.rate / best[plan.size]) ** 2})
    frame = pd.DataFrame(rows)
    clean = JOINT.predict(TRUTH, frame) + frame.pop("penalty")
    for loss in ("id_loss_synthetic", "id_loss", "id_loss_real", "ood_loss", "mase"):
        frame[loss] = clean * np.exp(0.002 * random.normal(size=len(frame)))
    frame.to_csv(tmp_path / "runs.csv", index=False)
    tasks = frame[["run", "milestone"]].assign(
        **dict.fromkeys(["a/H/short", "a/D/short", "b/H/short"], frame["ood_loss"])
    )
    tasks.to_csv(tmp_path / "tasks.csv", index=False)
    return tmp_path


def test_every_table_is_kept_and_what_has_no_rows_is_named(script, folder, monkeypatch, capsys):
    module, out = script("scaling_exponents"), folder / "out"
    monkeypatch.setattr("sys.argv", ["x", "--resamples", "8", "--rows", str(folder), "--out", str(out)])
    monkeypatch.setattr(module, "LOSSES", ("id_loss_synthetic", "ood_loss"))
    assert module.main() == 0
    assert "encoder, ood_loss: there are no rows" in capsys.readouterr().err
    found = read_csv(out / "exponents.csv")
    best = [row for row in found if row["networks"] == "decoder, the best of three rates" and row["form"] == "joint"]
    assert [row["variable"] for row in best] == ["active", "points"] * 2
    assert all(float(row["low"]) <= float(row["exponent"]) <= float(row["high"]) for row in best)
    headline = next(row for row in found if row["networks"] == "decoder" and row["form"] == "joint")
    assert headline["level"] == "0.9" and headline["commit"]
    ahead = {(row["loss"], row["by"], row["form"]): float(row["mean_error"]) for row in read_csv(out / "ahead.csv")}
    for loss in ("id_loss_synthetic", "ood_loss"):
        for by in ("active", "points"):
            assert ahead[loss, by, "joint"] < ahead[loss, by, "no change"]
    rates = {(row["loss"], row["what"]): float(row["value"]) for row in read_csv(out / "rates.csv")}
    assert rates["ood_loss", "active"] < -0.1  # smaller sizes have the higher rates
    assert abs(rates["ood_loss", "points"]) < 0.1
    assert {row["rule"] for row in read_csv(out / "rates.csv")} == {"active points"}  # one batch tells no power of it
    assert all(float(row["R"]) > 100 for row in read_csv(out / "repeats.csv"))  # made as good as new
    assert {row["approach"] for row in read_csv(out / "frontier.csv")} >= {"lower envelope", "IsoFLOP parabolas"}
    datasets = read_csv(out / "datasets.csv")
    assert {row["datasets"] for row in datasets} == {"2"}  # ETTh1 and ETTm1 would be one
    assert float(datasets[0]["standard_error"]) == pytest.approx(0, abs=1e-6)


def test_no_change_is_the_last_loss_of_the_same_run_or_milestone(script):
    module = script("scaling_exponents")
    seen = pd.DataFrame(
        [("a", 1, 10, 1, 0.9), ("a", 1, 10, 2, 0.8), ("b", 2, 20, 1, 0.7)],
        columns=["run", "size", "active", "milestone", "loss"],
    ).assign(points=lambda frame: frame["milestone"])
    ahead = pd.DataFrame({"run": ["a", "b", "c"], "milestone": [3, 2, 1]})
    np.testing.assert_allclose(module.unchanged(seen, "loss", ahead, "points"), [0.8, 0.7, np.nan])
    np.testing.assert_allclose(module.unchanged(seen, "loss", ahead, "active"), [np.nan, 0.8, 0.7])


def test_a_folder_without_rows_is_told(script, tmp_path, monkeypatch, capsys):
    module = script("scaling_exponents")
    monkeypatch.setattr("sys.argv", ["x", "--rows", str(tmp_path), "--out", str(tmp_path)])
    assert module.main() == 1
    assert "scaling_study.py run" in capsys.readouterr().err
