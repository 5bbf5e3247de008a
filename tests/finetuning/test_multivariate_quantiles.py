"""Maps and quantiles of channel mixtures: exact where they can be, never crossing, drawn the same in any company."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tsfm.errors import DataError
from tsfm.finetuning.multivariate_maps import OFFLINE, directions, offline_adapter, untrained_adapter
from tsfm.finetuning.multivariate_quantiles import Mixing, calibrated, error_correlation, filled

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HORIZON = 8


def mixing_of(rows: np.ndarray, kind: str = "pca", components: int = 3) -> Mixing:
    """A mixing of standardised rows (T, C) that was not calibrated."""
    ones, channels = np.ones(rows.shape[1]), rows.shape[1]
    adapter = offline_adapter(kind, rows, components, 0).double()
    return Mixing(adapter, np.zeros(channels), ones, np.eye(adapter.config.components), ones, ones, 200, 0)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Standardised steps (T, C) of four mixtures of a slow wave, a fast one and two noises."""
    generator, steps = np.random.default_rng(1), np.arange(420)
    sources = np.stack([np.sin(steps / 30), np.sin(2 * np.pi * steps / 7), *generator.normal(size=(2, 420))])
    values = (generator.normal(size=(4, 4)) @ sources).T
    return (values - values.mean(0)) / values.std(0)


@pytest.mark.parametrize("kind", OFFLINE)
def test_an_offline_adapter_with_all_components_loses_nothing(kind: str, rows: np.ndarray):
    encoder, decoder = directions(kind, rows, 4, 0)
    np.testing.assert_allclose(rows @ encoder.T @ decoder.T, rows, atol=1e-8)


def test_linear_components_are_uncorrelated_now_and_a_step_later_slowest_first(rows: np.ndarray):
    encoder, _ = directions("linear", rows, 4, 0)
    latent = rows @ encoder.T
    now, later = latent.T @ latent / len(rows), latent[1:].T @ latent[:-1] / len(rows)
    np.testing.assert_allclose(now - np.diag(np.diag(now)), 0.0, atol=1e-8)
    later = (later + later.T) / 2
    np.testing.assert_allclose(later - np.diag(np.diag(later)), 0.0, atol=1e-3)
    assert (np.diff(np.diag(later)) < 0).all()


def test_copies_of_a_channel_do_not_break_the_maps(rows: np.ndarray):
    doubled = np.concatenate([rows, rows[:, :1]], axis=1)
    for kind in ("pca", "linear"):
        encoder, decoder = directions(kind, doubled, 5, 0)
        np.testing.assert_allclose(doubled @ encoder.T @ decoder.T, doubled, atol=1e-6)


def test_latent_medians_are_combined_exactly_under_a_linear_decoder(rows: np.ndarray):
    mixing = mixing_of(rows)
    curves = np.sort(np.random.default_rng(0).normal(size=(1, 3, HORIZON, 9)), axis=-1)
    found = mixing.decoded(curves, LEVELS)
    np.testing.assert_allclose(found[..., 4], mixing.decode(curves[..., 4])[0], atol=1e-12)


def test_decoded_quantiles_do_not_cross_and_those_of_the_identity_are_the_latent_ones(rows: np.ndarray):
    mixing = mixing_of(rows, components=4)
    mixing.samples = 2000
    for layer in (mixing.adapter.encoder, mixing.adapter.decoder):
        torch.nn.init.eye_(layer.layer0.weight)
    curves = np.sort(np.random.default_rng(0).normal(size=(1, 4, HORIZON, 9)), axis=-1)
    found = mixing.decoded(curves, LEVELS)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, curves[0], atol=5e-3)


def test_the_spread_of_a_sum_knows_whether_its_parts_err_together(rows: np.ndarray):
    mixing = mixing_of(rows, components=2)
    with torch.no_grad():
        mixing.adapter.decoder.layer0.weight.fill_(1.0)
    curves = np.broadcast_to(np.linspace(-1, 1, 9), (1, 2, 1, 9))
    widths = []
    for correlation in (0.9, 0.0, -0.9):
        mixing.correlation = np.array([[1.0, correlation], [correlation, 1.0]])
        made = mixing.decoded(curves, LEVELS)
        widths.append(float(made[0, 0, -1] - made[0, 0, 0]))
    assert widths[0] > 1.2 * widths[1] > 1.2 * widths[2]


def test_error_correlation_finds_components_that_err_together():
    generator = np.random.default_rng(0)
    curves = np.broadcast_to(np.linspace(-1.3, 1.3, 9), (10, 3, 50, 9))
    actual = generator.normal(size=(10, 3, 50))
    actual[:, 1] = actual[:, 0]
    actual[0, 2, 0] = np.nan
    found = error_correlation(curves, actual)
    assert found[0, 1] > 0.85
    assert abs(found[0, 2]) < 0.15
    assert np.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("adapter", ["dropout-ae", "vae", "linear-vae"])
def test_a_stochastic_adapter_draws_anew_each_pass_and_the_same_for_a_window_in_any_company(
    adapter: str, rows: np.ndarray
):
    made = untrained_adapter(adapter, rows, 2, 0).double().eval()
    mixing = replace(mixing_of(rows), adapter=made, correlation=np.eye(2))
    contexts = np.stack([rows[:60].T, rows[60:120].T])
    together = mixing.encode(contexts, sample=True)
    assert (together[0, 0] != together[0, 1]).any()
    np.testing.assert_array_equal(mixing.encode(contexts[1:], sample=True)[0], together[1])
    assert mixing.encode(contexts, sample=False).shape[1] == 1


def test_calibration_finds_the_spread_and_the_share_that_fit():
    generator = np.random.default_rng(0)
    target = generator.normal(size=(12, 2, 40))
    normal = np.asarray(torch.special.ndtri(torch.tensor(LEVELS, dtype=torch.float64)))
    right = np.broadcast_to(normal, (12, 2, 40, 9))
    wrong = right + 3.0
    spread, share = calibrated(
        np.stack([right[:, 0] / 1.5, wrong[:, 1]], 1), np.stack([wrong[:, 0], right[:, 1]], 1), target, LEVELS
    )
    assert share.tolist() == [1.0, 0.0]
    assert 1.2 < spread[0] < 1.9


def test_gaps_are_filled_from_their_own_context_alone():
    contexts = np.array([[[np.nan, 1.0, np.nan, 3.0, np.nan]], [[0.0, 0.0, 0.0, 0.0, 9.0]]])
    np.testing.assert_array_equal(filled(contexts, ["a"])[0, 0], [1.0, 1.0, 2.0, 3.0, 3.0])
    with pytest.raises(DataError, match="channel 'a' has no value"):
        filled(np.full((1, 1, 4), np.nan), ["a"])
