"""A study is data; its runs resume bit for bit, decoder and encoder see no future, and every row says what it cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfm.errors import DataError, UnknownName
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.scaling.corpus import CorpusConfig, make_corpus
from tsfm.scaling.learner import Learner, hidden_range, seen_by
from tsfm.scaling.measure import (
    Exam,
    forecast,
    in_distribution,
    out_of_distribution,
    read_exams,
    window_losses,
    write_exams,
)
from tsfm.scaling.plan import Plan, counted, read_study
from tsfm.scaling.study import Run, run_study
from tsfm.training.checkpoint import load_state

CONFIG = CorpusConfig(windows=128, context=128, patch=16, shard=64, exam=32, real_share=0.0)
PLAN = Plan("test", "w16", width=16, depth=1, heads=2, batch=64, milestones=(8192, 16384))


def silent(line: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), CONFIG, report=silent)


def model_of(plan=PLAN):
    torch.manual_seed(0)
    model = MoEDecoder(plan.model(CONFIG.context, CONFIG.patch))
    for parameter in model.parameters():  # much of it starts at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_the_studies_of_the_package_are_read_and_cover_what_they_should():
    study = read_study("study")
    active = [counted(plan.model(1024, 32)).active for plan in study.plans if plan.group.startswith("decoder")]
    points = [points for plan in study.plans for points in plan.milestones]
    assert len(study.plans) >= 40
    assert np.log10(max(active) / min(active)) > 2.5
    assert np.log10(max(points) / min(points)) > 2.3
    assert len({plan.name for plan in study.plans}) == len(study.plans)
    assert study.reference in {plan.name for plan in study.plans}
    assert all(plan.milestones[-1] <= study.corpus.windows * 1024 or plan.pool for plan in study.plans)
    assert len(read_study("quick").plans) == 3


def test_a_warm_up_is_short_beside_the_first_milestone():
    for name, share in (("study", 1 / 3), ("quick", 1 / 8)):
        study = read_study(name)
        for plan in study.plans:
            assert plan.run_config(study.corpus).warmup <= share * plan.steps(plan.milestones[0], 32)[1]


OWN = """
milestones = [1000, 2000]
reference = "decoder-a-rate4-batch2048-seed0"
corpus = { windows = 8 }
[size]
a = { width = 16, depth = 1, heads = 2, rate = 4 }
b = { width = 32, depth = 1, heads = 2 }
[[group]]
name = "one"
purpose = "p"
runs = [{ size = ["a", "b"] }, { size = "a", rate = [1, 8] }]
[[group]]
name = "two"
purpose = "p"
rate = 2
seed = 1
runs = [{ size = ["a", "b"] }]
"""


def test_a_rate_is_of_a_run_or_its_group_or_its_size_and_stands_in_its_name(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    names = {plan.name.removesuffix("-batch2048-seed0"): plan.rate for plan in read_study(str(path)).plans}
    assert names == {
        "decoder-a-rate4": 4,
        "decoder-b": 1,
        "decoder-a": 1,
        "decoder-a-rate8": 8,
        "decoder-a-rate2-batch2048-seed1": 2,
        "decoder-b-rate2-batch2048-seed1": 2,
    }
    path.write_text(OWN.replace("heads = 2, rate = 4", "heads = 2, rate = 16"))
    with pytest.raises(UnknownName, match=r"is none of its runs; such as .*decoder-a-rate16-batch2048-seed0"):
        read_study(str(path))
    path.write_text(OWN.replace("seed = 1", "sed = 1"))
    with pytest.raises(DataError, match="sed"):
        read_study(str(path))


def test_one_run_in_two_groups_is_run_once_with_the_milestones_of_both(tmp_path):
    text = "milestones = [1000, 2000]\ncorpus = { windows = 8 }\n[size]\na = { width = 16, depth = 1, heads = 2 }\n"
    for name, bound in (("one", "up_to = 1000"), ("two", "beyond = 1000")):
        text += f'[[group]]\nname = "{name}"\npurpose = "p"\nruns = [{{ size = "a", {bound} }}]\n'
    path = tmp_path / "own.toml"
    path.write_text(text)
    (plan,) = read_study(str(path)).plans
    assert plan.milestones == (1000, 2000)
    path.write_text(text.replace('size = "a", up_to', 'size = "b", up_to'))
    with pytest.raises(UnknownName, match="sizes are a"):
        read_study(str(path))
    path.write_text(text.replace("beyond = 1000", "top_k = 1"))
    with pytest.raises(DataError, match="0 experts with top_k = 1"):
        read_study(str(path))


@pytest.mark.parametrize("experts, top_k", [(2, 1), (4, 1), (16, 1), (4, 2), (16, 2)])
def test_a_sparse_network_has_the_active_parameters_of_its_dense_twin_beside_the_router(experts, top_k):
    dense = replace(PLAN, width=48, heads=3)
    sparse = replace(dense, experts=experts, top_k=top_k)
    twin, made = (counted(plan.model(128, 16)) for plan in (dense, sparse))
    assert made.active == twin.active + 48 * experts
    assert made.total > twin.total
    model = MoEDecoder(sparse.model(128, 16))
    assert made.total + made.ends == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_what_is_hidden_reaches_no_forecast(corpus, kind):
    values = torch.from_numpy(np.nan_to_num(corpus.exam)).unflatten(1, (-1, 16))
    observed = torch.ones_like(values, dtype=torch.bool)
    observed[:, 5:] = False
    made = []
    for later in (0.0, 3.0):
        changed = torch.where(observed, values, later)[:, :-1]
        channels, bias, _ = seen_by(model_of(), kind, torch.where(observed[:, :-1], changed, 0.0), observed[:, :-1])
        made.append(model_of()(channels, bias)[0])
    torch.testing.assert_close(made[0], made[1])


def test_an_encoder_attends_both_ways_and_a_decoder_does_not(corpus):
    values = torch.from_numpy(np.nan_to_num(corpus.exam[:, :-16])).unflatten(1, (-1, 16))
    observed = torch.ones_like(values, dtype=torch.bool)
    observed[:, 6:] = False
    shown = torch.where(observed, values, 0.0)
    changed = shown.clone()
    changed[:, 5] += 1.0
    model = model_of()
    for kind, moves in (("decoder", False), ("encoder", True)):
        with torch.no_grad():
            before, after = (model(*seen_by(model, kind, one, observed)[:2])[0][:, :5] for one in (shown, changed))
        assert torch.allclose(before, after) is not moves


def test_an_encoder_learns_from_hidden_patches_alone(corpus, tmp_path):
    plan = replace(PLAN, kind="encoder")
    run = Run(plan, corpus, tmp_path / "run")
    channels, _, _, counts = run.learner.prepare(0)
    fewest, most = hidden_range(9)
    asked = counts.any(-1).sum(1)
    assert 0 < run.target_share < most / 8
    assert run.target_share < Run(PLAN, corpus, tmp_path / "decoder").target_share <= 1
    assert 0 < asked.max() <= most
    assert not counts[:, : 9 - most - 1].any()
    hidden = channels[..., 1 + 2 * 16 : 1 + 3 * 16].sum(-1) == 0  # the mask of each token's own patch
    assert (hidden.sum(1) >= fewest - 1).all()


def test_a_run_that_stops_anywhere_gives_the_same_rows(corpus, tmp_path):
    names = ("points", "train_loss", "id_loss", "id_loss_near")
    whole = [[row[name] for name in names] for row in Run(PLAN, corpus, tmp_path / "whole", report=silent).rows()]
    cut = []
    for stop in (3, 5, 11, 100, 100):
        run = Run(PLAN, corpus, tmp_path / "cut", report=silent)
        stop_after(run.learner, stop)
        for row in run.rows({PLAN.milestones[place] for place in range(len(cut))}):
            cut.append([row[name] for name in names])
            break  # a kill after a row was written, before its branch was deleted
    assert cut == whole
    assert len(whole) == 2


def stop_after(learner: Learner, steps: int) -> None:
    """Ask a learner to stop after so many steps, as a signal would."""
    step = learner.train_step

    def counted_step(prepared=None):
        nonlocal steps
        steps -= 1
        if steps == 0:
            learner._ask_to_stop()
        return step(prepared)

    learner.train_step = counted_step


def test_a_finished_run_is_not_run_again_and_leaves_the_weights_of_its_rows_alone(corpus, tmp_path):
    study = replace(read_study("quick"), groups=(read_study("quick").groups[0]._replace(plans=[PLAN]),))
    rows = list(run_study(study, corpus, tmp_path, report=silent))
    assert [row["milestone"] for row in rows] == [8192, 16384]
    kept = [tmp_path / "weights" / f"{PLAN.name}-{milestone}.safetensors" for milestone in (8192, 16384)]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    model = MoEDecoder(PLAN.model(CONFIG.context, CONFIG.patch))
    for path, row in zip(kept, rows, strict=True):
        model.load_state_dict(load_state(path)[0])
        assert in_distribution(model, PLAN.kind, corpus)["id_loss"] == row["id_loss"]
    done = [(row["run"], row["milestone"]) for row in rows]
    assert not list(run_study(study, corpus, tmp_path, done=lambda: done, report=silent))
    (again,) = run_study(study, corpus, tmp_path, done=lambda: done[1:], report=silent)
    assert again["id_loss"] == rows[0]["id_loss"]
    assert again["flops"] == rows[1]["flops"] / 2


def test_a_forecast_is_the_same_in_any_unit_and_for_both_kinds_from_the_same_windows(corpus):
    model = model_of()
    shown, after = (torch.from_numpy(part) for part in (corpus.exam[:, :-16], corpus.exam[:, -16:]))
    for kind in ("decoder", "encoder"):
        made, usable = forecast(model, kind, shown, after)
        scaled, _ = forecast(model, kind, 5 * shown + 3, 5 * after + 3)
        assert made.quantiles.shape == (32, 16, 9)
        torch.testing.assert_close(made.target[usable], scaled.target[usable], rtol=1e-3, atol=1e-3, equal_nan=True)
        assert (made.quantiles.diff(dim=-1) > -1e-5).all()


def test_losses_out_of_distribution_are_means_over_tasks_and_ratios_to_the_naive_forecast(tmp_path, corpus):
    ones = np.ones(8, dtype=np.float32)
    exams = [
        Exam(name, corpus.exam[first : first + 8, :128], corpus.exam[first : first + 8, 128:], ones, ones)
        for name, first in (("a/short", 0), ("b", 8))
    ]
    write_exams(tmp_path / "exams.npz", exams)
    model = model_of()
    means, each = out_of_distribution(model, "decoder", read_exams(tmp_path / "exams.npz"))
    assert list(each) == ["a/short", "b"]
    assert means["ood_loss"] == pytest.approx(np.mean(list(each.values())))
    errors = [np.nanmean(window_losses(model, "decoder", exam.values, exam.target)[1]) for exam in exams]
    assert means["mase"] == pytest.approx(np.sqrt(np.prod(errors)), rel=1e-4)


def test_a_group_that_is_not_there_is_named_beside_those_that_are():
    study = read_study("study")
    assert {plan.group for plan in study.plans_of(["seeds", "pools"])} == {"seeds", "pools"}
    assert study.plans_of() == study.plans
    with pytest.raises(UnknownName, match="no group 'seed' in study 'study'; there are 'rates', 'rates, "):
        study.plans_of(["seed", "pools"])
