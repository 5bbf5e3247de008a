"""One place decides what computes a sparse layer, says so, can be overridden, and does without Triton."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from tsfm import kernels
from tsfm.errors import DataError
from tsfm.kernels import reference
from tsfm.nn.moe import SparseExperts

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def moe() -> SparseExperts:
    """A layer whose experts all say something."""
    torch.manual_seed(0)
    made = SparseExperts(width=32, shared_width=16, expert_width=16, experts=5, top_k=2)
    torch.nn.init.normal_(made.down, std=0.2)
    return made


def python(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_processor_takes_plain_torch_and_a_gpu_the_kernels():
    pytest.importorskip("triton", reason="says that Triton is missing, as the tests below ask")
    assert kernels.choose_path(CPU, torch.float32) == ("cpu", "no CUDA device")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert kernels.choose_path(CUDA, dtype)[0] == "triton"


def test_a_type_that_the_kernels_do_not_take_is_computed_by_plain_torch():
    path, why = kernels.choose_path(CUDA, torch.float64)
    assert path == "cpu"
    assert why


def test_experts_of_another_activation_are_computed_by_plain_torch():
    path, why = kernels.choose_path(CUDA, torch.float32, "gelu")
    assert path == "cpu"
    assert why
    draw = torch.Generator().manual_seed(0)
    x, up, down = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((9, 6), (4, 5, 6), (4, 6, 5)))
    index, weight = reference.route(torch.randn(9, 4, generator=draw, dtype=torch.float64), 2)
    want = reference.expert_mlp(x, up, down, index, weight, "gelu")
    for context in (torch.enable_grad, torch.inference_mode):
        with context():
            torch.testing.assert_close(kernels.expert_mlp(x, up, down, index, weight, activation="gelu"), want)


def test_the_path_can_be_overridden_and_comes_back():
    before = kernels.choose_path(CPU, torch.float32)
    with kernels.using("reference"):
        assert kernels.choose_path(CPU, torch.float32)[0] == "reference"
        with kernels.using("cpu"):
            assert kernels.choose_path(CPU, torch.float32)[0] == "cpu"
        assert kernels.choose_path(CPU, torch.float32)[0] == "reference"
    assert kernels.choose_path(CPU, torch.float32) == before


def test_an_unknown_path_is_refused_with_those_that_exist():
    with pytest.raises(DataError, match="'cuda' is not known; pass 'triton'"), kernels.using("cuda"):
        pass


@pytest.mark.parametrize("path", ["triton", "reference"])
def test_every_path_trains_a_layer_of_a_model_alike(path, moe, device):
    x = torch.randn(21, 32, generator=torch.Generator().manual_seed(1)).to(device)
    moe.to(device)
    outcomes = []
    for chosen in ("cpu", path):
        moe.zero_grad()
        with kernels.using(chosen):
            out = moe(x)[0]
            out.square().sum().backward()
        outcomes.append([out, *(one.grad for one in moe.parameters())])
        with kernels.using(chosen), torch.inference_mode():
            outcomes[-1].append(moe.infer(x))
    for one, two in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", ["triton", "cpu"])
def test_a_model_that_uses_the_kernels_is_compiled_without_a_break(path, moe, device):
    x = torch.randn(21, 32, generator=torch.Generator().manual_seed(1)).to(device)
    with kernels.using(path):
        explained = torch._dynamo.explain(moe.to(device))(x)
    assert explained.graph_break_count == 0


@pytest.mark.parametrize("path", ["triton", "cpu"])
def test_routes_of_every_path_are_those_of_the_reference_and_feed_the_experts(path, device):
    draw = torch.Generator().manual_seed(0)
    x, router = (torch.randn(size, 32, generator=draw).to(device) for size in (40, 5))
    up, down = torch.randn(5, 32, 32, generator=draw).to(device), torch.randn(5, 32, 16, generator=draw).to(device)
    with kernels.using(path):
        index, weight, logits, counts = kernels.route(x, router, 2, renormalise=False)
        mixed = kernels.expert_mlp(x, up, down, index, weight, counts=counts)
    want, expected = reference.route(logits, 2, renormalise=False)
    assert torch.equal(index, want)
    assert counts.sum(0).tolist() == index.flatten().bincount(minlength=5).tolist()
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(mixed, reference.expert_mlp(x, up, down, index, weight), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("path", ["triton", "cpu", "reference"])
def test_autocast_moves_no_bit_of_routes_experts_and_gradients(path, device):
    draw = torch.Generator().manual_seed(0)
    x, router = (torch.randn(size, 32, generator=draw).to(device).requires_grad_() for size in (12, 5))
    up, down = (torch.randn(5, 32, size, generator=draw).to(device).requires_grad_() for size in (32, 16))
    outcomes = []
    for enabled in (False, True):
        with kernels.using(path), torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            index, weight, logits, _ = kernels.route(x, router, 2)
            mixed = kernels.expert_mlp(x, up, down, index, weight)
            with torch.no_grad():
                forecast = kernels.expert_mlp(x, up, down, index, weight)
        grads = torch.autograd.grad(mixed.square().sum() + logits.square().sum(), (x, router, up, down))
        outcomes.append([logits, weight, mixed, forecast, *grads])
    for plain, under in zip(*outcomes, strict=True):
        assert under.dtype == torch.float32
        assert torch.equal(plain, under)


@pytest.mark.parametrize("path", ["triton", "cpu"])
def test_a_layer_is_compiled_whole_under_autocast(path, moe, device):
    x = torch.randn(21, 32, generator=torch.Generator().manual_seed(1)).to(device)
    with kernels.using(path), torch.autocast(device.type, torch.float16):
        assert torch._dynamo.explain(moe.to(device))(x).graph_break_count == 0


def gpu_of(monkeypatch, major: int) -> None:
    """Let torch tell of a GPU of this compute capability."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major, minor=5))


