"""Channel adapters: the published numbers from the published weights, and the invariants of each kind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tsfm.nn.channel_adapters import KINDS, ChannelAdapter, ChannelAdapterConfig, RevIN

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "adapts"
PUBLISHED = json.loads((FIXTURE / "config.json").read_text())
WEIGHTS = load_file(FIXTURE / "model.safetensors")


def published(name: str) -> ChannelAdapter:
    """An adapter with the published weights; every name and shape must agree."""
    given = PUBLISHED[name]
    made = ChannelAdapter(
        ChannelAdapterConfig(
            given["base_projector"], given["num_channels"], given["new_num_channels"], given["use_revin"]
        )
    )
    prefix = f"{name}."
    made.load_state_dict({key.removeprefix(prefix): value for key, value in WEIGHTS.items() if key.startswith(prefix)})
    return made.eval()


def small(kind: str, revin: bool = False, channels: int = 4) -> ChannelAdapter:
    torch.manual_seed(0)
    return ChannelAdapter(ChannelAdapterConfig(kind, channels, channels, revin)).eval()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_an_adapter_gives_the_published_numbers(name: str):
    adapter = published(name)
    with np.load(FIXTURE / "io.npz") as stored:
        known = {key.removeprefix(f"{name}_"): torch.from_numpy(stored[key]) for key in stored if key.startswith(name)}
    with torch.no_grad():
        encoded = adapter.encode(known["X"], known.get("eps"))
        mean, logvar = adapter.distribution(known["Z"], encoded.moments)
    torch.testing.assert_close(encoded.latent, known["transformed"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean, known["inv_mu" if "inv_mu" in known else "inv"], atol=1e-5, rtol=1e-5)
    assert (logvar is None) == ("inv_logvar" not in known)
    if logvar is not None:
        torch.testing.assert_close(logvar, known["inv_logvar"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_encoded_without_its_neighbours(kind: str):
    adapter = small(kind)
    x = torch.randn(2, 4, 9)
    changed = x.clone()
    changed[..., 5:] += 1.0
    with torch.no_grad():
        before, after = adapter.encode(x).latent, adapter.encode(changed).latent
    torch.testing.assert_close(after[..., :5], before[..., :5])
    assert not torch.allclose(after[..., 5:], before[..., 5:])


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_stochastic_adapter_encodes_differently_when_it_draws(kind: str):
    adapter = small(kind)
    x = torch.randn(2, 4, 9)
    with torch.no_grad():
        first, second = adapter.encode(x, sample=True).latent, adapter.encode(x, sample=True).latent
        still = adapter.encode(x).latent
    assert torch.equal(first, second) != adapter.stochastic
    assert torch.equal(still, adapter.encode(x).latent)


def test_revin_brings_back_what_it_took_out():
    torch.manual_seed(0)
    revin = RevIN(3)
    with torch.no_grad():
        revin.affine_weight.uniform_(0.5, 2.0)
        revin.affine_bias.normal_()
    x = 50.0 + 7.0 * torch.randn(2, 3, 40)
    normalised, moments = revin(x)
    torch.testing.assert_close(revin.inverse(normalised, moments), x)


def test_the_spread_of_a_likelihood_kind_grows_with_the_window():
    adapter, latent = small("linearlVAE", revin=True), torch.randn(1, 4, 6)
    x = torch.randn(1, 4, 30)
    with torch.no_grad():
        _, small_spread = adapter.distribution(latent, adapter.encode(x).moments)
        _, large_spread = adapter.distribution(latent, adapter.encode(10 * x).moments)
    assert small_spread is not None and large_spread is not None
    torch.testing.assert_close(
        large_spread - small_spread, torch.full((1, 4, 6), 2 * float(np.log(10))), atol=1e-4, rtol=0
    )


def test_the_divergence_is_zero_for_a_unit_normal_and_positive_elsewhere():
    adapter = small("linearVAE")
    x = torch.randn(2, 4, 9)
    with torch.no_grad():
        assert adapter.encode(x).divergence > 0
        for weight in (*adapter.latent_mu.parameters(), *adapter.latent_logvar.parameters()):
            weight.zero_()
        assert adapter.encode(x).divergence == 0


def test_a_kind_that_keeps_its_channels_refuses_fewer():
    with pytest.raises(ValueError, match="keeps its 5 channels"):
        ChannelAdapterConfig("linearDecoder", 5, 3)
    with pytest.raises(ValueError, match="not known"):
        ChannelAdapterConfig("rotation")
