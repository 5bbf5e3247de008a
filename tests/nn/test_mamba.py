"""The Mamba block says what the authors' code says, whole, in chunks and step by step.

Of the stored scans, those with input matrices a step (var), in groups, constant and complex are held against the
kernels in tests/kernels/test_scan.py (mamba_scans.npz); the plain and the long one are here.
"""

import pytest
import torch
from parity import Stored, apart, stepped
from torch import nn

from tsfm import kernels
from tsfm.nn.mamba import Mamba
from tsfm.nn.mamba2 import MambaStack

STORED = Stored("mamba")


def official(name):
    config = STORED.config[name]
    rank = None if config["dt_rank"] == "auto" else config["dt_rank"]
    sizes = (config["d_state"], config["d_conv"], config["expand"], rank, config["bias"], config["conv_bias"])
    block = Mamba(config["d_model"], *sizes)
    block.load_state_dict(STORED.weights(f"{name}."))
    return block


def small(seed=0):
    torch.manual_seed(seed)
    return Mamba(8, states=3).double(), torch.randn(2, 70, 8, dtype=torch.float64)


@pytest.mark.parametrize("path", ["reference", "cpu"])
@pytest.mark.parametrize("case", ["plain", "long"])
def test_scan_equals_the_mamba_repository_in_outputs_and_gradients(case, path):
    given = STORED.arrays(f"scan_{case}_")
    names = [name.removeprefix("grad_") for name in given if name.startswith("grad_")]
    inputs = {name: given[name].requires_grad_() for name in names}
    with kernels.using(path):
        out, last = kernels.selective_scan(**inputs, delta_softplus=case == "long")
        grads = torch.autograd.grad(out, list(inputs.values()), given["gout"])
    assert apart(out, given["out"]) < 1e-5
    assert apart(last, given["last_state"]) < 1e-5
    for name, grad in zip(names, grads, strict=True):
        assert apart(grad, given[f"grad_{name}"]) < 1e-4, name


@pytest.mark.parametrize("case", ["mamba1_a", "mamba1_b", "mamba1_bias_a", "mamba1_bias_b"])
def test_block_equals_the_mamba_repository_in_outputs_and_gradients(case):
    block, given = official(case[:-2]), STORED.arrays(f"{case}_")
    x = given["x"].requires_grad_()
    y = block(x)
    y.backward(given["gy"])
    assert apart(y, given["y"]) < 1e-5
    assert apart(x.grad, given["grad_x"]) < 1e-4
    found = {name.removeprefix("grad_param."): want for name, want in given.items() if "param" in name}
    assert set(found) == (set(dict(block.named_parameters())) if case.endswith("_a") else set())
    for name, want in found.items():
        assert apart(block.get_parameter(name).grad, want) < 1e-4, name


@pytest.mark.parametrize("case", ["mamba1_a", "mamba1_b", "mamba1_bias_a", "mamba1_bias_b"])
def test_steps_and_the_scan_end_in_the_stored_state(case):
    block, given = official(case[:-2]), STORED.arrays(f"{case}_")
    with torch.no_grad():
        y, stepwise = stepped(block.step, given["x"], block.first_state(len(given["x"])))
        _, scanned = block.extend(given["x"])
    assert apart(y, given["y"]) < 1e-5
    for state in (stepwise, scanned):
        assert apart(state.conv, given["step_conv_state"]) < 1e-5
        assert apart(state.ssm, given["step_ssm_state"]) < 1e-5


def test_stack_equals_the_language_model_layer_by_layer():
    config, given, stored = STORED.config["mamba1lm"], STORED.arrays("mamba1lm_"), STORED.weights("mamba1lm.")
    width, sizes = config["hidden_size"], (config["state_size"], config["conv_kernel"], config["expand"])
    stack = MambaStack(width, [Mamba(width, *sizes, config["time_step_rank"]) for _ in range(2)])
    embedding, head = stored.pop("backbone.embeddings.weight"), stored.pop("lm_head.weight")
    stack.load_state_dict({name.removeprefix("backbone."): one for name, one in stored.items()})
    heard = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda module, x, made: heard.append(made[0]))
    hidden = stack(embedding[given["ids"]])
    assert apart(torch.stack([*heard, hidden]), given["hidden"]) < 1e-5
    assert apart(hidden @ head.T, given["logits"]) < 1e-5


@pytest.mark.parametrize("cut", [1, 2, 3, 64, 69])
def test_a_sequence_in_two_chunks_is_the_sequence_in_one_with_gradients(cut):
    block, x = small()
    x.requires_grad_()
    whole, last = block.extend(x)
    first, state = block.extend(x[:, :cut])
    second, end = block.extend(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)
    wanted, found = (torch.autograd.grad(y.sin().sum(), x)[0] for y in (whole, torch.cat([first, second], 1)))
    torch.testing.assert_close(found, wanted)


def test_steps_one_by_one_are_the_scan_in_single_precision():
    block, x = small()
    block, x = block.float(), x.float()
    with torch.no_grad():
        y, state = stepped(block.step, x, block.first_state(2))
        whole, last = block.extend(x)
    assert apart(y, whole) < 1e-5
    assert max(apart(got, want) for got, want in zip(state, last, strict=True)) < 1e-5


def test_a_chunk_may_be_followed_by_steps_and_steps_by_a_chunk():
    block, x = small()
    a, state = block.extend(x[:, :30])
    b, state = stepped(block.step, x[:, 30:40], state)
    c, _ = block.extend(x[:, 40:], state)
    torch.testing.assert_close(torch.cat([a, b, c], 1), block(x))


def test_the_state_keeps_its_size():
    block, x = small()
    sizes = {tuple(part.shape for part in block.extend(x[:, :steps])[1]) for steps in (1, 3, 70)}
    assert sizes == {tuple(part.shape for part in block.first_state(2))}


def test_outputs_do_not_know_what_comes_later():
    block, x = small()
    later = x.clone()
    later[:, 40:] += 1
    torch.testing.assert_close(block(later)[:, :40], block(x)[:, :40])
    assert not torch.allclose(block(later)[:, 40:], block(x)[:, 40:])


def test_step_sizes_begin_between_a_thousandth_and_a_tenth():
    torch.manual_seed(0)
    sizes = nn.functional.softplus(Mamba(64).dt_proj.bias.detach())
    assert 1e-3 * 0.99 < float(sizes.min()) < 2e-3
    assert 5e-2 < float(sizes.max()) < 1e-1 * 1.01


def test_a_deeper_stack_begins_with_smaller_ways_out():
    torch.manual_seed(0)
    shallow, deep = (MambaStack(32, [Mamba(32, 4) for _ in range(depth)]) for depth in (1, 16))
    stds = [stack.layers[0].mixer.out_proj.weight.detach().std() for stack in (deep, shallow)]
    assert float(stds[0] / stds[1]) == pytest.approx(0.25, rel=0.05)


def test_stack_streams_in_chunks_and_steps_what_it_says_at_once():
    torch.manual_seed(0)
    stack, x = MambaStack(8, [Mamba(8, 3) for _ in range(2)]), torch.randn(2, 12, 8)
    first, states = stack.extend(x[:, :5])
    rest, _ = stepped(stack.step, x[:, 5:], states)
    assert apart(torch.cat([first, rest], 1), stack(x)) < 1e-5
    assert apart(stepped(stack.step, x, stack.first_state(2))[0], stack(x)) < 1e-5
