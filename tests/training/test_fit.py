"""Fitting an architecture: the protocol's windows and errors, early stopping by validation, resumption, folders."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tsfm.errors import DataError, UnknownName
from tsfm.evaluation import protocol
from tsfm.evaluation.tasks import load_suite
from tsfm.training import fit as fitting
from tsfm.training.fit import SCHEDULES, FitSettings, config_of, fit, fit_table, load_fitted, loss_of, settings_of
from tsfm.training.fit_data import (
    Batch,
    Table,
    fill_forward,
    read_table,
    repeat_season,
    scaling_of,
    score,
    windows_of,
)
from tsfm.training.fit_state import State

QUICK = FitSettings(rate=0.01, batch=32, epochs=3, patience=3, schedule="constant")


def table(steps=300, gaps=False, splits=(200, 40, 60)):
    """Three noisy daily waves, one of them ten times the others and far from zero."""
    random = np.random.default_rng(0)
    time = np.arange(steps)[:, None]
    values = np.sin(2 * np.pi * time / 12 + np.arange(3)) + 0.1 * random.normal(size=(steps, 3))
    values = values * [1.0, 10.0, 1.0] + [0.0, 50.0, 0.0]
    if gaps:
        values[random.random(values.shape) < 0.1] = np.nan
    return Table("waves", values, ("a", "b", "c"), splits, 12, "2024-01-01 00:00:00", 3600.0, "hash")


def stretches(of, context=24, horizon=6):
    return windows_of(of, context, horizon, scaling_of(of))


def weights(model):
    return torch.cat([one.detach().flatten() for one in model.state_dict().values()])


def made(settings=QUICK, of=None, **more):
    return fit_table("dlinear", of or table(), 6, 24, settings=settings, **more)


def optioned(name, **options):
    return config_of(name, table(), 6, options=options)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_its_windows_are_those_of_the_long_horizon_protocol(split):
    data = table()
    windows = stretches(data)[1 if split == "validation" else 2]
    ours = next(windows.batches(1000))
    for variate in range(3):
        theirs = list(protocol.sliding_windows(data.values[:, variate], 6, 24, *data.splits, split=split))
        assert len(theirs) == len(windows)
        for place, part in ((ours.values, 0), (ours.target, 1)):
            np.testing.assert_allclose(place[..., variate], np.stack([pair[part] for pair in theirs]), atol=1e-5)


def test_the_windows_to_train_on_end_with_their_stretch():
    train = stretches(table())[0]
    assert len(train) == 200 - 24 - 6 + 1
    last = train.take(torch.tensor([len(train) - 1]))
    torch.testing.assert_close(last.target[0], train.values[194:200])
    assert last.start.tolist() == [170]


def test_nothing_after_the_training_stretch_moves_what_is_trained_on():
    data, later = table(), table()
    later.values[200:] += 100.0
    first, second = stretches(data)[0], stretches(later)[0]
    for one, other in zip(first.batches(1000), second.batches(1000), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("data", [task for task in load_suite("long_horizon") if task.horizon in (96, 24)], ids=str)
def test_the_cards_cut_the_sets_as_the_suite_does(data):
    from datasets_registry import load_card

    splits = load_card(data.dataset).splits
    assert (splits.train, splits.validation, splits.test) == (data.train, data.validation, data.test)


def test_variates_of_a_set_may_be_named():
    whole, part = read_table("airport_departures"), read_table("airport_departures", ["LGA"])
    assert (part.name, part.variates, part.splits) == ("airport_departures:LGA", ("LGA",), whole.splits)
    np.testing.assert_array_equal(part.values[:, 0], whole.values[:, whole.variates.index("LGA")])
    with pytest.raises(UnknownName, match=r"airport_departures has no variate SFO; its variates are EWR, JFK, LGA"):
        read_table("airport_departures", ["SFO"])


def test_the_score_counts_every_step_of_every_window_the_last_batch_too():
    test = stretches(table())[2]
    whole = next(test.batches(1000))
    error = (whole.target - whole.values[:, -1:]).double()
    wanted = float(error.square().mean()), float(error.abs().mean())
    for size in (1, 7, 1000):
        found = score(lambda batch: batch.values[:, -1:].expand_as(batch.target), test, size)
        assert found == pytest.approx(wanted)


def test_what_was_not_measured_is_in_no_error():
    data = table(gaps=True)
    test = stretches(data)[2]
    scaled = scaling_of(data).standardised(data.values)
    cuts = range(240, 295)
    wanted = np.nanmean(np.stack([scaled[cut : cut + 6] for cut in cuts]) ** 2)
    assert score(lambda batch: torch.zeros_like(batch.target), test, 16)[0] == pytest.approx(wanted, rel=1e-5)
    batch = next(test.batches(4))
    other = Batch(batch.values, torch.where(batch.observed, batch.target, 1e3), batch.observed, batch.start)
    model = fitting.architecture("dlinear")(config_of("dlinear", data, 6, 24))
    assert torch.equal(loss_of(model, batch), loss_of(model, other))


def test_a_gap_has_the_value_before_it_and_a_leading_one_the_mean():
    values = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [4.0, 5.0]])
    np.testing.assert_array_equal(fill_forward(values), [[0, 1], [2, 1], [2, 1], [4, 5]])


def test_the_seasonal_naive_forecast_repeats_the_last_season():
    values = torch.arange(10.0)[None, :, None]
    batch = Batch(values, values, None, torch.zeros(1))
    assert repeat_season(batch, 3, 5).flatten().tolist() == [7, 8, 9, 7, 8]
    assert repeat_season(batch, 11, 2).flatten().tolist() == [9, 9]


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    first, again, other = (made(dataclasses.replace(QUICK, seed=seed)) for seed in (0, 0, 1))
    assert first.scores == again.scores
    assert first.scores["mse"] != other.scores["mse"]


def test_a_fit_learns_the_waves_and_leaves_the_random_state_as_it_was():
    before = torch.get_rng_state()
    fitted = made(dataclasses.replace(QUICK, epochs=8))
    assert torch.equal(torch.get_rng_state(), before)
    assert fitted.scores["mse"] < 0.1


def test_the_weights_kept_are_those_of_the_best_validation_not_of_the_last_epoch():
    wild = dataclasses.replace(QUICK, rate=0.3, epochs=4, patience=4)
    fitted = made(wild)
    errors = [epoch["validation_mse"] for epoch in fitted.fit["course"]]
    assert fitted.fit["best"] == 1 + int(np.argmin(errors)) < len(errors)
    validation = stretches(table())[1]
    assert fitting.errors(fitted.model, validation, 32)[0] == pytest.approx(min(errors))


def test_it_ends_once_validation_did_not_gain_for_as_long_as_its_patience():
    fitted = made(dataclasses.replace(QUICK, rate=0.3, epochs=50, patience=2))
    assert len(fitted.fit["course"]) == fitted.fit["best"] + 2 < 50


def test_the_test_stretch_has_no_say_in_the_fit():
    other = table()
    other.values[240:] *= -3
    one, two = made(), made(of=other)
    assert torch.equal(weights(one.model), weights(two.model))
    assert one.fit["course"][0]["validation_mse"] == two.fit["course"][0]["validation_mse"]
    assert one.scores["mse"] != two.scores["mse"]


class Dropping(nn.Module):
    """A model with dropout, whose randomness a resumed fit must meet again."""

    def __init__(self):
        super().__init__()
        self.map, self.drop = nn.Linear(24, 6), nn.Dropout(0.5)

    def forward(self, values, start=None):
        return self.map(self.drop(values.mT)).mT


def dropping():
    torch.manual_seed(0)
    return Dropping()


def test_a_fit_that_was_killed_goes_on_to_the_same_numbers(tmp_path):
    train, validation, _ = stretches(table())
    whole = dropping()
    fit(whole, train, validation, QUICK)

    class Killed(Exception):
        pass

    def kill(line):
        if line.startswith("epoch 2"):
            raise Killed

    kept, said = State(tmp_path / "state.safetensors", "it"), []
    with pytest.raises(Killed):
        fit(dropping(), train, validation, QUICK, kept, report=kill)
    resumed = dropping()
    course = fit(resumed, train, validation, QUICK, kept, report=said.append)
    assert said[0].startswith("going on after epoch 2")
    assert [epoch["epoch"] for epoch in course.epochs] == [1, 2, 3]
    assert torch.equal(weights(resumed), weights(whole))


def test_a_state_of_another_fit_is_not_gone_on_from(tmp_path):
    path = tmp_path / "state.safetensors"
    train, validation, _ = stretches(table())
    fit(dropping(), train, validation, QUICK, State(path, "this"))
    model = dropping()
    assert State(path, "that").load(model, fitting.optimizer_of(model, QUICK), {}).epochs == []


def test_the_state_of_a_whole_fit_gives_its_result_again_at_once(tmp_path):
    said = []
    first = made(state=tmp_path / "state.safetensors")
    again = made(state=tmp_path / "state.safetensors", report=said.append)
    assert said == ["going on after epoch 3, where it stopped"]
    assert (again.scores, again.fit, again.seconds) == (first.scores, first.fit, first.seconds)


def test_a_state_that_cannot_be_read_is_begun_anew_and_replaced(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"half a file")
    said = []
    assert made(state=tmp_path / "state.safetensors", report=said.append).scores == made().scores
    assert said[0].startswith("epoch 1 of 3")
    made(state=tmp_path / "state.safetensors", report=said.append)
    assert said[-1] == "going on after epoch 3, where it stopped"


def test_a_saved_model_loads_with_its_scores_and_the_same_forecast(tmp_path):
    fitted = made()
    loaded = load_fitted(fitted.save(tmp_path / "model"))
    assert loaded.scores == fitted.scores
    assert loaded.fit == json.loads(json.dumps(fitted.fit))
    values = table().values
    np.testing.assert_array_equal(loaded.predict(values), fitted.predict(values))


def test_a_card_that_lost_the_mean_of_a_variate_is_refused(tmp_path):
    folder = made().save(tmp_path / "model")
    card = json.loads((folder / "config.json").read_text())
    card["mean"].pop()
    (folder / "config.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"2 means and 3 deviations for 3 variates; copy the folder again"):
        load_fitted(folder)


def test_a_forecast_is_in_the_units_and_the_family_of_the_data():
    fitted, values = made(dataclasses.replace(QUICK, epochs=8)), table().values
    frame = pd.DataFrame(values, pd.date_range("2024-01-01", periods=len(values), freq="h"), columns=["a", "b", "c"])
    found = fitted.forecast(frame)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == ["a", "b", "c"]
    assert found.index[0] == frame.index[-1] + pd.Timedelta("1h")
    assert 40 < found["b"].mean() < 60
    swapped = fitted.forecast(frame[["c", "a", "b"]])
    pd.testing.assert_frame_equal(swapped[["a", "b", "c"]], found)


def test_a_forecast_reads_the_phase_from_the_time_stamps():
    fitted = fit_table("cyclenet", table(), 6, 24, settings=QUICK)
    values = table().values
    frame = pd.DataFrame(values, pd.date_range("2024-01-01", periods=len(values), freq="h"), columns=["a", "b", "c"])
    pd.testing.assert_frame_equal(fitted.forecast(frame[5:]), fitted.forecast(frame))
    assert not np.allclose(fitted.predict(values[5:]), fitted.predict(values))


def test_the_cycle_is_the_season_of_the_data_unless_an_option_says_otherwise():
    assert config_of("cyclenet", table(), 6).cycle == 12
    assert config_of("cyclenet", table(), 6, options={"cycle": 7}).cycle == 7
    assert config_of("cyclenet", table(), 6, preset="ett-mlp").backbone == "mlp"


def test_published_settings_hold_but_for_those_asked():
    assert settings_of("dlinear").rate == 0.005
    assert settings_of("dlinear", rate=0.1, epochs=None) == FitSettings(rate=0.1)


def test_rates_fall_as_the_schedules_say():
    def shares(name):
        return [SCHEDULES[name](epoch, 5) for epoch in range(1, 6)]

    assert shares("constant") == [1] * 5
    assert shares("type1") == [1, 1, 0.5, 0.25, 0.125]
    assert shares("type3") == [1, 1, 1, 1, 0.8]
    assert np.argmax(shares("one-cycle")) == 1
    assert shares("one-cycle")[-1] < 0.1 < shares("one-cycle")[0] < 0.5
    assert shares("cosine") == pytest.approx([0.5 * (1 + math.cos(math.pi * done / 5)) for done in range(5)])


def test_the_rate_of_every_group_falls_from_its_own():
    class Grouped(Dropping):
        def parameter_groups(self, rate):
            return [{"params": [self.map.weight], "weight_decay": 0.1}, {"params": [self.map.bias], "lr": rate / 10}]

    model, settings = Grouped(), dataclasses.replace(QUICK, schedule="type1")
    optimizer = fitting.optimizer_of(model, settings)
    train, _, _ = stretches(table())
    fitting.run_epoch(model, train, optimizer, settings, 3, fitting.Progress(10, False))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.0005])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_an_objective_of_its_own_is_what_a_model_is_trained_on():
    class Own(Dropping):
        def objective(self, values, target, start=None):
            return (self(values) - target).abs().mean()

    batch = next(stretches(table())[0].batches(4))
    model = Own().eval()
    assert torch.equal(loss_of(model, batch), (model(batch.values) - batch.target).abs().mean())


def test_a_csv_is_cut_in_70_10_and_20_parts_of_a_hundred(tmp_path):
    values = table(205).values
    stamps = pd.date_range("2024-01-01", periods=205, freq="h")
    pd.DataFrame(values, stamps, columns=["a", "b", "c"]).to_csv(tmp_path / "waves.csv", index_label="time")
    found = read_table(tmp_path / "waves.csv")
    assert found.splits == (143, 21, 41)
    assert (found.name, found.variates, found.season) == ("waves.csv", ("a", "b", "c"), 24)
    assert (found.first, found.step) == ("2024-01-01 00:00:00", 3600.0)
    np.testing.assert_allclose(found.values, values)


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (lambda: stretches(table(), context=195), DataError, "no room for a context of 195 and a horizon of 6"),
        (lambda: stretches(table(), horizon=41), DataError, "smaller --context or --horizon"),
        (lambda: settings_of("dlinaer"), UnknownName, "cyclenet, dlinear"),
        (
            lambda: optioned("dlinear", cycles=3),
            UnknownName,
            "no option cycles; its options are individual, moving_ave",
        ),
        (
            lambda: optioned("dlinear", horizon=3),
            DataError,
            "horizon is no option of dlinear: it follows from --horizon",
        ),
        (lambda: optioned("dlinear", individual="maybe"), DataError, "'maybe' is no bool; give True or False"),
        (lambda: optioned("dlinear", moving_average=0), DataError, "moving_average=0 is too small"),
        (lambda: optioned("cyclenet", width="abc"), DataError, "width='abc' is no whole number from 0 on"),
        (lambda: optioned("cyclenet", cycle=0), DataError, "cycle=0 is too small"),
        (lambda: optioned("simba", width=30), DataError, "width=30 must be a multiple of 4"),
        (lambda: optioned("simba", dropout="much"), DataError, "dropout='much' is no number"),
        (lambda: optioned("s-mamba", activation="tanh"), DataError, "'tanh' is not known; give one of gelu, relu"),
        (lambda: optioned("spacetime", shortest_average=64), DataError, "shortest_average=64 must lie below 64"),
        (lambda: optioned("spacetime", loss_weights=1), DataError, r"loss_weights=\(1\.0,\) must be three numbers"),
        (lambda: made(device="abacus"), DataError, "dlinear cannot be built: .*abacus.*another --device"),
        (lambda: fit_table("s-mamba", table(), 6, 24, options={"dropout": 2}), DataError, "cannot be built: dropout"),
        (lambda: config_of("dlinear", table(), 6, preset="huge"), UnknownName, "no preset 'huge'; there are ett"),
        (lambda: FitSettings(schedule="type9"), DataError, "'type9' is not known"),
        (lambda: FitSettings(rate=-1.0), DataError, "rate=-1.0"),
        (lambda: FitSettings(epochs=0), DataError, "epochs=0"),
        (lambda: made(dataclasses.replace(QUICK, rate=1e30)), DataError, "give a lower --rate"),
        (lambda: made().predict(table().values[:10]), DataError, "reads 24 steps and the data have 10"),
        (lambda: made().forecast({"a": [1.0] * 30, "x": [1.0] * 30}), DataError, r"missing in the data: \['b', 'c'\]"),
    ],
)
def test_what_cannot_be_done_is_said_in_plain_words(act, kind, said):
    with pytest.raises(kind, match=said):
        act()


def test_series_of_different_stretches_are_refused_with_the_remedy(tmp_path):
    rows = [("a", day, 1.0 * day) for day in range(1, 29)] + [("b", day, 2.0) for day in range(3, 29)]
    frame = pd.DataFrame([(name, f"2024-01-{day:02}", value) for name, day, value in rows], columns=["id", "ds", "y"])
    frame.to_csv(tmp_path / "long.csv", index=False)
    with pytest.raises(DataError, match=r"'b' has 26 steps .* cut them to one stretch"):
        read_table(tmp_path / "long.csv")


def test_a_variate_without_a_value_to_train_on_is_named():
    data = table()
    data.values[:200, 1] = np.nan
    with pytest.raises(DataError, match="series 'b' has no value in the 200 steps to train on"):
        scaling_of(data)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e300])
def test_the_unit_of_the_data_moves_no_error(unit):
    usual, other = table(), table()
    other.values[:] *= unit
    before, after = (made(of=one).scores["mse"] for one in (usual, other))
    assert before == pytest.approx(after, rel=1e-4)


def test_a_constant_has_a_deviation_of_one_whatever_its_digits():
    data = table()
    data.values[:200, 1] = 0.1
    scaling = scaling_of(data)
    assert (scaling.mean[1], scaling.deviation[1]) == (0.1, 1.0)


def test_a_tuple_of_one_may_be_written_as_a_number():
    assert optioned("xlstm-time", mlstm_at=1).mlstm_at == (1,)
