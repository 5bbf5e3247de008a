"""What a person does with Moirai-MoE: folders, levels, horizons, covariates; and what its parts promise."""

import copy
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from models.moirai_published import FIXTURE, TIGHT, given, published_arrays, published_model, stored_tokens
from safetensors.torch import load_file

import tsfm
from tsfm import Forecaster
from tsfm.batch import Batch
from tsfm.batching import Context
from tsfm.errors import DataError
from tsfm.inference import bytes_per_series
from tsfm.models import moirai_moe
from tsfm.models.moirai_moe import PRESETS, MoiraiMoE
from tsfm.models.moirai_moe_files import write_config, write_tensors
from tsfm.models.moirai_moe_layers import PatchIn, farthest
from tsfm.models.moirai_moe_tokens import Layout, Tokens, causal_mean
from tsfm.nn.mixture import levels_of_paths
from tsfm.other_variates import Others, as_one

WAVES = 20 + 5 * np.sin(np.arange(100) / 4) + np.random.default_rng(0).normal(size=100)


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return published_arrays()


@pytest.fixture(scope="module")
def model() -> MoiraiMoE:
    return published_model()


@pytest.fixture(scope="module")
def forecaster(model) -> Forecaster:
    return Forecaster(model, "fixture")


def test_a_folder_goes_into_the_published_layout_and_back(model):
    published = load_file(FIXTURE / "model.safetensors")
    written = write_tensors(model.state_dict())
    assert written.keys() == published.keys()
    assert all(torch.equal(written[name], published[name]) for name in published)
    assert write_config(model.config) == json.loads((FIXTURE / "config.json").read_text())


def test_a_published_folder_loads_by_its_path_and_forecasts():
    forecaster = tsfm.load(FIXTURE, device="cpu", precision="fp32")
    assert isinstance(forecaster.model, MoiraiMoE)
    assert "Salesforce/moirai-moe-1.0-R-small" in forecaster.card["official"]["notice"]
    found = forecaster.predict_arrays([WAVES], 20, [0.05, 0.5, 0.95])[0]
    assert found.shape == (20, 3)
    assert (np.diff(found, axis=1) > 0).all()


def test_published_sizes_are_presets():
    sizes, active = {}, {}
    for name in ("small", "base"):
        with torch.device("meta"):
            made = MoiraiMoE(PRESETS[name])
        sizes[name] = sum(weight.numel() for weight in made.parameters())
        active[name] = round(made.active_parameters, -6)
    assert sizes == {"small": 117_025_800, "base": 935_066_592}
    assert active == {"small": 11_000_000, "base": 86_000_000}


@torch.no_grad()
def test_what_cannot_be_seen_is_left_out_with_the_same_numbers(model, io):
    made, layout = given(io, "cov_h24")
    whole = model(made, variates=layout.variates)
    for step in range(layout.horizon):
        pruned = model.next_patch(made, layout, step)
        wanted = whole.map(lambda part, step=step: part[:, layout.of_targets(step - 1)])
        torch.testing.assert_close(pruned.mean, wanted.mean, rtol=1e-5, atol=1e-5)
        assert torch.equal(pruned.scale, wanted.scale)


