"""Mamba-2 says what the authors' code says, and its chunks change nothing."""

import pytest
import torch
from parity import Stored, apart, stepped

from tsfm.nn.mamba2 import Mamba2, MambaStack, ssd

STORED = Stored("mamba")
CASES = [f"mamba2_off_{kind}_{length}" for kind in ("g1", "g2", "mlp") for length in "ab"]


def official(name):
    config = STORED.config[name]
    block = Mamba2(
        config["d_model"],
        config["d_state"],
        config["d_conv"],
        config["expand"],
        config["headdim"],
        config["ngroups"],
        ssm_width=config.get("d_ssm"),
        skip_per_channel=config.get("D_has_hdim", False),
        gated_norm=config.get("rmsnorm", True),
        bias=config.get("bias", False),
        chunk=config["chunk_size"],
    )
    block.load_state_dict(STORED.weights(f"{name}."))
    return block


def small(**others):
    torch.manual_seed(0)
    block = Mamba2(8, states=3, head_width=4, groups=2, **others).double()
    return block, torch.randn(2, 37, 8, dtype=torch.float64)


def recurrence(x, log_decay, into, out_of, state):
    """`ssd` one step after the other."""
    into, out_of = (part.repeat_interleave(x.shape[2] // part.shape[2], 2) for part in (into, out_of))
    rows = []
    for t in range(x.shape[1]):
        state = log_decay[:, t, :, None, None].exp() * state + x[:, t, ..., None] * into[:, t, :, None]
        rows.append((state * out_of[:, t, :, None]).sum(-1))
    return torch.stack(rows, 1), state


def drawn(steps, dtype=torch.float64):
    draw = torch.Generator().manual_seed(steps)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=dtype).requires_grad_()

    decay = (-normal(2, steps, 6).detach().exp()).requires_grad_()
    return normal(2, steps, 6, 4), decay, normal(2, steps, 3, 5), normal(2, steps, 3, 5), normal(2, 6, 4, 5)


@pytest.mark.parametrize("chunk", [1, 4, 5, 8, 64])
@pytest.mark.parametrize("case", ["ssd0", "ssd1"])
def test_ssd_equals_the_authors_listing_in_outputs_and_gradients(case, chunk):
    given = STORED.arrays(f"{case}_")
    inputs = [given[name].requires_grad_() for name in "XABC"]
    start = given["initial_states"][:, 0] if case == "ssd1" else None
    y, last = ssd(*inputs, start, chunk)
    assert apart(y, given["Y"]) < 1e-5
    assert apart(last, given["final_state"]) < 1e-5
    for name, grad in zip("XABC", torch.autograd.grad(y, inputs, given["gY"]), strict=True):
        assert apart(grad, given[f"grad_{name}"]) < 1e-4, name


@pytest.mark.parametrize(("steps", "chunk"), [(1, 4), (7, 3), (12, 4), (20, 64)])
def test_ssd_is_the_recurrence_with_shared_matrices_and_a_first_state(steps, chunk):
    inputs = drawn(steps)
    answers = []
    for way in (lambda *given: ssd(*given, chunk), recurrence):
        y, last = way(*inputs)
        answers.append([y, last, *torch.autograd.grad(y.sin().sum() + last.sin().sum(), inputs)])
    for got, want in zip(*answers, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_the_chunk_does_not_change_the_result_even_behind_a_large_decay():
    x, decay, into, out_of, start = (one.detach() for one in drawn(200, torch.float32))
    decay = decay * 1e-3
    decay[:, 20] = -5e4  # sums from the start of a chunk would round what follows to 1 / 256
    made = [ssd(x, decay, into, out_of, start, chunk) for chunk in (1, 16, 50, 64, 256)]
    for y, last in made[1:]:
        assert apart(y, made[0][0]) < 1e-5
        assert apart(last, made[0][1]) < 1e-5


@pytest.mark.parametrize("case", CASES)
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


@pytest.mark.parametrize("case", CASES)
def test_steps_say_what_the_chunks_say_and_end_in_the_stored_state(case):
    block, given = official(case[:-2]), STORED.arrays(f"{case}_")
    with torch.no_grad():
        y, stepwise = stepped(block.step, given["x"], block.first_state(len(given["x"])))
        _, at_once = block.extend(given["x"])
    assert apart(y, given["y"]) < 1e-5
    wanted = {"conv": given.get("step_conv_state", at_once.conv), "ssm": given.get("step_ssm_state", at_once.ssm)}
    assert ("step_ssm_state" in given) == ("g1" in case)
    for state in (stepwise, at_once):
        assert apart(state.conv, wanted["conv"]) < 1e-5
        assert apart(state.ssm, wanted["ssm"]) < 1e-5


@pytest.mark.parametrize("case", ["mamba2_a", "mamba2_b"])
def test_stack_equals_the_published_model_and_its_first_mixer(case):
    config, given, stored = STORED.config["mamba2"], STORED.arrays(f"{case}_"), STORED.weights("mamba2.")
    width, sizes = config["hidden_size"], (config["state_size"], config["conv_kernel"], config["expand"])
    blocks = [Mamba2(width, *sizes, config["head_dim"], chunk=config["chunk_size"]) for _ in range(2)]
    stack = MambaStack(width, blocks)
    del stored["embeddings.weight"]
    stack.load_state_dict(stored)
    first = stack.layers[0]
    x = given["inputs_embeds"]
    assert apart(first.mixer(first.norm(x)), given["layer0_mixer_out"]) < 1e-5
    assert apart(stack(x), given["last_hidden"]) < 1e-5


def test_a_norm_over_the_whole_width_is_another_than_one_a_group():
    (grouped, x), (whole, _) = small(), small(norm_groups=1)
    assert not torch.allclose(grouped(x), whole(x))


@pytest.mark.parametrize("cut", [1, 2, 16, 36])
def test_a_sequence_in_two_calls_is_the_sequence_in_one_with_gradients(cut):
    block, x = small(chunk=16)
    x.requires_grad_()
    whole, last = block.extend(x)
    first, state = block.extend(x[:, :cut])
    second, end = block.extend(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)
    wanted, found = (torch.autograd.grad(y.sin().sum(), x)[0] for y in (whole, torch.cat([first, second], 1)))
    torch.testing.assert_close(found, wanted)


def test_the_state_keeps_its_size():
    block, x = small()
    sizes = {tuple(part.shape for part in block.extend(x[:, :steps])[1]) for steps in (1, 3, 37)}
    assert sizes == {tuple(part.shape for part in block.first_state(2))}


def test_outputs_do_not_know_what_comes_later():
    block, x = small()
    later = x.clone()
    later[:, 20:] += 1
    torch.testing.assert_close(block(later)[:, :20], block(x)[:, :20])
    assert not torch.allclose(block(later)[:, 20:], block(x)[:, 20:])