@pytest.mark.skipif(torch.version.hip is not None, reason="the capabilities are those of CUDA")
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32_and_without_the_kernels(monkeypatch):
    gpu_of(monkeypatch, 7)
    assert kernels.choose_precision(CUDA) == torch.float32
    path, why = kernels.choose_path(CUDA, torch.float16)
    assert path == "cpu"
    assert "8.0" in why


@pytest.mark.skipif(torch.version.hip is not None, reason="the capabilities are those of CUDA")
def test_a_gpu_that_multiplies_bfloat16_takes_it_and_the_kernels(monkeypatch):
    pytest.importorskip("triton", reason="asks for the path of an installed Triton")
    gpu_of(monkeypatch, 8)
    assert kernels.choose_precision(CUDA) == torch.bfloat16
    assert kernels.choose_path(CUDA, torch.bfloat16)[0] == "triton"


def test_the_doctor_hears_which_path_runs_and_why():
    rows = {what: (value, why) for what, value, why in kernels.describe()}
    value, why = rows["expert layers"]
    assert value
    assert why
    with kernels.using("reference"):
        assert (
            "expert layers",
            "reference, one expert at a time",
            "asked for by kernels.using()",
        ) in kernels.describe()


def test_a_processor_never_imports_the_kernels():
    code = """
import sys, torch
from tsfm import kernels
up, down = torch.ones(3, 4, 4), torch.ones(3, 4, 2)
kernels.expert_mlp(torch.ones(2, 4), up, down, torch.tensor([[0], [1]]), torch.ones(2, 1))
kernels.describe()
print(any("triton" in name for name in sys.modules if name.startswith("tsfm.")), "tsfm.kernels.moe_op" in sys.modules)
"""
    assert python(code).strip() == "False False"


def test_everything_works_without_triton_and_says_what_to_install():
    code = """
import sys
sys.modules["triton"] = None
import torch
from tsfm import kernels
from tsfm.errors import DataError
x, up, down = torch.ones(2, 4), torch.ones(3, 4, 4, requires_grad=True), torch.ones(3, 4, 2)
index, weight, _, _ = kernels.route(x, torch.eye(3, 4), 2)
kernels.expert_mlp(x, up, down, index, weight).sum().backward()
assert up.grad.abs().sum() > 0
print(*next(row for row in kernels.describe() if row[0] == "expert layers"))
print(*kernels.choose_path(torch.device("cuda"), torch.float32))
try:
    with kernels.using("triton"):
        pass
except DataError as error:
    print(error)
"""
    described, on_a_gpu, refused = python(code).splitlines()
    assert "plain torch" in described
    assert on_a_gpu == "cpu Triton is not installed: pip install 'tsfm-forecast[triton]'"
    assert "pip install 'tsfm-forecast[triton]'" in refused


def test_a_triton_that_is_too_old_is_not_used(monkeypatch):
    pytest.importorskip("triton", reason="asks for the version of an installed Triton")
    monkeypatch.setattr(kernels, "version", lambda name: "3.2.0")
    assert kernels._missing_triton() == "Triton 3.2.0 is older than 3.3: pip install -U triton"
