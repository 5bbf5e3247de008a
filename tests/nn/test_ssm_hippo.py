"""HiPPO matrices and what state-space layers start from are those of the published code, and they remember signals."""

import numpy as np
import pytest
import torch
from parity import Stored

from tsfm.errors import DataError
from tsfm.nn import hippo


@pytest.fixture(scope="module")
def arrays():
    return Stored("s4").arrays()


def close(made, wanted):
    torch.testing.assert_close(made.to(wanted), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("measure", ["legs", "legt", "fourier"])
def test_the_matrices_of_every_measure_are_the_published_ones(measure, arrays):
    A, B = hippo.hippo(measure, 8)
    close(A, arrays[f"hippo_{measure}_A"])
    close(B, arrays[f"hippo_{measure}_B"])


def test_the_low_rank_form_is_the_published_one_but_for_the_sign_of_eigenvectors(arrays):
    found = hippo.nplr(8)
    wanted = arrays["nplr_legs8_V"]
    sign = torch.sign(wanted[0].real)
    close(found.W, arrays["nplr_legs8_W"])
    close(found.V, wanted * sign)
    close(found.P, arrays["nplr_legs8_P"] * sign)
    close(found.B, arrays["nplr_legs8_B"] * sign)


@pytest.mark.parametrize("size, largest", [(8, None), (64, hippo.LARGEST_INPUT)])
def test_the_low_rank_form_has_the_published_magnitudes(size, largest, arrays):
    found = hippo.nplr(size, largest)
    close(found.W, arrays[f"nplr_legs{size}_W"])
    close(found.P.abs(), arrays[f"nplr_legs{size}_P_abs"])
    close(found.B.abs(), arrays[f"nplr_legs{size}_B_abs"])


def test_the_low_rank_form_is_the_dense_matrix():
    A, B = hippo.hippo("legs", 12)
    found = hippo.nplr(12)
    vectors = torch.cat([found.V, found.V.conj()], 1)
    poles, P, into = (torch.cat([one, one.conj()], -1) for one in (found.W, found.P[0], found.B))
    close((vectors @ (torch.diag(poles) - torch.outer(P, P.conj())) @ vectors.mH).real, A)
    close((vectors @ into).real, B)


@pytest.mark.parametrize("init", ["lin", "inv", "real", "quad", "legs"])
def test_diagonal_models_start_as_published(init, arrays):
    A, B = hippo.diagonal(init, 16)
    close(A, arrays[f"init_{init}16_A"])
    close(B.abs(), arrays[f"init_{init}16_B_abs"])


def test_the_second_inverse_start_spreads_over_as_many_frequencies():
    A, _ = hippo.diagonal("inv2", 16)
    n = torch.arange(8, dtype=torch.float64)
    close(A.imag, -16 / torch.pi * (16 / (n + 1) - 1))


def test_a_memory_holds_the_projection_on_legendre_polynomials_exactly():
    signal, size = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 6
    nodes, weights = np.polynomial.legendre.leggauss(size)
    place = (np.arange(7)[:, None] + (nodes + 1) / 2) * 2 / 7 - 1  # inside every step
    basis = np.polynomial.legendre.legvander(place, size - 1) * np.sqrt(2 * np.arange(size) + 1)
    wanted = np.einsum("l,q,lqn->n", signal.numpy(), weights / 14, basis)
    close(hippo.remember(signal, size)[-1], torch.from_numpy(wanted))


def test_a_smooth_signal_comes_back_from_its_coefficients():
    time = (torch.arange(512, dtype=torch.float64) + 0.5) / 512
    signal = torch.stack([torch.sin(9 * time) + time, torch.cos(5 * time)])
    found = hippo.recall(hippo.remember(signal, 16)[:, -1], 512)
    assert float((found - signal).pow(2).mean().sqrt()) < 0.02


def test_unknown_names_say_what_there_is():
    with pytest.raises(DataError, match="'legt'"):
        hippo.hippo("laguerre", 4)
    with pytest.raises(DataError, match="'inv2'"):
        hippo.diagonal("random", 4)
