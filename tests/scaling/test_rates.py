"""The rule of the best rate: known rules are found again, with intervals that hold them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from tsfm.errors import DataError
from tsfm.scaling.rates import REFERENCE, beside_best, fit_rates

CENTRE, SIZE, DATA, BATCH, NARROW = 2.4, -0.36, -0.5, 0.4, 0.005


def rows_of(noise=0.0, apart=0.0, seed=0, rates=(0.5, 1.0, 2.0, 4.0), batches=(2048,), narrow=NARROW):
    """Losses of networks of six sizes at three milestones and some rates, whose best one follows a known rule.

    noise is that of a row, `apart` how far a size's best rates lie beside the rule, in logs
    """
    random = np.random.default_rng(seed)
    rows = []
    for batch, active in product(batches, np.geomspace(1e4, 1e6, 6)):
        about = {"kind": "decoder", "size": f"{active:.0f}", "experts": 0, "top_k": 0, "batch": batch, "seed": 0}
        beside = np.exp(random.normal(0, apart))
        for points in (2.0**23, 2.0**25, 2.0**27):
            best = CENTRE * (active / 1e5) ** SIZE * (points / 2**25) ** DATA * (batch / 2048) ** BATCH * beside
            floor = 0.4 + 1.0 / active**0.3 + random.normal(0, 0.01)
            for rate in rates:
                loss = floor * np.exp(narrow * np.log(rate / best) ** 2 + random.normal(0, noise))
                at = {"milestone": int(points), "points": points, "active": active, "rate": rate, "loss": loss}
                rows.append(about | at)
    return pd.DataFrame(rows)


def test_a_known_rule_is_found_again():
    rule = fit_rates(rows_of(batches=(2048, 8192)), "loss", ("active", "points", "batch"))
    assert rule.centre == pytest.approx(CENTRE)
    assert rule.exponents == pytest.approx({"active": SIZE, "points": DATA, "batch": BATCH})
    assert rule.width == pytest.approx(np.exp(np.sqrt(0.01 / NARROW)))
    assert (rule.curves, rule.rows) == (36, 144)
    assert rule.best(active=1e6, points=2.0**25) == pytest.approx(CENTRE * 10**SIZE)
    assert rule.best(**REFERENCE) == pytest.approx(CENTRE)


def test_all_curves_fall_on_one_bowl():
    rows = rows_of(batches=(2048, 8192))
    rule = fit_rates(rows, "loss", ("active", "points", "batch"))
    found = beside_best(rule, rows, "loss")
    np.testing.assert_allclose(np.log(found["above"]), NARROW * np.log(found["beside"]) ** 2, atol=1e-12)


def test_its_intervals_hold_what_they_should():
    held = []
    for seed in range(100):
        rule = fit_rates(rows_of(noise=0.003, apart=0.2, seed=seed), "loss")
        for name, truth in (("active", SIZE), ("points", DATA), ("centre", CENTRE)):
            low, high = rule.intervals[name]
            held.append(low < truth < high)
    assert 0.85 <= np.mean(held) <= 0.95  # nominal: 0.9


def test_curves_of_two_rates_say_nothing():
    rows = rows_of()
    alone = rows[(rows["size"] != "10000") | rows["rate"].isin([1.0, 2.0])]
    assert fit_rates(alone, "loss").curves == fit_rates(rows, "loss").curves - 3


def test_what_tells_no_rule_is_refused():
    with pytest.raises(DataError, match="2 families of runs"):
        fit_rates(rows_of().query("active < 3e4"), "loss")
    with pytest.raises(DataError, match="0 families"):
        fit_rates(rows_of(rates=(1.0, 2.0)), "loss")
    with pytest.raises(DataError, match="all rows have the same batch"):
        fit_rates(rows_of(), "loss", ("active", "points", "batch"))
    with pytest.raises(DataError, match="no lowest point"):
        fit_rates(rows_of(narrow=-NARROW), "loss")