@torch.no_grad()
def test_one_variate_needs_no_bias(model, io):
    made, _ = given(io, "raw_long")
    torch.testing.assert_close(model(made, variates=1).mean, model(made, variates=2).mean, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_samples_of_a_row_do_not_see_each_other(model, io):
    made = stored_tokens(io, "packed")
    other = torch.where((made.sample == 2)[..., None], made.target + 5, made.target)
    before, after = model(made).mean, model(replace(made, target=other)).mean
    assert torch.equal(before[made.sample == 1], after[made.sample == 1])
    assert not torch.equal(before[made.sample == 2], after[made.sample == 2])


def test_the_two_farthest_centroids_win_and_the_farther_weighs_more():
    index, weight, distance = farthest(torch.zeros(1, 4), torch.eye(4) * torch.tensor([1.0, 4.0, 3.0, 2.0]), 2)
    assert index.tolist() == [[1, 2]]
    assert weight[0, 0] > weight[0, 1]
    torch.testing.assert_close(distance[0], torch.tensor([1.0, 4.0, 3.0, 2.0]))


def test_columns_beyond_a_patch_size_are_not_read():
    layer = PatchIn([8, 16], 5)
    x = torch.randn(3, 16)
    longer = x.clone()
    longer[:, 8:] = 100.0
    assert torch.equal(layer(x, 0), layer(longer, 0))
    assert not torch.equal(layer(x, 1), layer(longer, 1))


def test_missing_steps_are_the_mean_of_those_before_them_as_gluonts_has_it():
    imputation = pytest.importorskip("gluonts.transform.feature", reason="the truth is GluonTS's imputation")
    rng = np.random.default_rng(0)
    for missing in (0.1, 0.5, 0.9):
        values = rng.normal(size=60)
        values[1:][rng.random(59) < missing] = np.nan
        with np.errstate(invalid="ignore"):
            wanted = imputation.CausalMeanValueImputation()(values.copy())
        observed = torch.from_numpy(~np.isnan(values))[None]
        found = causal_mean(torch.from_numpy(np.nan_to_num(values))[None], observed)
        np.testing.assert_allclose(found[0], wanted, rtol=1e-9)


def test_paths_leave_each_step_at_the_same_levels_in_an_order_of_its_own():
    levels = levels_of_paths(3, 2, 16, 8)
    even = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    assert torch.equal(levels.sort(-1).values, even.expand(2, 16, 8))
    assert len({tuple(row) for row in levels.flatten(0, 1).tolist()}) == 32
    assert torch.equal(levels, levels_of_paths(3, 2, 16, 8))


def test_a_longer_horizon_begins_with_the_shorter_one(forecaster):
    for shorter in (5, 16, 40):
        found = forecaster.predict_arrays([WAVES], shorter)[0]
        np.testing.assert_allclose(found, forecaster.predict_arrays([WAVES], 50)[0][:shorter], rtol=1e-4)


def walks() -> list[np.ndarray]:
    """Walks with counts in them, of many lengths, some with gaps."""
    rng = np.random.default_rng(0)
    many = [rng.normal(size=60 + 11 * i).cumsum() + rng.poisson(2, size=60 + 11 * i) for i in range(10)]
    for one in many[::3]:
        one[10:20] = np.nan
    return many


@pytest.mark.parametrize("horizon", [9, 40])
def test_a_batch_moves_one_quantile_in_a_thousand_by_more_than_a_hundred_thousandth(forecaster, horizon):
    """Between the modes of a mixture a quantile moves far for a level's last digit: by up to 5e-5 of the deviation."""
    many = [*walks(), *(one[:40] for one in walks()), np.array([0.6, -0.3]), np.array([0.2, 0.6])]
    together = forecaster.predict_arrays(many, horizon, clip=None)
    errors = []
    for one, found in zip(many, together, strict=True):
        (alone,) = forecaster.predict_arrays([one], horizon, clip=None)
        errors.append(np.abs(found - alone) / np.nanstd(one))
    assert np.max(errors) <= 5e-5
    assert np.mean(np.array(errors) > 1e-5) <= 1e-3


def test_in_bf16_quantiles_move_by_less_than_half_a_percent_of_the_interval_on_average(forecaster):
    coarse = copy.deepcopy(forecaster.model)
    coarse.set_precision(torch.bfloat16)
    wanted = np.stack(forecaster.predict_arrays(walks(), 40, clip=None))
    found = np.stack(Forecaster(coarse, "bf16").predict_arrays(walks(), 40, clip=None))
    width = (wanted[..., -1] - wanted[..., 0]).mean(1)
    error = np.abs(found - wanted).mean((1, 2)) / width
    assert 0 < error.mean() < 0.005
    assert error.max() < 0.03


def test_any_level_comes_from_the_distribution_itself(forecaster):
    levels = [0.01, 0.37, 0.5, 0.99]
    found = forecaster.predict_arrays([WAVES], 16, levels)[0]
    batch = Batch(torch.tensor(WAVES[None, 4:]).float(), torch.ones(1, 96, dtype=torch.bool), torch.ones(1).long())
    exact = forecaster.predict_arrays([WAVES[4:]], 16, levels)[0]
    np.testing.assert_allclose(exact, forecaster.model.predict(batch, 16, levels)[0], rtol=1e-5)
    assert np.isfinite(found).all()


def frames(io: dict[str, torch.Tensor], row: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The series of `cov_h24` as a person has them: a frame of the past, and one of what is known ahead."""
    names = ("past_target", "past_observed_target", "past_is_pad", "feat_dynamic_real", "past_feat_dynamic_real")
    case = {name: io[f"cov_h24.{name}"][row].double().numpy() for name in names}
    hidden = (case["past_observed_target"] == 0) | (case["past_is_pad"] == 1)[:, None]
    target = np.where(hidden, np.nan, case["past_target"])
    when = pd.date_range("2024-01-01", periods=72, freq="h")
    known = case["feat_dynamic_real"][:, 0]
    past = {"when": when[:48], "a": target[:, 0], "b": target[:, 1], "promotion": known[:48]}
    past["weather"] = case["past_feat_dynamic_real"][:, 0]
    return pd.DataFrame(past), pd.DataFrame({"when": when[48:], "promotion": known[48:]})


ROLES = {"time": "when", "past": "weather", "clip": None}


@pytest.mark.parametrize("row", [0, 1])
def test_a_frame_with_covariates_becomes_the_published_tokens_and_rollout(forecaster, io, row):
    past, later = frames(io, row)
    reached: list[Tokens] = []
    handle = forecaster.model.register_forward_pre_hook(lambda module, inputs: reached.append(inputs[0]))
    forecaster.forecast(past, 24, target=["a", "b"], future=later, jointly=True, **ROLES)
    handle.remove()
    first = Tokens(*(getattr(reached[0], name)[:1] for name in Tokens.__dataclass_fields__))  # of the row of "a"
    whole, _ = given(io, "cov_h24")
    for name in Tokens.__dataclass_fields__:
        wanted = getattr(whole, name)[row]
        found = getattr(first, name)[0].to(wanted.dtype)
        torch.testing.assert_close(found, wanted[whole.sample[row] == 1], **TIGHT)
    layout = Layout(2, 1, 1, (first.time.shape[1] - 6) // 4, 2)
    with torch.no_grad():
        path = forecaster.model.continued(first, layout, lambda mixture, step: mixture.mean)
    torch.testing.assert_close(path[0, :, :24].T.float(), io["cov_h24.mean_path"][row], **TIGHT)


def test_covariates_and_companions_change_a_forecast_and_only_if_they_are_named(forecaster, io):
    past, later = frames(io, 0)

    def median(**options: object) -> np.ndarray:
        return np.asarray(
            forecaster.forecast(past, 24, target=["a", "b"], clip=None, time="when", **options).median["a"]
        )

    alone = median()
    assert not np.allclose(alone, median(past=["weather"]))
    assert not np.allclose(alone, median(future=later))
    assert not np.allclose(alone, median(jointly=True))
    np.testing.assert_array_equal(alone, median())


def test_a_forecast_with_covariates_does_not_depend_on_the_batch(forecaster, io):
    past, later = frames(io, 0)
    options = {"target": ["a", "b"], "future": later, **ROLES}
    whole = forecaster.forecast(past, 24, **options).median
    single = forecaster.forecast(past, 24, batch_size=1, **options).median
    for name in ("a", "b"):
        np.testing.assert_allclose(whole[name], single[name], rtol=1e-4, atol=1e-4)


def joint_walks(count: int) -> dict[str, np.ndarray]:
    """Walks that begin one after the other and end together, each in units of its own."""
    made = {f"s{i}": np.random.default_rng(i).normal(size=60).cumsum() * 10.0**i for i in range(count)}
    return {name: np.where(np.arange(60) < 5 * i, np.nan, one) for i, (name, one) in enumerate(made.items())}


def test_series_forecast_jointly_take_one_pass_a_patch_however_many_they_are(forecaster):
    passes: list[int] = []
    handle = forecaster.model.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0].target)))
    forecaster.forecast(joint_walks(5), 3 * forecaster.model.patch, jointly=True)
    handle.remove()
    assert passes == [1, *[forecaster.model.config.paths] * 2]


def test_one_pass_gives_each_series_what_it_gets_as_the_first_of_all(forecaster):
    walks, horizon = joint_walks(3), forecaster.model.patch
    both = {"flat": np.full(60, 4.0), **walks}
    found = forecaster.forecast(both, horizon, jointly=True, clip=None)
    for name in walks:
        alone = {name: both[name], **{other: one for other, one in both.items() if other != name}}
        wanted = forecaster.forecast(alone, horizon, jointly=True, clip=None)
        for level in (0.1, 0.5, 0.9):
            scale = np.nanstd(walks[name])
            np.testing.assert_allclose(found.quantile(level)[name], wanted.quantile(level)[name], atol=5e-5 * scale)
    assert (found.quantile(0.9)["flat"] == 4.0).all()


def test_joint_series_see_the_covariates_of_all_of_them_each_once():
    rows = np.random.default_rng(0).normal(size=(3, 20))
    none = np.empty((0, 20))
    contexts = [Context(rows[i], None, Others(np.stack([rows[0], rows[2]]), none, rows[:2], i)) for i in range(2)]
    contexts[1] = replace(contexts[1], others=replace(contexts[1].others, past=rows[1:]))
    whole = as_one(contexts)
    assert whole.others.past.shape == (3, 20)
    np.testing.assert_array_equal(whole.others.companions, rows[1:2])


def test_rows_of_many_variates_one_after_another_have_the_same_forecast(forecaster, monkeypatch):
    wanted = forecaster.forecast(joint_walks(3), 20, jointly=True)
    monkeypatch.setattr(moirai_moe, "LARGEST_SCORES", 5000)
    found = forecaster.forecast(joint_walks(3), 20, jointly=True)
    np.testing.assert_allclose(found.quantile_array(0.5), wanted.quantile_array(0.5), rtol=1e-4, atol=1e-4)


def test_the_memory_of_a_series_grows_with_the_levels_asked_and_faster_than_its_variates(forecaster):
    model = forecaster.model
    assert bytes_per_series(model, 512, 48, levels=99) > 1.5 * bytes_per_series(model, 512, 48, levels=9)
    assert bytes_per_series(model, 512, 8, variates=20) > 2 * 10 * bytes_per_series(model, 512, 8, variates=2)


def test_series_that_do_not_end_together_are_not_forecast_jointly(forecaster):
    with pytest.raises(DataError, match="end together"):
        forecaster.forecast({"a": WAVES, "b": WAVES[10:]}, 8, jointly=True)


@pytest.mark.parametrize("kept", ["frame", "file"])
def test_a_column_known_ahead_is_read_of_a_long_frame_too_and_not_said_to_be_of_no_use(forecaster, io, kept, tmp_path):
    past, later = frames(io, 0)
    past, later = past[["when", "a", "promotion"]].assign(id="a"), later.assign(id="a")
    roles = {"id": "id", "time": "when", "target": "a", "clip": None}
    past.to_csv(tmp_path / "past.csv", index=False)
    made = forecaster.forecast(past if kept == "frame" else tmp_path / "past.csv", 24, future=later, **roles)
    assert not [warning for warning in made.provenance.warnings if "no forecast uses" in warning]
    wanted = forecaster.forecast(past, 24, past="promotion", future=later, **roles)
    np.testing.assert_array_equal(made.median, wanted.median)
    plain = forecaster.forecast(past, 24, **roles)
    assert any("no forecast uses 'promotion'" in warning for warning in plain.provenance.warnings)


def test_covariates_of_words_are_left_out_and_said_so(forecaster, io):
    past, later = frames(io, 0)
    past["weather"] = np.where(past["weather"] > 0, "sun", "rain")
    made = forecaster.forecast(past, 24, target=["a", "b"], future=later, **ROLES)
    assert any("'weather' holds words" in warning for warning in made.provenance.warnings)
    plain = forecaster.forecast(
        past.drop(columns="weather"), 24, target=["a", "b"], future=later, time="when", clip=None
    )
    np.testing.assert_array_equal(made.median["a"], plain.median["a"])


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Training windows with gaps, one short and one that holds too little."""
    chance = torch.Generator().manual_seed(0)
    values = torch.sin(torch.arange(160) / 4) * torch.rand(6, 1, generator=chance)
    values = values + 0.1 * torch.randn(6, 160, generator=chance)
    observed = torch.rand(6, 160, generator=chance) < 0.9
    observed[0, :60], observed[1, :157] = False, False
    return values, observed


def test_pretraining_counts_what_comes_after_the_first_three_tenths_of_a_window(model):
    values, observed = windows()
    with torch.no_grad():
        whole = model.window_loss(values, observed)
        torch.testing.assert_close(model.window_loss(values[[0, 2, 3, 4, 5]], observed[[0, 2, 3, 4, 5]]), whole)
        hidden = torch.where(observed, values, 1e6)
        assert model.window_loss(hidden, observed) == whole
        later = values.clone()
        later[:, 48:] *= 1.5
        assert model.window_loss(later, observed) != whole


def test_a_few_steps_of_pretraining_lower_the_loss():
    torch.manual_seed(0)
    made = MoiraiMoE(PRESETS["tiny"])
    optimizer = torch.optim.AdamW(made.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        loss = made.window_loss(*windows())
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.1
