"""State-space layers are one model whichever way they run, their gradients too, and they learn in published groups."""

import pytest
import torch
from parity import close, stepped

from tsfm.errors import DataError
from tsfm.nn.hippo import nplr
from tsfm.nn.ssm import Convolution, S4Block, parameter_groups
from tsfm.nn.ssm_kernels import DenseKernel, DiagonalKernel, DplrKernel

WIDTH, STATE, STEPS = 4, 8, 37
KERNELS = {
    "S4": lambda channels=1: DplrKernel(WIDTH, STATE, channels, length=STEPS),
    "S4 with a short kernel": lambda channels=1: DplrKernel(WIDTH, STATE, channels, length=10),
    "S4D": lambda channels=1: DiagonalKernel(WIDTH, STATE, channels, init="legs"),
    "S4D bilinear, shared": lambda channels=1: DiagonalKernel(WIDTH, STATE, channels, "inv", "bilinear", copies=2),
    "S4D real": lambda channels=1: DiagonalKernel(WIDTH, STATE, channels, init="real"),
    "LSSL": lambda channels=1: DenseKernel(WIDTH, STATE, channels),
    "LSSL over a window": lambda channels=1: DenseKernel(WIDTH, STATE, channels, "legt"),
}


@pytest.fixture(params=KERNELS)
def make(request):
    torch.manual_seed(3)
    return KERNELS[request.param]


@pytest.fixture
def x():
    return torch.randn(2, STEPS, WIDTH, generator=torch.Generator().manual_seed(1))


def chunked(model, x, state, sizes):
    found = []
    for part in x.split(sizes, 1):
        out, state = model.run(part, state)
        found.append(out)
    return torch.cat(found, 1), state


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2])
def test_convolution_recurrence_and_chunks_agree(make, x, channels):
    model = S4Block(make(channels)).eval()
    empty = model.empty_state(len(x))
    by_steps, state = stepped(model.recurrence(), x, empty)
    by_chunks, last = chunked(model, x, empty, [5, 31, 1])
    close(by_steps, model(x))
    close(by_chunks, model(x))
    close(last, state)


@torch.no_grad()
def test_the_convolution_is_the_one_that_is_written_out(make, x):
    model = Convolution(make())
    kernel = model.kernel(STEPS)[0]
    wanted = x * model.D
    for time in range(STEPS):
        for lag in range(time + 1):
            wanted[:, time] += kernel[:, lag] * x[:, time - lag]
    close(model(x), wanted)


def test_gradients_of_the_convolution_are_those_of_the_recurrence(make, x):
    model = S4Block(make()).double()
    x = x.double().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = [x, *model.parameters()]
    ways = (
        model(x),
        stepped(model.recurrence(), x, model.empty_state(len(x)))[0],
        model.run(x, model.empty_state(len(x)))[0],
    )
    grads = [torch.autograd.grad((out * weight).sum(), wanted) for out in ways]
    for first, *others in zip(*grads, strict=True):
        assert float(first.abs().max()) > 0
        for other in others:
            close(other, first, 1e-6)


@torch.no_grad()
def test_a_shorter_series_reads_the_same_kernel_from_its_start(make):
    kernel = make()
    close(kernel(11), kernel(STEPS)[..., :11])


@torch.no_grad()
def test_a_longer_kernel_than_the_checkpoint_was_made_for_goes_on_where_it_ends():
    torch.manual_seed(3)
    kernel = DplrKernel(WIDTH, STATE, length=10)
    step, state, found = kernel.recurrence(), kernel.empty_state(1), []
    for time in range(33):
        out, state = step(torch.full((1, WIDTH), float(time == 0)), state)
        found.append(out[0])
    close(kernel(33), torch.stack(found, -1))


@torch.no_grad()
def test_the_low_rank_model_is_the_dense_one_of_the_same_basis():
    torch.manual_seed(3)
    low_rank, dense = DplrKernel(WIDTH, STATE, length=STEPS).double(), DenseKernel(WIDTH, STATE).double()
    start = nplr(STATE)
    low_rank.B.copy_(torch.view_as_real(start.B).expand_as(low_rank.B))
    output = low_rank.output()
    dense.C.copy_(2 * (output @ start.V.mH).real)
    dense.inv_dt.copy_(low_rank.inv_dt)
    close(low_rank(STEPS), dense(STEPS))


@torch.no_grad()
def test_a_bidirectional_layer_reads_the_future_one_step_ahead(x):
    torch.manual_seed(3)
    model = Convolution(DiagonalKernel(WIDTH, STATE, 2), bidirectional=True)
    there, back = model.kernel(STEPS)
    wanted = x * model.D
    for time in range(STEPS):
        for lag in range(time + 1):
            wanted[:, time] += there[:, lag] * x[:, time - lag]
        for lead in range(STEPS - time - 1):
            wanted[:, time] += back[:, lead] * x[:, time + 1 + lead]
    close(model(x), wanted)


@torch.no_grad()
def test_what_comes_later_changes_nothing_before(make, x):
    model, later = S4Block(make()).eval(), x.clone()
    later[:, 20:] += 5.0
    close(model(later)[:, :20], model(x)[:, :20], 1e-4)


def test_a_bidirectional_layer_has_no_recurrence(x):
    model = S4Block(DiagonalKernel(WIDTH, STATE, 2), bidirectional=True)
    with pytest.raises(DataError, match="bidirectional=False"):
        model.recurrence()
    with pytest.raises(DataError, match="bidirectional=False"):
        model.run(x, model.empty_state(2))
    with pytest.raises(DataError, match="even number"):
        S4Block(DiagonalKernel(WIDTH, STATE, 1), bidirectional=True)


def test_features_that_share_models_divide_evenly():
    with pytest.raises(DataError, match="copies=3"):
        DiagonalKernel(WIDTH, STATE, copies=3)


def test_steps_and_matrices_learn_slowly_and_are_never_decayed(make):
    model = S4Block(make())
    rest, slow = parameter_groups(model, 0.01)
    own = {id(getattr(model.layer.kernel, name)) for name in model.layer.kernel.slow}
    assert {id(one) for one in slow["params"]} == own
    assert {id(one) for one in rest["params"]} | own == {id(one) for one in model.parameters()}
    assert (rest["lr"], slow["lr"], slow["weight_decay"]) == (0.01, 1e-3, 0.0)
    assert parameter_groups(model, 1e-4)[1]["lr"] == 1e-4


def test_the_layer_keeps_the_type_of_what_it_reads(make, x):
    with torch.autocast("cpu", torch.bfloat16):
        made = S4Block(make())(x.bfloat16())
    assert made.dtype == torch.bfloat16
    assert bool(made.isfinite().all())
