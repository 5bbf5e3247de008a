"""Moirai-MoE against the published code, array by array, and its quantiles against samples."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from models.moirai_published import (
    CASES,
    FIXTURE,
    TIGHT,
    given,
    published_arrays,
    published_model,
    stored_mixture,
    stored_tokens,
)

from tsfm.models.moirai_moe import MoiraiMoE
from tsfm.models.moirai_moe_files import write_tensors
from tsfm.models.moirai_moe_layers import farthest
from tsfm.models.moirai_moe_losses import packed_mean
from tsfm.models.moirai_moe_tokens import Layout, Tokens
from tsfm.nn.mixture import Mixture, levels_of_paths, pooled_quantiles
from tsfm.nn.moe import recorded_routes

Draw = Callable[[int], torch.Tensor]


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return published_arrays()


@pytest.fixture(scope="module")
def model() -> MoiraiMoE:
    return published_model()


def assert_same_mixture(found: Mixture, io: dict[str, torch.Tensor], case: str) -> None:
    values = {
        "weights_logits": found.weight,
        "weights_probs": found.weight.exp(),
        "student_t.df": found.df,
        "student_t.loc": found.student_loc,
        "student_t.scale": found.student_scale,
        "normal_fixed.loc": found.normal_loc,
        "normal_fixed.scale": torch.full_like(found.df[..., :1], 1e-3),
        "neg_binomial.total_count": found.total_count,
        "neg_binomial.logits": found.logits,
        "log_normal.loc": found.log_loc,
        "log_normal.scale": found.log_scale,
        "mean": found.mean,
        "base_mean": (found.mean - found.loc) / found.scale,
        "base_variance": found.variance,
    }
    assert {f"{case}.dist.{name}" for name in values} == {name for name in io if name.startswith(f"{case}.dist.")}
    for name, value in values.items():
        torch.testing.assert_close(
            value, io[f"{case}.dist.{name}"], **TIGHT, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", CASES)
def test_series_become_the_published_tokens(io, case):
    found, _ = given(io, case)
    names = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
    for name, ours in zip(names, Tokens.__dataclass_fields__, strict=True):
        assert (getattr(found, ours) == io[f"{case}.convert.{name}"]).all(), name


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_forward_pass_gives_the_published_numbers(model, io, case):
    made, layout = given(io, case)
    loc, scale = made.scale()
    torch.testing.assert_close(loc, io[f"{case}.fwd.loc"], **TIGHT)
    torch.testing.assert_close(scale, io[f"{case}.fwd.scale"], **TIGHT)
    encoded = []
    handle = model.encoder.register_forward_hook(lambda module, inputs, out: encoded.append(out))
    with recorded_routes() as routes:
        found = model(made, variates=layout.variates)
    handle.remove()
    torch.testing.assert_close(encoded[0], io[f"{case}.fwd.encoder_out"], **TIGHT)
    for layer, route in enumerate(routes):
        wanted = io[f"{case}.fwd.layer{layer}.topk_index"]
        assert torch.equal(route.expert.sort(-1).values, wanted.sort(-1).values)
    assert_same_mixture(found, io, case)


@torch.no_grad()
def test_every_step_inside_the_forward_pass_gives_the_published_numbers(model, io):
    seen: dict[str, torch.Tensor] = {}
    handles = []

    def watch(module: torch.nn.Module, name: str, before: bool = False) -> None:
        handles.append(
            module.register_forward_hook(lambda _, inputs, out: seen.update({name: inputs[0] if before else out}))
        )

    for name in ("in_proj", "feat_proj", "res_proj"):
        watch(getattr(model, name), name)
    watch(model.in_proj, "scaled_target", before=True)
    for layer, block in enumerate(model.encoder.layers):
        watch(block, f"layer{layer}.out")
        watch(block.self_attn, f"layer{layer}.attn_out")
        watch(block.ffn, f"layer{layer}.ffn_out")
        watch(block.norm2, f"layer{layer}.ffn_in")
    made, _ = given(io, "uni_h16")
    model(made)
    for handle in handles:
        handle.remove()
    for layer in range(2):
        index, weight, distance = farthest(seen[f"layer{layer}.ffn_in"].flatten(0, 1), model.encoder.centroid[layer], 2)
        shape = io["uni_h16.fwd.layer0.gate_dist"].shape
        seen |= {f"layer{layer}.gate_dist": distance.view(shape), f"layer{layer}.topk_index": index}
        seen[f"layer{layer}.topk_weight"] = weight
    already = {"loc", "scale", "encoder_out"}
    wanted = {name.removeprefix("uni_h16.fwd.") for name in io if name.startswith("uni_h16.fwd.")} - already
    assert set(seen) == wanted
    for name, value in seen.items():
        torch.testing.assert_close(
            value, io[f"uni_h16.fwd.{name}"], **TIGHT, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_log_probabilities_and_losses_are_the_published_ones(model, io, case):
    """From the published mixture to 1e-5. From our own, times the slope at the value.

    The normal component is a thousandth wide, so that the last digit of its place moves the logarithm beside it.
    """
    target, wanted = io[f"{case}.nll_target"], io[f"{case}.log_prob"]
    torch.testing.assert_close(stored_mixture(io, case).log_prob(target), wanted, **TIGHT)
    made, layout = given(io, case)
    mixture = model(made, variates=layout.variates)
    value = ((target - mixture.loc) / mixture.scale).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(mixture.scaled_log_prob(value).sum(), value)
    found = mixture.log_prob(target)
    assert ((found - wanted).abs() <= 1e-5 * (1 + wanted.abs()) + 4e-6 * slope.abs()).all()
    counted = made.observed & made.predicted[..., None]
    loss = packed_mean(-found, counted, made.sample, made.variate)
    torch.testing.assert_close(loss, io[f"{case}.packed_nll_loss"], **TIGHT)


@pytest.mark.parametrize("case", ["packed", "train_long"])
def test_the_training_loss_and_its_gradients_are_the_published_ones(model, io, case):
    """Norms to 1e-3: values within a few thousandths of the normal component's place multiply the last digit by 1e3."""
    made = stored_tokens(io, case)
    model.zero_grad()
    mixture = model(made)
    if case == "packed":
        assert_same_mixture(mixture, io, case)
    counted = made.observed & made.predicted[..., None]
    loss = packed_mean(-mixture.log_prob(made.target), counted, made.sample, made.variate)
    torch.testing.assert_close(loss, io[f"{case}.loss"], **TIGHT)
    loss.backward()
    found = write_tensors({name: weight.grad for name, weight in model.named_parameters()})
    names = np.load(FIXTURE / "io.npz")[f"{case}.grad_names"].tolist()
    assert set(found) == set(names)
    norms = torch.stack([found[name].double().norm() for name in names])
    wanted = io[f"{case}.grad_norms"]
    torch.testing.assert_close(norms, wanted, rtol=1e-3, atol=1e-6)
    assert ((norms - wanted).abs() / wanted.clamp(min=1e-6)).median() < 1e-4
    assert ((wanted == 0) == (norms == 0)).all()


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_rollout_of_means_is_the_published_one_in_as_many_passes(model, io, case):
    made, layout = given(io, case)
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    found = model.continued(made, layout, lambda mixture, step: mixture.mean)
    handle.remove()
    wanted = io[f"{case}.mean_path"]
    wanted = wanted[:, None] if wanted.dim() == 2 else wanted.transpose(1, 2)
    torch.testing.assert_close(found[..., : wanted.shape[-1]], wanted, **TIGHT)
    assert len(passes) == io[f"{case}.n_forward_calls"]


