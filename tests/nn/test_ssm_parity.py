"""S4, S4D and LSSL layers say what the published code says, array by array."""

import pytest
import torch
from parity import Stored, close, stepped

from tsfm.nn.ssm import Convolution, S4Block, read_minimal
from tsfm.nn.ssm_kernels import DenseKernel, DiagonalKernel, DplrKernel

STORED = Stored("s4")
DIAGONAL = ("s4d_lin_zoh", "s4d_lin_bil", "s4d_inv_zoh", "s4d_legs_zoh", "s4d_ch2")
RUNS = ("a", "b")


@pytest.fixture(scope="module")
def arrays():
    return STORED.arrays()


def block(name):
    """The published block of that name with its weights, in the layout of its file."""
    options, tensors = STORED.config[name], STORED.weights(f"{name}.")
    channels, width, state = options.get("channels", 1), options["d_model"], options["d_state"]
    tensors.pop("init_kernel_C", None)
    if name == "s4dmin":
        made, tensors = S4Block(DiagonalKernel(width, state)), read_minimal(tensors)
    elif options["mode"] == "s4":
        made = S4Block(DplrKernel(width, state, channels, length=options["l_max"]))
    else:
        both = options.get("bidirectional", False)
        kernel = DiagonalKernel(
            width,
            state,
            channels * (1 + both),
            init=options["init"].removeprefix("diag-"),
            method=options["disc"],
            copies=options.get("n_ssm"),
        )
        made = S4Block(kernel, bidirectional=both)
    made.load_state_dict(tensors)
    return made.eval()


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", [*DIAGONAL, "s4d_bidir", "s4_dplr"])
def test_the_kernel_and_the_outputs_are_the_published_ones(name, run, arrays):
    made, x = block(name), arrays[f"{name}_{run}_x"]
    close(made.layer.kernel(x.shape[1]), arrays[f"{name}_{run}_kernel"])
    close(made(x), arrays[f"{name}_{run}_y"])


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", [*DIAGONAL, "s4_dplr"])
def test_the_recurrence_gives_the_published_outputs(name, run, arrays):
    made, x = block(name), arrays[f"{name}_{run}_x"]
    close(stepped(made.recurrence(), x, made.empty_state(len(x)))[0], arrays[f"{name}_{run}_y"])


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", DIAGONAL)
def test_a_run_from_a_state_gives_the_published_outputs_and_next_state(name, run, arrays):
    made, x, state = block(name), arrays[f"{name}_{run}_x"], arrays[f"{name}_{run}_state0"]
    close(made.layer.kernel.state_kernel(state, x.shape[1]), arrays[f"{name}_{run}_kernel_state"])
    for out, last in (made.run(x, state), stepped(made.recurrence(), x, state)):
        close(out, arrays[f"{name}_{run}_y_from_state"])
        close(last, arrays[f"{name}_{run}_next_state"])


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
def test_the_minimal_layer_loads_and_gives_the_published_outputs(run, arrays):
    made, x = block("s4dmin"), arrays[f"s4dmin_{run}_x"].mT
    close(made.layer.kernel(x.shape[1])[0], arrays[f"s4dmin_{run}_kernel"])
    close(made(x).mT, arrays[f"s4dmin_{run}_y"])
    close(stepped(made.recurrence(), x, made.empty_state(len(x)))[0].mT, arrays[f"s4dmin_{run}_y"])


@torch.no_grad()
def test_preparing_the_published_output_matrix_gives_that_of_the_checkpoint():
    kernel, tensors = block("s4_dplr").layer.kernel, STORED.weights("s4_dplr.")
    start = torch.view_as_complex(tensors["init_kernel_C"])
    close(kernel.prepared(start, int(tensors["layer.kernel.l_kernel"])), torch.view_as_complex(kernel.C.detach()))
    close(kernel.output(), start)


@torch.no_grad()
def test_the_dense_layer_gives_the_published_matrices_kernel_and_outputs(arrays):
    made = Convolution(DenseKernel(3, 8))
    made.kernel.inv_dt.copy_(arrays["lssl_dt"].log())
    made.kernel.C.copy_(arrays["lssl_C"])
    made.D.copy_(arrays["lssl_D"][None])
    decay, into = made.kernel.system()
    close(decay, arrays["lssl_dA"])
    close(into, arrays["lssl_dB"])
    close(made.kernel(30), arrays["lssl_kernel"])
    u = arrays["lssl_u"].mT
    close(made(u).mT, arrays["lssl_y"])
    close(stepped(made.recurrence(), u, made.kernel.empty_state(2))[0].mT, arrays["lssl_y"])