LEVELS = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)


def rolled_out(model: MoiraiMoE, made: Tokens, layout: Layout, draw: Draw, pooled: bool = True) -> torch.Tensor:
    """Quantiles (B, H, 5) after paths that leave step by step at the levels (V, P, S) that `draw` says.

    pooled  those of the even mixture of all paths, else those of the paths themselves, as samples are read
    """
    found, rows = [], len(made.target)

    def choose(mixture: Mixture, step: int) -> torch.Tensor:
        paths = mixture.map(lambda part: part.unflatten(0, (rows, -1)).movedim(1, 3))
        own = paths.map(lambda part: part.unsqueeze(4)) if step else paths
        levels = draw(step)
        values = pooled_quantiles(own, levels[..., None] if step else levels).flatten(3)
        first = paths.map(lambda part: part[:, 0])
        quantiles = (
            pooled_quantiles(first, LEVELS) if pooled else torch.quantile(values[:, 0], LEVELS, -1).movedim(0, -1)
        )
        found.append(quantiles)
        return values.movedim(-1, 1).flatten(0, 1).float()

    model.continued(made, layout, choose)
    return torch.cat(found, 1)


@pytest.mark.parametrize("case", ["uni_h16", "uni_h40"])
@torch.no_grad()
def test_quantiles_are_those_of_a_thousand_published_samples(model, io, case):
    made, layout = given(io, case)
    found = rolled_out(model, made, layout, lambda step: levels_of_paths(step, 1, 16, model.config.paths))
    wanted = io[f"{case}.sample_quantiles"].movedim(0, -1).double()
    error = (found[:, : wanted.shape[1]] - wanted).abs() / (wanted[..., -1:] - wanted[..., :1])
    assert error.mean() < 0.04
    assert error.mean(1).max() < 0.12


@torch.no_grad()
def test_sixteen_fixed_paths_are_nearer_to_the_truth_than_a_hundred_samples(model, io):
    """What the choice of paths rests on; a single path of medians is more than twice as far off as sixteen."""
    made, layout = given(io, "uni_h40")
    chance = torch.Generator().manual_seed(0)

    def random(paths: int) -> torch.Tensor:
        def draw(step: int) -> torch.Tensor:
            return torch.rand(1, 16, paths, generator=chance, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)

        return rolled_out(model, made, layout, draw, pooled=False)

    truth = random(1200)

    def error(found: torch.Tensor) -> float:
        return float((found - truth)[:, 16:].abs().mean() / (truth[..., -1] - truth[..., 0]).mean())

    fixed = error(rolled_out(model, made, layout, lambda step: levels_of_paths(step, 1, 16, 16)))
    single = error(rolled_out(model, made, layout, lambda step: torch.full((1, 16, 1), 0.5).double()))
    assert fixed < error(random(100))
    assert single > 2.5 * fixed
